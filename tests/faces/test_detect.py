"""Detection: the resize rule, the built-in portrait, whole videos, and parity with facenet-pytorch called frame by frame."""

from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from skimage import data

from dfdc_lib.data.video import read_frames
from dfdc_lib.faces.detect import FRAMES_PER_BATCH, FaceDetector, detect_video, detector_scale, resize_for_detector
from dfdc_lib.records import DetectorSettings, Face

PORTRAIT_BOX = (181, 62, 267, 172)  # of the face in skimage.data.astronaut
PARITY_PIXELS = 0.05  # 0.005 measured: what rounding to hundredths of a pixel costs
FFPP_ORIGINAL = "ffpp/original_sequences/youtube/c23/videos/720.mp4"

# Real frames: file, frames, how many faces each shows.
REAL_FRAMES = [
    (FFPP_ORIGINAL, range(0, 80, 10), [1] * 8),
    ("odd/many_people.mp4", range(0, 400, 100), [1, 2, 2, 2]),  # halved before detection
    ("odd/small_176x144.mp4", (0, 60), [1, 1]),  # doubled before detection
]


@cache
def detector(device: str = "cpu") -> FaceDetector:
    return FaceDetector(DetectorSettings(), device)


@cache
def portrait() -> np.ndarray:
    return data.astronaut()


def black() -> np.ndarray:
    return np.zeros_like(portrait())


def real_frames(folder: Path, name: str, frame_indices) -> list[np.ndarray]:
    return [frame.image for frame in read_frames(folder / name, set(frame_indices))]


def write_video(path: Path, images: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return path


# The resize rule ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wider", "scale"),
    [(1, 2), (299, 2), (300, 1), (301, 1), (1000, 1), (1001, 0.5), (1900, 0.5), (1901, 0.33), (3840, 0.33)],
)
def test_detector_scale_goes_by_the_wider_side(wider, scale):
    narrower = min(wider, 200)
    assert detector_scale(height=narrower, width=wider) == scale
    assert detector_scale(height=wider, width=narrower) == scale


@pytest.mark.parametrize("wider", [1, 299, 300, 1000, 1001, 1901])
def test_detector_scale_of_the_winner_is_half_always(wider):
    assert detector_scale(height=1, width=wider, resize="half") == 0.5


@pytest.mark.parametrize(("scale", "size"), [(1, (48, 64)), (2, (96, 128)), (0.5, (24, 32)), (0.33, (16, 21))])
def test_resize_keeps_the_shape_and_the_level(scale, size):
    image = np.full((48, 64, 3), 90, np.uint8)
    resized = resize_for_detector(image, scale)
    assert resized.shape == (*size, 3)
    assert (resized == 90).all()


def test_resize_shrinks_by_area():
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (resize_for_detector(stripes, 0.5) == 100).all()


# Frames -------------------------------------------------------------------------------------------------------------------------------


def test_no_frames():
    assert detector().find_faces([]) == []


def test_frames_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must have one shape, got \[\(48, 64, 3\), \(64, 48, 3\)\]"):
        detector().find_faces([np.zeros((48, 64, 3), np.uint8), np.zeros((64, 48, 3), np.uint8)])


@pytest.mark.parametrize("size", [(9, 64), (64, 9), (1, 1)])
def test_a_frame_in_which_no_face_fits_has_none(size):
    """Doubled, nine pixels are eighteen, and the smallest face is twenty."""
    assert detector().find_faces([np.zeros((*size, 3), np.uint8)] * 2) == [(), ()]


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_frame_has_no_face(level):
    assert detector().find_faces([np.full((256, 320, 3), level, np.uint8)]) == [()]


def test_the_portrait_has_one_face_with_landmarks_in_order():
    ((face,),) = detector().find_faces([portrait()])
    assert face.box == pytest.approx(PORTRAIT_BOX, abs=3)
    assert 0.999 < face.confidence <= 1
    x0, y0, x1, y1 = face.box
    assert all(x0 < x < x1 and y0 < y < y1 for x, y in face.landmarks)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_each_frame_of_a_batch_keeps_its_own_faces():
    two = np.hstack([portrait()[:300, 100:400], portrait()[:300, 100:400]])
    two_wide = np.zeros_like(portrait())
    two_wide[:256] = cv2.resize(two, (512, 256))
    alone = [detector().find_faces([image])[0] for image in (portrait(), two_wide)]
    batch = detector().find_faces([black(), two_wide, portrait(), black()])
    assert [len(faces) for faces in batch] == [0, 2, 1, 0]
    assert_same_faces(batch[1], alone[1])
    assert_same_faces(batch[2], alone[0])


@pytest.mark.parametrize("factor", [0.5, 2.5])
def test_boxes_are_in_pixels_of_the_frame_that_was_given(factor):
    """A frame of 256 is doubled, one of 1280 halved: the box follows the frame, not the detector."""
    resized = cv2.resize(
        portrait(), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    )
    ((face,),) = detector().find_faces([resized])
    assert np.array(face.box) / factor == pytest.approx(PORTRAIT_BOX, abs=6)


def test_faces_come_largest_first():
    frame = black()
    frame[:320, :320] = portrait()[:320, 60:380]
    frame[350:510, 340:500] = cv2.resize(portrait()[:320, 60:380], (160, 160), interpolation=cv2.INTER_AREA)
    ((large, small),) = detector().find_faces([frame])
    assert large.box[2] - large.box[0] > 1.5 * (small.box[2] - small.box[0])


def test_thresholds_decide():
    refuses_all = FaceDetector(DetectorSettings(thresholds=(0.85, 0.95, 1.0)), "cpu")
    assert refuses_all.find_faces([portrait()]) == [()]


