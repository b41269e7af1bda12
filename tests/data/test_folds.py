"""Folds and the leakage audit: the winner's edges, whole groups, even strata, planted leaks, scenes told apart in real videos."""

import random
import re
from collections import Counter
from functools import cache
from itertools import combinations, islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data

from dfdc_lib.data.folds import (
    CHUNK_ROWS,
    FLAT_HASH,
    SIMILAR_DISTANCE,
    Leak,
    SimilarPair,
    audit,
    identity_groups,
    leak_free_folds,
    perceptual_hash,
    similar_pairs,
    winner_folds,
)
from dfdc_lib.records import FAKE, REAL, Video

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")


def video(video_id: str, **fields) -> Video:
    return Video(video_id=video_id, path=Path(f"{video_id}.mp4"), **fields)


def original_with_fakes(name: str, fake_count: int, methods: tuple[str, ...] = ("Deepfakes",)) -> list[Video]:
    fakes = [
        video(f"{name}_fake{n}", label=FAKE, original_id=name, identities=(name,), method=methods[n % len(methods)])
        for n in range(fake_count)
    ]
    return [video(name, label=REAL, identities=(name,)), *fakes]


# The winner's folds -------------------------------------------------------------------------------------------------------------------


def test_winner_folds_of_nothing():
    assert winner_folds([]) == {}


@pytest.mark.parametrize(("part", "fold"), [(0, 0), (2, 0), (3, 1), (44, 14), (45, 15), (48, 15), (49, 15)])
def test_winner_fold_of_a_part(part, fold):
    assert winner_folds([video("a", part=part)]) == {"a": fold}


def test_winner_folds_are_sixteen_of_three_parts_and_the_last_of_five():
    counts = Counter(winner_folds([video(f"v{part}", part=part) for part in range(50)]).values())
    assert counts == dict.fromkeys(range(15), 3) | {15: 5}


@pytest.mark.parametrize("part", [None, -1, 50])
def test_winner_folds_need_a_part_of_dfdc(part):
    with pytest.raises(ValueError, match=f"part must be 0–49, got {part} for video b: .* use leak_free_folds"):
        winner_folds([video("a", part=1), video("b", part=part)])


# Groups -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("videos", "groups"),
    [
        ([], {}),
        ([video("a")], {"a": 0}),
        ([video("a"), video("b")], {"a": 0, "b": 1}),  # no identity: alone
        ([video("b", identities=("x",)), video("c"), video("a", identities=("x",))], {"b": 0, "c": 1, "a": 0}),
        ([video("a", original_id="o"), video("b"), video("o")], {"a": 0, "b": 1, "o": 0}),
        ([video("a", original_id="absent"), video("b", original_id="absent")], {"a": 0, "b": 0}),
        ([video("a", identities=("o",)), video("o")], {"a": 0, "o": 1}),  # an identity is a name, not a video_id
        (
            [video("a", identities=("x",)), video("b", identities=("y",)), video("c", identities=("x", "y"))],
            {"a": 0, "b": 0, "c": 0},
        ),
        ([video("a", identities=("x", "x"))], {"a": 0}),
        # an original link goes on where an identity ends
        (
            [video("a", identities=("x",)), video("f", original_id="a"), video("b", identities=("x",))],
            {"a": 0, "f": 0, "b": 0},
        ),
    ],
)
def test_identity_groups(videos, groups):
    assert identity_groups(videos) == groups


def test_donor_and_compression_tie_a_faceforensics_pair_into_one_group():
    names = [("183", ("183",)), ("253", ("253",)), ("183_253", ("183", "253")), ("253_183", ("253", "183"))]
    videos = [video(f"{c}_{name}", identities=people, compression=c) for c in ("c23", "c40") for name, people in names]
    assert set(identity_groups([*videos, video("c40_469", identities=("469",), compression="c40")]).values()) == {0, 1}


# Leak-free folds ----------------------------------------------------------------------------------------------------------------------


def mixed_videos() -> list[Video]:
    """40 groups: an original with 1 to 6 fakes of mixed methods."""
    dice = random.Random(7)
    return [
        v
        for n in range(40)
        for v in original_with_fakes(f"o{n:02}", dice.randint(1, 6), tuple(dice.sample(METHODS, 4)))
    ]


@pytest.mark.parametrize("fold_count", [1, 0, -3])
def test_one_fold_is_no_split(fold_count):
    with pytest.raises(ValueError, match=f"fold_count must be 2 or more, got {fold_count}"):
        leak_free_folds(mixed_videos(), fold_count)


