"""The records that pass between modules and stages.

Every record is frozen and validated when it is created (pydantic), so a wrong shape is an error where it arises. The
run folder's JSON files hold the same records. Coordinates are pixels of the full-resolution, upright frame; points are
(x, y), sizes (height, width).
"""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np

Box = tuple[float, float, float, float]  # x0, y0, x1, y1; x1 and y1 exclusive
Point = tuple[float, float]  # x, y
Landmarks = tuple[Point, Point, Point, Point, Point]  # eyes, nose, mouth corners; left first


def require_file_name(name: str) -> str:
    """Return `name` unchanged; raise ValueError if it is empty, `.` or `..`, or contains a slash, backslash or NUL."""
    if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
        raise ValueError(f"expected the name of one file or folder, got {name!r}: choose another name")
    return name


FileName = Annotated[str, AfterValidator(require_file_name)]
Area = tuple[int, int, int, int]  # x0, y0, x1, y1 in whole pixels; x1 and y1 exclusive

BOX_COLUMNS = ["box_x0", "box_y0", "box_x1", "box_y1"]  # of a box in a table

REAL, FAKE = 0, 1  # labels; None = unknown
BUILT_IN_SAMPLE = "built-in sample"  # as run.json and model cards name it

# What a stage did with a video: made results, had no results to make, had no work, failed, or an earlier stage failed.
Status = Literal["done", "nothing", "not needed", "failed", "failed before"]


class FaceKey(NamedTuple):
    """The key of one face: its video, its frame and its index in that frame."""

    video_id: str
    frame_index: int
    face_index: int

    @property
    def name(self) -> str:
        """Name of the face's PNG files, without suffix: `00030_0` is face 0 of frame 30."""
        return f"{self.frame_index:05d}_{self.face_index}"


KEY_COLUMNS = list(FaceKey._fields)  # of a FaceKey in tables


class FaceExample(NamedTuple):
    """One face with its mask, landmarks and label: the input and the output of the augmentation.

    `crop`: (H, W, 3) uint8 RGB; `mask`: (H, W) uint8, all 0 if real or unknown; `landmarks`: (5, 2) float32 in crop
    pixels; `label`: 0 or 1.
    """

    crop: "np.ndarray"  # (H, W, 3) uint8 RGB
    mask: "np.ndarray"  # (H, W) uint8 SSIM mask; all 0 for a real face, and for a fake whose mask is unknown
    landmarks: "np.ndarray"  # (5, 2) float32 x, y in pixels of the crop
    label: int  # REAL or FAKE


class Resampling(NamedTuple):
    """How scores are clipped for the log loss, and how the bootstrap draws its intervals.

    Scores are limited to clip ... 1 - clip; `draws` is the number of bootstrap draws.
    """

    clip: float = 1e-4  # scores count as at least this and at most 1 - this
    draws: int = 2000  # of the bootstrap
    seed: int = 0


class Record(BaseModel):
    """A frozen record that refuses unknown fields, and numbers that JSON lacks (NaN, infinity)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Video(Record):
    """One file of a data set and its description.

    `identities` names the people or source videos that appear in it: an original names itself; a fake names its target
    (whose video it is) first, then its donor if the file name contains it. Videos that share a name must be in one
    fold.
    """

    video_id: FileName  # unique in a run
    path: Path
    dataset: str = ""  # kind of the data set in which `identities` have their meaning; "" = a plain folder or list
    label: int | None = None
    original_id: str | None = None  # of a fake whose original is in the data set
    identities: tuple[str, ...] = ()
    method: str = ""  # how a fake was made, if known
    compression: str = ""  # FaceForensics++: c0, c23, c40
    part: int | None = None  # DFDC: N of dfdc_train_part_N
    split: str = ""  # "train", "validation" or "test", if the data set fixes it


class VideoInfo(Record):
    """A video file's header: `info/<video_id>.json`. Sizes are those of the upright frame with square pixels."""

    height: int
    width: int
    fps: float
    frame_count: int  # as declared, without those that an edit list hides; 0 = not declared
    duration_seconds: float  # 0 = not declared
    rotation_degrees: int  # clockwise rotation that players apply: 0, 90, 180 or 270
    content: str = ""  # `staleness.file_fingerprint`: equal for equal files, whatever their names
    fingerprint: str = ""


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


