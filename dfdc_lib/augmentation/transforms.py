"""The slides' augmentation with what its arguments meant in 2020; the only module that knows albumentations.

A crop with its mask and its five landmarks in; the same as a square of `size` pixels out: `transform(image=, mask=, keypoints=)`. In order:

| transform, p        | slides' arguments | today's arguments                                 | why                                        |
| ------------------- | ----------------- | ------------------------------------------------- | ------------------------------------------ |
| ImageCompression .5 | quality_lower=60, | quality_range=(60, 100),                          | the old names only warn; quality is then   |
|                     | quality_upper=100 | compression_type="jpeg"                           | 99–100                                     |
| GaussNoise .1       | (variance 10–50)  | variance_range=(10, 50), a class of this module   | today's default is 20 times stronger; it   |
|                     |                   |                                                   | cuts towards 0: σ .4 levels too small      |
| GaussianBlur .05    | blur_limit=3      | blur_limit=(3, 3), sigma_limit=BLUR_SIGMA twice   | 3 now is a kernel of 0 to 3, σ up to 3;    |
|                     |                   |                                                   | then OpenCV's own 3×3 kernel (¼, ½, ¼)     |
| HorizontalFlip .5   |                   |                                                   | the same                                   |
| OneOf 1:            |                   |                                                   | each is equally likely                     |
|   IsotropicResize   | area, cubic       | the same, a class of this module                  | never worked there: always area, cubic     |
|   IsotropicResize   | area, linear      | the same                                          |                                            |
|   IsotropicResize   | linear, linear    | the same                                          |                                            |
| PadIfNeeded 1       | border_mode=0     | border_mode=BORDER_CONSTANT, fill=0, fill_mask=0, | value= is now fill=; then, too, in the     |
|                     |                   | position="center", no divisors                    | middle and black                           |
| OneOf .7:           |                   |                                                   | each is equally likely                     |
|   RandomBrightness  | (.2, .2)          | brightness_limit=contrast_limit=(-.2, .2),        | the same, written out: brightness is a     |
|   Contrast          |                   | brightness_by_max=True, ensure_safe_range=False   | share of 255, too bright is clipped        |
|   FancyPCA          | (alpha=.1)        | alpha=.1, a class of this module                  | then one colour was added to all pixels;   |
|                     |                   |                                                   | now a pixel's distance from the mean grows |
|   HueSaturation     | (20, 30, 20)      | hue_, sat_, val_shift_limit=                      | the same, but gray pixels stay gray        |
|   Value             |                   | (-20, 20), (-30, 30), (-20, 20)                   |                                            |
| ToGray .2           |                   | num_output_channels=3, method="weighted_average"  | the same                                   |
| ShiftScaleRotate .5 | shift_limit=.1    | Affine: translate_percent x, y: (-.1, .1) each,   | ShiftScaleRotate warns and draws one scale |
|                     | scale_limit=.2    | scale=(.8, 1.2), keep_ratio=True,                 | for x, another for y; shifts are now whole |
|                     | rotate_limit=10   | rotate=(-10, 10), shear=(0, 0), INTER_LINEAR,     | pixels; it turns about the true centre,    |
|                     | border_mode=0     | mask: INTER_NEAREST, BORDER_CONSTANT, fill=0      | then half a pixel beside it                |

The winner's "very hard" augmentation comes before all of these: `cutouts.cut_out`. Validation is IsotropicResize (area, cubic) and
PadIfNeeded. Landmarks move along and are never dropped, also where they leave the image. A flip moves the points and keeps their order: the
first eye stays the same eye of the same person, and then lies on the right. Source: the slides; albumentations 0.4.5 (2020) and 2.0.8.
"""

import math
import os
import random
from typing import Any

import cv2
import numpy as np

from dfdc_lib.faces.feed import fitted_shape, resize_longer_side

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # before the import, which would ask the network for a newer version

import albumentations as A  # type: ignore[import-untyped]  # noqa: E402, N812

NOISE_VARIANCES = (10, 50)  # 2020's default, of levels 0–255
BLUR_SIGMA = 1 / math.sqrt(
    2 * math.log(2)
)  # pixels; 0.85 makes the kernel (¼, ½, ¼), which OpenCV takes for kernel 3 and sigma 0
FANCY_PCA_ALPHA = 0.1  # 2020's default
RESIZE_PAIRS = (("area", "cubic"), ("area", "linear"), ("linear", "linear"))  # slides: interpolation down, up