def test_the_smallest_face_decides():
    frame = black()
    frame[:256, :256] = cv2.resize(portrait(), (256, 256), interpolation=cv2.INTER_AREA)
    assert [len(faces) for faces in detector().find_faces([frame])] == [1]
    assert FaceDetector(DetectorSettings(min_face_pixels=200), "cpu").find_faces([frame]) == [()]


# Parity -------------------------------------------------------------------------------------------------------------------------------


def faces_frame_by_frame(images: list[np.ndarray]) -> list[tuple[Face, ...]]:
    """What facenet-pytorch itself finds in each resized frame, brought back to the full frame."""
    settings = DetectorSettings()
    mtcnn = MTCNN(
        keep_all=True, thresholds=list(settings.thresholds), min_face_size=settings.min_face_pixels, device="cpu"
    ).eval()
    found = []
    for image in images:
        height, width = image.shape[:2]
        resized = resize_for_detector(image, detector_scale(height, width))
        back = np.array([width / resized.shape[1], height / resized.shape[0]])
        boxes, confidences, landmarks = mtcnn.detect(resized, landmarks=True)
        found.append(
            tuple(
                Face(
                    box=tuple(np.asarray(boxes[i], float) * np.tile(back, 2)),
                    landmarks=tuple(map(tuple, np.asarray(landmarks[i], float) * back)),
                    confidence=float(confidences[i]),
                )
                for i in range(0 if boxes is None else len(boxes))
            )
        )
    return found


def assert_same_faces(faces: tuple[Face, ...], expected: tuple[Face, ...], pixels: float = PARITY_PIXELS) -> None:
    assert len(faces) == len(expected)
    for face, reference in zip(faces, expected, strict=True):
        assert face.box == pytest.approx(reference.box, abs=pixels)
        assert np.array(face.landmarks) == pytest.approx(np.array(reference.landmarks), abs=pixels)
        assert face.confidence == pytest.approx(reference.confidence, abs=1e-4)


@pytest.mark.parametrize(("name", "frame_indices", "face_counts"), REAL_FRAMES)
def test_batched_faces_equal_facenet_pytorch_frame_by_frame(test_videos, name, frame_indices, face_counts):
    images = real_frames(test_videos, name, frame_indices)
    found = detector().find_faces(images)
    assert [len(faces) for faces in found] == face_counts
    for faces, expected in zip(found, faces_frame_by_frame(images), strict=True):
        assert_same_faces(faces, expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_a_gpu_finds_the_faces_of_the_cpu(test_videos):
    images = real_frames(test_videos, FFPP_ORIGINAL, range(0, 80, 10))
    for faces, expected in zip(detector("cuda").find_faces(images), detector("cpu").find_faces(images), strict=True):
        assert_same_faces(faces, expected, pixels=1)


# Videos -------------------------------------------------------------------------------------------------------------------------------


def test_a_video_is_searched_at_its_stride(test_videos):
    settings = DetectorSettings(frame_stride=20)
    faces = detect_video(test_videos / "clips" / "book.mkv", "book", FaceDetector(settings, "cpu"), "abc", threads=1)
    assert [frame.frame_index for frame in faces.frames] == [0, 20, 40, 60, 80, 100]
    assert [frame.time_seconds for frame in faces.frames] == [
        0.033,
        0.7,
        1.367,
        2.033,
        2.7,
        3.367,
    ]  # the file begins at 0.033
    assert [len(frame.faces) for frame in faces.frames] == [1] * 6
    assert (faces.video_id, faces.height, faces.width, faces.fps) == ("book", 480, 640, 30)
    assert (faces.frame_count, faces.missing_frame_count) == (109, 0)
    assert (faces.detector_scale, faces.settings, faces.fingerprint) == (1, settings, "abc")


def test_a_video_of_more_frames_than_a_batch_keeps_every_examined_frame(tmp_path):
    count = FRAMES_PER_BATCH["cpu"] + 2
    path = write_video(tmp_path / "blank.mp4", [np.zeros((64, 64, 3), np.uint8)] * count)
    faces = detect_video(path, "blank", FaceDetector(DetectorSettings(frame_stride=1), "cpu"), "")
    assert [(frame.frame_index, frame.faces) for frame in faces.frames] == [(index, ()) for index in range(count)]
    assert (faces.frame_count, faces.detector_scale) == (count, 2)


def test_a_frame_without_a_face_is_an_entry_without_faces(tmp_path):
    path = write_video(tmp_path / "gone.mp4", [portrait(), black(), portrait(), black()])
    faces = detect_video(path, "gone", FaceDetector(DetectorSettings(frame_stride=1), "cpu"), "")
    assert [(frame.frame_index, len(frame.faces)) for frame in faces.frames] == [(0, 1), (1, 0), (2, 1), (3, 0)]
    assert faces.frames[1].faces == ()
    assert faces.frames[2].faces[0].box == pytest.approx(PORTRAIT_BOX, abs=6)


def test_the_record_says_when_frames_were_always_halved(tmp_path):
    path = write_video(tmp_path / "half.mp4", [portrait()])
    faces = detect_video(path, "half", FaceDetector(DetectorSettings(resize="half"), "cpu"), "")
    assert faces.detector_scale == 0.5
    assert faces.frames[0].faces[0].box == pytest.approx(PORTRAIT_BOX, abs=6)


def test_a_file_that_is_no_video_is_refused(tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text("not a video")
    with pytest.raises(ValueError, match=r"text\.mp4 is not readable as a video"):
        detect_video(path, "text", detector(), "")
