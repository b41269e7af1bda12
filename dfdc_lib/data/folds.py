"""Folds in which no person is both trained on and tested on, and the audit that looks for those who are.

In come the videos of a data set, out comes a fold for each. `winner_folds` repeats the winner's split by DFDC part, `leak_free_folds`
keeps everyone's videos together. `audit` checks either: by name (identities, originals) and by eye (a perceptual hash of a few frames of
each original: DFDC does not tell that one actor was filmed twice in one room). A pair that the hash finds is one to look at, not a proof.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dfdc_lib.records import Video

WINNER_FOLDS = 16  # winner's code, folds.py: --n_splits
PARTS_PER_FOLD = 3  # winner's code: 50 // 16; the last fold takes what is left
DFDC_PARTS = 50  # dfdc_train_part_0 to dfdc_train_part_49
HASH_SIDE = 8  # 8 × 8 coefficients are 64 bits; Zauner 2010
HASH_INPUT_SIDE = 32  # pixels; Zauner 2010
FLAT_DEVIATION = 2.0  # grey levels; black or plain frames, fade-ins. Real frames (13 FaceForensics++ originals, 20 clips): 26 and more
FLAT_HASH = 0  # a flat frame looks like every other: it is compared with nothing
# Bits of 64. Smallest distance over frames 0 and 30 of real videos: one source in c23 and c40 0–2 (3 pairs), one person in one room 0–12
# (34 pairs), two people in one room 4–18 (137 pairs, half of them within 12), different scenes 18–42 (335 pairs).
SIMILAR_DISTANCE = 12
CHUNK_ROWS = 64  # hashes against all others at once: 20 MB for 40,000 hashes, near a processor's cache


class SimilarPair(NamedTuple):
    """Two videos that look like one scene."""

    video_a: str
    video_b: str
    distance: int  # bits of 64, smallest over their frames


@dataclass(frozen=True, order=True)
class Leak:
    """Something that is in two folds; the two videos are its example."""

    kind: str  # "identity": told by the names; "same scene": found by the hash
    folds: tuple[int, int]  # ascending
    videos: tuple[str, str]  # one of each of these folds
    detail: str


def winner_folds(videos: Sequence[Video]) -> dict[str, int]:
    """Split DFDC by part into 16 folds, as the winner did: parts 0–2 are fold 0, …, parts 45–49 fold 15.

    Args:
        videos: of DFDC; each has a part.
    Returns:
        video_id → fold.
    Raises:
        ValueError: if a video has no part, or one that DFDC does not have.
    Source:
        Winner's code, folds.py. Fakes lie in their original's part, but nothing keeps one actor in one part: see `audit`.
    """
    folds = {}
    for video in videos:
        if video.part is None or not 0 <= video.part < DFDC_PARTS:
            raise ValueError(
                f"part must be 0–{DFDC_PARTS - 1}, got {video.part} for video {video.video_id}: "
                "the winner's folds are made of DFDC's parts; use leak_free_folds for other data"
            )
        folds[video.video_id] = min(video.part // PARTS_PER_FOLD, WINNER_FOLDS - 1)
    return folds


def identity_groups(videos: Sequence[Video]) -> dict[str, int]:
    """Number the groups of videos that must stay together: connected by shared identities, or as original and fake.

    Args:
        videos: with `identities` and `original_id`; a video with neither, and with no fakes, is a group of its own.
    Returns:
        video_id → group; groups are numbered from 0 by first appearance.
    """
    if not videos:
        return {}
    node = {video.video_id: number for number, video in enumerate(videos)}
    links = list(_links(videos).values())
    edges = np.array(
        [(node[member], len(node) + link) for link, members in enumerate(links) for member in members], int
    ).reshape(-1, 2)
    size = len(node) + len(links)  # videos first, then one node for each link
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(size, size))
    _, components = connected_components(graph, directed=False)
    groups, _ = pd.factorize(components[: len(node)])
    return {video_id: int(group) for video_id, group in zip(node, groups, strict=True)}


def leak_free_folds(videos: Sequence[Video], fold_count: int, seed: int = 0) -> dict[str, int]:
    """Split videos so that no identity is in two folds and the folds resemble each other.

    Whole groups are dealt out, the largest first, equal ones in an order that the seed decides. With n(f, s) videos of stratum s
    (label, method, compression) in fold f, N(s) in all and c(s) in the group, it goes to the fold where

        cost(f) = Σ_s c(s) · n(f, s) / N(s)²

    is least, and among equals to the smallest fold. This is the step that adds least to Σ_f Σ_s (n(f, s) / N(s))², which is smallest when
    each stratum is spread evenly. An empty fold costs nothing and is the smallest: none stays empty.

    Args:
        videos: of any data set, in any order.
        fold_count: 2 or more.
        seed: equal seeds give equal folds.
    Returns:
        video_id → fold, 0 to fold_count - 1.
    Raises:
        ValueError: if fold_count is below 2, or above the number of groups.
    Source:
        Departs from the winner's code, which splits by DFDC part.
    """
    videos = sorted(videos, key=lambda video: video.video_id)
    groups = identity_groups(videos)
    sizes = Counter(groups.values())
    _check_fold_count(fold_count, groups, sizes)
    strata, _ = pd.factorize(pd.Series([(video.label, video.method, video.compression) for video in videos]))
    counts = pd.crosstab(np.array(list(groups.values())), strata).to_numpy()  # groups × strata
    filled = np.zeros((fold_count, counts.shape[1]), int)  # folds × strata
    weights = counts / counts.sum(axis=0) ** 2
    order = np.random.default_rng(seed).permutation(len(counts))
    fold_of_group = {}
    for group in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        cost = (filled * weights[group]).sum(axis=1)
        fold = int(np.lexsort((filled.sum(axis=1), cost))[0])  # by cost, then by size, then by number
        filled[fold] += counts[group]
        fold_of_group[int(group)] = fold
    return {video_id: fold_of_group[group] for video_id, group in groups.items()}


def perceptual_hash(image: np.ndarray) -> int:
    """Hash a frame so that frames that look alike differ in few of 64 bits.

    Args:
        image: (H, W, 3) uint8 RGB.
    Returns:
        64 bits, row by row from the highest: which of the 8 × 8 lowest frequencies are above their median. A flat image gives FLAT_HASH.
    Raises:
        ValueError: if the image is no (H, W, 3) uint8.
    Source:
        Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", DCT hash. Departs: averaging by INTER_AREA stands
        in for the mean filter, and the constant term keeps its place among the 64.
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
    """Find the videos that look like one scene, every video against every other.

    20,000 videos with two hashes each take a few seconds; were their hashes random, 178 pairs would be within SIMILAR_DISTANCE by chance.

    Args:
        hashes: video_id → `perceptual_hash` of a few of its frames; FLAT_HASH is passed over.
        max_distance: bits by which the nearest frames of two videos may differ.
    Returns:
        Pairs within max_distance, nearest first; video_a < video_b.
    """
    video_ids = sorted(hashes)
    usable = [
        (number, value) for number, video_id in enumerate(video_ids) for value in hashes[video_id] if value != FLAT_HASH
    ]
    owners = np.array([number for number, _ in usable], np.int64)
    bits = np.array([value for _, value in usable], np.uint64)
    found = [pd.DataFrame({"a": owners[:0], "b": owners[:0], "distance": np.empty(0, np.uint8)})]
    for start in range(0, len(bits), CHUNK_ROWS):
        distances = np.bitwise_count(bits[start : start + CHUNK_ROWS, None] ^ bits[None, start:])  # chunk × the rest
        row, column = np.nonzero(distances <= max_distance)
        pairs = pd.DataFrame(
            {"a": owners[start + row], "b": owners[start + column], "distance": distances[row, column]}
        )
        found.append(pairs[pairs.a < pairs.b])
    nearest = (
        pd.concat(found).groupby(["a", "b"], as_index=False)[["distance"]].min().sort_values(["distance", "a", "b"])
    )
    return [
        SimilarPair(video_ids[a], video_ids[b], int(distance)) for a, b, distance in nearest.itertuples(index=False)
    ]


