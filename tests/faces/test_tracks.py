"""Tracks: hand-made boxes with known tracks."""

import pytest

from dfdc_lib.faces import tracks
from dfdc_lib.records import Box

LEFT, RIGHT = (10, 10, 50, 60), (200, 10, 240, 60)  # two people


def moved(box: Box, x: float) -> Box:
    return box[0] + x, box[1], box[2] + x, box[3]


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        *[((0, 0, 2, 2), (0, 0, 2, 2), 1), ((0, 0, 2, 2), (1, 0, 3, 2), 1 / 3), ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7)],
        *[((0, 0, 4, 4), (1, 1, 3, 3), 1 / 4), ((0, 0, 2, 2), (5, 5, 6, 6), 0), ((0, 0, 0, 0), (0, 0, 0, 0), 0)],
        ((0, 0, 2, 2), (2, 0, 4, 2), 0),  # adjacent: x1 is exclusive
    ],
)
def test_iou(box: Box, other: Box, expected: float) -> None:
    assert tracks.iou(box, other) == tracks.iou(other, box) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        *[([], []), ([[], [], []], [[], [], []]), ([[LEFT]], [[0]])],
        ([[LEFT], [], [RIGHT]], [[0], [], [1]]),
        ([[LEFT], [RIGHT, LEFT]], [[0], [1, 0]]),  # a second person enters
        ([[LEFT, RIGHT], [RIGHT], [LEFT]], [[0, 1], [1], [0]]),
        ([[LEFT, RIGHT], [RIGHT, LEFT]], [[0, 1], [1, 0]]),  # the detector's order does not matter
    ],
)
def test_link_faces(frames: list[list[Box]], expected: list[list[int]]) -> None:
    assert tracks.link_faces(frames) == expected


def test_a_person_keeps_the_track_unless_they_jump_or_are_missed_for_long() -> None:
    assert tracks.link_faces([[moved(LEFT, 15 * step)] for step in range(20)]) == [[0]] * 20
    assert tracks.iou(LEFT, moved(LEFT, 30)) < tracks.MIN_IOU < tracks.iou(LEFT, moved(LEFT, 28))
    assert tracks.link_faces([[LEFT], [moved(LEFT, 28)]]) == [[0], [0]]
    assert tracks.link_faces([[LEFT], [moved(LEFT, 30)]]) == [[0], [1]]
    for missed, track in ((0, 0), (1, 0), (tracks.MAX_MISSED, 0), (tracks.MAX_MISSED + 1, 1), (50, 1)):
        assert tracks.link_faces([[LEFT], *[[]] * missed, [LEFT]]) == [[0], *[[]] * missed, [track]]


def test_people_who_pass_each_other_keep_their_tracks() -> None:
    """One moves right in the upper half, one left in the lower half; every second frame lists them in reverse order."""
    walkers = [[moved(LEFT, 15 * step), moved((160, 40, 200, 90), -15 * step)] for step in range(11)]
    frames = [pair[::-1] if step % 2 else pair for step, pair in enumerate(walkers)]
    assert tracks.link_faces(frames) == [[1, 0] if step % 2 else [0, 1] for step in range(11)]


def test_the_sum_of_good_overlaps_is_maximised() -> None:
    # The first box overlaps both tracks; its best match is the only one that the second box overlaps.
    first, boxes = [(0, 0, 10, 10), (6, 0, 16, 10)], [(4, 0, 14, 10), (9, 0, 19, 10)]
    assert tracks.iou(boxes[0], first[1]) > tracks.iou(boxes[0], first[0])
    assert tracks.link_faces([first, boxes]) == [[0, 1], [0, 1]]
    # Two bad matches do not outweigh a good one.
    first, boxes = [(15, 35, 35, 55), (20, 10, 40, 30)], [(20, 25, 40, 45), (0, 30, 20, 50)]
    good, *bad = (tracks.iou(boxes[0], first[0]), tracks.iou(boxes[0], first[1]), tracks.iou(boxes[1], first[0]))
    assert max(bad) < tracks.MIN_IOU < good < sum(bad)
    assert tracks.link_faces([first, boxes]) == [[0, 1], [0, 2]]
