"""Records of videos: what is known of a file, and what a stage did with it."""

from pathlib import Path
from typing import Literal

from dfdc_lib.records.base import FileName, Record

# What a stage did with a video: made results, had no results to make, had no work, failed, or an earlier stage failed.
Status = Literal["done", "nothing", "not needed", "failed", "failed before"]


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


class VideoHashes(Record):
    """Perceptual hashes of a few frames of one video, to find videos that look alike: `hashes/<video_id>.json`."""

    video_id: str
    hashes: tuple[int, ...]  # 64 bits each
    fingerprint: str


class Outcome(Record):
    """What one stage did with one video; a status file has one row for every video of the run."""

    video_id: str
    status: Status
    count: int = 0  # of results: faces, crops, masks
    note: str = ""  # the reason, if any
    fingerprint: str = ""  # of the results; later stages depend on it
