"""Two sets of scores of the same videos: which is better, and is that more than chance?

In: two `ScoreTable`s. Out: the difference of every quality with its interval. Every draw of the bootstrap measures both sets on the same
videos, so that what is common to them falls out of the difference; whether two separate intervals overlap cannot tell that. Source:
`evaluate`.
"""

import pandas as pd

from dfdc_lib.evaluation import metrics
from dfdc_lib.evaluation.strategies import STRATEGIES, ScoreTable, over_models, video_scores
from dfdc_lib.evaluation.strategy_study import COMPARED

CLIP, DRAWS, SEED = 1e-4, 2000, 0  # the defaults of notebook 08
JUDGED_BY = ("log loss", "AUC")
NOT_SETTLED, TOO_FEW = "not settled", "too few videos to say"


def shared_videos(first: ScoreTable, second: ScoreTable) -> pd.DataFrame:
    """Keep of the first table's videos those that the second has under the same id with the same label."""
    labels = second.videos["label"].reindex(first.videos.index)
    return first.videos[labels == first.videos["label"]]


def paired_differences(first: ScoreTable, second: ScoreTable) -> pd.DataFrame:
    """Measure how far two sets of scores differ in quality on the videos that both have.

    Args:
        first: scores A.
        second: scores B.
    Returns:
        One row a strategy of `COMPARED` and metric (log loss, AUC): strategy, metric, first, second (values of A and B), value (B − A),
        low, high (its 95 % interval), answer (which is better, or why that is not said). No rows where no video is in both; NaN where a
        metric needs both classes.
    """
    videos = shared_videos(first, second)
    parts = []
    for name in COMPARED if len(videos) else ():
        scores = {
            side: over_models(table, video_scores, STRATEGIES[name]) for side, table in (("A", first), ("B", second))
        }
        result = metrics.bootstrap(videos, pd.DataFrame(scores).loc[videos.index], CLIP, DRAWS, SEED, JUDGED_BY)
        changes = metrics.differences(result, "A")
        values = result.values[changes["metric"]].to_numpy()
        parts.append(changes.assign(strategy=name, first=values[0], second=values[1]))
    columns = ["strategy", "metric", "first", "second", "value", "low", "high"]
    found = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    few = bool(metrics.caution(videos))
    answers = [better(*row, few=few) for row in found[["metric", "low", "high"]].itertuples(index=False)]
    return found.assign(answer=answers)


def better(metric: str, low: float, high: float, *, few: bool) -> str:
    """Say which of A and B is better by a metric.

    Args:
        metric: of `metrics.METRICS`.
        low: lower end of the interval of B − A.
        high: upper end; both are NaN where nothing could be measured.
        few: the videos are too few for any answer.
    Returns:
        "A is better", "B is better", or why that cannot be said.
    """
    if not (low > 0 or high < 0):
        return NOT_SETTLED
    if few:
        return TOO_FEW
    return "B is better" if (high < 0) == (metric in metrics.LOWER_IS_BETTER) else "A is better"
