"""Alignment of a fake with its original in time and place, on made and on real pairs."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from dfdc_lib.data.video import read_frames
from dfdc_lib.faces.alignment import align_box, align_landmarks, align_thumbnails, align_videos, matching_patch
from dfdc_lib.faces.crops import crop_area, cut
from dfdc_lib.faces.thumbnails import Thumbnails, read_thumbnails
from dfdc_lib.records import Transform

SCENE = np.ascontiguousarray(data.astronaut()[50:350, 60:460])  # 300 x 400
BOX = (120.0, 90.0, 200.0, 190.0)
LANDMARKS = ((130.0, 140.0), (170.0, 141.0), (150.0, 160.0), (135.5, 180.25), (166.0, 181.0))
IDENTITY = Transform()
RNG = np.random.default_rng(0)


def pan(moments: list[int]) -> list[np.ndarray]:
    """Return what a camera sees that pans over a photograph, (240, 320) uint8; a negative moment is black."""
    gray, frames = data.astronaut()[:, :, 1], []
    for moment in moments:
        x, y = 96 + 80 * np.sin(moment / 11), 136 + 90 * np.cos(moment / 17)
        frame = cv2.getRectSubPix(gray, (320, 240), (x + 160, y + 120)) if moment >= 0 else np.zeros((240, 320))
        frames.append(np.clip(frame + RNG.normal(0, 2, frame.shape), 0, 255).astype(np.uint8))
    return frames


def small(frames: list[np.ndarray]) -> Thumbnails:
    """Return frames as `read_thumbnails` reads them."""
    thumbnails = Thumbnails(frames[0].shape[:2])
    for frame_index, frame in enumerate(frames):
        thumbnails.add(frame_index, cv2.resize(frame, thumbnails.small_size[::-1], interpolation=cv2.INTER_AREA))
    return thumbnails


def forged(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Return frames with another face: a tenth of the picture, which changes in its own way."""
    for frame in frames:
        frame[70:160, 120:200] = 60 + frame[70:160, 120:200][::-1] // 2
    return frames


PANNED = small(pan(list(range(60))))


def areas_and_patch(original: np.ndarray, fake: np.ndarray, box: tuple, transform: Transform) -> tuple:
    """Return the area of the fake's crop and the matching patch of the original's crop."""
    area = crop_area(box, 0.2, *original.shape[:2])
    fake_area = crop_area(align_box(box, transform), 0.2, *fake.shape[:2])
    return fake_area, matching_patch(cut(original, area), area, fake_area, transform)


def ffpp_paths(folder: Path, original: str, method: str, fake: str) -> tuple[Path, Path]:
    originals, fakes = (folder / "ffpp" / f"{kind}_sequences" for kind in ("original", "manipulated"))
    return originals / "youtube/c23/videos" / f"{original}.mp4", fakes / method / "c23/videos" / f"{fake}.mp4"


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize(
    ("shape", "expected"),  # of the fake: its height and width, and the transform that made it
    [
        *[((240, 320), IDENTITY), ((240, 320), Transform(1.01, 0.98, -4.5, 3.2))],
        *[((120, 160), Transform(0.5, 0.5)), ((480, 640), Transform(2, 2)), ((240, 322), Transform(322 / 320, 1))],
        *[
            ((240, 298), Transform(offset_x=-11)),
            ((240, 304), Transform(offset_x=-8)),
            ((242, 322), Transform(1, 1, 1, 1)),
        ],
        ((200, 260), Transform(offset_x=-42, offset_y=-13)),  # not the centre
    ],
)
def test_place(shape, expected):
    """Exact for the same frame, another scale and a shift by whole pixels; to a quarter of a pixel otherwise."""
    matrix = np.array([[expected[0], 0, expected[2]], [0, expected[1], expected[3]]], float)
    matrix[:, 2] += (matrix[:, :2].sum(axis=1) - 1) / 2  # OpenCV's pixels have their centres at whole numbers
    frames = [
        cv2.warpAffine(frame, matrix, shape[::-1], borderMode=cv2.BORDER_REPLICATE) for frame in pan(list(range(60)))
    ]
    alignment = align_thumbnails(PANNED, small(frames))
    assert (alignment.problem, alignment.segments) == ("", ((0, 60, 0),))
    exact = expected[:2] == (1, 1) or expected[2:] == (0, 0)
    assert alignment.transform == (expected if exact else pytest.approx(expected, abs=0.25))


@pytest.mark.parametrize(
    ("moments", "offsets"),
    [
        *[(range(60), {0}), (range(30), {0}), (range(25, 60), {25})],  # the last: a second late
        *[([*range(20), *range(23, 60)], {0, 3}), ([-1, -1, *range(30, 60)], {28})],
        *[([*range(20), *[-1] * 7, *range(20, 60)], {0, -7}), ([*range(60), *[59] * 9], {0})],
    ],
)
def test_time(moments, offsets):
    alignment = align_thumbnails(PANNED, small(forged(pan(list(moments)))))
    assert (alignment.problem, alignment.transform) == ("", IDENTITY)
    assert {segment.offset for segment in alignment.segments} == offsets
    pairs = alignment.original_frames()
    assert pairs.items() <= dict(enumerate(moments)).items()
    assert len(pairs) >= len({moment for moment in moments if moment >= 0}) - 4
    assert alignment.frame_count == len(moments)