def test_no_videos_have_no_folds():
    with pytest.raises(ValueError, match="fold_count must be at most 0, got 2: .* the 0 videos into 0 groups, and"):
        leak_free_folds([], 2)


def test_too_few_groups_say_how_many_folds_are_possible():
    videos = [*original_with_fakes("a", 1), *original_with_fakes("b", 4), video("c")]
    message = "fold_count must be at most 3, got 4: .* tie the 8 videos into 3 groups (the largest has 5, among them b)"
    with pytest.raises(ValueError, match=re.escape(message).replace(r"\.\*", ".*")):
        leak_free_folds(videos, 4)


def test_as_many_folds_as_groups_leaves_none_empty():
    videos = [*original_with_fakes("a", 1), *original_with_fakes("b", 40), video("c")]
    folds = leak_free_folds(videos, 3)
    assert sorted(Counter(folds.values()).values()) == [1, 2, 41]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fold_count", [2, 5, 16])
def test_groups_are_whole_and_folds_full(fold_count, seed):
    videos = mixed_videos()
    folds = leak_free_folds(videos, fold_count, seed)
    groups = identity_groups(videos)
    assert set(folds) == {v.video_id for v in videos}
    assert set(folds.values()) == set(range(fold_count))
    assert len({(groups[name], fold) for name, fold in folds.items()}) == 40
    assert audit(videos, folds, {}) == []


@pytest.mark.parametrize("seed", range(5))
def test_folds_resemble_each_other(seed):
    videos = mixed_videos()
    folds = leak_free_folds(videos, 5, seed)

    def spread(chosen: list[Video]) -> int:
        counts = Counter(folds[v.video_id] for v in chosen)
        return max(counts[fold] for fold in range(5)) - min(counts[fold] for fold in range(5))

    # Groups dealt out at random, 8 a fold: fakes differ by 3 to 20 (30 seeds), a method by 4 to 8.
    assert spread([v for v in videos if v.label == FAKE]) <= 2  # of 26 a fold
    assert spread([v for v in videos if v.label == REAL]) <= 2  # of 8
    assert max(spread([v for v in videos if v.method == method]) for method in METHODS) <= 2  # of 7 or less


def test_compressions_are_spread_too():
    videos = [video(f"{c}{n}", label=REAL, compression=c) for c in ("c23", "c40") for n in range(4)]
    folds = leak_free_folds(videos, 4)
    assert sorted((folds[v.video_id], v.compression) for v in videos) == [
        (fold, c) for fold in range(4) for c in ("c23", "c40")
    ]


def test_folds_are_those_of_the_seed_in_any_order():
    videos = mixed_videos()
    shuffled = random.Random(1).sample(videos, len(videos))
    assert leak_free_folds(shuffled, 5, seed=3) == leak_free_folds(videos, 5, seed=3)
    assert leak_free_folds(videos, 5, seed=4) != leak_free_folds(videos, 5, seed=3)


# Perceptual hash ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_flat_image_has_the_flat_hash(level):
    assert perceptual_hash(np.full((90, 160, 3), level, np.uint8)) == FLAT_HASH


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((8, 8), np.uint8), r"\(8, 8\) uint8"),
        (np.zeros((8, 8, 4), np.uint8), r"\(8, 8, 4\) uint8"),
        (np.zeros((0, 8, 3), np.uint8), r"\(0, 8, 3\) uint8"),
        (np.zeros((8, 8, 3), np.float32), r"\(8, 8, 3\) float32"),
    ],
)
def test_hash_wants_rgb(image, got):
    with pytest.raises(ValueError, match=f"image must be .* uint8 RGB, got {got}"):
        perceptual_hash(image)


def test_bits_are_frequencies_from_the_highest_bit():
    dark_to_light = np.repeat(np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))[..., None], 3, axis=2)
    value = perceptual_hash(dark_to_light)
    assert value >> 63 == 1  # the constant term
    assert value >> 62 & 1 == 0  # one half wave across, negative: light on the right
    assert perceptual_hash(dark_to_light[:, ::-1]) >> 62 & 1 == 1


def test_half_of_the_bits_of_a_photograph_are_set():
    assert perceptual_hash(data.astronaut()).bit_count() == 32


@pytest.mark.parametrize(
    ("change", "distance"),
    [
        (lambda image: image, 0),
        (lambda image: cv2.resize(image, (300, 300), interpolation=cv2.INTER_AREA), 4),
        (
            lambda image: cv2.imdecode(
                cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR
            ),
            4,
        ),
        (lambda image: (image * 0.7).astype(np.uint8), 4),
    ],
)
def test_small_changes_keep_the_hash(change, distance):
    image = data.astronaut()
    assert (perceptual_hash(image) ^ perceptual_hash(change(image))).bit_count() <= distance


