"""Celeb-DF v1, v2 and ++: real videos of celebrities and from YouTube, fakes, and a list of test videos.

Input: the folder with `Celeb-real/` and `Celeb-synthesis/`; in Celeb-DF++ the latter has a folder for every scenario,
which has one for every method, e.g. `FaceSwap/GHOST/`. Output: `Video` records.
Source: Li et al. 2020, arXiv:1909.12962; https://github.com/OUC-VAS/Celeb-DF-PP.
"""

import re
from pathlib import Path

from dfdc_lib.data.datasets.files import make_video_id, match_name, read_text, videos_in
from dfdc_lib.records import FAKE, REAL, Video

NAME = "celebdf"
CELEBRITIES, YOUTUBE, FAKES = "Celeb-real", "YouTube-real", "Celeb-synthesis"
SIGNS = (f"{CELEBRITIES}/", f"{FAKES}/")
LABELS = {CELEBRITIES: REAL, YOUTUBE: REAL, FAKES: FAKE}
LOOKED_FOR = f"videos in {', '.join(LABELS)} or {FAKES}/<scenario>/<method>, named like id0_id1_0000"
# Groups: target, donor, number.
NAMES = {CELEBRITIES: r"(id\d+)()_(\d+)", YOUTUBE: r"()()(\d+)", FAKES: r"(id\d+)_(id\d+)_(\d+)"}
METHOD_NAME = r"(id\d+)(?:_(id\d+))?_(\d+)(?:_.*)?"  # in the folder of a method; a talking face may have no donor
WITHOUT_ORIGINAL = {"FaceReenact", "TalkingFace"}  # scenarios whose fakes move in another way than any real video
TEST_LIST = "List_of_testing_videos.txt"
# 1 = real: the opposite of `label`.
LIST_LINE = rf"1\s+((?:{CELEBRITIES}|{YOUTUBE})/[^/]+)|0\s+({FAKES}/(?:(?!\.\.?/)[^/]+/)*[^/]+)"


def list_videos(root: Path) -> list[Video]:
    """List the videos of Celeb-DF with label, original, people, method and split.

    The split is "test" if List_of_testing_videos.txt contains the video, else "train"; "" if that file is missing.
    Raises ValueError if a file name or a line of the list is malformed.
    """
    test_list = root / TEST_LIST
    tested = _read_test_list(test_list) if test_list.exists() else None
    return [_video(path, folder, levels, tested) for folder in LABELS for path, levels in _files(root / folder)]


def _files(folder: Path) -> list[tuple[Path, list[str]]]:
    """Return the videos of a folder, and the scenario and the method in whose folders fakes are."""
    files = []
    for path in videos_in(folder, "**/*"):
        levels = list(path.relative_to(folder).parts[:-1])
        if levels[-1:] == ["videos"]:
            levels.pop()
        if not levels or (folder.name == FAKES and len(levels) < 3 and re.fullmatch(METHOD_NAME, path.stem)):
            files.append((path, levels))
    return files


def _video(path: Path, folder: str, levels: list[str], tested: set[str] | None) -> Video:
    pattern = METHOD_NAME if levels else NAMES[folder]
    match = match_name(pattern, path, "id0_0000.mp4, for YouTube 00000.mp4, for a fake id0_id1_0000.mp4")
    target, donor, number = match.groups()
    people = tuple(f"celeb/{person}" for person in (target, donor) if person)
    split = "" if tested is None else "test" if "/".join((folder, *levels, path.name)) in tested else "train"
    has_original = folder == FAKES and not WITHOUT_ORIGINAL & {*levels}
    return Video(
        video_id=make_video_id(folder, *levels, path.stem),
        path=path,
        label=LABELS[folder],
        original_id=make_video_id(CELEBRITIES, f"{target}_{number}") if has_original else None,
        identities=people or (f"youtube/{number}",),
        method=[FAKES, *levels][-1] if folder == FAKES else "",
        split=split,
    )


def _read_test_list(path: Path) -> set[str]:
    """Return the listed videos as "<folder>/<file name>"."""
    tested = set()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        match = re.fullmatch(LIST_LINE, line.strip())
        if not match:
            expected = "'1 Celeb-real/<name>', '1 YouTube-real/<name>' or '0 Celeb-synthesis/<name>'"
            raise ValueError(f"{path}, line {number}: expected {expected}, got {line!r}; download the list again")
        tested.add(match[1] or match[2])
    return tested
