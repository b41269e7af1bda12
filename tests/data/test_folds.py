"""Folds: the winner's parts, whole groups, even strata, and which folds come first."""

import random
from collections import Counter
from pathlib import Path

import pytest

from dfdc_lib.data.folds import (
    connected_groups,
    deal_folds,
    has_both_labels,
    identity_groups,
    links_within,
    winner_folds,
    without_donors,
)
from dfdc_lib.data.leak_audit import audit
from dfdc_lib.records import FAKE, REAL, Video

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def video(video_id: str, *identities: str, **fields) -> Video:
    return Video(video_id=video_id, path=Path(f"{video_id}.mp4"), identities=identities, **fields)


def original_with_fakes(name: str, fake_count: int, methods: tuple[str, ...] = ("Deepfakes",)) -> list[Video]:
    common = {"label": FAKE, "original_id": name}
    fakes = [video(f"{name}_fake{n}", name, method=methods[n % len(methods)], **common) for n in range(fake_count)]
    return [video(name, name, label=REAL), *fakes]


def leak_free_folds(videos: list[Video], fold_count: int, seed: int = 0) -> dict[str, int]:
    return deal_folds(videos, identity_groups(videos), fold_count, seed)


@pytest.fixture(scope="module")
def mixed_videos() -> list[Video]:
    """40 groups: an original with 1 to 6 fakes of mixed methods."""
    dice = random.Random(7)
    drawn = [(f"o{n:02}", dice.randint(1, 6), tuple(dice.sample(METHODS, 4))) for n in range(40)]
    return [member for arguments in drawn for member in original_with_fakes(*arguments)]


def test_winner_folds():
    assert winner_folds([]) == {}
    folds = winner_folds([video(f"v{part}", part=part) for part in range(50)])
    assert list(folds.values()) == [fold for fold in range(15) for _ in range(3)] + 5 * [15]
    for part in (None, -1, 50):
        with pytest.raises(ValueError, match=f"got {part} for video b"):
            winner_folds([video("a", part=1), video("b", part=part)])


@pytest.mark.parametrize(
    ("videos", "groups"),
    [
        *[([], {}), ([video("a", "x", "x")], {"a": 0})],
        ([video("a"), video("b")], {"a": 0, "b": 1}),  # without an identity: alone
        ([video("b", "x"), video("c"), video("a", "x")], {"b": 0, "c": 1, "a": 0}),
        ([video("a", original_id="o"), video("b"), video("o")], {"a": 0, "b": 1, "o": 0}),
        ([video("a", original_id="absent"), video("b", original_id="absent")], {"a": 0, "b": 0}),
        ([video("a", "o"), video("o")], {"a": 0, "o": 1}),  # an identity is a name, not a video_id
        ([video("a", "x"), video("b", "y"), video("c", "x", "y")], {"a": 0, "b": 0, "c": 0}),
        ([video("a", "x"), video("f", original_id="a"), video("b", "x")], {"a": 0, "f": 0, "b": 0}),
    ],
)
def test_identity_groups(videos, groups):
    assert identity_groups(videos) == groups


def test_donor_and_compression_connect_a_faceforensics_pair():
    names = [("183", ("183",)), ("253", ("253",)), ("183_253", ("183", "253")), ("253_183", ("253", "183"))]
    videos = [video(f"{c}_{name}", *people, compression=c) for c in ("c23", "c40") for name, people in names]
    groups = identity_groups([*videos, video("c40_469", "469", compression="c40")])
    assert list(groups.values()) == 8 * [0] + [1]


