import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from dfdc_lib.records import Face
from dfdc_lib.viz import draw

LANDMARKS = ((205, 110), (245, 108), (225, 135), (208, 155), (245, 153))
FACE = Face(box=(175, 60, 275, 200), landmarks=LANDMARKS, confidence=0.98)  # the astronaut's
SIDES = [(175, 130), (274, 130), (225, 60), (225, 199)]  # the middle of each side of the box; x1, y1 are exclusive


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    image = astronaut()
    image.flags.writeable = False  # no function changes its input
    return image


def test_fit_preserves_proportions_and_never_enlarges(portrait: np.ndarray) -> None:
    assert draw.fit(portrait[:256], 100, 100).shape == (50, 100, 3)
    assert draw.fit(portrait, 2000, 2000) is portrait


def test_overlay_mask_is_gray_or_coloured_and_overlay_heat_is_transparent_to_inferno(portrait: np.ndarray) -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[:, 256:] = 255
    overlay = draw.overlay_mask(portrait, mask).astype(int)
    gray = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY).astype(float)
    assert np.array_equal(overlay[:, :256], np.repeat(gray[:, :256, None], 3, axis=2))
    expected = 0.4 * gray[:, 256:, None] + 0.6 * np.array(draw.CHANGED_COLOUR)
    assert np.abs(overlay[:, 256:] - expected).max() <= 0.51
    heat = np.zeros((512, 512), np.float32)
    heat[:, 256:384], heat[:, 384:] = 0.5, 1
    overlay = draw.overlay_heat(portrait, heat).astype(int)
    assert np.array_equal(overlay[:, :256], portrait[:, :256])
    for start, end, cover, inferno in ((256, 384, 0.3, (188, 55, 84)), (384, 512, 0.6, (252, 255, 164))):
        expected = (1 - cover) * portrait[:, start:end] + cover * np.array(inferno)
        assert np.abs(overlay[:, start:end] - expected).max() <= 1.6


def test_overlays_require_the_size_of_the_crop(portrait: np.ndarray) -> None:
    for overlay in (draw.overlay_mask, draw.overlay_heat):
        with pytest.raises(ValueError, match=r"\(512, 512\), got \(9, 9\)"):
            overlay(portrait, np.zeros((9, 9), np.uint8))


def test_draw_faces_draws_box_landmarks_and_confidence(portrait: np.ndarray) -> None:
    empty = draw.draw_faces(portrait, [])
    assert np.array_equal(empty, portrait) and not np.shares_memory(empty, portrait)
    drawn = draw.draw_faces(portrait, [FACE])
    for x, y in [*SIDES, *LANDMARKS]:
        assert tuple(drawn[y, x]) == draw.FACE_COLOUR
    assert np.array_equal(drawn[100:105, 215:235], portrait[100:105, 215:235])  # between the eyes
    above = drawn[38:56, 175:210].reshape(-1, 3)
    assert (above == 0).all(axis=1).mean() > 0.3  # black background
    assert (above == draw.FACE_COLOUR).all(axis=1).any()  # text


@pytest.mark.parametrize("box", [(10, 0, 60, 70), (460, 2, 512, 60), (-5, -5, 30, 30)])
def test_the_confidence_of_a_face_at_the_border_is_below_the_box(box: tuple) -> None:
    x0, y0, x1, y1 = box
    face = FACE.model_copy(update={"box": box, "landmarks": (((x0 + x1) / 2, (y0 + y1) / 2),) * 5})
    drawn = draw.draw_faces(np.full((512, 512, 3), 128, np.uint8), [face])
    inside = drawn[max(y0, 0) + 4 : y1 - 4, max(x0, 0) + 4 : x1 - 4]
    assert (inside == 128).all(axis=2).mean() > 0.8
    assert (drawn[y1:] == 0).all(axis=2).sum() > 100  # background of the text


def test_a_box_on_1080p_is_visible_at_300_pixels() -> None:
    face = FACE.model_copy(update={"box": (656, 126, 1031, 420), "landmarks": ((760, 231),) * 5})
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    small = cv2.resize(draw.draw_faces(frame, [face]), (300, 169), interpolation=cv2.INTER_AREA).astype(int)
    for x in (656, 1030):
        near = small[43, round(x * 300 / 1920) - 2 : round(x * 300 / 1920) + 3]  # y = 275 of 1080
        assert np.abs(near - draw.FACE_COLOUR).max(axis=1).min() < 60


@pytest.mark.parametrize(("score", "fake"), [(0.0, False), (0.49, False), (0.5, True), (1.0, True)])
def test_draw_score_draws_the_box_in_the_colour_of_the_answer(score: float, fake: bool, portrait: np.ndarray) -> None:
    drawn = draw.draw_score(portrait, FACE.box, score)
    assert {tuple(drawn[y, x]) for x, y in SIDES} == {draw.CHANGED_COLOUR if fake else draw.REAL_COLOUR}
    assert np.array_equal(drawn[80:180, 195:255], portrait[80:180, 195:255])  # the face
    others = [draw.draw_score(portrait, FACE.box, score + change) for change in (0.001, 0.06)]
    assert [np.array_equal(drawn, other) for other in others] == [True, False]  # text with two digits
