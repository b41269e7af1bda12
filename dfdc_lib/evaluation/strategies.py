"""Averaging strategies: the scores of a video's frames in, one video score out.

Every strategy in `STRATEGIES` is a function `(scores, confidences) -> video score` of arrays of shape (n,), n >= 1.
Source: the slides, "Averaging Predictions", for the confident strategy; the others are common means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import scipy  # imports scipy.special when it is first used

if TYPE_CHECKING:  # pandas is imported where used: the command line needs the strategies' names alone
    import pandas as pd

    from dfdc_lib.evaluation.score_table import ScoreTable

FAKE_THRESHOLD, REAL_THRESHOLD = 0.8, 0.2  # slides, confident_strategy: frames above are surely fake, below surely real
FAKE_DIVISOR, FAKE_COUNT = 2.5, 11  # slides: more than n // 2.5 frames must be surely fake, and more than 11
REAL_SHARE = 0.9  # slides: more than this share of the frames must be surely real
LOGIT_CLIP = 1e-6  # a float32 sigmoid can be exactly 0 or 1, whose logit is infinite
TRIMMED_SHARE = 0.1  # of the frames, removed at each end
TOP_COUNT = 8  # frames: a quarter of the slides' 32

Strategy = Callable[[np.ndarray, np.ndarray], float]


def clipped_logit(scores: np.ndarray, clip: float) -> np.ndarray:
    """Return the logits of scores that are first limited to clip ... 1 - clip, so that none is infinite.

    `scores` are 0-1, of any shape.
    """
    return scipy.special.logit(np.clip(scores, clip, 1 - clip))


def confident_strategy(scores: np.ndarray, t: float = FAKE_THRESHOLD, divisor: float = FAKE_DIVISOR) -> float:
    """Average the surely fake frames if there are enough, else the surely real ones if nearly all are, else all frames.

    `scores`, (n,), are those of the frames of one video, 0-1. A frame is surely fake above `t`, surely real below 0.2.
    Enough: more than n // `divisor` of the n frames and more than 11. Nearly all: more than 90 %. Source: slides,
    `confident_strategy(pred, t=0.8)`. Departs: an empty array raises ValueError instead of returning NaN with a
    warning; the divisor is a parameter.
    """
    values = _check(scores)
    fakes, reals = values[values > t], values[values < REAL_THRESHOLD]
    if len(fakes) > len(values) // divisor and len(fakes) > FAKE_COUNT:
        return float(fakes.mean())
    return float(reals.mean() if len(reals) > REAL_SHARE * len(values) else values.mean())


def confidence_weighted_mean(scores: np.ndarray, confidences: np.ndarray) -> float:
    """Return the mean score, weighted by the detector's confidences; ValueError unless their sum is positive.

    Both are (n,) for the faces of one video: scores 0-1, confidences 0-1.
    """
    if not confidences.sum() > 0:
        raise ValueError(f"confidences must have a positive sum, got {confidences.sum()} for {len(scores)} scores")
    return float(scores @ confidences / confidences.sum())


def trimmed_mean(scores: np.ndarray, share: float) -> float:
    """Return the mean without the lowest and the highest `share` of the scores, (n,), each rounded down.

    It equals `scipy.stats.trim_mean`, whose module takes a second to import.
    """
    cut = int(share * len(scores))
    return float(np.partition(scores, (cut, len(scores) - cut - 1))[cut : len(scores) - cut].mean())


def _checked(strategy: Strategy) -> Strategy:
    def checked(scores: np.ndarray, confidences: np.ndarray) -> float:
        values, weights = _check(scores), np.asarray(confidences, float)
        if weights.shape != values.shape:
            raise ValueError(f"expected one confidence per score, got shapes {weights.shape} and {values.shape}")
        return float(strategy(values, weights))

    return checked


BASELINE, WEIGHTED, CONFIDENT = "mean", "confidence-weighted", "confident"
_STRATEGIES: dict[str, Strategy] = {
    BASELINE: lambda scores, confidences: scores.mean(),
    # Scores near 0 and 1 weigh more than in the mean.
    "mean of logits": lambda scores, confidences: scipy.special.expit(clipped_logit(scores, LOGIT_CLIP).mean()),
    "median": lambda scores, confidences: float(np.median(scores)),
    "trimmed mean": lambda scores, confidences: trimmed_mean(scores, TRIMMED_SHARE),
    f"mean of the top {TOP_COUNT}": lambda scores, confidences: np.sort(scores)[-TOP_COUNT:].mean(),
    "maximum": lambda scores, confidences: scores.max(),
    WEIGHTED: confidence_weighted_mean,
    CONFIDENT: lambda scores, confidences: confident_strategy(scores),
}
STRATEGIES = {name: _checked(strategy) for name, strategy in _STRATEGIES.items()}
PER_PERSON = (BASELINE, "median", CONFIDENT)  # also applied to each person separately


def video_scores(frames: pd.DataFrame, strategy: Strategy) -> pd.Series:
    """Return each video's score: the strategy applied to all its faces, whoever they show, as the winner did.

    `frames` has one row per face: video_id, score, and confidence (1 if the column is absent). Index: video_id, sorted.
    """
    return _grouped(frames, ["video_id"], strategy)


def person_scores(frames: pd.DataFrame, strategy: Strategy) -> pd.Series:
    """Return each video's highest strategy score among its people (column `track`). Departs: the winner pools faces.

    `frames` has one row per face: video_id, track, score, and confidence (1 if absent). The index of the result is
    video_id.
    """
    return _grouped(frames, ["video_id", "track"], strategy).groupby(level="video_id").max()


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
        columns |= {f"{name}, per person": over_models(table, STRATEGIES[name], person_scores) for name in PER_PERSON}
    return pd.DataFrame(columns, index=table.videos.index)


def model_scores(table: ScoreTable) -> pd.DataFrame:
    """Return the mean score of each video (rows) by each model (columns)."""
    import pandas as pd

    means = {name: frames.groupby("video_id")["score"].mean() for name, frames in table.frames.items()}
    return pd.DataFrame(means, index=table.videos.index)


def over_models(table: ScoreTable, strategy: Strategy, apply: Callable = video_scores) -> pd.Series:
    """Apply a strategy to each model's frames with `apply`, `video_scores` or `person_scores`; average the models."""
    import pandas as pd

    scores = pd.concat([apply(frames, strategy) for frames in table.frames.values()], axis=1)
    return scores.mean(axis=1).reindex(table.videos.index)


