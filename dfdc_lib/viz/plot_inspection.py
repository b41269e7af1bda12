"""Figures of one examined video, for notebook 11: people over time, the frames that carry the answer, trials, masks over time.

Tables, records and pictures in, figures out. House rules as in `figures`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.inspection.verdict import EVEN, seen_often
from dfdc_lib.records import Inspection, Person, box_of
from dfdc_lib.viz import style
from dfdc_lib.viz.draw import draw_score, fit, overlay_heat
from dfdc_lib.viz.style import LABEL_COLOURS

MOST_PEOPLE = 6  # on one figure
THUMBNAILS = 10  # of one person
THUMBNAIL_PIXELS = 160
FRAME_PIXELS = (620, 1100)  # height, width
Evidence = tuple[
    np.ndarray, np.ndarray, np.ndarray
]  # frame, crop (H, W, 3) uint8; heat map (H, W) 0–1, of the crop's size


def people_over_time(found: Inspection, faces: pd.DataFrame, thumbnails: Mapping[int, Sequence[np.ndarray]]) -> Figure:
    """Show everyone's score over time below pictures of their face.

    Args:
        found: the examination.
        faces: one row a face: track, time_seconds, score.
        thumbnails: track → its crops, (H, W, 3) uint8, evenly chosen in order of time, at most `THUMBNAILS`.
    Returns:
        The figure; passers-by are left out, and of more than `MOST_PEOPLE` people the least suspicious.
    """
    shown = seen_often(found.people)[:MOST_PEOPLE]
    paper = style.photograph(
        2.9 * len(shown) + 0.7, _counted_people("score of each person over time", len(shown), len(found.people))
    )
    grid = paper.add_gridspec(2 * len(shown), THUMBNAILS, height_ratios=[1.0, 1.7] * len(shown))
    panel: Axes | None = None
    for place, person in enumerate(shown):
        for column, image in enumerate(thumbnails[person.track][:THUMBNAILS]):
            cell = paper.add_subplot(grid[2 * place, column])
            cell.imshow(fit(image, THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
            cell.axis("off")
        panel = paper.add_subplot(grid[2 * place + 1, :], sharex=panel)  # one time for all
        _person_panel(panel, person, faces[faces["track"] == person.track].sort_values("time_seconds"))
        if place == len(shown) - 1:
            panel.set_xlabel("time (seconds)")
    return paper


def _person_panel(panel: Axes, person: Person, rows: pd.DataFrame) -> None:
    for start, end in person.forged_spans:
        panel.axvspan(start, end, color=LABEL_COLOURS["fake"], alpha=0.15, linewidth=0)
    panel.plot(rows["time_seconds"], rows["score"], color="#555555", linewidth=1)
    colours = np.where(rows["score"] >= EVEN, LABEL_COLOURS["fake"], LABEL_COLOURS["real"])
    panel.scatter(rows["time_seconds"], rows["score"], c=colours, s=18, zorder=3)
    panel.axhline(EVEN, color="#BBBBBB", linewidth=1)
    panel.axhline(person.mean, color="#555555", linewidth=1, linestyle="--")
    doubt = f"; not judged: {len(person.doubts)} reason{'s' * (len(person.doubts) > 1)} below" if person.doubts else ""
    count = f"{person.frames} frame{'s' * (person.frames != 1)}"
    text = f"person {person.track}: mean {person.mean:.2f} [{person.low:.2f}, {person.high:.2f}], {count}{doubt}"
    panel.set_title(text, fontsize=10, loc="left")
    panel.set(ylim=(-0.04, 1.04), ylabel="score: P(fake)")
    panel.spines[["top", "right"]].set_visible(False)


def evidence(rows: pd.DataFrame, pictures: Sequence[Evidence]) -> Figure:
    """Show the frames that carry the answer: whole with box and score, the face as the model saw it, and where the score came from.

    Args:
        rows: one a frame: frame_index, time_seconds, box_x0 … box_y1, score.
        pictures: as many.
    Returns:
        The figure: one row a frame.
    """
    if rows.empty:
        return style.in_words("frames that carry the answer", "no frames")
    tallness = pictures[0][0].shape[0] / pictures[0][0].shape[1]
    # Height of a row by the frame, which gets half of the width; tall frames get more.
    row_height = min(5.0, max(2.2, style.WIDTH / 2 * tallness))
    paper = style.photograph(
        len(rows) * (row_height + 0.3) + 0.6, style.counted("frames that carry the answer", len(rows), len(rows))
    )
    grid = paper.subplots(len(rows), 3, squeeze=False, width_ratios=[2, 1, 1])
    for axes, row, (frame, crop, heat) in zip(grid, rows.to_dict("records"), pictures, strict=True):
        images = (fit(draw_score(frame, box_of(row), row["score"]), *FRAME_PIXELS), crop, overlay_heat(crop, heat))
        nothing = "nothing speaks for “fake”" if not heat.any() else "where “fake” comes from"
        titles = (
            f"frame {row['frame_index']}, {row['time_seconds']:.2f} s, score {row['score']:.2f}",
            "face with margin",
            nothing,
        )
        for axis, image, title in zip(axes, images, titles, strict=True):
            axis.imshow(image)
            axis.set_title(title, fontsize=9)
            axis.axis("off")
    return paper


def trials(found: Inspection) -> Figure:
    """Show the score and its interval for the video and every changed version; those that flip the answer are marked."""
    versions = found.trials
    if not versions:
        return style.in_words("does the answer hold?", "no versions were tried")
    paper = style.figure(0.33 * len(versions) + 1.5, f"does the answer hold? (n = {len(versions)} versions)")
    (panel,) = style.axes(paper, 1)
    for place, trial in enumerate(versions):
        if trial.score is None or trial.low is None or trial.high is None:
            ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over the line at one half
            panel.text(
                EVEN,
                place,
                "no face found any more",
                ha="center",
                va="center",
                fontsize=9,
                color="#666666",
                bbox=ground,
            )
            continue
        colour = LABEL_COLOURS["fake" if trial.score >= EVEN else "real"]
        panel.plot([trial.low, trial.high], [place, place], color=colour, linewidth=2)
        panel.plot(
            trial.score, place, marker="X" if trial.flips else "o", color=colour, markersize=9 if trial.flips else 7
        )
    panel.axvline(EVEN, color="#BBBBBB", linewidth=1)
    panel.axvline(found.score, color="#555555", linewidth=1, linestyle="--")
    labels = [f"{trial.title} (n = {trial.frames}){'  flips' if trial.flips else ''}" for trial in versions]
    panel.set_yticks(range(len(versions)), labels)
    panel.invert_yaxis()
    panel.set(xlim=(-0.02, 1.02), xlabel="score of the most suspicious person, 95 % interval; dashed: the whole video")
    return paper


def masks_over_time(table: pd.DataFrame) -> Figure:
    """Show how far every person departs from the original, beside the score.

    Args:
        table: one row a face: track, time_seconds, score, changed_share (0–1).
    Returns:
        The figure: one panel a person.
    """
    if table.empty:
        return style.in_words("changes against the original", "no frame in common")
    people = table.groupby("track").size().sort_values(ascending=False).index[:MOST_PEOPLE]
    title = _counted_people("changes against the original", len(people), table["track"].nunique())
    paper = style.figure(2.3 * len(people) + 0.8, title)
    panels = paper.subplots(len(people), 1, squeeze=False, sharex=True)[:, 0]
    for panel, track in zip(panels, people, strict=True):
        rows = table[table["track"] == track].sort_values("time_seconds")
        panel.plot(
            rows["time_seconds"],
            rows["changed_share"],
            color="#009E73",
            marker="s",
            markersize=3,
            label="share of changed pixels",
        )
        panel.plot(
            rows["time_seconds"],
            rows["score"],
            color="#555555",
            marker="o",
            markersize=3,
            linestyle="--",
            label="score: P(fake)",
        )
        panel.set(ylim=(-0.04, 1.04), ylabel=f"person {track}")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=9, ncols=2)
    panels[-1].set_xlabel("time (seconds)")
    return paper


def _counted_people(heading: str, shown: int, total: int) -> str:
    return style.counted(heading, shown, total, "people" if total > 1 else "person")
