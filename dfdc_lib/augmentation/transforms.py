"""Augment a crop as the slides do, with the meaning that the transforms' arguments had in 2020.

Input: a crop, its mask and its landmarks. Output: the same, as a square of `size` pixels. Landmarks move with the image
and are never dropped, even outside it. A flip does not reorder them: the first eye remains the same eye of the person.
The winner's "very hard" augmentation (`cutouts.cut_out`) runs before these transforms.
Only this module imports albumentations. Source: the slides; albumentations 0.4.5 (2020) and 2.0.8 (now).
"""

import math
import os
import random
from typing import Any

import cv2
import numpy as np

from dfdc_lib.faces.resize import fitted_shape, resize_longer_side
from dfdc_lib.records import FaceExample

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # must precede the import, which would check for a newer version online

import albumentations as A  # type: ignore[import-untyped]  # noqa: E402, N812

NOISE_VARIANCES = (10, 50)  # default of 2020, in squared levels of 0-255
BLUR_SIGMA = 1 / math.sqrt(2 * math.log(2))  # 0.85 pixels: OpenCV's kernel (1/4, 1/2, 1/4) for size 3 and sigma 0
FANCY_PCA_ALPHA = 0.1  # default of 2020
RESIZE_PAIRS = (("area", "cubic"), ("area", "linear"), ("linear", "linear"))  # slides: interpolation down, up
BLACK = {"border_mode": cv2.BORDER_CONSTANT, "fill": 0, "fill_mask": 0}  # slides: border_mode=0, value=0