def test_other_pictures_have_other_hashes():
    hashes = [
        perceptual_hash(image)
        for image in (data.astronaut(), data.astronaut()[:, ::-1], data.chelsea(), data.coffee(), data.rocket())
    ]
    assert min((a ^ b).bit_count() for a, b in combinations(hashes, 2)) > SIMILAR_DISTANCE


# Similar pairs ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hashes", "max_distance", "pairs"),
    [
        ({}, 12, []),
        ({"a": [5]}, 12, []),
        ({"a": [], "b": [5]}, 12, []),
        ({"a": [5, 5, 4]}, 12, []),  # a video is not similar to itself
        ({"b": [5], "a": [5]}, 0, [SimilarPair("a", "b", 0)]),
        ({"a": [0b1111], "b": [0b1]}, 3, [SimilarPair("a", "b", 3)]),
        ({"a": [0b1111], "b": [0b1]}, 2, []),
        ({"a": [2**64 - 1], "b": [1]}, 63, [SimilarPair("a", "b", 63)]),
        ({"a": [0b1111, 0b1], "b": [0b11, 2**40]}, 12, [SimilarPair("a", "b", 1)]),  # the nearest of four
        ({"a": [FLAT_HASH], "b": [FLAT_HASH], "c": [1]}, 12, []),
        (
            {"a": [7], "b": [3], "c": [7]},
            1,
            [SimilarPair("a", "c", 0), SimilarPair("a", "b", 1), SimilarPair("b", "c", 1)],
        ),
    ],
)
def test_similar_pairs(hashes, max_distance, pairs):
    assert similar_pairs(hashes, max_distance) == pairs


def test_chunks_find_what_a_plain_loop_finds():
    dice = random.Random(0)
    hashes = {f"v{n:03}": [dice.getrandbits(64) for _ in range(dice.randint(0, 3))] for n in range(2 * CHUNK_ROWS)}
    expected = {
        SimilarPair(a, b, distance)
        for a, b in combinations(hashes, 2)
        if (distance := min(((x ^ y).bit_count() for x in hashes[a] for y in hashes[b]), default=64)) <= 22
    }
    found = similar_pairs(hashes, 22)
    assert len(found) > 100
    assert set(found) == expected
    assert found == sorted(found, key=lambda pair: (pair.distance, pair.video_a, pair.video_b))


# Audit --------------------------------------------------------------------------------------------------------------------------------

LEAKY = [video("a", identities=("x",)), video("b", identities=("x", "y")), video("c", identities=("y",)), video("d")]


@pytest.mark.parametrize(
    ("videos", "folds", "hashes", "leaks"),
    [
        ([], {}, {}, []),
        (LEAKY, dict.fromkeys("abcd", 0), {"a": [7], "d": [7]}, []),
        (LEAKY, {"a": 0, "b": 0, "c": 0, "d": 1}, {"a": [7], "d": [2**64 - 1]}, []),
        (
            LEAKY,
            {"a": 1, "b": 0, "c": 0, "d": 0},
            {},
            [Leak("identity", (0, 1), ("b", "a"), "identity x: 1 in fold 0, 1 in fold 1")],
        ),
        (
            LEAKY,
            {"a": 0, "b": 0, "c": 0, "d": 2},
            {"d": [7], "a": [0b11111], "c": [2**64 - 1]},
            [Leak("same scene", (0, 2), ("a", "d"), "the nearest frames differ in 2 of 64 bits")],
        ),
        (  # an identity in three folds: three pairs of folds, each with one example and the numbers
            [video(name, identities=("x",)) for name in "abcd"],
            {"a": 0, "b": 1, "c": 1, "d": 2},
            {},
            [
                Leak("identity", (0, 1), ("a", "b"), "identity x: 1 in fold 0, 2 in fold 1"),
                Leak("identity", (0, 2), ("a", "d"), "identity x: 1 in fold 0, 1 in fold 2"),
                Leak("identity", (1, 2), ("b", "d"), "identity x: 2 in fold 1, 1 in fold 2"),
            ],
        ),
        (  # two shared names, one pair of videos: one leak
            [video("a", identities=("x", "y")), video("b", identities=("y", "x"))],
            {"a": 0, "b": 1},
            {},
            [
                Leak(
                    "identity",
                    (0, 1),
                    ("a", "b"),
                    "identity x: 1 in fold 0, 1 in fold 1; identity y: 1 in fold 0, 1 in fold 1",
                )
            ],
        ),
        (  # a fake and its original, linked by original_id alone
            [video("f", original_id="o"), video("o")],
            {"f": 0, "o": 1},
            {},
            [Leak("identity", (0, 1), ("f", "o"), "original o: 1 in fold 0, 1 in fold 1")],
        ),
        (  # the same, but an identity tells it too: said once
            original_with_fakes("o", 1),
            {"o": 0, "o_fake0": 1},
            {},
            [Leak("identity", (0, 1), ("o", "o_fake0"), "identity o: 1 in fold 0, 1 in fold 1")],
        ),
    ],
)
def test_audit(videos, folds, hashes, leaks):
    assert audit(videos, folds, hashes) == leaks
    assert audit(videos[::-1], folds, dict(reversed(hashes.items()))) == leaks


