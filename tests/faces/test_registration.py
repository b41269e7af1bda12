"""Registration of frames: known scales and shifts are found again, whatever the face does."""

import numpy as np
import pytest
from skimage import data

from dfdc_lib.faces.registration import covered, register, warp
from dfdc_lib.records import Transform

SCENE = np.ascontiguousarray(data.astronaut()[50:350, 60:460, 1])  # 300 x 400
IDENTITY = Transform()


@pytest.mark.parametrize(
    "expected",
    [
        *[IDENTITY, Transform(offset_x=0.3), Transform(offset_x=-11, offset_y=3), Transform(offset_y=-2.25)],
        *[Transform(944 / 942, 1.0), Transform(1.05, 0.97, -8, 4.5)],
    ],
)
def test_a_known_transform_is_found_to_a_twentieth_of_a_pixel(expected):
    rng = np.random.default_rng(0)
    noisy = [np.clip(SCENE + rng.normal(0, 3, SCENE.shape), 0, 255) for _ in range(3)]
    fakes = np.stack([0.8 * warp(image.astype(np.float32), expected, (280, 390)) + 20 for image in noisy])
    fakes[:, 60:150, 150:240] = rng.uniform(0, 255, (90, 90))  # the face: a tenth of the frame
    found = register(np.stack(3 * [SCENE]), fakes, IDENTITY)
    corners = np.array([[0, 0], [400, 300]])
    places = [corners * transform[:2] + transform[2:] for transform in (found, expected)]
    np.testing.assert_allclose(*places, atol=0.05)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (-11, 0), (7, -5)])
def test_a_shift_by_whole_pixels_copies_pixels(x, y):
    moved = warp(SCENE, Transform(offset_x=x, offset_y=y), (280, 380))
    inside = slice(max(0, y), min(280, 300 + y)), slice(max(0, x), min(380, 400 + x))
    expected = SCENE[inside[0].start - y : inside[0].stop - y, inside[1].start - x : inside[1].stop - x]
    np.testing.assert_array_equal(moved[inside], expected)


def test_covered_pixels_are_those_that_the_original_shows():
    mask = covered((30, 40), Transform(offset_x=5), (30, 40))
    assert set(np.unique(mask)) == {0, 255}
    assert mask[15].nonzero()[0].tolist() == list(range(6, 39))
    assert not mask[[0, -1]].any()
