"""Faces of consecutive frames → one track per person, so that people in one video are not pooled blindly.

Pure: boxes in, track numbers out. Each frame's faces are matched to the last known faces by the assignment that maximises the sum of
intersection over union. Source: the matching of SORT (Bewley et al. 2016, doi:10.1109/ICIP.2016.7533003), without its motion model:
examined frames lie a third of a second apart. Departs from the winner's code: there all people of a frame are pooled.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from dfdc_lib.records import Box

MIN_IOU = 0.15  # heads move between examined frames: a third of a second is a long time
MAX_MISSED = 5  # examined frames a person may be missed in before a new track begins


def iou(box: Box, other: Box) -> float:
    """Give the intersection over union of two boxes.

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(box) + _area(other) - shared)


def link_faces(frames: Sequence[Sequence[Box]]) -> list[list[int]]:
    """Number the person behind every face.

    Args:
        frames: the boxes of each examined frame, in order of time.
    Returns:
        For every frame the track number of each of its boxes; tracks are numbered from 0 by first appearance.
    """
    last_box: dict[int, Box] = {}
    last_seen: dict[int, int] = {}
    numbers: list[list[int]] = []
    for position, boxes in enumerate(frames):
        active = [track for track, seen in last_seen.items() if position - seen <= MAX_MISSED + 1]
        matched = _match(boxes, [last_box[track] for track in active])
        row = []
        for place, box in enumerate(boxes):
            track = active[matched[place]] if place in matched else len(last_box)
            last_box[track], last_seen[track] = box, position
            row.append(track)
        numbers.append(row)
    return numbers


def _match(boxes: Sequence[Box], known: Sequence[Box]) -> dict[int, int]:
    """Assign boxes to known ones: place in `boxes` → place in `known`."""
    if not boxes or not known:
        return {}
    overlaps = np.array([[iou(box, other) for other in known] for box in boxes])
    overlaps[overlaps < MIN_IOU] = 0  # two bad matches must not outweigh a good one
    pairs = zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
    return {int(i): int(j) for i, j in pairs if overlaps[i, j]}


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
