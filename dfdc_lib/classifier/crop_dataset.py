"""Read the crops, masks and labels of a run as training samples.

Input: the run folder. Output: an index of the labelled crops (a table: millions of crops fit in memory), the draw of an
epoch, and data sets. A sample depends only on (seed, epoch, position), not on the number of workers or processes.
Source: the slides (fakes are drawn down to the number of reals); the winner's code (validation on every 20th frame).
Departs from the winner's code: the draw does not fail if there are fewer fakes than reals, and an unchanged face of a
fake (its mask shows a second, real person) is left out; there it is trained on as a fake.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from dfdc_lib.augmentation import cutouts, transforms
from dfdc_lib.classifier.preprocess import fit_to_square
from dfdc_lib.classifier.training_processes import Process
from dfdc_lib.records import FAKE, KEY_COLUMNS, REAL, FaceExample, FaceKey, Recipe
from dfdc_lib.run_folder import LANDMARK_COLUMNS, Run

UNTOUCHED_SHARE = 0.002  # a fake's crop with a smaller changed share shows a face that was not forged
VALIDATION_STRIDE = 20  # winner: every 20th frame


class Sample(NamedTuple):
    """One crop, resized to the model's input but not normalised, with its label (1 = fake) and its row of the index.

    `image` is (3, size, size) uint8 RGB.
    """

    image: torch.Tensor  # (3, size, size) uint8 RGB
    label: float  # 1 = fake
    row: int  # of the index


def read_index(run: Run) -> pd.DataFrame:
    """Return a table with one row per labelled crop of a run; raise ValueError if there is none.

    Crops of fakes that show an unchanged face are left out. Columns: video_id (categorical), frame_index, face_index,
    boxes_frame_index (the frame in which the face was found; for a fake, usually a frame of its original), landmarks in
    pixels of the crop, label, fold, has_mask.
    """
    crops = run.read_table("crops.parquet")[[*KEY_COLUMNS, "boxes_frame_index", *LANDMARK_COLUMNS]]
    folds = run.read_table("folds.csv").dropna(subset=["label"])[["video_id", "label", "fold"]]
    masks = run.read_table("masks.csv")[[*KEY_COLUMNS, "changed_share"]]
    table = crops.merge(folds, on="video_id").merge(masks, on=KEY_COLUMNS, how="left")
    if table.empty:
        remedy = "train on videos that are known to be real or fake, or stop at the faces with `dfdc run --to 02`"
        raise ValueError(f"{run.root} has no labelled crops: {remedy}")
    table["has_mask"] = table["changed_share"].notna()
    table = table[~(table["changed_share"] < UNTOUCHED_SHARE)].drop(columns="changed_share").reset_index(drop=True)
    return table.astype({"video_id": "category", "label": np.int8, "fold": np.int16})


def training_rows(index: pd.DataFrame, folds: Sequence[int]) -> np.ndarray:
    """Return the positions, (n,) int, of the rows of `index` that are in the given folds.

    `index`: the table from `read_index`. Raises ValueError if these folds have no real or no fake crop.
    """
    chosen = index["fold"].isin(folds).to_numpy()
    for label, name in ((REAL, "real"), (FAKE, "fake")):
        if not (chosen & (index["label"] == label)).any():
            remedy = "choose another VALIDATION_FOLD and TEST_FOLD, or another SCHEME in 04_folds"
            raise ValueError(f"the training folds {list(folds)} have no {name} crop: {remedy}")
    return np.flatnonzero(chosen)


def validation_rows(index: pd.DataFrame, fold: int) -> np.ndarray:
    """Return the positions, (n,) int, of the rows of `index` for validation on one fold.

    These are the fold's rows whose boxes_frame_index is a multiple of 20. `index`: the table from `read_index`. Raises
    ValueError if there are none.
    """
    rows = np.flatnonzero((index["fold"] == fold) & (index["boxes_frame_index"] % VALIDATION_STRIDE == 0))
    if not len(rows):
        remedy = f"choose another fold, or a FRAME_STRIDE in 01_detect_faces that divides {VALIDATION_STRIDE}"
        raise ValueError(f"fold {fold} has no crop of every {VALIDATION_STRIDE}th frame, for validation: {remedy}")
    return rows


def draw_rows(labels: np.ndarray, seed: int, epoch: int, turn: int = 0) -> np.ndarray:
    """Draw the crops of one pass: all reals and as many fakes, shuffled; return their positions in `labels`.

    `labels`, (n,): 0 or 1 per training crop. `turn` counts the passes of one epoch from 0. If there are fewer fakes
    than reals, all crops are drawn; a warning says so in the first pass of the first epoch.
    Source: slides, `fakes.sample(n=num_real, replace=False, random_state=seed)`. Departs: epochs differ, also for seed
    0.
    """
    rng = np.random.default_rng([seed, epoch, turn])
    reals, fakes = np.flatnonzero(labels == REAL), np.flatnonzero(labels == FAKE)
    if len(fakes) > len(reals):
        fakes = rng.choice(fakes, size=len(reals), replace=False)
    elif len(fakes) < len(reals) and epoch == turn == 0:
        warnings.warn(f"{len(fakes)} fake crops, fewer than the {len(reals)} real ones: all are used", stacklevel=2)
    return rng.permutation(np.concatenate([reals, fakes]))


def epoch_keys(rows: np.ndarray, labels: np.ndarray, count: int, seed: int, epoch: int) -> list[tuple[int, int, int]]:
    """Return the keys of one epoch's crops for `TrainingCrops`: (epoch, position in the epoch, row of the index).

    Args:
        rows, labels: positions of the index's rows to train on, (n,) int, and their labels, (n,), 0 or 1.
        count: crops in the epoch, over all processes; the training crops are drawn again until it is reached.
        seed, epoch: both determine the draw; equal values draw the same crops.
    """
    reals = np.count_nonzero(labels == REAL)
    pass_length = reals + min(reals, len(labels) - reals)
    passes = [draw_rows(labels, seed, epoch, turn) for turn in range(math.ceil(count / pass_length))]
    drawn = rows[np.concatenate(passes)[:count]].tolist()
    return [(epoch, position, row) for position, row in enumerate(drawn)]


class TrainingCrops(Dataset[Sample]):
    """Augmented training crops, indexed by the keys of `epoch_keys`; equal keys return equal samples.

    `index` comes from `read_index`. With `hard`, the winner's "hardcore" cut-outs are applied first. `recipe` and
    `seed` are those of the training.
    """

    def __init__(self, run: Run, index: pd.DataFrame, recipe: Recipe, *, hard: bool, seed: int) -> None:
        self._run, self._hard, self._seed = run, hard, seed
        self._crops, self._has_mask = _Crops(index), index["has_mask"].to_numpy()
        self._landmarks = index[LANDMARK_COLUMNS].to_numpy(np.float32).reshape(-1, 5, 2)
        self._transform = transforms.create_train_transforms(recipe.size)

    def __getitem__(self, key: tuple[int, int, int]) -> Sample:
        epoch, position, row = key
        face_key, label = self._crops[row]
        image = self._run.read_image(self._run.crop_path(face_key))
        if self._hard:
            image = self._cut_out(image, row, np.random.default_rng([self._seed, epoch, position]))
        transforms.seed_transform(self._transform, self._seed, epoch, position)
        augmented = transforms.transform_crop(self._transform, image)
        return Sample(torch.from_numpy(augmented).permute(2, 0, 1), float(label), row)

    def _cut_out(self, image: np.ndarray, row: int, rng: np.random.Generator) -> np.ndarray:
        """Return the crop with a cut-out; the mask is read only for the one that depends on it."""
        name, (face_key, label) = cutouts.draw_cutout(rng), self._crops[row]
        if name == "none":
            return image
        is_read = name in cutouts.NEED_MASK and self._has_mask[row]
        mask = self._run.read_image(self._run.mask_path(face_key)) if is_read else np.zeros(image.shape[:2], np.uint8)
        return cutouts.apply_cutout(name, FaceExample(image, mask, self._landmarks[row], label), rng).crop


class PlainCrops(Dataset[Sample]):
    """The crops of `index`, resized to the model's input without augmentation; for validation and test.

    `index`: rows of the table from `read_index`; indexed by position.
    """

    def __init__(self, run: Run, index: pd.DataFrame, recipe: Recipe) -> None:
        self._run, self._crops, self._recipe = run, _Crops(index), recipe

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, row: int) -> Sample:
        face_key, label = self._crops[row]
        square = fit_to_square(self._run.read_image(self._run.crop_path(face_key)), self._recipe)
        return Sample(torch.from_numpy(square).permute(2, 0, 1), float(label), row)


def crop_loader(crops: Dataset[Sample], keys: list[Any], batch: int, process: Process) -> DataLoader:
    """Return the batches of the crops with these keys, in their order, as collated samples.

    The loaders of `process` stay for all passes over the batches, and each uses one thread; between two passes, the
    content of `keys` may be replaced. The tensors are in pinned memory if the process uses a GPU.
    """
    if process.loaders:  # before they are forked: a child that inherits OpenCV's pool of threads waits for them forever
        cv2.setNumThreads(1)
    return DataLoader(
        crops,
        batch,
        sampler=keys,
        num_workers=process.loaders,
        persistent_workers=process.loaders > 0,
        pin_memory=process.device.type == "cuda",
        worker_init_fn=_use_one_thread,
    )


def _use_one_thread(_: int) -> None:
    cv2.setNumThreads(1)  # torch limits its own threads in a loader


class _Crops:
    """The key and the label of each row of an index, as arrays: a row of a table of pandas takes a millisecond."""

    def __init__(self, index: pd.DataFrame) -> None:
        video = index["video_id"].array
        self._names, self._codes = video.categories.to_numpy(object), video.codes
        self._numbers = index[["frame_index", "face_index", "label"]].to_numpy(np.int32)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, row: int) -> tuple[FaceKey, int]:
        frame_index, face_index, label = self._numbers[row].tolist()
        return FaceKey(self._names[self._codes[row]], frame_index, face_index), label
