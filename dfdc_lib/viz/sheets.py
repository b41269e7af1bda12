"""Pictures in rows and columns: arrays and their names in, a matplotlib `Figure` out, which a notebook shows as JPEG.

Images have no ticks and are never distorted, value ranges are fixed (SSIM map -1..1, mask 0-255), and n is in the
title. If there are more images than one figure holds, the figure shows the first ones and the title states both counts.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from dfdc_lib.viz import style
from dfdc_lib.viz.draw import fit, overlay_mask
from dfdc_lib.viz.style import CHARACTER, DPI, WIDTH

MOST_IMAGES, MOST_ROWS = 48, 12  # per figure
PAIR_HEIGHT, PAIR_GAP = 300, 12  # pixels


def contact_sheet(images: Sequence[np.ndarray], titles: Sequence[str], columns: int = 6, heading: str = "") -> Figure:
    """Return a grid of images, (H, W, 3) or (H, W) uint8, of any sizes; their number is appended to the heading.

    `titles`: one per image; `columns`: images per row.
    """
    if len(images) != len(titles):
        raise ValueError(f"contact_sheet needs one title per image, got {len(titles)} titles for {len(images)} images")
    if not images:
        return style.in_words(heading, "no images")
    cell = WIDTH / columns
    shown = [_shrink(image, cell) for image in images[:MOST_IMAGES]]
    rows = math.ceil(len(shown) / columns)
    lines = max(title.count("\n") + 1 for title in titles[:MOST_IMAGES])
    height = rows * (cell * min(_aspect(shown), 1.8) + 0.2 * lines) + 0.5
    figure = style.photograph(height, style.counted(heading, len(shown), len(images)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, image, title in zip(axes, shown, titles, strict=False):
        _show(axis, image)
        axis.set_title(style.text(title, int(cell / CHARACTER)), fontsize=9)
    return figure


def image_rows(rows: Mapping[str, Sequence[np.ndarray]], column_titles: Sequence[str]) -> Figure:
    """Return a grid of images, (H, W, 3) or (H, W) uint8: a row per concept (e.g. a margin), a column per example.

    `rows`: label of the row -> its images; `column_titles`: one per example.
    """
    for name, images in rows.items():
        if len(images) != len(column_titles):
            raise ValueError(f"each row needs {len(column_titles)} images, got {len(images)} in row {name!r}")
    if not rows or not column_titles:
        return style.in_words("", "no images")
    labels = list(rows)[:MOST_ROWS]
    shown = [_shrink(image, WIDTH / len(column_titles)) for label in labels for image in rows[label]]
    title = style.counted("", len(column_titles), len(column_titles), "examples")
    axes = _row_axes(labels, column_titles, shown, title + style.first_of("rows", len(rows), MOST_ROWS))
    for axis, image in zip(axes.ravel(), shown, strict=True):
        _show(axis, image)
    return style.figure_of(axes[0][0])


def mask_rows(rows: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Return one row per mask: original, fake, SSIM map, mask, and the mask in colour over the fake.

    `rows`: row label -> original and fake, (H, W, 3) uint8; SSIM map, (H, W) in -1..1; mask, (H, W) uint8.
    """
    if not rows:
        return style.in_words("", "no masks")
    shown = dict(list(rows.items())[:MOST_ROWS])
    columns = ("original", "fake", "SSIM map", "mask", "overlay")
    fakes = [images[1] for images in shown.values()]
    axes = _row_axes(list(shown), columns, fakes, style.counted("", len(shown), len(rows), "pairs"), bar_row=True)
    for row, (original, fake, ssim_map, mask) in zip(axes[:-1], shown.values(), strict=True):
        _show(row[0], original)
        _show(row[1], fake)
        map_image = row[2].imshow(ssim_map, cmap="viridis", vmin=-1, vmax=1)
        mask_image = _show(row[3], mask)
        _show(row[4], overlay_mask(fake, mask))
    figure = style.figure_of(axes[0][0])
    figure.colorbar(map_image, cax=axes[-1][2], orientation="horizontal", ticks=[-1, 0, 1], label="SSIM")
    figure.colorbar(mask_image, cax=axes[-1][3], orientation="horizontal", ticks=[0, 128, 255], label="0 = unchanged")
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
    figure = contact_sheet(joined, [title for title, _, _ in shown], columns=2)
    figure.suptitle(style.counted(heading, len(shown), len(pairs), "pairs"))
    return figure


def _row_axes(
    labels: Sequence[str], columns: Sequence[str], images: Iterable[np.ndarray], title: str, bar_row: bool = False
) -> np.ndarray:
    """Return a grid of axes with row labels and column titles; `bar_row` adds a low last row for colour bars."""
    cell_height = max(1.0, WIDTH / max(len(columns), 3) * min(_aspect(images), 1.6))
    heights = [cell_height] * len(labels) + [0.1] * bar_row
    figure = style.photograph(sum(heights) + 0.1 * len(labels) + 0.9, title)
    axes = figure.subplots(len(heights), len(columns), squeeze=False, height_ratios=heights)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(style.text(column, int(WIDTH / len(columns) / CHARACTER)), fontsize=10)
    for axis, label in zip(axes[:, 0], labels, strict=False):
        axis.set_ylabel(style.text(label, int(cell_height / CHARACTER)), fontsize=10)
    return axes


def _of_pair_height(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(frame, (max(1, round(frame.shape[1] * PAIR_HEIGHT / frame.shape[0])), PAIR_HEIGHT))


def _aspect(images: Iterable[np.ndarray]) -> float:
    return float(np.median([image.shape[0] / image.shape[1] for image in images]))  # height / width


def _shrink(image: np.ndarray, inches: float) -> np.ndarray:
    """Return an image with no more pixels than the figure shows in `inches`: faster to draw, smaller to store."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"an image must be (H, W, 3) or (H, W) uint8, got shape {image.shape}, dtype {image.dtype}")
    return fit(image, 2 * round(inches * DPI), round(inches * DPI))


def _show(axis: Axes, image: np.ndarray) -> AxesImage:
    return axis.imshow(image, cmap="gray", vmin=0, vmax=255)  # RGB images ignore the colour map and its range
