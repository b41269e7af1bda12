"""The questions of notebook 08 about a `ScoreTable`: one function a question, a table for one figure out.

What is tuned (the confident strategy's parameters, a temperature, weights of models) is tuned on one half of the originals and judged on
the other; `strategies`, `evaluate` and `calibrate` do the work.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from dfdc_lib.evaluation import calibration, metrics, strategies
from dfdc_lib.evaluation.simulate import CLAIMED_BEFORE, simulate_at
from dfdc_lib.evaluation.strategies import BASELINE, ScoreTable, confident_strategy, over_models, video_scores

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
FRACTIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9)  # of the frames that must be surely fake; the slides' n // 2.5 is 0.4
FRAME_COUNTS = (1, 2, 4, 8, 16, 32, 64)
COMPARED = (BASELINE, "mean of logits", "median", "confident")  # where all strategies would be too many
SIDES = {0: "< 480", 480: "480–719", 720: "720–1079", 1080: "≥ 1080"}  # pixels of a video's shorter side
SIMULATED_ORIGINALS = 200


def tables_to_judge(table: ScoreTable, clip: float, seed: int) -> list[ScoreTable]:
    """Give the table itself if it has both classes, and simulated scores where it has few videos or only one class."""
    both = table.videos["label"].nunique() == 2
    few = len(table.videos) < metrics.FEW_VIDEOS
    simulated = [simulate_at(CLAIMED_BEFORE, SIMULATED_ORIGINALS, clip, seed=seed)] if few or not both else []
    return [table, *simulated] if both else simulated


def heading(table: ScoreTable) -> str:
    """Say for a figure's title whose scores these are, and how far they go."""
    videos = table.videos
    if videos.empty:
        return f"{table.title}: no labelled videos, nothing to judge"
    text = f"{table.title}: {len(videos):,} videos of {videos['group'].nunique():,} originals"
    caution = metrics.caution(videos)
    return f"{text}\n{caution}" if caution else text


def baseline_of(scores: pd.DataFrame) -> str:
    """Name the score the others are compared with: the mean, or the first model."""
    return str(scores.columns[0])


def sure_answers(table: ScoreTable, scores: pd.DataFrame) -> pd.DataFrame:
    """Count every score as the deck's team did: one row a score, columns of `metrics.two_thresholds`."""
    labels = table.videos["label"].to_numpy()
    return pd.DataFrame({name: metrics.two_thresholds(labels, scores[name].to_numpy()) for name in scores}).T


def confident_grid(table: ScoreTable, clip: float, seed: int) -> pd.DataFrame:
    """Try the confident strategy with other thresholds and minimum fractions, on either half of the originals.

    Args:
        table: frame scores.
        clip: of the log loss.
        seed: of the halves.
    Returns:
        One row a pair: threshold, fraction, first_half, second_half (log loss); no rows where there is nothing to average.
    """
    first = calibration.halves(table.videos["group"], seed)
    columns = ["threshold", "fraction", "first_half", "second_half"]
    rows = []
    for threshold, fraction in _grid(table):
        loss = _losses(table, _confident(table, threshold, fraction), clip)
        rows.append((threshold, fraction, loss[first].mean(), loss[~first].mean()))
    return pd.DataFrame(rows, columns=columns)


def tuned_scores(table: ScoreTable, scores: pd.DataFrame, clip: float, seed: int) -> pd.DataFrame:
    """Set the confident strategy against what else sharpens: is it more than a temperature?

    Args:
        table: the scores.
        scores: of `strategies.strategy_scores`.
        clip: of logits and log loss.
        seed: of the halves.
    Returns:
        The baseline, median and confident columns; the baseline at the temperature, and the confident strategy with the threshold and
        fraction, that were best on the other half of the originals. Of one score a video: the first model, and it at a temperature.
    """
    base = scores[baseline_of(scores)]
    temperatures = calibration.crossed_temperatures(table.videos, base, clip, seed)
    tempered = pd.Series(calibration.temper(base.to_numpy(), temperatures.to_numpy(), clip), index=base.index)
    chosen = scores[[name for name in (base.name, "median", "confident") if name in scores]].assign(
        **{f"{base.name} at temperature": tempered}
    )
    grid = confident_grid(table, clip, seed)
    if grid.empty:
        return chosen
    first = calibration.halves(table.videos["group"], seed)
    tuned = pd.Series(np.nan, index=base.index)
    for half, tuned_on in ((first, "second_half"), (~first, "first_half")):
        best = grid.sort_values(tuned_on, kind="stable").iloc[0]
        tuned[half] = _confident(table, best["threshold"], best["fraction"])[half]
    return chosen.assign(**{"confident, tuned": tuned})


