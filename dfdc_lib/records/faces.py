"""Records of faces: detected, aligned with an original, cut out, and compared with it."""

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field

from dfdc_lib.records.base import Area, Box, Landmarks, Point, Record

if TYPE_CHECKING:
    import numpy as np


class DetectorSettings(Record):
    """The settings of the face detector, MTCNN, and which frames it examines.

    `thresholds`: those of MTCNN's P-, R- and O-Net; `min_face_pixels`: side of the smallest face, in pixels
    of the resized frame; every `frame_stride`-th frame is examined.
    """

    thresholds: tuple[float, float, float] = (0.85, 0.95, 0.95)  # the winner's, for training data
    min_face_pixels: int = 20
    resize: Literal["slides", "winner"] = "slides"  # before detection: the slides' rule, or halved as by the winner
    frame_stride: Annotated[int, Field(ge=1)] = 10  # winner


class Face(Record):
    """One detected face in one frame; coordinates are pixels of the full-resolution frame."""

    box: Box
    landmarks: Landmarks
    confidence: Annotated[float, Field(ge=0, le=1)]  # the detector's probability


class FrameFaces(Record):
    """All detected faces of one examined frame, possibly none."""

    frame_index: Annotated[int, Field(ge=0)]  # counts decoded frames from 0
    time_seconds: float
    faces: tuple[Face, ...] = ()


class VideoFaces(Record):
    """The faces of one video and how they were detected: `boxes/<video_id>.json`."""

    video_id: str
    height: int
    width: int
    fps: float
    frame_count: int  # frames that decoded
    missing_frame_count: int  # declared or stored, but missing or damaged
    rescaled_frame_count: int = 0  # stored in another size than the first frame
    detector_scale: float  # applied before detection; boxes are in full-resolution pixels
    settings: DetectorSettings
    frames: tuple[FrameFaces, ...]  # every examined frame
    fingerprint: str  # of the file, the settings and the code


class Transform(NamedTuple):
    """Map from points of an original's frame to points of its fake's frame: `scale * point + offset`, in pixels."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0

    def apply(self, point: Point) -> Point:
        """Convert a point (x, y) of the original's frame to the fake's frame, rounded to hundredths of a pixel."""
        x, y = point
        return round(self.scale_x * x + self.offset_x, 2), round(self.scale_y * y + self.offset_y, 2)


class Segment(NamedTuple):
    """Frames `start` to `stop - 1` of a fake; frame i of them corresponds to frame `i + offset` of the original."""

    start: int  # frame_index of the first
    stop: int  # of the last, plus 1
    offset: int


class Alignment(Record):
    """How a fake corresponds to its original, in space (`transform`) and in time (`segments`).

    `segments`: runs of corresponding frames; the other frames of the fake correspond to none of the original.
    `similarity`: median correlation of corresponding frames; `problem`: why the fake does not fit the original, or "".
    """

    transform: Transform = Transform()
    segments: tuple[Segment, ...] = ()
    frame_count: int = 0  # of the fake, that decoded
    similarity: float = 1.0
    problem: str = ""

    def original_frames(self) -> dict[int, int]:
        """Return frame_index in the fake -> frame_index in the original, for the frames that correspond."""
        return {frame: frame + offset for start, stop, offset in self.segments for frame in range(start, stop)}


class VideoAlignment(Record):
    """The alignment of a fake with its original: `alignments/<video_id>.json`."""

    video_id: str
    original_id: str
    alignment: Alignment
    fingerprint: str


class Crop(Record):
    """Where one stored crop comes from: a row of `crops.parquet`. Its pixels are in a PNG file.

    `box` and `area` (box + margin, clamped to the frame) are in pixels of the frame, `landmarks` in pixels of
    the crop. A fake's faces may have been detected in its original: `confidence` and `boxes_frame_index`, the index of
    the frame in which the face was detected, are then those of the original.
    """

    video_id: str
    frame_index: int
    face_index: int
    boxes_frame_index: int
    time_seconds: float
    confidence: float
    box: Box
    area: Area
    landmarks: Landmarks


class VideoCrops(Record):
    """The crops of one video: `crops/<video_id>/crops.json`, written after the last PNG."""

    video_id: str
    boxes_from: str  # video_id of the video whose boxes were used
    margin: float
    alignment: Alignment = Alignment()  # with that video, if it is the original
    crops: tuple[Crop, ...]
    pixels: str = ""  # hash of all crops
    frames_only_here: int  # frames that correspond to none of the original, skipped
    frames_only_in_original: int  # examined frames of the original that this video does not show
    fingerprint: str


class Mask(Record):
    """The summary of one SSIM mask, which shows where a fake's crop differs from its original's.

    `ssim`: mean of the SSIM map; `changed_share`: share of pixels of at least `CHANGED_LEVEL`, 0-1.
    """

    frame_index: int
    face_index: int
    ssim: float
    changed_share: float


class VideoMasks(Record):
    """The masks of one fake: `masks/<video_id>/masks.json`, written after the last PNG."""

    video_id: str
    original_id: str
    masks: tuple[Mask, ...]
    pixels: str = ""  # hash of all masks
    crops_left_out: int  # missing in the original, or too small to compare
    fingerprint: str


class FaceExample(NamedTuple):
    """One face with its mask, landmarks and label: the input and the output of the augmentation.

    `crop`: (H, W, 3) uint8 RGB; `mask`: (H, W) uint8, all 0 for a real face and for a fake whose mask is
    unknown; `landmarks`: (5, 2) float32 x, y in pixels of the crop; `label`: `REAL` or `FAKE`.
    """

    crop: "np.ndarray"
    mask: "np.ndarray"
    landmarks: "np.ndarray"
    label: int
