"""Charts for notebook 08: tables of `evaluation` and a heading (whose scores, simulated or not, n) in, figures out."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.viz import style
from dfdc_lib.viz.style import NEUTRAL, SERIES, require_columns

MARKERS = "osD^vPX"
NAME_LENGTH = 30  # characters of a line
SLIDES_PAIR = (0.8, 0.4)  # slides: t, and n // 2.5 as a fraction
INTERVAL_COLUMNS = ("name", "metric", "value", "low", "high")


def interval_chart(intervals: pd.DataFrame, heading: str) -> Figure:
    """Draw the table of `bootstrap.intervals`: a panel per metric, a row per score; dashed: the first score's value."""
    require_columns(intervals, INTERVAL_COLUMNS, "interval_chart")
    if intervals.empty:
        return style.in_words(heading, "no scores")
    metrics = list(dict.fromkeys(intervals["metric"]))
    rows = -(-len(metrics) // 3)
    height = 1.2 + rows * (0.9 + 0.24 * intervals["name"].nunique())
    figure = style.figure(height, _title(heading, "video-level metrics, value and 95 % interval"))
    panels = figure.subplots(rows, 3, squeeze=False, sharey=True).ravel()
    for axis in panels[len(metrics) :]:
        axis.set_visible(False)
    for axis, metric in zip(panels, metrics, strict=False):
        selected = intervals[intervals["metric"] == metric]
        _dots(axis, selected, selected["value"].iloc[0])
        axis.set_xlabel(metric)
    return figure


def difference_chart(differences: pd.DataFrame, baseline: str, heading: str) -> Figure:
    """Draw the log loss and AUC of each score minus those of `baseline`: difference, 95 % interval, Holm's p-value.

    `differences`: the table from `bootstrap.differences`.
    """
    require_columns(differences, (*INTERVAL_COLUMNS, "p_holm"), "difference_chart")
    if differences.empty:
        return style.in_words(heading, f"no score to compare with {baseline}")
    title = _title(heading, f"video-level difference from {baseline}, 95 % interval, p corrected by Holm's method")
    figure = style.figure(1.9 + 0.28 * differences["name"].nunique(), title)
    panels = style.axes(figure, 2)
    for axis, metric, better in zip(panels, ("log loss", "AUC"), ("left", "right"), strict=True):
        selected = differences[differences["metric"] == metric]
        _dots(axis, selected, 0)
        for row, p in enumerate(selected["p_holm"]):
            text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
            axis.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        axis.set_xlabel(f"{metric}: difference ({better} of 0 is better)")
    panels[1].tick_params(labelleft=False)
    return figure


def heat_map(grid: pd.DataFrame, heading: str) -> Figure:
    """Draw the log losses in `grid`, the table from `strategy_study.confident_grid`; one panel per half of the groups.

    A square marks the pair (threshold, fraction) with the lowest log loss on the first half. A circle marks the pair
    that the slides use.
    """
    halves = {"first_half": "fitted on the first half", "second_half": "judged on the second half"}
    require_columns(grid, ("threshold", "fraction", *halves), "heat_map")
    if grid.empty:
        return style.in_words(heading, "the confident strategy needs several frames per video, and several groups")
    figure = style.figure(3.9, _title(heading, "video-level log loss of the confident strategy"))
    panels = style.axes(figure, 2)
    low, high = grid[[*halves]].min().min(), grid[[*halves]].max().max()
    tables = [grid.pivot(index="threshold", columns="fraction", values=half) for half in halves]
    best = np.unravel_index(np.argmin(tables[0].to_numpy()), tables[0].shape)
    ring: dict[str, Any] = {"s": 560, "facecolors": "none", "edgecolors": SERIES[2], "linewidths": 2}
    for axis, table, title in zip(panels, tables, halves.values(), strict=True):
        image = axis.imshow(table, cmap="viridis_r", aspect="auto", origin="lower", vmin=low, vmax=high)
        _write_values(axis, table, table > (low + high) / 2, "{:.3f}")
        axis.scatter(best[1], best[0], marker="s", **ring)
        rows, columns = np.flatnonzero(table.index == SLIDES_PAIR[0]), np.flatnonzero(table.columns == SLIDES_PAIR[1])
        axis.scatter(columns, rows, marker="o", **ring)
        axis.set_xticks(range(table.shape[1]), [f"{fraction:g}" for fraction in table.columns])
        axis.set_yticks(range(table.shape[0]), [f"{threshold:g}" for threshold in table.index])
        axis.set_xlabel("minimum fraction of surely fake frames")
        axis.set_title(f"{title} of the groups", fontsize=10)
    panels[0].set_ylabel("threshold t of a surely fake frame")
    figure.colorbar(image, ax=panels, label="log loss")
    return figure


def calibration_chart(reliability: dict[str, pd.DataFrame], sweep: pd.DataFrame, clip: float, heading: str) -> Figure:
    """Draw two panels: the reliability diagram of each score, and the log loss of each score for different clips.

    `reliability`: name of the score -> table from `calibration.reliability`; `sweep`: the table from
    `calibration.clip_sweep`; `clip`: the clip in use, 0-1, drawn as a dashed line. Larger dots: more videos.
    """
    if not reliability:
        return style.in_words(heading, "no scores")
    figure = style.figure(5.2, _title(heading, "calibration of the video scores"))
    diagram, losses = style.axes(figure, 2)
    diagram.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", linewidth=1)
    for (name, table), colour, marker in zip(reliability.items(), SERIES, MARKERS, strict=False):
        areas = 15 + 150 * table["videos"] / table["videos"].sum()  # points²
        points = table["score"], table["fake_share"]
        diagram.plot(*points, color=colour, linewidth=1, alpha=0.7)
        diagram.scatter(*points, s=areas, color=colour, marker=marker, alpha=0.8, label=name)
    diagram.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="video score (mean of its bin)", ylabel="share of fakes")
    diagram.set_title("reliability (dotted: perfect calibration)", fontsize=10)
    diagram.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, markerscale=0.5)
    for name, colour, marker in zip(sweep.columns, SERIES, MARKERS, strict=False):
        label = style.text(name, NAME_LENGTH)
        losses.plot(sweep.index, sweep[name], color=colour, marker=marker, markersize=4, label=label)
    losses.axvline(clip, color=NEUTRAL, linestyle="--", linewidth=1)
    losses.set(xscale="log", ylim=(0, None), xlabel="clip of the log loss (dashed: in use)", ylabel="log loss")
    losses.set_title("log loss for different clips", fontsize=10)
    losses.legend(fontsize=8, frameon=False)
    return figure


