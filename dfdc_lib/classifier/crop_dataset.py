"""Crops, masks and labels of a run → training samples.

The index is one table, read once from the run folder: columns, not objects, so that millions of crops fit. What a sample looks like depends
on (seed, epoch, position) alone: not on the number of workers, nor on the number of processes that share the work.
Source: the slides (fakes drawn down to the number of reals), the winner's code (validation on every 20th frame).
Departs from the winner's code: the draw does not crash where fakes are fewer than reals; and a face of a fake that its mask shows to be
untouched (a second person in the picture) is left out, there it was trained on as a fake.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset, Sampler

from dfdc_lib.augmentation import cutouts, transforms
from dfdc_lib.faces.feed import fit_to_square
from dfdc_lib.records import FAKE, REAL, FaceKey, Recipe
from dfdc_lib.run_folder import LANDMARK_COLUMNS, Run

UNTOUCHED_SHARE = 0.002  # a fake's crop with less changed pixels shows a face that was not forged
VALIDATION_STRIDE = 20  # winner: every 20th frame


class Sample(NamedTuple):
    """One crop as a model is fed with it."""

    image: torch.Tensor  # (3, size, size) uint8 RGB
    label: float  # 1 = fake
    row: int  # of the index


def read_index(run: Run) -> pd.DataFrame:
    """Read all labelled crops of a run.

    Returns:
        One row a crop: video_id (categorical), frame_index, face_index, label, fold, has_mask, and the landmarks in crop pixels.
    Raises:
        ValueError: if no crop has a label.
    """
    crops = run.read_table("crops.parquet")[["video_id", "frame_index", "face_index", *LANDMARK_COLUMNS]]
    folds = run.read_table("folds.csv").dropna(subset=["label"])[["video_id", "label", "fold"]]
    masks = run.read_table("masks.csv")[["video_id", "frame_index", "face_index", "changed_share"]]
    table = crops.merge(folds, on="video_id").merge(masks, on=["video_id", "frame_index", "face_index"], how="left")
    if table.empty:
        raise ValueError(
            f"{run.root} holds no labelled crops: training needs videos that are known to be real or fake; "
            "without labels, stop at the faces with `dfdc run --to 02`"
        )
    table["has_mask"] = table["changed_share"].notna()
    table = table[~(table["changed_share"] < UNTOUCHED_SHARE)].drop(columns="changed_share").reset_index(drop=True)
    return table.astype({"video_id": "category", "label": np.int8, "fold": np.int16})


def training_rows(index: pd.DataFrame, folds: Sequence[int]) -> np.ndarray:
    """Give the rows of the training folds.

    Raises:
        ValueError: if these folds lack real or fake crops.
    """
    chosen = index["fold"].isin(folds).to_numpy()
    for label, name in ((REAL, "real"), (FAKE, "fake")):
        if not (chosen & (index["label"] == label)).any():
            raise ValueError(
                f"the training folds {list(folds)} hold no {name} crop: choose other folds, or fewer of them in 04_folds"
            )
    return np.flatnonzero(chosen)


def validation_rows(index: pd.DataFrame, fold: int) -> np.ndarray:
    """Give the rows of one fold's every 20th frame.

    Raises:
        ValueError: if there are none.
    """
    rows = np.flatnonzero((index["fold"] == fold) & (index["frame_index"] % VALIDATION_STRIDE == 0))
    if not len(rows):
        remedy = "choose another fold, or a FRAME_STRIDE in 01_detect_faces that divides it"
        raise ValueError(
            f"fold {fold} holds no crop of a frame whose number {VALIDATION_STRIDE} divides, for validation: {remedy}"
        )
    return rows


def draw_rows(labels: np.ndarray, seed: int, epoch: int, turn: int = 0) -> np.ndarray:
    """Draw one turn through the training crops: all reals, and as many fakes, shuffled.

    Args:
        labels: (n,) of the training rows.
        seed, epoch, turn: decide the draw.
    Returns:
        Positions in `labels`; all fakes, with a warning, where there are fewer fakes than reals.
    Source:
        Slides: `fakes.sample(n=num_real, replace=False, random_state=seed)`. Departs: the draw differs from epoch to epoch also for seed 0.
    """
    rng = np.random.default_rng([seed, epoch, turn])
    reals, fakes = np.flatnonzero(labels == REAL), np.flatnonzero(labels == FAKE)
    if len(fakes) > len(reals):
        fakes = rng.choice(fakes, size=len(reals), replace=False)
    elif len(fakes) < len(reals) and epoch == turn == 0:
        warnings.warn(
            f"{len(fakes)} fake crops, fewer than the {len(reals)} real ones: every turn uses all of them", stacklevel=2
        )
    return rng.permutation(np.concatenate([reals, fakes]))


class EpochSampler(Sampler[tuple[int, int, int]]):
    """The crops of one epoch, in order: as many turns through the training crops as `count` needs.

    Args:
        rows: of the index, that may be trained on.
        labels: of these rows.
        count: crops of one epoch, of all processes together.
        seed, epoch: decide the draw.
        rank, processes: this process takes every `processes`-th crop from `rank` on.
    Yields:
        (epoch, position in the epoch, row of the index).
    """

    def __init__(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        count: int,
        seed: int,
        epoch: int,
        *,
        start: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        turns = [draw_rows(labels, seed, epoch, turn) for turn in range(-(-count // _turn_length(labels)))]
        self._rows = rows[np.concatenate(turns)[:count]]
        self._epoch = epoch
        self._positions = range(start + rank, count, processes)

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return ((self._epoch, position, int(self._rows[position])) for position in self._positions)


class TrainingCrops(Dataset[Sample]):
    """Augmented crops, asked for by `EpochSampler`'s keys."""

    def __init__(self, run: Run, index: pd.DataFrame, recipe: Recipe, *, hard: bool, seed: int) -> None:
        self._run, self._index, self._hard, self._seed = run, index, hard, seed
        self._landmarks = index[LANDMARK_COLUMNS].to_numpy(np.float32).reshape(-1, 5, 2)
        self._transform = transforms.create_train_transforms(recipe.size)

    def __getitem__(self, key: tuple[int, int, int]) -> Sample:
        epoch, position, row = key
        crop = self._index.iloc[row]
        place = (str(crop["video_id"]), int(crop["frame_index"]), int(crop["face_index"]))
        image = self._run.read_image(self._run.crop_path(FaceKey(*place)))
        mask = (
            self._run.read_image(self._run.mask_path(FaceKey(*place)))
            if crop["has_mask"]
            else np.zeros(image.shape[:2], np.uint8)
        )
        landmarks = self._landmarks[row]
        if self._hard:
            image = cutouts.cut_out(image, mask, landmarks, np.random.default_rng([self._seed, epoch, position]))
        transforms.seed_transform(self._transform, self._seed, epoch, position)
        drawn = self._transform(image=image, mask=mask, keypoints=landmarks)
        return Sample(torch.from_numpy(drawn["image"]).permute(2, 0, 1), float(crop["label"]), row)


class PlainCrops(Dataset[Sample]):
    """Crops as they are, brought to the model's size; for validation."""

    def __init__(self, run: Run, index: pd.DataFrame, rows: np.ndarray, recipe: Recipe) -> None:
        self._run, self._index, self._rows, self._recipe = run, index, rows, recipe

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> Sample:
        row = int(self._rows[position])
        crop = self._index.iloc[row]
        image = self._run.read_image(
            self._run.crop_path(FaceKey(str(crop["video_id"]), int(crop["frame_index"]), int(crop["face_index"])))
        )
        fed = fit_to_square(image, self._recipe)
        return Sample(torch.from_numpy(fed).permute(2, 0, 1), float(crop["label"]), row)


def _turn_length(labels: np.ndarray) -> int:
    reals, fakes = int((labels == REAL).sum()), int((labels == FAKE).sum())
    return reals + min(reals, fakes)
