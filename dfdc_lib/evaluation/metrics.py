"""Metrics of video scores: labels and scores in, numbers out.

Every metric accepts a weight for each video, so that the same code computes a value and the draws of its bootstrap
(`bootstrap.py`), in which a video counts as often as it was drawn.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dfdc_lib.records import FAKE, REAL

SURE_FAKE, SURE_REAL = 0.8, 0.2  # slides: a fake counts as correct from 0.8 on, a real video below 0.2
AUC = "AUC"
METRICS = ("log loss", AUC, "EER", "average precision", "FPR at 95 % TPR", "accuracy 0.2/0.8")
LOWER_IS_BETTER = ("log loss", "EER", "FPR at 95 % TPR")
RANKING = METRICS[1:5]  # these depend on the order of the scores, and need both classes
BLOCK_SIZE = 4096  # videos, or faces, whose weights in all draws are summed at once


class Ranking(NamedTuple):
    """Fakes and real videos by falling score, and how many of each lie above each threshold.

    The first threshold is above all scores; one more lies just below each of the t distinct scores. A video is stored
    as its column in the weights of `weighted_metrics`.
    """

    fakes: np.ndarray  # (f,) column of the weights that belongs to each fake
    reals: np.ndarray  # (r,) the same for the real videos
    fakes_above: np.ndarray  # (t + 1,) number of fakes above each threshold, starting with 0
    reals_above: np.ndarray  # (t + 1,) the same for the real videos
    fakes_over_reals: np.ndarray  # (2, r) per real video: number of fakes that score higher; at least as high


def losses(labels: np.ndarray, scores: np.ndarray, clip: float) -> np.ndarray:
    """Return the log loss of each video, in the shape of `scores`: (n,), or (n, k) for k scores of each video.

    `labels`, (n,), are 0 or 1. Scores below `clip` count as `clip`, those above 1 - clip as 1 - clip.
    """
    is_fake = (np.asarray(labels) == FAKE).reshape(-1, *[1] * (np.ndim(scores) - 1))
    clipped = np.clip(scores, clip, 1 - clip)
    return -np.log(np.where(is_fake, clipped, 1 - clipped))


def measure(labels: np.ndarray, scores: np.ndarray, clip: float) -> dict[str, float]:
    """Return all `METRICS`, name -> value, of scores (n,) 0-1 and labels (n,) 0, 1; errors as for `check_scores`.

    Metrics in `RANKING` are NaN if a class is missing. The log loss limits scores to clip ... 1 - clip. The EER is
    interpolated on the ROC curve. The FPR at 95 % TPR is that of the highest threshold with at least this TPR.
    """
    labels, columns = check_scores(labels, scores)
    rankings = [rank(labels, columns[:, 0], np.arange(len(labels)))]
    values = weighted_metrics(np.ones((1, len(labels))), summands(labels, columns, clip), rankings, METRICS)
    return dict(zip(METRICS, values[0, 0].tolist(), strict=True))


def two_thresholds(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return accuracy, recall, precision, F1 and false-alarm share with the slides' two thresholds; NaN for 0 / 0.

    `labels`, (n,), are 0 or 1; `scores`, (n,), are the video scores, 0-1. A fake is detected from a score of 0.8 on; a
    real video is a false alarm from 0.2 on, so scores between the two are wrong for either class. The false-alarm share
    is that of the real videos. Source: TrustNet's published evaluation. Departs: precision and recall have their usual
    meaning; the publication swapped the two.
    """
    labels, columns = check_scores(labels, scores)
    is_fake, scores = labels == FAKE, columns[:, 0]
    fakes = is_fake.sum()
    hits = (scores[is_fake] >= SURE_FAKE).sum()
    false_alarms = (scores[~is_fake] >= SURE_REAL).sum()
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: no video of that kind
        shares = {
            "accuracy": (len(labels) - (fakes - hits) - false_alarms) / len(labels),
            "recall": hits / fakes,
            "precision": hits / (hits + false_alarms),
            "F1": 2 * hits / (hits + false_alarms + fakes),
            "false-alarm share": false_alarms / (len(labels) - fakes),
        }
    return {name: float(share) for name, share in shares.items()}


