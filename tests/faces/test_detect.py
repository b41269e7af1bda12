"""Detection: the resize rule, a portrait, whole videos, and parity with facenet-pytorch frame by frame."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from PIL import Image
from skimage import data

from dfdc_lib.backends.choice import Engine
from dfdc_lib.data.video import read_frames, video_writer
from dfdc_lib.faces.detect import (
    FRAMES_PER_BATCH,
    detect_video,
    detector_scale,
    halve,
    load_detector,
    resize_for_detector,
)
from dfdc_lib.records import DetectorSettings, Face, VideoFaces

PORTRAIT = data.astronaut()
PORTRAIT_BOX = (181, 62, 267, 172)  # of its face
BLACK = np.zeros_like(PORTRAIT)
CPU = Engine()
PARITY_PIXELS = 0.05  # 0.005 measured: what rounding to hundredths of a pixel costs
FFPP_ORIGINAL = "ffpp/original_sequences/youtube/c23/videos/720.mp4"


def find_faces(images: list[np.ndarray], engine: Engine = CPU, **settings: Any) -> list[tuple[Face, ...]]:
    return load_detector(DetectorSettings(**settings), engine).find_faces(images)


def detect(path: Path, **settings: Any) -> VideoFaces:
    return detect_video(path, "v", load_detector(DetectorSettings(**settings), CPU), "abc", threads=1)


def real_frames(folder: Path, name: str, frame_indices) -> list[np.ndarray]:
    return [frame.image for frame in read_frames(folder / name, set(frame_indices))]


def write_video(path: Path, images: list[np.ndarray]) -> Path:
    with video_writer(path, images[0].shape[:2], 25, {"crf": "10"}) as write:
        for image in images:
            write(image)
    return path


@pytest.mark.parametrize(
    ("wider", "scale"),
    [(1, 2), (299, 2), (300, 1), (301, 1), (1000, 1), (1001, 0.5), (1900, 0.5), (1901, 0.33), (3840, 0.33)],
)
def test_detector_scale_goes_by_the_wider_side(wider, scale):
    narrower = min(wider, 200)
    assert detector_scale(height=narrower, width=wider) == detector_scale(height=wider, width=narrower) == scale
    assert detector_scale(height=narrower, width=wider, resize="winner") == 0.5  # the winner's


def test_resize_keeps_the_shape_and_the_level_and_shrinks_by_area():
    for scale, size in ((1, (48, 64)), (2, (96, 128)), (0.5, (24, 32)), (0.33, (16, 21))):
        resized = resize_for_detector(np.full((48, 64, 3), 90, np.uint8), scale)
        assert resized.shape == (*size, 3) and (resized == 90).all()
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize_for_detector(stripes, 0.5) == 100).all()


@pytest.mark.parametrize(("size", "half"), [((48, 64), (24, 32)), ((49, 65), (24, 32)), ((1, 3), (1, 1))])
def test_a_frame_is_halved_like_the_winners(size, half):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    theirs = Image.fromarray(image).resize(half[::-1])  # Pillow's default is bicubic
    assert halve(image).shape == (*half, 3) and np.array_equal(halve(image), np.asarray(theirs))


def test_the_winners_boxes_are_doubled_and_found_frame_by_frame():
    odd, settings = PORTRAIT[:511, :509], {"resize": "winner", "thresholds": (0.7, 0.8, 0.8)}
    batch = find_faces([odd, np.zeros_like(odd), odd], **settings)
    boxes, _ = MTCNN(keep_all=True, thresholds=[0.7, 0.8, 0.8], device="cpu").eval().detect(halve(odd))
    assert [len(faces) for faces in batch] == [1, 0, 1] and batch[0] == batch[2]
    assert batch[0][0].box == pytest.approx(2 * boxes[0], abs=1e-3)  # to be truncated: not rounded to hundredths


def test_the_same_settings_share_a_detector():
    assert load_detector(DetectorSettings(), CPU) is load_detector(DetectorSettings(), CPU)
    assert load_detector(DetectorSettings(), CPU) is not load_detector(DetectorSettings(min_face_pixels=21), CPU)


def test_frames_of_two_shapes_are_an_error():
    with pytest.raises(ValueError, match="shape"):
        find_faces([np.zeros((48, 64, 3), np.uint8), np.zeros((64, 48, 3), np.uint8)])


@pytest.mark.parametrize(
    "images",
    [
        [],
        *[[np.zeros((*size, 3), np.uint8)] * 2 for size in ((9, 64), (64, 9), (1, 1))],  # doubled, yet smaller than 20
        *[[np.full((256, 320, 3), level, np.uint8)] for level in (0, 128, 255)],
    ],
)
def test_blank_and_tiny_frames_have_no_face(images):
    assert find_faces(images) == [()] * len(images)


def test_the_portrait_has_one_face_with_landmarks_in_order():
    ((face,),) = find_faces([PORTRAIT])
    assert face.box == pytest.approx(PORTRAIT_BOX, abs=3)
    assert 0.999 < face.confidence <= 1
    x0, y0, x1, y1 = face.box
    assert all(x0 < x < x1 and y0 < y < y1 for x, y in face.landmarks)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_frames_of_a_batch_have_the_faces_they_have_alone():
    two = np.hstack([PORTRAIT[:300, 100:400], PORTRAIT[:300, 100:400]])
    two_wide = BLACK.copy()
    two_wide[:256] = cv2.resize(two, (512, 256))
    batch = find_faces([BLACK, two_wide, PORTRAIT, BLACK])
    assert [len(faces) for faces in batch] == [0, 2, 1, 0]
    assert_same_faces(batch[1], find_faces([two_wide])[0])
    assert_same_faces(batch[2], find_faces([PORTRAIT])[0])


@pytest.mark.parametrize("factor", [0.5, 2.5])
def test_boxes_are_in_pixels_of_the_full_frame(factor):
    """A frame 256 pixels wide is doubled before detection, one of 1280 pixels is halved."""
    ((face,),) = find_faces([resize_for_detector(PORTRAIT, factor)])
    assert np.array(face.box) / factor == pytest.approx(PORTRAIT_BOX, abs=6)


def test_faces_come_largest_first():
    frame = BLACK.copy()
    frame[:320, :320] = PORTRAIT[:320, 60:380]
    frame[350:510, 340:500] = resize_for_detector(PORTRAIT[:320, 60:380], 0.5)
    ((large, small),) = find_faces([frame])
    assert large.box[2] - large.box[0] > 1.5 * (small.box[2] - small.box[0])


def test_thresholds_and_smallest_face_are_applied():
    frame = BLACK.copy()
    frame[:256, :256] = cv2.resize(PORTRAIT, (256, 256), interpolation=cv2.INTER_AREA)
    assert [len(faces) for faces in find_faces([frame])] == [1]
    assert find_faces([frame], min_face_pixels=200) == [()]
    assert find_faces([PORTRAIT], thresholds=(0.85, 0.95, 1.0)) == [()]


def faces_frame_by_frame(images: list[np.ndarray]) -> list[tuple[Face, ...]]:
    """Return facenet-pytorch's faces of each resized frame, scaled back to the full frame."""
    thresholds, smallest = list(DetectorSettings().thresholds), DetectorSettings().min_face_pixels
    mtcnn = MTCNN(keep_all=True, thresholds=thresholds, min_face_size=smallest, device="cpu").eval()
    frames = []
    for image in images:
        height, width = image.shape[:2]
        resized = resize_for_detector(image, detector_scale(height, width))
        back = np.array([width / resized.shape[1], height / resized.shape[0]])
        boxes, confidences, landmarks = mtcnn.detect(resized, landmarks=True)
        faces = [] if boxes is None else zip(boxes * np.tile(back, 2), landmarks * back, confidences, strict=True)
        frames.append(tuple(Face(box=tuple(b), landmarks=tuple(map(tuple, p)), confidence=c) for b, p, c in faces))
    return frames


