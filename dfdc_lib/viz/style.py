"""Colours, names and figure sizes that all plots share.

Figures do not use pyplot, so a notebook shows each of them once. Charts are PNG, which keeps lines sharp; photographs
are JPEG, a quarter of the size. Source of the colours: Okabe & Ito 2008, "Color Universal Design".
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from dfdc_lib.records import FAKE, REAL

REAL_COLOUR, FAKE_COLOUR, ACCENT = "#0072B2", "#D55E00", "#009E73"  # Okabe-Ito blue, vermillion, bluish green
YELLOW, SKY_BLUE, PURPLE = "#F0E442", "#56B4E9", "#CC79A7"  # Okabe-Ito yellow, sky blue, reddish purple
SERIES = ("#000000", REAL_COLOUR, FAKE_COLOUR, ACCENT, PURPLE, "#E69F00", SKY_BLUE)  # Okabe-Ito, without yellow
NEUTRAL_DARK, NEUTRAL, NEUTRAL_LIGHT, NEUTRAL_PALE = "#555555", "#777777", "#BBBBBB", "#D9D9D9"
LABEL_COLOURS = {"real": REAL_COLOUR, "fake": FAKE_COLOUR, "unknown": "#999999"}
LABEL_MARKERS = {"real": "o", "fake": "x", "unknown": "s"}

WIDTH, DPI = 9.0, 120  # inches; dots per inch: 1080 pixels
CHARACTER = 0.085  # inches: a wide character at 9 points
JPEG = {"quality": 88, "subsampling": 0, "optimize": True}  # subsampling 0 keeps the colour of thin lines


class _Chart(Figure):  # a notebook shows it as PNG
    def _repr_png_(self) -> bytes:
        return png(self)


class _Photograph(Figure):  # a notebook shows it as JPEG
    def _repr_jpeg_(self) -> bytes:
        return jpeg(self)


def figure(height: float, title: str, kind: type[Figure] = _Chart) -> Figure:
    """Return an empty figure for a chart; `height` in inches, the width is `WIDTH`. An empty title takes no space."""
    empty = kind(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    if title:
        empty.suptitle(title)
    return empty


def photograph(height: float, title: str) -> Figure:
    """Return an empty figure for photographs: like `figure`, but a notebook shows it as JPEG.

    `height` in inches.
    """
    return figure(height, title, _Photograph)


def in_words(heading: str, reason: str) -> Figure:
    """Return a figure that states why there is nothing to show, such as "no videos".

    `heading`: the title of the figure.
    """
    message = figure(1.2, heading)
    axis = message.subplots()
    axis.axis("off")
    axis.text(0.5, 0.5, f"nothing to show: {reason}", ha="center", va="center", fontsize=12)
    return message


def axes(figure: Figure, panels: int, widths: Sequence[float] | None = None) -> list[Axes]:
    """Return axes side by side, without top and right spines; `widths` are relative, None means equal.

    `panels`: number of axes.
    """
    row = list(figure.subplots(1, panels, squeeze=False, width_ratios=widths)[0])
    for axis in row:
        axis.spines[["top", "right"]].set_visible(False)
    return row


def png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    return _saved(figure, format="png")


def jpeg(figure: Figure) -> bytes:
    """Return a figure as JPEG, with a quality that keeps captions and thin coloured lines legible."""
    return _saved(figure, format="jpeg", **JPEG)


def _saved(figure: Figure, **options: Any) -> bytes:
    buffer, canvas = io.BytesIO(), FigureCanvasAgg(figure)
    canvas.draw()  # once; `savefig` draws twice
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(buffer, **options)
    return buffer.getvalue()


def rgb(colour: str) -> tuple[int, ...]:
    """Return a colour as RGB in 0-255: `rgb("#F0E442")` is (240, 228, 66)."""
    return tuple(round(255 * share) for share in to_rgb(colour))


def counted(heading: str, shown: int, total: int, noun: str = "") -> str:
    """Return a title with a count, such as "videos (n = 4)" or, without a heading, "first 48 of 50 frames".

    `shown` of `total` things called `noun` are in the figure.
    """
    amount = f"n = {total:,}" if shown == total else f"first {shown:,} of {total:,}"
    amount = f"{amount} {noun}".strip()
    return f"{heading} ({amount})" if heading else amount


def first_of(noun: str, total: int, most: int) -> str:
    """Return the end of a title, such as ", first 60 of 100 groups"; "" if no rows are left out (`total` <= `most`).

    `noun`: what the rows are; `total`: number of rows; `most`: number of rows that fit.
    """
    return f", first {most} of {total:,} {noun}" if total > most else ""


def shorten(name: str, length: int = 24) -> str:
    """Return a long name without its middle, where names differ least: `shorten("abcdefgh", 5)` is "ab…gh".

    `length`: most characters of the result.
    """
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"


def text(name: object, length: int) -> str:
    """Return a name for a plot: lines over `length` (at least 7) characters lose their middle, dollars are escaped."""
    return "\n".join(shorten(line, max(length, 7)) for line in str(name).split("\n")).replace("$", r"\$")


def label_name(label: object) -> str:
    """Return "real", "fake", or "unknown" for None, NaN and NA."""
    if pd.isna(label):  # type: ignore[call-overload]
        return "unknown"
    return {REAL: "real", FAKE: "fake"}[label]  # type: ignore[index]


def require_columns(table: pd.DataFrame, columns: Sequence[str], caller: str) -> None:
    """Raise a ValueError that names the columns which `caller` needs and `table` lacks.

    `caller`: name of the function that needs the columns.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        got = ", ".join(table.columns)
        raise ValueError(f"{caller} needs the columns {', '.join(columns)}; missing {', '.join(missing)} in {got}")
