"""DFDC: folders `dfdc_train_part_<N>/`, Kaggle's `train_sample_videos/` and `test_videos/`, and test sets.

Input: the folder of all parts, one part, or any folder of videos with a metadata.json or a labels.csv (columns filename
and label) beside them. Output: `Video` records.
Source: Dolhansky et al. 2020, arXiv:2006.07397.
"""

import json
import re
from pathlib import Path
from typing import Any

from dfdc_lib.data.datasets.files import make_video_id, read_text, videos_in
from dfdc_lib.data.datasets.video_list import read_rows
from dfdc_lib.records import FAKE, REAL, Video

NAME = "dfdc"
METADATA, LABEL_LIST, PARTS = "metadata.json", "labels.csv", "dfdc_train_part_*/"
KAGGLE_TRAIN, KAGGLE_TEST = "train_sample_videos", "test_videos"  # the latter comes without labels
SIGNS = (METADATA, LABEL_LIST, PARTS, f"{KAGGLE_TRAIN}/")  # patterns of names in the data set's folder
LOOKED_FOR = f"videos next to {METADATA} or {LABEL_LIST}, in the folder, in {PARTS} or in {KAGGLE_TRAIN}/"
LABELS = {"REAL": REAL, "FAKE": FAKE, "0": REAL, "1": FAKE, "": None}
REMEDY = "unpack the part again, or list its videos without labels as kind 'folder'"


def list_videos(root: Path) -> list[Video]:
    """List the videos of all parts of DFDC in a folder, with the labels and originals in metadata.json or labels.csv.

    A video in neither file has no label. Raises FileNotFoundError if a folder of videos, except Kaggle's
    `test_videos/`, has neither file; ValueError if an entry is malformed or the files give a video different labels.
    """
    entries: dict[Path, dict[str, Any]] = {}
    for folder in _folders(root):
        given = _read_entries(folder)
        entries |= {path: given.get(path.name, {}) for path in videos_in(folder)}
    return [_video(path, entry) for path, entry in entries.items()]


def _folders(root: Path) -> list[Path]:
    """Return the folders of videos: parts, Kaggle's, those with a list, and the root if it has a list or is alone."""
    parts = set(root.glob(PARTS))
    named = {folder for folder in root.glob("*") if folder.name in (KAGGLE_TRAIN, KAGGLE_TEST) and folder.is_dir()}
    folders = parts | named | {path.parent for path in (*root.glob(f"*/{METADATA}"), *root.glob(f"*/{LABEL_LIST}"))}
    return sorted(folders) if folders and not _has_list(root) else [*sorted(folders), root]


def _has_list(folder: Path) -> bool:
    return (folder / METADATA).exists() or (folder / LABEL_LIST).exists()


def _video(path: Path, entry: dict[str, Any]) -> Video:
    source_id = make_video_id(Path(entry.get("original") or path.name).stem)
    label = entry.get("label")
    part = re.fullmatch(r"dfdc_train_part_(\d+)", path.parent.name)
    return Video(
        video_id=make_video_id(path.stem),
        path=path,
        label=label,
        original_id=source_id if label == FAKE and entry.get("original") else None,
        identities=(source_id,),
        part=int(part[1]) if part else None,
        split=str(entry.get("split") or ""),
    )


def _read_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a folder's lists by file name, their label as a number."""
    if not _has_list(folder) and folder.name != KAGGLE_TEST:
        raise FileNotFoundError(f"{folder / METADATA} is missing: {REMEDY}")
    entries = _read_metadata(folder / METADATA) if (folder / METADATA).exists() else {}
    for name, label in (_read_labels(folder / LABEL_LIST) if (folder / LABEL_LIST).exists() else {}).items():
        entry = entries.setdefault(name, {"label": label})
        if None not in (label, entry["label"]) and label != entry["label"]:
            raise ValueError(f"{folder}: {METADATA} and {LABEL_LIST} have different labels for {name!r}; correct one")
        entry["label"] = label if entry["label"] is None else entry["label"]
    return entries


def _read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    try:
        metadata = json.loads(read_text(path))
    except ValueError as error:  # invalid JSON or an unknown encoding
        raise ValueError(f"{path} is not valid JSON ({error}): {REMEDY}") from error
    if not isinstance(metadata, dict) or not all(isinstance(entry, dict) for entry in metadata.values()):
        raise ValueError(f"{path} must map each file name to its label and original: {REMEDY}")
    for name, entry in metadata.items():
        label, original = entry.get("label"), entry.get("original") or name
        if not (_is_file_name(name) and _is_file_name(original)):
            names = f"{original!r} for {name!r}"
            raise ValueError(f"{path}: expected files in the same folder, got {names}; remove the entry")
        entry["label"] = _label(entry.get("is_fake") if label is None else label, path, name)
    return metadata


def _read_labels(path: Path) -> dict[str, int | None]:
    try:
        rows = read_rows(path, [["filename"], ["label"]])
    except ValueError as error:
        raise ValueError(f"{error}; correct it, or list the videos without labels as kind 'folder'") from error
    for number, row in rows:
        if not _is_file_name(row["filename"]):
            raise ValueError(f"{path}, line {number}: expected a file in the same folder, got {row['filename']!r}")
    return {row["filename"]: _label(row["label"], path, row["filename"]) for _, row in rows}


def _label(value: object, path: Path, name: str) -> int | None:
    text = "" if value is None else str(int(value)) if isinstance(value, bool) else str(value).strip().upper()
    text = text.removesuffix(".0")  # as pandas writes whole numbers of a column with gaps
    if text not in LABELS:
        expected = "REAL, FAKE, 0 (real) or 1 (fake)"
        raise ValueError(f"{path}: label must be {expected}, got {value!r} for {name!r}; correct or remove it")
    return LABELS[text]


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name and "\\" not in name
