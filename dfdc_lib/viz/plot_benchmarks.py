"""Figures about speed: how long the usual way and the kit take, and the floors below both."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.viz import style

WAYS = {"usual way": style.NEUTRAL, "kit": style.ACCENT}
FLOORS = {"decoding alone": ":", "classifying alone": "--"}
LIGHT = 0.45  # opacity of the part of a bar that is imports
PANELS = {"wall_seconds": "wall time (seconds)", "cpu_seconds": "CPU time (seconds)", "peak_megabytes": "memory (MB)"}


def speed(measured: pd.DataFrame) -> Figure:
    """Plot the median of each quantity for both ways, its range over the runs, and the floors as lines.

    `measured`: one row per run: subject, way, wall_seconds, start_seconds, cpu_seconds, peak_megabytes; see
    `benchmarks.study.measure_all`. Dots are single runs; the pale part of a wall time is imports.
    """
    style.require_columns(measured, ("subject", "way", "start_seconds", *PANELS), "speed")
    if measured.empty:
        return style.in_words("speed", "no runs")
    subjects = list(dict.fromkeys(measured["subject"]))
    runs = int(measured.groupby(["subject", "way"]).size().min())
    figure = style.figure(1.2 + 1.5 * len(subjects), f"the usual way and the kit (n = {runs} runs each)")
    for axis, (column, label) in zip(style.axes(figure, len(PANELS)), PANELS.items(), strict=True):
        for row, subject in enumerate(subjects):
            _draw_subject(axis, row, measured[measured["subject"] == subject], column)
        places = [row + offset for row in range(len(subjects)) for offset in (-0.2, 0.2)]
        names = [f"{subject}\n{way}" for subject in subjects for way in WAYS]
        axis.set_yticks(places, names if column == "wall_seconds" else [""] * len(places))
        axis.set(xlabel=label, xlim=(0, None), ylim=(len(subjects) - 0.45, -0.55))
    entries = [zip(*axis.get_legend_handles_labels(), strict=True) for axis in figure.axes]
    handles = {text: handle for axis_entries in entries for handle, text in axis_entries}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _draw_subject(axis: Axes, row: int, runs: pd.DataFrame, column: str) -> None:
    for offset, (way, colour) in zip((-0.2, 0.2), WAYS.items(), strict=True):
        values = runs.loc[runs["way"] == way, [column, "start_seconds"]]
        if values.empty:
            continue
        median = values[column].median()
        start = values["start_seconds"].median() if column == "wall_seconds" else 0
        place = row + offset
        axis.barh(place, start, 0.32, color=colour, alpha=LIGHT)
        axis.barh(place, median - start, 0.32, left=start, color=colour)
        error = [[median - values[column].min()], [values[column].max() - median]]
        axis.errorbar(median, place, xerr=error, color="black", capsize=3, linewidth=1, label="range of the runs")
        axis.scatter(values[column], np.full(len(values), place), s=9, color="black", alpha=0.5, zorder=3)
    if column == "peak_megabytes":
        return
    for way, line in FLOORS.items():
        floor = runs.loc[runs["way"] == way, column].median()
        if np.isfinite(floor):
            axis.plot([floor, floor], [row - 0.42, row + 0.42], line, color=style.FAKE_COLOUR, label=way)
