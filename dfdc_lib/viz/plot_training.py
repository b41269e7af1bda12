"""Plot how a model was trained, and its scores over time, for notebooks 06 and 07: tables in, figures out."""

import itertools
import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.viz import style
from dfdc_lib.viz.style import ACCENT, NEUTRAL, NEUTRAL_DARK, NEUTRAL_LIGHT

HISTORY_COLUMNS = ("epoch", "train loss", "log loss", "AUC", "frame log loss", "frame AUC", "videos")
SCORE_COLUMNS = ("video_id", "time_seconds", "track", "score", "label")  # label: 0, 1 or missing
CHANCE = math.log(2)  # log loss of a constant score of 0.5
MOST_PANELS = 12  # videos in one figure
TRACK_STYLES = ("-", "--", ":", "-.")


def history(table: pd.DataFrame) -> Figure:
    """Plot the losses and the AUC of every epoch; `table` has one row per epoch, with `HISTORY_COLUMNS`.

    It is the `history.csv` of a model.
    """
    style.require_columns(table, HISTORY_COLUMNS, "history")
    if table.empty:
        return style.in_words("training", "no epoch is finished")
    title = f"training (n = {len(table)} epochs; validation on {int(table['videos'].iloc[-1])} videos)"
    figure = style.figure(3.8, title)
    losses, areas = style.axes(figure, 2)
    epochs = table["epoch"] + 1
    losses.plot(epochs, table["train loss"], "o-", color=NEUTRAL_DARK, label="training (batches, smoothed labels)")
    losses.axhline(CHANCE, color=NEUTRAL, linewidth=1, linestyle="--")
    across = losses.get_yaxis_transform()  # x in axes fractions, y in losses
    losses.text(1, CHANCE, "all scores 0.5", transform=across, ha="right", va="bottom", fontsize=9)
    for axis, metric in ((losses, "log loss"), (areas, "AUC")):
        axis.plot(epochs, table[metric], "s-", color=ACCENT, label="validation, per video")
        axis.plot(epochs, table[f"frame {metric}"], "s:", color=ACCENT, label="validation, per frame")
        axis.set(xlabel="epoch", ylabel=metric, ylim=(0, None if axis is losses else 1.05))
        axis.locator_params(axis="x", integer=True, nbins=10, min_n_ticks=1)
        axis.legend(frameon=False, fontsize=9)
    return figure


def scores_over_time(scores: pd.DataFrame) -> Figure:
    """Plot every person's score over time, one panel per video; `scores` has one row per face, with `SCORE_COLUMNS`.

    These are video_id, time_seconds, track, score and label (0, 1 or missing).
    """
    style.require_columns(scores, SCORE_COLUMNS, "scores_over_time")
    if scores.empty:
        return style.in_words("scores over time", "no scored faces")
    videos = scores["video_id"].unique()
    shown = videos[:MOST_PANELS]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    title = style.counted("score of each person over time", len(shown), len(videos), "videos")
    figure = style.figure(1.9 * rows + 0.8, title)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, name in zip(panels, shown, strict=False):
        _draw_tracks(panel, str(name), scores[scores["video_id"] == name])
    for panel in panels[len(shown) :]:
        panel.axis("off")
    for panel in panels[len(shown) - columns : len(shown)]:  # the lowest panel of each column
        panel.tick_params(labelbottom=True)
    figure.supxlabel("time (seconds)", fontsize=10)
    figure.supylabel("score: P(fake)", fontsize=10)
    return figure


def _draw_tracks(panel: Axes, name: str, scores: pd.DataFrame) -> None:
    label = style.label_name(scores["label"].iloc[0])
    for line, (_, track) in zip(itertools.cycle(TRACK_STYLES), scores.groupby("track"), strict=False):
        times, colour = track["time_seconds"], style.LABEL_COLOURS[label]
        panel.plot(times, track["score"], color=colour, linestyle=line, marker=".", markersize=4)
    panel.axhline(0.5, color=NEUTRAL_LIGHT, linewidth=1)
    panel.set_ylim(-0.03, 1.03)
    panel.set_title(style.text(f"{name} ({label})", 34), fontsize=9)
    panel.spines[["top", "right"]].set_visible(False)
