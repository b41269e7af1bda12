"""Plot the examination of one video, for notebook 11: tables, records and pictures in, figures out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.inspection.verdict import ANSWERS, FAKE_SCORE, seen_often
from dfdc_lib.records import Inspection, Person, Trial, box_of
from dfdc_lib.viz import style
from dfdc_lib.viz.draw import draw_score, fit, overlay_heat
from dfdc_lib.viz.style import ACCENT, FAKE_COLOUR, NEUTRAL_DARK, NEUTRAL_LIGHT, REAL_COLOUR

MOST_PEOPLE = 6  # in one figure
THUMBNAILS, THUMBNAIL_PIXELS = 10, 160  # of one person; their side in pixels
FRAME_PIXELS = (620, 1100)  # height, width
SCORE_AXIS = "score (1 = fake)"


def people_over_time(
    inspection: Inspection, faces: pd.DataFrame, thumbnails: Mapping[int, Sequence[np.ndarray]]
) -> Figure:
    """Draw the scores over time of the `MOST_PEOPLE` most suspicious people, below pictures of their faces.

    `faces`: one row per face, with columns track, time_seconds, score; `thumbnails`: track -> crops in order of time,
    (H, W, 3) uint8. The first `THUMBNAILS` crops of each person are drawn.
    """
    shown = seen_often(inspection.people)[:MOST_PEOPLE]
    title = style.counted("score over time of every person", len(shown), len(inspection.people))
    figure = style.photograph(2.9 * len(shown) + 0.7, title)
    grid = figure.add_gridspec(2 * len(shown), THUMBNAILS, height_ratios=[1.0, 1.7] * len(shown))
    panel: Axes | None = None
    for place, person in enumerate(shown):
        for column, image in enumerate(thumbnails[person.track][:THUMBNAILS]):
            _show(figure.add_subplot(grid[2 * place, column]), fit(image, THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
        panel = figure.add_subplot(grid[2 * place + 1, :], sharex=panel)
        _draw_person(panel, person, faces[faces["track"] == person.track].sort_values("time_seconds"))
    if panel:
        panel.set_xlabel("time (seconds)")
    return figure


def _draw_person(panel: Axes, person: Person, rows: pd.DataFrame) -> None:
    for start, end in person.forged_spans:
        panel.axvspan(start, end, color=FAKE_COLOUR, alpha=0.15, linewidth=0)
    panel.plot(rows["time_seconds"], rows["score"], color=NEUTRAL_DARK, linewidth=1)
    colours = np.where(rows["score"] >= FAKE_SCORE, FAKE_COLOUR, REAL_COLOUR)
    panel.scatter(rows["time_seconds"], rows["score"], c=colours, s=18, zorder=3)
    panel.axhline(FAKE_SCORE, color=NEUTRAL_LIGHT, linewidth=1)
    panel.axhline(person.mean, color=NEUTRAL_DARK, linewidth=1, linestyle="--")
    interval = "" if person.low is None or person.high is None else f" [{person.low:.2f}, {person.high:.2f}]"
    doubt = "; cannot be judged, see below" if person.doubts else ""
    title = f"person {person.number}: mean {person.mean:.2f}{interval}, frames: {person.frames}{doubt}"
    panel.set_title(title, fontsize=10, loc="left")
    _score_axis(panel, SCORE_AXIS)


def evidence(rows: pd.DataFrame, pictures: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Draw one row per frame: the frame with box and score, the crop, and the heat map over the crop.

    `rows` are from `pictures.evidence_rows`: columns frame_index, time_seconds, score and the box. `pictures` has for
    every row the frame and the crop, (H, W, 3) uint8, and the heat map of the crop's size, 0-1.
    """
    title = "frames with the strongest scores"
    if rows.empty:
        return style.in_words(title, "no frames")
    height, width = pictures[0][0].shape[:2]
    row_height = min(5.0, max(2.2, style.WIDTH / 2 * height / width))  # inches; the frame has half of the width
    figure = style.photograph(len(rows) * (row_height + 0.3) + 0.6, style.counted(title, len(rows), len(rows)))
    grid = figure.subplots(len(rows), 3, squeeze=False, width_ratios=[2, 1, 1])
    for axes, row, (frame, crop, heat) in zip(grid, rows.to_dict("records"), pictures, strict=True):
        place = f"frame {row['frame_index']}, {row['time_seconds']:.2f} s, score {row['score']:.2f}"
        _show(axes[0], fit(draw_score(frame, box_of(row), row["score"]), *FRAME_PIXELS), place)
        _show(axes[1], crop, "face with margin")
        _show(axes[2], overlay_heat(crop, heat), "evidence for fake" if heat.any() else "no evidence for fake")
    return figure


