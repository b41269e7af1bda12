"""Preview the augmentation of training on one crop: all of it, or one transform or cut-out alone.

Input: a crop with its mask and landmarks. Output: the pictures of notebook 05. Source: see `transforms`, `cutouts`.
"""

import random
from typing import Any

import numpy as np

from dfdc_lib.augmentation import cutouts, transforms
from dfdc_lib.records import FaceExample

FITTING = ("IsotropicResize", "PadIfNeeded")  # the transforms that fit a crop to the network's square
# What the viewer offers -> what its picture depends on: the number of the draw, the position in the transform's range.
CHOICES: dict[str, tuple[str, ...]] = {"training": ("draw",), "training, hard": ("draw",)}
CHOICES |= {"ImageCompression": ("range",), "GaussNoise": ("draw", "range"), "GaussianBlur": (), "HorizontalFlip": ()}
CHOICES |= {"RandomBrightnessContrast": ("range",), "FancyPCA": ("range",), "HueSaturationValue": ("range",)}
CHOICES |= {"ToGray": (), "Affine": ("range",)}
CHOICES |= {"eyes": (), "mouth": (), "nose": (), "half face": ("draw",), "quadrants": ("draw",)}


class InRange(random.Random):
    """A generator whose "random" numbers all lie at position `share` of their range: 0 = low end, 1 = high end."""

    def __init__(self, share: float):
        super().__init__(0)
        self._share = share

    def uniform(self, a: float, b: float) -> float:
        """Return the number at position `share` in the range a to b."""
        return a + self._share * (b - a)

    def randint(self, a: int, b: int) -> int:
        """Return the integer nearest to position `share` in the range a to b."""
        return round(self.uniform(a, b))

    def gauss(self, mu: float = 0, sigma: float = 1) -> float:
        """Return the number at position `share` in the range mu - 2 sigma to mu + 2 sigma."""
        return self.uniform(mu - 2 * sigma, mu + 2 * sigma)


def draw_many(face: FaceExample, size: int, seed: int, count: int) -> list[np.ndarray]:
    """Return a crop as augmented in epochs 0 to `count` - 1 of training with `seed`: (size, size, 3) uint8 RGB each."""
    transform = transforms.create_train_transforms(size)
    images = []
    for epoch in range(count):
        transforms.seed_transform(transform, seed, epoch, 0)
        images.append(transforms.transform_face(transform, face).crop)
    return images


def extremes(crop: np.ndarray, size: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return three images for each training transform: before it, at the low end and at the high end of its range.

    `size`: side of the network's input in pixels. Keys are the transforms' names. Each is applied alone; those that
    follow IsotropicResize and PadIfNeeded in training start from the resized, padded crop. A transform without a range
    yields before, before, after; IsotropicResize yields before and its results for the first and the last of
    `RESIZE_PAIRS`.
    """
    before, pictures = crop, {}
    for step in transforms.create_train_transforms(size).transforms:
        images: dict[str, list[np.ndarray]] = {}
        for part in getattr(step, "transforms", [step]):  # the alternatives of a OneOf
            ends = [_apply_at(part, np.random.default_rng(0), share, image=before)["image"] for share in (0, 1)]
            images.setdefault(type(part).__name__, []).extend(ends[:1] if np.array_equal(ends[0], ends[1]) else ends)
        for name, results in images.items():
            pictures[name] = (before, results[0] if len(results) > 1 else before, results[-1])
            if name in FITTING:
                before = results[0]
    return pictures


def before_and_after(
    choice: str, face: FaceExample, size: int, seeds: tuple[int, int], share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the network's input without and with one kind of augmentation: crop, mask, augmented crop, its mask.

    Crops are (size, size, 3) uint8 RGB, masks (size, size) uint8. `choice` is one of `CHOICES`. "training" applies
    every transform with its own probability, as training does. "training, hard" draws a cut-out first. Any other
    choice is one transform or cut-out, which is always applied. `seeds` is (seed, epoch); for "training", the augmented
    crop equals `draw_many(face, size, seed, count)[epoch]`. `share` sets the strength of a single transform: 0 = low
    end of its range (ImageCompression: lowest quality), 1 = high end.
    """
    if choice not in CHOICES:
        raise ValueError(f"choice must be one of {', '.join(CHOICES)}; got {choice!r}")
    transform = transforms.create_val_transforms(size)
    before = transforms.transform_face(transform, face)
    rng = np.random.default_rng([*seeds, 0])
    if choice == "training, hard":
        face = cutouts.cut_out(face, rng)
    if choice.startswith("training"):
        transform = transforms.create_train_transforms(size)
        transforms.seed_transform(transform, *seeds, 0)
    elif choice in cutouts.SHARES:
        face = cutouts.apply_cutout(choice, face, rng)
    else:
        return before.crop, before.mask, *_apply_alone(choice, face, size, rng, share)
    after = transforms.transform_face(transform, face)
    return before.crop, before.mask, after.crop, after.mask


def _apply_alone(
    name: str, face: FaceExample, size: int, rng: np.random.Generator, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return crop and mask after one training transform and, in the order of training, those of `FITTING`."""
    changed = {"image": face.crop, "mask": face.mask}
    for step in transforms.create_train_transforms(size).transforms:
        parts = [part for part in getattr(step, "transforms", [step]) if type(part).__name__ in (name, *FITTING)]
        for part in parts[:1]:  # the first of the three resizes
            changed = _apply_at(part, rng, share, **changed)
    return changed["image"], changed["mask"]


def _apply_at(part: Any, rng: np.random.Generator, share: float, **arrays: np.ndarray) -> dict[str, np.ndarray]:
    """Apply one transform unconditionally, with its parameters at a position of their ranges."""
    part.set_random_state(rng, InRange(share))
    return part(**arrays, force_apply=True)
