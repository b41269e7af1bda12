import math

import numpy as np
import pytest

from dfdc_lib.augmentation import cutouts
from dfdc_lib.records import FAKE, REAL, FaceExample

LANDMARKS = np.array([[60, 80], [100, 80], [80, 104], [64, 120], [96, 120]], np.float32)
HEIGHT, WIDTH = 200, 160
DRAWS = 2000


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def white_face(mask: np.ndarray | int = 0, landmarks: np.ndarray = LANDMARKS, label: int = FAKE) -> FaceExample:
    masks = np.broadcast_to(np.uint8(mask), (HEIGHT, WIDTH))
    return FaceExample(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), masks, landmarks, label)


def forged_mask(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[rows, columns] = 255
    return mask


def test_draws_have_the_chances_of_the_winner(rng: np.random.Generator) -> None:
    expected = {"eyes": 0.35, "mouth": 0.175, "nose": 0.0875, "half face": 0.06, "quadrants": 0.024, "none": 0.3035}
    assert expected == pytest.approx(cutouts.SHARES)
    drawn = [cutouts.draw_cutout(rng) for _ in range(DRAWS)]
    for name, share in cutouts.SHARES.items():
        assert abs(drawn.count(name) / DRAWS - share) < 4 * math.sqrt(share * (1 - share) / DRAWS), name


@pytest.mark.parametrize(
    ("name", "cut", "kept"),
    [  # a band reaches 10 steps beyond its line: a quarter of 40 (eyes, nose) or a third of 32 (mouth)
        ("eyes", [(60, 80), (100, 80), (80, 70), (80, 90), (108, 80)], [(80, 68), (80, 92), (108, 88), (46, 80)]),
        ("mouth", [(64, 120), (80, 120), (96, 120), (80, 129)], [(80, 80), (80, 133), (50, 120)]),
        ("nose", [(80, 80), (80, 104), (88, 92)], [(60, 80), (100, 80), (80, 120), (93, 92)]),
    ],
)
def test_landmark_bands(name: str, cut: list, kept: list, rng: np.random.Generator) -> None:
    region = cutouts.cutout_region(name, white_face(), rng)
    assert all(region[y, x] for x, y in cut)
    assert not any(region[y, x] for x, y in kept)
    at_the_edge = cutouts.cutout_region(name, white_face(landmarks=LANDMARKS - (80, 0)), rng)
    assert 0 < at_the_edge.sum() < region.sum()


def test_half_face_cuts_half_of_the_face(rng: np.random.Generator) -> None:
    face = cutouts.face_region((HEIGHT, WIDTH), LANDMARKS)
    assert all(face[round(y), round(x)] for x, y in LANDMARKS)
    assert not face[50, 80] and not face[160, 80]  # hair above the brows, neck below the chin
    halves = [cutouts.cutout_region("half face", white_face(), rng) for _ in range(40)]
    assert len({half.tobytes() for half in halves}) == 4
    assert not any((half & ~face).any() for half in halves)
    assert [half.sum() / face.sum() for half in halves] == pytest.approx([0.5] * 40, abs=0.03)


def test_face_region_follows_a_tilted_head() -> None:
    angle = math.radians(30)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre = LANDMARKS.mean(axis=0)
    face = cutouts.face_region((HEIGHT, WIDTH), (LANDMARKS - centre) @ turn + centre)
    upright = cutouts.face_region((HEIGHT, WIDTH), LANDMARKS)
    expected = (np.argwhere(upright).mean(axis=0)[::-1] - centre) @ turn + centre
    assert np.argwhere(face).mean(axis=0)[::-1] == pytest.approx(expected, abs=1)
    assert face.sum() == pytest.approx(upright.sum(), rel=0.03)


@pytest.mark.parametrize(
    ("label", "mask", "shapes"),
    [
        (REAL, 0, 6),  # all shapes
        (FAKE, forged_mask(slice(0, 100), slice(0, 80)), 3),  # upper left: lower, right, the two other quadrants
        (FAKE, forged_mask(slice(0, 100), slice(0, 160)), 5),  # the upper half: all but itself
        (FAKE, forged_mask(slice(0, 4), slice(0, 6)), 3),  # 24 pixels are enough
        (FAKE, np.maximum(forged_mask(slice(0, 4), slice(0, 6)), cutouts.FORGED_LEVEL), 3),  # weak pixels do not count
    ],
)
def test_quadrants_leave_forged_pixels(
    label: int, mask: np.ndarray | int, shapes: int, rng: np.random.Generator
) -> None:
    face = white_face(mask, label=label)
    regions = [cutouts.cutout_region("quadrants", face, rng) for _ in range(100)]
    assert len({region.tobytes() for region in regions}) == shapes
    assert all(region.mean() == 0.5 for region in regions)
    left = min(np.count_nonzero(face.mask[~region] > cutouts.FORGED_LEVEL) for region in regions)
    assert left > cutouts.MIN_FORGED_PIXELS or not face.mask.any()


@pytest.mark.parametrize(
    ("name", "face"),
    [
        *((name, white_face(landmarks=LANDMARKS + 1000)) for name in ("eyes", "mouth", "nose", "half face", "none")),
        ("quadrants", white_face()),  # the mask is unknown
        ("quadrants", white_face(forged_mask(slice(0, 4), slice(0, 5)))),  # too few forged pixels
        ("quadrants", white_face(forged_mask(slice(99, 101), slice(75, 85)))),  # no shape leaves more than 20 of 20
    ],
)
def test_nothing_is_cut_if_nothing_can_be(name: str, face: FaceExample, rng: np.random.Generator) -> None:
    assert not any(cutouts.cutout_region(name, face, rng).any() for _ in range(20))


@pytest.mark.parametrize("name", cutouts.SHARES)
def test_crop_and_mask_are_cut_alike_and_the_arguments_do_not_change(name: str, rng: np.random.Generator) -> None:
    face = white_face(255)
    cut = cutouts.apply_cutout(name, face, rng)
    assert (face.crop == 255).all() and (face.mask == 255).all()
    assert [(array.shape, array.dtype) for array in cut[:3]] == [(array.shape, array.dtype) for array in face[:3]]
    assert cut.label == face.label
    assert np.array_equal(cut.crop == 0, np.repeat(cut.mask[..., None] == 0, 3, axis=2))
    assert (cut.mask == 0).any() == (name != "none")


def test_cut_out_draws_and_applies() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        expected = cutouts.apply_cutout(cutouts.draw_cutout(rng), white_face(), rng)
        assert np.array_equal(cutouts.cut_out(white_face(), np.random.default_rng(seed)).crop, expected.crop)


def test_errors(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="ears"):
        cutouts.apply_cutout("ears", white_face(), rng)
    with pytest.raises(ValueError, match="landmarks"):
        cutouts.apply_cutout("eyes", white_face(landmarks=LANDMARKS[:4]), rng)
    with pytest.raises(ValueError, match="mask"):
        cutouts.apply_cutout("eyes", white_face()._replace(mask=np.zeros((WIDTH, HEIGHT), np.uint8)), rng)
