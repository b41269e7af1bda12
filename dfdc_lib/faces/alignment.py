"""Align the frames of a fake with those of its original when the two videos differ in size.

Input: frames, boxes, landmarks and crops of the original. Output: the same places in the fake's frame.
Departs from the winner's code: there the boxes are used without alignment, so crops are shifted if the sizes differ.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dfdc_lib.data.video import read_frames
from dfdc_lib.faces.crops import Area
from dfdc_lib.records import Box, Landmarks, Point

MIN_SHOWN = 0.75  # smallest share of a patch that the original's crop must cover; rounding costs a row or two


class Alignment(NamedTuple):
    """Map from the original's frame to the fake's: `scale * point + offset`, in pixels."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0

    def apply(self, point: Point) -> Point:
        """Return a point's place in the fake's frame, rounded to hundredths of a pixel."""
        x, y = point
        return round(self.scale_x * x + self.offset_x, 2), round(self.scale_y * y + self.offset_y, 2)


def align_videos(original: Path, fake: Path) -> Alignment:
    """Return the alignment of the first frames of two videos; the identity if one of these frames is damaged."""
    first_frames = zip(read_frames(original, {0}, threads=1), read_frames(fake, {0}, threads=1), strict=False)
    return next((align_frames(one.image, other.image) for one, other in first_frames), Alignment())


def align_frames(original: np.ndarray, fake: np.ndarray) -> Alignment:
    """Return the alignment of a fake's frame with the same frame of its original.

    Frames of one size get the identity. Otherwise the fake may be its original scaled, or the centre of its original:
    the alignment with the smaller mean difference is returned. All pairs of FaceForensics++ with different sizes that
    were examined are centre crops (854 -> 832 and 656 -> 640 pixels wide). Frames are (H, W, 3) uint8.
    """
    if original.shape == fake.shape:
        return Alignment()
    (height, width), (fake_height, fake_width) = original.shape[:2], fake.shape[:2]
    scaled = Alignment(fake_width / width, fake_height / height)
    centred = Alignment(offset_x=(fake_width - width) // 2, offset_y=(fake_height - height) // 2)
    return min((scaled, centred), key=lambda alignment: _mean_difference(original, fake, alignment))


def align_box(box: Box, alignment: Alignment) -> Box:
    """Return the box in the fake's frame."""
    return *alignment.apply(box[:2]), *alignment.apply(box[2:])


def align_landmarks(landmarks: Landmarks, alignment: Alignment) -> Landmarks:
    """Return the landmarks in the fake's frame."""
    left_eye, right_eye, nose, left_mouth, right_mouth = map(alignment.apply, landmarks)
    return left_eye, right_eye, nose, left_mouth, right_mouth


def matching_patch(original_crop: np.ndarray, original_area: Area, fake_area: Area, alignment: Alignment) -> np.ndarray:
    """Return the part of an original's crop that shows the same scene as a fake's crop, at the size of the fake's crop.

    `original_crop` is (H, W, 3) uint8; each area is in pixels of its own frame. Returns (h, w, 3) uint8; (0, 0, 3) if
    `original_crop` covers less than `MIN_SHOWN` of the fake's crop.
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


def _mean_difference(original: np.ndarray, fake: np.ndarray, alignment: Alignment) -> float:
    """Return the mean absolute difference of the two frames where the aligned original covers the fake."""
    matrix = np.array([[alignment.scale_x, 0, alignment.offset_x], [0, alignment.scale_y, alignment.offset_y]])
    height, width = fake.shape[:2]
    moved = cv2.warpAffine(original, matrix, (width, height), flags=cv2.INTER_LINEAR)
    covered = cv2.warpAffine(np.full(original.shape[:2], 255, np.uint8), matrix, (width, height)) == 255
    return float(np.abs(moved.astype(np.int16) - fake)[covered].mean())