def assert_same_faces(faces: tuple[Face, ...], expected: tuple[Face, ...], pixels: float = PARITY_PIXELS) -> None:
    assert len(faces) == len(expected)
    for face, reference in zip(faces, expected, strict=True):
        assert face.box == pytest.approx(reference.box, abs=pixels)
        assert np.array(face.landmarks) == pytest.approx(np.array(reference.landmarks), abs=pixels)
        assert face.confidence == pytest.approx(reference.confidence, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "frame_indices", "face_counts"),
    [
        (FFPP_ORIGINAL, range(0, 80, 10), [1] * 8),
        ("odd/many_people.mp4", range(0, 400, 100), [1, 2, 2, 2]),  # halved before detection
        ("odd/small_176x144.mp4", (0, 60), [1, 1]),  # doubled before detection
    ],
)
@pytest.mark.parametrize("engine", [Engine(), Engine("torch")], ids=["OpenVINO", "PyTorch"])
def test_batched_faces_equal_facenet_pytorch_frame_by_frame(test_videos, name, frame_indices, face_counts, engine):
    images = real_frames(test_videos, name, frame_indices)
    batch = find_faces(images, engine)
    assert [len(faces) for faces in batch] == face_counts
    for faces, expected in zip(batch, faces_frame_by_frame(images), strict=True):
        assert_same_faces(faces, expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_a_gpu_finds_the_faces_of_the_cpu(test_videos):
    images = real_frames(test_videos, FFPP_ORIGINAL, range(0, 80, 10))
    for faces, expected in zip(find_faces(images, Engine("torch", "cuda")), find_faces(images), strict=True):
        assert_same_faces(faces, expected, pixels=1)


def test_a_video_is_searched_at_its_stride(test_videos):
    faces = detect(test_videos / "clips" / "book.mkv", frame_stride=20)
    assert [frame.frame_index for frame in faces.frames] == [0, 20, 40, 60, 80, 100]
    assert [frame.time_seconds for frame in faces.frames] == [0, 0.667, 1.334, 2, 2.667, 3.334]  # the file's at .033
    assert [len(frame.faces) for frame in faces.frames] == [1] * 6
    assert (faces.video_id, faces.height, faces.width, faces.fps) == ("v", 480, 640, 30)
    assert (faces.frame_count, faces.missing_frame_count) == (109, 0)
    assert (faces.detector_scale, faces.settings, faces.fingerprint) == (1, DetectorSettings(frame_stride=20), "abc")


def test_a_video_longer_than_a_batch_has_every_examined_frame(tmp_path):
    count = FRAMES_PER_BATCH + 2
    faces = detect(write_video(tmp_path / "v.mp4", [np.zeros((64, 64, 3), np.uint8)] * count), frame_stride=1)
    assert [(frame.frame_index, frame.faces) for frame in faces.frames] == [(index, ()) for index in range(count)]
    assert (faces.frame_count, faces.detector_scale) == (count, 2)


@pytest.mark.parametrize(("resize", "scale"), [("slides", 1), ("winner", 0.5)])
def test_the_record_has_the_scale_and_frames_without_a_face(tmp_path, resize, scale):
    path = write_video(tmp_path / "v.mp4", [PORTRAIT, BLACK, PORTRAIT, BLACK])
    faces = detect(path, frame_stride=1, resize=resize)
    assert faces.detector_scale == scale
    assert [(frame.frame_index, len(frame.faces)) for frame in faces.frames] == [(0, 1), (1, 0), (2, 1), (3, 0)]
    assert faces.frames[2].faces[0].box == pytest.approx(PORTRAIT_BOX, abs=6)
