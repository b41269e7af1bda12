import numpy as np
import pytest

from dfdc_lib.classifier.preprocess import fit_to_square, from_square
from dfdc_lib.records import Recipe

RECIPE = Recipe(size=64)


def smooth(height: int, width: int) -> np.ndarray:
    """Colours that change slowly, so that resizing loses little."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([250 * rows, 250 * columns, 125 * (rows + columns)], axis=2).astype(np.uint8)


def test_no_pixels() -> None:
    with pytest.raises(ValueError, match="empty"):
        fit_to_square(np.zeros((0, 5, 3), np.uint8), RECIPE)


@pytest.mark.parametrize(
    ("height", "width", "box"), [(40, 20, (0, 16, 64, 48)), (20, 40, (16, 0, 48, 64)), (63, 64, (0, 0, 63, 64))]
)
def test_square_has_the_crop_centred_on_black(height: int, width: int, box: tuple[int, int, int, int]) -> None:
    square = fit_to_square(np.full((height, width, 3), 200, np.uint8), RECIPE)
    top, left, bottom, right = box
    assert square.shape == (64, 64, 3) and square.dtype == np.uint8
    assert (square[top:bottom, left:right] == 200).all()
    assert square.sum() == 200 * 3 * (bottom - top) * (right - left)


@pytest.mark.parametrize(
    ("size", "first", "second"),
    [
        (25, {"interpolation_down": "area"}, {"interpolation_down": "linear"}),
        (90, {"interpolation_up": "cubic"}, {"interpolation_up": "linear"}),
    ],
)
def test_recipe_determines_the_interpolations(size: int, first: dict, second: dict) -> None:
    crop = np.random.default_rng(0).integers(1, 256, (60, 60, 3), dtype=np.uint8)
    squares = [fit_to_square(crop, Recipe(size=size, **changes)) for changes in (first, second)]
    assert not np.array_equal(*squares)


@pytest.mark.parametrize(
    ("height", "width"), [(40, 20), (20, 40), (63, 64), (64, 64), (200, 150), (150, 201), (300, 30)]
)
def test_from_square_undoes_fit_to_square(height: int, width: int) -> None:
    crop = smooth(height, width)
    back = from_square(fit_to_square(crop, RECIPE), height, width)
    assert back.shape == crop.shape and back.dtype == np.uint8
    assert np.abs(back.astype(int) - crop).mean() < 2
    plain = from_square(fit_to_square(np.full_like(crop, 200), RECIPE), height, width)
    assert (plain == 200).all()  # without the black border


def test_from_square_of_a_map_without_resizing() -> None:
    heat = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    assert np.array_equal(from_square(heat, 64, 64), heat)
    assert np.array_equal(from_square(heat, 64, 40), heat[:, 12:52])
    assert np.array_equal(from_square(heat, 31, 64), heat[16:47])
