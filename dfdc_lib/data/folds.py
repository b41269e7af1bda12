"""Folds in which no person is both trained on and tested on.

Input: the videos of a data set, and what connects them. Output: a fold per video. `winner_folds` repeats the winner's
split by DFDC part; `deal_folds` never splits connected videos. `fold_schemes` chooses, `leak_audit` checks.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from dfdc_lib.records import Video

WINNER_FOLDS = 16  # winner's code, folds.py: --n_splits
PARTS_PER_FOLD = 3  # winner's code: 50 // 16; the last fold gets the rest
DFDC_PARTS = 50  # dfdc_train_part_0 to dfdc_train_part_49
VALIDATION_FOLD, TEST_FOLD, FIRST_TRAIN_FOLD = 0, 1, 2  # the defaults of notebook 06; every other fold is trained on


def winner_folds(videos: Sequence[Video]) -> dict[str, int]:
    """Split DFDC by part into 16 folds, as the winner did: parts 0-2 are fold 0, ..., parts 45-49 are fold 15.

    Returns video_id -> fold; raises ValueError if a video's part is not 0-49. Fakes are in their original's part, but
    one actor can be in several parts. Source: winner's code, folds.py.
    """
    for video in videos:
        if video.part is None or not 0 <= video.part < DFDC_PARTS:
            remedy = "the winner's folds need DFDC's parts; choose SCHEME leak-free for other data sets"
            raise ValueError(f"part must be 0-{DFDC_PARTS - 1}, got {video.part} for video {video.video_id}: {remedy}")
    return {video.video_id: min((video.part or 0) // PARTS_PER_FOLD, WINNER_FOLDS - 1) for video in videos}


def connected_groups(videos: Sequence[Video], links: Iterable[Sequence[str]]) -> dict[str, int]:
    """Group the videos that links connect, directly or through other videos; a link is a sequence of video_ids.

    Returns video_id -> number of its group, counted from 0 in order of first appearance.
    """
    # A forest of disjoint sets; scipy.cluster has one, and takes half a second to import.
    parent = {video.video_id: video.video_id for video in videos}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    for first, *others in links:
        for other in others:
            parent[root(other)] = root(first)
    numbers, _ = pd.factorize(np.array([root(video.video_id) for video in videos], object))
    return {video.video_id: int(number) for video, number in zip(videos, numbers, strict=True)}


def identity_groups(videos: Sequence[Video]) -> dict[str, int]:
    """Group videos that share an identity, and fakes with their originals; return video_id -> group number from 0."""
    return connected_groups(videos, identity_links(videos).values())


def links_within(folds: Mapping[str, int], links: Iterable[Sequence[str]]) -> list[list[str]]:
    """Split every link (a sequence of video_ids) into one link per fold; drop videos without a fold.

    `folds`: video_id -> fold.
    """
    parts = defaultdict(list)
    for number, members in enumerate(links):
        for member in members:
            if member in folds:
                parts[number, folds[member]].append(member)
    return list(parts.values())


def identity_links(videos: Sequence[Video]) -> dict[str, list[str]]:
    """Return the videos that share an identity or an original: name of the link -> two or more video_ids.

    "identity <name>": the videos with this identity. "original <video_id>": an original and its fakes, except those
    that already share an identity with it.
    """
    links = defaultdict(list, {f"original {video.video_id}": [video.video_id] for video in videos})
    identities = {video.video_id: set(video.identities) for video in videos}
    for video in videos:
        for name in identities[video.video_id]:
            links[f"identity {name}"].append(video.video_id)
        if video.original_id and identities[video.video_id].isdisjoint(identities.get(video.original_id, ())):
            links[f"original {video.original_id}"].append(video.video_id)
    return {name: members for name, members in links.items() if len(members) > 1}


def without_donors(videos: Sequence[Video]) -> list[Video]:
    """Return copies of the videos with their first identity only: the person filmed, not the donor of the face."""
    return [video.model_copy(update={"identities": video.identities[:1]}) for video in videos]


def part_links(videos: Sequence[Video]) -> dict[str, list[str]]:
    """Return "part <number>" -> the video_ids in that DFDC part; videos without a part are left out."""
    links = defaultdict(list)
    for video in videos:
        if video.part is not None:
            links[f"part {video.part}"].append(video.video_id)
    return dict(links)


def deal_folds(videos: Sequence[Video], groups: Mapping[str, int], fold_count: int, seed: int = 0) -> dict[str, int]:
    """Split videos so that no group is in two folds and the folds have similar compositions.

    Groups are assigned one at a time, the largest first; the seed orders groups of equal size. A stratum s is a
    combination of label, method and compression. It has N(s) videos in total, c(s) in the group and n(f, s) so far in
    fold f. The group goes to the fold f with the lowest cost, the sum over s of c(s) * n(f, s) / N(s)^2. If costs are
    equal, the fold with fewer videos gets it. This spreads every stratum evenly. No fold stays empty, because an empty
    fold costs 0.

    Then the folds are numbered. Folds with both labels come first, because folds 0 and 1 are validated and tested on.
    Folds with a group of more than 1 / fold_count of all videos come last, the largest group at the very end, so that
    it is trained on.

    `groups` maps every video_id to its group. Returns video_id -> fold, 0 to fold_count - 1, independent of the order
    of the videos. Raises ValueError if fold_count is below 2 or above the number of groups. Departs from the winner's
    code, which splits by DFDC part. scikit-learn's StratifiedGroupKFold is similar, but scikit-learn is not a
    dependency of the kit.
    """
    videos = sorted(videos, key=lambda video: video.video_id)
    codes, _ = pd.factorize(np.array([groups[video.video_id] for video in videos], int))
    group_count = len(set(codes.tolist()))
    if not 2 <= fold_count <= group_count:
        raise ValueError(f"fold_count must be 2 to {group_count}, got {fold_count}: there are {group_count} groups")
    strata, _ = pd.factorize(pd.Series([(video.label, video.method, video.compression) for video in videos]))
    counts = pd.crosstab(codes, strata).to_numpy()  # (groups, strata)
    filled = np.zeros((fold_count, counts.shape[1]), int)  # (folds, strata)
    weights = counts / counts.sum(axis=0) ** 2
    order = np.random.default_rng(seed).permutation(len(counts))
    fold_of_group = np.empty(len(counts), int)
    for group in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        cost = (filled * weights[group]).sum(axis=1)
        fold = int(np.lexsort((filled.sum(axis=1), cost))[0])  # by cost, then by size, then by number
        filled[fold] += counts[group]
        fold_of_group[group] = fold
    sizes = counts.sum(axis=1)
    too_large = np.zeros(fold_count, int)  # size of the largest group in a fold, if it is larger than a fold
    np.maximum.at(too_large, fold_of_group, np.where(sizes * fold_count > len(videos), sizes, 0))
    folds = {video.video_id: int(fold_of_group[code]) for video, code in zip(videos, codes, strict=True)}
    labels = Counter(fold for fold, _ in {(folds[v.video_id], v.label) for v in videos if v.label is not None})
    ranked = sorted(range(fold_count), key=lambda fold: (too_large[fold], -labels[fold]))
    return {video_id: ranked.index(fold) for video_id, fold in folds.items()}


def has_both_labels(videos: Sequence[Video], folds: Mapping[str, int]) -> bool:
    """Return whether the validation fold, the test fold and all other folds together each have real and fake videos.

    If the videos have only one label, that label is enough. `folds` maps each video_id to its fold.
    """
    held = defaultdict(set)
    for video in videos:
        held[min(folds[video.video_id], FIRST_TRAIN_FOLD)].add(video.label)
    labels = {video.label for video in videos} - {None}
    return all(labels <= present for present in held.values())