class IsotropicResize(A.DualTransform):
    """Bring the longer side to `size`; the mask by nearest pixel, the landmarks scaled along. Called by albumentations."""

    def __init__(self, size: int, interpolation_down: str, interpolation_up: str):
        super().__init__(p=1)
        self.size, self.interpolation_down, self.interpolation_up = size, interpolation_down, interpolation_up

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        """Resize an image, (H, W, 3) uint8."""
        return resize_longer_side(img, self.size, self.interpolation_down, self.interpolation_up)

    def apply_to_mask(self, mask: np.ndarray, **params: Any) -> np.ndarray:
        """Resize a mask, (H, W) uint8, without inventing values."""
        height, width = fitted_shape(mask.shape[0], mask.shape[1], self.size)
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)

    def apply_to_keypoints(self, keypoints: np.ndarray, **params: Any) -> np.ndarray:
        """Scale points; albumentations gives rows of x, y and three more that mean nothing here."""
        old_height, old_width = params["shape"][:2]
        height, width = fitted_shape(old_height, old_width, self.size)
        scaled = keypoints.copy()
        scaled[:, :2] *= width / old_width, height / old_height
        return scaled


class GaussNoise(A.ImageOnlyTransform):
    """Add noise to every pixel and channel by itself, its variance drawn evenly. Called by albumentations.

    Source: albumentations 0.4. Departs from it: rounds, there the sum was cut off and the image half a level darker. Version 2.0.8 cuts the
    noise itself towards 0, which takes .4 levels from its standard deviation (2.79 for the square root of 10).
    """

    def __init__(self, variance_range: tuple[float, float], p: float):
        super().__init__(p=p)
        self.variance_range = variance_range

    def get_params(self) -> dict[str, Any]:
        """Draw the standard deviation, in levels."""
        return {"std": math.sqrt(self.py_random.uniform(*self.variance_range))}

    def apply(self, img: np.ndarray, std: float, **params: Any) -> np.ndarray:
        """Add noise to an image, (H, W, 3) uint8."""
        noise = self.random_generator.normal(0, std, img.shape)
        return np.clip(np.rint(img + noise), 0, 255).astype(np.uint8)


class FancyPCA(A.ImageOnlyTransform):
    """Add one colour to all pixels, along the principal axes of the image's colours. Called by albumentations.

    The colour is `255 · alpha · Σ variance · axis`, one alpha for the three axes. Source: Krizhevsky et al. 2012, as albumentations 0.4
    did it (the paper draws an alpha per axis and takes the axes of the whole data set). Departs from 0.4: rounds, there it cut off.
    """

    def __init__(self, alpha: float):
        super().__init__(p=1)
        self.alpha = alpha

    def get_params(self) -> dict[str, Any]:
        """Draw alpha."""
        return {"alpha": self.py_random.gauss(0, self.alpha)}

    def apply(self, img: np.ndarray, alpha: float, **params: Any) -> np.ndarray:
        """Shift the colours of an image, (H, W, 3) uint8."""
        variances, axes = np.linalg.eigh(np.cov(img.reshape(-1, 3).T / 255))
        colour = 255 * alpha * (axes @ variances)
        return np.clip(np.rint(img + colour), 0, 255).astype(np.uint8)


def create_train_transforms(size: int) -> A.Compose:
    """Make the augmentation of training; `seed_transform` it before every call.

    Args:
        size: side of the square that comes out, in pixels.
    Returns:
        `transform(image=(H, W, 3) uint8, mask=(H, W) uint8, keypoints=(5, 2))` → the same keys: (size, size, 3) uint8, (size, size) uint8
        and (5, 2) float32 x, y.
    """
    brightness_contrast = A.RandomBrightnessContrast(
        brightness_limit=(-0.2, 0.2), contrast_limit=(-0.2, 0.2), brightness_by_max=True, ensure_safe_range=False, p=1
    )
    hue_saturation_value = A.HueSaturationValue(
        hue_shift_limit=(-20, 20), sat_shift_limit=(-30, 30), val_shift_limit=(-20, 20), p=1
    )
    return _compose(
        A.ImageCompression(compression_type="jpeg", quality_range=(60, 100), p=0.5),
        GaussNoise(variance_range=NOISE_VARIANCES, p=0.1),
        A.GaussianBlur(blur_limit=(3, 3), sigma_limit=(BLUR_SIGMA, BLUR_SIGMA), p=0.05),
        A.HorizontalFlip(p=0.5),
        A.OneOf([IsotropicResize(size, down, up) for down, up in RESIZE_PAIRS], p=1),
        _pad_if_needed(size),
        A.OneOf([brightness_contrast, FancyPCA(alpha=FANCY_PCA_ALPHA), hue_saturation_value], p=0.7),
        A.ToGray(num_output_channels=3, method="weighted_average", p=0.2),
        _shift_scale_rotate(),
    )


