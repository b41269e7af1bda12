"""The run folder: all its paths, reads and atomic writes.

Stages meet only as files in one run folder. A file is written under a temporary name in `.partial/` and then renamed,
so an existing file is always complete. Source videos are never written to.
"""

import csv
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock, Timeout

from dfdc_lib.records import (
    FaceKey,
    Outcome,
    Record,
    Video,
    VideoAlignment,
    VideoCrops,
    VideoFaces,
    VideoInfo,
    VideoMasks,
    require_file_name,
)

if TYPE_CHECKING:  # imported where used: the command line reads run folders, but neither tables nor images
    import numpy as np
    import pandas as pd

PROJECT = Path(__file__).resolve().parents[1]  # the checkout; holds notebooks/ and outputs/
INFO_COLUMNS = tuple(name for name in VideoInfo.model_fields if name != "fingerprint")  # in videos.csv
LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
LANDMARK_COLUMNS = [f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"]  # of crops.parquet, in crop pixels
WHOLE_NUMBER_COLUMNS = ("label", "part", "height", "width", "frame_count", "rotation_degrees")
VIDEO_FOLDERS = {
    "info",
    "alignments",
    "boxes",
    "crops",
    "masks",
    "hashes",
}  # hold one file or folder per video, named by its id
# Number of the notebook that makes a file, by the first part of its name; "00" makes the others.
MAKERS = {"alignments": "01", "boxes": "01", "crops": "02", "masks": "03", "folds": "04", "leaks": "04", "hashes": "04"}
MAKERS |= {"models": "06", "scores": "07", "submission": "07"}
RecordType = TypeVar("RecordType", bound=Record)


def project_path(path: str | Path) -> Path:
    """Return an absolute path; a relative one starts at the project folder, wherever the notebook runs."""
    return (PROJECT / Path(path).expanduser()).resolve()


@contextmanager
def atomic_path(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path and rename it to `path` if the block succeeds; else delete it and leave `path` as it was.

    Args:
        path: the file to write; its folder is created.
        folder: where the temporary file lies, on the same file system; None = beside `path`.
    """
    folder = folder or path.parent
    partial = folder / f".{uuid.uuid4().hex}.partial"
    for parent in (folder, path.parent):
        parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class Run:
    """A run folder; see `open_run`. Reading a missing file raises FileNotFoundError, which names its notebook."""

    root: Path

    # Paths. Ids and names of models that would lead out of their folder raise ValueError.
    def _path(self, folder: str, name: str, suffix: str = "") -> Path:
        return self.root / folder / f"{require_file_name(name)}{suffix}"

    def info_path(self, video_id: str) -> Path:
        return self._path("info", video_id, ".json")

    def alignment_path(self, video_id: str) -> Path:
        return self.root / "alignments" / f"{video_id}.json"

    def boxes_path(self, video_id: str) -> Path:
        return self._path("boxes", video_id, ".json")

    def crops_record_path(self, video_id: str) -> Path:
        return self._path("crops", video_id) / "crops.json"

    def crop_path(self, key: FaceKey) -> Path:
        return self._path("crops", key.video_id) / f"{key.name}.png"

    def masks_record_path(self, video_id: str) -> Path:
        return self._path("masks", video_id) / "masks.json"

    def mask_path(self, key: FaceKey) -> Path:
        return self._path("masks", key.video_id) / f"{key.name}.png"

    def model_folder(self, model: str) -> Path:
        return self._path("models", model)

    def scores_record_path(self, model: str, video_id: str) -> Path:
        return self._path("scores", model) / f"{require_file_name(video_id)}.json"

    @property
    def scoring_path(self) -> Path:
        return self.root / "scores" / "scoring.json"

    def hash_path(self, video_id: str) -> Path:
        return self._path("hashes", video_id, ".json")

    def status_path(self, stage: str) -> Path:
        return self.root / "status" / f"{stage}.csv"

    def calibration_path(self, model: str) -> Path:
        return self._path("calibrations", model, ".json")

    def metrics_path(self, stage: str) -> Path:
        return self.root / "metrics" / f"{stage}.json"

    def notebook_path(self, stage: str) -> Path:
        return self.root / "notebooks" / f"{stage}.ipynb"

    # Atomic writes
    def write_bytes(self, path: Path, content: bytes) -> None:
        """Write a file of the run folder atomically; create its folder if needed."""
        with atomic_path(path, self.root / ".partial") as partial:
            partial.write_bytes(content)

    def write_record(self, path: Path, record: Record) -> None:
        self.write_bytes(path, record.model_dump_json(indent=1).encode())

    def write_json(self, path: Path, content: dict) -> None:
        self.write_bytes(path, json.dumps(content, indent=1).encode())

    def write_table(self, name: str, table: "pd.DataFrame") -> None:
        """Write a table into the run folder as CSV or Parquet, depending on the suffix of `name`."""
        self.write_table_in_parts(name, [table])

    def write_table_in_parts(self, name: str, parts: "Iterable[pd.DataFrame]") -> None:
        """Write a table that need not fit into memory; `parts` are its rows, in order, each with the same columns."""
        with atomic_path(self.root / name, self.root / ".partial") as partial, ExitStack() as stack:
            if name.endswith(".parquet"):
                import pyarrow as pa
                from pyarrow.parquet import ParquetWriter

                writer = None
                for part in parts:
                    rows = pa.Table.from_pandas(part, preserve_index=False)
                    writer = writer or stack.enter_context(ParquetWriter(partial, rows.schema))
                    writer.write_table(rows)
            else:
                file = stack.enter_context(partial.open("w", encoding="utf-8", newline=""))
                for number, part in enumerate(parts):
                    part.to_csv(file, index=False, header=number == 0)

    def write_image(self, path: Path, image: "np.ndarray") -> None:
        """Write an (H, W, 3) RGB or (H, W) gray uint8 image as PNG or JPEG, depending on the suffix."""
        import cv2

        stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
        encoded, content = cv2.imencode(path.suffix, stored)
        if not encoded:
            raise ValueError(f"OpenCV could not encode an image of shape {image.shape}, dtype {image.dtype} for {path}")
        self.write_bytes(path, content.tobytes())

    def write_videos(self, videos: Iterable[Video], infos: Mapping[str, VideoInfo]) -> None:
        """Write videos.csv: a row per video, with the columns of its header (empty if it is unreadable).

        `infos`: video_id -> header, of the readable videos.
        """
        import pandas as pd

        rows = []
        for video in videos:
            info = infos[video.video_id].model_dump(exclude={"fingerprint"}) if video.video_id in infos else {}
            rows.append(video.model_dump() | {"identities": json.dumps(video.identities)} | info)
        table = pd.DataFrame(rows, columns=[*Video.model_fields, *INFO_COLUMNS])
        self.write_table("videos.csv", table.astype(dict.fromkeys(WHOLE_NUMBER_COLUMNS, "Int64")))

    def write_metrics(self, stage: str, metrics: dict[str, int | float | str | None]) -> None:
        """Write a notebook's metrics (name -> value) to `metrics/<stage>.json`, which the report shows."""
        self.write_json(self.metrics_path(stage), metrics)

    # Reads
    def read_table(self, name: str) -> "pd.DataFrame":
        import pandas as pd

        path = self._existing(self.root / name)
        if name.endswith(".parquet"):
            return pd.read_parquet(path)
        # Video ids such as 007 and NA stay text; only empty cells are missing.
        return pd.read_csv(path, dtype={"video_id": str, "original_id": str}, keep_default_na=False, na_values=[""])

    def read_record(self, path: Path, kind: type[RecordType]) -> RecordType:
        return kind.model_validate_json(self._existing(path).read_bytes())

    def read_image(self, path: Path) -> "np.ndarray":
        """Return a PNG or JPEG as (H, W, 3) RGB uint8, or (H, W) uint8 if it is gray; ValueError if it is no image."""
        import cv2

        image = cv2.imread(str(self._existing(path)), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise ValueError(f"{path} is not an image: delete it and {_remedy(self._maker(path))}")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image

    def read_videos(self) -> list[Video]:
        rows = [_given(row, Video.model_fields) for row in self._read_rows("videos.csv")]
        return [Video.model_validate(row | {"identities": json.loads(row["identities"])}) for row in rows]

    def read_infos(self) -> dict[str, VideoInfo]:
        """Return the headers of all readable videos, by video_id."""
        rows = [row for row in self._read_rows("videos.csv") if row["height"]]
        return {row["video_id"]: VideoInfo.model_validate(_given(row, INFO_COLUMNS)) for row in rows}

    def read_alignment(self, video_id: str) -> VideoAlignment:
        return self.read_record(self.alignment_path(video_id), VideoAlignment)

    def read_faces(self, video_id: str) -> VideoFaces:
        return self.read_record(self.boxes_path(video_id), VideoFaces)

    def read_crops(self, video_id: str) -> VideoCrops:
        """Return one video's crops; `read_table("crops.parquet")` returns those of all videos."""
        return self.read_record(self.crops_record_path(video_id), VideoCrops)

    def read_masks(self, video_id: str) -> VideoMasks:
        return self.read_record(self.masks_record_path(video_id), VideoMasks)

    def read_status(self, stage: str) -> list[Outcome]:
        """Return what a stage did with each video; [] if it has not run yet."""
        if not self.status_path(stage).exists():
            return []
        return [Outcome.model_validate(row) for row in self._read_rows(f"status/{stage}.csv")]

    def read_outcomes(self, stage: str) -> dict[str, Outcome]:
        """Return a stage's outcome for each video, by video_id; FileNotFoundError if any video of the run has none."""
        outcomes = {outcome.video_id: outcome for outcome in self.read_status(stage)}
        missing = [video.video_id for video in self.read_videos() if video.video_id not in outcomes]
        if missing:
            videos = f"{len(missing)} videos ({missing[0]}, ...)"
            raise FileNotFoundError(f"{videos} have not been through {stage}: {_remedy(stage[:2])}")
        return outcomes

    def _read_rows(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a CSV with every cell as text: a video may be called 007 or NA."""
        with self._existing(self.root / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file, restval=""))

    def _existing(self, path: Path) -> Path:
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: {_remedy(self._maker(path))}")
        return path

    def _maker(self, path: Path) -> str:
        """Return the number of the notebook that makes a file of the run folder."""
        return MAKERS.get(path.relative_to(self.root).parts[0].split(".")[0], "00")

    # Housekeeping
    @contextmanager
    def lock(self, name: str, owner: str) -> Iterator[None]:
        """Hold the lock `name` of this run folder until the with-block ends or the process is killed.

        If another process holds it, raise RuntimeError at once; its message starts with `owner`, who wanted the lock.
        """
        try:
            with FileLock(self.root / f".{name}.lock", blocking=False):
                yield
        except Timeout:
            message = f"{owner}: another process works in {self.root}; wait, or choose another run folder"
            raise RuntimeError(message) from None

    def remove_partial(self) -> None:
        """Delete the temporary files of killed processes."""
        shutil.rmtree(self.root / ".partial", ignore_errors=True)


def open_run(path: str | Path) -> Run:
    """Open or create a run folder; a relative path starts at the project folder. NotADirectoryError if it is a file."""
    root = project_path(path)
    if root.is_file():
        raise NotADirectoryError(f"the run folder {root} is a file: choose a folder")
    root.mkdir(parents=True, exist_ok=True)
    return Run(root)


def _given(row: Mapping[str, str], columns: Iterable[str]) -> dict[str, str]:
    """Return the named cells of a row that are not empty: for the others, fields have defaults."""
    return {name: row[name] for name in columns if row.get(name)}


def _remedy(number: str) -> str:
    return f"run notebook {number} first, or `dfdc run --to {number}` with the same run folder"