def frame_count_chart(table: pd.DataFrame, heading: str) -> Figure:
    """Draw the log loss over the number of frames per video, one line per strategy.

    `table`: from `strategy_study.by_frame_count`. The lines are shifted sideways so that intervals do not overlap.
    """
    require_columns(table, ("frame_count", "name", "value", "low", "high"), "frame_count_chart")
    if table.empty:
        return style.in_words(heading, "one score per video: there are no frames to leave out")
    figure = style.figure(3.8, _title(heading, "video-level log loss by number of frames, 95 % intervals"))
    [axis] = style.axes(figure, 1)
    for place, (_, rows) in enumerate(table.groupby("name", sort=False)):
        shift = 1.04 ** (place - (table["name"].nunique() - 1) / 2)
        _bars(axis, rows["frame_count"].astype(float) * shift, rows, place, line="-")
    counts = sorted(table["frame_count"].unique())
    axis.set(xscale="log", xlabel="evenly spaced frames per video (all, if it has fewer)", ylabel="log loss")
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def group_chart(table: pd.DataFrame, heading: str) -> Figure:
    """Draw the log loss of the strategies for different kinds of videos, e.g. by the number of people in a video.

    `table`: from `strategy_study.by_group`; one panel per question, one position per group, one colour per strategy.
    """
    require_columns(table, ("question", "group", "videos", "name", "value", "low", "high"), "group_chart")
    if table.empty:
        return style.in_words(heading, "no videos")
    unknown = "" if table["question"].nunique() > 1 else "; resolution unknown"
    figure = style.figure(3.8, _title(heading, f"video-level log loss by kind of video, 95 % intervals{unknown}"))
    panels = style.axes(figure, table["question"].nunique())
    for axis, (question, selected) in zip(panels, table.groupby("question", sort=False), strict=True):
        sizes = selected.drop_duplicates("group").set_index("group")["videos"]
        for place, (_, rows) in enumerate(selected.groupby("name", sort=False)):
            positions = np.arange(len(sizes)) + 0.15 * (place - (table["name"].nunique() - 1) / 2)
            _bars(axis, positions, rows, place)
        axis.set_xticks(range(len(sizes)), [f"{group}\nn = {size:,}" for group, size in sizes.items()])
        axis.set(xlabel=question, ylabel="log loss", xlim=(-0.6, len(sizes) - 0.4), ylim=(0, None))
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def ensemble_chart(scores: pd.DataFrame, gains: pd.DataFrame, heading: str) -> Figure:
    """Draw two panels: the rank correlation of the models' scores, and the change of log loss with each added model.

    `scores`: the table from `strategies.model_scores`, rows videos, columns models; `gains`: the table from
    `strategy_study.model_gains`.
    """
    if gains.empty:
        return style.in_words(heading, "one model (or too few groups): there is no ensemble")
    figure = style.figure(4.2, _title(heading, "several models"))
    matrix, steps = style.axes(figure, 2, (1, 1.3))
    correlation = scores.corr(method="spearman")
    image = matrix.imshow(correlation, vmin=0, vmax=1, cmap="cividis")
    _write_values(matrix, correlation, correlation < 0.5, "{:.2f}")
    names = [style.text(name, 14) for name in scores.columns]
    matrix.set_xticks(range(len(names)), names, rotation=30, ha="right")
    matrix.set_yticks(range(len(names)), names)
    figure.colorbar(image, ax=matrix, location="bottom", label="rank correlation of the video scores")
    _dots(steps, gains.assign(name=gains["step"] + gains["loss"].map("\nlog loss {:.3f}".format)), 0)
    steps.set_xlabel("change of the video-level log loss (left of 0 is better)")
    return figure


