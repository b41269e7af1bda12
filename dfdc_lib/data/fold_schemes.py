"""The schemes of notebook 04: which videos must stay together, and which fold each video gets.

Input: the videos of a data set and the look-alikes among them. Output: an `Assignment`. Folds 0 and 1 are those that
notebook 06 validates and tests on by default. What is unknown stays unknown: DFDC has 486 people in 119,154 clips and
no list of who is who (Dolhansky et al. 2020, arXiv:2006.07397), so no scheme can promise there that folds share no
person.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dfdc_lib.data.folds import (
    FIRST_TRAIN_FOLD,
    TEST_FOLD,
    VALIDATION_FOLD,
    connected_groups,
    deal_folds,
    has_both_labels,
    identity_links,
    links_within,
    part_links,
    winner_folds,
    without_donors,
)
from dfdc_lib.records import FAKE, REAL, Video

SCHEMES = ("leak-free", "target", "official", "winner")
SPLIT_FOLDS = {"validation": VALIDATION_FOLD, "test": TEST_FOLD, "train": FIRST_TRAIN_FOLD}
LABEL_NAMES = {REAL: "real", FAKE: "fake", None: "unlabelled"}
MOST_NAMED = 5  # videos in a note
SPLIT_REMEDY = (
    "put the data set's own list into its folder and repeat 00_videos: train.json, val.json and test.json of "
    "FaceForensics++, List_of_testing_videos.txt of Celeb-DF, or metadata.json with `split` of DFDC"
)

Links = list[list[str]]  # each connects the video_ids in it
Pairs = Sequence[tuple[str, str]]  # video_ids of look-alikes


class Assignment(NamedTuple):
    """The fold and the group of each video.

    `folds`: video_id -> fold; `groups`: video_id -> group; `notes`: one sentence each.
    """

    folds: dict[str, int]  # video_id -> fold; without the videos that the scheme leaves out
    groups: dict[str, int]  # video_id -> group; no group is in two folds
    notes: list[str]  # what to know about them, one sentence each


class Dealing(NamedTuple):
    """Links between videos that must stay in one fold, and a note that explains the choice of links.

    Each link is a list of video_ids.
    """

    links: Links
    note: str


def assign(videos: Sequence[Video], alike: Pairs, scheme: str, fold_count: int, seed: int = 0) -> Assignment:
    """Assign videos to folds; return the folds, the groups of connected videos, and notes.

    Args:
        videos: the data set; at least one has a label.
        alike: pairs of videos that look alike; schemes "leak-free" and "target" keep each pair in one fold.
        scheme: one of SCHEMES. "leak-free": no identity, original or look-alike in two folds, and whole DFDC parts if
            there are enough. "target": the same, except that donors (people who gave a fake its face) can be in any
            fold. "official": the data set's own split as folds 0 (validation), 1 (test) and 2 (train); without a
            validation list, 1 / `fold_count` of the training videos become fold 0. "winner": DFDC's 50 parts in 16
            folds, as the winner split them.
        fold_count: number of folds; "winner" ignores it.
        seed: chooses the order in which groups of equal size are assigned.
    Raises:
        ValueError: if the scheme is unknown or needs a split or parts that the videos lack; or if validation, test and
            training cannot each get real and fake videos. The message names what works for these videos.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"SCHEME must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    notes: list[str] = []
    if scheme == "winner":
        folds = winner_folds(videos)
    elif scheme == "official":
        folds, notes = _official(videos, alike, fold_count, seed)
    else:
        folds, notes = _dealt(videos, _dealings(videos, alike, scheme), fold_count, seed)
    if not folds:
        reason = _refusal(videos, alike, scheme, fold_count)
        raise ValueError(f"{reason}; {_remedy(videos, alike, scheme, fold_count, seed)}")
    donors_count = scheme != "target"
    links = _links(videos if donors_count else without_donors(videos), alike)
    listed = [video for video in videos if video.video_id in folds]
    groups = connected_groups(listed, links_within(folds, links))
    return Assignment(folds, groups, notes + _group_notes(groups, folds))


def _links(videos: Sequence[Video], alike: Pairs) -> Links:
    return [*identity_links(videos).values(), *map(list, alike)]


def _dealings(videos: Sequence[Video], alike: Pairs, scheme: str) -> list[Dealing]:
    """Return what to keep together, the best first."""
    if scheme == "target":
        note = "videos are dealt by target, the person whose video it is; donors, who gave their face to a fake, can be"
        return [Dealing(_links(without_donors(videos), alike), f"{note} in any fold and are listed as donor leaks")]
    links, parts = _links(videos, alike), part_links(videos)
    if not parts:
        return [Dealing(links, "")]
    unknown = "metadata.json does not name the people in the videos, so one person can be in two folds"
    whole = Dealing([*links, *parts.values()], f"the {len(parts)} parts are dealt whole; {unknown}")
    return [whole, Dealing(links, f"the {len(parts)} parts are not dealt whole, because they are too few; {unknown}")]


