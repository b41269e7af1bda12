"""The things that pass between modules and stages, as frozen records.

Every record is checked when it is made (pydantic), so a wrong shape is an error where it arises and not three stages later. The same
records are what the run folder's JSON files hold: `record.model_dump_json()` writes one, `Record.model_validate_json()` reads it back.
Coordinates are pixels of the full-resolution, upright frame; points are (x, y), sizes (height, width).
"""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Box = tuple[Coordinate, Coordinate, Coordinate, Coordinate]  # x0, y0, x1, y1; x1 and y1 exclusive
Point = tuple[Coordinate, Coordinate]  # x, y
Landmarks = tuple[Point, Point, Point, Point, Point]  # left eye, right eye, nose, left mouth corner, right mouth corner

BOX_COLUMNS = ["box_x0", "box_y0", "box_x1", "box_y1"]  # a box in a table

REAL, FAKE = 0, 1  # the two labels; None where nothing is known
BUILT_IN_SAMPLE = "built-in sample"  # as run.json and model cards name it

# What a stage did with a video: made something · found nothing to make · had no need to · failed · a stage before it failed.
Status = Literal["done", "nothing", "not needed", "failed", "failed before"]


class FaceKey(NamedTuple):
    """Which face: its video, its frame and its place among the faces of that frame."""

    video_id: str
    frame_index: int
    face_index: int

    @property
    def name(self) -> str:
        """File name of what belongs to this face, without its ending: `00030_0`."""
        return f"{self.frame_index:05d}_{self.face_index}"


class FaceExample(NamedTuple):
    """One face as the augmentation sees it."""

    crop: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) uint8 SSIM mask; all 0 for an untouched face
    landmarks: np.ndarray  # (5, 2) float32 x, y in pixels of the crop


class Resampling(NamedTuple):
    """How log losses are clipped and how intervals are drawn."""

    clip: float = 1e-4  # scores count as at least this and at most 1 - this
    draws: int = 2000  # of the bootstrap
    seed: int = 0


class Record(BaseModel):
    """Frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Video(Record):
    """One file of a data set, and what the data set says of it.

    `identities` names the people or source videos that appear in it (an original names itself, a fake its original and, where the
    name tells, its donor): two videos that share a name must not be in two folds. A fake whose original is absent has no `original_id`.
    """

    video_id: str  # unique in a run, fit for a file name
    path: Path
    label: int | None = None
    original_id: str | None = None  # of a fake: the video_id of its original
    identities: tuple[str, ...] = ()
    method: str = ""  # how a fake was made, where the data set tells
    compression: str = ""  # FaceForensics++: c0, c23, c40
    part: int | None = None  # DFDC: N of dfdc_train_part_N
    split: str = ""  # "train" or "test", where the data set fixes it


class VideoInfo(Record):
    """What a file's header says: the content of `info/<video_id>.json`. Sizes are those of the upright frame."""

    height: int
    width: int
    fps: float
    frame_count: int  # as the header declares; 0 where it does not
    duration_seconds: float  # 0 where the header does not say
    rotation_degrees: int  # clockwise turn a player applies: 0, 90, 180 or 270
    fingerprint: str = ""


class Face(Record):
    """One face in one frame."""

    box: Box
    landmarks: Landmarks
    confidence: Annotated[float, Field(ge=0, le=1)]  # the detector's probability


class FrameFaces(Record):
    """All faces of one frame; none is an empty tuple."""

    frame_index: Annotated[int, Field(ge=0)]  # decoded frames from 0
    time_seconds: float
    faces: tuple[Face, ...] = ()


class DetectorSettings(Record):
    """What decides which faces MTCNN finds."""

    thresholds: tuple[float, float, float] = (0.85, 0.95, 0.95)  # P-, R-, O-Net; the winner's, for training data
    min_face_pixels: int = 20  # smallest face, in pixels of the resized frame
    resize: Literal["slides", "half"] = (
        "slides"  # before detection: the slides' rule, or always by half as in the winner's code
    )
    frame_stride: Annotated[int, Field(ge=1)] = 10  # every n-th frame; the winner cropped every 10th


class VideoFaces(Record):
    """The faces of one video and how they were found: the content of `boxes/<video_id>.json`."""

    video_id: str
    height: int
    width: int
    fps: float
    frame_count: int  # frames that decoded
    missing_frame_count: int  # frames that the header declares and the file does not have
    detector_scale: float  # frames were resized by this before detection; the boxes are already scaled back
    settings: DetectorSettings
    frames: tuple[FrameFaces, ...]  # every examined frame, also those without a face
    fingerprint: str  # of the file, the settings and the library version that made this


class Crop(Record):
    """One face cut out of one frame: a row of `crops.parquet`."""

    video_id: str
    frame_index: int
    face_index: int
    time_seconds: float
    confidence: float  # of the face, in the video that was searched
    box: Box  # the face, in this video's frame
    area: tuple[int, int, int, int]  # the pixels that were cut: box + margin, clamped to the frame
    landmarks: Landmarks  # in crop pixels


class VideoCrops(Record):
    """The crops of one video: the content of `crops/<video_id>/crops.json`, written after the last PNG."""

    video_id: str
    boxes_from: str  # video_id of the video whose boxes were used
    margin: float
    alignment: tuple[float, float, float, float] = (
        1,
        1,
        0,
        0,
    )  # scale x, y and offset x, y from that video's frame to this one's
    crops: tuple[Crop, ...]
    frames_only_here: int  # examined frames that only this video has, left out
    frames_only_in_original: int  # examined frames that only the original has, left out
    fingerprint: str


