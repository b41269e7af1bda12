"""Alignment of a fake's frame with its original's, on synthetic and real pairs."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from dfdc_lib.data.video import read_frames
from dfdc_lib.faces.alignment import Alignment, align_box, align_frames, align_landmarks, align_videos, matching_patch
from dfdc_lib.faces.crops import crop_area, cut

SCENE = np.ascontiguousarray(data.astronaut()[50:350, 60:460])  # 300 x 400
BOX = (120.0, 90.0, 200.0, 190.0)
LANDMARKS = ((130.0, 140.0), (170.0, 141.0), (150.0, 160.0), (135.5, 180.25), (166.0, 181.0))
IDENTITY = Alignment()


def ffpp_paths(folder: Path, original: str, method: str, fake: str) -> tuple[Path, Path]:
    originals, fakes = (folder / "ffpp" / f"{kind}_sequences" for kind in ("original", "manipulated"))
    return originals / "youtube/c23/videos" / f"{original}.mp4", fakes / method / "c23/videos" / f"{fake}.mp4"


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


def areas_and_patch(original: np.ndarray, fake: np.ndarray, box: tuple) -> tuple[tuple, np.ndarray]:
    """Return the area of the fake's crop and the matching patch of the original's crop."""
    alignment = align_frames(original, fake)
    area = crop_area(box, 0.2, *original.shape[:2])
    fake_area = crop_area(align_box(box, alignment), 0.2, *fake.shape[:2])
    return fake_area, matching_patch(cut(original, area), area, fake_area, alignment)


def scaled(width: int, height: int) -> np.ndarray:
    return cv2.resize(SCENE, (width, height), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("fake", "expected"),
    [
        *[(fake, (1, 1, 0, 0)) for fake in (SCENE, 255 - SCENE)],
        *[(scaled(w, h), (w / 400, h / 300, 0, 0)) for w, h in ((200, 150), (800, 600), (300, 225), (380, 300))],
        *[(SCENE[y : 300 - y, x : 400 - x], (1, 1, -x, -y)) for x, y in ((11, 0), (8, 0), (0, 15), (20, 10), (1, 0))],
    ],
)
def test_align_frames(fake, expected):
    """Frames of one size get the identity; the others are scaled copies and centre crops."""
    assert align_frames(SCENE, fake) == expected


@pytest.mark.parametrize(
    ("original", "fake", "width", "fake_width", "offset"),
    [("469", "469_481", 854, 832, -11), ("720", "720_672", 656, 640, -8)],
)
def test_real_fakes_of_another_size_are_centre_crops(test_videos, original, fake, width, fake_width, offset):
    assert align_videos(*ffpp_paths(test_videos, "469", "Deepfakes", "469_481")) == IDENTITY  # equal sizes
    paths = ffpp_paths(test_videos, original, "NeuralTextures", fake)
    original_frame, fake_frame = (read_frames(path, {0})[0].image for path in paths)
    assert (original_frame.shape, fake_frame.shape) == ((480, width, 3), (480, fake_width, 3))
    assert align_videos(*paths) == align_frames(original_frame, fake_frame) == (1, 1, offset, 0)
    cropped = original_frame[:, -offset : -offset + fake_width]
    scaled = cv2.resize(original_frame, (fake_width, 480), interpolation=cv2.INTER_AREA)
    one_off = original_frame[:, -offset + 1 : -offset + 1 + fake_width]
    assert mean_difference(cropped, fake_frame) < 0.5 * mean_difference(scaled, fake_frame)
    assert mean_difference(cropped, fake_frame) < 0.8 * mean_difference(one_off, fake_frame)
    box = (width / 2 - 60.0, 100.0, width / 2 + 60.0, 260.0)
    fake_area, patch = areas_and_patch(original_frame, fake_frame, box)
    fake_crop, unaligned = cut(fake_frame, fake_area), cut(original_frame, fake_area)
    assert mean_difference(patch, fake_crop) < 0.5 * mean_difference(unaligned, fake_crop)


@pytest.mark.parametrize(
    ("alignment", "box"),
    [
        *[(IDENTITY, (100.0, 80.0, 180.0, 200.0)), (Alignment(offset_x=-11), (89.0, 80.0, 169.0, 200.0))],
        (Alignment(0.5, 0.5), (50.0, 40.0, 90.0, 100.0)),
        (Alignment(2, 1.5, -8, 4), (192.0, 124.0, 352.0, 304.0)),
    ],
)
def test_align_box_and_landmarks(alignment, box):
    assert align_box((100.0, 80.0, 180.0, 200.0), alignment) == box
    expected = np.array(LANDMARKS) * alignment[:2] + alignment[2:]
    assert np.array(align_landmarks(LANDMARKS, alignment)) == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("fake", [SCENE, SCENE[:, 11:-11]], ids=["same size", "centre crop"])
@pytest.mark.parametrize(
    "box", [BOX, (2.0, 90.0, 82.0, 190.0), (330.0, 90.0, 398.0, 190.0), (120.5, 90.5, 201.5, 190.5)]
)
def test_the_patch_of_an_unscaled_fake_is_its_crop(fake, box):
    """Also if the crop is clamped at the fake's border but not, or elsewhere, at the original's."""
    fake_area, patch = areas_and_patch(SCENE, fake, box)
    np.testing.assert_array_equal(patch, cut(fake, fake_area))


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_patch_of_a_scaled_fake_has_the_fakes_size_and_content(scale):
    fake = scaled(int(400 * scale), int(300 * scale))
    fake_area, patch = areas_and_patch(SCENE, fake, BOX)
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
