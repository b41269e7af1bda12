import cv2
import numpy as np
import pytest

from dfdc_lib.faces.resize import fitted_shape, resize_longer_side


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        *[(1, 1, 8, (8, 8)), (200, 150, 380, (380, 285)), (100, 33, 50, (50, 16)), (1000, 1, 10, (10, 1))],
        (300, 300, 380, (380, 380)),  # floating point can give 379
    ],
)
def test_fitted_shape(height: int, width: int, size: int, expected: tuple[int, int]) -> None:
    assert fitted_shape(height, width, size) == expected
    assert fitted_shape(width, height, size) == expected[::-1]


@pytest.mark.parametrize(("size", "flag"), [(30, cv2.INTER_AREA), (90, cv2.INTER_CUBIC)])
def test_resize_longer_side(size: int, flag: int) -> None:
    image = np.random.default_rng(0).integers(1, 256, (60, 50, 3), dtype=np.uint8)
    expected = cv2.resize(image, (50 * size // 60, size), interpolation=flag)
    assert np.array_equal(resize_longer_side(image, size, "area", "cubic"), expected)
    assert resize_longer_side(image, 60, "area", "cubic") is image  # it fits already
    with pytest.raises(ValueError, match="empty"):
        resize_longer_side(image[:0], size, "area", "cubic")
