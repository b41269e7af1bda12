"""Records of the examination of one video."""

from typing import Literal

from dfdc_lib.records.base import Record

Answer = Literal["fake", "real", "inconclusive"]


class Person(Record):
    """One person in one video, summarised over frames.

    `mean`: of the frame scores, with the 95 % interval `low` to `high` (see `verdict.mean_interval`; None for a single
    frame); `confident`: the frame scores combined by the confident strategy; `forged_spans`: (start, end) in seconds of
    several forged-looking frames in a row; `doubts`: reasons not to judge this person.
    """

    number: int  # from 1; the most suspicious person is number 1
    track: int
    frames: int  # examined frames that show the person
    models: int  # per frame, median
    first_seconds: float
    last_seconds: float
    mean: float
    confident: float
    low: float | None
    high: float | None
    side_pixels: float  # of the face's shorter side, median
    sharpness: float  # median
    turn: float  # median
    forged_spans: tuple[tuple[float, float], ...]
    longest_forged: int  # most forged-looking frames in a row
    doubts: tuple[str, ...]


class Trial(Record):
    """The judged person's score in one version of the video: perturbed (e.g. blurred), or with fewer frames.

    `changed`: False for the references, which are all frames or the unchanged excerpt; `frames`: number of frames that
    show the person; `score`: None if the person was not detected again.
    """

    title: str
    changed: bool
    frames: int
    score: float | None
    low: float | None
    high: float | None
    answer: Answer | None  # by the rule that judges the whole video


class Inspection(Record):
    """The answer for one video and the evidence for it: `inspection.json`.

    `people`: most suspicious first; `excerpt_seconds`: start and end of the part that was perturbed; `score`: mean
    score of the judged person, whose track is `judged_track`; `doubts`: reasons for "inconclusive", empty otherwise.
    """

    video: str  # file name
    models: tuple[str, ...]
    people: tuple[Person, ...]
    excerpt_seconds: tuple[float, float]
    trials: tuple[Trial, ...]
    answer: Answer
    doubts: tuple[str, ...]
    score: float
    judged_track: int
    probability: float | None  # the calibrated score; None without a calibration
    role: str = "unknown"  # of the video in the training of the models: unseen, unknown, chosen by or trained on
    fingerprint: str
