"""The cascade's parts: resampling as PyTorch's, the pyramid as facenet-pytorch's, suppression by hand."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from dfdc_lib.faces import mtcnn

NOISE = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)


def by_torch(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return interpolate(torch.from_numpy(image).permute(2, 0, 1)[None].float(), size=size, mode="area")[0].numpy()


@pytest.mark.parametrize("size", [(1, 1), (12, 12), (20, 31), (37, 53), (80, 60)])
def test_resizing_by_area_is_that_of_pytorch(size: tuple[int, int]) -> None:
    resized = np.empty((3, *size), np.float32)
    mtcnn.resize_by_area(cv2.integral(NOISE), size, resized)
    np.testing.assert_allclose(resized, by_torch(NOISE, size), rtol=1e-6)


def test_crops_by_area_are_those_of_pytorch() -> None:
    areas = np.array([(0, 0, 53, 37), (3, 4, 4, 5), (10, 2, 40, 37), (50, 0, 53, 30)])
    crops = mtcnn.crop_by_area(cv2.integral(NOISE), areas, 24)
    expected = [by_torch(NOISE[y0:y1, x0:x1], (24, 24)) for x0, y0, x1, y1 in areas]
    assert crops.dtype == np.float32
    np.testing.assert_allclose(crops, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "smallest", "sizes"),
    [
        (19, 500, 20, []),
        (20, 40, 20, [(13, 25)]),
        (100, 60, 20, [(61, 37), (43, 26), (31, 19), (22, 13)]),
        (100, 60, 50, [(25, 15)]),
    ],
)
def test_the_pyramid_ends_where_p_net_sees_the_whole_image(height, width, smallest, sizes) -> None:
    assert [size for _, size in mtcnn.pyramid_sizes(height, width, smallest)] == sizes


class Everywhere:
    """Networks that see a face wherever they look, and shift nothing."""

    def propose(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = (images.shape[2] - 10) // 2, (images.shape[3] - 10) // 2
        confidences = np.linspace(0.9, 0.99, len(images) * height * width, dtype=np.float32)
        return confidences.reshape(-1, height, width), np.zeros((len(images), 4, height, width), np.float32)

    def refine(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(images), 0.9, np.float32), np.zeros((len(images), 4), np.float32)

    def output(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return *self.refine(images), np.full((len(images), 10), 0.5, np.float32)


@pytest.mark.parametrize("count", [1, 3])
def test_no_two_faces_of_a_frame_overlap_more_than_allowed(count: int) -> None:
    found = mtcnn.detect([NOISE] * count, Everywhere(), (0.5, 0.5, 0.5), 12)
    assert len(found) == count and len({detections.boxes.tobytes() for detections in found}) <= count
    for detections in found:
        boxes = detections.boxes
        assert len(boxes) > 4 and detections.landmarks.shape == (len(boxes), 5, 2)
        areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
        assert (np.diff((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)) <= 0).all()  # largest first
        for i in range(len(boxes)):
            corner, end = np.maximum(boxes[i, :2], boxes[:, :2]), np.minimum(boxes[i, 2:], boxes[:, 2:])
            shared = np.maximum(end - corner + 1, 0).prod(axis=1) / np.minimum(areas[i], areas)
            assert (np.delete(shared, i) <= mtcnn.MAX_OVERLAP).all()
        centres = detections.landmarks.mean(axis=1)  # all five in the middle of the box
        assert np.abs(centres - boxes.reshape(-1, 2, 2).mean(axis=1)).max() <= 1


def test_nothing_passes_a_threshold_of_one() -> None:
    for thresholds in ((1, 0.5, 0.5), (0.5, 1, 0.5), (0.5, 0.5, 1)):
        (detections,) = mtcnn.detect([NOISE], Everywhere(), thresholds, 12)
        assert detections.boxes.shape == (0, 4) and detections.landmarks.shape == (0, 5, 2)
