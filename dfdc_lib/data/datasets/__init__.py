"""Data sets: one module for each supported layout, and the functions that choose between them.

Input: a root folder, or a list of video files. Output: `Video` records with label, original and identities.
Only file names and the data sets' list files are read; no video is opened.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from dfdc_lib.data.datasets import celebdf, dfdc, ffpp, folder
from dfdc_lib.data.datasets.files import SAMPLE_MARKER, VIDEO_SUFFIXES, existing_folder, files_in, is_of_sample
from dfdc_lib.data.datasets.video_list import is_video_list, read_video_list
from dfdc_lib.records import FAKE, Video

DATASETS = (dfdc, ffpp, celebdf, folder)
KINDS = ("auto", *(dataset.NAME for dataset in DATASETS))
MAX_ID_BYTES = 240  # most file systems allow names of 255 bytes; ids are extended by suffixes such as `.json`
SAMPLE = "sample"  # data set of the built-in sample, which has DFDC's layout but not its videos
NOT_UTF8 = re.compile(r"[\ud800-\udfff]")  # Python decodes bytes that are not valid UTF-8 to these surrogates
LIST_FILES = {dfdc.METADATA, dfdc.LABEL_LIST, celebdf.TEST_LIST, *ffpp.SPLIT_LISTS, SAMPLE_MARKER}


class LeftOut(NamedTuple):
    """A file in a data set's folder that `list_videos` did not return, and why."""

    path: Path
    reason: str


def list_videos(root: Path, kind: str = "auto") -> list[Video]:
    """List the videos of a data set with their labels, originals and identities (names of people or sources).

    In ids, `_` replaces characters that are invalid in file names. A fake has an `original_id` only if its original is
    present. Hidden files, the sample's true masks and links to folders are ignored; `left_out_files` lists the other
    files that are not returned.

    `root` is the data set's folder; with kind "auto" or "folder" it may also be a .txt or .csv file that lists videos.
    `kind` is one of KINDS; "auto" detects it from the folder. Returns at least one video, sorted by `video_id`; paths
    are absolute.
    Raises FileNotFoundError or NotADirectoryError if the folder, its videos or a metadata.json is missing; ValueError
    if the kind is unknown, a name or list file is malformed, or two videos have the same id.
    """
    require_kind(kind)
    if kind in ("auto", "folder") and is_video_list(root):
        files = read_video_list(root)
        name, videos = folder.NAME, folder.name_videos(files, Path(os.path.commonpath([path.parent for path in files])))
    else:
        root = existing_folder(root)
        name = detect_kind(root) if kind == "auto" else kind
        dataset = next(dataset for dataset in DATASETS if name == dataset.NAME)
        videos = dataset.list_videos(root)
        if not videos:
            raise FileNotFoundError(
                f"no video in {root}: kind {name!r} expects {dataset.LOOKED_FOR}, with suffix "
                f"{' '.join(sorted(VIDEO_SUFFIXES))}; choose another folder or another kind of {', '.join(KINDS)}"
            )
    by_id = _checked(sorted(videos, key=lambda video: (video.video_id, video.path)))
    for video in by_id.values():
        original = by_id.get(video.original_id or "")
        if original and original.label == FAKE:
            reason = f"its original must be a real video, but {original.path} is a fake"
            raise ValueError(f"{video.path}: {reason}; correct the metadata")
    return [_completed(video, name, by_id) for video in by_id.values()]


def require_kind(kind: str) -> None:
    """Raise a ValueError that suggests the closest match if `kind` is not one of KINDS."""
    if kind not in KINDS:
        nearest = difflib.get_close_matches(kind.lower(), KINDS, n=1, cutoff=0)[0]
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}; did you mean {nearest!r}?")


def detect_kind(root: Path) -> str:
    """Return the kind of the data set in a folder, judged by typical names directly in it, such as metadata.json.

    The kind is "folder" if no name is typical. Raises FileNotFoundError or NotADirectoryError if `root` is no folder.
    """
    root = existing_folder(root)
    matching = (dataset for dataset in DATASETS for sign in dataset.SIGNS if any(root.glob(sign)))
    return next(matching, folder).NAME


def left_out_files(root: Path, videos: Iterable[Video], kind: str = "auto") -> list[LeftOut]:
    """List the files in a folder and its subfolders that are not in `videos`, each with the reason.

    Hidden files, the data sets' list files (e.g. metadata.json) and the sample's true masks are not included. If `root`
    is a .txt or .csv file that lists videos, the result is [].
    """
    if is_video_list(root):
        return []
    root, listed = existing_folder(root), {video.path for video in videos}
    name = detect_kind(root) if kind == "auto" else kind
    expected = next(dataset.LOOKED_FOR for dataset in DATASETS if name == dataset.NAME)
    files = sorted(path for path in files_in(root, "**/*") if path not in listed and path.name not in LIST_FILES)
    return [LeftOut(path, _reason(path, f"kind {name} expects {expected}")) for path in files]


def _reason(path: Path, expectation: str) -> str:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return f"not a video: its suffix is {path.suffix.lower() or 'missing'}"
    return "a video of the changed area" if ffpp.MASKS in path.parts else expectation


def _completed(video: Video, kind: str, by_id: Mapping[str, Video]) -> Video:
    """Return a video with its data set, and without an original that is absent."""
    dataset = "" if kind == folder.NAME else SAMPLE if is_of_sample(video.path) else kind
    original_id = video.original_id if video.original_id in by_id else None
    return video.model_copy(update={"dataset": dataset, "original_id": original_id})


def _checked(videos: list[Video]) -> dict[str, Video]:
    """Return the videos by id; raise ValueError if a path or an id is unusable or an id occurs twice."""
    by_id: dict[str, Video] = {}
    for video in videos:
        if NOT_UTF8.search(str(video.path)):
            raise ValueError(f"{str(video.path)!r}: the path must be valid UTF-8; rename it")
        size = len(video.video_id.encode())
        if size > MAX_ID_BYTES:
            raise ValueError(f"{video.path}: the id must have at most {MAX_ID_BYTES} bytes, got {size}; rename it")
        other = by_id.setdefault(video.video_id, video)
        if other is not video:
            raise ValueError(f"{other.path} and {video.path} have the same id {video.video_id!r}; rename or remove one")
    return by_id
