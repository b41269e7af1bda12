"""Crops: margins and clamping, landmarks, and how a fake's frame lies on its original's, made up and real."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from dfdc_lib.data.video import read_frames
from dfdc_lib.faces.crops import (
    DEFAULT_MARGIN,
    Alignment,
    align_box,
    align_frames,
    align_landmarks,
    crop_area,
    cut,
    is_empty,
    landmarks_in_crop,
    matching_patch,
)

LANDMARKS = ((130.0, 140.0), (170.0, 141.0), (150.0, 160.0), (135.5, 180.25), (166.0, 181.0))
IDENTITY = Alignment()

# FaceForensics++ c23: original, fake's method and name, their widths, how far the fake's frame is shifted.
CENTRE_CROPS = [("469", "NeuralTextures", "469_481", 854, 832, -11), ("720", "NeuralTextures", "720_672", 656, 640, -8)]


def first_frame(path: Path) -> np.ndarray:
    return read_frames(path, {0}, threads=1)[0].image


def real_pair(folder: Path, original: str, method: str, fake: str) -> tuple[np.ndarray, np.ndarray]:
    ffpp = folder / "ffpp"
    return (
        first_frame(ffpp / "original_sequences" / "youtube" / "c23" / "videos" / f"{original}.mp4"),
        first_frame(ffpp / "manipulated_sequences" / method / "c23" / "videos" / f"{fake}.mp4"),
    )


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def scene() -> np.ndarray:
    """A picture of 300 by 400."""
    return np.ascontiguousarray(data.astronaut()[50:350, 60:460])


# Areas --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin", "area"),
    [
        (0, (100, 100, 200, 300)),
        (0.2, (80, 60, 220, 340)),
        (1 / 3, (67, 33, 233, 367)),
        (0.5, (50, 0, 250, 400)),
        (1, (0, 0, 300, 500)),  # it would begin at -100 above
    ],
)
def test_margin_is_a_share_of_the_side_on_each_side(margin, area):
    assert crop_area((100.0, 100.0, 200.0, 300.0), margin, 720, 1280) == area


def test_the_default_margin_is_that_of_the_slides():
    assert DEFAULT_MARGIN == 0.2


@pytest.mark.parametrize(
    ("box", "area"),
    [
        ((-30.0, 40.0, 20.0, 90.0), (0, 40, 20, 90)),  # left
        ((40.0, -30.0, 90.0, 20.0), (40, 0, 90, 20)),  # top
        ((150.0, 40.0, 250.0, 90.0), (150, 40, 200, 90)),  # right
        ((40.0, 60.0, 90.0, 160.0), (40, 60, 90, 100)),  # bottom
        ((-30.0, -30.0, 250.0, 160.0), (0, 0, 200, 100)),  # all round
        ((0.0, 0.0, 200.0, 100.0), (0, 0, 200, 100)),
    ],
)
def test_an_area_is_clamped_to_the_frame(box, area):
    assert crop_area(box, 0, frame_height=100, frame_width=200) == area
    assert not is_empty(area)


def test_a_margin_is_clamped_too():
    assert crop_area((10.0, 10.0, 190.0, 90.0), 0.2, 100, 200) == (0, 0, 200, 100)


@pytest.mark.parametrize(
    "box",
    [
        (-50.0, 10.0, -10.0, 60.0),
        (10.0, -50.0, 60.0, -10.0),
        (200.0, 10.0, 240.0, 60.0),
        (10.0, 100.0, 60.0, 140.0),
        (-40.0, -40.0, 0.0, 0.0),
        (50.1, 50.1, 50.3, 50.3),  # less than a pixel
    ],
)
def test_a_box_outside_of_the_frame_gives_an_empty_area(box):
    assert is_empty(crop_area(box, 0, frame_height=100, frame_width=200))


@pytest.mark.parametrize(
    ("area", "empty"),
    [((0, 0, 0, 0), True), ((5, 0, 5, 9), True), ((0, 9, 9, 9), True), ((9, 0, 5, 9), True), ((0, 0, 1, 1), False)],
)
def test_is_empty(area, empty):
    assert is_empty(area) is empty


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.49, 0.5, 0.51, 0.75])
@pytest.mark.parametrize("margin", [0, 0.2, 1 / 3, 0.5])
def test_a_box_moved_by_whole_pixels_cuts_the_same_pixels(fraction, margin):
    """Where halves went to the even neighbour, a move by an odd number of pixels changed the size of the crop."""
    box = (100 + fraction, 80 + fraction, 161 + fraction, 140 + fraction)
    x0, y0, x1, y1 = crop_area(box, margin, 1000, 1000)
    for move in (-11, -8, 1):
        moved = align_box(box, Alignment(offset_x=move, offset_y=move))
        assert crop_area(moved, margin, 1000, 1000) == (x0 + move, y0 + move, x1 + move, y1 + move)


@pytest.mark.parametrize(
    ("box", "margin", "message"),
    [
        ((0.0, 0.0, 10.0, 10.0), -0.1, r"margin must be 0 or more .*, got -0\.1"),
        ((10.0, 0.0, 10.0, 10.0), 0.2, r"box must have x0 < x1 and y0 < y1, got \(10\.0, 0\.0, 10\.0, 10\.0\)"),
        ((20.0, 0.0, 10.0, 10.0), 0.2, "box must have x0 < x1 and y0 < y1"),
        ((0.0, 10.0, 10.0, 10.0), 0.2, "box must have x0 < x1 and y0 < y1"),
        ((0.0, 20.0, 10.0, 10.0), 0.2, "box must have x0 < x1 and y0 < y1"),
    ],
)
def test_bad_margins_and_boxes_are_refused(box, margin, message):
    with pytest.raises(ValueError, match=message):
        crop_area(box, margin, 100, 100)


def test_cut_gives_the_pixels_of_the_area():
    rows, columns = np.indices((10, 20))
    image = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    crop = cut(image, (3, 2, 8, 5))
    assert crop.shape == (3, 5, 3)
    assert crop[0, 0].tolist() == [2, 3, 2]
    assert crop[-1, -1].tolist() == [4, 7, 4]
    assert cut(image, (3, 2, 3, 5)).size == 0
    assert cut(image[:, :, 0], (3, 2, 8, 5)).shape == (3, 5)


# Landmarks ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("area", "first", "last"),
    [
        ((0, 0, 400, 300), (130.0, 140.0), (166.0, 181.0)),
        ((80, 60, 220, 340), (50.0, 80.0), (86.0, 121.0)),
        ((140, 150, 220, 340), (-10.0, -10.0), (26.0, 31.0)),  # a landmark may lie outside of its crop
    ],
)
def test_landmarks_in_crop(area, first, last):
    moved = landmarks_in_crop(LANDMARKS, area)
    assert len(moved) == 5
    assert (moved[0], moved[-1]) == (first, last)
    assert moved[3] == (135.5 - area[0], 180.25 - area[1])


def test_a_landmark_marks_the_same_pixel_in_frame_and_crop():
    image, area = scene(), (80, 60, 220, 240)
    crop = cut(image, area)
    for (x, y), (crop_x, crop_y) in zip(LANDMARKS, landmarks_in_crop(LANDMARKS, area), strict=True):
        assert (crop[int(crop_y), int(crop_x)] == image[int(y), int(x)]).all()


# Alignment ----------------------------------------------------------------------------------------------------------------------------


def test_frames_of_one_size_lie_on_each_other():
    assert align_frames(scene(), scene()) == Alignment(1, 1, 0, 0)
    assert align_frames(scene(), 255 - scene()) == IDENTITY


@pytest.mark.parametrize("size", [(150, 200), (600, 800), (225, 300), (300, 380)])
def test_a_scaled_copy_is_seen_as_scaled(size):
    scaled = cv2.resize(scene(), size[::-1], interpolation=cv2.INTER_AREA)
    assert align_frames(scene(), scaled) == Alignment(size[1] / 400, size[0] / 300, 0, 0)


@pytest.mark.parametrize(("left", "top"), [(11, 0), (8, 0), (0, 15), (20, 10), (1, 0)])
def test_a_centre_crop_is_seen_as_moved(left, top):
    height, width = scene().shape[:2]
    middle = scene()[top : height - top, left : width - left]
    assert align_frames(scene(), middle) == Alignment(1, 1, -left, -top)


@pytest.mark.parametrize(("original", "method", "fake", "width", "fake_width", "offset"), CENTRE_CROPS)
def test_real_fakes_of_another_size_are_centre_crops(test_videos, original, method, fake, width, fake_width, offset):
    original_frame, fake_frame = real_pair(test_videos, original, method, fake)
    assert (original_frame.shape, fake_frame.shape) == ((480, width, 3), (480, fake_width, 3))
    assert align_frames(original_frame, fake_frame) == Alignment(1, 1, offset, 0)
    cropped = original_frame[:, -offset : -offset + fake_width]
    scaled = cv2.resize(original_frame, (fake_width, 480), interpolation=cv2.INTER_AREA)
    assert mean_difference(cropped, fake_frame) < 0.5 * mean_difference(scaled, fake_frame)
    one_off = original_frame[:, -offset + 1 : -offset + 1 + fake_width]
    assert mean_difference(cropped, fake_frame) < 0.8 * mean_difference(one_off, fake_frame)


def test_real_fakes_of_one_size_are_not_moved(test_videos):
    assert align_frames(*real_pair(test_videos, "469", "Deepfakes", "469_481")) == IDENTITY


ALIGNMENTS = [IDENTITY, Alignment(offset_x=-11), Alignment(0.5, 0.5), Alignment(832 / 854, 1), Alignment(2, 1.5, -8, 4)]


def inverse(alignment: Alignment) -> Alignment:
    scale_x, scale_y, offset_x, offset_y = alignment
    return Alignment(1 / scale_x, 1 / scale_y, -offset_x / scale_x, -offset_y / scale_y)


@pytest.mark.parametrize(
    ("alignment", "box"),
    [
        (IDENTITY, (100.0, 80.0, 180.0, 200.0)),
        (Alignment(offset_x=-11), (89.0, 80.0, 169.0, 200.0)),
        (Alignment(0.5, 0.5), (50.0, 40.0, 90.0, 100.0)),
        (Alignment(2, 1.5, -8, 4), (192.0, 124.0, 352.0, 304.0)),
    ],
)
def test_align_box(alignment, box):
    assert align_box((100.0, 80.0, 180.0, 200.0), alignment) == box


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_a_box_and_landmarks_come_back(alignment):
    box = (100.25, 80.5, 180.75, 200.0)
    assert align_box(align_box(box, alignment), inverse(alignment)) == pytest.approx(box, abs=0.02)
    there_and_back = align_landmarks(align_landmarks(LANDMARKS, alignment), inverse(alignment))
    assert np.array(there_and_back) == pytest.approx(np.array(LANDMARKS), abs=0.02)


def test_landmarks_are_moved_as_boxes_are():
    alignment = Alignment(2, 1.5, -8, 4)
    assert align_landmarks(LANDMARKS, alignment)[0] == (2 * 130 - 8, 1.5 * 140 + 4)
    assert align_landmarks(LANDMARKS, alignment)[0] == align_box((*LANDMARKS[0], 999.0, 999.0), alignment)[:2]


# Patches ------------------------------------------------------------------------------------------------------------------------------

BOX = (120.0, 90.0, 200.0, 190.0)


def test_the_patch_of_frames_of_one_size_is_the_crop():
    area = crop_area(BOX, 0.2, 300, 400)
    crop = cut(scene(), area)
    patch = matching_patch(crop, area, area, IDENTITY)
    assert (patch == crop).all()


@pytest.mark.parametrize(
    "box", [BOX, (2.0, 90.0, 82.0, 190.0), (330.0, 90.0, 398.0, 190.0), (120.5, 90.5, 201.5, 190.5)]
)
def test_the_patch_of_a_centre_crop_is_the_fakes_crop(box):
    """Also where the crop is clamped at the fake's border, and not, or elsewhere, at the original's."""
    original, fake = scene(), scene()[:, 11:-11]
    alignment = align_frames(original, fake)
    area = crop_area(box, 0.2, 300, 400)
    fake_area = crop_area(align_box(box, alignment), 0.2, 300, 400 - 22)
    patch = matching_patch(cut(original, area), area, fake_area, alignment)
    assert patch.shape == cut(fake, fake_area).shape
    assert (patch == cut(fake, fake_area)).all()


@pytest.mark.parametrize(("scale", "tolerance"), [(0.5, 3), (2.0, 3)])
def test_the_patch_of_a_scaled_fake_has_the_fakes_size_and_content(scale, tolerance):
    original = scene()
    fake = cv2.resize(original, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    alignment = align_frames(original, fake)
    assert alignment == Alignment(scale, scale)
    area = crop_area(BOX, 0.2, *original.shape[:2])
    fake_area = crop_area(align_box(BOX, alignment), 0.2, *fake.shape[:2])
    fake_crop = cut(fake, fake_area)
    patch = matching_patch(cut(original, area), area, fake_area, alignment)
    assert patch.shape == fake_crop.shape
    assert mean_difference(patch, fake_crop) < tolerance


@pytest.mark.parametrize(("original", "method", "fake", "width", "fake_width", "offset"), CENTRE_CROPS)
def test_the_patch_of_a_real_fake_fits(test_videos, original, method, fake, width, fake_width, offset):
    original_frame, fake_frame = real_pair(test_videos, original, method, fake)
    alignment = align_frames(original_frame, fake_frame)
    box = (width / 2 - 60.0, 100.0, width / 2 + 60.0, 260.0)
    area = crop_area(box, 0.2, 480, width)
    fake_area = crop_area(align_box(box, alignment), 0.2, 480, fake_width)
    patch = matching_patch(cut(original_frame, area), area, fake_area, alignment)
    unaligned = cut(original_frame, fake_area)
    assert mean_difference(patch, cut(fake_frame, fake_area)) < 0.5 * mean_difference(
        unaligned, cut(fake_frame, fake_area)
    )


@pytest.mark.parametrize(
    ("fake_area", "shown"),
    [
        ((2, 2, 22, 22), True),
        ((-2, 0, 18, 20), True),
        ((-12, 0, 8, 20), False),
        ((-30, 0, -10, 20), False),
        ((35, 5, 55, 25), False),
    ],
)
def test_a_patch_that_the_original_hardly_shows_is_empty(fake_area: tuple, shown: bool) -> None:
    """A face beside a smaller original: a negative end of a slice would give other pixels."""
    crop = np.zeros((40, 40, 3), np.uint8)
    patch = matching_patch(crop, (0, 0, 40, 40), fake_area, IDENTITY)
    assert patch.shape == ((20, 20, 3) if shown else (0, 0, 3))
