"""The questions of notebook 08: a `ScoreTable` in, one table per figure out.

Parameters (of the confident strategy, a temperature, weights of models) are fitted on one half of the identity groups
and judged on the other. The work is done in `strategies`, `bootstrap` and `calibration`.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfdc_lib.evaluation import bootstrap, calibration, metrics, strategies
from dfdc_lib.evaluation.bootstrap import interval_texts
from dfdc_lib.evaluation.results import VIDEO_LEVEL, results
from dfdc_lib.evaluation.score_table import ScoreTable
from dfdc_lib.evaluation.simulate import CLAIMED_BEFORE, simulate_at
from dfdc_lib.evaluation.strategies import BASELINE, CONFIDENT, STRATEGIES, mean_of_models, over_models
from dfdc_lib.records import Resampling

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)  # of the frames that must be surely fake; the slides' n // 2.5 is 0.4
FRAME_COUNTS = (1, 2, 4, 8, 16, 32, 64)
COMPARED = (BASELINE, "mean of logits", "median", CONFIDENT)  # for charts that would be crowded with all strategies
PEOPLE = {1: "1", 2: "2", 3: "3 or more"}
SIDES = {0: "< 480", 480: "480–719", 720: "720–1079", 1080: "≥ 1080"}  # pixels of a video's shorter side
SIMULATED_ORIGINALS = 200


class Study(NamedTuple):
    """A score table with the results that several figures share."""

    table: ScoreTable
    scores: pd.DataFrame  # `strategies.strategy_scores`
    grid: pd.DataFrame  # `confident_grid`
    tuned: pd.DataFrame  # `tuned_scores`
    result: bootstrap.Bootstrap  # of `scores`, by all metrics
    parts: pd.DataFrame  # `results.results`: both levels, each method and compression


def study(table: ScoreTable, resampling: Resampling) -> list[Study]:
    """Apply and measure all strategies on a table of scores, and on simulated scores if the table is too small.

    Returns one or two studies: of the table, if it has both classes; of simulated scores, if it lacks a class or has
    too few identity groups for reliable intervals.
    """
    both = table.videos["label"].nunique() == 2
    tables = [table] if both else []
    if not both or bootstrap.caution(table.videos):
        tables.append(simulate_at(CLAIMED_BEFORE, SIMULATED_ORIGINALS, resampling.clip, seed=resampling.seed))
    studies = []
    for judged in tables:
        scores = strategies.strategy_scores(judged)
        result = bootstrap.bootstrap(judged.videos, scores, resampling)
        grid = confident_grid(judged, resampling)
        tuned = tuned_scores(judged, scores, grid, resampling)
        studies.append(Study(judged, scores, grid, tuned, result, results(judged, scores, resampling)))
    return studies


def baseline_of(scores: pd.DataFrame) -> str:
    """Return the name of the first column, with which the others are compared: the mean, or the first model.

    `scores`: a row per video, a column per strategy, from `strategy_scores`.
    """
    return str(scores.columns[0])


def metric_table(result: bootstrap.Bootstrap) -> pd.DataFrame:
    """Return a table of texts "value [low, high]": a row for each score, a column for each video-level metric.

    `result`: from `bootstrap.bootstrap`.
    """
    texts = interval_texts(bootstrap.intervals(result)).to_numpy()
    columns = result.values.columns.rename(VIDEO_LEVEL)
    return pd.DataFrame(texts.reshape(result.values.shape), result.values.index, columns)


def sure_answers(table: ScoreTable, scores: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy, recall, precision, F1 and false-alarm share (columns) of each score (rows).

    They count fakes from 0.8 on as detected and real videos from 0.2 on as false alarms; see `metrics.two_thresholds`.
    `scores`: the table from `strategy_scores` (rows: videos).
    """
    labels = table.videos["label"].to_numpy()
    return pd.DataFrame({name: metrics.two_thresholds(labels, scores[name].to_numpy()) for name in scores}).T


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table from `differences` for display: value, low and high as one text, numbers with three decimals."""
    texts = table.assign(value=interval_texts(table)).drop(columns=["low", "high"])
    return texts.rename(columns={"value": "difference [95 % interval]"}).round(3)


def confident_grid(table: ScoreTable, resampling: Resampling) -> pd.DataFrame:
    """Return the log loss of the confident strategy for several thresholds and fractions.

    A frame is surely fake above the threshold; the fraction is the least share of such frames. Columns: threshold,
    fraction, first_half, second_half (log loss on each half of the identity groups). The table has no rows if each
    video has a single score, or there is only one group.
    """
    first = calibration.halves(table.videos["group"], resampling.seed)
    rows = []
    if table.averages and table.videos["group"].nunique() > 1:
        for threshold, fraction in product(THRESHOLDS, FRACTIONS):
            loss = _losses(table, _confident(table, threshold, fraction), resampling.clip)
            rows.append((threshold, fraction, loss[first].mean(), loss[~first].mean()))
    return pd.DataFrame(rows, columns=["threshold", "fraction", "first_half", "second_half"])


def tuned_scores(table: ScoreTable, scores: pd.DataFrame, grid: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Return the confident strategy next to other ways to sharpen the mean, one column each.

    Columns: the baseline, the median, the confident strategy, the baseline at its best temperature, and the confident
    strategy with its best threshold and fraction. In the last two, each half of the groups is fitted on the other half.
    If every video has a single score, the columns are the first model without and with a temperature. `scores`: the
    table from `strategy_scores` (rows: videos).
    """
    base = scores[baseline_of(scores)]
    temperatures = calibration.crossed_temperatures(table.videos, base, resampling.clip, resampling.seed)
    columns = scores[[name for name in (base.name, "median", CONFIDENT) if name in scores]].copy()
    tempered = calibration.temper(base.to_numpy(), temperatures.to_numpy(), resampling.clip)
    columns[f"{base.name} at temperature"] = tempered
    if grid.empty:
        return columns
    first = calibration.halves(table.videos["group"], resampling.seed)
    tuned = pd.Series(np.nan, index=base.index)
    for half, tuned_on in ((first, "second_half"), (~first, "first_half")):
        best = grid.sort_values(tuned_on, kind="stable").iloc[0]
        tuned[half] = _confident(table, best["threshold"], best["fraction"])[half]
    return columns.assign(**{"confident, tuned": tuned})


