"""The cascade of MTCNN: P-Net proposes boxes in a pyramid of scales, R-Net and O-Net refine them.

Input: frames of one size, and the three networks (see `mtcnn_networks`). Output: boxes, confidences and landmarks.
Areas are averaged from integral images, so that a crop costs the same at every size. The candidates of all frames go
through R-Net and O-Net together; non-maximum suppression is done in each frame alone.
Source: Zhang et al. 2016, doi:10.1109/LSP.2016.2603342; the numbers, and the resampling, are those of facenet-pytorch.
Departs from facenet-pytorch: its suppression moves the frames of a batch apart by float32 offsets, which shifts boxes
a little; here a frame of a batch gets the boxes that it gets alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

PYRAMID_STEP = 0.709
CELL, STRIDE = 12, 2  # pixels: what P-Net sees of an image for one output, and the distance between two outputs
REFINED_SIDE, OUTPUT_SIDE = 24, 48  # pixels: input of R-Net and of O-Net
# Intersection over union, or over the smaller box, above which the less confident of two boxes is dropped.
MAX_OVERLAP_IN_SCALE, MAX_OVERLAP = 0.5, 0.7


class Networks(Protocol):
    """The three networks. Images are (N, 3, H, W) float32 RGB, 0-255; probabilities are those of a face.

    Offsets are (..., 4): of the edges x0, y0, x1, y1, in units of the box's width and height.
    """

    def propose(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P-Net: return probabilities (N, h, w) and offsets (N, 4, h, w)."""
        ...

    def refine(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R-Net, for images of 24 x 24 pixels: return probabilities (N,) and offsets (N, 4)."""
        ...

    def output(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """O-Net, for 48 x 48 pixels: return probabilities (N,), offsets (N, 4) and landmarks (N, 10), five x, five y.

        Landmarks are in units of the box's width and height.
        """
        ...


class Detections(NamedTuple):
    """The faces of one frame, largest first; boxes and landmarks are in pixels of the searched image."""

    boxes: np.ndarray  # (K, 4) float32
    confidences: np.ndarray  # (K,) float32
    landmarks: np.ndarray  # (K, 5, 2) float32


class _Candidates(NamedTuple):
    """Boxes of all frames together."""

    frames: np.ndarray  # (K,) int: index of the frame
    boxes: np.ndarray  # (K, 4) float32
    confidences: np.ndarray  # (K,) float32

    def chosen(self, rows: np.ndarray) -> "_Candidates":
        return _Candidates(*(field[rows] for field in self))


def detect(
    images: Sequence[np.ndarray], networks: Networks, thresholds: Sequence[float], smallest: int
) -> list[Detections]:
    """Return the faces in images of one size, (H, W, 3) uint8 RGB.

    `thresholds`: least probabilities of P-Net, R-Net and O-Net; `smallest`: side of the smallest face, in pixels.
    """
    sums = [cv2.integral(image) for image in images]  # (H + 1, W + 1, 3) int32
    proposed = _propose(sums, networks, thresholds[0], smallest)
    refined = _refine(sums, networks, thresholds[1], proposed)
    candidates, landmarks = _output(sums, networks, thresholds[2], refined)
    found = []
    for frame in range(len(images)):
        rows = np.flatnonzero(candidates.frames == frame)
        x0, y0, x1, y1 = candidates.boxes[rows].T
        rows = rows[np.argsort((x1 - x0) * (y1 - y0))[::-1]]
        found.append(Detections(candidates.boxes[rows], candidates.confidences[rows], landmarks[rows]))
    return found


def pyramid_sizes(height: int, width: int, smallest: int) -> list[tuple[float, tuple[int, int]]]:
    """Return the scales at which P-Net searches an image of this size in pixels, each with its (height, width)."""
    scale, scales = CELL / smallest, []
    side = min(height, width) * scale
    while side >= CELL:
        scales.append((scale, (int(height * scale + 1), int(width * scale + 1))))
        scale, side = scale * PYRAMID_STEP, side * PYRAMID_STEP
    return scales


def resize_by_area(sums: np.ndarray, size: tuple[int, int], out: np.ndarray) -> None:
    """Write an image at another size into `out`, (3, height, width) float32: each pixel the mean of those it touches.

    `sums` is the image's integral, (H + 1, W + 1, 3) int32. The result is that of PyTorch's `interpolate` with
    mode="area".
    """
    height, width = size
    (top, bottom), (left, right) = (_bins(np.zeros(1, int), sums.shape[k] - 1, size[k]) for k in (0, 1))
    flat = sums.reshape(len(sums), -1)
    rows = flat.take(bottom[0], axis=0)
    rows -= flat.take(top[0], axis=0)
    channels = np.arange(3)[:, None]
    total = rows.take((3 * right + channels).ravel(), axis=1)  # (height, 3 * width), one channel after the other
    total -= rows.take((3 * left + channels).ravel(), axis=1)
    counts = ((bottom - top).T * (right - left)).astype(np.float32)  # (height, width)
    totals = total.reshape(height, 3, width).transpose(1, 0, 2)
    np.divide(totals, counts, out=out, dtype=np.float32, casting="unsafe")


def crop_by_area(sums: np.ndarray, areas: np.ndarray, side: int) -> np.ndarray:
    """Return areas of an image as squares, (K, 3, side, side) float32, resized as by `resize_by_area`.

    `sums` is the image's integral, (H + 1, W + 1, 3) int32; `areas`: (K, 4) int x0, y0, x1, y1, not empty.
    """
    left, right = _bins(areas[:, 0], areas[:, 2] - areas[:, 0], side)
    top, bottom = _bins(areas[:, 1], areas[:, 3] - areas[:, 1], side)
    top, bottom, left, right = top[:, :, None], bottom[:, :, None], left[:, None], right[:, None]
    total = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    means = total / ((bottom - top) * (right - left))[..., None].astype(np.float32)
    return np.ascontiguousarray(means.transpose(0, 3, 1, 2), np.float32)


def _bins(start: np.ndarray, length: np.ndarray | int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide ranges of pixels into `count` bins: (K, count) first pixels, and pixels after the last; bins may share."""
    steps, length = np.arange(count), np.asarray(length).reshape(-1, 1)
    first = steps * length // count
    last = -((steps + 1) * length // -count)
    return start[:, None] + first, start[:, None] + last


def _propose(sums: Sequence[np.ndarray], networks: Networks, threshold: float, smallest: int) -> _Candidates:
    """Search every scale with P-Net."""
    height, width = sums[0].shape[0] - 1, sums[0].shape[1] - 1
    found = [_Candidates(np.zeros(0, int), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))]
    offsets = [np.zeros((0, 4), np.float32)]
    for scale, size in pyramid_sizes(height, width, smallest):
        resized = np.empty((len(sums), 3, *size), np.float32)
        for each, out in zip(sums, resized, strict=True):
            resize_by_area(each, size, out)
        probabilities, shifts = networks.propose(resized)
        frames, y, x = np.nonzero(probabilities >= threshold)
        corner = STRIDE * np.stack([x, y, x, y], axis=1).astype(np.float32) + np.array([1, 1, CELL, CELL], np.float32)
        boxes = np.floor(corner / np.float32(scale))
        candidates = _Candidates(frames, boxes, probabilities[frames, y, x])
        rows = _without_overlaps(candidates, MAX_OVERLAP_IN_SCALE)
        found.append(candidates.chosen(rows))
        offsets.append(shifts[frames[rows], :, y[rows], x[rows]])
    everything = _Candidates(*(np.concatenate(fields) for fields in zip(*found, strict=True)))
    rows = _without_overlaps(everything, MAX_OVERLAP)
    chosen, shift = everything.chosen(rows), np.concatenate(offsets)[rows]
    return chosen._replace(boxes=_square(_shifted(chosen.boxes, shift, 0)))


def _refine(sums: Sequence[np.ndarray], networks: Networks, threshold: float, proposed: _Candidates) -> _Candidates:
    """Discard and move candidates as R-Net says."""
    proposed, squares = _cut(sums, proposed, REFINED_SIDE)
    if not len(squares):
        return proposed
    probabilities, offsets = networks.refine(squares)
    passed = probabilities > threshold
    refined = _Candidates(proposed.frames[passed], proposed.boxes[passed], probabilities[passed])
    rows = _without_overlaps(refined, MAX_OVERLAP)
    chosen = refined.chosen(rows)
    return chosen._replace(boxes=_square(_shifted(chosen.boxes, offsets[passed][rows], 1)))


def _output(
    sums: Sequence[np.ndarray], networks: Networks, threshold: float, refined: _Candidates
) -> tuple[_Candidates, np.ndarray]:
    """Discard and move candidates as O-Net says; return what is left, and its landmarks (K, 5, 2)."""
    refined, squares = _cut(sums, refined, OUTPUT_SIDE)
    if not len(squares):
        return refined, np.zeros((0, 5, 2), np.float32)
    probabilities, offsets, places = networks.output(squares)
    passed = probabilities > threshold
    boxes, offsets, places = refined.boxes[passed], offsets[passed], places[passed]
    sizes = boxes[:, 2:] - boxes[:, :2] + 1
    landmarks = sizes[:, None] * places.reshape(-1, 2, 5).transpose(0, 2, 1) + boxes[:, None, :2] - 1
    found = _Candidates(refined.frames[passed], _shifted(boxes, offsets, 1), probabilities[passed])
    rows = _without_contained(found, MAX_OVERLAP)
    return found.chosen(rows), landmarks[rows]


def _cut(sums: Sequence[np.ndarray], candidates: _Candidates, side: int) -> tuple[_Candidates, np.ndarray]:
    """Return the candidates that lie in their frame, and their pixels as squares, (K, 3, side, side) float32."""
    height, width = sums[0].shape[0] - 1, sums[0].shape[1] - 1
    areas = np.trunc(candidates.boxes).astype(int)
    areas[:, :2] = np.maximum(areas[:, :2], 1) - 1  # facenet-pytorch counts pixels from 1
    areas[:, 2:] = np.minimum(areas[:, 2:], (width, height))
    inside = np.flatnonzero((areas[:, 2] > areas[:, 0]) & (areas[:, 3] > areas[:, 1]))
    candidates, areas = candidates.chosen(inside), areas[inside]
    squares = np.empty((len(areas), 3, side, side), np.float32)
    for frame, each in enumerate(sums):
        rows = np.flatnonzero(candidates.frames == frame)
        squares[rows] = crop_by_area(each, areas[rows], side)
    return candidates, squares


def _shifted(boxes: np.ndarray, offsets: np.ndarray, extra: int) -> np.ndarray:
    """Move the edges of boxes by multiples of their size; `extra` pixels are added to the size."""
    sizes = boxes[:, 2:] - boxes[:, :2] + np.float32(extra)
    return boxes + offsets * np.tile(sizes, 2)


def _square(boxes: np.ndarray) -> np.ndarray:
    """Enlarge boxes to squares with the same centre."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    side = sizes.max(axis=1, keepdims=True)
    corner = boxes[:, :2] + sizes * np.float32(0.5) - side * np.float32(0.5)
    return np.concatenate([corner, corner + side], axis=1)


def _without_overlaps(candidates: _Candidates, most: float) -> np.ndarray:
    """Return the rows that are left if, of two boxes of a frame with IoU > `most`, the less confident is dropped."""
    if not len(candidates.boxes):
        return np.zeros(0, int)
    corners, sizes = candidates.boxes[:, :2], candidates.boxes[:, 2:] - candidates.boxes[:, :2]
    rectangles = np.concatenate([corners, sizes], axis=1).astype(float)
    drop: Any = cv2.dnn.NMSBoxesBatched  # OpenCV declares lists, and takes arrays
    rows = drop(rectangles, candidates.confidences, candidates.frames.astype(np.int32), 0.0, most)
    return np.asarray(rows, int)


def _without_contained(candidates: _Candidates, most: float) -> np.ndarray:
    """As `_without_overlaps`, but with the intersection over the smaller of the two boxes."""
    sizes = candidates.boxes[:, 2:] - candidates.boxes[:, :2] + 1
    areas, left = sizes.prod(axis=1), np.argsort(candidates.confidences)[::-1]
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        corner = np.maximum(candidates.boxes[best, :2], candidates.boxes[left, :2])
        shared = np.minimum(candidates.boxes[best, 2:], candidates.boxes[left, 2:]) - corner + 1
        overlap = np.maximum(shared, 0).prod(axis=1) / np.minimum(areas[best], areas[left])
        left = left[(overlap <= most) | (candidates.frames[left] != candidates.frames[best])]
    return np.array(kept, int)
