"""Compare a fake crop with its original: the map of structural similarity (SSIM) and the mask of what changed.

Input: a crop of each, cut with the same box. Output: SSIM map, mask, and two summary numbers.
The map equals scikit-image's (7 x 7 window, mean over the colour channels); OpenCV's box filters compute it in a third
of the time. Source: Wang et al. 2004, doi:10.1109/TIP.2003.819861.
Departs from the winner's code: there `(1 - ssim) * 255` is cast to uint8 and wraps around for negative SSIM, so the
most different places turn black; here it is clamped. There the channels are weighted as luminance; here equally.
"""

from typing import NamedTuple

import cv2
import numpy as np

WINDOW = 7  # pixels; scikit-image's default
K1, K2, DATA_RANGE = 0.01, 0.03, 255  # Wang et al. 2004
CHANGED_LEVEL = 128  # a mask pixel of at least this counts as changed: SSIM of one half or less


class Comparison(NamedTuple):
    """How a fake crop differs from its original.

    `ssim_map`: (H, W) float32 in -1..1; `mask`: (H, W) uint8; `ssim`: mean of the map; `changed_share`: 0-1.
    """

    ssim_map: np.ndarray  # (H, W) float32 in -1..1; 1 = identical
    mask: np.ndarray  # (H, W) uint8; 0 = identical, 255 = SSIM of 0 or less
    ssim: float  # mean of the map, 5 digits
    changed_share: float  # share of changed mask pixels, 0-1, 5 digits


def compare_crops(original: np.ndarray, fake: np.ndarray) -> Comparison:
    """Compare a fake crop with its original: (H, W, 3) uint8 RGB, cut with the same box; errors as for `ssim_map`."""
    similarity = ssim_map(original, fake)
    mask = mask_of(similarity)
    return Comparison(similarity, mask, round(float(similarity.mean()), 5), round(changed_share(mask), 5))


def ssim_map(original: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Return the structural similarity of two crops at every pixel, (H, W) float32 in -1..1; 1 = identical.

    The crops are (H, W, 3) uint8 RGB, cut with the same box. Raises ValueError if shapes or dtypes differ, or a side is
    shorter than the window of 7 pixels.
    """
    if original.shape != fake.shape:
        shapes = f"{original.shape} and {fake.shape}"
        raise ValueError(f"original and fake must have one shape, got {shapes}: cut both with the same box")
    if original.dtype != np.uint8 or fake.dtype != np.uint8 or original.shape[2:] != (3,):
        raise ValueError(f"crops must be (H, W, 3) uint8, got {original.shape} {original.dtype} and {fake.dtype}")
    if min(original.shape[:2]) < WINDOW:
        raise ValueError(f"crops must be at least {WINDOW} pixels high and wide, got {original.shape[:2]}")
    # Centring on zero reduces the rounding error of E[x^2] - E[x]^2; only the means have to be shifted back.
    x, y = (np.subtract(crop, np.float32(128), dtype=np.float32) for crop in (original, fake))
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    covariance = _covariance(x * y, mean_x, mean_y)
    variance_x = _covariance(np.multiply(x, x, out=x), mean_x, mean_x)
    variance_y = _covariance(np.multiply(y, y, out=y), mean_y, mean_y)
    mean_x += 128
    mean_y += 128
    c1, c2 = (K1 * DATA_RANGE) ** 2, (K2 * DATA_RANGE) ** 2
    # In place, because new arrays take as long as the arithmetic:
    # (2 mean_x mean_y + c1) / (mean_x^2 + mean_y^2 + c1) * (2 covariance + c2) / (variance_x + variance_y + c2)
    similarity = np.multiply(2, mean_x, out=x)
    similarity *= mean_y
    similarity += c1
    mean_x *= mean_x
    mean_y *= mean_y
    mean_x += mean_y
    mean_x += c1
    similarity /= mean_x
    covariance *= 2
    covariance += c2
    variance_x += variance_y
    variance_x += c2
    covariance /= variance_x
    similarity *= covariance
    mean = similarity[..., 0] + similarity[..., 1]  # a fifth of the time of np.mean
    mean += similarity[..., 2]
    mean /= 3
    return np.clip(mean, -1, 1, out=mean)


def difference_mask(original: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Return where a fake crop differs from its original: (H, W) uint8, 0 = unchanged.

    The crops are (H, W, 3) uint8 RGB, cut with the same box. Raises ValueError in the same cases as `ssim_map`.
    """
    return mask_of(ssim_map(original, fake))


def mask_of(similarity: np.ndarray) -> np.ndarray:
    """Convert an SSIM map, (H, W) in -1..1, to a mask, (H, W) uint8: `round(255 * clip(1 - ssim, 0, 1))`."""
    return np.round(255 * np.clip(1 - similarity, 0, 1)).astype(np.uint8)


def changed_share(mask: np.ndarray) -> float:
    """Return the share of a mask's pixels that are at least `CHANGED_LEVEL`, 0-1."""
    return float((mask >= CHANGED_LEVEL).mean())


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return the IoU of the pixels >= `CHANGED_LEVEL` of two (H, W) uint8 masks; 1 if neither has any such pixel."""
    if mask.shape != truth.shape:
        raise ValueError(f"mask and truth must have one shape, got {mask.shape} and {truth.shape}")
    changed, truly_changed = mask >= CHANGED_LEVEL, truth >= CHANGED_LEVEL
    union = np.count_nonzero(changed | truly_changed)
    return np.count_nonzero(changed & truly_changed) / union if union else 1.0


def _covariance(product: np.ndarray, mean_x: np.ndarray, mean_y: np.ndarray) -> np.ndarray:
    """Return the sample covariance in every window; `product`, that of both images, is overwritten."""
    covariance = _window_mean(product)
    covariance -= np.multiply(mean_x, mean_y, out=product)
    covariance *= WINDOW**2 / (WINDOW**2 - 1)  # sample instead of population covariance
    return covariance


def _window_mean(image: np.ndarray) -> np.ndarray:
    return cv2.boxFilter(image, cv2.CV_32F, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT)
