"""Averaging strategies: the scores of a video's frames in, one video score out.

Every strategy of `STRATEGIES` has one signature, `(scores, confidences) → video score`, on arrays of shape (n,) with n ≥ 1: a video without
a face has no scores, and what it gets instead is decided by who predicts. `video_scores` applies one to a whole table. Sources: the slides,
"Averaging Predictions", for the confident strategy; the others are common means.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

FAKE_THRESHOLD = 0.8  # slides, confident_strategy: a frame above it is surely fake
FAKE_DIVISOR = 2.5  # slides: more than n // 2.5 frames must be surely fake …
FAKE_COUNT = 11  # slides: … and more than 11
REAL_THRESHOLD = 0.2  # slides: a frame below it is surely real
REAL_SHARE = 0.9  # slides: more than this share of the frames must be surely real
LOGIT_CLIP = 1e-6  # a float32 sigmoid comes out as exactly 0 or 1, whose logit is infinite
TRIMMED_SHARE = 0.1  # of the frames, cut off at either end
TOP_COUNT = 8  # frames: a quarter of the slides' 32

Strategy = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class ScoreTable:
    """The scores of one or several models, and what is known of the videos.

    `videos` has one row a video (index: video_id): label 0 or 1, group (its original, which is drawn with its fakes), and method, height,
    width (pixels) where they are known. `frames` has one table a model, one row a face: video_id, frame_index, track, score, and confidence
    where it is known; all models have scored all of `videos`.
    """

    title: str
    videos: pd.DataFrame
    frames: dict[str, pd.DataFrame]
    notes: tuple[str, ...] = field(default=())  # what a reader must know: what was left out, and why

    @property
    def averages(self) -> bool:
        """Tell whether there is anything to average: a video with more than one score."""
        return any(table["video_id"].duplicated().any() for table in self.frames.values())


# Numbers -----------------------------------------------------------------------------------------------------------------------------
def logit(scores: np.ndarray, clip: float) -> np.ndarray:
    """Turn scores, clipped to clip … 1 − clip, into logits."""
    clipped = np.clip(scores, clip, 1 - clip)
    return np.log(clipped / (1 - clipped))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Turn logits into scores."""
    return 1 / (1 + np.exp(-logits))


# Strategies --------------------------------------------------------------------------------------------------------------------------
def confident_strategy(scores: np.ndarray, t: float = FAKE_THRESHOLD, divisor: float = FAKE_DIVISOR) -> float:
    """Average the surely fake frames if there are enough of them, the surely real ones if nearly all are, else all.

    Args:
        scores: (n,) P(fake) of a video's frames, n ≥ 1.
        t: a frame above it is surely fake.
        divisor: more than n // divisor frames must be surely fake.
    Returns:
        The video score.
    Raises:
        ValueError: if there are no scores.
    Source:
        Slides, `confident_strategy(pred, t=0.8)`. Departs: no scores are an error, there NaN with a warning; the divisor is a parameter,
        for the study of it.
    """
    values = _checked(scores)
    fakes = values > t
    reals = values < REAL_THRESHOLD
    if np.count_nonzero(fakes) > len(values) // divisor and np.count_nonzero(fakes) > FAKE_COUNT:
        return float(values[fakes].mean())
    if np.count_nonzero(reals) > REAL_SHARE * len(values):
        return float(values[reals].mean())
    return float(values.mean())


def mean(scores: np.ndarray, confidences: np.ndarray) -> float:
    """Average the scores."""
    return float(_checked(scores).mean())


def mean_of_logits(scores: np.ndarray, confidences: np.ndarray) -> float:
    """Average the logits, clipped at `LOGIT_CLIP`, and turn that into a score: sure frames weigh more."""
    return float(sigmoid(logit(_checked(scores), LOGIT_CLIP).mean()))


def median(scores: np.ndarray, confidences: np.ndarray) -> float:
    """Take the middle score."""
    return float(np.median(_checked(scores)))


def trimmed_mean(scores: np.ndarray, confidences: np.ndarray) -> float:
    """Average without the lowest and the highest `TRIMMED_SHARE` of the scores."""
    values = np.sort(_checked(scores))
    cut = int(TRIMMED_SHARE * len(values))
    return float(values[cut : len(values) - cut].mean())


def top_mean(scores: np.ndarray, confidences: np.ndarray) -> float:
    """Average the `TOP_COUNT` highest scores, or all if there are fewer."""
    return float(np.sort(_checked(scores))[-TOP_COUNT:].mean())


def maximum(scores: np.ndarray, confidences: np.ndarray) -> float:
    """Take the highest score."""
    return float(_checked(scores).max())


def confidence_weighted_mean(scores: np.ndarray, confidences: np.ndarray) -> float:
    """Average the scores, each weighted with the detector's confidence in its face.

    Raises:
        ValueError: if there are no scores, or the confidences have another shape or add up to nothing.
    """
    values, weights = _checked(scores), np.asarray(confidences, float)
    if weights.shape != values.shape or not weights.sum() > 0:
        raise ValueError(
            f"confidences must be positive, one per score; got shape {weights.shape}, sum {weights.sum()} for {len(values)} scores"
        )
    return float(values @ weights / weights.sum())


def confident(scores: np.ndarray, confidences: np.ndarray) -> float:
    """Apply the slides' `confident_strategy` as printed."""
    return confident_strategy(scores)


