"""DFDC: folders `dfdc_train_part_<N>/`, each with videos and a metadata.json.

Input: the folder of all parts, or one part. Output: `Video` records.
Source: Dolhansky et al. 2020, arXiv:2006.07397.
"""

import json
import re
from pathlib import Path
from typing import Any

from dfdc_lib.data.datasets.files import make_video_id, videos_in
from dfdc_lib.records import FAKE, REAL, Video

NAME = "dfdc"
METADATA, PARTS = "metadata.json", "dfdc_train_part_*/"
SIGNS = (METADATA, PARTS)  # patterns of names in the data set's folder
LOOKED_FOR = f"videos next to {METADATA}, in the folder or in {PARTS}"
LABELS = {"REAL": REAL, "FAKE": FAKE, None: None}
REMEDY = "unpack the part again, or list its videos without labels as kind 'folder'"


def list_videos(root: Path) -> list[Video]:
    """List the videos of all parts; a file without an entry in metadata.json has no label."""
    folders = list(root.glob(PARTS))
    if not folders or (root / METADATA).exists():
        folders.append(root)
    entries: dict[Path, dict[str, Any]] = {}
    for folder in folders:
        metadata = _read_metadata(folder / METADATA)
        entries |= {path: metadata.get(path.name, {}) for path in videos_in(folder)}
    return [_video(path, entry) for path, entry in entries.items()]


def _video(path: Path, entry: dict[str, Any]) -> Video:
    source_id = make_video_id(Path(entry.get("original") or path.name).stem)
    label = LABELS[entry.get("label")]
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


def _read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {REMEDY}")
    try:
        metadata = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # invalid JSON or invalid UTF-8
        raise ValueError(f"{path} is not valid JSON ({error}): {REMEDY}") from error
    if not isinstance(metadata, dict) or not all(isinstance(entry, dict) for entry in metadata.values()):
        raise ValueError(f"{path} must map each file name to its label and original: {REMEDY}")
    for name, entry in metadata.items():
        label, original = entry.get("label"), entry.get("original") or name
        if label not in list(LABELS):  # a list, because `label` can be unhashable
            raise ValueError(f"{path}: label must be REAL or FAKE, got {label!r} for {name!r}; correct or remove it")
        if not (_is_file_name(name) and _is_file_name(original)):
            names = f"{original!r} for {name!r}"
            raise ValueError(f"{path}: expected files in the same folder, got {names}; remove the entry")
    return metadata


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", "..") and Path(name).name == name and "\\" not in name