def _dealt(
    videos: Sequence[Video], dealings: Sequence[Dealing], fold_count: int, seed: int
) -> tuple[dict[str, int], list[str]]:
    """Deal folds with the first of `dealings` that gives validation, test and training both labels; {} if none does."""
    for links, note in dealings:
        groups = connected_groups(videos, links)
        if 2 <= fold_count <= len(set(groups.values())):
            folds = deal_folds(videos, groups, fold_count, seed)
            if has_both_labels(videos, folds):
                return folds, [note] if note else []
    return {}, []


def _official(videos: Sequence[Video], alike: Pairs, fold_count: int, seed: int) -> tuple[dict[str, int], list[str]]:
    listed = [video for video in videos if video.split in SPLIT_FOLDS]
    folds = {video.video_id: SPLIT_FOLDS[video.split] for video in listed}
    counts = Counter(folds.values())
    if not (counts[TEST_FOLD] and counts[FIRST_TRAIN_FOLD]):
        return {}, []
    notes = ["the data set's own split: fold 0 is validation, 1 test, 2 training; people in two folds are listed below"]
    if not counts[VALIDATION_FOLD]:
        train = [video for video in listed if folds[video.video_id] == FIRST_TRAIN_FOLD]
        names = {video.video_id for video in train}
        pairs = [pair for pair in alike if names.issuperset(pair)]
        dealings = [dealing for scheme in ("leak-free", "target") for dealing in _dealings(train, pairs, scheme)]
        dealt, how = _dealt(train, dealings, fold_count, seed)
        folds |= {name: VALIDATION_FOLD for name, fold in dealt.items() if fold == 0}
        notes += [f"the split has no validation list: 1 / {fold_count} of the training videos are dealt to it", *how]
    left_out = sorted(video.video_id for video in videos if video.video_id not in folds)
    if left_out:
        notes.append(f"{len(left_out)} videos are in no list of the split and get no fold: {_named(left_out)}")
    complete = VALIDATION_FOLD in folds.values() and has_both_labels(listed, folds)
    return (folds, notes) if complete else ({}, [])


def _group_notes(groups: Mapping[str, int], folds: Mapping[str, int]) -> list[str]:
    """Report a group that is larger than a fold's share."""
    fold_count = len(set(folds.values()))
    [(group, size)] = Counter(groups.values()).most_common(1)
    if size * fold_count <= len(groups):
        return []
    members = sorted(name for name in groups if groups[name] == group)
    share = f"more than a fold's share of {len(groups) // fold_count}"
    text = f"the largest group has {size} of {len(groups)} videos, {share}: {_named(members)}"
    return [f"{text}; all are in fold {folds[members[0]]}"]


def _refusal(videos: Sequence[Video], alike: Pairs, scheme: str, fold_count: int) -> str:
    labels = Counter(LABEL_NAMES[video.label] for video in videos)
    counts = ", ".join(f"{count} {name}" for name, count in sorted(labels.items()))
    if scheme == "official":
        splits = dict(Counter(video.split or "no split" for video in videos))
        return f"SCHEME official needs real and fake videos in train and in test, got {splits} for {counts} videos"
    [dealing] = _dealings(videos, alike, scheme)[-1:]
    sizes = Counter(connected_groups(videos, dealing.links).values()).most_common()
    return (
        f"SCHEME {scheme} cannot deal {fold_count} folds with real and fake videos in the validation fold, the test "
        f"fold and the others: shared people, originals and look-alikes connect {len(videos)} videos ({counts}) into "
        f"{len(sizes)} groups, the largest has {sizes[0][1] if sizes else 0}"
    )


def _remedy(videos: Sequence[Video], alike: Pairs, scheme: str, fold_count: int, seed: int) -> str:
    """Return what works for these videos."""
    working = [
        f"SCHEME={name}"
        for name in ("leak-free", "official", "target")
        if name != scheme and _works(videos, alike, name, max(fold_count, 3), seed)
    ]
    fewer = [count for count in range(max(fold_count - 1, 3), 2, -1) if _works(videos, alike, scheme, count, seed)][:1]
    working += [f"FOLD_COUNT={count}" for count in fewer]
    without_split = "" if scheme != "official" else f"; or {SPLIT_REMEDY}"
    if not working:
        return f"no other scheme works: add videos of other people, real and fake{without_split}"
    return f"use {' or '.join(working)}{without_split}"


def _works(videos: Sequence[Video], alike: Pairs, scheme: str, fold_count: int, seed: int) -> bool:
    if scheme == "official":
        return bool(_official(videos, alike, fold_count, seed)[0])
    return bool(_dealt(videos, _dealings(videos, alike, scheme), fold_count, seed)[0])


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
