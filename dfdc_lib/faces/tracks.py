"""Link the faces of consecutive frames into tracks, one per person.

Input: the boxes of each frame. Output: a track number per box. Boxes are matched with the last boxes of the tracks such
that the sum of their IoUs is largest. Source: SORT (Bewley et al. 2016, doi:10.1109/ICIP.2016.7533003) without its
motion model, because examined frames are a third of a second apart.
Departs from the winner's code: there all faces of a frame are pooled.
"""

from collections.abc import Sequence

import numpy as np

from dfdc_lib.records import Box

MIN_IOU = 0.15  # low, because heads move between examined frames
MAX_MISSED = 5  # examined frames without the person, after which a new track starts


def iou(box: Box, other: Box) -> float:
    """Return the intersection over union of two boxes.

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (box, other))
    return width * height / (areas - width * height)


def link_faces(frames: Sequence[Sequence[Box]]) -> list[list[int]]:
    """Return a track number for each box of each examined frame: boxes with the same number show one person.

    `frames` has the boxes of every examined frame, in order of time. Numbers start at 0, by first appearance. A person
    absent from more than `MAX_MISSED` frames gets a new number.
    """
    last: dict[int, tuple[int, Box]] = {}  # track -> position of the last frame that shows it, its box there
    numbers: list[list[int]] = []
    for position, boxes in enumerate(frames):
        active = [track for track, (seen, _) in last.items() if position - seen <= MAX_MISSED + 1]
        matches = _match(boxes, [last[track][1] for track in active])
        numbers.append([])
        for i, box in enumerate(boxes):
            track = active[matches[i]] if i in matches else len(last)
            last[track] = position, box
            numbers[-1].append(track)
    return numbers


def _match(boxes: Sequence[Box], track_boxes: Sequence[Box]) -> dict[int, int]:
    """Return the assignment: index into `boxes` -> index into `track_boxes`."""
    if not boxes or not track_boxes:
        return {}
    overlaps = np.array([[iou(box, other) for other in track_boxes] for box in boxes])
    overlaps[overlaps < MIN_IOU] = 0  # two bad matches must not outweigh a good one
    pairs = [np.unravel_index(overlaps.argmax(), overlaps.shape)]
    if min(overlaps.shape) > 1:
        from scipy.optimize import linear_sum_assignment  # here: it takes 0.6 s

        pairs = list(zip(*linear_sum_assignment(overlaps, maximize=True), strict=True))
    return {int(i): int(j) for i, j in pairs if overlaps[i, j]}