def trials(inspection: Inspection) -> Figure:
    """Draw one row per trial (a version of the video, scored again): score, interval and answer.

    A dashed line marks the score of the whole video.
    """
    versions = inspection.trials
    title = "score of every version of the video"
    if not versions:
        return style.in_words(title, "no versions were tested")
    figure = style.figure(0.33 * len(versions) + 1.5, style.counted(title, len(versions), len(versions)))
    (panel,) = style.axes(figure, 1)
    for place, trial in enumerate(versions):
        _draw_trial(panel, place, trial)
    panel.axvline(FAKE_SCORE, color=NEUTRAL_LIGHT, linewidth=1)
    panel.axvline(inspection.score, color=NEUTRAL_DARK, linewidth=1, linestyle="--")
    labels = [f"{trial.title} (n = {trial.frames})" for trial in versions]
    panel.set_yticks(range(len(versions)), labels)
    panel.invert_yaxis()
    label = "mean score of the judged person (1 = fake) and its range; dashed: the whole video"
    panel.set(xlim=(-0.02, 1.02), xlabel=label)
    return figure


def _draw_trial(panel: Axes, place: int, trial: Trial) -> None:
    if trial.score is None:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # hides the line at 0.5
        look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "color": NEUTRAL_DARK, "bbox": box}
        panel.text(FAKE_SCORE, place, "face not found: not tried", **look)
        return
    colour, words = {
        "fake": (FAKE_COLOUR, ANSWERS["fake"]),
        "real": (REAL_COLOUR, ANSWERS["real"]),
        "inconclusive": (NEUTRAL_DARK, ANSWERS["inconclusive"]),
    }[trial.answer or "inconclusive"]
    if trial.low is not None and trial.high is not None:
        panel.plot([trial.low, trial.high], [place, place], color=colour, linewidth=2)
    panel.plot(trial.score, place, marker="o", color=colour, markersize=7)
    panel.text(1.04, place, words, va="center", fontsize=9, color=colour)


def masks_over_time(table: pd.DataFrame) -> Figure:
    """Draw each person's share of changed pixels and score over time, a panel each; `table` is `masks.csv`.

    Columns used: person, time_seconds, changed_share, score.
    """
    title = "difference from the original of every person"
    if table.empty:
        return style.in_words(title, "no frames in common")
    people = sorted(table["person"].unique())[:MOST_PEOPLE]
    figure = style.figure(2.3 * len(people) + 0.8, style.counted(title, len(people), table["person"].nunique()))
    panels = figure.subplots(len(people), 1, squeeze=False, sharex=True)[:, 0]
    for panel, number in zip(panels, people, strict=True):
        rows = table[table["person"] == number].sort_values("time_seconds")
        times, share = rows["time_seconds"], "share of changed pixels"
        panel.plot(times, rows["changed_share"], "s-", color=ACCENT, markersize=3, label=share)
        panel.plot(times, rows["score"], "o--", color=NEUTRAL_DARK, markersize=3, label=SCORE_AXIS)
        _score_axis(panel, f"person {number}")
    panels[0].legend(frameon=False, fontsize=9, ncols=2)
    panels[-1].set_xlabel("time (seconds)")
    return figure


def _score_axis(panel: Axes, label: str) -> None:
    panel.set(ylim=(-0.04, 1.04), ylabel=label)
    panel.spines[["top", "right"]].set_visible(False)


def _show(axis: Axes, image: np.ndarray, title: str = "") -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=9)
    axis.axis("off")