def check_scores(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, (n,), as int and scores, (n,) or (n, k), as (n, k) float.

    Raises ValueError if n is 0, the lengths differ, a label is not 0 or 1, or a score is NaN or outside 0-1.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, float)
    if len(labels) == 0 or len(labels) != len(scores):
        raise ValueError(f"labels and scores must have one row per video, got shapes {labels.shape} and {scores.shape}")
    if not np.isin(labels, (REAL, FAKE)).all():
        raise ValueError(f"labels must be 0 (real) or 1 (fake), got {sorted(set(labels.tolist()) - {REAL, FAKE})}")
    if not ((scores >= 0) & (scores <= 1)).all():
        missing = np.isnan(scores).sum()
        raise ValueError(f"scores must be 0-1, got {np.nanmin(scores)} to {np.nanmax(scores)}, {missing} missing")
    return labels.astype(int), scores.reshape(len(labels), -1)


def summands(labels: np.ndarray, scores: np.ndarray, clip: float) -> np.ndarray:
    """Return what `weighted_metrics` averages over videos, for labels (n,) and scores (n, k): (n, 1 + 2k).

    The columns are a constant 1, the k log losses, and for each of the k scores 1 if it is correct (a fake from 0.8 on,
    a real video below 0.2), else 0. Log losses limit scores to clip ... 1 - clip.
    """
    correct = np.where(labels[:, None] == FAKE, scores >= SURE_FAKE, scores < SURE_REAL)
    return np.hstack([np.ones((len(labels), 1)), losses(labels, scores, clip), correct])


def rank(labels: np.ndarray, scores: np.ndarray, columns: np.ndarray) -> Ranking:
    """Return the ranking of videos with (n,) labels (0, 1) by their (n,) scores.

    `columns`, (n,): each video's column in the weights of `weighted_metrics`.
    """
    order = np.argsort(-scores, kind="stable")
    is_fake = labels[order] == FAKE
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of each group of equal scores
    fakes_above = np.append(0, np.cumsum(is_fake)[last])
    reals_above = np.append(0, last + 1) - fakes_above
    at_score = np.repeat(np.arange(len(last)), np.diff(reals_above))  # of each real video, its distinct score
    fakes_over_reals = np.stack([fakes_above[at_score], fakes_above[at_score + 1]])
    return Ranking(columns[order][is_fake], columns[order][~is_fake], fakes_above, reals_above, fakes_over_reals)


def weighted_metrics(
    weights: np.ndarray, sums: np.ndarray, rankings: Sequence[Ranking], metrics: Sequence[str]
) -> np.ndarray:
    """Return `metrics` of k scores for d sets of weights, (d, k, len(metrics)); NaN if a metric lacks a class it needs.

    `weights` (d, g) are whole numbers: how often each of g groups of videos counts; a group may be one video. `sums`
    (g, 1 + 2k) are the `summands`, added up within each group. `rankings` has one entry per score; it may be empty if
    `metrics` contains none of `RANKING`.
    """
    count, *rest = (weights @ sums).T
    loss, accuracy = np.reshape(rest, (2, -1, len(weights))) / count
    values = {METRICS[0]: loss, METRICS[-1]: accuracy}
    if rankings and set(metrics) & set(RANKING) == {AUC}:
        values[AUC] = np.stack([_areas(ranking, weights) for ranking in rankings])
    elif rankings:
        values |= zip(RANKING, np.stack([_ranking_metrics(ranking, weights) for ranking in rankings], 1), strict=True)
    return np.stack([values[name].T for name in metrics], axis=-1)