class IsotropicResize(A.DualTransform):
    """Resize the longer side to `size`; called by albumentations.

    The two interpolations, for shrinking and for enlarging, are keys of `resize.INTERPOLATIONS`. Departs from the
    winner's code: there the interpolation arguments had no effect; it always used area and cubic.
    """

    def __init__(self, size: int, interpolation_down: str, interpolation_up: str):
        super().__init__(p=1)
        self.size, self.interpolation_down, self.interpolation_up = size, interpolation_down, interpolation_up

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Return the resized image, (H, W, 3) uint8.

        `img`: (H, W, 3) uint8 RGB.
        """
        return resize_longer_side(img, self.size, self.interpolation_down, self.interpolation_up)

    def apply_to_mask(self, mask: np.ndarray, **params: Any) -> np.ndarray:
        """Return the resized mask, (H, W) uint8, with nearest-neighbour interpolation."""
        height, width = fitted_shape(mask.shape[0], mask.shape[1], self.size)
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)

    def apply_to_keypoints(self, keypoints: np.ndarray, **params: Any) -> np.ndarray:
        """Return the scaled points; each row is x, y and three values that are not used here."""
        old_height, old_width = params["shape"][:2]
        height, width = fitted_shape(old_height, old_width, self.size)
        scaled = keypoints.copy()
        scaled[:, :2] *= width / old_width, height / old_height
        return scaled


class GaussNoise(A.ImageOnlyTransform):
    """Add independent noise to each pixel and channel, with a uniformly drawn variance; called by albumentations.

    `variance_range`: lowest and highest variance, in squared levels of 0-255; `p`: probability of the transform.
    Source: albumentations 0.4. Departs from it: values are rounded; there they were truncated, and the image was half a
    level darker. Why not the GaussNoise of 2.0.8: its default noise is 20 times stronger, and truncation towards zero
    lowers the standard deviation by 0.4 levels (2.79 where 3.16 was requested).
    """

    def __init__(self, variance_range: tuple[float, float], p: float):
        super().__init__(p=p)
        self.variance_range = variance_range

    def get_params(self) -> dict[str, Any]:
        """Return a randomly drawn standard deviation, {"std": levels of 0-255}."""
        return {"std": math.sqrt(self.py_random.uniform(*self.variance_range))}

    def apply(self, img: np.ndarray, std: float, **params: Any) -> np.ndarray:
        """Return the noisy image, (H, W, 3) uint8.

        `img`: (H, W, 3) uint8 RGB. `std`: standard deviation of the noise, in levels of 0-255.
        """
        noisy = self.random_generator.normal(0, std, img.shape)
        noisy += img
        return np.clip(np.rint(noisy, out=noisy), 0, 255, out=noisy).astype(np.uint8)


class FancyPCA(A.ImageOnlyTransform):
    """Add one colour to all pixels, along the principal axes of the image's colours; called by albumentations.

    The colour is `255 * a * sum(variance * axis)`, with one `a` for the three axes, drawn from a normal distribution
    with mean 0 and standard deviation `alpha`. Source: Krizhevsky et al. 2012, as in albumentations 0.4; the paper
    draws one `a` per axis and uses the axes of the whole data set. Departs from 0.4: values are rounded, not truncated.
    Version 2.0.8 increases the distance from the mean colour instead.
    """

    def __init__(self, alpha: float):
        super().__init__(p=1)
        self.alpha = alpha

    def get_params(self) -> dict[str, Any]:
        """Return a randomly drawn {"alpha": value}, from a normal distribution around 0."""
        return {"alpha": self.py_random.gauss(0, self.alpha)}

    def apply(self, img: np.ndarray, alpha: float, **params: Any) -> np.ndarray:
        """Return the image with shifted colours, (H, W, 3) uint8.

        `img`: (H, W, 3) uint8 RGB. `alpha`: the factor `a` of this image, from `get_params`.
        """
        pixels = img.reshape(-1, 3).astype(np.float32)
        covariance, _ = cv2.calcCovarMatrix(pixels, np.empty(0), cv2.COVAR_NORMAL | cv2.COVAR_ROWS, ctype=cv2.CV_64F)
        variances, axes = np.linalg.eigh(covariance / (len(pixels) - 1) / 255**2)
        colour = 255 * alpha * (axes @ variances)
        shifted = np.clip(np.rint(np.arange(256)[:, None] + colour), 0, 255).astype(np.uint8)  # of each level
        return cv2.LUT(img, shifted[None])


def create_train_transforms(size: int) -> A.Compose:
    """Return the training transforms, in the slides' order: a crop of any size in, a square of `size` pixels out.

    Call `seed_transform` before each use, so that the draws are reproducible. Where the slides' arguments
    (albumentations 0.4.5) have another meaning in 2.0.8, other arguments produce the slides' effect.
    """
    # Brightness is a share of 255, and too bright values are clipped, as in 2020.
    brightness_contrast = A.RandomBrightnessContrast(
        brightness_limit=(-0.2, 0.2), contrast_limit=(-0.2, 0.2), brightness_by_max=True, ensure_safe_range=False, p=1
    )
    hue_saturation_value = A.HueSaturationValue(  # as in 2020, except that gray pixels stay gray
        hue_shift_limit=(-20, 20), sat_shift_limit=(-30, 30), val_shift_limit=(-20, 20), p=1
    )
    return _compose(
        # Slides: quality_lower=60, quality_upper=100. In 2.0.8 they only cause a warning, and the quality is 99-100.
        A.ImageCompression(compression_type="jpeg", quality_range=(60, 100), p=0.5),
        GaussNoise(variance_range=NOISE_VARIANCES, p=0.1),
        # Slides: blur_limit=3. In 2.0.8 that draws a kernel size of 0 to 3 and a sigma of up to 3 pixels.
        A.GaussianBlur(blur_limit=(3, 3), sigma_limit=(BLUR_SIGMA, BLUR_SIGMA), p=0.05),
        A.HorizontalFlip(p=0.5),
        A.OneOf([IsotropicResize(size, down, up) for down, up in RESIZE_PAIRS], p=1),
        _pad_if_needed(size),
        A.OneOf([brightness_contrast, FancyPCA(alpha=FANCY_PCA_ALPHA), hue_saturation_value], p=0.7),
        A.ToGray(num_output_channels=3, method="weighted_average", p=0.2),
        _shift_scale_rotate(),
    )


def create_val_transforms(size: int) -> A.Compose:
    """Return the validation transforms: resize and pad with black, as `fit_to_square` does; nothing is random.

    `size`: side of the square in pixels.
    """
    return _compose(IsotropicResize(size, *RESIZE_PAIRS[0]), _pad_if_needed(size))


def seed_transform(transform: A.Compose, *numbers: int) -> None:
    """Make the next call of a transform depend only on these numbers (seed, epoch, position ...) and their order.

    All parts draw from one stream. Departs from `set_random_seed` of albumentations 2.0.8, which starts each part with
    the same seed: noise then occurs only with compression, and every shifted image is also flipped.
    """
    stream = random.Random(",".join(str(int(number)) for number in numbers))  # text seeds are hashed with SHA-512
    transform.set_random_state(np.random.default_rng(stream.getrandbits(128)), stream)


def transform_face(transform: A.Compose, face: FaceExample) -> FaceExample:
    """Return a transformed crop, (size, size, 3) uint8, with its mask, (size, size) uint8, and (5, 2) landmarks."""
    changed = transform(image=face.crop, mask=face.mask, keypoints=face.landmarks)
    return FaceExample(changed["image"], changed["mask"], changed["keypoints"], face.label)


def transform_crop(transform: A.Compose, crop: np.ndarray) -> np.ndarray:
    """Return the crop, (size, size, 3) uint8, that `transform_face` returns; skip the mask and the landmarks."""
    return transform(image=crop)["image"]


def _pad_if_needed(size: int) -> A.PadIfNeeded:
    return A.PadIfNeeded(
        min_height=size,
        min_width=size,
        pad_height_divisor=None,
        pad_width_divisor=None,
        position="center",
        p=1,
        **BLACK,
    )


def _shift_scale_rotate() -> A.Affine:
    # Slides: ShiftScaleRotate(shift_limit=.1, scale_limit=.2, rotate_limit=10, border_mode=0). In 2.0.8 that class
    # causes a warning and draws separate scales for x and y. Departs from 2020: shifts are whole pixels, and the image
    # rotates about its true centre; in 2020 the centre was half a pixel off.
    return A.Affine(
        translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
        scale=(0.8, 1.2),
        keep_ratio=True,
        balanced_scale=False,
        rotate=(-10, 10),
        shear=(0, 0),
        fit_output=False,
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        p=0.5,
        **BLACK,
    )


def _compose(*steps: A.BasicTransform | A.BaseCompose) -> A.Compose:
    return A.Compose(list(steps), keypoint_params=A.KeypointParams(format="xy", remove_invisible=False), strict=True)
