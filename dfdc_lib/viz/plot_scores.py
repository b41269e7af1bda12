"""Charts of scores, for notebook 08: the tables of `averaging` and `evaluate` in, a matplotlib `Figure` out.

House rules as in `plot`. Every function takes a heading, which says whose scores these are: of simulated ones it says so in every title.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.viz import style
from dfdc_lib.viz.style import require_columns

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe-Ito
MARKERS = "osD^vPX"
LOSS_COLOURS, CORRELATION_COLOURS = "viridis_r", "cividis"
NAME_LENGTH = 30
LEAST_SPAN = 1e-6
SLIDES_PAIR = (0.8, 0.4)  # slides: t, and n // 2.5 as a fraction
INTERVAL_COLUMNS = ("name", "metric", "value", "low", "high")


def interval_chart(intervals: pd.DataFrame, heading: str) -> Figure:
    """Show every score by every metric, with its 95 % interval.

    Args:
        intervals: of `evaluate.intervals`.
        heading: whose scores.
    Returns:
        The figure: one panel a metric, one row a score; dashed: the first score.
    """
    require_columns(intervals, INTERVAL_COLUMNS, "interval_chart")
    if intervals.empty:
        return style.in_words(heading, "no scores")
    metrics = list(dict.fromkeys(intervals["metric"]))
    names = list(dict.fromkeys(intervals["name"]))
    rows = -(-len(metrics) // 3)
    figure = style.figure(
        1.2 + rows * (0.9 + 0.24 * len(names)), style.text(heading, 110) + "\nvalue and 95 % interval"
    )
    panels = figure.subplots(rows, 3, squeeze=False, sharey=True).ravel()
    for axis in panels[len(metrics) :]:
        axis.set_visible(False)
    for axis, metric in zip(panels, metrics, strict=False):
        chosen = intervals[intervals["metric"] == metric]
        _dots(axis, chosen)
        axis.axvline(chosen["value"].iloc[0], color="#777777", linestyle="--", linewidth=1, zorder=0)
        axis.set_xlabel(metric)
    return figure


def difference_chart(differences: pd.DataFrame, baseline: str, heading: str) -> Figure:
    """Show what every score gains or loses against the baseline in log loss and in AUC.

    Args:
        differences: of `evaluate.differences`.
        baseline: what they are compared with.
        heading: whose scores.
    Returns:
        The figure: log loss | AUC; right of each row p after Holm's correction.
    """
    require_columns(differences, (*INTERVAL_COLUMNS, "p_holm"), "difference_chart")
    if differences.empty:
        return style.in_words(heading, f"nothing to compare with {baseline}")
    names = list(dict.fromkeys(differences["name"]))
    title = style.text(heading, 110) + f"\ndifference to {baseline}, 95 % interval, p after Holm"
    figure = style.figure(1.9 + 0.28 * len(names), title)
    panels = style.axes(figure, 2)
    for axis, metric, better in zip(panels, ("log loss", "AUC"), ("left", "right"), strict=True):
        chosen = differences[differences["metric"] == metric]
        _dots(axis, chosen)
        axis.axvline(0, color="#777777", linestyle="--", linewidth=1, zorder=0)
        for row, p in enumerate(chosen["p_holm"]):
            axis.annotate(f"p {_p_text(p)}", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
        axis.set_xlabel(f"{metric}: difference ({better} of 0 is better)")
    panels[1].tick_params(labelleft=False)
    return figure


def heat_map(grid: pd.DataFrame, heading: str) -> Figure:
    """Show the log loss of the confident strategy over its two parameters, on either half of the originals.

    Args:
        grid: of `averaging.confident_grid`.
        heading: whose scores.
    Returns:
        The figure: first half | second half; on both, a square marks the best pair of the first half, a circle the slides' pair.
    """
    require_columns(grid, ("threshold", "fraction", "first_half", "second_half"), "heat_map")
    if grid.empty:
        return style.in_words(heading, "the confident strategy needs several frames a video, and several originals")
    figure = style.figure(3.9, style.text(heading, 110) + "\nlog loss of the confident strategy")
    panels = style.axes(figure, 2)
    limits = {
        "vmin": grid[["first_half", "second_half"]].min().min(),
        "vmax": grid[["first_half", "second_half"]].max().max(),
    }
    tables = [grid.pivot(index="threshold", columns="fraction", values=half) for half in ("first_half", "second_half")]
    best = np.unravel_index(np.argmin(tables[0].to_numpy()), tables[0].shape)
    for axis, table, half in zip(panels, tables, ("tuned on: first half", "reported on: second half"), strict=True):
        image = axis.imshow(table, cmap=LOSS_COLOURS, aspect="auto", origin="lower", **limits)
        middle = (limits["vmin"] + limits["vmax"]) / 2
        for (row, column), value in np.ndenumerate(table.to_numpy()):
            colour = "white" if value > middle else "black"
            axis.text(column, row, f"{value:.3f}", ha="center", va="center", fontsize=8, color=colour)
        axis.scatter(best[1], best[0], s=560, marker="s", facecolors="none", edgecolors="#D55E00", linewidths=2)
        rows, columns = np.flatnonzero(table.index == SLIDES_PAIR[0]), np.flatnonzero(table.columns == SLIDES_PAIR[1])
        axis.scatter(columns, rows, s=560, marker="o", facecolors="none", edgecolors="#D55E00", linewidths=2)
        axis.set_xticks(range(table.shape[1]), [f"{fraction:g}" for fraction in table.columns])
        axis.set_yticks(range(table.shape[0]), [f"{threshold:g}" for threshold in table.index])
        axis.set_xlabel("minimum fraction of surely fake frames")
        axis.set_title(f"{half} of the originals", fontsize=10)
    panels[0].set_ylabel("t: surely fake above")
    figure.colorbar(image, ax=panels, label="log loss")
    return figure


def calibration_chart(reliability: dict[str, pd.DataFrame], sweep: pd.DataFrame, clip: float, heading: str) -> Figure:
    """Show whether scores are probabilities, and how much the log loss owes to its clip.

    Args:
        reliability: name (with its ECE) → table of `calibrate.reliability`.
        sweep: of `calibrate.clip_sweep`.
        clip: the one that the notebook uses.
        heading: whose scores.
    Returns:
        The figure: reliability diagram, a dot's area grows with its videos | log loss over the clip.
    """
    if not reliability:
        return style.in_words(heading, "no scores")
    figure = style.figure(5.2, style.text(heading, 110))
    diagram, losses = style.axes(figure, 2)
    diagram.plot([0, 1], [0, 1], color="#777777", linestyle=":", linewidth=1)
    for (name, table), colour, marker in zip(reliability.items(), COLOURS, MARKERS, strict=False):
        areas = 15 + 150 * table["videos"] / table["videos"].sum()  # points²
        diagram.plot(table["score"], table["fake_share"], color=colour, linewidth=1, alpha=0.7)
        diagram.scatter(
            table["score"], table["fake_share"], s=areas, color=colour, marker=marker, alpha=0.8, label=name
        )
    diagram.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="video score (mean of its bin)", ylabel="share of fakes")
    diagram.set_title("reliability; dotted: scores are probabilities", fontsize=10)
    diagram.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, markerscale=0.5)
    for name, colour, marker in zip(sweep.columns, COLOURS, MARKERS, strict=False):
        losses.plot(
            sweep.index, sweep[name], color=colour, marker=marker, markersize=4, label=style.text(name, NAME_LENGTH)
        )
    losses.axvline(clip, color="#777777", linestyle="--", linewidth=1)
    losses.set(xscale="log", ylim=(0, None), xlabel="clip of the log loss (dashed: the one used)", ylabel="log loss")
    losses.set_title("clip sweep", fontsize=10)
    losses.legend(fontsize=8, frameon=False)
    return figure


def frame_count_chart(table: pd.DataFrame, heading: str) -> Figure:
    """Show the log loss by the number of frames, with 95 % intervals.

    Args:
        table: of `averaging.by_frame_count`.
        heading: whose scores.
    Returns:
        The figure: one line a strategy, a little apart so that the intervals can be told apart.
    """
    require_columns(table, ("frame_count", "name", "value", "low", "high"), "frame_count_chart")
    if table.empty:
        return style.in_words(heading, "one score a video: there are no frames to leave out")
    figure = style.figure(3.8, style.text(heading, 110) + "\nlog loss by number of frames, 95 % intervals")
    axis = style.axes(figure, 1)[0]
    names = list(dict.fromkeys(table["name"]))
    for place, name in enumerate(names):
        rows = table[table["name"] == name]
        shifted = rows["frame_count"].astype(float) * 1.04 ** (place - (len(names) - 1) / 2)
        _bars(axis, shifted, rows, place, name, line="-")
    counts = sorted(table["frame_count"].unique())
    axis.set(xscale="log", xlabel="frames a video, evenly spaced (all, where it has fewer)", ylabel="log loss")
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def group_chart(table: pd.DataFrame, heading: str) -> Figure:
    """Show the log loss by groups of videos: number of people, resolution.

    Args:
        table: of `averaging.by_group`.
        heading: whose scores.
    Returns:
        The figure: one panel a question, one place a group with its n, one colour a strategy.
    """
    require_columns(table, ("question", "group", "videos", "name", "value", "low", "high"), "group_chart")
    if table.empty:
        return style.in_words(heading, "no videos")
    questions = list(dict.fromkeys(table["question"]))
    unknown = "" if len(questions) > 1 else "; resolution unknown"
    figure = style.figure(3.8, style.text(heading, 110) + f"\nlog loss by groups of videos, 95 % intervals{unknown}")
    panels = style.axes(figure, len(questions))
    names = list(dict.fromkeys(table["name"]))
    for axis, question in zip(panels, questions, strict=True):
        chosen = table[table["question"] == question]
        groups = list(dict.fromkeys(chosen["group"]))
        for place, name in enumerate(names):
            rows = chosen[chosen["name"] == name]
            positions = np.arange(len(groups)) + 0.15 * (place - (len(names) - 1) / 2)
            _bars(axis, positions, rows, place, name)
        sizes = chosen.drop_duplicates("group")["videos"]
        axis.set_xticks(
            range(len(groups)), [f"{group}\nn = {size:,}" for group, size in zip(groups, sizes, strict=True)]
        )
        axis.set(xlabel=question, ylabel="log loss", xlim=(-0.6, len(groups) - 0.4), ylim=(0, None))
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def ensemble_chart(scores: pd.DataFrame, gains: pd.DataFrame, heading: str) -> Figure:
    """Show how alike several models are, and what each further one gains.

    Args:
        scores: one column a model.
        gains: of `averaging.model_gains`.
        heading: whose scores.
    Returns:
        The figure: Spearman's correlation of the video scores | change of the log loss, step by step.
    """
    if gains.empty:
        return style.in_words(heading, "one model (or too few originals): there is no ensemble to judge")
    figure = style.figure(4.2, style.text(heading, 110) + "\nseveral models")
    matrix, steps = style.axes(figure, 2, (1, 1.3))
    correlation = scores.corr(method="spearman")
    image = matrix.imshow(correlation, vmin=0, vmax=1, cmap=CORRELATION_COLOURS)
    for (row, column), value in np.ndenumerate(correlation.to_numpy()):
        matrix.text(
            column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.5 else "black", fontsize=9
        )
    names = [style.text(name, 14) for name in scores.columns]
    matrix.set_xticks(range(len(names)), names, rotation=30, ha="right")
    matrix.set_yticks(range(len(names)), names)
    figure.colorbar(image, ax=matrix, location="bottom", label="rank correlation of the video scores")
    texts = gains["step"] + gains["loss"].map(lambda loss: f"\nlog loss {loss:.4f}")
    _dots(steps, gains.assign(name=texts))
    steps.axvline(0, color="#777777", linestyle="--", linewidth=1, zorder=0)
    steps.set_xlabel("change of the log loss (left is better)")
    return figure


def claim_chart(claim: pd.DataFrame, before: float, after: float, heading: str) -> Figure:
    """Show where the slides' claim holds in the simulation.

    Args:
        claim: of `simulate.claimed_gain`.
        before: the claimed log loss of the mean.
        after: the claimed log loss of the confident strategy.
        heading: that these are simulated scores.
    Returns:
        The figure: log loss of both strategies over the share of fakes that are missed as a whole; dashed: the claim.
    """
    require_columns(claim, ("missed_share", "name", "value", "low", "high"), "claim_chart")
    title = f"{style.text(heading, 110)}\nthe slides' claim: {before} with the mean becomes {after} with the confident strategy"
    figure = style.figure(3.8, title)
    axis = style.axes(figure, 1)[0]
    for place, (name, rows) in enumerate(claim.groupby("name", sort=False)):
        _bars(
            axis, rows["missed_share"] + 0.001 * place, rows, 3 * place, str(name), line="-"
        )  # the colours that COMPARED has
    axis.axhline(after, color="#777777", linestyle="--", linewidth=1, label=f"claimed, {after}")
    axis.set(xlabel="share of fakes that the detector misses as a whole", ylabel="log loss", ylim=(0, None))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


# Parts -------------------------------------------------------------------------------------------------------------------------------
def _dots(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw one value with its interval a row, the first on top."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.errorbar(
        rows["value"],
        range(len(rows)),
        xerr=_lengths(rows),
        fmt="o",
        markersize=5,
        capsize=3,
        linewidth=1.4,
        color="black",
    )
    axis.set_yticks(range(len(rows)), [style.text(name, NAME_LENGTH) for name in rows["name"]])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.locator_params(axis="x", nbins=4)
    low, high = rows[["value", "low"]].min().min(), rows[["value", "high"]].max().max()
    if high - low < LEAST_SPAN:  # all the same: rounding errors would fill the axis
        axis.set(xlim=(low - 0.05, low + 0.05), xticks=[low])


def _bars(
    axis: Axes, positions: np.ndarray | pd.Series, rows: pd.DataFrame, place: int, name: str, line: str = "none"
) -> None:
    """Draw the values of one score with their intervals, in the colour and with the marker of its place."""
    look = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    axis.errorbar(
        positions,
        rows["value"],
        _lengths(rows),
        color=look[0],
        marker=look[1],
        linestyle=line,
        markersize=5,
        capsize=3,
        label=name,
    )


def _lengths(rows: pd.DataFrame) -> np.ndarray:
    """How far the interval reaches below and above the value, (2, n); a percentile interval may leave its value outside."""
    reach = np.array([rows["value"] - rows["low"], rows["high"] - rows["value"]], float)
    return np.maximum(np.nan_to_num(reach), 0)


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
