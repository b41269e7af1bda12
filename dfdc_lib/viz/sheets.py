"""Pictures in rows and columns: arrays and their names in, a matplotlib `Figure` out that a notebook shows as JPEG.

House rules (DESIGN, "Figures"): images without ticks and in their own proportions, the concept as row label, fixed ranges (SSIM map −1–1,
mask 0–255), n in the title. Where there is more than a page can hold, the first ones are drawn and the title says of how many.
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

SSIM_COLOURS = "viridis"
MOST_IMAGES, MOST_IMAGE_ROWS = 48, 12  # that one figure draws


def contact_sheet(images: Sequence[np.ndarray], titles: Sequence[str], columns: int = 6, heading: str = "") -> Figure:
    """Show many images in a grid, each whole and in its own proportions.

    Args:
        images: (H, W, 3) or (H, W) uint8, of any sizes.
        titles: one per image.
        columns: images in a row.
        heading: what they are; n is added.
    Returns:
        The figure; of more than `MOST_IMAGES` images the first ones.
    Raises:
        ValueError: if there are not as many titles as images.
    """
    if len(images) != len(titles):
        raise ValueError(f"contact_sheet needs one title per image, got {len(titles)} titles for {len(images)} images")
    if not images:
        return style.in_words(heading, "no images")
    shown = [_for_cell(image, WIDTH / columns) for image in images[:MOST_IMAGES]]
    rows = math.ceil(len(shown) / columns)
    tallness = float(np.median([image.shape[0] / image.shape[1] for image in shown]))
    lines = max(title.count("\n") + 1 for title in titles[:MOST_IMAGES])
    height = rows * (WIDTH / columns * min(tallness, 1.8) + 0.2 * lines) + 0.5
    figure = style.photograph(height, style.counted(heading, len(shown), len(images)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, image, title in zip(axes, shown, titles, strict=False):
        _show(axis, image)
        axis.set_title(style.text(title, int(WIDTH / columns / CHARACTER)), fontsize=9)
    return figure


def image_rows(rows: Mapping[str, Sequence[np.ndarray]], column_titles: Sequence[str]) -> Figure:
    """Show one concept per row (say: a margin) on the same examples in every column.

    Args:
        rows: row label → its images, (H, W, 3) or (H, W) uint8.
        column_titles: one per example.
    Returns:
        The figure; of more than `MOST_IMAGE_ROWS` rows the first ones.
    Raises:
        ValueError: if a row has another number of images than there are columns.
    """
    for name, images in rows.items():
        if len(images) != len(column_titles):
            raise ValueError(
                f"image_rows needs {len(column_titles)} images in every row, got {len(images)} in row {name!r}"
            )
    if not rows or not column_titles:
        return style.in_words("", "no images")
    cell = WIDTH / len(column_titles)
    shown = {
        name: [_for_cell(image, cell) for image in images] for name, images in list(rows.items())[:MOST_IMAGE_ROWS]
    }
    title = style.counted("", len(column_titles), len(column_titles), "examples") + style.first_of(
        "rows", len(rows), MOST_IMAGE_ROWS
    )
    axes = _row_axes(list(shown), column_titles, [image for images in shown.values() for image in images], title)
    for row, images in zip(axes, shown.values(), strict=True):
        for axis, image in zip(row, images, strict=True):
            _show(axis, image)
    return style.figure_of(axes[0][0])


def mask_rows(rows: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Show how a mask comes about: original | fake | SSIM map | mask | mask in colour over the fake.

    Args:
        rows: row label (video and frame) → original and fake (H, W, 3) uint8, SSIM map (H, W) in −1…1, mask (H, W) uint8.
    Returns:
        The figure; of more than `MOST_IMAGE_ROWS` rows the first ones.
    """
    if not rows:
        return style.in_words("", "no masks")
    shown = dict(list(rows.items())[:MOST_IMAGE_ROWS])
    columns = ("original", "fake", "SSIM map", "mask", "overlay")
    fakes = [images[1] for images in shown.values()]
    axes = _row_axes(list(shown), columns, fakes, style.counted("", len(shown), len(rows), "pairs"), bar_row=True)
    for row, (original, fake, ssim_map, mask) in zip(axes[:-1], shown.values(), strict=True):
        _show(row[0], original)
        _show(row[1], fake)
        map_image = row[2].imshow(ssim_map, cmap=SSIM_COLOURS, vmin=-1, vmax=1)
        mask_image = _show(row[3], mask)
        _show(row[4], overlay_mask(fake, mask))
    figure = style.figure_of(axes[0][0])
    figure.colorbar(map_image, cax=axes[-1][2], orientation="horizontal", ticks=[-1, 0, 1], label="SSIM")
    figure.colorbar(mask_image, cax=axes[-1][3], orientation="horizontal", ticks=[0, 128, 255], label="0 = unchanged")
    return figure


def pair_rows(pairs: Sequence[tuple[str, np.ndarray, np.ndarray]], heading: str) -> Figure:
    """Show pairs of look-alike frames side by side, two pairs a row.

    Args:
        pairs: text, one frame, the other frame; (H, W, 3) uint8 of any sizes.
        heading: what they have in common.
    Returns:
        The figure; of more than `MOST_IMAGES` pairs the first ones.
    """
    height = 300  # pixels of either half
    joined = []
    for _, left, right in pairs[:MOST_IMAGES]:
        halves = [
            cv2.resize(image, (max(1, round(image.shape[1] * height / image.shape[0])), height))
            for image in (left, right)
        ]
        joined.append(np.hstack([halves[0], np.full((height, 12, 3), 255, np.uint8), halves[1]]))
    figure = contact_sheet(joined, [text for text, _, _ in pairs[:MOST_IMAGES]], columns=2, heading=heading)
    if pairs:
        figure.suptitle(style.counted(heading, len(joined), len(pairs), "pairs"))
    return figure


# Parts ----------------------------------------------------------------------------------------------------------------------------------
def _row_axes(
    labels: Sequence[str], columns: Sequence[str], images: Iterable[np.ndarray], title: str, bar_row: bool = False
) -> np.ndarray:
    """Lay out a grid with a label left of every row and a title over every column; `bar_row` adds a low last row for colour bars."""
    tallness = min(1.6, float(np.median([image.shape[0] / image.shape[1] for image in images])))
    cell_height = max(1.0, WIDTH / max(len(columns), 3) * tallness)
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


def _for_cell(image: np.ndarray, inches: float) -> np.ndarray:
    """Shrink to what the paper can show: faster to draw, smaller to store."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"an image must be (H, W, 3) or (H, W) uint8, got shape {image.shape}, dtype {image.dtype}")
    return fit(image, 2 * round(inches * DPI), round(inches * DPI))


def _show(axis: Axes, image: np.ndarray) -> AxesImage:
    return axis.imshow(image, cmap="gray", vmin=0, vmax=255)  # the range counts for gray images only