def create_val_transforms(size: int) -> A.Compose:
    """Make the transform of validation, in which nothing is drawn; called as `create_train_transforms`, equal to `feed.fit_to_square`."""
    return _compose(IsotropicResize(size, *RESIZE_PAIRS[0]), _pad_if_needed(size))


def seed_transform(transform: A.Compose, *numbers: int) -> None:
    """Make the next call of a transform depend on these numbers alone, in whatever process it runs.

    Departs from `set_random_seed` of albumentations 2.0.8, which starts every part with the same seed: all parts then draw the same first
    number, so that noise comes only with compression, and every image that is shifted is flipped too. Here all parts draw from one stream.

    Args:
        transform: is changed.
        numbers: the run's seed, the epoch and the sample's position, say; their order counts.
    """
    stream = random.Random(
        ",".join(str(int(number)) for number in numbers)
    )  # a text is hashed with SHA-512, the same everywhere
    transform.set_random_state(np.random.default_rng(stream.getrandbits(128)), stream)


def extremes(crop: np.ndarray, size: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Apply each transform of training alone, at the low and at the high end of what it draws.

    Args:
        crop: (H, W, 3) uint8 RGB.
        size: pixels, as in training.
    Returns:
        Name → image before, at the low end, at the high end. Before is the crop, from the resize on the square. A transform that has no
        range: before, before, after. FancyPCA draws from a normal distribution: ±2 standard deviations. IsotropicResize: the first and the
        last of `RESIZE_PAIRS`.
    """
    before, pictures = crop, {}
    for item in create_train_transforms(size).transforms:
        for name, images in _ends(getattr(item, "transforms", [item]), before).items():
            pictures[name] = (before, images[0] if len(images) > 1 else before, images[-1])
        if images[0].shape != before.shape:
            before = images[0]
    return pictures


def draw_many(
    crop: np.ndarray, mask: np.ndarray, landmarks: np.ndarray, size: int, seed: int, count: int
) -> list[np.ndarray]:
    """Augment one crop as `count` epochs of training would.

    Args:
        crop: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8.
        landmarks: (5, 2) x, y in pixels of the crop.
        size: side of the square, in pixels.
        seed: of all draws.
        count: how many.
    Returns:
        (size, size, 3) uint8 RGB each.
    """
    transform = create_train_transforms(size)
    images = []
    for epoch in range(count):
        seed_transform(transform, seed, epoch, 0)
        images.append(transform(image=crop, mask=mask, keypoints=landmarks)["image"])
    return images


class InRange(random.Random):
    """Draws the same place of every range: share 0 is its lower end, 1 its upper; of a normal distribution two standard deviations."""

    def __init__(self, share: float):
        super().__init__(0)
        self._share = share

    def uniform(self, a: float, b: float) -> float:
        """Give a number of a range."""
        return a + self._share * (b - a)

    def randint(self, a: int, b: int) -> int:
        """Give a whole number of a range."""
        return round(self.uniform(a, b))

    def gauss(self, mu: float = 0, sigma: float = 1) -> float:
        """Give a number of a normal distribution."""
        return self.uniform(mu - 2 * sigma, mu + 2 * sigma)


def _ends(parts: list[A.BasicTransform], image: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Apply each part at both ends: name → the pictures that differ; parts of one name together."""
    pictures: dict[str, list[np.ndarray]] = {}
    for part in parts:
        drawn = []
        for share in (0, 1):
            part.set_random_state(np.random.default_rng(0), InRange(share))
            drawn.append(part(image=image, force_apply=True)["image"])
        pictures.setdefault(type(part).__name__, []).extend(drawn[:1] if np.array_equal(*drawn) else drawn)
    return pictures


def _pad_if_needed(size: int) -> A.PadIfNeeded:
    return A.PadIfNeeded(
        min_height=size,
        min_width=size,
        pad_height_divisor=None,
        pad_width_divisor=None,
        position="center",
        border_mode=cv2.BORDER_CONSTANT,
        fill=0,
        fill_mask=0,
        p=1,
    )


def _shift_scale_rotate() -> A.Affine:
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
        border_mode=cv2.BORDER_CONSTANT,
        fill=0,
        fill_mask=0,
        p=0.5,
    )


def _compose(*transforms: A.BasicTransform | A.BaseCompose) -> A.Compose:
    keypoints = A.KeypointParams(format="xy", remove_invisible=False)
    return A.Compose(list(transforms), keypoint_params=keypoints, strict=True)
