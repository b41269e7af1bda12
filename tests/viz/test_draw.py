import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from dfdc_lib.records import Face
from dfdc_lib.viz import draw

FACE = Face(
    box=(175, 60, 275, 200), landmarks=((205, 110), (245, 108), (225, 135), (208, 155), (245, 153)), confidence=0.98
)  # the astronaut's


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return astronaut()


def test_fit_keeps_proportions_and_never_enlarges(portrait: np.ndarray) -> None:
    assert draw.fit(portrait[:256], 100, 100).shape == (50, 100, 3)
    assert draw.fit(portrait, 2000, 2000) is portrait


def test_overlay_is_gray_where_unchanged_and_vermillion_where_changed(portrait: np.ndarray) -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[:, 256:] = 255
    overlay = draw.overlay_mask(portrait, mask).astype(int)
    gray = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY).astype(float)
    assert np.array_equal(overlay[:, :256], np.repeat(gray[:, :256, None], 3, axis=2))
    expected = 0.4 * gray[:, 256:, None] + 0.6 * np.array(draw.CHANGED_COLOUR)
    assert np.abs(overlay[:, 256:] - expected).max() <= 0.51


def test_overlay_refuses_a_mask_of_another_size(portrait: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"size of its crop \(512, 512\), got \(9, 9\)"):
        draw.overlay_mask(portrait, np.zeros((9, 9), np.uint8))


def test_overlay_heat_is_clear_where_cold_and_inferno_where_hot(portrait: np.ndarray) -> None:
    heat = np.zeros((512, 512), np.float32)
    heat[:, 256:384], heat[:, 384:] = 0.5, 1
    before = portrait.copy()
    overlay = draw.overlay_heat(portrait, heat).astype(int)
    assert np.array_equal(portrait, before)
    assert np.array_equal(overlay[:, :256], portrait[:, :256])
    for columns, cover, colour in (
        (slice(256, 384), 0.3, (188, 55, 84)),
        (slice(384, 512), 0.6, (252, 255, 164)),
    ):  # inferno at ½ and 1
        expected = (1 - cover) * portrait[:, columns] + cover * np.array(colour)
        assert np.abs(overlay[:, columns] - expected).max() <= 1.6


def test_overlay_heat_refuses_a_map_of_another_size(portrait: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"size of its crop \(512, 512\), got \(9, 9\)"):
        draw.overlay_heat(portrait, np.zeros((9, 9), np.float32))


# draw_faces -----------------------------------------------------------------------------------------------------------------------------
def test_draw_faces_without_a_face_is_an_equal_copy(portrait: np.ndarray) -> None:
    drawn = draw.draw_faces(portrait, [])
    assert np.array_equal(drawn, portrait)
    assert not np.shares_memory(drawn, portrait)


def test_draw_faces_draws_box_landmarks_and_confidence(portrait: np.ndarray) -> None:
    before = portrait.copy()
    drawn = draw.draw_faces(portrait, [FACE])
    assert np.array_equal(portrait, before)
    for x, y in [
        (175, 130),
        (274, 130),
        (225, 60),
        (225, 199),
        *FACE.landmarks,
    ]:  # the middle of every side; x1, y1 are exclusive
        assert tuple(drawn[round(y), round(x)]) == draw.FACE_COLOUR
    assert np.array_equal(drawn[100:105, 215:235], portrait[100:105, 215:235])  # between the eyes
    above = drawn[38:56, 175:210].reshape(-1, 3)
    assert (above == 0).all(axis=1).mean() > 0.3  # black ground
    assert (above == draw.FACE_COLOUR).all(axis=1).any()  # yellow letters


@pytest.mark.parametrize("box", [(10, 0, 60, 70), (460, 2, 512, 60), (-5, -5, 30, 30)])
def test_confidence_never_covers_a_face_at_the_border(box: tuple) -> None:
    x0, y0, x1, y1 = box
    face = FACE.model_copy(update={"box": box, "landmarks": (((x0 + x1) / 2, (y0 + y1) / 2),) * 5})
    drawn = draw.draw_faces(np.full((512, 512, 3), 128, np.uint8), [face])
    inside = drawn[max(y0, 0) + 4 : y1 - 4, max(x0, 0) + 4 : x1 - 4]
    assert (inside == 128).all(axis=2).mean() > 0.8
    assert (drawn[y1:] == 0).all(axis=2).sum() > 100  # the text's ground lies below the box


def test_a_box_on_1080p_is_visible_at_300_pixels(portrait: np.ndarray) -> None:
    face = FACE.model_copy(update={"box": (656, 126, 1031, 420), "landmarks": ((760, 231),) * 5})
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    small = cv2.resize(draw.draw_faces(frame, [face]), (300, 169), interpolation=cv2.INTER_AREA).astype(int)
    row = small[43]  # y = 275 of 1080: through both upright sides
    for x in (656, 1030):
        near = row[round(x * 300 / 1920) - 2 : round(x * 300 / 1920) + 3]
        assert np.abs(near - draw.FACE_COLOUR).max(axis=1).min() < 60


# draw_score -----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("score", "colour"),
    [(0.0, draw.REAL_COLOUR), (0.49, draw.REAL_COLOUR), (0.5, draw.CHANGED_COLOUR), (1.0, draw.CHANGED_COLOUR)],
)
def test_draw_score_draws_the_box_in_the_colour_of_what_it_says(
    score: float, colour: tuple, portrait: np.ndarray
) -> None:
    before = portrait.copy()
    drawn = draw.draw_score(portrait, FACE.box, score)
    assert np.array_equal(portrait, before)
    for x, y in [(175, 130), (274, 130), (225, 60), (225, 199)]:  # the middle of every side; x1, y1 are exclusive
        assert tuple(drawn[y, x]) == colour
    assert np.array_equal(drawn[80:180, 195:255], portrait[80:180, 195:255])  # the face
    above = drawn[38:56, 175:210].reshape(-1, 3)
    assert (above == draw.FACE_COLOUR).all(axis=1).any()  # yellow letters


def test_draw_score_writes_the_number(portrait: np.ndarray) -> None:
    low, same, high = (draw.draw_score(portrait, FACE.box, score) for score in (0.61, 0.611, 0.94))
    assert np.array_equal(low, same)  # two digits
    assert not np.array_equal(low, high)
