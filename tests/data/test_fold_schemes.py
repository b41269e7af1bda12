"""Fold schemes: DFDC's parts, chained fakes, the data sets' own splits, and remedies that work."""

import re
from collections import Counter
from pathlib import Path

import pytest

from dfdc_lib.data.fold_schemes import SPLIT_FOLDS, assign
from dfdc_lib.data.folds import has_both_labels
from dfdc_lib.data.leak_audit import audit
from dfdc_lib.records import FAKE, REAL, Video


def video(video_id: str, label: int, *identities: str, **fields) -> Video:
    return Video(video_id=video_id, path=Path(f"{video_id}.mp4"), label=label, identities=identities, **fields)


def celebrities(people: int, youtube: int, tested: int = 0) -> list[Video]:
    """Celeb-DF in small: every person has two originals and gives the face to the next two; some are the test list."""
    videos = [video(f"y{n}", REAL, f"y{n}", split="test" if n < tested else "train") for n in range(youtube)]
    for n in range(people):
        split = "test" if n < tested else "train"
        videos += [video(f"id{n}_{copy}", REAL, f"id{n}", split=split) for copy in range(2)]
        donors = [f"id{(n + step) % people}" for step in (1, 2)]
        common = {"original_id": f"id{n}_0", "method": "Celeb-synthesis", "split": split}
        videos += [video(f"id{n}_{donor}", FAKE, f"id{n}", donor, **common) for donor in donors]
    return videos


def parts(count: int) -> list[Video]:
    """DFDC in small: every part has six originals, each with a fake."""
    names = [(f"p{part}v{n}", part) for part in range(count) for n in range(6)]
    fakes = [video(f"{name}f", FAKE, name, original_id=name, part=part) for name, part in names]
    return [video(name, REAL, name, part=part) for name, part in names] + fakes


def test_schemes_have_names():
    with pytest.raises(ValueError, match="leak-free, target, official, winner"):
        assign(parts(2), (), "leakfree", 5)


@pytest.mark.parametrize(("count", "whole"), [(10, True), (5, True), (4, False), (1, False)])
def test_parts_are_dealt_whole_if_there_are_enough(count, whole):
    videos = parts(count)
    folds, groups, [note] = assign(videos, (), "leak-free", 5)
    folds_of_part = {(video.part, folds[video.video_id]) for video in videos}
    assert (len(folds_of_part) == count) == whole
    assert ("not dealt whole" in note) == (not whole)
    assert len(set(groups.values())) == 6 * count  # what others resample: an original with its fakes


def test_look_alikes_stay_together():
    videos, alike = parts(1), [("p0v0", "p0v1"), ("p0v1f", "p0v2f")]
    folds, groups, _ = assign(videos, alike, "leak-free", 2)
    assert len({folds[name] for name in ("p0v0", "p0v1", "p0v2")}) == 1
    assert Counter(Counter(groups.values()).values()) == {6: 1, 2: 3}
    across = parts(10)
    folds, groups, [note] = assign(across, [("p0v0", "p9v0")], "leak-free", 5)
    assert folds["p0v1"] == folds["p9v1"]  # whole parts follow their look-alikes
    winner = assign(across, [("p0v0", "p9v0"), ("p0v0", "p0v1")], "winner", 5)
    assert winner.folds["p9v0"] == 3
    assert winner.groups["p0v0"] == winner.groups["p0v1"] != winner.groups["p9v0"]  # a group is in one fold


def test_chained_fakes_are_refused_with_what_works():
    videos = celebrities(12, youtube=20, tested=3)
    with pytest.raises(ValueError, match="21 groups, the largest has 48") as refused:
        assign(videos, (), "leak-free", 5)
    assert re.findall(r"SCHEME=([\w-]+)", str(refused.value)) == ["official", "target"]
    for scheme in ("official", "target"):
        assert has_both_labels(videos, assign(videos, (), scheme, 5).folds)


def test_remedies_name_fewer_folds_or_more_videos():
    videos = parts(1)
    with pytest.raises(ValueError, match="FOLD_COUNT=6"):
        assign(videos, (), "leak-free", 9)
    for fold_count in (-1, 1):
        with pytest.raises(ValueError, match="FOLD_COUNT=3"):
            assign(videos, (), "leak-free", fold_count)
    with pytest.raises(ValueError, match="add videos"):
        assign(videos[:2] + videos[6:8], (), "leak-free", 5)


def test_targets_are_apart_and_donors_are_leaks():
    """DeepFakeDetection in small: no list of splits, and donors connect all actors."""
    videos = [video.model_copy(update={"split": ""}) for video in celebrities(12, youtube=0)]
    folds, groups, [note] = assign(videos, (), "target", 5)
    assert (set(folds.values()), len(set(groups.values())), "donor" in note) == (set(range(5)), 12, True)
    for person in range(12):
        assert len({folds[v.video_id] for v in videos if v.identities[0] == f"id{person}"}) == 1
    leaks = audit(videos, folds, [])
    assert {leak.kind for leak in leaks} == {"donor"}
    with pytest.raises(ValueError, match="use SCHEME=target$"):
        assign(videos, (), "leak-free", 5)


def test_official_split_with_a_validation_list():
    named = [(split, n) for split in ("train", "validation", "test", "") for n in range(2)]
    videos = [video(f"{split}{n}", REAL, f"{split}{n}", split=split) for split, n in named]
    videos += [video(f"{split}{n}f", FAKE, f"{split}{n}", original_id=f"{split}{n}", split=split) for split, n in named]
    folds, groups, notes = assign(videos, (), "official", 5)
    assert folds == {v.video_id: SPLIT_FOLDS[v.split] for v in videos if v.split}
    assert (set(groups), len(set(groups.values()))) == (set(folds), 6)
    assert [note for note in notes if "4 videos" in note and "0, 0f, 1, 1f" in note]


def test_official_split_without_a_validation_list():
    """Celeb-DF: validation is dealt out of train, here by target because donors connect everyone."""
    videos = celebrities(20, youtube=20, tested=5)
    folds, groups, notes = assign(videos, (), "official", 5)
    assert Counter(folds.values())[1] == 5 * 5
    assert {v.split for v in videos if folds[v.video_id] != 1} == {"train"}
    chosen = [v for v in videos if folds[v.video_id] == 0]
    assert 0.1 < len(chosen) / 75 < 0.3
    assert {v.identities[0] for v in chosen}.isdisjoint(v.identities[0] for v in videos if folds[v.video_id] == 2)
    assert any("validation" in note for note in notes)
    assert assign(videos, [("y0", "y9")], "official", 5)[0] == folds  # look-alikes in test and training
    assert len({(group, folds[name]) for name, group in groups.items()}) == len(set(groups.values()))


@pytest.mark.parametrize("splits", ["", "train", "test"])
def test_official_split_needs_both_lists(splits):
    videos = [video.model_copy(update={"split": splits}) for video in parts(10)]
    with pytest.raises(ValueError, match=r"SCHEME=leak-free.*train\.json"):
        assign(videos, (), "official", 5)


def test_a_group_larger_than_a_fold_is_named_and_trained_on():
    videos = [*celebrities(12, youtube=0), *(v.model_copy(update={"split": ""}) for v in parts(1))]
    folds, _, notes = assign([v.model_copy(update={"part": None}) for v in videos], (), "leak-free", 4)
    assert any("48 of 60" in note for note in notes)
    assert {folds[v.video_id] for v in videos if v.video_id.startswith("id")} == {3}