def confident_against(table: ScoreTable, scores: pd.DataFrame, clip: float, draws: int, seed: int) -> pd.DataFrame:
    """Ask whether the confident strategy beats each of the others (of one score a video: the first model).

    Args:
        table: the scores.
        scores: of `tuned_scores`.
        clip: of the log loss.
        draws: of the bootstrap.
        seed: of the bootstrap.
    Returns:
        One row a comparison and metric (index: the other score): metric (log loss, AUC), value (difference), low, high, p, p_holm.
        A score at a temperature pools two temperatures, one a half, so its AUC may differ a little from the AUC without.
    """
    subject = "confident" if "confident" in scores else baseline_of(scores)
    result = metrics.bootstrap(table.videos, scores, clip, draws, seed, ["log loss", "AUC"])
    rows = [metrics.differences(result, other).assign(other=other) for other in scores.columns.drop(subject)]
    found = pd.concat(rows)
    found = found[found["name"] == subject].reset_index(drop=True)
    found["p_holm"] = found.groupby("metric")["p"].transform(lambda column: metrics.holm(column.to_numpy()))
    found.index = pd.Index(f"{subject} against " + found["other"])
    return found[["metric", "value", "low", "high", "p", "p_holm"]].sort_values(
        "metric", ascending=False, kind="stable"
    )


def by_frame_count(table: ScoreTable, clip: float, draws: int, seed: int) -> pd.DataFrame:
    """Judge the strategies with 1, 2, 4 … frames of every video, evenly spaced.

    Args:
        table: frame scores.
        clip: of the log loss.
        draws: of the bootstrap.
        seed: of the bootstrap.
    Returns:
        One row a strategy and number: frame_count, name, value (log loss), low, high; no rows where there is nothing to average.
    """
    if not table.averages:
        return pd.DataFrame(columns=["frame_count", "name", "value", "low", "high"])
    most = max(int(frames.groupby("video_id")["frame_index"].nunique().max()) for frames in table.frames.values())
    last = next((count for count in FRAME_COUNTS if count >= most), FRAME_COUNTS[-1])
    columns: dict[tuple[int, str], pd.Series] = {}
    for count in [count for count in FRAME_COUNTS if count <= last]:
        thinned = {name: strategies.evenly_spaced(frames, count) for name, frames in table.frames.items()}
        few = ScoreTable(table.title, table.videos, thinned)
        columns |= {(count, name): over_models(few, video_scores, strategies.STRATEGIES[name]) for name in COMPARED}
    result = _loss_intervals(table.videos, pd.DataFrame(columns), clip, draws, seed)
    pairs = pd.DataFrame(result.pop("name").tolist(), columns=["frame_count", "name"])
    return pd.concat([pairs, result], axis=1)


def by_group(table: ScoreTable, scores: pd.DataFrame, clip: float, draws: int, seed: int) -> pd.DataFrame:
    """Judge the strategies by the number of people in a video, and by its resolution where it is known.

    Args:
        table: the scores.
        scores: of `strategies.strategy_scores`.
        clip: of the log loss.
        draws: of the bootstrap.
        seed: of the bootstrap.
    Returns:
        One row a group and strategy: question, group, videos, name, value (log loss), low, high.
    """
    people = strategies.people_counts(table).clip(upper=3).map({1: "1", 2: "2", 3: "3 or more"})
    questions = {"people": people}
    if {"height", "width"} <= set(table.videos):
        shorter = table.videos[["height", "width"]].min(axis=1)
        questions["shorter side (pixels)"] = pd.cut(
            shorter, [*SIDES, np.inf], right=False, labels=list(SIDES.values())
        ).astype(object)
    chosen = scores[[name for name in COMPARED if name in scores] or list(scores.columns)]
    parts = []
    for question, groups in questions.items():
        for group in [name for name in ("1", "2", "3 or more", *SIDES.values()) if (groups == name).any()]:
            inside = groups == group
            result = _loss_intervals(table.videos[inside], chosen[inside], clip, draws, seed)
            parts.append(result.assign(question=question, group=group, videos=int(inside.sum())))
    return pd.concat(parts, ignore_index=True)


