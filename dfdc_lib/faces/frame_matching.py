"""Find which frame of its original each frame of a fake shows.

Input: small gray frames of both videos, of one size. Output: an offset for every frame of the fake, constant between
jumps: frames that were dropped from the fake, or added to it.
A frame is compared by what moves: pixels count less where the two videos differ anyway, such as the forged face. The
path of offsets with the smallest total cost is found by dynamic programming (Viterbi 1967); where nothing moves, it
keeps its offset. Departs from the winner's code: there frame i of a fake is frame i of its original.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.records import Segment

VOTERS = 2000  # frames of the fake, evenly spaced, that are compared with all frames of the original
CANDIDATES = 64  # offsets with the most votes
CHUNK, BLOCK = 256, 4096  # frames compared at a time with as many others, to bound memory
# Costs: 1 = the median frame of the best path. The values were chosen on 103 pairs of FaceForensics++ and UADFV.
WORST = 4.0  # no frame costs more: one odd frame must not move the path
OUTSIDE = 2.0  # the original has no such frame
JUMP = 5.0  # a change of the offset, also from 0 before the first frame
DOUBT = 3.0  # where a jump could lie earlier or later for less than this, the frames between have no counterpart
FOREIGN = 25.0  # a frame that costs more shows something else
ROUNDING = 1.0  # gray levels squared: least variance of a pixel
LEAST_COST = 0.05  # of the median frame: in videos without noise, rounding decides nothing


Rows = Callable[[np.ndarray], np.ndarray]  # frame indices (K,) -> weighted pixels, (K, h * w) float32


class Frames(NamedTuple):
    """All frames of one video as small gray images, in order of frame index.

    `images` is (N, h, w), uint8 to save memory; `intact`, (N,) bool, is False for missing or damaged frames.
    """

    images: np.ndarray  # (N, h, w) uint8
    intact: np.ndarray  # (N,) bool; False = missing or damaged

    def pixels(self, frames: np.ndarray) -> np.ndarray:
        """Return the images with the given indices, (K, h, w) float32."""
        return self.images[frames].astype(np.float32)


class Match(NamedTuple):
    """Which frame of the original each of the fake's M frames shows.

    Frame i shows frame i + offsets[i]; `corresponds`, (M,) bool, is False where it shows none or this is in doubt.
    """

    offsets: np.ndarray  # (M,) int; frame i shows frame i + offset
    # (M,) bool; False = the original lacks the frame, it shows something else, or the offset is in doubt: around a jump
    # where nothing moves.
    corresponds: np.ndarray


def match_frames(originals: Frames, fakes: Frames, weights: np.ndarray, added: np.ndarray | float = 0.0) -> Match:
    """Return which frame of the original each frame of the fake shows.

    The frames of both videos are of one size, (h, w). `weights`, (h, w), says how much each pixel counts when two
    frames are compared; 0 = not at all. `added`, (h, w): gray levels that the fake adds; see `pixel_weights`.
    """
    scale = np.sqrt(weights / max(1, np.count_nonzero(weights))).astype(np.float32)

    def one(frames: np.ndarray) -> np.ndarray:
        return (originals.pixels(frames) * scale).reshape(len(frames), scale.size)

    def other(frames: np.ndarray) -> np.ndarray:
        return ((fakes.pixels(frames) - added) * scale).reshape(len(frames), scale.size)

    offsets = _candidates(one, other, originals.intact, fakes.intact)
    costs = _costs(one, other, originals.intact, fakes.intact, offsets)
    path = _best_path(costs, offsets)
    frames = np.arange(len(path))
    shown = frames + offsets[path]
    corresponds = fakes.intact & (shown >= 0) & (shown < len(originals.images))
    corresponds[corresponds] = originals.intact[shown[corresponds]]
    corresponds &= (costs[frames, path] < FOREIGN) & ~_doubtful(np.minimum(costs, WORST), path)
    return Match(offsets[path], corresponds)


def segments_of(match: Match) -> tuple[Segment, ...]:
    """Return a match as segments: runs of consecutive frames that correspond to the original with one offset."""
    offsets, corresponds = match
    joined = corresponds[1:] & corresponds[:-1] & (offsets[1:] == offsets[:-1])  # (M - 1,)
    starts = np.flatnonzero(corresponds & ~np.r_[False, joined])
    stops = np.flatnonzero(corresponds & ~np.r_[joined, False]) + 1
    return tuple(Segment(int(a), int(b), int(offsets[a])) for a, b in zip(starts, stops, strict=True))


def pixel_weights(originals: np.ndarray, fakes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights for comparing frames, (h, w), and the gray levels that the fake typically adds, (h, w).

    Both inputs are (K, h, w) frames, where frame k of both shows the same moment. The more the difference of the two
    videos varies at a pixel, as in a forged face, the smaller is its weight.
    """
    difference = fakes - originals
    added = np.median(difference, axis=0)
    return 1 / (((difference - added) ** 2).mean(axis=0) + ROUNDING), added


