"""SSIM and masks: identities, hand-computed and published values, parity with scikit-image on real pairs, clamping, refusals, overlap."""

from pathlib import Path

import numpy as np
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from dfdc_lib.data.video import read_frames
from dfdc_lib.faces.masks import CHANGED_LEVEL, WINDOW, changed_share, difference_mask, mask_of, overlap, ssim_map

# scikit-image, test_mssim_vs_legacy: camera against itself with noise (seed 5, sigma 20), 7×7 uniform window.
PUBLISHED_CAMERA_SSIM = 0.3674518327910367
PARITY = 1e-4  # 5.3e-5 measured on the real pairs: float32 against scikit-image's float64
GREY_LEVEL = 1

FFPP = Path("ffpp")
METHODS = ("Deepfakes", "Face2Face", "NeuralTextures")
FACE_AREA = np.s_[20:500, 540:880]  # holds the face of 183 in the frames below
FRAME_INDICES = {0, 100, 200}


def level(value: int, side: int = 12) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def noise(seed: int, height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def scikit_image_map(original: np.ndarray, fake: np.ndarray) -> np.ndarray:
    _, similarity = structural_similarity(original, fake, channel_axis=2, data_range=255, full=True)
    return similarity.mean(axis=2)


def assert_as_scikit_image(original: np.ndarray, fake: np.ndarray) -> None:
    expected = scikit_image_map(original, fake)
    assert np.abs(ssim_map(original, fake) - expected).max() < PARITY
    mask = difference_mask(original, fake).astype(int)
    at_least_zero = expected >= 0
    assert np.abs(mask - np.round(255 * (1 - expected)))[at_least_zero].max(initial=0) <= GREY_LEVEL
    assert (mask[~at_least_zero] >= 255 - GREY_LEVEL).all()


def real_pairs(folder: Path, method: str) -> list[tuple[np.ndarray, np.ndarray]]:
    original = folder / FFPP / "original_sequences" / "youtube" / "c23" / "videos" / "183.mp4"
    fake = folder / FFPP / "manipulated_sequences" / method / "c23" / "videos" / "183_253.mp4"
    frames = zip(read_frames(original, FRAME_INDICES), read_frames(fake, FRAME_INDICES), strict=True)
    return [(a.image[FACE_AREA], b.image[FACE_AREA]) for a, b in frames]


# The map ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [level(0), level(255), noise(1), noise(2, 7, 7), data.astronaut()[:90, :70]])
def test_an_image_equals_itself(image):
    similarity = ssim_map(image, image)
    assert similarity.shape == image.shape[:2]
    assert similarity.dtype == np.float32
    assert similarity == pytest.approx(1, abs=1e-6)
    assert (difference_mask(image, image) == 0).all()


@pytest.mark.parametrize(("one", "other"), [(0, 255), (100, 110), (128, 127), (10, 20)])
def test_flat_images_differ_in_luminance_alone(one, other):
    """Without structure SSIM is its first factor, (2ab + C1) / (a² + b² + C1)."""
    c1 = (0.01 * 255) ** 2
    by_hand = (2 * one * other + c1) / (one**2 + other**2 + c1)
    assert ssim_map(level(one), level(other)) == pytest.approx(by_hand, abs=1e-6)


def test_a_window_by_hand():
    """One 7×7 window, 24 pixels of 255 and 25 of 0 against the same inverted: every statistic follows from the counts."""
    board = np.indices((WINDOW, WINDOW)).sum(axis=0) % 2 * 255
    original = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    mean_x, mean_y = 24 / 49 * 255, 25 / 49 * 255
    variance = 24 * 25 / 49 / 48 * 255**2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    by_hand = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1) * (-2 * variance + c2) / (2 * variance + c2)
    assert by_hand == pytest.approx(-0.9956, abs=0.0005)
    assert ssim_map(original, 255 - original)[3, 3] == pytest.approx(by_hand, abs=1e-6)


def test_the_published_value_of_the_camera_man():
    camera = data.camera()
    noisy = np.clip(camera + 20.0 * np.random.RandomState(5).randn(*camera.shape), 0, 255).astype(np.uint8)
    similarity = ssim_map(*(np.repeat(image[:, :, None], 3, axis=2) for image in (camera, noisy)))
    inside = similarity[
        WINDOW // 2 : -(WINDOW // 2), WINDOW // 2 : -(WINDOW // 2)
    ]  # scikit-image leaves out the border
    assert inside.mean(dtype=np.float64) == pytest.approx(PUBLISHED_CAMERA_SSIM, abs=1e-6)


def test_it_does_not_matter_which_is_the_original():
    assert (ssim_map(noise(1), noise(2)) == ssim_map(noise(2), noise(1))).all()


@pytest.mark.parametrize(
    ("original", "fake"),
    [
        (noise(1), noise(2)),
        (noise(1), 255 - noise(1)),
        (noise(1, 7, 7), noise(2, 7, 7)),
        (noise(1, 7, 200), noise(2, 7, 200)),
        (level(3), level(250)),
        (level(0), noise(1, 12, 12)),
        (data.astronaut(), data.astronaut()[:, ::-1]),
    ],
)
def test_made_images_as_scikit_image(original, fake):
    assert_as_scikit_image(original, np.ascontiguousarray(fake))


