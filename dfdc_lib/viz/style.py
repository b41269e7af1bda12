"""The paper that all figures are drawn on: width, colours and names of the labels, titles that count, and what a notebook shows.

A figure needs neither pyplot nor a notebook magic: as the last expression of a cell it shows itself, once; a chart as PNG, which keeps
lines sharp, photographs as JPEG, which needs a quarter of the bytes. Colours: Okabe & Ito 2008, "Color Universal Design", safe for
colour-blind eyes.
"""

import io
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.records import FAKE, REAL

LABEL_COLOURS = {"real": "#0072B2", "fake": "#D55E00", "unknown": "#999999"}  # Okabe-Ito blue, vermillion; gray
LABEL_MARKERS = {"real": "o", "fake": "x", "unknown": "s"}

WIDTH = 9.0  # inches
DPI = 120  # 9 in = 1080 pixels
CHARACTER = 0.085  # inches: a wide character at 9 points
JPEG = {
    "quality": 88,
    "subsampling": 0,
    "optimize": True,
}  # 0: colour in every pixel, or thin yellow boxes and landmarks fade


class _Chart(Figure):
    """A figure that a notebook shows as PNG by itself: without pyplot, thus never twice."""

    def _repr_png_(self) -> bytes:
        return png(self)


class _Photograph(Figure):
    """A figure of photographs, which a notebook shows as JPEG by itself."""

    def _repr_jpeg_(self) -> bytes:
        return jpeg(self)


# Paper ----------------------------------------------------------------------------------------------------------------------------------
def figure(height: float, title: str) -> Figure:
    """Take a sheet of paper for a chart.

    Args:
        height: inches; the width is `WIDTH`.
        title: above everything; empty for none.
    Returns:
        An empty figure, which a notebook will show as PNG.
    """
    return _titled(_Chart(figsize=(WIDTH, height), dpi=DPI, layout="constrained"), title)


def photograph(height: float, title: str) -> Figure:
    """Take a sheet of paper for photographs: as `figure`, but a notebook will show it as JPEG."""
    return _titled(_Photograph(figsize=(WIDTH, height), dpi=DPI, layout="constrained"), title)


def in_words(heading: str, reason: str) -> Figure:
    """Say that there is nothing to draw, and why: "no videos"."""
    paper = figure(1.2, heading)
    axis = paper.subplots()
    axis.axis("off")
    axis.text(0.5, 0.5, f"nothing to show: {reason}", ha="center", va="center", fontsize=12)
    return paper


def axes(paper: Figure, panels: int, widths: Sequence[float] | None = None) -> list[Axes]:
    """Put panels side by side, open above and to the right.

    Args:
        paper: an empty figure.
        panels: how many.
        widths: of the panels, relative to each other; equal if None.
    Returns:
        Their axes from left to right.
    """
    row = list(paper.subplots(1, panels, squeeze=False, width_ratios=widths)[0])
    for axis in row:
        axis.spines[["top", "right"]].set_visible(False)
    return row


def figure_of(axis: Axes) -> Figure:
    """Give the figure that an axis lies in."""
    paper = axis.figure
    assert isinstance(paper, Figure)
    return paper


def png(paper: Figure) -> bytes:
    """Draw a figure as PNG."""
    buffer = io.BytesIO()
    paper.savefig(buffer, format="png")
    return buffer.getvalue()


def jpeg(paper: Figure) -> bytes:
    """Draw a figure as JPEG: captions and thin coloured lines stay legible."""
    buffer = io.BytesIO()
    paper.savefig(buffer, format="jpeg", pil_kwargs=JPEG)
    return buffer.getvalue()


def _titled(paper: Figure, title: str) -> Figure:
    if title:
        paper.suptitle(title)
    return paper


# Words ----------------------------------------------------------------------------------------------------------------------------------
def counted(heading: str, shown: int, total: int, noun: str = "") -> str:
    """Write a title that counts.

    >>> counted("videos", 4, 4)
    'videos (n = 4)'
    >>> counted("", 48, 50, "frames")
    'first 48 of 50 frames'
    """
    amount = f"n = {total:,}" if shown == total else f"first {shown:,} of {total:,}"
    amount = f"{amount} {noun}".strip()
    return f"{heading} ({amount})" if heading else amount


def first_of(noun: str, total: int, most: int) -> str:
    """Write the end of a title that says what was left out: ", first 60 of 100 groups", or nothing where nothing was."""
    return f", first {most} of {total:,} {noun}" if total > most else ""


def shorten(name: str, length: int = 24) -> str:
    """Cut a long name in the middle, where names differ least: `shorten("abcdefgh", 5)` is "ab…gh"."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"


def text(name: object, length: int) -> str:
    """Shorten every line of a name, and keep matplotlib from reading a formula in its dollar signs."""
    return "\n".join(shorten(line, max(length, 7)) for line in str(name).split("\n")).replace("$", r"\$")


def label_name(label: object) -> str:
    """Name a label: "real", "fake", or "unknown" for None and for what a table makes of it (NaN, NA)."""
    if pd.isna(label):  # type: ignore[call-overload]
        return "unknown"
    return {REAL: "real", FAKE: "fake"}[label]  # type: ignore[index]


def require_columns(table: pd.DataFrame, columns: Sequence[str], caller: str) -> None:
    """Raise a ValueError that names the columns which `caller` needs and `table` lacks."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(
            f"{caller} needs the columns {', '.join(columns)}; missing {', '.join(missing)} in {', '.join(table.columns)}"
        )
