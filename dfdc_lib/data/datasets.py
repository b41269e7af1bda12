"""Data sets: from a folder to the list of its videos, with what the data set says of each.

In comes a root folder, out come `Video` records: label, original, identities. Only names and list files are read, no video is opened.
Known are the layouts of DFDC, FaceForensics++ (with its DeepFakeDetection part) and Celeb-DF v1/v2, any plain folder, and a list of files.
Sources: the data sets' own pages (Dolhansky et al. 2020, arXiv 2006.07397; Rössler et al. 2019, arXiv 1901.08971; Li et al. 2020, arXiv
1909.12962).
"""

import difflib
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

from dfdc_lib.data.video_files import VIDEO_SUFFIXES, existing_folder, files_below, make_video_id, match_name, videos_in
from dfdc_lib.data.video_list import is_video_list, read_video_list
from dfdc_lib.records import FAKE, REAL, Video

KINDS = ("auto", "dfdc", "ffpp", "celebdf", "folder")
MAX_ID_BYTES = 240  # file systems end a name at 255 bytes; an id gets an ending such as `.json`
NOT_UTF8 = re.compile(r"[\ud800-\udfff]")  # how Python spells bytes of a name that are no UTF-8

DFDC_METADATA, DFDC_PARTS = "metadata.json", "dfdc_train_part_*"
DFDC_LABELS = {"REAL": REAL, "FAKE": FAKE, None: None}
FFPP_ORIGINALS, FFPP_FAKES = "original_sequences", "manipulated_sequences"
FFPP_MASKS = "masks"  # lies where a compression is expected: the data set's mask videos, no fakes
FFPP_ORIGINAL_NAME = re.compile(r"(\d+)(__.+)?")  # 183, or actor and scene: 01__exit_phone_room
FFPP_FAKE_NAME = re.compile(r"(\d+)_(\d+)(?:(__.+)__[^_]+)?")  # target_donor: 183_253, 01_02__exit_phone_room__YVGY8LOK
CELEBDF_REAL, CELEBDF_YOUTUBE, CELEBDF_FAKE = "Celeb-real", "YouTube-real", "Celeb-synthesis"
CELEBDF_LABELS = {CELEBDF_REAL: REAL, CELEBDF_YOUTUBE: REAL, CELEBDF_FAKE: FAKE}
CELEBDF_NAMES = {  # target, donor, number
    CELEBDF_REAL: re.compile(r"(id\d+)()_(\d+)"),
    CELEBDF_YOUTUBE: re.compile(r"()()(\d+)"),
    CELEBDF_FAKE: re.compile(r"(id\d+)_(id\d+)_(\d+)"),
}
CELEBDF_TEST_LIST = "List_of_testing_videos.txt"
CELEBDF_LIST_LABELS = {"1": REAL, "0": FAKE}  # the opposite of this kit's labels
CELEBDF_LIST_LINE = re.compile(rf"([01])\s+(({'|'.join(CELEBDF_LABELS)})/[^/]+)")
LIST_FILES = frozenset(
    {DFDC_METADATA, CELEBDF_TEST_LIST, "labels.csv", "sample.json"}
)  # the data sets' own; DFDC's test set, the sample

LOOKED_FOR = {
    "dfdc": f"videos beside {DFDC_METADATA}, in the folder or in its {DFDC_PARTS} folders",
    "ffpp": f"{FFPP_ORIGINALS}/<source>/<compression>/videos/* and {FFPP_FAKES}/<method>/<compression>/videos/*",
    "celebdf": f"videos in {', '.join(CELEBDF_LABELS)}",
    "folder": "videos in the folder and the folders in it",
}


def list_videos(root: Path, kind: str = "auto") -> list[Video]:
    """List the videos of a data set with what it says of them.

    An id is readable and unique: where a data set uses one name twice, it says which file; what no file name can have becomes `_`.
    A fake whose original is named but absent has no `original_id`. Passed over are hidden files, FaceForensics++'s mask videos, the
    built-in sample's true masks and, in a plain folder, links to other folders.

    Args:
        root: the data set's folder; also a list of videos (see `video_list`), as kind auto or folder.
        kind: its layout, one of KINDS; auto asks `detect_kind`.
    Returns:
        At least one video, sorted by `video_id`; paths are absolute.
    Raises:
        FileNotFoundError, NotADirectoryError: if the folder, videos or DFDC's metadata are missing, or `root` is another file.
        ValueError: if the kind is unknown, a list file or a name is not as the data set's layout has it, or two videos get one id.
    """
    require_kind(kind)
    if kind in ("auto", "folder") and is_video_list(root):
        files = read_video_list(root)
        videos = sorted(_plain_videos(Path(os.path.commonpath([path.parent for path in files])), files), key=_order)
        _check(videos)
        return videos
    root = existing_folder(root)
    found_kind = detect_kind(root) if kind == "auto" else kind
    listers = {"dfdc": _list_dfdc, "ffpp": _list_ffpp, "celebdf": _list_celebdf, "folder": _list_folder}
    videos = sorted(listers[found_kind](root), key=_order)
    if not videos:
        raise FileNotFoundError(
            f"no video in {root}: as kind {found_kind!r}, expected {LOOKED_FOR[found_kind]}, ending in {' '.join(sorted(VIDEO_SUFFIXES))}; "
            f"choose another folder, or another kind of {', '.join(KINDS)}"
        )
    _check(videos)
    return videos