def audit(videos: Sequence[Video], folds: Mapping[str, int], hashes: Mapping[str, Sequence[int]]) -> list[Leak]:
    """List what is in two folds and should not be.

    Args:
        videos: all of the run.
        folds: video_id → fold, for each of them.
        hashes: video_id → `perceptual_hash` of a few frames, of the originals (a fake looks like its original); {} compares by name only.
    Returns:
        Sorted. "identity": one for each identity (or original with its fakes) and pair of folds; what has the same example video pair is
        one leak. "same scene": one for each pair of similar videos in two folds.
    Raises:
        ValueError: if a video has no fold.
    """
    without = sorted(({video.video_id for video in videos} | set(hashes)) - set(folds))
    if without:
        raise ValueError(
            f"every video must have a fold, got none for {len(without)}, the first is {without[0]}: make the folds of these videos"
        )
    return sorted(_identity_leaks(videos, folds) + _scene_leaks(folds, hashes))


def _identity_leaks(videos: Sequence[Video], folds: Mapping[str, int]) -> list[Leak]:
    details: dict[tuple[tuple[int, int], tuple[str, str]], list[str]] = {}
    for name, members in _links(videos).items():
        counts = Counter(folds[member] for member in members)
        example = {folds[member]: member for member in sorted(members, reverse=True)}  # the first by name
        for a, b in combinations(sorted(counts), 2):
            text = f"{name}: {counts[a]} in fold {a}, {counts[b]} in fold {b}"
            details.setdefault(((a, b), (example[a], example[b])), []).append(text)
    return [Leak("identity", pair, example, "; ".join(sorted(texts))) for (pair, example), texts in details.items()]


