"""Matching of frames: dropped, added, late, black and frozen frames of a camera that pans over a photograph."""

import cv2
import numpy as np
import pytest
from skimage import data

from dfdc_lib.faces import frame_matching
from dfdc_lib.faces.frame_matching import Frames, match_frames, pixel_weights, segments_of
from dfdc_lib.records import Segment

HEIGHT, WIDTH = 27, 48
BLACK, OTHER = -1, -2  # frames that the original lacks
SCENE = cv2.resize(data.astronaut()[:, :, 1], (160, 160), interpolation=cv2.INTER_AREA)
RNG = np.random.default_rng(0)


def frames(shown: list[int]) -> Frames:
    """Return what a camera shows at the given moments, with noise of its own."""
    images = np.zeros((len(shown), HEIGHT, WIDTH), np.float32)
    for image, moment in zip(images, shown, strict=True):
        x, y = 56 + 50 * np.sin(moment / 29), 66 + 40 * np.cos(moment / 37)
        if moment == OTHER:
            image[:] = RNG.uniform(0, 255, image.shape)
        elif moment != BLACK:
            image[:] = cv2.getRectSubPix(SCENE, (WIDTH, HEIGHT), (x + WIDTH / 2, y + HEIGHT / 2))
    return Frames(images + RNG.normal(0, 1.5, images.shape).astype(np.float32), np.ones(len(shown), bool))


def dropped(count: int) -> list[int]:
    """Return the moments of a fake without `count` frames of the original after frames 60 and 130."""
    return [*range(61), *range(61 + count, 131), *range(131 + count, 200)]


@pytest.mark.parametrize(
    ("fake", "doubtful"),
    [
        *[(list(range(200)), 0), (list(range(120)), 0), (list(range(25, 200)), 0)],  # whole, shorter, a second late
        *[(dropped(count), 4) for count in (1, 3, 40)],
        ([*range(90), *[OTHER] * 12, *range(90, 200)], 2),  # frames added
        ([BLACK, BLACK, *range(30, 200)], 0),
        ([*range(200), *[199] * 20], 0),  # the last frame is frozen; it is paired once
    ],
)
def test_only_frames_that_correspond_are_paired(fake, doubtful):
    pairs = {}
    for start, stop, offset in segments_of(match_frames(frames(list(range(200))), frames(fake), np.ones((27, 48)))):
        pairs |= {frame: frame + offset for frame in range(start, stop)}
    assert pairs.items() <= dict(enumerate(fake)).items()
    real = len({moment for moment in fake if moment >= 0})
    assert real - doubtful <= len(pairs) <= real


def test_the_first_frames_may_be_black_in_both():
    black = [BLACK, BLACK]
    match = match_frames(frames([*black, *range(100)]), frames([*black, *range(30, 100)]), np.ones((27, 48)))
    assert segments_of(match)[-1] == Segment(2, 72, 30)


def test_damaged_frames_are_not_paired():
    originals, fakes = frames(list(range(80))), frames(list(range(80)))
    originals.images[10:20], fakes.images[30:35] = 0, 0
    originals.intact[10:20], fakes.intact[30:35] = False, False
    segments = segments_of(match_frames(originals, fakes, np.ones((27, 48))))
    assert segments == ((0, 10, 0), (20, 30, 0), (35, 80, 0))


def test_without_motion_nothing_is_shifted():
    still = frames([0] * 30)
    assert segments_of(match_frames(still, frames([0] * 20), np.ones((27, 48)))) == ((0, 20, 0),)


def test_pixels_that_differ_count_less():
    originals = frames(list(range(60))).images
    fakes = originals + 12
    fakes[:, 5:15, 10:20] = frames(list(range(60, 120))).images[:, 5:15, 10:20]  # another face, moving otherwise
    weights, added = pixel_weights(originals, fakes)
    face = np.zeros((HEIGHT, WIDTH), bool)
    face[5:15, 10:20] = True
    assert weights[face].max() < 0.01 * weights[~face].min()
    assert added[~face] == pytest.approx(12, abs=0.01)


def test_long_videos_are_compared_in_parts(monkeypatch):
    """A part may have no counterpart at an offset, or no intact frame."""
    originals, fakes = frames(list(range(200))), frames([*range(60), *range(160, 200), *[BLACK] * 100])
    originals.images[60:160], fakes.images[100:] = 0, 0
    originals.intact[60:160], fakes.intact[100:] = False, False
    split = frame_matching.chunks
    monkeypatch.setattr(frame_matching, "chunks", lambda indices, size=0: split(indices, 20))
    segments = segments_of(match_frames(originals, fakes, np.ones((27, 48))))
    assert {segment.offset for segment in segments} == {0, 100}
    assert sum(segment.stop - segment.start for segment in segments) >= 92