def chunks(frames: np.ndarray, size: int = CHUNK) -> list[np.ndarray]:
    """Split frame indices into parts of `size` to 2 `size` - 1 frames, or one smaller part."""
    return np.array_split(frames, max(1, len(frames) // size))


def _candidates(one: Rows, other: Rows, one_intact: np.ndarray, other_intact: np.ndarray) -> np.ndarray:
    """Return 0 and the offsets at which most frames of the fake are most like a frame of the original."""
    blocks = chunks(np.arange(len(one_intact)), BLOCK)
    total = sum(one(block[one_intact[block]]).sum(axis=0) for block in blocks)
    centre = (total / one_intact.sum()).astype(np.float32)  # float32 would lose small distances between large numbers
    frames = np.flatnonzero(other_intact)
    voters = frames[evenly_spaced(len(frames), VOTERS)]
    least, nearest = np.full(len(voters), np.inf), np.zeros(len(voters), int)
    for block in blocks:
        rows = one(block) - centre
        lengths = np.where(one_intact[block], (rows**2).sum(axis=1), np.inf)
        for places in chunks(np.arange(len(voters))):
            distances = lengths - 2 * (other(voters[places]) - centre) @ rows.T
            best = distances.min(axis=1)
            closer = best < least[places]
            least[places[closer]] = best[closer]
            nearest[places[closer]] = block[distances.argmin(axis=1)[closer]]
    offsets, counts = np.unique(nearest - voters, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:CANDIDATES]
    return np.union1d([0], offsets[most[counts[most] > 1]])


def _costs(one: Rows, other: Rows, one_intact: np.ndarray, other_intact: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the cost of every frame of the fake at every offset, (M, S); 1 = the median of the cheapest."""
    costs = np.full((len(other_intact), len(offsets)), np.nan)
    for chunk in chunks(np.arange(len(other_intact))):
        fakes = other(chunk)
        for place, offset in enumerate(offsets):
            shown = chunk + offset
            compared = other_intact[chunk] & (shown >= 0) & (shown < len(one_intact))
            compared[compared] = one_intact[shown[compared]]
            difference = fakes[compared] - one(shown[compared])
            costs[chunk[compared], place] = np.einsum("ij,ij->i", difference, difference)
    compared = ~np.isnan(costs).all(axis=1)
    typical = np.median(np.nanmin(costs[compared], axis=1)) if compared.any() else 0
    return np.where(np.isnan(costs), OUTSIDE, costs / max(typical, LEAST_COST))


def _best_path(costs: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the place of every frame's offset in `offsets`, (M,)."""
    capped = np.minimum(costs, WORST)
    total = np.where(offsets == 0, 0.0, JUMP)
    came_from = np.empty(costs.shape, int)
    for frame, cost in enumerate(capped):
        cheapest = int(total.argmin())
        stays = total <= total[cheapest] + JUMP
        came_from[frame] = np.where(stays, np.arange(len(offsets)), cheapest)
        total = np.minimum(total, total[cheapest] + JUMP) + cost
    path = np.empty(len(costs), int)
    place = int(total.argmin())
    for frame in reversed(range(len(costs))):
        path[frame] = place
        place = came_from[frame, place]
    return path


def _doubtful(costs: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Return the frames around a jump that could as well have the offset on its other side, (M,) bool."""
    doubtful = np.zeros(len(path), bool)
    jumps = np.flatnonzero(np.diff(path)) + 1
    edges = [0, *jumps, len(path)]
    for before, jump, after in zip(edges[:-2], jumps, edges[2:], strict=True):
        earlier = np.cumsum((costs[before:jump, path[jump]] - costs[before:jump, path[jump - 1]])[::-1])
        later = np.cumsum(costs[jump:after, path[jump - 1]] - costs[jump:after, path[jump]])
        first = jump - 1 - np.flatnonzero(earlier < DOUBT).max(initial=-1)
        last = jump + 1 + np.flatnonzero(later < DOUBT).max(initial=-1)
        doubtful[first:last] = True
    return doubtful
