"""How good video scores are, and how sure that is: labels and scores in, tables with intervals out.

All metrics are computed from weights (how often a video was drawn), so one implementation serves the value and every draw of the bootstrap.
The bootstrap draws originals with their fakes: videos of one original are alike, and drawing them singly would make the intervals too
narrow. Sources: Efron 1979, doi:10.1214/aos/1176344552 (bootstrap); Field & Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x (clusters);
Holm 1979, "A simple sequentially rejective multiple test procedure".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dfdc_lib.records import FAKE, REAL

SURE_FAKE, SURE_REAL = 0.8, 0.2  # the deck's team: a fake counts as found from 0.8 on, a real as passed below 0.2
WANTED_RECALL = 0.95
INTERVAL_PERCENT = (2.5, 97.5)
FEW_VIDEOS = 30  # below it an interval says little

METRICS = ("log loss", "AUC", "EER", "average precision", "FPR at 95 % TPR", "accuracy 0.2/0.8")
LOWER_IS_BETTER = ("log loss", "EER", "FPR at 95 % TPR")
RANKING = METRICS[1:5]  # these need the videos in order of their scores


@dataclass(frozen=True)
class Bootstrap:
    """Several scores of the same videos, measured as they are and in every draw; all saw the same draws and can be compared in pairs."""

    values: pd.DataFrame  # one row a score (strategy, model), one column a metric
    draws: np.ndarray  # (draws, scores, metrics); NaN where a draw had only one class and the metric needs both


# Metrics -----------------------------------------------------------------------------------------------------------------------------
def losses(labels: np.ndarray, scores: np.ndarray, clip: float) -> np.ndarray:
    """Give every video's part of the log loss: minus the logarithm of the probability that its label was given.

    Args:
        labels: (n,) 0 real, 1 fake.
        scores: (n,) or (n, k) P(fake).
        clip: scores count as at least this and at most 1 − this.
    Returns:
        The losses, in the shape of `scores`.
    """
    fakes = (np.asarray(labels) == FAKE).reshape(-1, *[1] * (np.ndim(scores) - 1))
    clipped = np.clip(scores, clip, 1 - clip)
    return -np.log(np.where(fakes, clipped, 1 - clipped))


def measure(labels: np.ndarray, scores: np.ndarray, clip: float) -> dict[str, float]:
    """Measure one score of every video by all of `METRICS`.

    Args:
        labels: (n,) 0 real, 1 fake.
        scores: (n,) P(fake), 0–1.
        clip: of the log loss.
    Returns:
        Metric → value; those that need both classes are NaN where there is only one. EER is interpolated on the ROC curve; FPR at 95 % TPR
        is that of the highest threshold which finds 95 % of the fakes.
    Raises:
        ValueError: if the arrays are empty or of different shapes, or a value lies outside 0–1.
    """
    labels, scores = _checked(labels, scores)
    singly = np.arange(len(labels))
    values = _measured(
        np.ones(len(labels)), _sums(labels, scores, clip), [_Ranking(labels, scores[:, 0], singly)], METRICS
    )
    return dict(zip(METRICS, values[0].tolist(), strict=True))


def two_thresholds(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Count as the deck's team did: a fake is found at 0.8 or more, a real passes below 0.2, between them is wrong for either.

    Args:
        labels: (n,) 0 real, 1 fake.
        scores: (n,) P(fake), 0–1.
    Returns:
        accuracy, recall of the fakes, precision, F1, and the share of false alarms among the reals.
    Source:
        SPEC 3. Departs: precision and recall stand under their own names; its publishers exchanged them.
    """
    labels, scores = _checked(labels, scores)
    fakes = labels == FAKE
    found = int(np.count_nonzero(scores[fakes] >= SURE_FAKE))
    passed = int(np.count_nonzero(scores[~fakes] < SURE_REAL))
    false_alarms = int(np.count_nonzero(~fakes)) - passed
    recall, precision = _share(found, fakes.sum()), _share(found, found + false_alarms)
    return {
        "accuracy": (found + passed) / len(labels),
        "recall": recall,
        "precision": precision,
        "F1": _share(2 * found, found + false_alarms + fakes.sum()),
        "false-alarm share": _share(false_alarms, (~fakes).sum()),
    }