@pytest.mark.parametrize("method", METHODS)
def test_real_pairs_as_scikit_image(test_videos, method):
    pairs = real_pairs(test_videos, method)
    assert len(pairs) == len(FRAME_INDICES)
    for original, fake in pairs:
        assert ssim_map(original, fake).min() < 0  # where the winner's cast wraps around
        assert_as_scikit_image(original, fake)


def test_a_real_mask_marks_the_face_and_leaves_the_background(test_videos):
    for original, fake in real_pairs(test_videos, "Deepfakes"):
        mask = difference_mask(original, fake)
        face, border = mask[150:400, 80:260], np.concatenate([mask[:, :10].ravel(), mask[:, -10:].ravel()])
        assert face.mean() > 2 * border.mean()


# The mask -----------------------------------------------------------------------------------------------------------------------------


def test_mask_of_nothing():
    assert mask_of(np.zeros((0, 0), np.float32)).shape == (0, 0)


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [
        (1, 0),
        (0.999, 0),
        (0.99, 3),
        (0.5, 128),
        (0.002, 254),
        (0.001, 255),
        (0, 255),
        (-0.001, 255),
        (-0.5, 255),
        (-1, 255),
    ],
)
def test_mask_is_one_minus_similarity_clamped(similarity, expected):
    mask = mask_of(np.full((2, 3), similarity, np.float32))
    assert mask.dtype == np.uint8
    assert (mask == expected).all()


def test_an_inverted_image_is_white_where_the_winners_cast_wraps_to_black():
    original = noise(1)
    similarity = ssim_map(original, 255 - original)
    assert similarity.max() < -0.8
    wrapped = ((1 - similarity) * 255).astype(np.int64).astype(np.uint8)
    assert wrapped.max() < 255
    assert (difference_mask(original, 255 - original) == 255).all()


def test_only_the_changed_place_is_marked():
    original = noise(1, 100, 100)
    fake = original.copy()
    fake[40:60, 40:60] = 255 - fake[40:60, 40:60]
    mask = difference_mask(original, fake)
    reach = WINDOW // 2
    outside = np.ones(mask.shape, bool)
    outside[40 - reach : 60 + reach, 40 - reach : 60 + reach] = False
    assert (mask[outside] == 0).all()
    assert (mask[43:57, 43:57] == 255).all()


@pytest.mark.parametrize(
    ("mask", "share"),
    [
        ([0, 0, 0, 0], 0),
        ([255, 255, 255, 255], 1),
        ([CHANGED_LEVEL - 1, CHANGED_LEVEL, 0, 0], 0.25),
        ([128, 200, 255, 0], 0.75),
    ],
)
def test_changed_share(mask, share):
    assert changed_share(np.array([mask], np.uint8)) == share


# Refusals -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [ssim_map, difference_mask])
@pytest.mark.parametrize(
    ("original", "fake", "message"),
    [
        (level(0, 0), level(0, 0), r"at least 7 pixels high and wide, got \(0, 0\)"),
        (level(0, 12), level(0, 13), r"one shape, got \(12, 12, 3\) and \(13, 13, 3\): cut both with the same box"),
        (level(0, 6), level(0, 6), r"at least 7 pixels high and wide, got \(6, 6\)"),
        (noise(1, 6, 40), noise(1, 6, 40), r"at least 7 pixels high and wide, got \(6, 40\)"),
        (level(0).astype(np.float32), level(0), r"must be \(H, W, 3\) uint8, got \(12, 12, 3\) float32 and uint8"),
        (level(0), level(0).astype(np.int64), r"must be \(H, W, 3\) uint8, got \(12, 12, 3\) uint8 and int64"),
        (level(0)[:, :, 0], level(0)[:, :, 0], r"must be \(H, W, 3\) uint8, got \(12, 12\) uint8"),
        (level(0)[:, :, :1], level(0)[:, :, :1], r"must be \(H, W, 3\) uint8, got \(12, 12, 1\) uint8"),
    ],
)
def test_what_cannot_be_compared_is_refused(function, original, fake, message):
    with pytest.raises(ValueError, match=message):
        function(original, fake)


# Overlap ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "truth", "expected"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], 1),
        ([127, 0, 0, 0], [0, 127, 0, 0], 1),  # nothing reaches the level
        ([255, 0, 0, 0], [0, 0, 0, 0], 0),
        ([0, 0, 0, 0], [255, 0, 0, 0], 0),
        ([255, 255, 0, 0], [0, 0, 255, 255], 0),
        ([255, 255, 0, 0], [0, 255, 255, 0], 1 / 3),
        ([128, 200, 255, 0], [255, 255, 0, 0], 2 / 3),
        ([255, 255, 0, 0], [128, 128, 0, 0], 1),
    ],
)
def test_overlap_is_intersection_over_union(mask, truth, expected):
    assert overlap(np.array([mask], np.uint8), np.array([truth], np.uint8)) == pytest.approx(expected)


@pytest.mark.parametrize(("at_least", "expected"), [(1, 1), (51, 0.5), (101, 0)])
def test_overlap_at_another_level(at_least, expected):
    assert overlap(np.array([[50, 255]], np.uint8), np.array([[100, 100]], np.uint8), at_least) == pytest.approx(
        expected
    )


def test_overlap_of_two_shapes_is_refused():
    with pytest.raises(ValueError, match=r"mask and truth must have one shape, got \(2, 3\) and \(3, 2\)"):
        overlap(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
