"""Frames in, faces out: facenet-pytorch's MTCNN behind the slides' resize rule.

A frame is resized by `detector_scale`, searched in batches of frames of one size, and the boxes and landmarks are scaled back to pixels of
the full-resolution frame. Source: Zhang et al. 2016, doi:10.1109/LSP.2016.2603342; the slides for the resize rule.
Departs from the winner's code: there every frame is halved, and boxes are stored without their scale.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN

from dfdc_lib.data.video import VideoReader
from dfdc_lib.records import DetectorSettings, Face, FrameFaces, VideoFaces

# Slides, "MT-CNN Resizing": (wider side is greater than this, scale), widest first.
SCALE_RULE = ((1900, 0.33), (1000, 0.5))
SMALL_SIDE, SMALL_SCALE = 300, 2.0  # slides: below this side, this scale
HALF_SCALE = 0.5  # the winner's code, for every video
FRAMES_PER_BATCH = {"cpu": 8, "cuda": 32}  # on a CPU larger batches only cost memory

Item = TypeVar("Item")


def detector_scale(height: int, width: int, resize: str = "slides") -> float:
    """Give the factor by which a frame is resized before detection: 2, 1, 0.5 or 0.33 by its wider side (slides), or "half" always."""
    if resize == "half":
        return HALF_SCALE
    wider = max(height, width)
    if wider < SMALL_SIDE:
        return SMALL_SCALE
    return next((scale for side, scale in SCALE_RULE if wider > side), 1.0)


def resize_for_detector(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize an (H, W, 3) frame by `scale`: by area when it shrinks, cubic when it grows."""
    if scale == 1:
        return image
    height, width = image.shape[:2]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=interpolation)


class FaceDetector:
    """MTCNN with its three networks loaded (weights ship inside facenet-pytorch).

    Args:
        settings: thresholds and smallest face.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
    """

    def __init__(self, settings: DetectorSettings, device: str = "auto") -> None:
        self.settings = settings
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self._mtcnn = MTCNN(
            keep_all=True,
            thresholds=list(settings.thresholds),
            min_face_size=settings.min_face_pixels,
            device=torch.device(self.device),
        ).eval()

    def find_faces(self, images: Sequence[np.ndarray]) -> list[tuple[Face, ...]]:
        """Find the faces of frames of one size.

        Args:
            images: (H, W, 3) uint8 RGB each, all of one shape, at full resolution.
        Returns:
            For every frame its faces, largest first; () where there is none.
        Raises:
            ValueError: if the frames differ in shape.
        """
        if not images:
            return []
        shapes = {image.shape for image in images}
        if len(shapes) > 1:
            raise ValueError(f"frames of one batch must have one shape, got {sorted(shapes)}")
        height, width = images[0].shape[:2]
        resized = [resize_for_detector(image, detector_scale(height, width, self.settings.resize)) for image in images]
        if min(resized[0].shape[:2]) < self.settings.min_face_pixels:  # MTCNN fails where not even one face fits
            return [() for _ in images]
        # Arrays of dtype object: numbers that NumPy would round or compare wrongly until they are made floats.
        boxes, confidences, landmarks = self._mtcnn.detect(np.stack(resized), landmarks=True)
        # The resized side is rounded to whole pixels, so the way back has a factor of its own for x and y.
        back = np.array([width / resized[0].shape[1], height / resized[0].shape[0]])
        return [
            ()
            if found is None
            else tuple(map(_face, found.astype(float) * np.tile(back, 2), points.astype(float) * back, certain))
            for found, points, certain in zip(boxes, landmarks, confidences, strict=True)
        ]


def detect_video(path: Path, video_id: str, detector: FaceDetector, fingerprint: str, threads: int = 0) -> VideoFaces:
    """Find the faces of every `frame_stride`-th frame of a video.

    Args:
        path: the file.
        video_id: goes into the record.
        detector: holds the settings, `frame_stride` among them.
        fingerprint: of all that the result depends on; goes into the record.
        threads: decoding threads; 0 = as many as FFmpeg likes.
    Returns:
        Every examined frame with its faces, at full resolution.
    Raises:
        ValueError: if the file has no readable video.
    """
    stride = detector.settings.frame_stride
    frames: list[FrameFaces] = []
    with VideoReader(path, threads) as reader:
        for batch in _batches(reader.frames(lambda index: index % stride == 0), FRAMES_PER_BATCH[detector.device]):
            found = detector.find_faces([frame.image for frame in batch])
            frames += [
                FrameFaces(frame_index=frame.frame_index, time_seconds=frame.time_seconds, faces=faces)
                for frame, faces in zip(batch, found, strict=True)
            ]
        return VideoFaces(
            video_id=video_id,
            height=reader.info.height,
            width=reader.info.width,
            fps=reader.info.fps,
            frame_count=reader.frame_count,
            missing_frame_count=reader.missing_frame_count,
            detector_scale=detector_scale(reader.info.height, reader.info.width, detector.settings.resize),
            settings=detector.settings,
            frames=tuple(frames),
            fingerprint=fingerprint,
        )


def _face(box: np.ndarray, landmarks: np.ndarray, confidence: float) -> Face:
    return Face(
        box=tuple(box.round(2)), landmarks=tuple(map(tuple, landmarks.round(2))), confidence=round(float(confidence), 6)
    )


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while batch := list(islice(items, size)):
        yield batch