def test_audit_is_sorted_identities_first():
    leaks = audit(LEAKY, {"a": 0, "b": 1, "c": 0, "d": 1}, {"a": [7], "d": [7]})
    assert [leak.kind for leak in leaks] == ["identity", "identity", "same scene"]
    assert leaks == sorted(leaks)


@pytest.mark.parametrize("hashes", [{}, {"d": [7]}])
def test_audit_wants_a_fold_for_every_video(hashes):
    with pytest.raises(ValueError, match="every video must have a fold, got none for 2, the first is c"):
        audit(LEAKY, {"a": 0, "b": 0}, hashes)


def test_audit_wants_a_fold_for_every_hash():
    with pytest.raises(ValueError, match="every video must have a fold, got none for 1, the first is e"):
        audit(LEAKY, dict.fromkeys("abcd", 0), {"e": [7]})


def test_planted_leak_is_found():
    videos = mixed_videos()
    folds = leak_free_folds(videos, 5)
    folds["o07_fake0"] = (folds["o07"] + 1) % 5
    (leak,) = audit(videos, folds, {})
    assert set(leak.videos) == {"o07", "o07_fake0"}
    assert set(leak.folds) == {folds["o07"], folds["o07_fake0"]}


# Real videos --------------------------------------------------------------------------------------------------------------------------

ROOM_OF_ANOTHER_CAMERA = "hungry"  # the same room from elsewhere; the other 19 clips share one view
PEOPLE = (
    "again brother help no student yes",
    "bird milk please sorry thanks",
    "book learn school walk",
    "eat night sister",
    "want",
)


def hashes_of(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        frames = islice(container.decode(video=0), 0, 31, 30)  # frames 0 and 30
        return [perceptual_hash(frame.to_ndarray(format="rgb24")) for frame in frames]


@cache
def distances_of_all(folder: Path) -> dict[tuple[str, str], int]:
    originals = {f"{p.parts[-3]}/{p.stem}": p for p in (folder / "ffpp" / "original_sequences").rglob("*.mp4")}
    clips = {f"clip/{p.stem}": p for p in (folder / "clips").glob("*.mkv")}
    pairs = similar_pairs({name: hashes_of(path) for name, path in (originals | clips).items()}, max_distance=64)
    assert len(pairs) == 33 * 32 // 2
    return {(pair.video_a, pair.video_b): pair.distance for pair in pairs}


@pytest.fixture
def nearest(test_videos) -> dict[tuple[str, str], int]:
    """Distance of every pair of real originals (c23/183 …) and clips (clip/again …)."""
    return distances_of_all(test_videos)


def test_one_source_in_two_compressions_is_one_scene(nearest):
    distances = {name: nearest[f"c23/{name}", f"c40/{name}"] for name in ("183", "469", "720")}
    assert max(distances.values()) <= 4


def test_one_person_in_one_room_is_one_scene(nearest):
    distances = [nearest[f"clip/{a}", f"clip/{b}"] for names in PEOPLE for a, b in combinations(names.split(), 2)]
    assert len(distances) == 34
    assert max(distances) <= SIMILAR_DISTANCE


def test_different_scenes_are_no_pairs(nearest):
    def scene(name: str) -> str:
        return "room" if name.startswith("clip/") and not name.endswith(ROOM_OF_ANOTHER_CAMERA) else name.split("/")[1]

    distances = [distance for (a, b), distance in nearest.items() if scene(a) != scene(b)]
    assert len(distances) == 75 + 13 * 20 + 19  # originals; originals × clips; the other camera × clips
    assert min(distances) > SIMILAR_DISTANCE + 3