def people_counts(table: ScoreTable) -> pd.Series:
    """Return the number of people (tracks) in each video; index: video_id."""
    frames = next(iter(table.frames.values()))
    return frames.groupby("video_id")["track"].nunique().reindex(table.videos.index)


def thin_frames(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the rows of `count` evenly spaced frames per video.

    They are the middle frames of `count` equal parts of the video. A video with `count` frames or fewer keeps all its
    rows. `frames` has one row per face, among its columns video_id and frame_index.
    """
    grouped = frames.groupby("video_id")["frame_index"]
    position = grouped.rank("dense").to_numpy().astype(int) - 1  # 0, 1, 2 ... within the video
    total = grouped.transform("nunique").to_numpy()
    # The middle of part i is (2i + 1) * total / (2 * count); `part` is the first whose middle is not before `position`.
    part = -((total - 2 * count * position) // (2 * total))
    return frames[(total <= count) | ((2 * part + 1) * total // (2 * count) == position)]


def _check(scores: np.ndarray) -> np.ndarray:
    values = np.asarray(scores, float)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"a strategy needs scores of shape (n,) with n >= 1, got {values.shape}")
    return values


def _grouped(frames: pd.DataFrame, keys: list[str], strategy: Strategy) -> pd.Series:
    """Sort once and pass slices to the strategy, which is twenty times as fast as `groupby.apply`."""
    import pandas as pd

    ordered = frames.sort_values(keys, kind="stable")
    scores = ordered["score"].to_numpy(float)
    confidences = ordered["confidence"].to_numpy(float) if "confidence" in ordered else np.ones(len(ordered))
    sizes = ordered.groupby(keys).size()
    ends = sizes.to_numpy().cumsum()
    values = [strategy(scores[rows], confidences[rows]) for rows in map(slice, ends - sizes, ends)]
    return pd.Series(values, sizes.index, float, "score")