def require_kind(kind: str) -> None:
    """Raise a ValueError that names the nearest right kind, unless `kind` is one of KINDS."""
    if kind not in KINDS:
        nearest = difflib.get_close_matches(kind.lower(), KINDS, n=1, cutoff=0)[0]
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}; the nearest is {nearest!r}")


def detect_kind(root: Path) -> str:
    """Tell a data set's layout from the names directly below its folder: "dfdc", "ffpp", "celebdf", else "folder".

    Raises:
        FileNotFoundError, NotADirectoryError: if there is nothing at `root`, or a file.
    """
    root = existing_folder(root)
    if (root / DFDC_METADATA).exists() or _dfdc_parts(root):
        return "dfdc"
    if (root / FFPP_ORIGINALS).is_dir() or (root / FFPP_FAKES).is_dir():
        return "ffpp"
    if (root / CELEBDF_REAL).is_dir() or (root / CELEBDF_FAKE).is_dir():
        return "celebdf"
    return "folder"


def left_out_files(root: Path) -> list[Path]:
    """List the files below a folder that are no videos by their endings.

    Not among them: hidden files, the data sets' own lists (metadata.json and the like) and the built-in sample's true masks. A list of
    videos leaves nothing out.

    Raises:
        FileNotFoundError, NotADirectoryError: if there is nothing at `root`, or a file.
    """
    files = [] if is_video_list(root) else files_below(existing_folder(root))
    return sorted(path for path in files if path.suffix.lower() not in VIDEO_SUFFIXES and path.name not in LIST_FILES)


# DFDC --------------------------------------------------------------------------------------------------------------------------------
def _list_dfdc(root: Path) -> list[Video]:
    folders = _dfdc_parts(root)
    if not folders or (root / DFDC_METADATA).exists():
        folders.append(root)
    entries: dict[Path, dict[str, Any]] = {}
    for folder in folders:
        metadata = _read_dfdc_metadata(folder / DFDC_METADATA)
        entries |= {path: metadata.get(path.name, {}) for path in videos_in(folder)}  # {}: on disk, but not named
    present_ids = {make_video_id(path.stem) for path in entries}
    return [_dfdc_video(path, entry, present_ids) for path, entry in entries.items()]


def _dfdc_parts(root: Path) -> list[Path]:
    return [folder for folder in root.glob(DFDC_PARTS) if folder.is_dir()]


def _dfdc_video(path: Path, entry: dict[str, Any], present_ids: set[str]) -> Video:
    source_id = make_video_id(Path(entry.get("original") or path.name).stem)
    label = DFDC_LABELS[entry.get("label")]
    part = re.fullmatch(r"dfdc_train_part_(\d+)", path.parent.name)
    return Video(
        video_id=make_video_id(path.stem),
        path=path,
        label=label,
        original_id=source_id if label == FAKE and entry.get("original") and source_id in present_ids else None,
        identities=(source_id,),
        part=int(part[1]) if part else None,
        split=str(entry.get("split") or ""),
    )


def _read_dfdc_metadata(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: unpack the part again, or list its videos without labels as kind 'folder'"
        )
    try:
        metadata = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is no valid JSON ({error}): unpack the part again, or use kind 'folder'") from error
    if not isinstance(metadata, dict) or not all(isinstance(entry, dict) for entry in metadata.values()):
        raise ValueError(
            f"{path} must map each file name to its label and original: unpack the part again, or use kind 'folder'"
        )
    for name, entry in metadata.items():
        if entry.get("label") not in list(DFDC_LABELS):
            raise ValueError(
                f"{path}: label must be REAL or FAKE, got {entry['label']!r} for {name!r}; mend the entry or remove its label"
            )
        for named in (name, entry.get("original") or name):
            if not isinstance(named, str) or named in ("", "..") or Path(named).name != named or "\\" in named:
                raise ValueError(
                    f"{path}: expected names of files in the same folder, got {named!r} in the entry {name!r}; remove it"
                )
    return metadata


# FaceForensics++ ---------------------------------------------------------------------------------------------------------------------
def _list_ffpp(root: Path) -> list[Video]:
    originals = [_ffpp_original(path) for path in _ffpp_files(root / FFPP_ORIGINALS)]
    original_ids = {video.video_id for video in originals}
    return originals + [_ffpp_fake(path, original_ids) for path in _ffpp_files(root / FFPP_FAKES)]


def _ffpp_files(sequences: Path) -> list[Path]:
    folders = [folder for folder in sequences.glob("*/*/videos") if folder.parent.name != FFPP_MASKS]
    return [path for folder in folders for path in videos_in(folder)]


