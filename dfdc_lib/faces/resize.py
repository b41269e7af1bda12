"""Resize an image so that its longer side has a given length.

Input: an image of any size. Output: the same image in the same proportions. Training and prediction share this code.
Source: the winner's inference (area interpolation to shrink, cubic to enlarge).
Departs from the winner's code: the shorter side is `floor(side * size / longer)` in integers. The winner computed it in
floating point, which sometimes loses a pixel (a square crop of 300 pixels and size 380 can give 379).
"""

import cv2
import numpy as np

INTERPOLATIONS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


def fitted_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Return (height, width) after the longer side is resized to `size`; raise ValueError for an empty image.

    >>> fitted_shape(200, 150, 380)
    (380, 285)
    """
    if height < 1 or width < 1:
        raise ValueError(f"a crop must have at least one pixel, got height {height}, width {width}: skip empty crops")
    longer = max(height, width)
    return max(1, height * size // longer), max(1, width * size // longer)


def resize_longer_side(image: np.ndarray, size: int, interpolation_down: str, interpolation_up: str) -> np.ndarray:
    """Resize an (H, W, 3) uint8 image to a longer side of `size` pixels; one that already fits is returned unchanged.

    `interpolation_down` and `interpolation_up`, for shrinking and for enlarging, are keys of `INTERPOLATIONS`.
    """
    height, width = fitted_shape(image.shape[0], image.shape[1], size)
    if (height, width) == image.shape[:2]:
        return image
    name = interpolation_up if size > max(image.shape[:2]) else interpolation_down
    return cv2.resize(image, (width, height), interpolation=INTERPOLATIONS[name])
