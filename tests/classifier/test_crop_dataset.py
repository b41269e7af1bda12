"""Training samples: the index, the draws, and their independence from the number of workers and processes."""

import multiprocessing
import shutil
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from train_work import FRAMES, LANDMARKS, PAIRS, SIDE, make_run, recipe

from dfdc_lib.augmentation import cutouts
from dfdc_lib.classifier.crop_dataset import (
    KEY_COLUMNS,
    PlainCrops,
    TrainingCrops,
    crop_loader,
    draw_rows,
    epoch_keys,
    read_index,
    training_rows,
    validation_rows,
)
from dfdc_lib.classifier.training_processes import Process
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


@pytest.mark.parametrize("missing", ["crops", "labels"])
def test_a_run_without_labelled_crops_is_an_error(missing: str, run: Run, tmp_path: Path) -> None:
    changed = copy_tables(run, tmp_path / "changed")
    if missing == "crops":
        changed.write_table("crops.parquet", run.read_table("crops.parquet").iloc[:0])
    else:
        changed.write_table("folds.csv", run.read_table("folds.csv").assign(label=None))
    with pytest.raises(ValueError, match="no labelled crops"):
        read_index(changed)


def test_index(index: pd.DataFrame) -> None:
    assert list(index.columns) == [*KEY_COLUMNS, "boxes_frame_index", *LANDMARK_COLUMNS, "label", "fold", "has_mask"]
    assert len(index) == 2 * PAIRS * len(FRAMES)
    assert index["video_id"].dtype == "category"
    assert (index["label"].dtype, index["fold"].dtype) == (np.int8, np.int16)
    assert (index["has_mask"] == (index["label"] == FAKE)).all()
    assert (index["label"] == index["video_id"].str.startswith("f")).all()
    assert (index["fold"] == index["video_id"].str[1:].astype(int) % 4).all()
    assert index.loc[0, LANDMARK_COLUMNS].tolist() == np.ravel(LANDMARKS).tolist()


def test_missing_masks_and_unforged_faces_of_fakes(run: Run, tmp_path: Path) -> None:
    changed, masks = copy_tables(run, tmp_path / "changed"), run.read_table("masks.csv")
    changed.write_table("masks.csv", masks.iloc[:0])
    without_masks = read_index(changed)
    assert len(without_masks) == 2 * PAIRS * len(FRAMES) and not without_masks["has_mask"].any()
    masks.loc[:2, "changed_share"] = [0.0, 0.0019, 0.002]  # the third is just enough
    changed.write_table("masks.csv", masks)
    places = set(zip(*(read_index(changed)[name] for name in ("video_id", "frame_index")), strict=True))
    assert places.isdisjoint({("f0", 0), ("f0", 10)})
    assert ("f0", 20) in places
    assert len(places) == 2 * PAIRS * len(FRAMES) - 2


def test_training_rows(index: pd.DataFrame) -> None:
    rows = training_rows(index, TRAIN_FOLDS)
    assert len(rows) == len(index) // 2
    assert set(index["fold"].iloc[rows]) == set(TRAIN_FOLDS)
    for missing, name in ((REAL, "real"), (FAKE, "fake")):
        with pytest.raises(ValueError, match=name):
            training_rows(index[index["label"] != missing], TRAIN_FOLDS)


def test_validation_rows(index: pd.DataFrame) -> None:
    chosen = index.iloc[validation_rows(index, 1)]
    assert set(chosen["video_id"]) == {"r1", "f1", "r5", "f5"}
    assert sorted(chosen["frame_index"]) == [0] * 4 + [20] * 4
    with pytest.raises(ValueError, match="FRAME_STRIDE"):
        validation_rows(index[index["frame_index"] % 20 != 0], 1)


def test_fakes_are_drawn_down_to_the_reals() -> None:
    drawn = draw_rows(LABELS, seed=1, epoch=0)
    assert len(drawn) == len(set(drawn)) == 20
    assert set(range(10)) < set(drawn)
    assert (LABELS[drawn] == FAKE).sum() == 10
    assert (LABELS[drawn[:10]] == FAKE).any() and (LABELS[drawn[:10]] == REAL).any()  # shuffled


def test_fewer_fakes_than_reals_are_all_drawn_with_one_warning() -> None:
    labels = np.array([REAL] * 5 + [FAKE] * 2)
    with pytest.warns(UserWarning, match="fewer"):
        assert sorted(draw_rows(labels, seed=0, epoch=0)) == list(range(7))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sorted(draw_rows(labels, seed=0, epoch=1)) == list(range(7))
        assert sorted(draw_rows(labels[3:], seed=0, epoch=0)) == [0, 1, 2, 3]  # as many fakes as reals


@pytest.mark.parametrize("seed", [0, 1, 111])
def test_every_epoch_and_turn_draws_other_fakes(seed: int) -> None:
    draws = {tuple(draw_rows(LABELS, seed, epoch, turn)) for epoch in range(4) for turn in range(3)}
    assert len(draws) == 12
    assert len({tuple(sorted(draw)) for draw in draws}) == 12  # not only another order
    assert tuple(draw_rows(LABELS, seed, 3, 2)) in draws
    assert draws.isdisjoint(tuple(draw_rows(LABELS, seed + 1, epoch)) for epoch in range(4))