class DetectorSettings(Record):
    """The settings of the face detector, MTCNN, and which frames it examines.

    `thresholds`: those of MTCNN's P-, R- and O-Net; `min_face_pixels`: in the resized frame; every `frame_stride`-th
    frame is examined.
    """

    thresholds: tuple[float, float, float] = (0.85, 0.95, 0.95)  # P-, R-, O-Net; the winner's, for training data
    min_face_pixels: int = 20  # smallest face, in pixels of the resized frame
    resize: Literal["slides", "winner"] = "slides"  # before detection: the slides' rule, or halved as by the winner
    frame_stride: Annotated[int, Field(ge=1)] = 10  # every n-th frame; the winner cropped every 10th


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

    `segments`: runs of corresponding frames; `similarity`: median correlation of corresponding frames; `problem`: why
    the fake does not fit the original, "" if it does.
    """

    transform: Transform = Transform()
    segments: tuple[Segment, ...] = ()  # the other frames of the fake correspond to none of the original
    frame_count: int = 0  # of the fake, that decoded
    similarity: float = 1.0  # correlation of the frames that correspond, median
    problem: str = ""  # why the two do not fit; "" = they do

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

    `box` and `area` (box + margin) are in pixels of the frame, `landmarks` in pixels of the crop. `boxes_frame_index`:
    index of the frame in which the face was detected; a fake's faces may have been detected in its original.
    """

    video_id: str
    frame_index: int
    face_index: int
    boxes_frame_index: int  # frame in which the face was found: of this video, or the corresponding one of its original
    time_seconds: float
    confidence: float  # of the detection, which may be in the original
    box: Box  # the face, in this video's frame
    area: tuple[int, int, int, int]  # box + margin, clamped to the frame
    landmarks: Landmarks  # in crop pixels


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

    `ssim`: mean of the SSIM map; `changed_share`: share of changed pixels, 0-1.
    """

    frame_index: int
    face_index: int
    ssim: float  # mean of the SSIM map
    changed_share: float  # share of pixels of at least CHANGED_LEVEL


class VideoMasks(Record):
    """The masks of one fake: `masks/<video_id>/masks.json`, written after the last PNG."""

    video_id: str
    original_id: str
    masks: tuple[Mask, ...]
    pixels: str = ""  # hash of all masks
    crops_left_out: int  # missing in the original, or too small to compare
    fingerprint: str


class VideoHashes(Record):
    """Perceptual hashes of a few frames of one video, to find videos that look alike: `hashes/<video_id>.json`."""

    video_id: str
    hashes: tuple[int, ...]  # 64 bits each
    fingerprint: str


FloatPrecision = Literal["float32", "bfloat16", "float16"]  # number format of a network's activations
Precision = Literal[FloatPrecision, "int8"]  # int8: a quantised network, see `classifier/quantize.py`


class Recipe(Record):
    """How crops are made and fed to a model. It is stored with the weights; a model never sees other crops."""

    detector: DetectorSettings = DetectorSettings()
    margin: float = 0.2
    edges: Literal["nearest", "winner"] = "nearest"  # of crops, in whole pixels; see crops.crop_area
    frames: Literal["shown", "opencv"] = "shown"  # as a player shows them, or as OpenCV reads them (winner)
    size: int  # pixels: the longer side is resized to it, then padded with black to a square
    interpolation_down: Literal["area", "linear"] = "area"
    interpolation_up: Literal["cubic", "linear"] = "cubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # ImageNet, RGB, of pixels in 0-1
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    precision: Precision = "float32"  # of scores: in validation, test and prediction, on every device


class Seen(Record):
    """The videos used to train a model, or those used to choose its checkpoint; stored in the model's `seen.csv`."""

    names: tuple[str, ...] = ()  # of identities, with their data set: "ffpp/youtube/183"; or of parts: "dfdc/part 12"
    contents: tuple[str, ...] = ()  # `VideoInfo.content` of every video
    shared: tuple[str, ...] = ()  # names that the folds did not keep out of the test videos; not in `names`
    tested: tuple[str, ...] = ()  # `VideoInfo.content` of the test videos, if there are shared names


class Calibration(Record):
    """How a model's video scores become probabilities: `calibrations/<model>.json`, written by notebook 08.

    The video score (mean of the frame scores) is limited to the range from `clip` to `1 - clip`, then its logit is
    divided by `temperature`. `videos`: number of videos in the fit; `fakes`: number of fakes among them;
    `log_loss_after` is cross-validated.
    """

    temperature: Annotated[float, Field(gt=0)]  # divides the logit of the mean score
    clip: float  # of the scores before that
    videos: int  # labelled videos that it was fitted on
    role: str = "unknown"  # of these videos in the training of the model: "unseen"; "unknown" in files of kit 0.1
    fakes: int
    log_loss_before: float
    log_loss_after: float  # cross-validated over two halves of the originals


class ModelCard(Record):
    """The description of a checkpoint: `models/<name>/model.json`, beside its weights."""

    name: str
    encoder: str  # timm name
    noise: bool = False  # SRM noise filters come first
    recipe: Recipe
    training: dict[str, int | float | str | bool] = {}
    metrics: dict[str, float] = {}  # validation, and test if measured
    data: str = ""  # the data set it was trained on
    run: str = ""  # name of the run folder it was trained in
    train_folds: tuple[int, ...] = ()
    validation_fold: int | None = None  # used to choose the checkpoint
    test_fold: int | None = None  # not used
    trained_on: Seen | None = None  # in a file of its own; None = unknown
    chosen_by: Seen | None = None  # videos that chose the checkpoint; likewise
    data_fingerprint: str = ""
    code_fingerprint: str = ""  # of the code that trained it
    commit: str = ""
    kit_version: str = ""
    calibration: Calibration | None = None  # stored in a file of its own


