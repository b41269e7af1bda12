"""Identity groups of scored videos: which of them share people or sources.

Input: a run, or the video table of a score file. Output: a group per video. Intervals draw these groups, and halves
split by them, because videos of one group err together: the fakes of one original, the two swaps of two people (183_253
and 253_183), the copies of one video at several compressions.
"""

import json
import re
from pathlib import Path

import pandas as pd

from dfdc_lib.data.folds import connected_groups, identity_groups, identity_links
from dfdc_lib.records import Video
from dfdc_lib.run_folder import Run

# Names of well-known data sets: what the people are called, and the pattern of a name (target, and donor of a fake).
NAMES = {
    "youtube": r"(\d{3})(?:_(\d{3}))?",  # FaceForensics++: 183, 183_253
    "actors": r"(\d{2})(?:_(\d{2}))?__.+",  # DeepFakeDetection: 01__exit_phone_room, 01_02__exit_phone_room__YVGY8LOK
    "celeb": r"(id\d+)(?:_(id\d+))?_\d{4}",  # Celeb-DF: id0_0000, id0_id1_0000
}
FOLDERS = r"(?:.*[/\\]|.*-(?:raw|c\d+)-|Celeb-(?:real|synthesis)-)?"  # also as the kit's ids join them
SUFFIX = r"(?:\.[A-Za-z]\w{1,3})?"


def groups_of_run(run: Run, video_ids: pd.Index) -> pd.Series:
    """Return the group number of each video; index: `video_ids`.

    Videos in one group of folds.csv, which also knows look-alikes, stay together. Videos that it lacks (left out by its
    scheme, or added later) join the videos that `identity_links` connects them with.
    """
    videos = run.read_videos()
    links = list(identity_links(videos).values())
    if (run.root / "folds.csv").exists():
        folds = run.read_table("folds.csv")
        folds = folds[folds["video_id"].isin({video.video_id for video in videos})]
        known = set(folds["video_id"])
        links = [link for link in links if not known.issuperset(link)]
        links += [list(members) for _, members in folds.groupby("group")["video_id"]]
    return pd.Series(connected_groups(videos, links), dtype=object).reindex(video_ids)


def groups_of_file(videos: pd.DataFrame) -> pd.Series:
    """Return the group of each video of a score file.

    `videos` has one row per video (index: video_id). If there is a column `group`, return it. Otherwise, videos are in
    one group if they share an `original_id` (also of an original that is not in the file), a name in the column
    `identities` (a JSON list, as in videos.csv), or a person named in a video_id that matches one of `NAMES`. Raises
    ValueError if `identities` has another form, or if only some videos have a `group`.
    """
    if "group" in videos:
        lacking = videos.index[videos["group"].isna()]
        if len(lacking):
            raise ValueError(f"the column group must name a group for every video, got none for {lacking[0]}")
        return videos["group"]
    named = {video_id: _people(video_id) for video_id in map(str, videos.index)}
    # A number alone says nothing (clip 001 of two folders) unless fakes of the same kind name two people.
    kinds = {people[0].partition("/")[0] for people in named.values() if len(people) == 2}
    absent = pd.Series(None, index=videos.index, dtype=object)
    columns = [videos.get(name, absent) for name in ("original_id", "identities")]
    records = []
    numbers = {video_id: str(number) for number, video_id in enumerate(named)}  # a file's ids may contain slashes
    for video_id, original, listed in zip(named, *columns, strict=True):
        known = [name for name in named[video_id] if name.partition("/")[0] in kinds]
        identities = (*known, *_listed(video_id, listed))
        original_id = numbers.get(original, f"absent {original}") if isinstance(original, str) else None
        record = Video(video_id=numbers[video_id], path=Path(video_id), original_id=original_id, identities=identities)
        records.append(record)
    groups = identity_groups(records)
    return pd.Series([groups[number] for number in numbers.values()], videos.index, dtype=object)


def _people(name: str) -> tuple[str, ...]:
    """Return the people in a video's name: ("youtube/183", "youtube/253"); () if it is not like those of `NAMES`."""
    for kind, pattern in NAMES.items():
        if match := re.fullmatch(FOLDERS + pattern + SUFFIX, name):
            return tuple(f"{kind}/{person}" for person in match.groups() if person)
    return ()


def _listed(video_id: str, value: object) -> list[str]:
    """Return the names in a cell of the column `identities`; an empty cell has none."""
    if not isinstance(value, str):
        return []
    try:
        names = json.loads(value)
    except ValueError:
        names = None
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f'identities must be a JSON list such as ["id0", "id1"], got {value!r} for video {video_id}')
    return names