@pytest.mark.parametrize("count", [1, 20, 21, 73])
def test_an_epoch_has_exactly_count_crops(count: int) -> None:
    keys = epoch_keys(np.arange(100, 140), LABELS, count, seed=0, epoch=2)
    draws = np.concatenate([draw_rows(LABELS, 0, 2, turn) for turn in range(4)])  # 20 crops each
    assert keys == [(2, position, 100 + row) for position, row in enumerate(draws[:count])]


def drawn_images(
    run: Run, index: pd.DataFrame, *, hard: bool = True, seed: int = 0, epoch: int = 0, workers: int = 0
) -> torch.Tensor:
    rows = training_rows(index, TRAIN_FOLDS)
    crops = TrainingCrops(run, index, recipe(), hard=hard, seed=seed)
    keys = epoch_keys(rows, index["label"].to_numpy()[rows], 16, seed=7, epoch=epoch)  # independent of `seed`
    return torch.cat([images for images, _, _ in crop_loader(crops, keys, 4, Process(loaders=workers))])


def test_training_crops_are_equal_for_any_number_of_workers(run: Run, index: pd.DataFrame) -> None:
    expected = drawn_images(run, index)
    assert expected.shape == (16, 3, SIDE, SIDE) and expected.dtype == torch.uint8
    for workers in (1, 2):
        assert torch.equal(drawn_images(run, index, workers=workers), expected)


def test_loaders_stay_and_read_replaced_keys(run: Run, index: pd.DataFrame) -> None:
    crops, keys = PlainCrops(run, index, recipe()), [0, 1, 2]
    loader = crop_loader(crops, keys, 2, Process(loaders=1))
    assert [rows.tolist() for _, _, rows in loader] == [[0, 1], [2]]
    before = {process.pid for process in multiprocessing.active_children()}
    keys[:] = [5, 4]
    assert [rows.tolist() for _, _, rows in loader] == [[5, 4]]
    assert {process.pid for process in multiprocessing.active_children()} == before


def test_a_cut_out_reads_the_mask_only_if_it_depends_on_it(
    run: Run, index: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops, row = TrainingCrops(run, index, recipe(), hard=True, seed=0), int(index["has_mask"].idxmax())
    read: list[Path] = []
    monkeypatch.setattr(Run, "mask_path", lambda self, key: (read.append(key), self.root / "no.png")[1])
    for name in cutouts.SHARES:
        monkeypatch.setattr(cutouts, "draw_cutout", lambda _, name=name: name)
        with pytest.raises(FileNotFoundError) if name in cutouts.NEED_MASK else nullcontext():
            crops[0, 0, row]
    assert len(read) == 1


def test_training_crops_differ_by_seed_epoch_and_position(run: Run, index: pd.DataFrame) -> None:
    crops = {seed: TrainingCrops(run, index, recipe(), hard=False, seed=seed) for seed in (0, 1)}
    keys = [(seed, epoch, position) for seed in (0, 1) for epoch in range(3) for position in range(4)]
    images = {crops[seed][epoch, position, 5].image.numpy().tobytes() for seed, epoch, position in keys}
    assert len(images) >= len(keys) - 2  # 3 % each: no change, or a flip alone
    assert crops[0][2, 3, 5].image.numpy().tobytes() in images
    for row in (0, 4):  # of r0 and of f0
        sample = crops[0][0, 0, row]
        assert (sample.label, sample.row, sample.image.dtype) == (float(index["label"][row]), row, torch.uint8)


def test_hard_training_blacks_out_parts(run: Run, index: pd.DataFrame) -> None:
    plain, hard = drawn_images(run, index, hard=False), drawn_images(run, index, hard=True)
    changed = (plain != hard).flatten(1).any(1).sum()
    assert 5 <= changed <= 15  # of 16; 69.65 % are expected
    black = (hard == 0).all(1).sum() - (plain == 0).all(1).sum()
    assert black > 16 * 50


def test_plain_crops_are_the_stored_crops_at_the_models_size(run: Run, index: pd.DataFrame) -> None:
    chosen = index.iloc[validation_rows(index, 0)]
    crops = PlainCrops(run, chosen, recipe())
    assert len(crops) == len(chosen) == 8
    image, label, row = crops[3]
    assert (row, label) == (3, float(chosen["label"].iloc[3]))
    assert image.shape == (3, SIDE, SIDE) and image.dtype == torch.uint8
    key = FaceKey(*chosen[KEY_COLUMNS].iloc[3])
    assert np.array_equal(image.permute(1, 2, 0).numpy(), run.read_image(run.crop_path(key)))
    larger = recipe().model_copy(update={"size": 96})
    assert PlainCrops(run, chosen, larger)[0].image.shape == (3, 96, 96)