BASELINE, WEIGHTED = "mean", "confidence-weighted"
STRATEGIES: dict[str, Strategy] = {
    BASELINE: mean,
    "mean of logits": mean_of_logits,
    "median": median,
    "trimmed mean": trimmed_mean,
    f"mean of the top {TOP_COUNT}": top_mean,
    "maximum": maximum,
    WEIGHTED: confidence_weighted_mean,
    "confident": confident,
}
PER_PERSON = (BASELINE, "median", "confident")  # also tried within each person


# Tables ------------------------------------------------------------------------------------------------------------------------------
def video_scores(frames: pd.DataFrame, strategy: Strategy) -> pd.Series:
    """Apply a strategy to every video of a table; all people of a video are pooled, as the winner did.

    Args:
        frames: one row a face: video_id, score, and confidence (1 where the column is absent).
        strategy: of `STRATEGIES`, or of the same signature.
    Returns:
        The video scores; index: video_id, sorted.
    """
    return _grouped(frames, ["video_id"], strategy)


def person_scores(frames: pd.DataFrame, strategy: Strategy) -> pd.Series:
    """Apply a strategy to every person of a video; the most suspicious person gives the video score.

    Args:
        frames: as for `video_scores`, and track.
        strategy: of `STRATEGIES`, or of the same signature.
    Returns:
        The video scores; index: video_id, sorted.
    Source:
        The kit's own. Departs: the winner pooled all faces of a frame.
    """
    return _grouped(frames, ["video_id", "track"], strategy).groupby(level="video_id").max()


def strategy_scores(table: ScoreTable) -> pd.DataFrame:
    """Apply all strategies that the table has the columns for; several models are averaged after their strategy, as the winner did.

    Args:
        table: frame scores; of one score a video, the models themselves are compared.
    Returns:
        One row a video (as in `table.videos`), one column a strategy; ", per person" where a video has several people.
    """
    if not table.averages:
        return model_scores(table)
    known = [name for name in STRATEGIES if name != WEIGHTED or _all_have(table, "confidence")]
    columns = {name: over_models(table, video_scores, STRATEGIES[name]) for name in known}
    if any(people_counts(table) > 1):
        columns |= {f"{name}, per person": over_models(table, person_scores, STRATEGIES[name]) for name in PER_PERSON}
    return pd.DataFrame(columns, index=table.videos.index)


def model_scores(table: ScoreTable) -> pd.DataFrame:
    """Average every model by itself: one row a video, one column a model."""
    means = {name: frames.groupby("video_id")["score"].mean() for name, frames in table.frames.items()}
    return pd.DataFrame(means, index=table.videos.index)


def over_models(
    table: ScoreTable, apply: Callable[[pd.DataFrame, Strategy], pd.Series], strategy: Strategy
) -> pd.Series:
    """Apply a strategy to every model's frames, and average the models."""
    each = pd.concat([apply(frames, strategy) for frames in table.frames.values()], axis=1)
    return each.mean(axis=1).reindex(table.videos.index)


def people_counts(table: ScoreTable) -> pd.Series:
    """Count the people (tracks) of every video; index: video_id."""
    first = next(iter(table.frames.values()))
    return first.groupby("video_id")["track"].nunique().reindex(table.videos.index)


def evenly_spaced(frames: pd.DataFrame, count: int) -> pd.DataFrame:
    """Keep `count` frames of every video, the middles of as many equal parts; all of a video that has no more.

    Args:
        frames: one row a face: video_id, frame_index.
        count: frames to keep, at least 1.
    Returns:
        The rows of the frames that are kept; two faces of one frame stay together.
    """
    position = (
        frames.groupby("video_id")["frame_index"].rank("dense").to_numpy().astype(int) - 1
    )  # 0, 1, 2 … within the video
    total = frames.groupby("video_id")["frame_index"].transform("nunique").to_numpy()
    # The middle of part i is (2i + 1) · total / (2 · count); `part` is the first whose middle does not lie before `position`.
    part = -((total - 2 * count * position) // (2 * total))
    return frames[(total <= count) | ((2 * part + 1) * total // (2 * count) == position)]


# Parts -------------------------------------------------------------------------------------------------------------------------------
def _checked(scores: np.ndarray) -> np.ndarray:
    values = np.asarray(scores, float)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(
            f"a strategy needs the scores of at least one frame, (n,), got shape {values.shape}: a video without a face has none"
        )
    return values


def _all_have(table: ScoreTable, column: str) -> bool:
    return all(column in frames for frames in table.frames.values())


def _grouped(frames: pd.DataFrame, keys: list[str], strategy: Strategy) -> pd.Series:
    """Sort once, then hand the strategy one slice after the other: twenty times as fast as `groupby.apply`."""
    ordered = frames.sort_values(keys, kind="stable")
    scores = ordered["score"].to_numpy(float)
    confidences = ordered["confidence"].to_numpy(float) if "confidence" in ordered else np.ones(len(ordered))
    sizes = ordered.groupby(keys).size()
    ends = sizes.to_numpy().cumsum()
    values = [
        strategy(scores[end - size : end], confidences[end - size : end]) for end, size in zip(ends, sizes, strict=True)
    ]
    return pd.Series(values, index=sizes.index, name="score", dtype=float)