def confident_against(table: ScoreTable, scores: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Compare the confident strategy with the other columns of `scores`, which come from `tuned_scores`.

    If each video has a single score, the first model takes the place of the confident strategy.
    Index: "<strategy> against <other>"; columns: metric (log loss, AUC), value (difference), low, high, p, p_holm. The
    temperatures of the two halves differ, so a temperature changes the AUC slightly.
    """
    subject = CONFIDENT if CONFIDENT in scores else baseline_of(scores)
    result = bootstrap.bootstrap(table.videos, scores, resampling, ["log loss", "AUC"])
    others = scores.columns.drop(subject)
    rows = pd.concat([bootstrap.differences(result, other).assign(other=other) for other in others])
    rows = rows[rows["name"] == subject]
    rows = rows.assign(p_holm=bootstrap.holm_by_metric(rows)).set_index(f"{subject} against " + rows["other"])
    columns = ["metric", "value", "low", "high", "p", "p_holm"]
    return rows[columns].rename_axis(None).sort_values("metric", ascending=False, kind="stable")


def by_frame_count(table: ScoreTable, resampling: Resampling) -> pd.DataFrame:
    """Return the log loss of the strategies for 1, 2, 4 ... evenly spaced frames of each video.

    Columns: name (strategy), value, low, high, frame_count; no rows if each video has a single score.
    """
    if not table.averages:
        return pd.DataFrame(columns=["name", "value", "low", "high", "frame_count"])
    most = max(faces.frame_counts.max() for faces in table.by_video)
    parts = []
    for count in [count for count in FRAME_COUNTS if count < 2 * most]:  # the last one keeps all frames
        models = [faces.thinned(count) for faces in table.by_video]
        scores = {name: [faces.apply(STRATEGIES[name]) for faces in models] for name in COMPARED}
        columns = pd.DataFrame({name: mean_of_models(table, each) for name, each in scores.items()})
        parts.append(_loss_intervals(table.videos, columns, resampling).assign(frame_count=count))
    return pd.concat(parts, ignore_index=True)


def by_group(table: ScoreTable, scores: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Return the log loss of the strategies by the number of people in a video and, if known, by its resolution.

    Columns: name (strategy), value, low, high, question ("people" or "shorter side (pixels)"), group (e.g. "2"), videos
    (their number). `scores`: the table from `strategy_scores` (rows: videos).
    """
    questions = {"people": _binned(strategies.people_counts(table), PEOPLE)}
    if {"height", "width"} <= set(table.videos):
        shorter = table.videos[["height", "width"]].min(axis=1)
        questions["shorter side (pixels)"] = _binned(shorter, SIDES)
    columns = scores[[name for name in COMPARED if name in scores] or list(scores.columns)]
    parts = []
    for question, groups in questions.items():
        for group, videos in table.videos.groupby(groups, observed=True):
            result = _loss_intervals(videos, columns.loc[videos.index], resampling)
            parts.append(result.assign(question=question, group=str(group), videos=len(videos)))
    return pd.concat(parts, ignore_index=True)


def wins_and_losses(table: ScoreTable, scores: pd.DataFrame, clip: float, most: int = 3) -> pd.DataFrame:
    """Return, for each strategy, the videos with its largest gains and losses against the baseline; `most` of each.

    Columns: strategy, video_id, label, <baseline> (its score), score, gain (log loss of baseline minus strategy).
    `scores`: the table from `strategy_scores` (rows: videos). The log loss limits scores to clip ... 1 - clip.
    """
    base = baseline_of(scores)
    base_losses = _losses(table, scores[base], clip)
    parts = []
    for name in scores.columns.drop(base):
        gains = (base_losses - _losses(table, scores[name], clip)).sort_values(ascending=False)
        extremes = pd.concat([gains[gains > 0].head(most), gains[gains < 0].tail(most)])
        rows = scores.loc[extremes.index, [base]].assign(score=scores[name], gain=extremes, strategy=name)
        parts.append(rows.assign(label=table.videos["label"]).rename_axis("video_id").reset_index())
    columns = ["strategy", "video_id", "label", base, "score", "gain"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def model_gains(table: ScoreTable, resampling: Resampling) -> pd.DataFrame:
    """Return how the log loss changes as models are added to the mean score, starting with the best model.

    The last row combines all models with fitted weights instead.

    Columns: step, value (change of the log loss from the step before), low, high, loss. Order and weights are fitted on
    the first half of the identity groups, the losses are measured on the second. The table has no rows if there is one
    model, or if a half has only one class.
    """
    scores = strategies.model_scores(table)
    first = calibration.halves(table.videos["group"], resampling.seed)
    labels = table.videos["label"]
    columns = ["step", "value", "low", "high", "loss"]
    if scores.shape[1] < 2 or labels[first].nunique() < 2 or labels[~first].nunique() < 2:
        return pd.DataFrame(columns=columns)
    means = {str(name): float(_losses(table, scores[name], resampling.clip)[first].mean()) for name in scores}
    order = sorted(means, key=lambda name: means[name])
    steps = {order[0]: scores[order[0]]}
    steps |= {f"+ {name}": scores[order[: count + 2]].mean(axis=1) for count, name in enumerate(order[1:])}
    weights = calibration.fit_weights(labels[first].to_numpy(), scores[first].to_numpy(), resampling.clip)
    weighted = calibration.weigh(scores.to_numpy(), weights, resampling.clip)
    fitted = " ".join(f"{weight:.2f}" for weight in weights[:-1])
    steps[f"fitted weights\n{fitted}"] = pd.Series(weighted, index=scores.index)
    result = bootstrap.bootstrap(table.videos[~first], pd.DataFrame(steps)[~first], resampling, ["log loss"])
    names = list(steps)
    changes = [bootstrap.differences(result, before).set_index("name") for before in names[:-1]]
    rows = [change.loc[[name], columns[1:4]] for change, name in zip(changes, names[1:], strict=True)]
    gains = pd.concat([pd.DataFrame({"value": 0.0, "low": 0.0, "high": 0.0}, index=names[:1]), *rows])
    return gains.assign(step=names, loss=result.values["log loss"].to_numpy())[columns].reset_index(drop=True)


def _binned(values: pd.Series, names: dict[int, str]) -> pd.Series:
    return pd.cut(values, [*names, np.inf], right=False, labels=list(names.values()))


def _confident(table: ScoreTable, threshold: float, fraction: float) -> pd.Series:
    return over_models(table, lambda scores, _: strategies.confident_strategy(scores, threshold, 1 / fraction))


def _losses(table: ScoreTable, scores: pd.Series, clip: float) -> pd.Series:
    return pd.Series(metrics.losses(table.videos["label"].to_numpy(), scores.to_numpy(), clip), index=scores.index)


def _loss_intervals(videos: pd.DataFrame, scores: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    result = bootstrap.bootstrap(videos, scores, resampling, ["log loss"])
    return bootstrap.intervals(result).drop(columns="metric")
