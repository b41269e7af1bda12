"""SSIM and masks: identities, published values, parity with scikit-image, clamping, errors and overlap."""

from pathlib import Path

import numpy as np
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from dfdc_lib.data.video import read_frames
from dfdc_lib.faces import masks
from dfdc_lib.faces.masks import CHANGED_LEVEL, WINDOW, compare_crops, difference_mask, ssim_map

# scikit-image, test_mssim_vs_legacy: camera against itself with noise (seed 5, sigma 20), 7×7 uniform window.
PUBLISHED_CAMERA_SSIM = 0.3674518327910367
PARITY = 1e-4  # 5.3e-5 measured on the real pairs: float32 against scikit-image's float64
GREY_LEVEL = 1
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # Wang et al. 2004
FACE_AREA = np.s_[20:500, 540:880]  # holds the face of 183 in the frames below


def level(value: int, side: int = 12) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def noise(seed: int, height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_as_scikit_image(original: np.ndarray, fake: np.ndarray) -> None:
    expected = structural_similarity(original, fake, channel_axis=2, data_range=255, full=True)[1].mean(axis=2)
    assert np.abs(ssim_map(original, fake) - expected).max() < PARITY
    mask = difference_mask(original, fake).astype(int)
    at_least_zero = expected >= 0
    assert np.abs(mask - np.round(255 * (1 - expected)))[at_least_zero].max(initial=0) <= GREY_LEVEL
    assert (mask[~at_least_zero] >= 255 - GREY_LEVEL).all()


def real_pairs(folder: Path, method: str) -> list[tuple[np.ndarray, np.ndarray]]:
    original = folder / "ffpp/original_sequences/youtube/c23/videos/183.mp4"
    fake = folder / f"ffpp/manipulated_sequences/{method}/c23/videos/183_253.mp4"
    frames = [[frame.image[FACE_AREA] for frame in read_frames(path, {0, 100, 200})] for path in (original, fake)]
    assert len(frames[0]) == 3
    return list(zip(*frames, strict=True))


@pytest.mark.parametrize("image", [level(0), level(255), noise(1), noise(2, 7, 7), data.astronaut()[:90, :70]])
def test_an_image_equals_itself(image):
    similarity = ssim_map(image, image)
    assert (similarity.shape, similarity.dtype) == (image.shape[:2], np.float32)
    assert similarity == pytest.approx(1, abs=1e-6)
    assert (difference_mask(image, image) == 0).all()


@pytest.mark.parametrize(("one", "other"), [(0, 255), (100, 110), (128, 127), (10, 20)])
def test_flat_images_differ_in_luminance_alone(one, other):
    """Without structure SSIM is its first factor, (2ab + C1) / (a² + b² + C1)."""
    by_hand = (2 * one * other + C1) / (one**2 + other**2 + C1)
    assert ssim_map(level(one), level(other)) == pytest.approx(by_hand, abs=1e-6)


def test_a_window_by_hand():
    """One 7 x 7 window: 24 pixels of 255 and 25 of 0 against their inversion."""
    board = np.indices((WINDOW, WINDOW)).sum(axis=0) % 2 * 255
    original = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    mean_x, mean_y = 24 / 49 * 255, 25 / 49 * 255
    variance = 24 * 25 / 49 / 48 * 255**2
    by_hand = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1) * (-2 * variance + C2) / (2 * variance + C2)
    assert by_hand == pytest.approx(-0.9956, abs=0.0005)
    assert ssim_map(original, 255 - original)[3, 3] == pytest.approx(by_hand, abs=1e-6)


def test_the_published_value_of_the_camera_man():
    camera = data.camera()
    noisy = np.clip(camera + 20.0 * np.random.RandomState(5).randn(*camera.shape), 0, 255).astype(np.uint8)
    similarity = ssim_map(*(np.repeat(image[:, :, None], 3, axis=2) for image in (camera, noisy)))
    edge = WINDOW // 2  # scikit-image leaves out the border
    inside = similarity[edge:-edge, edge:-edge]
    assert inside.mean(dtype=np.float64) == pytest.approx(PUBLISHED_CAMERA_SSIM, abs=1e-6)


@pytest.mark.parametrize(
    ("original", "fake"),
    [
        *[(noise(1), noise(2)), (noise(1), 255 - noise(1))],
        *[(noise(1, 7, 7), noise(2, 7, 7)), (noise(1, 7, 200), noise(2, 7, 200))],
        *[(level(3), level(250)), (level(0), noise(1, 12, 12))],
        (data.astronaut(), data.astronaut()[:, ::-1]),
    ],
)
def test_made_images_as_scikit_image(original, fake):
    assert_as_scikit_image(original, np.ascontiguousarray(fake))


