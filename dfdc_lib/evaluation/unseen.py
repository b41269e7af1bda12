"""Which videos of a run the models have seen in training: model cards in, one role per video out.

A card lists the identities and the content fingerprints of the videos that the model was trained on and chosen by, so
its answer does not depend on the run, on folders or on folds. Names are compared within one kind of data set; they are
the same at every compression and in every run. Files of a plain folder have no such names and are compared by content.

Some folds separate videos, but not all people in them: the official split of Celeb-DF, or folds by target. Names that
such folds leave in training and test videos are listed apart; they make no video "trained on", and their number is
shown.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from dfdc_lib.data.datasets import dfdc
from dfdc_lib.data.folds import identity_groups
from dfdc_lib.records import ModelCard, Seen, Video
from dfdc_lib.run_folder import Run

UNSEEN, UNKNOWN, CHOSEN_BY, TRAINED_ON = "unseen", "unknown", "chosen by", "trained on"
ROLES = (UNSEEN, UNKNOWN, CHOSEN_BY, TRAINED_ON)  # the later, the stronger


def roles(run: Run, cards: Iterable[ModelCard]) -> pd.Series:
    """Return the role of each video of a run in the training of the models; index: video_id, as in videos.csv.

    `cards`: the cards of the models. All videos of an identity group get the first role that fits any of them:

    - "trained on": a card lists the video as trained on.
    - "chosen by": a card lists it as chosen by.
    - "unknown": a card has no lists (models of kit 0.1, other people's models). Or it lists only parts of DFDC, and the
      video's part is unknown (a DFDC video without a part, or a video of a plain folder).
    - "unseen": all other videos.
    """
    videos, infos = run.read_videos(), run.read_infos()
    contents = [infos[video.video_id].content if video.video_id in infos else "" for video in videos]
    ranks = [[ROLES.index(role) for role in _card_roles(card, videos, contents)] for card in cards]
    video_ids = pd.Index([video.video_id for video in videos], name="video_id")
    return strongest_in_group(pd.Series([ROLES[rank] for rank in np.max(ranks, axis=0)], video_ids, str, "role"), run)


def strongest_in_group(role: pd.Series, run: Run) -> pd.Series:
    """Return for each video the strongest role in its identity group; index: video_id.

    `role`: video_id -> role of the video alone. From weak to strong: unseen, unknown, chosen by, trained on. A video
    without a fold keeps its own role.
    """
    if (run.root / "folds.csv").exists():
        groups = run.read_table("folds.csv").set_index("video_id")["group"].reindex(role.index).astype(object)
    else:
        groups = pd.Series(identity_groups(run.read_videos()), dtype=object).reindex(role.index)
    groups = groups.where(groups.notna(), role.index.to_series())  # a video in no fold has no group but itself
    return role.map(ROLES.index).groupby(groups, sort=False).transform("max").map(dict(enumerate(ROLES)))


def seen(run: Run, video_ids: Iterable[str], test_ids: Iterable[str] = ()) -> Seen:
    """Return a model card's entry for videos that the model was trained on or chosen by: identities and fingerprints.

    `test_ids` are the model's test videos: identities that they share with `video_ids` are listed as `shared`, and then
    the test videos as `tested`. Raises ValueError if a video in `video_ids` has no content fingerprint.
    """
    videos, infos, chosen, tested = run.read_videos(), run.read_infos(), set(video_ids), set(test_ids)
    contents = {video_id: info.content for video_id, info in infos.items() if video_id in chosen and info.content}
    if missing := sorted(chosen - set(contents)):
        problem = f"{len(missing)} videos have no content fingerprint, first {missing[0]}"
        raise ValueError(f"{run.root / 'videos.csv'}: {problem}; run notebook 00 again")
    names, test_names = (
        {name for video in videos if video.video_id in ids for name in identity_names(video)}
        for ids in (chosen, tested)
    )
    shared = names & test_names
    test_contents = {info.content for video_id, info in infos.items() if video_id in tested and info.content}
    lists = {"names": names - shared, "shared": shared, "contents": set(contents.values())}
    lists["tested"] = test_contents if shared else set()
    return Seen.model_validate({kind: tuple(sorted(values)) for kind, values in lists.items()})


def identity_names(video: Video) -> list[str]:
    """Return a video's identities as "<data set>/<identity>", equal in all runs; [] for a file of a plain folder."""
    return [f"{video.dataset}/{name}" for name in video.identities] if video.dataset else []


def part_name(part: int | None) -> str:
    """Return the name of a part of DFDC, "dfdc/part 12", by which the winner's cards list their training videos.

    For None, an unknown part, the result is "dfdc/part None", which no card lists.
    """
    return f"{dfdc.NAME}/part {part}"


def role_notes(role: pd.Series) -> list[str]:
    """Return one sentence with the number of videos of each role and, if some are unknown, one with the remedy.

    `role` is a series from `roles`: video_id -> role.
    """
    counts = [f"{(role == name).sum()} {name}" for name in ROLES if (role == name).any()]
    notes = [f"role of the {len(role)} videos in the training of the models: {', '.join(counts) or 'none'}"]
    if (role == UNKNOWN).any():
        notes.append("unknown: the model cards' lists do not tell; models of kit 0.1 need notebook 06 with --force")
    return notes


def _card_roles(card: ModelCard, videos: Sequence[Video], contents: Sequence[str]) -> list[str]:
    """Return the role of each video by one card alone."""
    if card.trained_on is None or card.chosen_by is None:
        return [UNKNOWN] * len(videos)
    trained_on, chosen_by = _Lists(card.trained_on), _Lists(card.chosen_by)
    by_part = not card.trained_on.contents
    result = []
    for video, content in zip(videos, contents, strict=True):
        may_be_dfdc = video.dataset in ("", dfdc.NAME)
        names = {*identity_names(video)} | ({part_name(video.part)} if may_be_dfdc else set())
        is_comparable = not may_be_dfdc or video.part is not None if by_part else bool(content or video.dataset)
        unlisted = UNSEEN if is_comparable else UNKNOWN
        is_chosen_by = chosen_by.include(names, content)
        role = TRAINED_ON if trained_on.include(names, content) else CHOSEN_BY if is_chosen_by else unlisted
        result.append(role)
    return result


class _Lists:
    """A `Seen` as sets, which stay fast for 100,000 videos."""

    def __init__(self, seen: Seen) -> None:
        self.listed, self.shared, self.tested = {*seen.names, *seen.contents}, {*seen.shared}, {*seen.tested}

    def include(self, names: set[str], content: str) -> bool:
        """Return whether a video is listed. A shared name counts for every video except the model's own test videos."""
        listed = not self.listed.isdisjoint({*names, content})
        return listed or (content not in self.tested and not self.shared.isdisjoint(names))
