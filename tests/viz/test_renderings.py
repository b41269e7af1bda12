import cv2
import numpy as np
import pytest

from dfdc_lib.records import Face
from dfdc_lib.viz import renderings, style

REAL, FAKE, UNKNOWN = (style.rgb(colour) for colour in style.LABEL_COLOURS.values())
YELLOW = style.rgb(style.YELLOW)
DARK_VIOLET, BRIGHT_YELLOW = (68, 1, 84), (253, 231, 37)  # both ends of viridis
PANEL = renderings.PANEL_SIDE


def decode(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)


def plain(*shape: int, value: object = 0) -> np.ndarray:
    return np.full(shape, value, np.uint8)


@pytest.mark.parametrize(("label", "colour"), [(0, REAL), (1, FAKE), (None, UNKNOWN), (float("nan"), UNKNOWN)])
@pytest.mark.parametrize("shape", [(40, 30), (600, 900), (1, 5)])
def test_crops_have_one_size_and_a_border_for_the_label(label: object, colour: tuple, shape: tuple) -> None:
    image = decode(renderings.render_crop(plain(*shape, 3, value=7), label, 0.5))
    assert image.shape == (480 + 2 * 8 + 36, 480 + 2 * 8, 3)
    assert tuple(image[3, 3]) == tuple(image[490, 490]) == colour
    assert tuple(image[248, 248]) == (7, 7, 7)


@pytest.mark.parametrize(("ssim", "colour"), [(-1, DARK_VIOLET), (-3, DARK_VIOLET), (1, BRIGHT_YELLOW)])
def test_masks_have_five_panels_and_a_fixed_range(ssim: float, colour: tuple) -> None:
    original, fake, mask = plain(70, 70, 3, value=200), plain(70, 70, 3, value=50), plain(70, 70, value=255)
    image = decode(renderings.render_masks(original, fake, np.full((70, 70), ssim, np.float32), mask))
    assert image.shape == (PANEL + 36, 5 * PANEL, 3)
    middles = image[PANEL // 2, PANEL // 2 :: PANEL].tolist()
    assert middles[:2] + middles[3:] == [[200] * 3, [50] * 3, [255] * 3, [148, 76, 20]]
    assert np.abs(np.subtract(middles[2], colour)).max() <= 2


def test_frames_are_never_larger_than_a_screen_and_have_boxes_landmarks_and_scores() -> None:
    for shape, size in [((1080, 1920), (720, 1280)), ((1920, 1080), (720, 405)), ((144, 256),) * 2, ((2, 2),) * 2]:
        assert decode(renderings.render_frame(plain(*shape, 3), [])).shape[:2] == size
        assert decode(renderings.render_prediction(plain(*shape, 3), (0, 0, 1, 1), 0.5)).shape[:2] == size
    face = Face(box=(20, 40, 80, 90), landmarks=((50, 65),) * 5, confidence=0.9)
    image = decode(renderings.render_frame(plain(100, 160, 3), [face]))
    assert tuple(image[60, 20]) == tuple(image[65, 50]) == YELLOW
    for score, colour in [(0.1, REAL), (0.9, FAKE)]:
        image = decode(renderings.render_prediction(plain(100, 160, 3), face.box, score))
        assert tuple(image[60, 20]) == tuple(image[60, 79]) == colour
        assert (image[20:38, 20:60] == YELLOW).all(axis=2).any()  # the number


def test_an_augmentation_has_crop_and_mask_before_and_after() -> None:
    before, after = plain(60, 40, 3, value=90), plain(64, 64, 3, value=(200, 10, 10))
    masks = plain(60, 40, value=255), plain(64, 64, value=120)
    image = decode(renderings.render_augmentation(before, masks[0], after, masks[1]))
    assert image.shape == (PANEL + 36, 4 * PANEL, 3)
    middles = image[PANEL // 2, PANEL // 2 :: PANEL].tolist()
    assert middles == [[90] * 3, [200, 10, 10], [255] * 3, [120] * 3]
    assert all((caption < 128).any() for caption in np.split(image[PANEL:], 4, axis=1))
