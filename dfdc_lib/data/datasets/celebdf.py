"""Celeb-DF v1 and v2: real videos of celebrities and from YouTube, fakes, and a list of test videos.

Input: the folder with `Celeb-real/` and `Celeb-synthesis/`. Output: `Video` records.
Source: Li et al. 2020, arXiv:1909.12962.
"""

import re
from pathlib import Path

from dfdc_lib.data.datasets.files import make_video_id, match_name, videos_in
from dfdc_lib.records import FAKE, REAL, Video

NAME = "celebdf"
CELEBRITIES, YOUTUBE, FAKES = "Celeb-real", "YouTube-real", "Celeb-synthesis"
SIGNS = (f"{CELEBRITIES}/", f"{FAKES}/")
LABELS = {CELEBRITIES: REAL, YOUTUBE: REAL, FAKES: FAKE}
LOOKED_FOR = f"videos in {', '.join(LABELS)}"
# Groups: target, donor, number.
NAMES = {CELEBRITIES: r"(id\d+)()_(\d+)", YOUTUBE: r"()()(\d+)", FAKES: r"(id\d+)_(id\d+)_(\d+)"}
TEST_LIST = "List_of_testing_videos.txt"
LIST_LINE = rf"1\s+((?:{CELEBRITIES}|{YOUTUBE})/[^/]+)|0\s+({FAKES}/[^/]+)"  # 1 = real: the opposite of `label`


def list_videos(root: Path) -> list[Video]:
    """List the videos; their split is "test" or "train" by the list of test videos, "" if that list is missing."""
    test_list = root / TEST_LIST
    tested = _read_test_list(test_list) if test_list.exists() else None
    return [_video(path, tested) for folder in LABELS for path in videos_in(root / folder)]


def _video(path: Path, tested: set[str] | None) -> Video:
    folder = path.parent.name
    match = match_name(NAMES[folder], path, "id0_0000.mp4, for YouTube 00000.mp4, for a fake id0_id1_0000.mp4")
    target, donor, number = match.groups()
    people = tuple(f"celeb/{person}" for person in (target, donor) if person)
    split = "" if tested is None else "test" if f"{folder}/{path.name}" in tested else "train"
    return Video(
        video_id=make_video_id(folder, path.stem),
        path=path,
        label=LABELS[folder],
        original_id=make_video_id(CELEBRITIES, f"{target}_{number}") if folder == FAKES else None,
        identities=people or (f"youtube/{number}",),
        method=FAKES if folder == FAKES else "",
        split=split,
    )


def _read_test_list(path: Path) -> set[str]:
    """Return the listed videos as "<folder>/<file name>"."""
    tested = set()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        match = re.fullmatch(LIST_LINE, line.strip())
        if not match:
            expected = "'1 Celeb-real/<name>', '1 YouTube-real/<name>' or '0 Celeb-synthesis/<name>'"
            raise ValueError(f"{path}, line {number}: expected {expected}, got {line!r}; download the list again")
        tested.add(match[1] or match[2])
    return tested