@pytest.mark.parametrize(
    ("frames", "keyword"),
    [
        ([255 - frame for frame in pan(list(range(60)))], "another picture"),
        ([np.flip(frame, 1) for frame in pan(list(range(60)))], "another picture"),
        (pan(list(range(40, 160))), "another picture"),
        (pan([-1] * 60), "blank"),
    ],
)
def test_a_pair_that_does_not_fit(frames, keyword):
    assert keyword in align_thumbnails(PANNED, small(frames)).problem


def test_the_same_place_at_another_time_does_not_fit():
    """A still camera; what moves in front of it moves otherwise."""

    def clip(across: int) -> list[np.ndarray]:
        frames = [SCENE[:240, :320, 1].copy() for _ in range(60)]
        for moment, frame in enumerate(frames):
            swing = round(80 * np.sin(moment / 5))
            cv2.circle(frame, (160 + swing * across, 120 + swing * (1 - across)), 15, 255, -1)
        return frames

    assert not align_thumbnails(small(clip(1)), small(clip(1))).problem
    assert "moves" in align_thumbnails(small(clip(0)), small(clip(1))).problem


@pytest.mark.parametrize(
    ("original", "fake", "width", "offset"), [("469", "469_481", 854, -11), ("720", "720_672", 656, -8)]
)
@pytest.mark.slow
def test_real_fakes_of_another_size_are_centre_crops(test_videos, original, fake, width, offset):
    paths = ffpp_paths(test_videos, original, "NeuralTextures", fake)
    original_frame, fake_frame = (read_frames(path, {0})[0].image for path in paths)
    assert (original_frame.shape, fake_frame.shape) == ((480, width, 3), (480, width + 2 * offset, 3))
    alignment = align_videos(*paths)
    assert alignment.transform == Transform(offset_x=offset)
    assert alignment.segments == ((0, len(read_thumbnails(paths[1]).images), 0),)
    box = (width / 2 - 60.0, 100.0, width / 2 + 60.0, 260.0)
    fake_area, patch = areas_and_patch(original_frame, fake_frame, box, alignment.transform)
    fake_crop, unaligned = cut(fake_frame, fake_area), cut(original_frame, fake_area)
    assert mean_difference(patch, fake_crop) < 0.5 * mean_difference(unaligned, fake_crop)


@pytest.mark.slow
def test_a_real_fake_that_skips_frames(test_videos):
    """UADFV's 0043 lacks 318 of its original's 1128 frames, in a dozen places, and is 2 pixels larger."""
    alignment = align_videos(test_videos / "uadfv/real/0043.mp4", test_videos / "uadfv/fake/0043_fake.mp4")
    assert (alignment.problem, alignment.segments[-1].offset) == ("", 318)
    assert alignment.transform[:2] == pytest.approx((314 / 312, 500 / 498), abs=0.003)
    assert alignment.similarity > 0.99 and len(alignment.original_frames()) > 700


@pytest.mark.parametrize(
    ("transform", "box"),
    [
        *[(IDENTITY, (100.0, 80.0, 180.0, 200.0)), (Transform(offset_x=-11), (89.0, 80.0, 169.0, 200.0))],
        (Transform(0.5, 0.5), (50.0, 40.0, 90.0, 100.0)),
        (Transform(2, 1.5, -8, 4), (192.0, 124.0, 352.0, 304.0)),
    ],
)
def test_align_box_and_landmarks(transform, box):
    assert align_box((100.0, 80.0, 180.0, 200.0), transform) == box
    expected = np.array(LANDMARKS) * transform[:2] + transform[2:]
    assert np.array(align_landmarks(LANDMARKS, transform)) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("left", [0, 11], ids=["same size", "centre crop"])
@pytest.mark.parametrize(
    "box", [BOX, (2.0, 90.0, 82.0, 190.0), (330.0, 90.0, 398.0, 190.0), (120.5, 90.5, 201.5, 190.5)]
)
def test_the_patch_of_an_unscaled_fake_is_its_crop(left, box):
    """Also if the crop is clamped at the fake's border but not, or elsewhere, at the original's."""
    fake = SCENE[:, left : 400 - left]
    fake_area, patch = areas_and_patch(SCENE, fake, box, Transform(offset_x=-left))
    np.testing.assert_array_equal(patch, cut(fake, fake_area))


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_patch_of_a_scaled_fake_has_the_fakes_size_and_content(scale):
    fake = cv2.resize(SCENE, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    fake_area, patch = areas_and_patch(SCENE, fake, BOX, Transform(scale, scale))
    assert mean_difference(patch, cut(fake, fake_area)) < 3


@pytest.mark.parametrize(
    ("fake_area", "covered"),
    [
        *[((2, 2, 22, 22), True), ((-2, 0, 18, 20), True)],
        *[((-12, 0, 8, 20), False), ((-30, 0, -10, 20), False), ((35, 5, 55, 25), False)],
    ],
)
def test_a_patch_that_the_original_barely_covers_is_empty(fake_area: tuple, covered: bool) -> None:
    """A face beside a smaller original: a negative end of a slice would select other pixels."""
    patch = matching_patch(np.zeros((40, 40, 3), np.uint8), (0, 0, 40, 40), fake_area, IDENTITY)
    assert patch.shape == ((20, 20, 3) if covered else (0, 0, 3))
