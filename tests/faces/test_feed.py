import cv2
import numpy as np
import pytest

from dfdc_lib.faces import feed
from dfdc_lib.records import Recipe


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (1, 1, 8, (8, 8)),
        (200, 150, 380, (380, 285)),
        (300, 300, 380, (380, 380)),
        (100, 33, 50, (50, 16)),
        (1000, 1, 10, (10, 1)),
    ],
)
def test_fitted_shape(height: int, width: int, size: int, expected: tuple[int, int]) -> None:
    assert feed.fitted_shape(height, width, size) == expected
    assert feed.fitted_shape(width, height, size) == expected[::-1]


def test_empty_crop_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"at least one pixel, got height 0 and width 5: leave empty crops out"):
        feed.fit_to_square(np.zeros((0, 5, 3), np.uint8), Recipe(size=8))


def test_an_image_that_fits_comes_back() -> None:
    image = noise(40, 64)
    assert feed.resize_longer_side(image, 64, "area", "cubic") is image


@pytest.mark.parametrize(("size", "flag"), [(30, cv2.INTER_AREA), (90, cv2.INTER_CUBIC)])
def test_down_and_up_take_their_own_interpolation(size: int, flag: int) -> None:
    image = noise(60, 50)
    expected = cv2.resize(image, (50 * size // 60, size), interpolation=flag)
    assert np.array_equal(feed.resize_longer_side(image, size, "area", "cubic"), expected)


@pytest.mark.parametrize(
    ("height", "width", "box"), [(40, 20, (0, 16, 64, 48)), (20, 40, (16, 0, 48, 64)), (63, 64, (0, 0, 63, 64))]
)
def test_square_holds_the_crop_in_the_middle_of_black(height: int, width: int, box: tuple[int, int, int, int]) -> None:
    square = feed.fit_to_square(np.full((height, width, 3), 200, np.uint8), Recipe(size=64))
    top, left, bottom, right = box
    assert square.shape == (64, 64, 3) and square.dtype == np.uint8
    assert (square[top:bottom, left:right] == 200).all()
    assert square.sum() == 200 * 3 * (bottom - top) * (right - left)


def test_recipe_decides_the_interpolations() -> None:
    crop = noise(60, 60)
    squares = [
        feed.fit_to_square(crop, Recipe(size=size, interpolation_down=down, interpolation_up=up))
        for size, down, up in (
            (25, "area", "cubic"),
            (25, "linear", "cubic"),
            (90, "area", "cubic"),
            (90, "area", "linear"),
        )
    ]
    assert not np.array_equal(squares[0], squares[1])
    assert not np.array_equal(squares[2], squares[3])


def smooth(height: int, width: int) -> np.ndarray:
    """Colours that change slowly, so that resizing loses little."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([250 * rows, 250 * columns, 125 * (rows + columns)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width"), [(40, 20), (20, 40), (63, 64), (64, 64), (200, 150), (150, 201), (300, 30)]
)
def test_from_a_square_back_to_its_crop(height: int, width: int) -> None:
    crop, recipe = smooth(height, width), Recipe(size=64)
    back = feed.from_square(feed.fit_to_square(crop, recipe), height, width)
    assert back.shape == crop.shape and back.dtype == np.uint8
    assert np.abs(back.astype(int) - crop).mean() < 2
    plain = feed.from_square(feed.fit_to_square(np.full_like(crop, 200), recipe), height, width)
    assert (plain == 200).all()  # nothing of the black border


def test_a_map_of_a_square_that_the_crop_fills_comes_back_as_it_is() -> None:
    heat = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    assert np.array_equal(feed.from_square(heat, 64, 64), heat)
    assert np.array_equal(feed.from_square(heat, 64, 40), heat[:, 12:52])
    assert np.array_equal(feed.from_square(heat, 31, 64), heat[16:47])
