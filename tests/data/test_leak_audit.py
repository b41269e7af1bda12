"""Leak audit: perceptual hashes, similar pairs, planted leaks, and scenes in real videos."""

import random
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from dfdc_lib.data.leak_audit import CHUNK_ROWS, FLAT_HASH, SIMILAR_DISTANCE, audit, perceptual_hash, similar_pairs
from dfdc_lib.data.video import read_frames
from dfdc_lib.records import Video


def video(video_id: str, *identities: str, original_id: str | None = None) -> Video:
    return Video(video_id=video_id, path=Path(f"{video_id}.mp4"), identities=identities, original_id=original_id)


def test_hash_needs_rgb():
    for shape, dtype in (((8, 8), "uint8"), ((8, 8, 4), "uint8"), ((0, 8, 3), "uint8"), ((8, 8, 3), "float32")):
        with pytest.raises(ValueError, match="RGB"):
            perceptual_hash(np.zeros(shape, dtype))


def test_bits_are_frequencies_from_the_highest_bit():
    dark_to_light = np.repeat(np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (64, 1))[..., None], 3, axis=2)
    value = perceptual_hash(dark_to_light)
    assert value >> 63 == 1  # the constant term
    assert value >> 62 & 1 == 0  # one half wave across, negative: light on the right
    assert perceptual_hash(dark_to_light[:, ::-1]) >> 62 & 1 == 1
    assert perceptual_hash(data.astronaut()).bit_count() == 32
    flat = [perceptual_hash(np.full((90, 160, 3), level, np.uint8)) for level in (0, 1, 128, 255)]
    assert flat == [FLAT_HASH] * 4


def test_hashes_of_changed_and_of_other_pictures():
    image = data.astronaut()
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    smaller = cv2.resize(image, (300, 300), interpolation=cv2.INTER_AREA)
    changed = [smaller, cv2.imdecode(jpeg, cv2.IMREAD_COLOR), (image * 0.7).astype(np.uint8)]
    value = perceptual_hash(image)
    assert perceptual_hash(image.copy()) == value
    assert max((value ^ perceptual_hash(other)).bit_count() for other in changed) <= 4
    others = [perceptual_hash(other) for other in (image[:, ::-1], data.chelsea(), data.coffee(), data.rocket())]
    assert min((a ^ b).bit_count() for a, b in combinations([value, *others], 2)) > SIMILAR_DISTANCE


@pytest.mark.parametrize(
    ("hashes", "max_distance", "pairs"),
    [
        *[({}, 12, []), ({"a": [5]}, 12, []), ({"a": [], "b": [5]}, 12, [])],
        ({"a": [5, 5, 4]}, 12, []),  # a video is not compared with itself
        *[({"a": [0b1111], "b": [0b1]}, 3, [("a", "b", 3)]), ({"a": [0b1111], "b": [0b1]}, 2, [])],
        *[({"b": [5], "a": [5]}, 0, [("a", "b", 0)]), ({"a": [2**64 - 1], "b": [1]}, 63, [("a", "b", 63)])],
        ({"a": [0b1111, 0b1], "b": [0b11, 2**40]}, 12, [("a", "b", 1)]),  # the nearest of four
        ({"a": [FLAT_HASH], "b": [FLAT_HASH], "c": [1]}, 12, []),
        ({"a": [7], "b": [3], "c": [7]}, 1, [("a", "c", 0), ("a", "b", 1), ("b", "c", 1)]),
    ],
)
def test_similar_pairs(hashes, max_distance, pairs):
    assert similar_pairs(hashes, max_distance) == pairs


def test_chunks_give_the_result_of_a_plain_loop():
    dice = random.Random(0)
    hashes = {f"v{n:03}": [dice.getrandbits(64) for _ in range(dice.randint(0, 3))] for n in range(2 * CHUNK_ROWS)}
    expected = [
        (a, b, distance)
        for a, b in combinations(hashes, 2)
        if (distance := min(((x ^ y).bit_count() for x in hashes[a] for y in hashes[b]), default=64)) <= 22
    ]
    assert len(expected) > 100
    assert similar_pairs(hashes, 22) == sorted(expected, key=lambda pair: (pair[2], *pair[:2]))


