import cv2
import numpy as np
import pytest
import skimage.data

from dfdc_lib.faces import quality
from dfdc_lib.faces.quality import MOST_TURN, SHARPNESS_SIDE

FRONTAL = ((100, 100), (140, 100), (120, 125), (105, 145), (135, 145))  # eyes 40 pixels apart, the nose midway


def checkerboard(side: int, square: int = 1) -> np.ndarray:
    rows, columns = np.indices((side, side)) // square
    return np.repeat((255 * ((rows + columns) % 2)).astype(np.uint8)[..., None], 3, axis=2)


def with_nose(x: float, y: float) -> tuple:
    return (*FRONTAL[:2], (x, y), *FRONTAL[3:])


def moved(landmarks: tuple, degrees: float, scale: float) -> tuple:
    angle = np.radians(degrees)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return tuple(tuple(matrix @ point + 7) for point in landmarks)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (40, 30), (112, 112), (300, 200)])
def test_one_colour_has_no_detail(shape: tuple[int, int]) -> None:
    assert [quality.sharpness(np.full((*shape, 3), level, np.uint8)) for level in (0, 77, 255)] == [0, 0, 0]


def test_sharpness_is_the_same_at_any_size_and_lower_after_blur() -> None:
    # Every pixel has four neighbours of the other colour, so the Laplacian is plus or minus 4 * 255.
    assert quality.sharpness(checkerboard(SHARPNESS_SIDE)) == pytest.approx((4 * 255) ** 2)
    sizes = [checkerboard(times * SHARPNESS_SIDE, square=8 * times) for times in (1, 2, 3)]
    assert [quality.sharpness(image) for image in sizes] == pytest.approx([quality.sharpness(sizes[0])] * 3)
    face = np.ascontiguousarray(skimage.data.astronaut()[70:180, 180:270])
    blurred = [cv2.GaussianBlur(face, (0, 0), sigma) for sigma in (1, 2, 4)]
    values = [quality.sharpness(image) for image in (face, *blurred)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 100 and values[-1] < 20  # the docstring and verdict.MIN_SHARPNESS rely on it


@pytest.mark.parametrize(
    ("landmarks", "expected"),
    [
        (FRONTAL, 0),
        (with_nose(120, 300), 0),  # only the horizontal offset counts
        *[(with_nose(x, 125), 0.25) for x in (110, 130)],
        (with_nose(140, 125), 0.5),  # in front of the right eye
        *[(with_nose(180, 125), 1.5), (with_nose(40_000, 125), MOST_TURN)],
        (((100, 100), (100, 100), *FRONTAL[2:]), MOST_TURN),  # a profile: both eyes at one point
    ],
)
@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (30, 1), (-90, 0.2), (180, 5)])
def test_turn(landmarks: tuple, expected: float, degrees: float, scale: float) -> None:
    assert quality.turn(moved(landmarks, degrees, scale)) == pytest.approx(expected, abs=1e-9)
