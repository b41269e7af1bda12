"""Bootstrap intervals of metrics: video scores in, tables with 95 % intervals and paired differences out.

The bootstrap draws identity groups (see `score_groups`), because videos of the same people are alike: drawn one by one,
they would make the intervals too narrow. An interval says how much a number varies with the groups, nothing else. All
scores use the same draws, so differences are paired. Sources: Efron 1979, doi:10.1214/aos/1176344552 (bootstrap); Field
& Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x (clusters); Holm 1979, "A simple sequentially rejective multiple test
procedure"; Kish 1965, "Survey Sampling" (groups of unequal size).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfdc_lib.evaluation.metrics import METRICS, RANKING, check_scores, rank, summands, weighted_metrics
from dfdc_lib.records import Resampling

# With fewer identity groups the intervals are too short. In a simulation of groups of six videos, 95 % intervals of log
# loss | AUC covered the truth in 79 | 76 % of the cases (5 groups), 83 | 77 % (7), 91 | 86 % (10) and 92 | 90 % (30).
FEW_GROUPS = 10
CHUNK_SIZE = 2**15  # draws x videos computed at once; each array has 256 KiB and stays in the cache
BLOCK_DRAWS = 16  # computed at once, or more, if the AUC is the only metric that needs the order of the scores


class Bootstrap(NamedTuple):
    """The metrics of several scores of the same videos: measured on all videos, and on every bootstrap draw of them.

    `values`: a row per score, a column per metric; `draws`: the metrics of every draw, (draws, scores, metrics).
    """

    values: pd.DataFrame  # one row per score (strategy, model), one column per metric
    draws: np.ndarray  # (draws, scores, metrics); NaN if a metric needs both classes and a draw has only one


def bootstrap(
    videos: pd.DataFrame, scores: pd.DataFrame, resampling: Resampling, metrics: Sequence[str] = METRICS
) -> Bootstrap:
    """Measure several scores of the same videos: on all videos, and on draws of identity groups with replacement.

    `metrics`: some of `METRICS`. `videos` has the columns label (0, 1) and group; `scores` has the same index and one
    column per score, 0-1. `resampling` says how many draws; 2,000 determine the ends of an interval to about a
    hundredth of its length. With a single group all draws would be equal, so they are NaN. Raises ValueError if the
    indices differ.
    """
    if not videos.index.equals(scores.index):
        raise ValueError(f"videos ({len(videos)} rows) and scores ({len(scores)} rows) must have the same index")
    labels, columns = check_scores(videos["label"].to_numpy(), scores.to_numpy(float))
    groups, names = pd.factorize(videos["group"])
    count = len(names)
    parts = summands(labels, columns, resampling.clip)
    sums = np.stack([np.bincount(groups, part, count) for part in parts.T], axis=1)
    rankings = [rank(labels, column, groups) for column in columns.T] if set(metrics) & set(RANKING) else []
    values = weighted_metrics(np.ones((1, count)), sums, rankings, metrics)[0]
    draws = np.empty((resampling.draws, *values.shape))
    generator = np.random.default_rng(resampling.seed)
    chunk = max(1 if set(metrics) & set(RANKING[1:]) else BLOCK_DRAWS, CHUNK_SIZE // len(labels))
    if count == 1:
        draws[:] = np.nan
        return Bootstrap(pd.DataFrame(values, index=scores.columns, columns=list(metrics)), draws)
    for start in range(0, resampling.draws, chunk):
        drawn = generator.integers(0, count, (len(draws[start : start + chunk]), count))
        weights = np.stack([np.bincount(row, minlength=count) for row in drawn]).astype(float)
        draws[start : start + chunk] = weighted_metrics(weights, sums, rankings, metrics)
    return Bootstrap(pd.DataFrame(values, index=scores.columns, columns=list(metrics)), draws)


def intervals(result: Bootstrap) -> pd.DataFrame:
    """Return a table with one row per score and metric: name (of the score), metric, value, low, high.

    `result`: from `bootstrap`. low and high are the ends of the 95 % interval; NaN if the metric is undefined in all
    draws.
    """
    return _table(result, result.values.to_numpy(), result.draws)


def differences(result: Bootstrap, baseline: str) -> pd.DataFrame:
    """Return each other score's metrics minus those of the score `baseline`, measured on the same draws.

    `result`: from `bootstrap`. The table has the columns of `intervals`, plus p and p_holm. p is two-sided: twice the
    share of draws in which the difference has the rarer sign. p_holm is p corrected for the number of scores, within
    each metric. Raises KeyError if there is no score `baseline`.
    """
    names = list(result.values.index)
    if baseline not in names:
        raise KeyError(f"no score {baseline!r}; there are {', '.join(map(str, names))}")
    position = names.index(baseline)
    draws = result.draws - result.draws[:, [position]]
    table = _table(result, result.values.to_numpy() - result.values.to_numpy()[position], draws)
    smaller_side = np.minimum((draws <= 0).sum(axis=0), (draws >= 0).sum(axis=0))  # (scores, metrics)
    valid = (~np.isnan(draws)).sum(axis=0)
    # The added 1 keeps p above 0: none of 2,000 draws does not prove a probability of 0.
    table["p"] = np.minimum(1.0, 2 * (1 + smaller_side) / (1 + valid)).ravel()
    table = table[table["name"] != baseline].reset_index(drop=True)
    return table.assign(p_holm=holm_by_metric(table))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return k p-values, (k,), corrected for their number by Holm's method: none gets smaller, none exceeds 1."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return corrected[np.argsort(order)]


def holm_by_metric(table: pd.DataFrame) -> pd.Series:
    """Return the column `p` of a table from `differences`, corrected by `holm` within each metric."""
    return table.groupby("metric")["p"].transform(lambda column: holm(column.to_numpy()))


def caution(videos: pd.DataFrame) -> str:
    """Return a warning for titles if the videos are in too few identity groups for reliable intervals, else "".

    `videos`: one row per video, with its identity group in the column group.
    """
    count, equal = videos["group"].nunique(), equal_group_count(videos)
    if equal >= FEW_GROUPS:
        return ""
    unequal = "" if round(equal) == count else f", so unequal that they are worth {equal:.0f} equal ones"
    plural = "" if count == 1 else "s"
    advice = "the intervals are rough and too short, do not base a decision on them"
    return f"{'only ' if count < FEW_GROUPS else ''}{count:,} identity group{plural}{unequal}: {advice}"


def equal_group_count(videos: pd.DataFrame) -> float:
    """Return how many identity groups of equal size would make a mean over videos as certain as the groups here.

    `videos`: one row per video, with its identity group in the column group.
    """
    sizes = videos.groupby("group").size().to_numpy(float)
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def interval_texts(table: pd.DataFrame) -> pd.Series:
    """Return "value [low, high]" with three decimals for each row of a table; "[no interval]" where an end is NaN.

    `table` has the columns value, low and high.
    """
    value, low, high = (table[name].map("{:z.3f}".format) for name in ("value", "low", "high"))
    measured = table["low"].notna() & table["high"].notna()
    return value + (" [" + low + ",\u00a0" + high + "]").where(measured, " [no\u00a0interval]")


def _table(result: Bootstrap, values: np.ndarray, draws: np.ndarray) -> pd.DataFrame:
    ends = np.full((2, *values.shape), np.nan)
    measurable = ~np.isnan(draws).all(axis=0)
    ends[:, measurable] = np.nanpercentile(draws[:, measurable], [2.5, 97.5], axis=0)
    rows = pd.MultiIndex.from_product(result.values.axes, names=["name", "metric"]).to_frame(index=False)
    return rows.assign(value=values.ravel(), low=ends[0].ravel(), high=ends[1].ravel())
