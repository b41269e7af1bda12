"""Compute which pixels of a frame form the crop of a face, and cut them.

Input: boxes and landmarks in pixels of the frame. Output: areas, crops, and landmarks in pixels of the crop.
Source: the slides (margin of about 20 %). Departs from the winner's code: the margin is a parameter (there always one
third), edges are rounded to the nearest pixel unless a recipe asks for his way, and boxes are never cut again for the
landmarks.
"""

import math
from typing import Literal

import numpy as np

from dfdc_lib.records import Area, Box, Crop, FaceKey, Landmarks

DEFAULT_MARGIN = 0.2  # slides: about 20 % of the face box
Edges = Literal["nearest", "winner"]  # how edges become whole pixels


def crop_area(box: Box, margin: float, frame_height: int, frame_width: int, edges: Edges = "nearest") -> Area:
    """Return the area to cut for a face, in whole pixels: its box plus the margin, clamped to the frame.

    `frame_height` and `frame_width` are in pixels. The margin is the fraction of the box's width (left, right) and
    height (top, bottom) added on each side. The area is empty (x1 <= x0 or y1 <= y0) if the box lies outside the frame.

    `edges` is the rounding. "nearest": add the margin, then round the edges to the nearest pixel. "winner": truncate
    the box to whole pixels, then add the margin of that box, also truncated to whole pixels.

    >>> crop_area((100.0, 100.0, 200.0, 300.0), 0.2, 720, 1280)
    (80, 60, 220, 340)
    >>> crop_area((100.9, 100.9, 200.9, 300.9), 1 / 3, 720, 1280, "winner")
    (67, 34, 233, 366)
    """
    if margin < 0:
        raise ValueError(f"margin must be 0 or more (0.2 adds a fifth of the box on each side), got {margin}")
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"box must have x0 < x1 and y0 < y1, got {box}")
    if edges == "winner":
        x0, y0, x1, y1 = (int(side) for side in box)  # towards 0, also at the left of the frame
        grow_x, grow_y = float(int(margin * (x1 - x0))), float(int(margin * (y1 - y0)))
    else:
        grow_x, grow_y = margin * (x1 - x0), margin * (y1 - y0)
    left, right = _whole_pixel(x0 - grow_x), _whole_pixel(x1 + grow_x)
    top, bottom = _whole_pixel(y0 - grow_y), _whole_pixel(y1 + grow_y)
    return max(0, left), max(0, top), min(frame_width, right), min(frame_height, bottom)


def is_empty(area: Area) -> bool:
    """Return whether an area contains no pixel."""
    return area[2] <= area[0] or area[3] <= area[1]


def cut(image: np.ndarray, area: Area) -> np.ndarray:
    """Return the pixels of an area of an (H, W, ...) image; they are not copied."""
    x0, y0, x1, y1 = area
    return image[y0:y1, x0:x1]


def cut_face(image: np.ndarray, box: Box, margin: float, edges: Edges = "nearest") -> np.ndarray:
    """Return the pixels of a face's box plus margin from an (H, W, 3) frame, clamped to the frame; they are not copied.

    `margin`, `edges` and errors as for `crop_area`. The crop is empty if the box lies outside the frame.
    """
    height, width = image.shape[:2]
    return cut(image, crop_area(box, margin, height, width, edges))


def key_of(crop: Crop) -> FaceKey:
    """Return the (video_id, frame_index, face_index) of a crop."""
    return FaceKey(crop.video_id, crop.frame_index, crop.face_index)


def landmarks_in_crop(landmarks: Landmarks, area: Area) -> Landmarks:
    """Convert landmarks from pixels of the frame to pixels of the crop with this area, rounded to hundredths."""
    x0, y0 = area[:2]
    left_eye, right_eye, nose, left_mouth, right_mouth = ((round(x - x0, 2), round(y - y0, 2)) for x, y in landmarks)
    return left_eye, right_eye, nose, left_mouth, right_mouth


def _whole_pixel(coordinate: float) -> int:
    """Round halves up; `round` rounds them to even, so that moving a box by one pixel could change the crop's size."""
    return math.floor(round(coordinate, 3) + 0.5)