class Mask(Record):
    """One SSIM mask: where a fake's crop departs from its original's."""

    frame_index: int
    face_index: int
    ssim: float  # mean of the SSIM map
    changed_share: float  # share of pixels whose mask is at least CHANGED_LEVEL


class VideoMasks(Record):
    """The masks of one fake: the content of `masks/<video_id>/masks.json`, written after the last PNG."""

    video_id: str
    original_id: str
    masks: tuple[Mask, ...]
    crops_left_out: int  # the original lacks the frame, or the crop is too small to compare
    fingerprint: str


class VideoHashes(Record):
    """What a video looks like, in a few numbers: the content of `hashes/<video_id>.json`."""

    video_id: str
    hashes: tuple[int, ...]  # 64-bit perceptual hash of each examined frame
    fingerprint: str


class Recipe(Record):
    """How crops are made and fed to a model. It travels with the weights: a model never sees crops made another way."""

    detector: DetectorSettings = DetectorSettings()
    margin: float = 0.2
    size: int  # pixels: the crop's longer side is brought to it, then the crop is centred on a black square
    interpolation_down: Literal["area", "linear"] = "area"
    interpolation_up: Literal["cubic", "linear"] = "cubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # RGB of ImageNet, of pixels in 0–1
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class Calibration(Record):
    """How a model's video scores become probabilities: the content of `models/<name>/calibration.json`, written by notebook 08."""

    temperature: Annotated[float, Field(gt=0)]  # that divides the logit of the mean score
    clip: float  # of the scores, before
    videos: int  # held-out and labelled, that it was fitted on
    fakes: int
    log_loss_before: float
    log_loss_after: float  # of each half of the originals, under the temperature of the other half


class ModelCard(Record):
    """What a checkpoint is: the content of `models/<name>/model.json` beside its weights."""

    name: str
    encoder: str  # of timm
    noise: bool = False  # the image passes SRM noise filters first
    recipe: Recipe
    training: dict[str, int | float | str | bool] = {}
    metrics: dict[str, float] = {}  # on the test fold
    data: str = ""  # what it was trained on
    run: str = ""  # name of the run folder it was trained in: the folds are that run's
    train_folds: tuple[int, ...] = ()
    validation_fold: int | None = None  # chose the checkpoint
    test_fold: int | None = None  # chose nothing
    data_fingerprint: str = ""
    code_fingerprint: str = ""  # of the code that trained it
    commit: str = ""
    kit_version: str = ""
    calibration: Calibration | None = None  # read from a file of its own: it comes after the scores, and changes none


class FaceScore(Record):
    """What a model makes of one face: a row of `scores/<model>.parquet`."""

    frame_index: int
    time_seconds: float
    face_index: int
    track: int  # the person, within this video
    box: Box
    confidence: float  # the detector's
    sharpness: float  # of the face without margin, see quality.sharpness
    turn: float  # to the side, see quality.turn
    logit: float
    score: float  # sigmoid(logit)


class VideoScores(Record):
    """One model's scores of one video: the content of `scores/<model>/<video_id>.json`."""

    video_id: str
    faces: tuple[FaceScore, ...]
    fingerprint: str


class Person(Record):
    """What the frames of one person in one video say."""

    track: int
    frames: int  # examined ones that show the person
    models: int  # that looked at a frame, median
    first_seconds: float
    last_seconds: float
    mean: float  # the video score, by the mean of the frames
    confident: float  # the same frames, by the confident strategy
    low: float  # 95 % interval of the mean
    high: float
    side_pixels: float  # of the face's shorter side, median
    sharpness: float  # median
    turn: float  # median
    forged_spans: tuple[tuple[float, float], ...]  # seconds: where several frames in a row look forged
    longest_forged: int  # so many frames in a row look forged at most
    doubts: tuple[str, ...]  # reasons for not judging this person


class Trial(Record):
    """What a changed version of the video, or fewer of its frames, scores."""

    title: str
    changed: bool  # False for what others are compared with: all examined frames, the excerpt as it is
    frames: int  # that show the judged person
    score: float | None  # None where the person was not found again
    low: float | None
    high: float | None
    flips: bool  # the answer is another one than that of what was changed; of the excerpt as it is: than that of the whole video


Answer = Literal["fake", "real", "inconclusive"]


class Inspection(Record):
    """The examination of one video: the content of `inspection.json`."""

    video: str  # name of the file
    models: tuple[str, ...]
    people: tuple[Person, ...]  # the most suspicious first
    excerpt_seconds: tuple[float, float]  # from … to, of which the changed versions were made
    trials: tuple[Trial, ...]
    answer: Answer
    doubts: tuple[str, ...]  # why inconclusive; empty otherwise
    score: float  # of the most suspicious person that can be judged, or of the most suspicious one
    judged_track: int
    probability: float | None  # the calibrated score, where the model has a calibration
    fingerprint: str


class Outcome(Record):
    """What one stage did with one video; a status file has one for every video of the run."""

    video_id: str
    status: Status
    count: int = 0  # of what the stage makes: faces, crops, masks
    note: str = ""  # the reason, where there is one
    fingerprint: str = ""  # of what was made: a later stage depends on it


def box_of(row: Mapping[Hashable, Any]) -> Box:
    """Give the box of a table's row."""
    return row["box_x0"], row["box_y0"], row["box_x1"], row["box_y1"]
