"""The records that pass between modules and stages; import them from this package, not from its modules.

Every record is frozen and validated when it is created (pydantic), so a wrong shape is an error where it arises. The
run folder's JSON files hold the same records. Coordinates are pixels of the full-resolution, upright frame; points are
(x, y), sizes (height, width).
"""

from dfdc_lib.records.base import (
    BOX_COLUMNS,
    BUILT_IN_SAMPLE,
    FAKE,
    KEY_COLUMNS,
    REAL,
    Area,
    Box,
    FaceKey,
    FileName,
    Landmarks,
    Point,
    Record,
    box_of,
    require_file_name,
)
from dfdc_lib.records.faces import (
    Alignment,
    Crop,
    DetectorSettings,
    Face,
    FaceExample,
    FrameFaces,
    Mask,
    Segment,
    Transform,
    VideoAlignment,
    VideoCrops,
    VideoFaces,
    VideoMasks,
)
from dfdc_lib.records.inspection import Answer, Inspection, Person, Trial
from dfdc_lib.records.models import Calibration, FloatPrecision, ModelCard, Precision, Quantization, Recipe, Seen
from dfdc_lib.records.scores import FaceScore, Resampling, ScoredModel, Scoring, VideoScores
from dfdc_lib.records.videos import Outcome, Status, Video, VideoHashes, VideoInfo