# Bootstrap ---------------------------------------------------------------------------------------------------------------------------
def bootstrap(
    videos: pd.DataFrame, scores: pd.DataFrame, clip: float, draws: int, seed: int, metrics: Sequence[str] = METRICS
) -> Bootstrap:
    """Measure several scores of the same videos, as they are and in draws of originals with their fakes.

    Args:
        videos: one row a video: label (0, 1), group (drawn as one).
        scores: the same index; one column a score, P(fake) 0–1.
        clip: of the log loss.
        draws: how many; 2,000 give an interval's ends to about a hundredth of its length.
        seed: of the draws.
        metrics: of `METRICS`.
    Returns:
        The values and the draws.
    Raises:
        ValueError: if the tables do not fit together, or a score lies outside 0–1.
    """
    if not videos.index.equals(scores.index):
        raise ValueError(
            f"videos and scores must have the same index, got {len(videos)} and {len(scores)} rows: reindex one by the other"
        )
    labels, columns = _checked(videos["label"].to_numpy(), scores.to_numpy(float))
    groups, names = pd.factorize(videos["group"])
    group_sums = np.zeros((len(names), 1 + 2 * columns.shape[1]))
    np.add.at(group_sums, groups, _sums(labels, columns, clip))
    rankings = [_Ranking(labels, column, groups) for column in columns.T] if set(metrics) & set(RANKING) else []
    values = _measured(np.ones(len(names)), group_sums, rankings, metrics)
    generator = np.random.default_rng(seed)
    drawn = np.empty((draws, *values.shape))
    for row in drawn:
        weights = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names)).astype(float)
        row[:] = _measured(weights, group_sums, rankings, metrics)
    return Bootstrap(pd.DataFrame(values, index=scores.columns, columns=list(metrics)), drawn)


def intervals(result: Bootstrap) -> pd.DataFrame:
    """Give every value its 95 % interval: the percentiles of its draws.

    Returns:
        One row a score and metric: name, metric, value, low, high; NaN ends where no draw could be measured.
    """
    return _table(result, result.values.to_numpy(), result.draws)


def differences(result: Bootstrap, baseline: str) -> pd.DataFrame:
    """Compare every score with one of them, in the same draws.

    Args:
        result: of `bootstrap`.
        baseline: name of the score that the others are compared with.
    Returns:
        One row a score and metric, the baseline left out: name, metric, value (of the difference), low, high, p (two-sided: twice the
        share of the draws on the far side of 0), p_holm (corrected for the number of scores compared, within a metric).
    Raises:
        KeyError: if there is no such score.
    """
    position = list(result.values.index).index(baseline) if baseline in result.values.index else -1
    if position < 0:
        raise KeyError(f"{baseline!r} is none of the scores {', '.join(map(str, result.values.index))}")
    drawn = result.draws - result.draws[:, [position]]
    table = _table(result, result.values.to_numpy() - result.values.to_numpy()[[position]], drawn)
    sides = np.minimum((drawn <= 0).sum(axis=0), (drawn >= 0).sum(axis=0))  # (scores, metrics)
    usable = (~np.isnan(drawn)).sum(axis=0)
    table["p"] = np.minimum(
        1.0, 2 * (1 + sides) / (1 + usable)
    ).ravel()  # + 1: a share of 0 of 2,000 draws is no proof of 0
    table = table[table["name"] != baseline].reset_index(drop=True)
    table["p_holm"] = table.groupby("metric")["p"].transform(lambda column: holm(column.to_numpy()))
    return table


def holm(p_values: np.ndarray) -> np.ndarray:
    """Correct p-values for their number, step by step from the smallest (Holm 1979).

    Args:
        p_values: (k,) 0–1.
    Returns:
        (k,) the corrected ones, at least as large, at most 1.
    """
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(
        1.0, np.maximum.accumulate(np.asarray(p_values, float)[order] * np.arange(len(p_values), 0, -1))
    )
    return corrected


def caution(videos: pd.DataFrame) -> str:
    """Say in words how far intervals from these videos can be trusted; "" where nothing needs saying."""
    if len(videos) >= FEW_VIDEOS:
        return ""
    return f"only {len(videos)} labelled videos of {videos['group'].nunique()} originals: the intervals are rough, decide nothing by them"


# Parts -------------------------------------------------------------------------------------------------------------------------------
def _checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    if len(labels) == 0 or len(labels) != len(scores):
        raise ValueError(
            f"labels and scores must be of the same videos, at least one; got shapes {labels.shape} and {scores.shape}"
        )
    if not np.isin(labels, (REAL, FAKE)).all():
        raise ValueError(f"a label must be 0 (real) or 1 (fake), got {sorted(set(labels.tolist()) - {REAL, FAKE})}")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(
            f"a score must lie in 0–1, got {np.nanmin(scores)} to {np.nanmax(scores)}, {np.isnan(scores).sum()} missing"
        )
    return labels.astype(int), scores.reshape(len(labels), -1)


