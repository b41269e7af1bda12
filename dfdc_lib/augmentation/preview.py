"""One thing that training does to a crop, alone and in its place: for the viewer of notebook 05.

A crop with its mask and its landmarks in; the square that a network is fed, with its mask, before and after that one thing. Before is what
validation sees. Source: the slides' transforms and the winner's cut-outs, as `augment` and `cutouts` have them.
"""

import numpy as np

from dfdc_lib.augmentation import cutouts
from dfdc_lib.augmentation.transforms import InRange, create_train_transforms, create_val_transforms, seed_transform

FITTING = ("IsotropicResize", "PadIfNeeded")  # bring every crop to the network's square
# What can be looked at → what decides its picture beside the crop: the draw, and the place in the range of what it draws.
CHOICES: dict[str, tuple[str, ...]] = {
    "training": ("draw",),
    "training, hard": ("draw",),
    "ImageCompression": ("range",),
    "GaussNoise": ("draw", "range"),
    "GaussianBlur": (),
    "HorizontalFlip": (),
    "RandomBrightnessContrast": ("range",),
    "FancyPCA": ("range",),
    "HueSaturationValue": ("range",),
    "ToGray": (),
    "Affine": ("range",),
    "eyes": (),
    "mouth": (),
    "nose": (),
    "half face": ("draw",),
    "quadrants": ("draw",),
}


def before_and_after(
    choice: str,
    crop: np.ndarray,
    mask: np.ndarray,
    landmarks: np.ndarray,
    size: int,
    seed: int,
    draw: int,
    share: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give what a network is fed without and with one thing that training does.

    Args:
        choice: of `CHOICES`: "training" is all transforms as drawn, "training, hard" a drawn cut-out before them; a transform or a
            cut-out alone comes always.
        crop: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8.
        landmarks: (5, 2) x, y in pixels of the crop.
        size: side of the square, in pixels.
        seed, draw: decide what is drawn; "training" is what `augment.draw_many` draws at place `draw`.
        share: place in the range of what a transform draws, 0 = its low end, 1 = its high end; compression is strongest at 0.
    Returns:
        Square and mask before, square and mask after: (size, size, 3) and (size, size) uint8 each.
    Raises:
        ValueError: for an unknown choice.
    """
    if choice not in CHOICES:
        raise ValueError(f"there is nothing called {choice!r} to look at: choose one of {', '.join(CHOICES)}")
    fit = create_val_transforms(size)
    plain = fit(image=crop, mask=mask, keypoints=landmarks)
    rng = np.random.default_rng([seed, draw, 0])
    if choice == "training, hard":
        crop, mask = cutouts.apply_cutout(cutouts.draw_cutout(rng), crop, mask, landmarks, rng)
    elif choice in cutouts.SHARES:
        crop, mask = cutouts.apply_cutout(choice, crop, mask, landmarks, rng)
    if choice.startswith("training"):
        transform = create_train_transforms(size)
        seed_transform(transform, seed, draw, 0)
        changed = transform(image=crop, mask=mask, keypoints=landmarks)
    elif choice in cutouts.SHARES:
        changed = fit(image=crop, mask=mask, keypoints=landmarks)
    else:
        changed = _one_transform(choice, crop, mask, size, rng, share)
    return plain["image"], plain["mask"], changed["image"], changed["mask"]


def _one_transform(
    name: str, crop: np.ndarray, mask: np.ndarray, size: int, rng: np.random.Generator, share: float
) -> dict:
    """Apply one transform of training at a place in its range, where it stands in their order, and otherwise only what fits the crop."""
    changed = {"image": crop, "mask": mask}
    for item in create_train_transforms(size).transforms:
        parts = {
            type(part).__name__: part for part in reversed(getattr(item, "transforms", [item]))
        }  # of the three resizes the first
        for part in (part for kind, part in parts.items() if kind in (name, *FITTING)):
            part.set_random_state(rng, InRange(share))
            changed = part(**changed, force_apply=True)
    return changed
