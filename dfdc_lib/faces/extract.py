"""Where a video's faces are, and the faces cut out for the models: a file in, `FoundFace`s out, for each way of looking.

A video is decoded once and searched once for every detector setting and margin that the models ask for. Light to import: the processes
that find faces load no classifier.
Source: the slides (32 evenly spaced frames). Departs from the winner's code: one face in a video is a face; faces are linked to people.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dfdc_lib.data import video
from dfdc_lib.faces import crops, quality, tracks
from dfdc_lib.faces.detect import FaceDetector
from dfdc_lib.records import Box, DetectorSettings, Recipe

FRAMES_PER_VIDEO = 32  # slides
FRAMES_AT_ONCE = 8  # that a worker holds at full resolution
Cut = tuple[np.ndarray, float]  # crop with margin; sharpness of the face


class FoundFace(NamedTuple):
    """One face of one frame, cut out."""

    frame_index: int
    time_seconds: float
    face_index: int
    track: int
    box: Box
    confidence: float
    sharpness: float
    turn: float
    crop: np.ndarray  # (h, w, 3) uint8 RGB


class View(NamedTuple):
    """What of a recipe decides which pixels are cut out; models that share it share the crops."""

    detector: DetectorSettings
    margin: float


def view_of(recipe: Recipe) -> View:
    """Give the part of a recipe that a worker needs; the frame stride plays no part in prediction."""
    return View(recipe.detector.model_copy(update={"frame_stride": 1}), recipe.margin)


def frame_indices(count: int, most: int = FRAMES_PER_VIDEO) -> list[int]:
    """Choose at most `most` frames of `count`, evenly from the first to the last.

    >>> frame_indices(10, 4)
    [0, 3, 6, 9]
    """
    return sorted(set(np.linspace(0, count - 1, min(most, count)).astype(int).tolist())) if count else []


def find_faces(path: Path, views: Sequence[View], most_frames: int, device: str) -> list[list[FoundFace]]:
    """Decode a video once and cut out its faces, for every view.

    Args:
        path: the file.
        views: how to search and cut.
        most_frames: evenly spaced, to look at.
        device: of the detector: "auto", "cpu" or "cuda".
    Returns:
        For every view the faces, in order of time; [] where there is none.
    Raises:
        ValueError: if the file has no readable video.
    """
    wanted = set(frame_indices(video.count_frames(path), most_frames))
    found: list[list[tuple[video.Frame, tuple, list[Cut]]]] = [[] for _ in views]
    with video.VideoReader(path, threads=1) as reader:
        frames = reader.frames(wanted.__contains__)
        while batch := list(islice(frames, FRAMES_AT_ONCE)):
            for view, rows in zip(views, found, strict=True):
                for frame, faces in zip(
                    batch, _detector(view.detector, device).find_faces([f.image for f in batch]), strict=True
                ):
                    cuts = [_cut(frame.image, face.box, view.margin) for face in faces]
                    rows.append((frame._replace(image=np.empty(0)), faces, cuts))
    return [list(_linked(rows)) for rows in found]


@lru_cache(maxsize=4)
def _detector(settings: DetectorSettings, device: str) -> FaceDetector:
    """Load the networks once per worker."""
    return FaceDetector(settings, device)


def _cut(image: np.ndarray, box: Box, margin: float) -> Cut:
    """Cut a face out with its margin, and measure it without: what is behind a blurred face may be sharp."""
    crop, face = (crops.cut(image, crops.crop_area(box, around, *image.shape[:2])) for around in (margin, 0))
    return crop.copy(), round(quality.sharpness(face), 2)


def _linked(rows: Sequence[tuple[video.Frame, tuple, list[Cut]]]) -> Iterator[FoundFace]:
    numbers = tracks.link_faces([[face.box for face in faces] for _, faces, _ in rows])
    for (frame, faces, cuts), row in zip(rows, numbers, strict=True):
        for face_index, (face, (crop, sharpness), track) in enumerate(zip(faces, cuts, row, strict=True)):
            yield FoundFace(
                frame_index=frame.frame_index,
                time_seconds=frame.time_seconds,
                face_index=face_index,
                track=track,
                box=face.box,
                confidence=face.confidence,
                sharpness=sharpness,
                turn=round(quality.turn(face.landmarks), 3),
                crop=crop,
            )