def _ranking_metrics(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Return the `RANKING` metrics, (4, d)."""
    tp = _cumulated(weights, ranking.fakes, ranking.fakes_above)  # (d, t + 1): true positives at each threshold
    fp = _cumulated(weights, ranking.reals, ranking.reals_above)
    valid = (tp[:, -1] > 0) & (fp[:, -1] > 0)
    values = np.full((len(RANKING), len(weights)), np.nan)
    if not valid.all():
        tp, fp = tp[valid], fp[valid]
    precision = tp / np.maximum(tp + fp, 1)
    average_precision = np.einsum("dt,dt->d", np.diff(tp / tp[:, -1:], axis=1), precision[:, 1:])
    auc = np.trapezoid(tp, fp, axis=1) / (tp[:, -1] * fp[:, -1])
    draws = np.arange(len(tp))

    def rates(thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # TPR and FPR, one threshold per draw
        return tp[draws, thresholds] / tp[:, -1], fp[draws, thresholds] / fp[:, -1]

    fpr_at_recall = rates(_first(lambda thresholds: rates(thresholds)[0] >= 0.95, tp.shape))[1]
    # TPR + FPR reaches 1 where there are as many misses as false alarms; linear between two thresholds.
    after = _first(lambda thresholds: np.add(*rates(thresholds)) >= 1, tp.shape)
    (tpr_before, fpr_before), (tpr_after, fpr_after) = rates(after - 1), rates(after)
    total_before, total_after = tpr_before + fpr_before, tpr_after + fpr_after
    fraction = (1 - total_before) / (total_after - total_before)
    error_rate = fpr_before + fraction * (fpr_after - fpr_before)
    values[:, valid] = auc, error_rate, average_precision, fpr_at_recall
    return values


def _first(reached: Callable[[np.ndarray], np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return for each of d draws the index of the first of t thresholds at which `reached` is true; `shape` is (d, t).

    `reached`: one threshold index per draw, (d,) -> (d,) bool; once true, it stays true for later thresholds. Found by
    bisection.
    """
    low, high = np.zeros(shape[0], int), np.full(shape[0], shape[1] - 1)
    while (low < high).any():
        middle = (low + high) // 2
        is_reached = reached(middle)
        low, high = np.where(is_reached, low, middle + 1), np.where(is_reached, middle, high)
    return high


def _areas(ranking: Ranking, weights: np.ndarray) -> np.ndarray:
    """Return the AUC, (d,), the share of pairs in which the fake scores higher (ties count half); NaN without a class.

    Videos are processed in blocks of falling scores, all draws at once, so that the sums stay in the cache.
    """
    by_group = np.ascontiguousarray(weights.T)
    counts = ranking.fakes_above + ranking.reals_above
    starts = np.unique(np.searchsorted(counts, np.arange(0, counts[-1], BLOCK_SIZE)))
    pairs, fakes, reals = np.zeros((3, by_group.shape[1]))
    for start, stop in pairwise([*starts, len(counts) - 1]):
        first, last = ranking.fakes_above[[start, stop]]
        above = np.vstack(
            [fakes, np.take(by_group, ranking.fakes[first:last], axis=0)]
        )  # row i: weight of the first `first` + i fakes
        np.cumsum(above, axis=0, out=above)
        block = slice(*ranking.reals_above[[start, stop]])
        higher, not_lower = ranking.fakes_over_reals[:, block] - first
        of_reals = np.take(by_group, ranking.reals[block], axis=0)
        both = np.take(above, higher, axis=0) + np.take(above, not_lower, axis=0)
        pairs += np.einsum("rd,rd->d", both, of_reals) / 2
        fakes, reals = above[-1], reals + of_reals.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: a class is missing
        return pairs / (fakes * reals)


def _cumulated(weights: np.ndarray, columns: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the sums of the weights (d, g) over the first `counts` (t + 1,) of `columns` (n,): (d, t + 1)."""
    sums = np.zeros((len(weights), len(columns) + 1))
    np.cumsum(np.take(weights, columns, axis=1), axis=1, out=sums[:, 1:])  # `take` is three times as fast as an index
    return np.take(sums, counts, axis=1)