def _scene_leaks(folds: Mapping[str, int], hashes: Mapping[str, Sequence[int]]) -> list[Leak]:
    leaks = []
    for pair in similar_pairs(hashes):
        (fold_a, a), (fold_b, b) = sorted((folds[video_id], video_id) for video_id in (pair.video_a, pair.video_b))
        if fold_a != fold_b:
            leaks.append(
                Leak("same scene", (fold_a, fold_b), (a, b), f"the nearest frames differ in {pair.distance} of 64 bits")
            )
    return leaks


def _links(videos: Sequence[Video]) -> dict[str, list[str]]:
    """Collect what holds two or more videos together: name → video_ids."""
    links: dict[str, list[str]] = {}
    names = {video.video_id: set(video.identities) for video in videos}
    for video in videos:
        for identity in sorted(names[video.video_id]):
            links.setdefault(f"identity {identity}", []).append(video.video_id)
        if video.original_id is not None and not names[video.video_id] & names.get(
            video.original_id, set()
        ):  # else told already
            links.setdefault(f"original {video.original_id}", []).append(video.video_id)
    for video_id in names:
        if f"original {video_id}" in links:
            links[f"original {video_id}"].append(video_id)
    return {name: members for name, members in links.items() if len(members) > 1}


def _check_fold_count(fold_count: int, groups: Mapping[str, int], sizes: Mapping[int, int]) -> None:
    if fold_count < 2:
        raise ValueError(f"fold_count must be 2 or more, got {fold_count}")
    if fold_count > len(sizes):
        largest = max(sizes, key=lambda group: sizes[group], default=0)
        example = (
            f" (the largest has {sizes[largest]}, among them {next(v for v in groups if groups[v] == largest)})"
            if sizes
            else ""
        )
        raise ValueError(
            f"fold_count must be at most {len(sizes)}, got {fold_count}: identities and originals tie the {len(groups)} videos "
            f"into {len(sizes)} groups{example}, and a group goes whole into one fold; ask for fewer folds or add videos"
        )
