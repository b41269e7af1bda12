"""Box + margin → crop; landmarks into crop coordinates; a fake's frame onto its original's.

Pure functions on arrays and tuples. Source: the slides (margin of about 20 %), the winner's code (a fake is cut with its original's boxes).
Departs from the winner's code: the margin is a parameter (there a third, fixed), boxes are never cut for landmarks again, and a fake whose
frame has another size than its original's is aligned first (there its crops were silently shifted).
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from dfdc_lib.records import Box, Landmarks

DEFAULT_MARGIN = 0.2  # slides: about 20 % of the face box
MIN_SHOWN = 0.75  # of a patch, to be compared; rounding costs a row or two

Area = tuple[int, int, int, int]  # x0, y0, x1, y1 in whole pixels; x1 and y1 exclusive


class Alignment(NamedTuple):
    """Where a point of the original's frame lies in the fake's: `scale * point + offset`, for x and for y."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0


def crop_area(box: Box, margin: float, frame_height: int, frame_width: int) -> Area:
    """Give the pixels to cut for a face: its box, grown by `margin` of its side on each side, clamped to the frame.

    Args:
        box: x0, y0, x1, y1 in pixels of the frame.
        margin: fraction of the box's width (left, right) and height (top, bottom).
        frame_height, frame_width: of the frame, in pixels.
    Returns:
        Whole pixels inside the frame; empty (x1 <= x0 or y1 <= y0) where the box lies outside of it.

    >>> crop_area((100.0, 100.0, 200.0, 300.0), 0.2, 720, 1280)
    (80, 60, 220, 340)
    """
    if margin < 0:
        raise ValueError(f"margin must be 0 or more (0.2 adds a fifth of the box on each side), got {margin}")
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"box must have x0 < x1 and y0 < y1, got {box}")
    grow_x, grow_y = margin * (x1 - x0), margin * (y1 - y0)
    return (
        max(0, _whole_pixel(x0 - grow_x)),
        max(0, _whole_pixel(y0 - grow_y)),
        min(frame_width, _whole_pixel(x1 + grow_x)),
        min(frame_height, _whole_pixel(y1 + grow_y)),
    )


def is_empty(area: Area) -> bool:
    """Tell whether an area holds no pixel."""
    return area[2] <= area[0] or area[3] <= area[1]


def cut(image: np.ndarray, area: Area) -> np.ndarray:
    """Cut an area out of an (H, W, ...) image; a view, not a copy."""
    x0, y0, x1, y1 = area
    return image[y0:y1, x0:x1]


def landmarks_in_crop(landmarks: Landmarks, area: Area) -> Landmarks:
    """Move landmarks from frame coordinates into those of the crop that `area` cuts."""
    left_eye, right_eye, nose, left_mouth, right_mouth = (
        (round(x - area[0], 2), round(y - area[1], 2)) for x, y in landmarks
    )
    return left_eye, right_eye, nose, left_mouth, right_mouth


def align_frames(original: np.ndarray, fake: np.ndarray) -> Alignment:
    """Find how a fake's frame lies on its original's when they differ in size.

    A fake may be its original scaled, or (all such pairs of FaceForensics++ that were looked at: 832 for 854, 640 for 656 pixels wide)
    its original's middle. Both are tried on one frame of each, the one with the smaller mean difference holds.

    Args:
        original, fake: (H, W, 3) uint8, the same frame of both videos.
    Returns:
        The alignment; the identity for frames of one size.
    """
    if original.shape == fake.shape:
        return Alignment()
    (height, width), (fake_height, fake_width) = original.shape[:2], fake.shape[:2]
    scaled = Alignment(fake_width / width, fake_height / height)
    centred = Alignment(offset_x=(fake_width - width) // 2, offset_y=(fake_height - height) // 2)
    return min((scaled, centred), key=lambda alignment: _mean_difference(original, fake, alignment))


def align_box(box: Box, alignment: Alignment) -> Box:
    """Move a box from the original's frame into the fake's."""
    (x0, y0), (x1, y1) = (_align_point(point, alignment) for point in (box[:2], box[2:]))
    return x0, y0, x1, y1


def align_landmarks(landmarks: Landmarks, alignment: Alignment) -> Landmarks:
    """Move landmarks from the original's frame into the fake's."""
    left_eye, right_eye, nose, left_mouth, right_mouth = (_align_point(point, alignment) for point in landmarks)
    return left_eye, right_eye, nose, left_mouth, right_mouth


def matching_patch(original_crop: np.ndarray, original_area: Area, fake_area: Area, alignment: Alignment) -> np.ndarray:
    """Give the part of an original's crop that shows what a fake's crop shows, at the fake's size.

    Args:
        original_crop: (H, W, 3) uint8, cut with `original_area`.
        original_area: in the original's frame.
        fake_area: of the fake's crop, in the fake's frame.
        alignment: from the original's frame to the fake's.
    Returns:
        (h, w, 3) uint8 with the height and width of `fake_area`; (0, 0, 3) where the original's crop shows less than `MIN_SHOWN` of it.
    """
    x0, x1 = (round((x - alignment.offset_x) / alignment.scale_x) - original_area[0] for x in fake_area[0::2])
    y0, y1 = (round((y - alignment.offset_y) / alignment.scale_y) - original_area[1] for y in fake_area[1::2])
    patch = original_crop[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)]
    if patch.shape[0] * patch.shape[1] < MIN_SHOWN * (y1 - y0) * (x1 - x0):
        return patch[:0, :0]
    height, width = fake_area[3] - fake_area[1], fake_area[2] - fake_area[0]
    if patch.shape[:2] == (height, width):
        return patch
    return cv2.resize(patch, (width, height), interpolation=cv2.INTER_AREA)


def _whole_pixel(coordinate: float) -> int:
    """Round a half always up (`round` takes the even neighbour), so that a box moved by whole pixels cuts the same pixels."""
    return math.floor(round(coordinate, 3) + 0.5)


def _align_point(point: tuple[float, float], alignment: Alignment) -> tuple[float, float]:
    x, y = point
    return round(alignment.scale_x * x + alignment.offset_x, 2), round(alignment.scale_y * y + alignment.offset_y, 2)


def _mean_difference(original: np.ndarray, fake: np.ndarray, alignment: Alignment) -> float:
    """Compare the frames where they overlap, after bringing the original onto the fake."""
    matrix = np.array([[alignment.scale_x, 0, alignment.offset_x], [0, alignment.scale_y, alignment.offset_y]])
    height, width = fake.shape[:2]
    moved = cv2.warpAffine(original, matrix, (width, height), flags=cv2.INTER_LINEAR)
    covered = cv2.warpAffine(np.full(original.shape[:2], 255, np.uint8), matrix, (width, height)) == 255
    return float(np.abs(moved.astype(np.int16) - fake)[covered].mean())
