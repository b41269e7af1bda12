"""Pictures of the viewers: their size, their colours, and what is drawn where."""

import cv2
import numpy as np
import pytest

from dfdc_lib.records import Face
from dfdc_lib.viz import renderings


def decode(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)


@pytest.mark.parametrize(
    ("label", "colour"),
    [(0, (0, 114, 178)), (1, (213, 94, 0)), (None, (153, 153, 153)), (float("nan"), (153, 153, 153))],
)
@pytest.mark.parametrize("shape", [(40, 30), (600, 900), (1, 5)])
def test_render_crop_has_one_size_and_the_labels_colour(label: object, colour: tuple, shape: tuple) -> None:
    image = decode(renderings.render_crop(np.full((*shape, 3), 7, np.uint8), label, 0.5))
    assert image.shape == (480 + 2 * 8 + 36, 480 + 2 * 8, 3)
    assert tuple(image[3, 3]) == tuple(image[490, 490]) == colour
    assert tuple(image[248, 248]) == (7, 7, 7)


def test_render_masks_draws_five_panels() -> None:
    original, fake = np.full((70, 70, 3), 200, np.uint8), np.full((70, 70, 3), 50, np.uint8)
    ssim_map, mask = np.full((70, 70), -1, np.float32), np.full((70, 70), 255, np.uint8)
    image = decode(renderings.render_masks(original, fake, ssim_map, mask))
    assert image.shape == (280 + 36, 5 * 280, 3)
    middles = [tuple(image[140, 140 + 280 * panel]) for panel in range(5)]
    assert middles == [
        (200, 200, 200),
        (50, 50, 50),
        (68, 1, 84),
        (255, 255, 255),
        (148, 76, 20),
    ]  # (68, 1, 84): viridis at its lowest


@pytest.mark.parametrize(("value", "colour"), [(-1, (68, 1, 84)), (-3, (68, 1, 84)), (1, (253, 231, 37))])
def test_render_masks_holds_the_range_of_the_ssim_map(value: float, colour: tuple) -> None:
    original = fake = np.full((40, 30, 3), 60, np.uint8)
    mask = np.zeros((40, 30), np.uint8)
    image = decode(renderings.render_masks(original, fake, np.full((40, 30), value, np.float32), mask))
    assert np.abs(image[140, 700].astype(int) - colour).max() <= 2


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1080, 1920), (720, 1280)), ((1920, 1080), (720, 405)), ((144, 256), (144, 256)), ((2, 2), (2, 2))],
)
def test_render_frame_is_never_larger_than_a_screen(shape: tuple, size: tuple) -> None:
    assert decode(renderings.render_frame(np.zeros((*shape, 3), np.uint8), [])).shape[:2] == size


def test_render_frame_draws_the_faces() -> None:
    face = Face(box=(20, 40, 80, 90), landmarks=((50, 65),) * 5, confidence=0.9)
    image = decode(renderings.render_frame(np.zeros((100, 100, 3), np.uint8), [face]))
    assert tuple(image[60, 20]) == tuple(image[65, 50]) == (240, 228, 66)


@pytest.mark.parametrize(("score", "colour"), [(0.1, (0, 114, 178)), (0.9, (213, 94, 0))])
def test_render_prediction_draws_box_and_score(score: float, colour: tuple) -> None:
    image = decode(renderings.render_prediction(np.zeros((100, 160, 3), np.uint8), (20, 40, 80, 90), score))
    assert image.shape == (100, 160, 3)
    assert tuple(image[60, 20]) == tuple(image[60, 79]) == colour
    assert (image[20:38, 20:60] == (240, 228, 66)).all(axis=2).any()  # the number, in yellow


def test_render_prediction_is_never_larger_than_a_screen() -> None:
    image = decode(renderings.render_prediction(np.zeros((1080, 1920, 3), np.uint8), (200, 200, 600, 700), 0.5))
    assert image.shape == (720, 1280, 3)


def test_render_augmentation_draws_crop_and_mask_before_and_after() -> None:
    before, after = np.full((60, 40, 3), 90, np.uint8), np.full((64, 64, 3), (200, 10, 10), np.uint8)
    mask, mask_after = np.full((60, 40), 255, np.uint8), np.full((64, 64), 120, np.uint8)
    image = decode(renderings.render_augmentation(before, mask, after, mask_after))
    assert image.shape == (280 + 36, 4 * 280, 3)
    middles = [tuple(image[140, 140 + 280 * panel]) for panel in range(4)]
    assert middles == [(90, 90, 90), (200, 10, 10), (255, 255, 255), (120, 120, 120)]
    captions = [(image[280:, 280 * panel : 280 * (panel + 1)] < 128).any() for panel in range(4)]
    assert captions == [True] * 4
