"""The run folder: every path in it, every read, every atomic write.

Stages meet only as files in one run folder (layout: DESIGN in the README). Writing goes to a temporary file in `.partial/` and is then
renamed, so a file that is there is whole, whatever was killed when. Source videos are never written to.
"""

import io
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from dfdc_lib.records import FaceKey, Outcome, Record, Video, VideoCrops, VideoFaces, VideoInfo, VideoMasks

PROJECT = Path(__file__).resolve().parents[1]  # the checkout: notebooks/ and outputs/ lie beside the package
INFO_COLUMNS = tuple(
    name for name in VideoInfo.model_fields if name != "fingerprint"
)  # of videos.csv, after a Video's own
# Of crops.parquet, in crop pixels.
LANDMARK_COLUMNS = [
    f"{name}_{axis}" for name in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth") for axis in "xy"
]
WHOLE_NUMBER_COLUMNS = ("label", "part", "height", "width", "frame_count", "rotation_degrees")
RecordType = TypeVar("RecordType", bound=Record)


def project_path(path: str | Path) -> Path:
    """Make a path absolute: a relative one starts at the project folder, wherever the notebook runs."""
    return (PROJECT / Path(path).expanduser()).resolve()


@contextmanager
def atomic_path(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path and rename it to `path` if the block succeeds, so that `path` is whole or absent.

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


def file_lock(path: Path, *, blocking: bool = True) -> FileLock:
    """Return a lock held by one process at a time; the system releases it when that process ends."""
    return FileLock(path, blocking=blocking)


@dataclass(frozen=True)
class Run:
    """One run folder; made by `open_run`."""

    root: Path

    # Paths -----------------------------------------------------------------------------------------------------------------------
    def info_path(self, video_id: str) -> Path:
        return self.root / "info" / f"{video_id}.json"

    def boxes_path(self, video_id: str) -> Path:
        return self.root / "boxes" / f"{video_id}.json"

    def crops_record_path(self, video_id: str) -> Path:
        return self.root / "crops" / video_id / "crops.json"

    def crop_path(self, key: FaceKey) -> Path:
        return self.root / "crops" / key.video_id / f"{key.name}.png"

    def masks_record_path(self, video_id: str) -> Path:
        return self.root / "masks" / video_id / "masks.json"

    def mask_path(self, key: FaceKey) -> Path:
        return self.root / "masks" / key.video_id / f"{key.name}.png"

    def scores_record_path(self, model: str, video_id: str) -> Path:
        return self.root / "scores" / model / f"{video_id}.json"

    def hash_path(self, video_id: str) -> Path:
        return self.root / "hashes" / f"{video_id}.json"

    def status_path(self, stage: str) -> Path:
        return self.root / "status" / f"{stage}.csv"

    def calibration_path(self, model: str) -> Path:
        return self.root / "calibrations" / f"{model}.json"

    def metrics_path(self, stage: str) -> Path:
        return self.root / "metrics" / f"{stage}.json"

    def notebook_path(self, stage: str) -> Path:
        return self.root / "notebooks" / f"{stage}.ipynb"

    # Atomic writes ---------------------------------------------------------------------------------------------------------------
    def write_bytes(self, path: Path, content: bytes) -> None:
        """Write a file whole or not at all."""
        with atomic_path(path, self.root / ".partial") as partial:
            partial.write_bytes(content)

    def write_record(self, path: Path, record: Record) -> None:
        self.write_bytes(path, record.model_dump_json(indent=1).encode())

    def write_json(self, path: Path, content: dict) -> None:
        self.write_bytes(path, json.dumps(content, indent=1).encode())

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write `name` in the run folder as CSV or Parquet, by its ending."""
        if name.endswith(".parquet"):
            buffer = io.BytesIO()
            table.to_parquet(buffer, index=False)
            self.write_bytes(self.root / name, buffer.getvalue())
        else:
            self.write_bytes(self.root / name, table.to_csv(index=False).encode())

    def write_image(self, path: Path, image: np.ndarray) -> None:
        """Write (H, W, 3) RGB or (H, W) gray uint8 as PNG or JPEG, by the path's ending."""
        stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
        encoded, content = cv2.imencode(path.suffix, stored)
        if not encoded:
            raise ValueError(f"OpenCV could not encode an image of shape {image.shape}, dtype {image.dtype} for {path}")
        self.write_bytes(path, content.tobytes())

    def write_videos(self, videos: Iterable[Video], infos: Mapping[str, VideoInfo]) -> None:
        """Write videos.csv: what the data set says of each video, then what its header says (empty where it is unreadable)."""
        rows = []
        for video in videos:
            info = infos[video.video_id].model_dump(exclude={"fingerprint"}) if video.video_id in infos else {}
            rows.append(video.model_dump() | {"identities": json.dumps(video.identities)} | info)
        table = pd.DataFrame(rows, columns=[*Video.model_fields, *INFO_COLUMNS])
        self.write_table("videos.csv", table.astype(dict.fromkeys(WHOLE_NUMBER_COLUMNS, "Int64")))

    def write_metrics(self, stage: str, metrics: dict[str, int | float | str | None]) -> None:
        """Keep a notebook's numbers for the report."""
        self.write_json(self.metrics_path(stage), metrics)

    # Reads -----------------------------------------------------------------------------------------------------------------------
    def read_table(self, name: str) -> pd.DataFrame:
        path = self.root / name
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: {_remedy(name)}")
        if name.endswith(".parquet"):
            return pd.read_parquet(path)
        # A video may be called 007 or NA; only an empty cell is missing.
        return pd.read_csv(path, dtype={"video_id": str, "original_id": str}, keep_default_na=False, na_values=[""])

    def read_record(self, path: Path, kind: type[RecordType]) -> RecordType:
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: {_remedy(str(path.relative_to(self.root)))}")
        return kind.model_validate_json(path.read_bytes())

    def read_image(self, path: Path) -> np.ndarray:
        """Read a PNG or JPEG as (H, W, 3) RGB uint8, or (H, W) uint8 where it is gray."""
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise FileNotFoundError(f"{path} is missing or no image: {_remedy(str(path.relative_to(self.root)))}")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image

    def read_videos(self) -> list[Video]:
        table = self._read_text_table("videos.csv")[list(Video.model_fields)]
        return [
            Video.model_validate(_given(row) | {"identities": json.loads(row["identities"])}) for row in _rows(table)
        ]

    def read_infos(self) -> dict[str, VideoInfo]:
        """Read what the headers say, by video_id; unreadable videos are not in it."""
        table = self._read_text_table("videos.csv").set_index("video_id")[list(INFO_COLUMNS)]
        return {
            str(video_id): VideoInfo.model_validate(_given(row))
            for video_id, row in zip(table.index, _rows(table), strict=True)
            if row["height"]
        }

    def read_faces(self, video_id: str) -> VideoFaces:
        return self.read_record(self.boxes_path(video_id), VideoFaces)

    def read_crops(self, video_id: str) -> VideoCrops:
        """Read one video's crops; all videos' are the rows of `read_table("crops.parquet")`."""
        return self.read_record(self.crops_record_path(video_id), VideoCrops)

    def read_masks(self, video_id: str) -> VideoMasks:
        return self.read_record(self.masks_record_path(video_id), VideoMasks)

    def read_status(self, stage: str) -> list[Outcome]:
        """Read what a stage did with each video; a stage that has not run yet has done nothing: []."""
        if not self.status_path(stage).exists():
            return []
        return [Outcome.model_validate(row) for row in _rows(self._read_text_table(f"status/{stage}.csv"))]

    def _read_text_table(self, name: str) -> pd.DataFrame:
        """Read a CSV with every cell as text: a video may be called 007 or NA."""
        if not (self.root / name).exists():
            raise FileNotFoundError(f"{self.root / name} is missing: {_remedy(name)}")
        return pd.read_csv(self.root / name, dtype=str, keep_default_na=False)

    # Housekeeping ----------------------------------------------------------------------------------------------------------------
    @contextmanager
    def lock(self, name: str, owner: str) -> Iterator[None]:
        """Hold this run folder for one process; the system lets go of it when the process ends, however it ends."""
        try:
            with file_lock(self.root / f".{name}.lock", blocking=False):
                yield
        except Timeout:
            raise RuntimeError(f"{owner}: another process works in {self.root}; wait, or choose another run folder") from None

    def remove_partial(self) -> None:
        """Drop what killed writers left."""
        shutil.rmtree(self.root / ".partial", ignore_errors=True)


def open_run(path: str | Path) -> Run:
    """Open a run folder, or make it; a relative path starts at the project folder."""
    root = project_path(path)
    if root.is_file():
        raise NotADirectoryError(f"the run folder {root} is a file: choose a folder")
    root.mkdir(parents=True, exist_ok=True)
    return Run(root)


def _rows(table: pd.DataFrame) -> list[dict[str, str]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _given(row: dict[str, str]) -> dict[str, object]:
    """Drop empty cells: the field's default stands for them."""
    return {name: value for name, value in row.items() if value != ""}


def _remedy(name: str) -> str:
    """Say which notebook makes a file of the run folder."""
    makers = {
        "videos": "00",
        "info": "00",
        "boxes": "01",
        "crops": "02",
        "masks": "03",
        "folds": "04",
        "leaks": "04",
        "hashes": "04",
    }
    makers |= {"models": "06", "scores": "07", "submission": "07"}
    number = makers.get(name.split("/")[0].split(".")[0], "00")
    return f"run notebook {number} first, or `dfdc run --to {number}` with the same run folder"
