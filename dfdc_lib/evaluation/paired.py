"""Compare two sets of scores of the same videos: which is better, and is the difference more than chance?

Input: two `ScoreTable`s. Output: the difference of each metric with its interval. Each draw of the bootstrap measures
both sets on the same videos, so that what they have in common cancels out; two separate intervals cannot show that.
"""

import pandas as pd

from dfdc_lib.evaluation.bootstrap import bootstrap, caution, differences
from dfdc_lib.evaluation.metrics import LOWER_IS_BETTER
from dfdc_lib.evaluation.score_table import ScoreTable
from dfdc_lib.evaluation.strategies import STRATEGIES, over_models
from dfdc_lib.evaluation.strategy_study import COMPARED
from dfdc_lib.records import Resampling

RESAMPLING = Resampling()  # the defaults of notebook 08
NOT_SETTLED, TOO_FEW = "not settled", "too few videos to say"


def shared_videos(first: ScoreTable, second: ScoreTable) -> pd.DataFrame:
    """Return the rows of `first.videos` whose video_id has the same label in `second`.

    The result has a row per video (index: video_id), with the columns of `ScoreTable.videos`, such as label and group.
    """
    labels = second.videos["label"].reindex(first.videos.index)
    return first.videos[labels == first.videos["label"]]


def paired_differences(first: ScoreTable, second: ScoreTable) -> pd.DataFrame:
    """Return the difference in quality between scores A (`first`) and B (`second`), on the videos that both have.

    Columns: strategy, metric (log loss, AUC), first, second (values of A and B), value (B - A), low, high (95 %
    interval), answer (see `better`). No rows if no video is shared; NaN if a metric needs both classes.
    """
    videos = shared_videos(first, second)
    parts = []
    for name in COMPARED if len(videos) else ():
        scores = {side: over_models(table, STRATEGIES[name]) for side, table in (("A", first), ("B", second))}
        result = bootstrap(videos, pd.DataFrame(scores).loc[videos.index], RESAMPLING, ("log loss", "AUC"))
        values = result.values.to_numpy()
        parts.append(differences(result, "A").assign(strategy=name, first=values[0], second=values[1]))
    columns = ["strategy", "metric", "first", "second", "value", "low", "high"]
    rows = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    ends = rows[["metric", "low", "high"]].itertuples(index=False)
    return rows.assign(answer=[better(*row, few=bool(caution(videos))) for row in ends])


def better(metric: str, low: float, high: float, *, few: bool) -> str:
    """Return which of A and B is better, by the 95 % interval from `low` to `high` of B - A in `metric`.

    - `NOT_SETTLED`: the interval contains 0 or is NaN.
    - `TOO_FEW`: otherwise, if there are too `few` videos to trust it.
    - "A is better" or "B is better": all other cases.
    """
    if not (low > 0 or high < 0):
        return NOT_SETTLED
    if few:
        return TOO_FEW
    return "B is better" if (high < 0) == (metric in LOWER_IS_BETTER) else "A is better"
