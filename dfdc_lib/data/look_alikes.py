"""Look-alikes: videos that show the same pictures, whatever their names say.

Input: video files. Output: perceptual hashes of a few frames of each, and the pairs of videos whose hashes agree. Names
do not connect everything: DFDC does not list the people in its videos, and a fake's original may be missing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.data.video import VideoReader

HASH_SIDE = 8  # 8 x 8 coefficients are 64 bits; Zauner 2010
HASH_INPUT_SIDE = 32  # pixels; Zauner 2010
HASHED_FRAMES, HASHED_SPAN = 5, 121  # so many, evenly spaced in the first four seconds: frames 0, 30, 60, 90, 120
EDGE_LEVEL = 2  # grey levels between neighbouring pixels of the resized frame
# Share of pixels at an edge: 0 in black frames, at most .20 in title cards of three lines; .36 or more in real scenes.
TEXTURED_SHARE = 0.25
FLAT_HASH = 0  # frames without texture resemble each other, so their hashes are not compared
# Bits of 64, over 121 real videos. Nearest frames: 0-2 for one source in c23, in c40 and as a fake (246 pairs), 0-12
# for one person in one room, 4-18 for two people in one room, 14 or more for different scenes (6,821 pairs).
SIMILAR_DISTANCE = 12
# Three quarters of the frames: 0-4 in 243 of those 246 pairs and in 5 of 34 pairs of one person in one room; 6 or more
# for two people in one room, also if the five frames are taken from a single second.
ALIKE_DISTANCE = 4
ALIKE_SHARE = 0.75  # of the frames of either video
ALIKE_FRAMES = 3  # fewer textured frames are no evidence


class SimilarPair(NamedTuple):
    """Two videos that seem to show one scene, and how far the hashes of their frames differ.

    `video_a`, `video_b`: video_ids. `distance`: bits of 64 between their nearest frames. `common_distance`: bits within
    which `ALIKE_SHARE` of each video's frames match a frame of the other; 64 = unknown.
    """

    video_a: str
    video_b: str
    distance: int  # bits of 64, between their nearest frames
    common_distance: int  # bits: ALIKE_SHARE of either's frames are this close to one of the other; 64 = unknown

    @property
    def alike(self) -> bool:
        """Whether enough frames agree that the two videos belong in one group."""
        return self.common_distance <= ALIKE_DISTANCE


def hash_video(path: Path) -> tuple[int, ...]:
    """Return the `perceptual_hash` (64 bits) of five frames, evenly spaced over the first 121 frames or all, if fewer.

    Missing and damaged frames are left out. Raises FileNotFoundError if the file is missing, ValueError if it is not
    readable as a video.
    """
    with VideoReader(path, threads=1) as reader:
        wanted = set(evenly_spaced(min(reader.info.frame_count or HASHED_SPAN, HASHED_SPAN), HASHED_FRAMES))
        return tuple(perceptual_hash(frame.image) for frame in reader.frames_at(wanted))


def perceptual_hash(image: np.ndarray) -> int:
    """Hash an (H, W, 3) uint8 RGB frame so that similar frames differ in few of 64 bits.

    Each bit stands for one of the 8 x 8 lowest DCT coefficients, row by row from the highest bit; 1 = above their
    median. A frame without texture (black, fading in, a title card) gets FLAT_HASH. Source: Zauner 2010,
    "Implementation and Benchmarking of Perceptual Image Hash Functions", DCT hash. Departs: INTER_AREA resizing
    replaces the mean filter, and the constant term is one of the 64. Raises ValueError for another shape or dtype.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(gray, (HASH_INPUT_SIDE, HASH_INPUT_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = np.diff(small, axis=1)[:-1], np.diff(small, axis=0)[:, :-1]  # both (31, 31)
    if np.mean(np.maximum(abs(across), abs(down)) > EDGE_LEVEL) < TEXTURED_SHARE:
        return FLAT_HASH
    low = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def similar_pairs(hashes: Mapping[str, Sequence[int]], max_distance: int = SIMILAR_DISTANCE) -> list[SimilarPair]:
    """Compare every video with every other; return the pairs that seem to show one scene, nearest pair first.

    `hashes` maps a video_id to the `perceptual_hash` of a few of its frames; FLAT_HASH is ignored. Two videos form a
    pair if their nearest frames differ in at most `max_distance` of 64 bits. In a pair, video_a < video_b.
    """
    textured = {name: [value for value in hashes[name] if value != FLAT_HASH] for name in sorted(hashes)}
    bits = {name: np.array(values, np.uint64) for name, values in textured.items() if values}
    names, most = list(bits), max(map(len, bits.values()), default=0)
    table = np.array([np.resize(values, most) for values in bits.values()], np.uint64)  # repeats fill short rows
    pairs = []
    for row, name in enumerate(names):
        others = table[row + 1 :].ravel()  # compared with one hash at a time, so the distances fit a processor's cache
        near = [np.flatnonzero(np.bitwise_count(others ^ value) <= max_distance) // most for value in bits[name]]
        for other in np.unique(np.concatenate(near)):
            name_b = names[row + 1 + other]
            pairs.append(SimilarPair(name, name_b, *_distances(bits[name], bits[name_b])))
    return sorted(pairs, key=lambda pair: (pair.distance, *pair))


def _distances(bits_a: np.ndarray, bits_b: np.ndarray) -> tuple[int, int]:
    """Return the distance and the common distance of two videos; see `SimilarPair`."""
    distances = np.bitwise_count(bits_a[:, None] ^ bits_b[None])
    if min(distances.shape) < ALIKE_FRAMES:
        return int(distances.min()), 64
    nearest = (distances.min(axis=1), distances.min(axis=0))  # of each frame of a, of each frame of b
    common = max(int(np.quantile(values, ALIKE_SHARE, method="higher")) for values in nearest)
    return int(distances.min()), common
