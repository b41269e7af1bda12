"""Averaging strategies: the scores of a video's frames in, one video score out.

Every strategy in `STRATEGIES` is a function `(scores, confidences) -> video scores`. Both arrays are (n,), n >= 1, for
one video, or (k, n) for k videos with n scores each; the result is then (k,).
Source: the slides, "Averaging Predictions", for the confident strategy; the others are common means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy  # imports scipy.special when it is first used

from dfdc_lib.evaluation.face_groups import FaceGroups, equal_runs, group_faces

if TYPE_CHECKING:  # pandas is imported where used: the command line needs only the strategies' names
    import pandas as pd

    from dfdc_lib.evaluation.score_table import ScoreTable

FAKE_THRESHOLD, REAL_THRESHOLD = 0.8, 0.2  # slides, confident_strategy: frames above are surely fake, below surely real
FAKE_DIVISOR, FAKE_COUNT = 2.5, 11  # slides: more than n // 2.5 frames must be surely fake, and more than 11
REAL_SHARE = 0.9  # slides: more than this share of the frames must be surely real
LOGIT_CLIP = 1e-6  # a float32 sigmoid can be exactly 0 or 1, whose logit is infinite
TRIMMED_SHARE = 0.1  # of the frames, removed at each end
TOP_COUNT = 8  # frames: a quarter of the slides' 32

Strategy = Callable[[np.ndarray, np.ndarray], np.ndarray]


def clipped_logit(scores: np.ndarray, clip: float) -> np.ndarray:
    """Return the logits of scores that are first limited to clip ... 1 - clip, so that none is infinite.

    `scores` are 0-1, of any shape.
    """
    return scipy.special.logit(np.clip(scores, clip, 1 - clip))


def confident_strategy(scores: np.ndarray, t: float = FAKE_THRESHOLD, divisor: float = FAKE_DIVISOR) -> np.ndarray:
    """Average the surely fake frames if there are enough, else the surely real ones if nearly all are, else all frames.

    `scores`, (..., n), are those of the n frames of each video, 0-1; returns (...). A frame is surely fake above `t`,
    surely real below 0.2. Enough: more than n // `divisor` of the n frames and more than 11. Nearly all: more than
    90 %. Source: slides, `confident_strategy(pred, t=0.8)`. Departs: an empty array raises ValueError instead of
    returning NaN with a warning; the divisor is a parameter.
    """
    values = _check(scores)
    count = values.shape[-1]
    is_fake, is_real = values > t, values < REAL_THRESHOLD
    fakes, reals = (sure.sum(axis=-1, keepdims=True) for sure in (is_fake, is_real))
    enough = (fakes > count // divisor) & (fakes > FAKE_COUNT)
    averaged = np.where(enough, is_fake, is_real | (reals <= REAL_SHARE * count))
    sizes = averaged.sum(axis=-1).ravel()
    means, chosen = np.empty(len(sizes)), values[averaged]
    for videos, frames in equal_runs(sizes):
        means[videos] = chosen[frames].mean(axis=-1)
    return means.reshape(values.shape[:-1])[()]


def confidence_weighted_mean(scores: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """Return the mean score, weighted by the detector's confidences; ValueError unless their sum is positive.

    Both are (..., n) for the n faces of each video: scores 0-1, confidences 0-1. Returns (...).
    """
    sums = confidences.sum(axis=-1)
    if not (sums > 0).all():
        raise ValueError(f"confidences must have a positive sum, got {sums.min()} for {scores.shape[-1]} scores")
    return np.vecdot(scores, confidences) / sums


def trimmed_mean(scores: np.ndarray, share: float) -> np.ndarray:
    """Return the mean without the lowest and the highest `share` of the scores, (..., n), each rounded down.

    It equals `scipy.stats.trim_mean` along the last axis, whose module takes a second to import.
    """
    count = scores.shape[-1]
    cut = int(share * count)
    return np.partition(scores, (cut, count - cut - 1), axis=-1)[..., cut : count - cut].mean(axis=-1)


def _checked(strategy: Strategy) -> Strategy:
    def checked(scores: np.ndarray, confidences: np.ndarray) -> np.ndarray:
        values, weights = _check(scores), np.asarray(confidences, float)
        if weights.shape != values.shape:
            raise ValueError(f"expected one confidence per score, got shapes {weights.shape} and {values.shape}")
        return strategy(values, weights)

    return checked


BASELINE, WEIGHTED, CONFIDENT = "mean", "confidence-weighted", "confident"
_STRATEGIES: dict[str, Strategy] = {
    BASELINE: lambda scores, confidences: scores.mean(axis=-1),
    # Scores near 0 and 1 weigh more than in the mean.
    "mean of logits": lambda scores, confidences: scipy.special.expit(clipped_logit(scores, LOGIT_CLIP).mean(-1)),
    "median": lambda scores, confidences: np.median(scores, axis=-1),
    "trimmed mean": lambda scores, confidences: trimmed_mean(scores, TRIMMED_SHARE),
    f"mean of the top {TOP_COUNT}": lambda scores, confidences: np.sort(scores)[..., -TOP_COUNT:].mean(axis=-1),
    "maximum": lambda scores, confidences: scores.max(axis=-1),
    WEIGHTED: confidence_weighted_mean,
    CONFIDENT: lambda scores, confidences: confident_strategy(scores),
}
STRATEGIES = {name: _checked(strategy) for name, strategy in _STRATEGIES.items()}
PER_PERSON = (BASELINE, "median", CONFIDENT)  # also applied to each person separately


def video_scores(frames: pd.DataFrame, strategy: Strategy) -> pd.Series:
    """Return each video's score: the strategy applied to all its faces, whoever they show, as the winner did.

    `frames` has one row per face: video_id, frame_index, score, and confidence (1 if the column is absent). Index:
    video_id, sorted.
    """
    return group_faces(frames, ["video_id"]).apply(strategy)


def person_scores(people: FaceGroups, strategy: Strategy) -> pd.Series:
    """Return each video's highest strategy score among its people. Departs: the winner pools faces.

    `people`: the faces grouped by video_id and track. The index of the result is video_id, sorted.
    """
    return people.apply(strategy).groupby(level="video_id").max()


def strategy_scores(table: ScoreTable) -> pd.DataFrame:
    """Return the video scores of every strategy (columns) for every video (rows), averaged over the models.

    Without confidences, the confidence-weighted mean is left out. If any video shows several people, the strategies in
    `PER_PERSON` have a second column, "<strategy>, per person". If no video has more than one score, there is nothing
    to average over frames, and the columns are the models instead. Source: the winner also averages models last.
    """
    import pandas as pd

    if not table.averages:
        return model_scores(table)
    has_confidence = all("confidence" in frames for frames in table.frames.values())
    names = [name for name in STRATEGIES if name != WEIGHTED or has_confidence]
    columns = {name: over_models(table, STRATEGIES[name]) for name in names}
    if any(people_counts(table) > 1):
        people = [group_faces(frames, ["video_id", "track"]) for frames in table.frames.values()]
        for name in PER_PERSON:
            scores = [person_scores(of_model, STRATEGIES[name]) for of_model in people]
            columns[f"{name}, per person"] = mean_of_models(table, scores)
    return pd.DataFrame(columns, index=table.videos.index)


def model_scores(table: ScoreTable) -> pd.DataFrame:
    """Return the mean score of each video (rows) by each model (columns)."""
    import pandas as pd

    means = {name: frames.groupby("video_id")["score"].mean() for name, frames in table.frames.items()}
    return pd.DataFrame(means, index=table.videos.index)


def over_models(table: ScoreTable, strategy: Strategy) -> pd.Series:
    """Apply a strategy to the faces of each video and model, and average over the models; index: that of the videos."""
    return mean_of_models(table, [faces.apply(strategy) for faces in table.by_video])


def mean_of_models(table: ScoreTable, scores: Sequence[pd.Series]) -> pd.Series:
    """Return the video scores averaged over the models, with the index of `table.videos`; `scores`: one per model."""
    import pandas as pd

    return pd.concat(scores, axis=1).mean(axis=1).reindex(table.videos.index)


def people_counts(table: ScoreTable) -> pd.Series:
    """Return the number of people (tracks) in each video; index: video_id."""
    frames = next(iter(table.frames.values()))
    return frames.groupby("video_id")["track"].nunique().reindex(table.videos.index)


def _check(scores: np.ndarray) -> np.ndarray:
    values = np.asarray(scores, float)
    if values.ndim == 0 or values.shape[-1] == 0:
        raise ValueError(f"a strategy needs scores of shape (..., n) with n >= 1, got {values.shape}")
    return values
