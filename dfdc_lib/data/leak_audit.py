"""Audit of folds: people and scenes that are in two folds.

Input: videos, their folds, and the pairs of similar videos. Output: a list of leaks. Names show shared identities and
originals; pictures show similar scenes, because DFDC does not list the people in its videos. A similar pair is a
candidate to inspect, not a proof.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from dfdc_lib.data.folds import identity_links
from dfdc_lib.data.look_alikes import SimilarPair
from dfdc_lib.records import Video


class Leak(NamedTuple):
    """An identity or scene that is in two folds, with one example video of each fold.

    `folds` are the two folds, ascending; `videos` the example's video_id in each; `detail` says what is shared or
    similar.
    """

    kind: str  # "identity", "donor", "look-alike" or "same scene"; see `audit`
    folds: tuple[int, int]  # ascending
    videos: tuple[str, str]  # one of each fold
    detail: str


def audit(videos: Sequence[Video], folds: Mapping[str, int], similar: Sequence[SimilarPair]) -> list[Leak]:
    """List the identities and scenes that are in two folds, sorted; one leak for each pair of folds.

    `folds` maps every video_id to its fold; `similar` are pairs of similar videos, [] to compare by name only. Raises
    ValueError if a video has no fold. The kinds of leaks:

    - "identity": a person, a source, or an original and its fakes are in both folds.
    - "donor": a person is in both folds, but in at least one of them only as the giver of a face.
    - "look-alike": most frames of a similar pair agree.
    - "same scene": any other similar pair.

    Identities with the same kind and example videos are combined into one leak.
    """
    missing = sorted({video.video_id for video in videos} - set(folds))
    missing += sorted({name for pair in similar for name in (pair.video_a, pair.video_b)} - set(folds))
    if missing:
        raise ValueError(f"every video must have a fold, {len(missing)} have none, e.g. {missing[0]}: redo the folds")
    return sorted(_identity_leaks(videos, folds) + _scene_leaks(folds, similar))


def _identity_leaks(videos: Sequence[Video], folds: Mapping[str, int]) -> list[Leak]:
    targets = {video.video_id: f"identity {next(iter(video.identities), '')}" for video in videos}
    details = defaultdict(list)
    for name, members in identity_links(videos).items():
        counts = Counter(folds[member] for member in members)
        of_target = {folds[member] for member in members if name == targets[member]}
        example = {folds[member]: member for member in sorted(members, reverse=True)}  # the first by name in each fold
        for a, b in combinations(sorted(counts), 2):
            kind = "donor" if name.startswith("identity ") and not {a, b} <= of_target else "identity"
            text = f"{name}: {counts[a]} in fold {a}, {counts[b]} in fold {b}"
            details[kind, (a, b), (example[a], example[b])].append(text)
    return [Leak(kind, pair, example, "; ".join(sorted(texts))) for (kind, pair, example), texts in details.items()]


def _scene_leaks(folds: Mapping[str, int], similar: Sequence[SimilarPair]) -> list[Leak]:
    leaks = []
    for pair in similar:
        (fold_a, a), (fold_b, b) = sorted((folds[video_id], video_id) for video_id in (pair.video_a, pair.video_b))
        if fold_a != fold_b:
            detail = f"the nearest frames differ in {pair.distance} of 64 bits"
            leaks.append(Leak("look-alike" if pair.alike else "same scene", (fold_a, fold_b), (a, b), detail))
    return leaks
