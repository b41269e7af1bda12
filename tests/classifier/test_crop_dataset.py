"""Training samples: which crops there are, which are drawn when, and the same ones whatever the number of workers and processes."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader
from train_work import FRAMES, LANDMARKS, PAIRS, SIDE, make_run, recipe

from dfdc_lib.classifier.crop_dataset import (
    EpochSampler,
    PlainCrops,
    TrainingCrops,
    draw_rows,
    read_index,
    training_rows,
    validation_rows,
)
from dfdc_lib.faces.stages import CROP_COLUMNS
from dfdc_lib.records import FAKE, REAL, FaceKey
from dfdc_lib.run_folder import LANDMARK_COLUMNS, Run, open_run

TRAIN_FOLDS = [2, 3]
LABELS = np.array([REAL] * 10 + [FAKE] * 30)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("train") / "run")


@pytest.fixture(scope="module")
def index(run: Run) -> pd.DataFrame:
    return read_index(run)


def copy_tables(run: Run, root: Path) -> Run:
    """Copy the tables of a run, to change them."""
    copied = open_run(root)
    for name in ("crops.parquet", "masks.csv", "folds.csv"):
        shutil.copy(run.root / name, copied.root / name)
    return copied


# Index ------------------------------------------------------------------------------------------------------------------------------
def test_a_run_without_crops_is_an_error(run: Run, tmp_path: Path) -> None:
    empty = copy_tables(run, tmp_path / "empty")
    empty.write_table("crops.parquet", pd.DataFrame([], columns=CROP_COLUMNS))
    with pytest.raises(
        ValueError,
        match="holds no labelled crops: training needs videos that are known to be real or fake; .* `dfdc run --to 02`",
    ):
        read_index(empty)


def test_a_run_without_labels_is_an_error(run: Run, tmp_path: Path) -> None:
    unlabelled = copy_tables(run, tmp_path / "unlabelled")
    unlabelled.write_table("folds.csv", run.read_table("folds.csv").assign(label=None))
    with pytest.raises(ValueError, match="holds no labelled crops"):
        read_index(unlabelled)


def test_index(index: pd.DataFrame) -> None:
    assert list(index.columns) == [
        "video_id",
        "frame_index",
        "face_index",
        *LANDMARK_COLUMNS,
        "label",
        "fold",
        "has_mask",
    ]
    assert len(index) == 2 * PAIRS * len(FRAMES)
    assert index["video_id"].dtype == "category"
    assert (index["label"].dtype, index["fold"].dtype) == (np.int8, np.int16)
    assert (index["has_mask"] == (index["label"] == FAKE)).all()
    assert (index["label"] == index["video_id"].str.startswith("f")).all()
    assert (index["fold"] == index["video_id"].str[1:].astype(int) % 4).all()
    assert index.loc[0, LANDMARK_COLUMNS].tolist() == np.ravel(LANDMARKS).tolist()


def test_a_run_without_masks(run: Run, tmp_path: Path) -> None:
    maskless = copy_tables(run, tmp_path / "maskless")
    maskless.write_table("masks.csv", run.read_table("masks.csv").iloc[:0])
    read = read_index(maskless)
    assert len(read) == 2 * PAIRS * len(FRAMES)
    assert not read["has_mask"].any()


def test_faces_of_fakes_that_nobody_forged_are_left_out(run: Run, tmp_path: Path) -> None:
    changed = copy_tables(run, tmp_path / "changed")
    masks = run.read_table("masks.csv")
    masks.loc[:2, "changed_share"] = [0.0, 0.0019, 0.002]  # the third is just enough
    changed.write_table("masks.csv", masks)
    places = set(zip(*(read_index(changed)[name] for name in ("video_id", "frame_index")), strict=True))
    assert ("f0", 0) not in places
    assert ("f0", 10) not in places
    assert ("f0", 20) in places
    assert len(places) == 2 * PAIRS * len(FRAMES) - 2


def test_training_rows(index: pd.DataFrame) -> None:
    rows = training_rows(index, TRAIN_FOLDS)
    assert len(rows) == len(index) // 2
    assert set(index["fold"].iloc[rows]) == set(TRAIN_FOLDS)


@pytest.mark.parametrize(("missing", "name"), [(REAL, "real"), (FAKE, "fake")])
def test_training_folds_without_a_kind_are_an_error(missing: int, name: str, index: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=rf"training folds \[2, 3\] hold no {name} crop: choose other folds"):
        training_rows(index[index["label"] != missing], TRAIN_FOLDS)


def test_validation_takes_every_20th_frame_of_one_fold(index: pd.DataFrame) -> None:
    chosen = index.iloc[validation_rows(index, 1)]
    assert set(chosen["video_id"]) == {"r1", "f1", "r5", "f5"}
    assert sorted(chosen["frame_index"]) == [0] * 4 + [20] * 4


def test_a_validation_fold_without_such_frames_is_an_error(index: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="fold 1 holds no crop of a frame whose number 20 divides.*FRAME_STRIDE"):
        validation_rows(index[index["frame_index"] % 20 != 0], 1)


# Balance ----------------------------------------------------------------------------------------------------------------------------
def test_fakes_are_drawn_down_to_the_reals() -> None:
    drawn = draw_rows(LABELS, seed=1, epoch=0)
    assert len(drawn) == len(set(drawn)) == 20
    assert set(range(10)) < set(drawn)
    assert (LABELS[drawn] == FAKE).sum() == 10
    assert (LABELS[drawn[:10]] == FAKE).any() and (LABELS[drawn[:10]] == REAL).any()  # shuffled


def test_as_many_fakes_as_reals_are_all_drawn_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(draw_rows(np.array([FAKE, REAL, FAKE, REAL]), seed=0, epoch=0)) == [0, 1, 2, 3]


def test_fewer_fakes_than_reals_are_all_drawn_with_a_warning() -> None:
    labels = np.array([REAL] * 5 + [FAKE] * 2)
    with pytest.warns(UserWarning, match="2 fake crops, fewer than the 5 real ones: every turn uses all of them"):
        assert sorted(draw_rows(labels, seed=0, epoch=0)) == list(range(7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once, in the first epoch
        assert sorted(draw_rows(labels, seed=0, epoch=1)) == list(range(7))


@pytest.mark.parametrize("seed", [0, 1, 111])
def test_every_epoch_and_turn_draws_other_fakes(seed: int) -> None:
    draws = {tuple(draw_rows(LABELS, seed, epoch, turn)) for epoch in range(4) for turn in range(3)}
    assert len(draws) == 12
    assert len({tuple(sorted(draw)) for draw in draws}) == 12  # not only another order
    assert tuple(draw_rows(LABELS, seed, 3, 2)) in draws


def test_another_seed_draws_others() -> None:
    assert not np.array_equal(draw_rows(LABELS, 0, 1), draw_rows(LABELS, 1, 0))
    assert not np.array_equal(draw_rows(LABELS, 0, 0), draw_rows(LABELS, 1, 0))


# Order ------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1, 20, 21, 73])
def test_an_epoch_has_exactly_the_asked_number_of_crops(count: int) -> None:
    sampler = EpochSampler(np.arange(100, 140), LABELS, count, seed=0, epoch=2)
    keys = list(sampler)
    assert len(sampler) == len(keys) == count
    assert [(epoch, position) for epoch, position, _ in keys] == [(2, position) for position in range(count)]
    assert all(100 <= row < 140 for _, _, row in keys)


def test_an_epoch_turns_through_the_crops() -> None:
    rows = [row for _, _, row in EpochSampler(np.arange(40), LABELS, 60, seed=5, epoch=1)]
    for turn in range(3):
        assert rows[20 * turn : 20 * turn + 20] == draw_rows(LABELS, 5, 1, turn).tolist()


@pytest.mark.parametrize("start", [0, 12])
def test_shares_of_two_processes_interleave_to_the_order_of_one(start: int) -> None:
    def share(**place: int) -> list[tuple[int, int, int]]:
        return list(EpochSampler(np.arange(40), LABELS, 48, 3, 1, start=start, **place))

    shares = [share(rank=rank, processes=2) for rank in (0, 1)]
    assert [key for pair in zip(*shares, strict=True) for key in pair] == share()


def test_start_goes_on_where_an_epoch_was_left() -> None:
    whole = list(EpochSampler(np.arange(40), LABELS, 50, seed=3, epoch=1))
    assert list(EpochSampler(np.arange(40), LABELS, 50, seed=3, epoch=1, start=33)) == whole[33:]


# Crops ------------------------------------------------------------------------------------------------------------------------------
def drawn_images(
    run: Run, index: pd.DataFrame, *, hard: bool = True, seed: int = 0, epoch: int = 0, workers: int = 0
) -> torch.Tensor:
    rows = training_rows(index, TRAIN_FOLDS)
    crops = TrainingCrops(run, index, recipe(), hard=hard, seed=seed)
    sampler = EpochSampler(
        rows, index["label"].to_numpy()[rows], 16, seed=7, epoch=epoch
    )  # of its own seed: the crops stay the same
    return torch.cat([images for images, _, _ in DataLoader(crops, 4, sampler=sampler, num_workers=workers)])


def test_training_crops_are_equal_for_any_number_of_workers(run: Run, index: pd.DataFrame) -> None:
    expected = drawn_images(run, index)
    assert expected.shape == (16, 3, SIDE, SIDE) and expected.dtype == torch.uint8
    for workers in (1, 2):
        assert torch.equal(drawn_images(run, index, workers=workers), expected)


def test_training_crops_differ_by_seed_epoch_and_position(run: Run, index: pd.DataFrame) -> None:
    crops = {seed: TrainingCrops(run, index, recipe(), hard=False, seed=seed) for seed in (0, 1)}
    keys = [(seed, epoch, position) for seed in (0, 1) for epoch in range(3) for position in range(4)]
    images = {crops[seed][epoch, position, 5].image.numpy().tobytes() for seed, epoch, position in keys}
    assert len(images) >= len(keys) - 2  # nothing at all, or a flip alone, is drawn for 3 % each
    assert crops[0][2, 3, 5].image.numpy().tobytes() in images


def test_a_training_crop_says_what_it_is(run: Run, index: pd.DataFrame) -> None:
    crops = TrainingCrops(run, index, recipe(), hard=False, seed=0)
    for row in (0, 4):  # of r0 and of f0
        sample = crops[0, 0, row]
        assert (sample.label, sample.row) == (float(index["label"][row]), row)
        assert sample.image.is_floating_point() is False


def test_hard_blacks_out_what_plain_training_shows(run: Run, index: pd.DataFrame) -> None:
    plain, hard = drawn_images(run, index, hard=False), drawn_images(run, index, hard=True)
    changed = (plain != hard).flatten(1).any(1).sum()
    assert 5 <= changed <= 15  # of 16; 69.65 % are expected
    black = (hard == 0).all(1).sum() - (plain == 0).all(1).sum()
    assert black > 16 * 50


def test_plain_crops_are_the_stored_ones(run: Run, index: pd.DataFrame) -> None:
    rows = validation_rows(index, 0)
    crops = PlainCrops(run, index, rows, recipe())
    assert len(crops) == len(rows) == 8
    image, label, row = crops[3]
    assert (row, label) == (rows[3], float(index["label"][rows[3]]))
    assert image.shape == (3, SIDE, SIDE) and image.dtype == torch.uint8
    place = index.loc[row, ["video_id", "frame_index", "face_index"]]
    assert np.array_equal(image.permute(1, 2, 0).numpy(), run.read_image(run.crop_path(FaceKey(*place))))


def test_plain_crops_come_in_the_models_size(run: Run, index: pd.DataFrame) -> None:
    larger = recipe().model_copy(update={"size": 96})
    assert PlainCrops(run, index, validation_rows(index, 0), larger)[0].image.shape == (3, 96, 96)