@pytest.mark.parametrize("method", ["Deepfakes", "Face2Face", "NeuralTextures"])
def test_real_pairs_as_scikit_image(test_videos, method):
    for original, fake in real_pairs(test_videos, method):
        assert ssim_map(original, fake).min() < 0  # where the winner's cast wraps around
        assert (ssim_map(original, fake) == ssim_map(fake, original)).all()
        assert_as_scikit_image(original, fake)
        mask = difference_mask(original, fake)  # shows the face and not the background
        face, border = mask[150:400, 80:260], np.concatenate([mask[:, :10].ravel(), mask[:, -10:].ravel()])
        assert face.mean() > 2 * border.mean()


def test_mask_is_one_minus_similarity_clamped():
    similarity = np.array([[1, 0.999, 0.99, 0.5, 0.002, 0.001, 0, -0.001, -0.5, -1]], np.float32)
    mask = masks.mask_of(similarity)
    assert mask.dtype == np.uint8 and mask.tolist() == [[0, 0, 3, 128, 254, 255, 255, 255, 255, 255]]
    inverted = ssim_map(noise(1), 255 - noise(1))  # white; the winner's cast wraps to black
    assert inverted.max() < -0.8
    assert ((1 - inverted) * 255).astype(np.int64).astype(np.uint8).max() < 255
    assert (masks.mask_of(inverted) == 255).all()


def test_a_comparison_of_a_partly_changed_crop():
    original = noise(1, 100, 100)
    fake = original.copy()
    fake[40:60, 40:60] = 255 - fake[40:60, 40:60]
    comparison = compare_crops(original, fake)
    reach = WINDOW // 2
    outside = np.ones(comparison.mask.shape, bool)
    outside[40 - reach : 60 + reach, 40 - reach : 60 + reach] = False
    assert (comparison.mask[outside] == 0).all()
    assert (comparison.mask[43:57, 43:57] == 255).all()
    np.testing.assert_array_equal(comparison.ssim_map, ssim_map(original, fake))
    np.testing.assert_array_equal(comparison.mask, difference_mask(original, fake))
    assert comparison.ssim == round(float(comparison.ssim_map.mean()), 5)
    assert comparison.changed_share == round(masks.changed_share(comparison.mask), 5) > 0.03


@pytest.mark.parametrize(
    ("original", "fake", "keyword"),
    [
        (level(0, 12), level(0, 13), "one shape"),
        *[(image, image, "at least 7") for image in (level(0, 0), level(0, 6), noise(1, 6, 40))],
        *[(image, image, "uint8") for image in (level(0)[:, :, 0], level(0)[:, :, :1])],
        *[(level(0).astype(np.float32), level(0), "uint8"), (level(0), level(0).astype(np.int64), "uint8")],
    ],
)
def test_crops_that_cannot_be_compared_are_errors(original, fake, keyword):
    with pytest.raises(ValueError, match=keyword):
        compare_crops(original, fake)


@pytest.mark.parametrize(
    ("mask", "share", "truth", "overlap"),  # share: of changed pixels in the mask
    [
        ([0, 0, 0, 0], 0, [0, 0, 0, 0], 1),
        ([CHANGED_LEVEL - 1, 0, 0, 0], 0, [0, CHANGED_LEVEL - 1, 0, 0], 1),  # nothing reaches the level
        *[([255, 0, 0, 0], 0.25, [0, 0, 0, 0], 0), ([0, 0, 0, 0], 0, [255, 0, 0, 0], 0)],
        ([255, 255, 0, 0], 0.5, [0, 255, 255, 0], 1 / 3),
        ([CHANGED_LEVEL, 200, 255, 0], 0.75, [255, 255, 0, 0], 2 / 3),
        ([255, 255, 255, 255], 1, [255, 255, 255, 255], 1),
    ],
)
def test_changed_share_and_overlap(mask, share, truth, overlap):
    """The overlap is the intersection over the union of the changed pixels."""
    assert masks.changed_share(np.array([mask], np.uint8)) == share
    assert masks.overlap(np.array([mask], np.uint8), np.array([truth], np.uint8)) == pytest.approx(overlap)


def test_overlap_of_two_shapes_is_an_error():
    with pytest.raises(ValueError, match="shape"):
        masks.overlap(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
