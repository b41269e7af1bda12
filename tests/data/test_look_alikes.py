"""Look-alikes: perceptual hashes, similar pairs, and scenes in real videos."""

import random
from itertools import combinations

import cv2
import numpy as np
import pytest
from skimage import data

from dfdc_lib.data.look_alikes import FLAT_HASH, SIMILAR_DISTANCE, hash_video, perceptual_hash, similar_pairs


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


def test_a_title_card_has_no_texture():
    card = np.zeros((360, 640, 3), np.uint8)
    for line in range(3):
        cv2.putText(card, "BREAKING NEWS TODAY", (50, 130 + 40 * line), 0, 1, (255, 255, 255), 2)
    assert perceptual_hash(card) == FLAT_HASH


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
    assert [pair[:3] for pair in similar_pairs(hashes, max_distance)] == pairs


FIVE = [1 << 8 * n | 1 << 63 for n in range(1, 6)]  # 2 bits apart


@pytest.mark.parametrize(
    ("a", "b", "common_distance"),
    [
        (FIVE, FIVE, 0),
        (FIVE, FIVE[::-1], 0),  # the same frames at other times
        (FIVE, [*FIVE[:4], ~FIVE[4] & 2**64 - 1], 0),  # four of five frames agree
        (FIVE, [*FIVE[:3], 0b1111 << 40 | FIVE[3], 0b11111 << 40 | FIVE[4]], 4),  # three agree, the fourth nearly
        (FIVE[:3], [*FIVE[:3], 2**48 - 1, 2**49 - 1], 48),  # a title is the whole of one video, a part of the other
        (FIVE[:2], FIVE[:2], 64),  # too few frames
        ([*FIVE[:2], FLAT_HASH, FLAT_HASH], FIVE, 64),  # flat frames are no evidence
    ],
)
def test_common_distance(a, b, common_distance):
    [pair] = similar_pairs({"a": a, "b": b}, 64)
    assert (pair.common_distance, pair.alike) == (common_distance, common_distance <= 4)


def test_pairs_are_those_of_a_plain_loop():
    dice = random.Random(0)
    hashes = {f"v{n:03}": [dice.getrandbits(64) for _ in range(dice.randint(0, 3))] for n in range(128)}
    expected = [
        (a, b, distance)
        for a, b in combinations(hashes, 2)
        if (distance := min(((x ^ y).bit_count() for x in hashes[a] for y in hashes[b]), default=64)) <= 22
    ]
    assert len(expected) > 100
    found = [pair[:3] for pair in similar_pairs(hashes, 22)]
    assert found == sorted(expected, key=lambda pair: (pair[2], *pair[:2]))


PEOPLE = ("again brother help no student yes", "bird milk please sorry thanks", "book learn school walk")
PEOPLE += ("eat night sister", "want")


def test_only_frames_of_one_real_scene_are_similar(test_videos):
    """Every pair of real originals ("c23/183") and clips ("clip/again")."""

    def scene(name: str) -> str:
        """All clips but one show a room from one side; "hungry" shows it from another."""
        return "room" if name.startswith("clip/") and name != "clip/hungry" else name.split("/")[1]

    paths = {f"{p.parts[-3]}/{p.stem}": p for p in (test_videos / "ffpp" / "original_sequences").rglob("*.mp4")}
    paths |= {f"clip/{p.stem}": p for p in (test_videos / "clips").glob("*.mkv")}
    hashes = {name: hash_video(path) for name, path in paths.items()}
    pairs = similar_pairs(hashes, max_distance=64)
    assert len(pairs) == 33 * 32 // 2
    nearest = {(pair.video_a, pair.video_b): pair.distance for pair in pairs}
    assert max(nearest[f"c23/{name}", f"c40/{name}"] for name in ("183", "469", "720")) <= 4
    of_one_person = [nearest[f"clip/{a}", f"clip/{b}"] for names in PEOPLE for a, b in combinations(names.split(), 2)]
    assert (len(of_one_person), max(of_one_person) <= SIMILAR_DISTANCE) == (34, True)
    different = [distance for (a, b), distance in nearest.items() if scene(a) != scene(b)]
    assert len(different) == 75 + 13 * 20 + 19  # originals; originals x clips; the other camera x clips
    assert min(different) > SIMILAR_DISTANCE + 3
    alike = [(pair.video_a, pair.video_b) for pair in pairs if pair.alike]
    assert {(f"c23/{name}", f"c40/{name}") for name in ("183", "469", "720")} <= set(alike)
    person = {f"clip/{name}": number for number, names in enumerate(PEOPLE) for name in names.split()}
    assert all(person[a] == person[b] for a, b in alike if a.startswith("clip/"))


def test_fakes_without_names_look_like_their_originals(test_videos):
    """UADFV: 11 originals and their fakes, which DFDC-like metadata without `original` does not connect."""
    paths = {path.stem: path for path in (test_videos / "uadfv").rglob("*.mp4")}
    pairs = similar_pairs({name: hash_video(path) for name, path in paths.items()})
    assert [(a, b) for a, b, *_ in sorted(pairs)] == sorted((n, f"{n}_fake") for n in paths if "fake" not in n)
    assert (len(pairs), all(pair.alike for pair in pairs)) == (11, True)
