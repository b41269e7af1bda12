"""Charts of how a model was trained, and of what it says over time; for notebooks 06 and 07.

Tables in, figures out. House rules as in `figures`.
"""

import math

import pandas as pd
from matplotlib.figure import Figure

from dfdc_lib.viz import style

CHANCE = math.log(2)  # the log loss of always answering one half
MOST_PANELS = 12  # videos, on one figure
TRACK_STYLES = ("-", "--", ":", "-.")


def history(table: pd.DataFrame) -> Figure:
    """Show the losses and the AUC of every epoch.

    Args:
        table: one row an epoch: epoch, train loss, log loss, AUC (of videos), frame log loss, frame AUC, videos.
    Returns:
        The figure: losses | AUC.
    Raises:
        ValueError: if a column is missing.
    """
    style.require_columns(
        table, ("epoch", "train loss", "log loss", "AUC", "frame log loss", "frame AUC", "videos"), "history"
    )
    if table.empty:
        return style.in_words("training", "no epoch has ended")
    paper = style.figure(
        3.8, f"training (n = {len(table)} epochs; validation on {int(table['videos'].iloc[-1])} videos)"
    )
    losses, areas = style.axes(paper, 2)
    epochs = table["epoch"] + 1
    losses.plot(epochs, table["train loss"], color="#555555", marker="o", label="training (batches, smoothed labels)")
    losses.plot(epochs, table["log loss"], color="#009E73", marker="s", label="validation, per video")
    losses.plot(
        epochs, table["frame log loss"], color="#009E73", marker="s", linestyle=":", label="validation, per frame"
    )
    losses.axhline(CHANCE, color="#999999", linewidth=1, linestyle="--")
    across = losses.get_yaxis_transform()  # x: share of the panel's width, so that the words stand at its right end
    losses.text(1, CHANCE, "always ½", transform=across, ha="right", va="bottom", fontsize=9, color="#666666")
    losses.set(xlabel="epoch", ylabel="log loss", ylim=(0, None))
    areas.plot(epochs, table["AUC"], color="#009E73", marker="s", label="validation, per video")
    areas.plot(epochs, table["frame AUC"], color="#009E73", marker="s", linestyle=":", label="validation, per frame")
    areas.set(xlabel="epoch", ylabel="AUC", ylim=(0, 1.05))
    for axis in (losses, areas):
        axis.set_xticks(epochs if len(epochs) <= 10 else epochs[:: len(epochs) // 10])
        axis.legend(frameon=False, fontsize=9)
    return paper


def scores_over_time(scores: pd.DataFrame) -> Figure:
    """Show the score of every person over time, one panel a video.

    Args:
        scores: one row a face: video_id, time_seconds, track, score, label (0, 1 or missing).
    Returns:
        The figure; of more than `MOST_PANELS` videos the first ones.
    Raises:
        ValueError: if a column is missing.
    """
    style.require_columns(scores, ("video_id", "time_seconds", "track", "score", "label"), "scores_over_time")
    if scores.empty:
        return style.in_words("scores over time", "no scored face")
    videos = list(scores["video_id"].unique())
    shown = videos[:MOST_PANELS]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    paper = style.figure(
        1.9 * rows + 0.8, style.counted("score of each person over time", len(shown), len(videos), "videos")
    )
    panels = paper.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel in panels[len(shown) :]:
        panel.axis("off")
    for panel in panels[len(shown) - columns : len(shown)]:  # a panel below which there is none
        panel.tick_params(labelbottom=True)
    for panel, name in zip(panels, shown, strict=False):
        own = scores[scores["video_id"] == name]
        kind = style.label_name(own["label"].iloc[0])
        for place, (_, track) in enumerate(own.groupby("track")):
            line = TRACK_STYLES[place % len(TRACK_STYLES)]
            panel.plot(
                track["time_seconds"],
                track["score"],
                color=style.LABEL_COLOURS[kind],
                linestyle=line,
                marker=".",
                markersize=4,
            )
        panel.axhline(0.5, color="#BBBBBB", linewidth=1)
        panel.set(ylim=(-0.03, 1.03), title=style.text(f"{name} ({kind})", 34))
        panel.title.set_fontsize(9)
        panel.spines[["top", "right"]].set_visible(False)
    paper.supxlabel("time (seconds)", fontsize=10)
    paper.supylabel("score: P(fake)", fontsize=10)
    return paper