def test_two_to_as_many_folds_as_groups():
    videos = [*original_with_fakes("a", 1), *original_with_fakes("b", 40), video("c")]
    assert sorted(Counter(leak_free_folds(videos, 3).values()).values()) == [1, 2, 41]
    for fold_count in (-3, 0, 1, 4):
        with pytest.raises(ValueError, match=f"2 to 3, got {fold_count}"):
            leak_free_folds(videos, fold_count)
    with pytest.raises(ValueError, match="0 groups"):
        leak_free_folds([], 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fold_count", [2, 5, 16])
def test_groups_are_whole_and_no_fold_is_empty(mixed_videos, fold_count, seed):
    folds = leak_free_folds(mixed_videos, fold_count, seed)
    groups = identity_groups(mixed_videos)
    assert set(folds) == {v.video_id for v in mixed_videos}
    assert set(folds.values()) == set(range(fold_count))
    assert len({(groups[name], fold) for name, fold in folds.items()}) == 40
    assert audit(mixed_videos, folds, []) == []
    folds["o07_fake0"] = (folds["o07"] + 1) % fold_count
    [leak] = audit(mixed_videos, folds, [])
    assert (set(leak.videos), set(leak.folds)) == ({"o07", "o07_fake0"}, {folds["o07"], folds["o07_fake0"]})


@pytest.mark.parametrize("seed", range(5))
def test_folds_have_similar_compositions(mixed_videos, seed):
    folds = leak_free_folds(mixed_videos, 5, seed)

    def spread(videos: list[Video]) -> int:
        counts = Counter(folds[v.video_id] for v in videos)
        return max(counts[fold] for fold in range(5)) - min(counts[fold] for fold in range(5))

    # With 8 random groups per fold, fakes differ by 3 to 20 (30 seeds) and a method by 4 to 8.
    assert spread([v for v in mixed_videos if v.label == FAKE]) <= 2  # of 26 per fold
    assert spread([v for v in mixed_videos if v.label == REAL]) <= 2  # of 8
    assert max(spread([v for v in mixed_videos if v.method == method]) for method in METHODS) <= 2  # of 7 or less


def test_compressions_are_spread_evenly():
    videos = [video(f"{c}{n}", label=REAL, compression=c) for c in ("c23", "c40") for n in range(4)]
    folds = leak_free_folds(videos, 4)
    pairs = sorted((folds[v.video_id], v.compression) for v in videos)
    assert pairs == [(fold, c) for fold in range(4) for c in ("c23", "c40")]


def test_folds_depend_on_the_seed_but_not_on_the_order(mixed_videos):
    shuffled = random.Random(1).sample(mixed_videos, len(mixed_videos))
    assert leak_free_folds(shuffled, 5, seed=3) == leak_free_folds(mixed_videos, 5, seed=3)
    assert leak_free_folds(mixed_videos, 5, seed=4) != leak_free_folds(mixed_videos, 5, seed=3)


def test_links_connect_groups_and_can_be_cut_at_folds():
    videos = [video(name) for name in "abcd"]
    assert connected_groups(videos, [("a", "c"), ["b"], ("c", "d")]) == {"a": 0, "b": 1, "c": 0, "d": 0}
    assert links_within({"a": 0, "b": 1, "c": 0}, [["a", "b", "c"], ["b", "d"]]) == [["a", "c"], ["b"], ["b"]]


def test_without_donors_a_fake_belongs_to_its_target():
    videos = [video("a", "x"), video("b", "y"), video("f", "x", "y"), video("g", original_id="b")]
    assert identity_groups(without_donors(videos)) == {"a": 0, "b": 1, "f": 0, "g": 1}


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_group_and_folds_of_one_label_are_trained_on(seed):
    people = [member for name in "abc" for member in original_with_fakes(name, 4)]
    reals = [video(f"r{n}", label=REAL) for n in range(20)]
    chained = original_with_fakes("z", 60)
    videos = [*chained, *reals, *people]
    folds = leak_free_folds(videos, 5, seed)
    assert {folds[v.video_id] for v in chained} == {4}  # 61 of 96 videos, a share is 19
    for fold in (0, 1):
        assert {v.label for v in videos if folds[v.video_id] == fold} == {REAL, FAKE}
    assert has_both_labels(videos, folds)
    assert not has_both_labels(videos, folds | {v.video_id: 1 for v in people})  # fold 0 has reals only
    assert has_both_labels(reals, leak_free_folds(reals, 5, seed))  # the other label does not exist
    other = original_with_fakes("y", 45)  # 46 of 127 videos; a third is 42
    folds = leak_free_folds([*chained, *other, *people, *reals[:5]], 3, seed)
    assert (folds["z"], folds["y"]) == (2, 1)  # the largest group is trained on