LEAKY = [video("a", "x"), video("b", "x", "y"), video("c", "y"), video("d")]
ORIGINAL, FAKE, NAMED_FAKE = video("o", "o"), video("f", original_id="o"), video("f", "o", original_id="o")
TWO_NAMES = [video("a", "x", "y"), video("b", "y", "x")]
FOUR = [video(name, "x") for name in "abcd"]
ONE_EACH = "1 in fold 0, 1 in fold 1"
BITS = "the nearest frames differ in {} of 64 bits"
TWO_IDENTITIES = [f"identity 01 {pair}: {ONE_EACH}" for pair in ("ab identity x", "cb identity y")]
THREE_FOLDS = [("01 ab", "1 in fold 0, 2 in fold 1"), ("02 ad", "1 in fold 0, 1 in fold 2")]
THREE_FOLDS += [("12 bd", "2 in fold 1, 1 in fold 2")]


@pytest.mark.parametrize(
    ("videos", "folds", "hashes", "leaks"),  # folds: one digit per video
    [
        ([], "", {}, []),
        (LEAKY, "0000", {"a": [7], "d": [7]}, []),
        (LEAKY, "0001", {"a": [7], "d": [2**64 - 1]}, []),
        (LEAKY, "1000", {}, [f"identity 01 ba identity x: {ONE_EACH}"]),
        (LEAKY, "0002", {"d": [7], "a": [0b11111], "c": [2**64 - 1]}, [f"same scene 02 ad {BITS.format(2)}"]),
        (LEAKY, "0101", {"a": [7], "d": [7]}, [*TWO_IDENTITIES, f"same scene 01 ad {BITS.format(0)}"]),  # sorted
        # an identity in three folds: one leak per pair of folds, each with one example and the counts
        (FOUR, "0112", {}, [f"identity {folds} identity x: {counts}" for folds, counts in THREE_FOLDS]),
        # one pair of videos with two shared names is one leak
        (TWO_NAMES, "01", {}, [f"identity 01 ab identity x: {ONE_EACH}; identity y: {ONE_EACH}"]),
        # connected by original_id alone; by an identity too, which is reported once
        ([FAKE, ORIGINAL], "01", {}, [f"identity 01 fo original o: {ONE_EACH}"]),
        ([NAMED_FAKE, ORIGINAL], "01", {}, [f"identity 01 fo identity o: {ONE_EACH}"]),
    ],
)
def test_audit(videos, folds, hashes, leaks):
    fold_of = {video.video_id: int(fold) for video, fold in zip(videos, folds, strict=True)}
    audited = audit(videos, fold_of, hashes)
    assert ["{} {}{} {}{} {}".format(leak.kind, *leak.folds, *leak.videos, leak.detail) for leak in audited] == leaks
    assert audited == sorted(audited)
    assert audit(videos[::-1], fold_of, dict(reversed(hashes.items()))) == audited


def test_every_video_and_hash_needs_a_fold():
    for hashes in ({}, {"d": [7]}):
        with pytest.raises(ValueError, match="2 have none, e.g. c"):
            audit(LEAKY, {"a": 0, "b": 0}, hashes)
    with pytest.raises(ValueError, match="e.g. e"):
        audit(LEAKY, dict.fromkeys("abcd", 0), {"e": [7]})


PEOPLE = ("again brother help no student yes", "bird milk please sorry thanks", "book learn school walk")
PEOPLE += ("eat night sister", "want")


def test_only_frames_of_one_real_scene_are_similar(test_videos):
    """Every pair of real originals ("c23/183") and clips ("clip/again"), by frames 0 and 30."""

    def scene(name: str) -> str:
        """All clips but one show a room from one side; "hungry" shows it from another."""
        return "room" if name.startswith("clip/") and name != "clip/hungry" else name.split("/")[1]

    paths = {f"{p.parts[-3]}/{p.stem}": p for p in (test_videos / "ffpp" / "original_sequences").rglob("*.mp4")}
    paths |= {f"clip/{p.stem}": p for p in (test_videos / "clips").glob("*.mkv")}
    hashes = {name: [perceptual_hash(f.image) for f in read_frames(path, {0, 30})] for name, path in paths.items()}
    pairs = similar_pairs(hashes, max_distance=64)
    assert len(pairs) == 33 * 32 // 2
    nearest = {(pair.video_a, pair.video_b): pair.distance for pair in pairs}
    assert max(nearest[f"c23/{name}", f"c40/{name}"] for name in ("183", "469", "720")) <= 4
    of_one_person = [nearest[f"clip/{a}", f"clip/{b}"] for names in PEOPLE for a, b in combinations(names.split(), 2)]
    assert (len(of_one_person), max(of_one_person) <= SIMILAR_DISTANCE) == (34, True)
    different = [distance for (a, b), distance in nearest.items() if scene(a) != scene(b)]
    assert len(different) == 75 + 13 * 20 + 19  # originals; originals x clips; the other camera x clips
    assert min(different) > SIMILAR_DISTANCE + 3
