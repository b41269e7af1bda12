"""Crops: margins, clamping, rounding and landmarks."""

import numpy as np
import pytest

from dfdc_lib.faces.crops import DEFAULT_MARGIN, crop_area, cut, cut_face, is_empty, landmarks_in_crop

LANDMARKS = ((130.0, 140.0), (170.0, 141.0), (150.0, 160.0), (135.5, 180.25), (166.0, 181.0))


@pytest.mark.parametrize(
    ("margin", "area"),
    [
        *[(0, (100, 100, 200, 300)), (DEFAULT_MARGIN, (80, 60, 220, 340)), (1 / 3, (67, 33, 233, 367))],
        *[(0.5, (50, 0, 250, 400)), (1, (0, 0, 300, 500))],  # the last is clamped: the top would be at -100
    ],
)
def test_margin_is_a_share_of_the_side_on_each_side(margin, area):
    assert crop_area((100.0, 100.0, 200.0, 300.0), margin, 720, 1280) == area


@pytest.mark.parametrize(
    ("box", "nearest", "winner"),
    [
        ((100.0, 100.0, 200.0, 300.0), (67, 33, 233, 367), (67, 34, 233, 366)),
        ((100.9, 100.9, 200.9, 300.9), (68, 34, 234, 368), (67, 34, 233, 366)),  # corners are truncated first
        ((99.9, 100.1, 201.9, 301.9), (66, 33, 236, 369), (65, 33, 235, 368)),  # 102 and 201 pixels: 34 and 67
        ((-0.9, -5.5, 29.9, 24.5), (0, 0, 40, 35), (0, 0, 38, 33)),  # towards 0, then clamped
    ],
)
def test_edges_are_rounded_or_truncated_like_the_winners(box, nearest, winner):
    assert crop_area(box, 1 / 3, 720, 1280) == nearest
    assert crop_area(box, 1 / 3, 720, 1280, "winner") == winner


@pytest.mark.parametrize(
    ("box", "margin", "area"),  # area None: empty
    [
        *[((-30, 40, 20, 90), 0, (0, 40, 20, 90)), ((40, -30, 90, 20), 0, (40, 0, 90, 20))],
        *[((150, 40, 250, 90), 0, (150, 40, 200, 90)), ((40, 60, 90, 160), 0, (40, 60, 90, 100))],
        *[((-30, -30, 250, 160), 0, (0, 0, 200, 100)), ((0, 0, 200, 100), 0, (0, 0, 200, 100))],
        ((10, 10, 190, 90), 0.2, (0, 0, 200, 100)),
        *[(box, 0, None) for box in ((-50, 10, -10, 60), (10, -50, 60, -10), (200, 10, 240, 60))],
        *[(box, 0, None) for box in ((10, 100, 60, 140), (-40, -40, 0, 0))],
        ((50.1, 50.1, 50.3, 50.3), 0, None),  # less than a pixel
    ],
)
def test_an_area_is_clamped_to_the_frame_and_empty_outside_it(box, margin, area):
    clamped = crop_area(box, margin, frame_height=100, frame_width=200)
    assert is_empty(clamped) == (area is None)
    assert area is None or clamped == area


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.49, 0.5, 0.51, 0.75])
@pytest.mark.parametrize("margin", [0, 0.2, 1 / 3, 0.5])
def test_a_box_moved_by_whole_pixels_cuts_the_same_pixels(fraction, margin):
    """With halves rounded to even, moving by an odd number of pixels would change the size of the crop."""
    box = (100 + fraction, 80 + fraction, 161 + fraction, 140 + fraction)
    area = crop_area(box, margin, 1000, 1000)
    for move in (-11, -8, 1):
        moved = tuple(side + move for side in box)
        assert crop_area(moved, margin, 1000, 1000) == tuple(side + move for side in area)


@pytest.mark.parametrize(
    ("box", "margin", "keyword"),
    [
        ((0.0, 0.0, 10.0, 10.0), -0.1, "margin"),
        *[((x0, 0.0, 10.0, 10.0), 0.2, "x0 < x1") for x0 in (10.0, 20.0)],
        *[((0.0, y0, 10.0, 10.0), 0.2, "y0 < y1") for y0 in (10.0, 20.0)],
    ],
)
def test_invalid_margins_and_boxes_are_errors(box, margin, keyword):
    with pytest.raises(ValueError, match=keyword):
        crop_area(box, margin, 100, 100)


def test_cut_is_empty_and_landmarks_in_crop():
    rows, columns = np.indices((10, 20))
    image = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    crop = cut(image, (3, 2, 8, 5))
    assert crop.shape == (3, 5, 3)
    assert (crop[0, 0].tolist(), crop[-1, -1].tolist()) == ([2, 3, 2], [4, 7, 4])
    assert not is_empty((0, 0, 1, 1))
    for area in ((0, 0, 0, 0), (5, 0, 5, 9), (0, 9, 9, 9), (9, 0, 5, 9)):
        assert is_empty(area) and cut(image, area).size == 0
    assert cut(image[:, :, 0], (3, 2, 8, 5)).shape == (3, 5)
    assert (cut_face(image, (4.0, 3.0, 8.0, 5.0), 0.25) == cut(image, (3, 3, 9, 6))).all()
    for area in ((0, 0, 400, 300), (80, 60, 220, 340), (140, 150, 220, 340)):  # the last: outside
        assert landmarks_in_crop(LANDMARKS, area) == tuple((x - area[0], y - area[1]) for x, y in LANDMARKS)
