"""Find the faces of a video and cut them out for the models.

Input: a video file, and views (the part of a recipe that determines the crops). Output: the faces of each view; all
share one decode. The module imports no classifier, so worker processes start fast.
Source: the slides (32 evenly spaced frames); the winner's inference.
Departs from the winner's code: a single face in a video counts, every frame of a video with fewer than 32 is examined
(there only the first), faces beyond the 127th count, and faces are linked to people. By the slides' recipe, which is
the kit's own way, frames are those that a player shows (there those that OpenCV reads, see `View.frames`).
"""

import math
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from dfdc_lib.backends.choice import Engine
from dfdc_lib.data import video
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.faces import quality, tracks
from dfdc_lib.faces.crops import Edges, cut_face
from dfdc_lib.faces.detect import load_detector
from dfdc_lib.records import Box, DetectorSettings, Face, Recipe

FRAMES_PER_VIDEO = 32  # slides
FRAMES_AT_ONCE = 8  # searched for faces; as many are decoded meanwhile


class FoundFace(NamedTuple):
    """One face in one frame: where it is, how well it can be judged, which person it is (`track`), and its crop.

    `turn` and `sharpness`: see `quality`; `crop`: (h, w, 3) uint8 RGB, with margin.
    """

    frame_index: int
    time_seconds: float
    face_index: int
    track: int
    box: Box
    confidence: float
    sharpness: float  # of the face without margin: the background of a blurred face may be sharp
    turn: float
    crop: np.ndarray  # (h, w, 3) uint8 RGB, with margin


class View(NamedTuple):
    """The part of a recipe that determines the crops; models whose views are equal share the same crops."""

    detector: DetectorSettings
    margin: float
    edges: Edges = "nearest"
    # "opencv": pixels as they are stored, even if they are not square; spaced over the number that OpenCV expects.
    frames: Literal["shown", "opencv"] = "shown"


def view_of(recipe: Recipe) -> View:
    """Return the part of a recipe that determines the crops.

    Its frame stride is set to 1, because prediction does not use it.
    """
    detector = recipe.detector.model_copy(update={"frame_stride": 1})
    return View(detector, recipe.margin, recipe.edges, recipe.frames)


def find_faces(
    path: Path, views: Sequence[View], most_frames: int, engine: Engine, span: range = range(sys.maxsize)
) -> list[list[FoundFace]]:
    """Find the faces in evenly spaced frames of a video, cut as each view (part of a recipe) describes.

    At most `most_frames` frames of `span` are examined for each view; missing or damaged ones are skipped. `engine`
    runs the detector. Returns a list for each view: all its faces, in order of time. Raises FileNotFoundError if the
    file is missing, ValueError if it is not readable as a video.
    """
    counts = {rule: _frame_count(path, rule) for rule in {view.frames for view in views}}
    lengths = [len(span[: max(0, counts[view.frames] - span.start)]) for view in views]
    examined = [{span[place] for place in evenly_spaced(length, most_frames)} for length in lengths]
    faces: list[list[list[FoundFace]]] = [[] for _ in views]  # view, frame, face
    with video.VideoReader(path, threads=1) as reader:
        for batch in video.decode_ahead(reader.frames_at(set[int]().union(*examined)), FRAMES_AT_ONCE):
            for view, indices, faces_of_view in zip(views, examined, faces, strict=True):
                chosen = [frame for frame in batch if frame.frame_index in indices]
                images = [frame.stored if view.frames == "opencv" else frame.image for frame in chosen]
                detected = load_detector(view.detector, engine).find_faces(images)
                faces_of_view += [_cut_faces(*each, view) for each in zip(chosen, images, detected, strict=True)]
    return [_with_tracks(faces_of_view) for faces_of_view in faces]


def cut_known_faces(path: Path, views: Sequence[View], known: Sequence[FoundFace]) -> list[list[FoundFace]]:
    """Cut faces at known places of a video as each view describes; nothing is searched for.

    `known`: faces in pixels and frames of this video; their crops are not used. Returns what `find_faces` returns.
    Raises FileNotFoundError if the file is missing, ValueError if it is not readable as a video.
    """
    faces: list[list[FoundFace]] = [[] for _ in views]
    with video.VideoReader(path, threads=1) as reader:
        for frame in reader.frames_at({face.frame_index for face in known}):
            for face in known:
                if face.frame_index != frame.frame_index:
                    continue
                sharpness = round(quality.sharpness(cut_face(frame.image, face.box, 0)), 2)
                for view, faces_of_view in zip(views, faces, strict=True):
                    crop = cut_face(frame.image, face.box, view.margin, view.edges).copy()
                    faces_of_view.append(face._replace(time_seconds=frame.time_seconds, sharpness=sharpness, crop=crop))
    return faces


def _frame_count(path: Path, rule: Literal["shown", "opencv"]) -> int:
    """Return how many frames a video has: those that a player shows, or those that OpenCV expects by the header.

    Without a number in the header (MKV, WebM) OpenCV expects duration times frame rate, which can be one too many. An
    expectation that is further off is not used: most of the winner's frames would then lie behind the end.
    """
    counted = video.count_frames(path)
    if rule == "shown":
        return counted
    info = video.read_info(path)
    declared = info.frame_count or math.floor(info.duration_seconds * info.fps + 0.5)
    return declared if abs(declared - counted) <= 1 else counted


def _cut_faces(frame: video.Frame, image: np.ndarray, faces: Sequence[Face], view: View) -> list[FoundFace]:
    """Return the faces of one frame, found in `image`, all with track 0; their boxes are in pixels of `frame.image`."""
    cut = []
    stretch = np.tile(np.array(frame.image.shape[1::-1]) / image.shape[1::-1], 2)
    for face_index, face in enumerate(faces):
        place = (frame.frame_index, frame.time_seconds, face_index)
        sharpness = round(quality.sharpness(cut_face(image, face.box, 0)), 2)
        turn = round(quality.turn(face.landmarks), 3)
        crop = cut_face(image, face.box, view.margin, view.edges).copy()
        x0, y0, x1, y1 = (np.array(face.box) * stretch).tolist()
        cut.append(FoundFace(*place, 0, (x0, y0, x1, y1), face.confidence, sharpness, turn, crop))
    return cut


def _with_tracks(frames: Sequence[Sequence[FoundFace]]) -> list[FoundFace]:
    numbers = tracks.link_faces([[face.box for face in faces] for faces in frames])
    tracked = zip(chain.from_iterable(frames), chain.from_iterable(numbers), strict=True)
    return [face._replace(track=track) for face, track in tracked]