def _sums(labels: np.ndarray, scores: np.ndarray, clip: float) -> np.ndarray:
    """What is summed over videos: 1, then the losses and the right answers of every score, (n, 1 + 2k)."""
    right = np.where(labels[:, None] == FAKE, scores >= SURE_FAKE, scores < SURE_REAL)
    return np.hstack([np.ones((len(labels), 1)), losses(labels, scores, clip), right])


class _Ranking:
    """The videos in falling order of one score, and room to measure them in: fresh arrays in every draw would take ten times as long."""

    def __init__(self, labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> None:
        order = np.argsort(-scores, kind="stable")
        self.groups = groups[order]
        self.fakes = (labels[order] == FAKE).astype(float)
        self.ends = np.append(
            0, np.append(np.flatnonzero(np.diff(scores[order])) + 1, len(order))
        )  # of equal scores, counted from 1
        self.sums = np.zeros((2, len(order) + 1))  # running weight of the fakes, of all videos; element 0 stays 0
        self.room = np.empty((4, len(self.ends)))

    def measure(self, weights: np.ndarray) -> tuple[float, float, float, float]:
        """Measure `RANKING` with whole-number weights of the groups."""
        np.take(weights, self.groups, out=self.sums[1, 1:], mode="clip")
        np.multiply(self.sums[1, 1:], self.fakes, out=self.sums[0, 1:])
        np.cumsum(self.sums, axis=1, out=self.sums)
        found, false_alarms, precision, work = self.room  # one element a threshold; thresholds fall
        np.take(self.sums[0], self.ends, out=found, mode="clip")
        np.take(self.sums[1], self.ends, out=work, mode="clip")
        np.subtract(work, found, out=false_alarms)
        np.divide(found, np.maximum(work, 1, out=work), out=precision)
        fakes, reals = found[-1], false_alarms[-1]
        if fakes == 0 or reals == 0:
            return (np.nan,) * 4
        # The trapezoids below the ROC curve, multiplied out: most of their terms cancel.
        auc = (fakes * reals + _dot(false_alarms[1:], found[:-1]) - _dot(false_alarms[:-1], found[1:])) / (
            2 * fakes * reals
        )
        average_precision = (_dot(found[1:], precision[1:]) - _dot(found[:-1], precision[1:])) / fakes
        at_recall = np.searchsorted(np.divide(found, fakes, out=work), WANTED_RECALL)
        np.add(work, np.divide(false_alarms, reals, out=precision), out=work)
        equal = int(np.searchsorted(work, 1))  # TPR + FPR reaches 1 where there are as many misses as false alarms
        before = (1 - work[equal - 1]) / (work[equal] - work[equal - 1])
        rate = precision[equal - 1] + before * (precision[equal] - precision[equal - 1])
        return auc, float(rate), average_precision, float(false_alarms[at_recall] / reals)


def _measured(
    weights: np.ndarray, sums: np.ndarray, rankings: Sequence[_Ranking], metrics: Sequence[str]
) -> np.ndarray:
    """Measure all scores with the given weights of the groups, (scores, metrics)."""
    count, *rest = np.einsum("i,ij->j", weights, sums)
    loss, right = np.array(rest).reshape(2, -1) / count
    found = {"log loss": loss, METRICS[-1]: right}
    if rankings:
        found |= dict(zip(RANKING, np.transpose([ranking.measure(weights) for ranking in rankings]), strict=True))
    return np.column_stack([found[name] for name in metrics])


def _dot(first: np.ndarray, second: np.ndarray) -> float:
    """Multiply and add without BLAS, whose threads wait for each other longer than these short sums take."""
    return float(np.einsum("i,i->", first, second))


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _table(result: Bootstrap, values: np.ndarray, drawn: np.ndarray) -> pd.DataFrame:
    """Lay out values and the ends of their intervals, one row a score and metric."""
    ends = np.full((2, *values.shape), np.nan)
    measurable = ~np.isnan(drawn).all(axis=0)
    ends[:, measurable] = np.nanpercentile(drawn[:, measurable], INTERVAL_PERCENT, axis=0)
    names = np.repeat(result.values.index.to_numpy(), values.shape[1])
    metrics = np.tile(result.values.columns.to_numpy(), values.shape[0])
    return pd.DataFrame(
        {"name": names, "metric": metrics, "value": values.ravel(), "low": ends[0].ravel(), "high": ends[1].ravel()}
    )
