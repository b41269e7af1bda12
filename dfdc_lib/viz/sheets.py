"""Pictures in rows and columns: arrays and their names in, a matplotlib `Figure` out, which a notebook shows as JPEG.

Images are never distorted, value ranges are fixed (SSIM map -1..1, mask 0-255), and n is in the title. If there are
more images than one figure holds, the figure shows the first ones and the title states both counts. Images are placed
at pixel positions, without axes: matplotlib takes several milliseconds to create each axes, and as long to lay it out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from matplotlib.figure import Figure

from dfdc_lib.viz import style
from dfdc_lib.viz.draw import colour_ssim, overlay_mask
from dfdc_lib.viz.style import CHARACTER, DPI, WIDTH

MOST_IMAGES, MOST_ROWS = 48, 12  # per figure
LEAST_COLUMNS = 5  # of `image_rows`: so that a few examples do not fill several screens
PAGE = round(WIDTH * DPI)  # width in pixels; lengths below are in pixels unless noted
HEAD, GAP, LINE = 40, 10, 18  # title of the figure; between images; a line of text at `FONT_SIZE`
FONT_SIZE = 9  # points
TALLEST = 1.8  # height of an image, at most, divided by the width of its cell
PAIR_HEIGHT, PAIR_GAP = 300, 4
BAR_HEIGHT = 10
FOOT = BAR_HEIGHT + 2 * LINE + GAP  # colour bars with their texts


class _Row(NamedTuple):
    """A row of a sheet: its images, (H, W, 3) or (H, W) uint8, the text above each of them, and its label."""

    images: Sequence[np.ndarray]
    titles: Sequence[str] = ()
    label: str = ""  # on the left, to be read upwards


def contact_sheet(images: Sequence[np.ndarray], titles: Sequence[str], columns: int = 6, heading: str = "") -> Figure:
    """Return a grid of images, (H, W, 3) or (H, W) uint8, of any sizes; their number is appended to the heading.

    `titles`: one per image; `columns`: images per row.
    """
    if len(images) != len(titles):
        raise ValueError(f"contact_sheet needs one title per image, got {len(titles)} titles for {len(images)} images")
    if not images:
        return style.in_words(heading, "no images")
    return _grid(images, titles, columns, style.counted(heading, min(len(images), MOST_IMAGES), len(images)))


def image_rows(rows: Mapping[str, Sequence[np.ndarray]], column_titles: Sequence[str]) -> Figure:
    """Return a grid of images, (H, W, 3) or (H, W) uint8: a row per concept (e.g. a margin), a column per example.

    `rows`: label of the row -> its images; `column_titles`: one per example.
    """
    for name, images in rows.items():
        if len(images) != len(column_titles):
            raise ValueError(f"each row needs {len(column_titles)} images, got {len(images)} in row {name!r}")
    if not rows or not column_titles:
        return style.in_words("", "no images")
    title = style.counted("examples", len(column_titles), len(column_titles))
    title += style.first_of("rows", len(rows), MOST_ROWS)
    shown = [_Row(images, label=label) for label, images in list(rows.items())[:MOST_ROWS]]
    shown[0] = shown[0]._replace(titles=column_titles)
    return _draw(shown, max(len(column_titles), LEAST_COLUMNS), title)


def mask_rows(
    rows: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], heading: str = "pairs"
) -> Figure:
    """Return one row per mask: original, fake, SSIM map, mask, and the mask in colour over the fake.

    `rows`: row label -> original and fake, (H, W, 3) uint8; SSIM map, (H, W) in -1..1; mask, (H, W) uint8. The number
    of rows is appended to the heading.
    """
    if not rows:
        return style.in_words(heading, "no masks")
    shown = []
    for label, (original, fake, ssim_map, mask) in list(rows.items())[:MOST_ROWS]:
        shown.append(_Row([original, fake, colour_ssim(ssim_map), mask, overlay_mask(fake, mask)], label=label))
    shown[0] = shown[0]._replace(titles=("original", "fake", "SSIM map", "mask", "overlay"))
    figure = _draw(shown, 5, style.counted(heading, len(shown), len(rows)), FOOT)
    margin, cell = _widths(shown, 5)
    ssim = np.tile(np.linspace(-1, 1, cell - GAP), (BAR_HEIGHT, 1))
    gray = np.rint((ssim + 1) * 127.5).astype(np.uint8)
    _draw_bar(figure, margin + 2 * cell, colour_ssim(ssim), (-1, 0, 1), "SSIM")
    _draw_bar(figure, margin + 3 * cell, _rgb(gray), (0, 128, 255), "0 = unchanged")
    return figure


def pair_rows(pairs: Sequence[tuple[str, np.ndarray, np.ndarray]], heading: str) -> Figure:
    """Return pairs of frames, each with a title and two (H, W, 3) uint8 images of any sizes, two pairs per row.

    `pairs`: (title, image, image).
    """
    if not pairs:
        return style.in_words(heading, "no pairs")
    gap = np.full((PAIR_HEIGHT, PAIR_GAP, 3), 255, np.uint8)
    shown = pairs[:MOST_IMAGES]
    joined = [np.hstack([_of_pair_height(left), gap, _of_pair_height(right)]) for _, left, right in shown]
    return _grid(joined, [title for title, _, _ in shown], 2, style.counted(heading, len(shown), len(pairs), "pairs"))


def _grid(images: Sequence[np.ndarray], titles: Sequence[str], columns: int, title: str) -> Figure:
    starts = range(0, min(len(images), MOST_IMAGES), columns)
    return _draw([_Row(images[start:][:columns], titles[start:][:columns]) for start in starts], columns, title)


def _draw(rows: Sequence[_Row], columns: int, title: str, foot: int = 0) -> Figure:
    """Return a figure with the rows below its title; `foot`: pixels that stay free below them."""
    margin, cell = _widths(rows, columns)
    images = [[_fitted(image, cell - GAP) for image in row.images] for row in rows]
    heights = [max(image.shape[0] for image in row) for row in images]
    above = [LINE * max((text.count("\n") + 1 for text in row.titles), default=0) for row in rows]
    page = HEAD + sum(heights) + sum(above) + GAP * len(rows) + foot
    figure, top = style.photograph(page / DPI, ""), HEAD
    figure.set_layout_engine("none")
    figure.suptitle(title, y=1 - 8 / page, va="top")
    for row, row_images, height, space in zip(rows, images, heights, above, strict=True):
        top += space
        if row.label:
            label = style.text(row.label, int(height / DPI / CHARACTER))
            _write(figure, margin / 2, top + height / 2, label, va="center", rotation="vertical")
        for column, image in enumerate(row_images):
            centre = margin + (column + 0.5) * cell
            figure.figimage(image, round(centre - image.shape[1] / 2), page - top - image.shape[0])
            if row.titles:
                _write(figure, centre, top - 3, style.text(row.titles[column], int(cell / DPI / CHARACTER)))
        top += height + GAP
    return figure


def _draw_bar(figure: Figure, left: int, colours: np.ndarray, ends: tuple[int, int, int], meaning: str) -> None:
    """Draw a colour bar into the foot of a figure; `ends`: values at its start, middle and end."""
    page, width = round(figure.get_figheight() * DPI), colours.shape[1]
    figure.figimage(colours, left + GAP // 2, FOOT - BAR_HEIGHT)
    for place, side, value in zip((0, 0.5, 1), ("left", "center", "right"), ends, strict=True):
        _write(figure, left + GAP / 2 + place * width, page - FOOT + BAR_HEIGHT + LINE, str(value), ha=side)
    _write(figure, left + GAP / 2 + width / 2, page - FOOT + BAR_HEIGHT + 2 * LINE, meaning)


def _write(figure: Figure, x: float, y: float, text: str, **look: Any) -> None:
    """Write text centred on x and, unless `look` changes it, above y; in pixels from the upper left corner."""
    look = {"ha": "center", "va": "bottom"} | look
    figure.text(x / PAGE, 1 - y / (figure.get_figheight() * DPI), text, fontsize=FONT_SIZE, **look)


def _widths(rows: Sequence[_Row], columns: int) -> tuple[int, int]:
    """Return the widths of the rows' labels and of a cell."""
    lines = max(row.label.count("\n") + bool(row.label) for row in rows)
    margin = LINE * lines + GAP // 2 * bool(lines)
    return margin, (PAGE - margin) // columns


def _of_pair_height(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(frame, (max(1, round(frame.shape[1] * PAIR_HEIGHT / frame.shape[0])), PAIR_HEIGHT))


def _fitted(image: np.ndarray, width: int) -> np.ndarray:
    """Return an image in RGB, scaled without distortion to the width, or to the height that `TALLEST` allows."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"an image must be (H, W, 3) or (H, W) uint8, got shape {image.shape}, dtype {image.dtype}")
    scale = min(width / image.shape[1], TALLEST * width / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return _rgb(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))


def _rgb(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
