"""Audit of folds: people and scenes that are in two folds.

Input: videos, their folds, and perceptual hashes of a few frames of each original. Output: a list of leaks. Names show
shared identities and originals; hashes show similar scenes, because DFDC does not list the actors of a video. A similar
pair is a candidate to inspect, not a proof.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from dfdc_lib.data.folds import identity_links
from dfdc_lib.records import Video

HASH_SIDE = 8  # 8 x 8 coefficients are 64 bits; Zauner 2010
HASH_INPUT_SIDE = 32  # pixels; Zauner 2010
FLAT_DEVIATION = 2.0  # grey levels: black frames, fade-ins; 26 or more in 13 FaceForensics++ originals and 20 clips
FLAT_HASH = 0  # flat frames resemble each other, so their hashes are not compared
# Bits of 64. Smallest distance over frames 0 and 30 of real videos: one source in c23 and c40 0-2 (3 pairs), one person
# in one room 0-12 (34 pairs), two people in one room 4-18 (137 pairs, half of them within 12), different scenes 18-42
# (335 pairs).
SIMILAR_DISTANCE = 12
CHUNK_ROWS = 64  # hashes compared with all others at once: 20 MB for 40,000 hashes, about a processor's cache


class SimilarPair(NamedTuple):
    """Two videos that seem to show one scene."""

    video_a: str
    video_b: str
    distance: int  # bits of 64, smallest over their frames


class Leak(NamedTuple):
    """An identity or scene that is in two folds, with one example video of each fold."""

    kind: str  # "identity": by name; "same scene": by perceptual hash
    folds: tuple[int, int]  # ascending
    videos: tuple[str, str]  # one of each fold
    detail: str


def audit(videos: Sequence[Video], folds: Mapping[str, int], hashes: Mapping[str, Sequence[int]]) -> list[Leak]:
    """List the identities and scenes that are in two folds.

    `folds` maps every video_id to its fold; `hashes` maps each original's video_id to the `perceptual_hash` of a few
    frames, or is {} to compare by name only. Returns, sorted: one "identity" leak per identity (or original with its
    fakes) and pair of folds, but a single one for identities with equal example videos; and one "same scene" leak per
    pair of similar videos in two folds.
    """
    missing = sorted(({video.video_id for video in videos} | set(hashes)) - set(folds))
    if missing:
        raise ValueError(f"every video must have a fold, {len(missing)} have none, e.g. {missing[0]}: redo the folds")
    return sorted(_identity_leaks(videos, folds) + _scene_leaks(folds, hashes))


def perceptual_hash(image: np.ndarray) -> int:
    """Hash an (H, W, 3) uint8 RGB frame so that similar frames differ in few of 64 bits.

    From the highest bit on, row by row, the bits tell which of the 8 x 8 lowest frequencies exceed their median; a flat
    image has FLAT_HASH. Source: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", DCT
    hash. Departs: INTER_AREA resizing replaces the mean filter, and the constant term is one of the 64.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (HASH_INPUT_SIDE, HASH_INPUT_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if small.std() < FLAT_DEVIATION:
        return FLAT_HASH
    low = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def similar_pairs(hashes: Mapping[str, Sequence[int]], max_distance: int = SIMILAR_DISTANCE) -> list[SimilarPair]:
    """Compare every video with every other; return those that seem to show one scene, nearest first, video_a < video_b.

    `hashes` maps a video_id to the `perceptual_hash` of a few of its frames, where FLAT_HASH is ignored; `max_distance`
    is the largest distance in bits between the nearest frames of two videos.
    20,000 videos with two hashes each take a few seconds; with random hashes, 178 pairs are within SIMILAR_DISTANCE.
    """
    video_ids = sorted(hashes)
    rows = [(number, value) for number, name in enumerate(video_ids) for value in hashes[name] if value != FLAT_HASH]
    video_of = np.array([number for number, _ in rows], np.int64)
    bits = np.array([value for _, value in rows], np.uint64)
    chunks = [pd.DataFrame({"a": video_of[:0], "b": video_of[:0], "distance": np.empty(0, np.uint8)})]
    for start in range(0, len(bits), CHUNK_ROWS):
        distances = np.bitwise_count(bits[start : start + CHUNK_ROWS, None] ^ bits[None, start:])  # (chunk, rest)
        row, column = np.nonzero(distances <= max_distance)
        a, b = video_of[start + row], video_of[start + column]
        chunks.append(pd.DataFrame({"a": a, "b": b, "distance": distances[row, column]})[a < b])
    nearest = pd.concat(chunks).groupby(["a", "b"], as_index=False)[["distance"]].min()
    nearest = nearest.sort_values(["distance", "a", "b"])
    return [SimilarPair(video_ids[a], video_ids[b], int(bits)) for a, b, bits in nearest.itertuples(index=False)]


def _identity_leaks(videos: Sequence[Video], folds: Mapping[str, int]) -> list[Leak]:
    details = defaultdict(list)
    for name, members in identity_links(videos).items():
        counts = Counter(folds[member] for member in members)
        example = {folds[member]: member for member in sorted(members, reverse=True)}  # the first by name in each fold
        for a, b in combinations(sorted(counts), 2):
            text = f"{name}: {counts[a]} in fold {a}, {counts[b]} in fold {b}"
            details[(a, b), (example[a], example[b])].append(text)
    return [Leak("identity", pair, example, "; ".join(sorted(texts))) for (pair, example), texts in details.items()]


def _scene_leaks(folds: Mapping[str, int], hashes: Mapping[str, Sequence[int]]) -> list[Leak]:
    leaks = []
    for pair in similar_pairs(hashes):
        (fold_a, a), (fold_b, b) = sorted((folds[video_id], video_id) for video_id in (pair.video_a, pair.video_b))
        if fold_a != fold_b:
            detail = f"the nearest frames differ in {pair.distance} of 64 bits"
            leaks.append(Leak("same scene", (fold_a, fold_b), (a, b), detail))
    return leaks
