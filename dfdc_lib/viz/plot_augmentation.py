"""Plot what training does to a crop, for notebook 05: crops, masks and counts in, figures out."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.records import FaceExample
from dfdc_lib.viz import style
from dfdc_lib.viz.draw import overlay_mask

DETAIL_SHARE = 0.16  # side of the enlarged detail, as a share of the image's longer side


def extreme_rows(pictures: Mapping[str, Sequence[np.ndarray]], centre: tuple[float, float]) -> Figure:
    """Plot one row per training transform: the three images of `preview.extremes`, and an enlarged detail of each.

    `pictures`: transform -> images before it and at both ends of its range, (H, W, 3) uint8 RGB; `centre`: (x, y) of
    the detail, as shares of the image's width and height, 0-1.
    """
    if not pictures:
        return style.in_words("transforms", "no transforms")
    title = style.counted("each transform alone", len(pictures), len(pictures))
    figure = style.photograph(1.42 * len(pictures) + 0.6, title)
    axes = figure.subplots(len(pictures), 6, squeeze=False)
    heads = ("before", "low end", "high end", "before, detail", "low end, detail", "high end, detail")
    for axis, head in zip(axes[0], heads, strict=True):
        axis.set_title(head, fontsize=9)
    for row, (name, images) in zip(axes, pictures.items(), strict=True):
        label = re.sub(r"(?<=\w)(?=[A-Z][a-z]+$)", "\n", name) if len(name) > 10 else name  # two lines
        row[0].set_ylabel(label, fontsize=9)
        _show(row, (*images, *(_detail(image, centre) for image in images)))
    return figure


def cutout_rows(before: FaceExample, after: Mapping[str, FaceExample]) -> Figure:
    """Plot what each cut-out removes from a crop and from its mask; `after`: name of the cut-out -> its result."""
    if not after:
        return style.in_words("cut-outs", "no cut-outs")
    figure = style.photograph(9.4, style.counted("cut-outs", len(after), len(after)))
    axes = figure.subplots(5, len(after), squeeze=False)
    labels = ("crop before", "mask before", "crop after", "mask after", "mask after, over crop")
    for axis, label in zip(axes[:, 0], labels, strict=True):
        axis.set_ylabel(label, fontsize=9)
    for column, (name, face) in zip(axes.T, after.items(), strict=True):
        column[0].set_title(name, fontsize=9)
        _show(column, (before.crop, before.mask, face.crop, face.mask, overlay_mask(face.crop, face.mask)))
    return figure


def cutout_chances(counts: Mapping[str, int], shares: Mapping[str, float]) -> Figure:
    """Plot two bars per cut-out: its expected share of the draws, ± 2 standard errors, and its actual share.

    `counts`: cut-out -> number of draws; `shares`: cut-out -> expected share, 0-1.
    """
    total = sum(counts.values())
    if not total:
        return style.in_words("chance of each cut-out", "no draws")
    figure = style.figure(3.8, style.counted("chance of each cut-out", total, total, "draws"))
    axis = style.axes(figure, 1)[0]
    places = np.arange(len(shares))
    expected = np.array(list(shares.values()))
    drawn = np.array([counts.get(name, 0) / total for name in shares])
    errors = 2 * np.sqrt(expected * (1 - expected) / total)
    label = "expected, ± 2 standard errors"
    chances = axis.bar(places - 0.2, expected, 0.38, color=style.NEUTRAL_LIGHT, label=label, yerr=errors, capsize=4)
    draws = axis.bar(places + 0.2, drawn, 0.38, color=style.ACCENT, label="drawn")
    for bars in (chances, draws):
        axis.bar_label(bars, fmt="{:.2%}", padding=3, fontsize=8)
    axis.set_xticks(places, list(shares))
    axis.set(ylabel="share of the draws", ylim=(0, 1.2 * float(max((expected + errors).max(), drawn.max()))))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _show(axes: Sequence[Axes], images: Sequence[np.ndarray]) -> None:
    for axis, image in zip(axes, images, strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def _detail(image: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Return a square around a point, moved inside the image if it would cross the edge."""
    size = np.array(image.shape[1::-1])  # width, height
    side = min(size.min(), max(8, round(DETAIL_SHARE * size.max())))
    left, top = np.clip(np.rint(centre * size - side / 2).astype(int), 0, size - side)
    return image[top : top + side, left : left + side]
