"""Convert crops to the model's input: a padded square of uint8 pixels, which `inference.normalize` normalises.

Input: crops of any size and the model's recipe. Output: (size, size, 3) uint8 squares.
`augmentation.transforms.create_val_transforms` returns the same squares, pixel for pixel.
Source: the winner's inference (centred on black).
"""

import cv2
import numpy as np

from dfdc_lib.faces.resize import fitted_shape, resize_longer_side
from dfdc_lib.records import Recipe


def fit_to_square(crop: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Resize an (H, W, 3) uint8 crop and centre it on a black square, (size, size, 3) uint8; not normalised yet."""
    resized = resize_longer_side(crop, recipe.size, recipe.interpolation_down, recipe.interpolation_up)
    height, width = resized.shape[:2]
    top, left = (recipe.size - height) // 2, (recipe.size - width) // 2
    square = np.zeros((recipe.size, recipe.size, 3), np.uint8)
    square[top : top + height, left : left + width] = resized
    return square


def from_square(square: np.ndarray, height: int, width: int) -> np.ndarray:
    """Undo `fit_to_square`, for example for a heat map: remove the borders and resize the rest to the crop.

    `square` is the image or heat map of the square; `height` and `width` are those of the crop, in pixels. The shape
    (size, size) or (size, size, channels) becomes (height, width) or (height, width, channels).
    """
    size = square.shape[0]
    inner_height, inner_width = fitted_shape(height, width, size)
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    inner = square[top : top + inner_height, left : left + inner_width]
    return cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR)
