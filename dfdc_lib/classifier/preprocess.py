"""Convert crops to the model's input: a padded square of uint8 pixels, then normalised floats.

Input: crops of any size and the model's recipe. Output: (size, size, 3) uint8 squares, or a normalised batch.
`augmentation.transforms.create_val_transforms` returns the same squares, pixel for pixel.
Source: the winner's inference (centred on black; mean and standard deviation of ImageNet).
"""

import cv2
import numpy as np
import torch

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


def normalize(images: torch.Tensor, recipe: Recipe, device: torch.device) -> torch.Tensor:
    """Move (n, 3, H, W) uint8 RGB to the device and normalise it; return float32 in channels_last format."""
    moved = images.to(device, non_blocking=True).to(torch.float32, memory_format=torch.channels_last) / 255
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (recipe.mean, recipe.std))
    return (moved - mean) / std