def claim_chart(claim: pd.DataFrame, before: float, after: float, heading: str) -> Figure:
    """Draw the table of `simulate.claimed_gain`, with the log losses that the slides claim.

    `before`: that of the mean, for the title; `after`: that of the confident strategy, drawn as a dashed line.
    """
    require_columns(claim, ("missed_share", "name", "value", "low", "high"), "claim_chart")
    text = f"the slides' claim: {before} with the mean becomes {after} with the confident strategy"
    figure = style.figure(3.8, _title(heading, text))
    axis = style.axes(figure, 1)[0]
    for place, (_, rows) in enumerate(claim.groupby("name", sort=False)):
        # Places 0 and 3 are those of the two strategies in the charts above, so the colours agree.
        _bars(axis, rows["missed_share"] + 0.001 * place, rows, 3 * place, line="-")
    axis.axhline(after, color=NEUTRAL, linestyle="--", linewidth=1, label=f"claimed, {after}")
    axis.set(xlabel="share of fakes that the detector misses entirely", ylabel="log loss", ylim=(0, None))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def _title(heading: str, text: str) -> str:
    return f"{style.text(heading, 110)}\n{text}"


def _dots(axis: Axes, rows: pd.DataFrame, reference: float) -> None:
    """Draw one value with its interval per row, the first at the top, and a dashed line at the reference."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.axvline(reference, color=NEUTRAL, linestyle="--", linewidth=1, zorder=0)
    look: dict[str, Any] = {"fmt": "o", "markersize": 5, "capsize": 3, "linewidth": 1.4, "color": SERIES[0]}
    axis.errorbar(rows["value"], range(len(rows)), xerr=_lengths(rows), **look)
    axis.set_yticks(range(len(rows)), [style.text(name, NAME_LENGTH) for name in rows["name"]])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.locator_params(axis="x", nbins=4)
    low, high = rows[["value", "low"]].min().min(), rows[["value", "high"]].max().max()
    if high - low < 1e-6:  # all equal: rounding errors would fill the axis
        axis.set(xlim=(low - 0.05, low + 0.05), xticks=[low])


def _bars(axis: Axes, positions: Any, rows: pd.DataFrame, place: int, line: str = "none") -> None:
    """Draw the values of one score (column `name`) with their intervals, in the colour and marker of its place."""
    look: dict[str, Any] = {"color": SERIES[place % len(SERIES)], "marker": MARKERS[place % len(MARKERS)]}
    look |= {"linestyle": line, "label": rows["name"].iloc[0]}
    axis.errorbar(positions, rows["value"], _lengths(rows), markersize=5, capsize=3, **look)


def _lengths(rows: pd.DataFrame) -> np.ndarray:
    """Return the lengths of the intervals below and above the values, (2, n); an end can lie beyond its value."""
    lengths = np.array([rows["value"] - rows["low"], rows["high"] - rows["value"]], float)
    return np.maximum(np.nan_to_num(lengths), 0)


def _write_values(axis: Axes, table: pd.DataFrame, dark: pd.DataFrame, form: str) -> None:
    """Write the values into the cells of an image, white on dark cells."""
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        colour = "white" if dark.iat[row, column] else "black"
        axis.text(column, row, form.format(value), ha="center", va="center", fontsize=8, color=colour)