class ScoredModel(Record):
    """A model that scored a run in notebook 07, as recorded in `scores/scoring.json`."""

    card: ModelCard  # without metrics, calibration, and what the model was trained on and chosen by
    fingerprint: str  # of its weights, encoder and recipe
    shared_names: int = 0  # identities that the model was trained on and that its test videos show too
    table: str  # fingerprint of scores/<model>.parquet


class Scoring(Record):
    """How a run was scored: `scores/scoring.json`, written by notebook 07 after all score tables."""

    models: dict[str, ScoredModel]  # by the name of the score table
    videos: Literal["held-out", "all"]
    frames: int  # per video, evenly spaced, at most
    strategy: str  # of submission.csv


class FaceScore(Record):
    """A model's score of one face: a row of `scores/<model>.parquet`."""

    frame_index: int
    time_seconds: float
    face_index: int
    track: int  # number of the person within the video
    box: Box
    confidence: float  # of the detector
    sharpness: float  # of the face without margin; see quality.sharpness
    turn: float  # to the side; see quality.turn
    logit: float
    score: float  # sigmoid(logit)


class Quantization(Record):
    """A model's int8 network, compared with its float32 network: `int8.json` beside the converted networks.

    Written by `dfdc quantize`. `largest_difference` and `mean_difference` are those of the scores of single crops.
    """

    network: str  # fingerprint of the int8 network
    run: str  # path of the run folder whose crops were used
    calibration_crops: int
    crops: int  # compared; not used in the calibration
    videos: int  # that these crops show
    float32_auc: dict[str, float]  # "frame AUC", and "video AUC" if there are enough videos
    int8_auc: dict[str, float]  # likewise
    largest_difference: float
    mean_difference: float


class VideoScores(Record):
    """One model's scores of one video: `scores/<model>/<video_id>.json`."""

    video_id: str
    faces: tuple[FaceScore, ...]
    fingerprint: str


class Person(Record):
    """One person in one video, summarised over frames.

    `mean`: of the frame scores, with the 95 % interval `low` to `high`; `confident`: the frame scores combined by the
    confident strategy; `forged_spans`: (start, end) in seconds of runs that look forged; `doubts`: reasons not to judge
    this person.
    """

    number: int  # from 1; the most suspicious person is number 1
    track: int
    frames: int  # examined frames that show the person
    models: int  # per frame, median
    first_seconds: float
    last_seconds: float
    mean: float  # of the frame scores
    confident: float  # the confident strategy of the frame scores
    low: float | None  # interval of the mean, see verdict.mean_interval; None for a single frame
    high: float | None
    side_pixels: float  # of the face's shorter side, median
    sharpness: float  # median
    turn: float  # median
    forged_spans: tuple[tuple[float, float], ...]  # seconds; several forged-looking frames in a row
    longest_forged: int  # most forged-looking frames in a row
    doubts: tuple[str, ...]  # reasons not to judge this person


Answer = Literal["fake", "real", "inconclusive"]


class Trial(Record):
    """The judged person's score in one version of the video: perturbed (e.g. blurred), or with fewer frames.

    `changed`: False for the references, which are all frames or the unchanged excerpt; `frames`: number of frames that
    show the person; `score`: None if the person was not detected.
    """

    title: str
    changed: bool  # False for the references: all frames, or the unchanged excerpt
    frames: int  # that show the judged person
    score: float | None  # None = not tried, because the person was not detected again
    low: float | None
    high: float | None
    answer: Answer | None  # by the rule that judges the whole video


class Inspection(Record):
    """The answer for one video and the evidence for it: `inspection.json`.

    `people`: most suspicious first; `excerpt_seconds`: start and end of the part that was perturbed; `score`: mean
    score of the judged person, whose track is `judged_track`; `doubts`: reasons for "inconclusive".
    """

    video: str  # file name
    models: tuple[str, ...]
    people: tuple[Person, ...]  # most suspicious first
    excerpt_seconds: tuple[float, float]  # start and end of the part that was perturbed
    trials: tuple[Trial, ...]
    answer: Answer
    doubts: tuple[str, ...]  # reasons for "inconclusive"; empty otherwise
    score: float  # of the judged person
    judged_track: int
    probability: float | None  # the calibrated score; None without a calibration
    role: str = "unknown"  # of the video in the training of the models: unseen, unknown, chosen by or trained on
    fingerprint: str


class Outcome(Record):
    """What one stage did with one video; a status file has one row for every video of the run."""

    video_id: str
    status: Status
    count: int = 0  # of results: faces, crops, masks
    note: str = ""  # the reason, if any
    fingerprint: str = ""  # of the results; later stages depend on it


def box_of(row: Mapping[Hashable, Any]) -> Box:
    """Return the box (x0, y0, x1, y1) that a table row holds in its `BOX_COLUMNS`.

    `row`: column -> value, of a table with one row per face.
    """
    return row["box_x0"], row["box_y0"], row["box_x1"], row["box_y1"]