def wins_and_losses(table: ScoreTable, scores: pd.DataFrame, clip: float, most: int = 3) -> pd.DataFrame:
    """Name the videos that each strategy wins and loses most against the baseline.

    Args:
        table: the scores.
        scores: of `strategies.strategy_scores`.
        clip: of the log loss.
        most: videos of either kind and strategy.
    Returns:
        One row a strategy and video: strategy, video_id, label, baseline and strategy score, gain (log loss of the baseline minus its own).
    """
    base = baseline_of(scores)
    base_losses = _losses(table, scores[base], clip)
    parts = []
    for name in scores.columns.drop(base):
        gains = (base_losses - _losses(table, scores[name], clip)).sort_values(ascending=False)
        extremes = pd.concat([gains[gains > 0].head(most), gains[gains < 0].tail(most)])
        about = {"label": table.videos["label"], base: scores[base], "score": scores[name], "gain": extremes}
        rows = pd.DataFrame(about).loc[extremes.index].rename_axis("video_id").reset_index()
        parts.append(rows.assign(strategy=name))
    columns = ["strategy", "video_id", "label", base, "score", "gain"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def model_gains(table: ScoreTable, clip: float, draws: int, seed: int) -> pd.DataFrame:
    """Add one model after the other, the best first: what does each further one gain?

    Args:
        table: scores of several models, each a mean over frames.
        clip: of logits and log loss.
        draws: of the bootstrap.
        seed: of halves and bootstrap.
    Returns:
        One row a step, and one for fitted weights: step, value (change of the log loss against the step before; for the weights, against
        the plain mean of all), low, high, loss. Order and weights come from the first half of the originals, the numbers from the second.
        No rows for one model, or a half with one class.
    """
    scores = strategies.model_scores(table)
    first = calibration.halves(table.videos["group"], seed)
    labels = table.videos["label"]
    columns = ["step", "value", "low", "high", "loss"]
    if scores.shape[1] < 2 or labels[first].nunique() < 2 or labels[~first].nunique() < 2:
        return pd.DataFrame(columns=columns)
    means = {str(name): float(_losses(table, scores[name], clip)[first].mean()) for name in scores}
    order = sorted(means, key=lambda name: means[name])
    steps = {order[0]: scores[order[0]]}
    steps |= {f"+ {name}": scores[order[: count + 2]].mean(axis=1) for count, name in enumerate(order[1:])}
    weights = calibration.fit_weights(labels[first].to_numpy(), scores[first].to_numpy(), clip)
    fitted = " ".join(f"{weight:.2f}" for weight in weights[:-1])
    steps[f"fitted weights\n{fitted}"] = pd.Series(
        calibration.weigh(scores.to_numpy(), weights, clip), index=scores.index
    )
    result = metrics.bootstrap(table.videos[~first], pd.DataFrame(steps)[~first], clip, draws, seed, ["log loss"])
    names = list(steps)
    rows = []
    for before, name in zip(names, names[1:], strict=False):
        changes = metrics.differences(result, before)
        rows.append(changes.loc[changes["name"] == name, ["value", "low", "high"]].iloc[0].tolist())
    table_of_steps = pd.DataFrame([[0.0, 0.0, 0.0], *rows], columns=columns[1:4])
    return table_of_steps.assign(step=names, loss=result.values["log loss"].to_numpy())[columns]


# Parts -------------------------------------------------------------------------------------------------------------------------------
def _grid(table: ScoreTable) -> Sequence[tuple[float, float]]:
    divisible = table.averages and table.videos["group"].nunique() > 1
    return [(threshold, fraction) for threshold in THRESHOLDS for fraction in FRACTIONS] if divisible else []


def _confident(table: ScoreTable, threshold: float, fraction: float) -> pd.Series:
    tuned = partial(confident_strategy, t=threshold, divisor=1 / fraction)
    return over_models(table, video_scores, lambda scores, confidences: tuned(scores))


def _losses(table: ScoreTable, scores: pd.Series, clip: float) -> pd.Series:
    return pd.Series(metrics.losses(table.videos["label"].to_numpy(), scores.to_numpy(), clip), index=scores.index)


def _loss_intervals(videos: pd.DataFrame, scores: pd.DataFrame, clip: float, draws: int, seed: int) -> pd.DataFrame:
    result = metrics.intervals(metrics.bootstrap(videos, scores, clip, draws, seed, ["log loss"]))
    return result[["name", "value", "low", "high"]]