def _ffpp_original(path: Path) -> Video:
    name = match_name(FFPP_ORIGINAL_NAME, path, "183.mp4 or 01__exit_phone_room.mp4")
    source, compression = path.parts[-4:-2]
    video_id = make_video_id(source, compression, path.stem)
    return Video(video_id=video_id, path=path, label=REAL, identities=(f"{source}/{name[1]}",), compression=compression)


def _ffpp_fake(path: Path, original_ids: set[str]) -> Video:
    target, donor, scene = match_name(
        FFPP_FAKE_NAME, path, "183_253.mp4 or 01_02__exit_phone_room__YVGY8LOK.mp4"
    ).groups(default="")
    method, compression = path.parts[-4:-2]
    source = "actors" if scene else "youtube"
    original_id = make_video_id(source, compression, target + scene)
    return Video(
        video_id=make_video_id(method, compression, path.stem),
        path=path,
        label=FAKE,
        original_id=original_id if original_id in original_ids else None,
        identities=(f"{source}/{target}", f"{source}/{donor}"),
        method=method,
        compression=compression,
    )


# Celeb-DF ----------------------------------------------------------------------------------------------------------------------------
def _list_celebdf(root: Path) -> list[Video]:
    test_list = root / CELEBDF_TEST_LIST
    tested = _read_celebdf_tests(test_list) if test_list.exists() else set()
    files = [path for folder in CELEBDF_LABELS for path in videos_in(root / folder)]
    present_ids = {make_video_id(path.parent.name, path.stem) for path in files}
    splits = (
        {path: "test" if f"{path.parent.name}/{path.name}" in tested else "train" for path in files}
        if test_list.exists()
        else {}
    )
    return [_celebdf_video(path, splits.get(path, ""), present_ids) for path in files]


def _celebdf_video(path: Path, split: str, present_ids: set[str]) -> Video:
    folder = path.parent.name
    target, donor, number = match_name(
        CELEBDF_NAMES[folder], path, "id0_0000.mp4, YouTube's 00000.mp4 or a fake's id0_id1_0000.mp4"
    ).groups()
    people = tuple(f"celeb/{person}" for person in (target, donor) if person)
    original_id = make_video_id(CELEBDF_REAL, f"{target}_{number}")
    return Video(
        video_id=make_video_id(folder, path.stem),
        path=path,
        label=CELEBDF_LABELS[folder],
        original_id=original_id if folder == CELEBDF_FAKE and original_id in present_ids else None,
        identities=people or (f"youtube/{number}",),
        method=CELEBDF_FAKE if folder == CELEBDF_FAKE else "",
        split=split,
    )


def _read_celebdf_tests(path: Path) -> set[str]:
    tested = set()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        parsed = CELEBDF_LIST_LINE.fullmatch(line.strip())
        if not parsed:
            raise ValueError(
                f"{path}, line {number}: expected such as '1 YouTube-real/00170.mp4', got {line!r}; fetch the list again"
            )
        if CELEBDF_LIST_LABELS[parsed[1]] != CELEBDF_LABELS[parsed[3]]:
            raise ValueError(
                f"{path}, line {number}: {line!r} contradicts its folder (1 is real, 0 is fake); fetch the list again"
            )
        tested.add(parsed[2])
    return tested


# A plain folder ----------------------------------------------------------------------------------------------------------------------
def _list_folder(root: Path) -> list[Video]:
    return _plain_videos(root, [path for path in files_below(root) if path.suffix.lower() in VIDEO_SUFFIXES])


def _plain_videos(root: Path, files: list[Path]) -> list[Video]:
    """Name videos of which nothing is known by their places below a folder, and by their endings where that is not enough."""
    short_ids = [make_video_id(*path.relative_to(root).with_suffix("").parts) for path in files]
    uses = Counter(short_ids)
    videos = []
    for path, short_id in zip(files, short_ids, strict=True):
        video_id = short_id if uses[short_id] == 1 else short_id + path.suffix
        videos.append(Video(video_id=video_id, path=path, identities=(video_id,)))
    return videos


# Common ------------------------------------------------------------------------------------------------------------------------------
def _order(video: Video) -> tuple[str, Path]:
    return video.video_id, video.path


def _check(videos: list[Video]) -> None:
    """Refuse what would go wrong later: names that cannot be stored, two files under one id, a fake as an original."""
    by_id: dict[str, Video] = {}
    for video in videos:
        if NOT_UTF8.search(str(video.path)):
            raise ValueError(f"{str(video.path)!r}: the path must be UTF-8; rename it")
        id_bytes = len(video.video_id.encode())
        if id_bytes > MAX_ID_BYTES:
            raise ValueError(
                f"{video.path}: the id must have at most {MAX_ID_BYTES} bytes, got {id_bytes}; shorten the name"
            )
        if video.video_id in by_id:
            raise ValueError(
                f"{by_id[video.video_id].path} and {video.path} both get the id {video.video_id!r}; rename or remove one"
            )
        by_id[video.video_id] = video
    for video in videos:
        original = by_id[video.original_id] if video.original_id else None
        if original and original.label == FAKE:
            raise ValueError(
                f"{video.path}: its original must be a real video, but {original.path} is a fake; mend the metadata"
            )
