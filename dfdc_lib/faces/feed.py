"""From a crop to the square that a network is fed: the longer side to `size`, the rest black. Training and prediction share it.

A crop of any size in, (size, size, 3) uint8 out; nothing is drawn, and no albumentations needed: `augment.IsotropicResize` calls the same
function, so that what a model is trained on and what it later predicts on are resized alike, to the pixel.
Source: the winner's inference (area down, cubic up, centred on black).
Departs from it: the shorter side is `floor(side · size / longer)` in whole numbers; there it was computed in floating point, which now and
then loses a pixel (a square crop of 300 pixels and the size 380 may give 379).
"""

import cv2
import numpy as np

from dfdc_lib.records import Recipe

INTERPOLATIONS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


def fitted_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Give the height and width of an image whose longer side is brought to `size`.

    >>> fitted_shape(200, 150, 380)
    (380, 285)
    """
    if height < 1 or width < 1:
        raise ValueError(
            f"a crop must hold at least one pixel, got height {height} and width {width}: leave empty crops out"
        )
    longer = max(height, width)
    return max(1, height * size // longer), max(1, width * size // longer)


def resize_longer_side(image: np.ndarray, size: int, interpolation_down: str, interpolation_up: str) -> np.ndarray:
    """Bring an image's longer side to `size` and keep its proportions.

    Args:
        image: (H, W, 3) uint8; an image that fits already comes back as it is.
        size: pixels.
        interpolation_down, interpolation_up: "area", "linear" or "cubic", for an image that shrinks and for one that grows.
    Returns:
        (h, w, 3) uint8 with max(h, w) = size.
    Raises:
        ValueError: if the image is empty.
        KeyError: for an interpolation that is not in `INTERPOLATIONS`.
    """
    height, width = fitted_shape(image.shape[0], image.shape[1], size)
    if (height, width) == image.shape[:2]:
        return image
    name = interpolation_up if size > max(image.shape[:2]) else interpolation_down
    return cv2.resize(image, (width, height), interpolation=INTERPOLATIONS[name])


def fit_to_square(crop: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Make the square a model is fed, as its recipe says: equal to `augment.create_val_transforms`.

    Args:
        crop: (H, W, 3) uint8 RGB, not empty.
        recipe: gives size and interpolations; mean and std are not applied here.
    Returns:
        (size, size, 3) uint8 RGB, the crop in the middle of black.
    Raises:
        ValueError: if the crop is empty.
    """
    resized = resize_longer_side(crop, recipe.size, recipe.interpolation_down, recipe.interpolation_up)
    height, width = resized.shape[:2]
    top, left = (recipe.size - height) // 2, (recipe.size - width) // 2
    square = np.zeros((recipe.size, recipe.size, 3), np.uint8)
    square[top : top + height, left : left + width] = resized
    return square


def from_square(square: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bring what belongs to a model's square back to the crop the square was made of.

    Args:
        square: (size, size) or (size, size, channels), say a heat map.
        height, width: of the crop.
    Returns:
        (height, width) or (height, width, channels): without the black borders, at the crop's size.
    """
    inner_height, inner_width = fitted_shape(height, width, square.shape[0])
    top, left = (square.shape[0] - inner_height) // 2, (square.shape[0] - inner_width) // 2
    return cv2.resize(
        square[top : top + inner_height, left : left + inner_width], (width, height), interpolation=cv2.INTER_LINEAR
    )
