import math

import numpy as np
import pytest

from dfdc_lib.augmentation import cutouts

LANDMARKS = np.array([[60, 80], [100, 80], [80, 104], [64, 120], [96, 120]], np.float32)
HEIGHT, WIDTH = 200, 160
FACE_CUTS = ("eyes", "mouth", "nose", "half face")
DRAWS = 2000


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def white() -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), 255, np.uint8)


def empty_mask() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH), np.uint8)


def forged_mask(rows: slice, columns: slice) -> np.ndarray:
    mask = empty_mask()
    mask[rows, columns] = 255
    return mask


def test_shares_are_those_of_the_winner() -> None:
    assert [cutouts.SHARES[name] for name in ("eyes", "mouth", "nose")] == [0.35, 0.175, 0.0875]
    assert cutouts.SHARES["half face"] == pytest.approx(0.06)
    assert cutouts.SHARES["quadrants"] == pytest.approx(0.024)
    assert cutouts.SHARES["none"] == pytest.approx(0.3035)
    assert math.fsum(cutouts.SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", cutouts.SHARES)
def test_draws_have_their_chances(name: str, rng: np.random.Generator) -> None:
    drawn = [cutouts.draw_cutout(rng) for _ in range(DRAWS)]
    share = cutouts.SHARES[name]
    assert abs(drawn.count(name) / DRAWS - share) < 4 * math.sqrt(share * (1 - share) / DRAWS)


@pytest.mark.parametrize(
    ("name", "black", "left"),
    [
        # a band reaches 10 pixels (eyes, nose) or 10 (mouth: a third of 32) beyond its line
        ("eyes", [(60, 80), (80, 80), (100, 80), (80, 89), (52, 80)], [(80, 104), (80, 120), (80, 93), (46, 80)]),
        ("mouth", [(64, 120), (80, 120), (96, 120), (80, 129)], [(80, 80), (80, 133), (50, 120)]),
        ("nose", [(80, 80), (80, 104), (88, 92)], [(60, 80), (100, 80), (80, 120), (93, 92)]),
    ],
)
def test_a_landmark_goes_black_and_its_neighbours_stay(
    name: str, black: list, left: list, rng: np.random.Generator
) -> None:
    region = cutouts.cutout_region(name, empty_mask(), LANDMARKS, rng)
    assert all(region[y, x] for x, y in black)
    assert not any(region[y, x] for x, y in left)


def test_a_band_grows_by_city_blocks(rng: np.random.Generator) -> None:
    region = cutouts.cutout_region("eyes", empty_mask(), LANDMARKS, rng)
    line_rows = np.flatnonzero(region[:, 80])
    assert 2 * 10 + 1 <= len(line_rows) <= 2 * 10 + 3  # a quarter of 40 pixels either way, around a line of 1 to 3
    end = region[:, 100:]
    assert end[80, 8] and not end[88, 8]  # a corner is cut off: 8 right and 8 down are 16 steps


def test_half_face_takes_about_half_of_the_face(rng: np.random.Generator) -> None:
    face = cutouts.face_region((HEIGHT, WIDTH), LANDMARKS)
    assert all(face[round(y), round(x)] for x, y in LANDMARKS)
    assert not face[50, 80] and not face[160, 80]  # hair above the brows, neck below the chin
    halves = [cutouts.cutout_region("half face", empty_mask(), LANDMARKS, rng) for _ in range(40)]
    assert len({half.tobytes() for half in halves}) == 4
    for half in halves:
        assert not (half & ~face).any()
        assert half.sum() / face.sum() == pytest.approx(0.5, abs=0.03)


def test_half_face_follows_a_tilted_head() -> None:
    angle = math.radians(30)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre = LANDMARKS.mean(axis=0)
    face = cutouts.face_region((HEIGHT, WIDTH), (LANDMARKS - centre) @ turn + centre)
    upright = cutouts.face_region((HEIGHT, WIDTH), LANDMARKS)
    rows, columns = np.nonzero(face)
    expected = (np.argwhere(upright).mean(axis=0)[::-1] - centre) @ turn + centre
    assert (columns.mean(), rows.mean()) == pytest.approx(tuple(expected), abs=1)
    assert face.sum() == pytest.approx(upright.sum(), rel=0.03)


def test_quadrants_of_a_real_face_are_all_six_shapes(rng: np.random.Generator) -> None:
    regions = [cutouts.cutout_region("quadrants", empty_mask(), LANDMARKS, rng) for _ in range(100)]
    assert len({region.tobytes() for region in regions}) == 6
    assert all(region.mean() == 0.5 for region in regions)


@pytest.mark.parametrize(
    ("rows", "columns", "shapes"),
    [
        (slice(0, 100), slice(0, 80), 3),  # upper left: lower, right, the two other quadrants
        (slice(0, 100), slice(0, 160), 5),  # the upper half: all but itself
        (slice(0, 4), slice(0, 6), 3),  # 24 pixels are enough
    ],
)
def test_quadrants_leave_forged_pixels(rows: slice, columns: slice, shapes: int, rng: np.random.Generator) -> None:
    mask = forged_mask(rows, columns)
    regions = [cutouts.cutout_region("quadrants", mask, LANDMARKS, rng) for _ in range(100)]
    assert len({region.tobytes() for region in regions}) == shapes
    assert min(int((mask[~region] > 0).sum()) for region in regions) > cutouts.MIN_FORGED_PIXELS


@pytest.mark.parametrize("mask", [forged_mask(slice(0, 4), slice(0, 5)), forged_mask(slice(99, 101), slice(75, 85))])
def test_quadrants_cut_nothing_where_too_little_is_forged(mask: np.ndarray, rng: np.random.Generator) -> None:
    assert not any(cutouts.cutout_region("quadrants", mask, LANDMARKS, rng).any() for _ in range(20))


def test_weak_mask_pixels_do_not_count_as_forged(rng: np.random.Generator) -> None:
    mask = np.full((HEIGHT, WIDTH), cutouts.FORGED_LEVEL, np.uint8)
    mask[:4, :6] = cutouts.FORGED_LEVEL + 1
    for _ in range(20):
        assert not cutouts.cutout_region("quadrants", mask, LANDMARKS, rng)[:4, :6].all()


@pytest.mark.parametrize("name", FACE_CUTS)
def test_landmarks_outside_of_the_crop_cut_nothing(name: str, rng: np.random.Generator) -> None:
    assert not cutouts.cutout_region(name, empty_mask(), LANDMARKS + 1000, rng).any()


@pytest.mark.parametrize("name", ("eyes", "mouth", "nose"))
def test_landmarks_at_the_edge_cut_what_is_inside(name: str, rng: np.random.Generator) -> None:
    inside = cutouts.cutout_region(name, empty_mask(), LANDMARKS, rng)
    moved = cutouts.cutout_region(name, empty_mask(), LANDMARKS - (80, 0), rng)
    assert 0 < moved.sum() < inside.sum()


@pytest.mark.parametrize("name", cutouts.SHARES)
def test_image_and_mask_go_black_together_and_the_arguments_stay(name: str, rng: np.random.Generator) -> None:
    image, mask = white(), np.full((HEIGHT, WIDTH), 255, np.uint8)
    cut, cut_mask = cutouts.apply_cutout(name, image, mask, LANDMARKS, rng)
    assert (image == 255).all() and (mask == 255).all()
    assert (cut.shape, cut.dtype, cut_mask.shape, cut_mask.dtype) == (image.shape, np.uint8, mask.shape, np.uint8)
    assert np.array_equal(cut == 0, np.repeat(cut_mask[..., None] == 0, 3, axis=2))
    assert (cut_mask == 0).any() == (name != "none")


def test_cut_out_is_a_draw_and_its_application() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        expected = cutouts.apply_cutout(cutouts.draw_cutout(rng), white(), empty_mask(), LANDMARKS, rng)[0]
        assert np.array_equal(cutouts.cut_out(white(), empty_mask(), LANDMARKS, np.random.default_rng(seed)), expected)


def test_errors(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"one of eyes, mouth, nose, half face, quadrants, none; got 'ears'"):
        cutouts.cutout_region("ears", empty_mask(), LANDMARKS, rng)
    with pytest.raises(ValueError, match=r"landmarks must be \(5, 2\).*got shape \(4, 2\)"):
        cutouts.cutout_region("eyes", empty_mask(), LANDMARKS[:4], rng)
    with pytest.raises(ValueError, match=r"size of its crop \(200, 160\), got \(160, 200\): cut both"):
        cutouts.apply_cutout("eyes", white(), empty_mask().T, LANDMARKS, rng)
