"""Find the faces in frames with MTCNN.

Input: frames, or a video file. Output: boxes, landmarks and confidences in pixels of the full-resolution frame.
Frames are resized before detection, by the slides' rule or as the winner's inference does, and searched in batches.
Source: Zhang et al. 2016, doi:10.1109/LSP.2016.2603342; the slides for the resize rule; the winner's inference.
Departs from the winner's code: boxes are stored with their scale. By the slides' rule, which is the kit's own way,
OpenCV resizes frames (there Pillow, by bicubic interpolation), several are searched at once (there one at a time), and
boxes are rounded to hundredths of a pixel.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dfdc_lib.backends.choice import Engine
from dfdc_lib.data.video import VideoReader, decode_ahead
from dfdc_lib.faces import mtcnn
from dfdc_lib.faces.mtcnn_networks import load_networks
from dfdc_lib.records import DetectorSettings, Face, FrameFaces, VideoFaces

# Slides, "MT-CNN Resizing": (the wider side is greater than this, scale), widest first.
SCALE_RULE = ((1900, 0.33), (1000, 0.5), (299, 1.0), (0, 2.0))
DIGITS = 2  # of boxes and landmarks, in pixels
WINNER_DIGITS = 8  # he truncates boxes, which must not be rounded up to a whole pixel before
FRAMES_PER_BATCH, GPU_FRAMES_PER_BATCH = 8, 32  # on a CPU a larger batch only costs memory


def detector_scale(height: int, width: int, resize: str = "slides") -> float:
    """Return the factor by which a frame of this size in pixels is resized before detection.

    With `resize="slides"` the longer side decides, by `SCALE_RULE`; with "winner" the factor is always 0.5.
    """
    if resize == "winner":
        return 0.5
    return next(scale for side, scale in SCALE_RULE if max(height, width) > side)


def resize_for_detector(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize an (H, W, 3) frame by `scale`: area interpolation to shrink it, cubic interpolation to enlarge it."""
    height, width = image.shape[:2]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=interpolation)


def halve(image: np.ndarray) -> np.ndarray:
    """Halve an (H, W, 3) uint8 frame to (H // 2, W // 2, 3) by Pillow's bicubic interpolation, as the winner does."""
    height, width = image.shape[:2]
    return np.asarray(
        Image.fromarray(image).resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.BICUBIC)
    )


class FaceDetector:
    """The MTCNN face detector. Its weights ship with facenet-pytorch and are loaded when it is created."""

    def __init__(self, settings: DetectorSettings, engine: Engine) -> None:
        self.settings, self.engine = settings, engine
        self._networks = load_networks(engine)

    @property
    def frames_per_batch(self) -> int:
        """Number of frames to search at once."""
        return GPU_FRAMES_PER_BATCH if self.engine.on_gpu else FRAMES_PER_BATCH

    def find_faces(self, images: Sequence[np.ndarray]) -> list[tuple[Face, ...]]:
        """Return the faces of each image, largest first; () for an image without a face.

        The images are full-resolution frames, (H, W, 3) uint8 RGB; boxes are in their pixels. Raises ValueError if the
        images differ in shape.
        """
        if not images:
            return []
        if self.settings.resize == "winner" and len(images) > 1:
            # The rounding of float32 depends on the size of a batch, and decides which of two boxes that tie is kept.
            return [self.find_faces([image])[0] for image in images]
        shapes = {image.shape for image in images}
        if len(shapes) > 1:
            raise ValueError(f"frames of one batch must have one shape, got {sorted(shapes)}")
        resized, smallest = [self._resize(image) for image in images], self.settings.min_face_pixels
        back, digits = self._way_back(images[0], resized[0])
        detections = mtcnn.detect(resized, self._networks, self.settings.thresholds, smallest)
        return [tuple(_face(*each, back, digits) for each in zip(*found, strict=True)) for found in detections]

    def _resize(self, image: np.ndarray) -> np.ndarray:
        if self.settings.resize == "winner":
            return halve(image)
        height, width = image.shape[:2]
        return resize_for_detector(image, detector_scale(height, width))

    def _way_back(self, image: np.ndarray, resized: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the factors (x, y) to full resolution, and the decimal places that boxes keep."""
        if self.settings.resize == "winner":  # he doubles boxes, also of frames with an odd side
            return np.array([2.0, 2.0]), WINNER_DIGITS
        # The size is rounded to whole pixels, so the factors differ slightly in x and y.
        return np.array(image.shape[1::-1]) / resized.shape[1::-1], DIGITS


@lru_cache(maxsize=4)
def load_detector(settings: DetectorSettings, engine: Engine) -> FaceDetector:
    """Return a detector; calls with equal arguments in one process return the same one, so weights are loaded once."""
    return FaceDetector(settings, engine)


def detect_video(path: Path, video_id: str, detector: FaceDetector, fingerprint: str, threads: int = 0) -> VideoFaces:
    """Find the faces in every `frame_stride`-th frame of a video, as the detector's settings say.

    `fingerprint` is stored in the result. `threads` decode; 0 = FFmpeg's default. Raises FileNotFoundError if the file
    is missing, ValueError if it is not readable as a video.
    """
    with VideoReader(path, threads) as reader:
        return detect_frames(reader, video_id, detector, fingerprint)


def detect_frames(reader: VideoReader, video_id: str, detector: FaceDetector, fingerprint: str) -> VideoFaces:
    """Do what `detect_video` does, with an open video: read it to its end."""
    settings = detector.settings
    frames: list[FrameFaces] = []
    info = reader.info
    examined = reader.frames(lambda frame_index: frame_index % settings.frame_stride == 0)
    for batch in decode_ahead(examined, detector.frames_per_batch):
        faces_of_batch = detector.find_faces([frame.image for frame in batch])
        for frame, faces in zip(batch, faces_of_batch, strict=True):
            frames.append(FrameFaces(frame_index=frame.frame_index, time_seconds=frame.time_seconds, faces=faces))
    return VideoFaces(
        **info.model_dump(include={"height", "width", "fps"}),
        video_id=video_id,
        frame_count=reader.frame_count,
        missing_frame_count=reader.missing_frame_count,
        rescaled_frame_count=reader.rescaled_frame_count,
        detector_scale=detector_scale(info.height, info.width, settings.resize),
        settings=settings,
        frames=tuple(frames),
        fingerprint=fingerprint,
    )


def _face(box: np.ndarray, confidence: float, landmarks: np.ndarray, back: np.ndarray, digits: int) -> Face:
    """Scale MTCNN's arrays back."""
    full_box = (box.astype(float) * np.tile(back, 2)).round(digits)
    points = tuple(map(tuple, (landmarks.astype(float) * back).round(digits)))
    return Face(box=tuple(full_box), landmarks=points, confidence=round(float(confidence), 6))
