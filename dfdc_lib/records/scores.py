"""Records of scores: of faces, of videos, and of a run."""

from typing import Literal, NamedTuple

from dfdc_lib.records.base import Box, Record
from dfdc_lib.records.models import ModelCard


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


class VideoScores(Record):
    """One model's scores of one video: `scores/<model>/<video_id>.json`."""

    video_id: str
    faces: tuple[FaceScore, ...]
    fingerprint: str


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


class Resampling(NamedTuple):
    """How scores are clipped for the log loss, and how the bootstrap draws its intervals.

    Scores are limited to clip ... 1 - clip; `draws` is the number of bootstrap draws.
    """

    clip: float = 1e-4
    draws: int = 2000
    seed: int = 0
