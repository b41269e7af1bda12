"""What training does to a crop, in pictures and one chart: crops and counts in, a matplotlib `Figure` out; for notebook 05.

House rules as in `sheets` and `plot`; paper and words are those of `figures`.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.viz import style
from dfdc_lib.viz.draw import overlay_mask

Ends = tuple[np.ndarray, np.ndarray, np.ndarray]  # before, at the low end, at the high end
DETAIL_SHARE = 0.16  # of the image's longer side: the width of the enlarged detail
SHARE_COLOUR, DRAWN_COLOUR = "#BBBBBB", "#009E73"  # gray; Okabe-Ito bluish green


def extreme_rows(pictures: Mapping[str, Ends], centre: tuple[float, float]) -> Figure:
    """Show each transform at both ends of its range, whole and as an enlarged detail.

    Args:
        pictures: transform → image before, at the low end, at the high end; (H, W, 3) uint8.
        centre: x, y of the detail, as shares of the image's width and height.
    Returns:
        The figure: one row per transform, three columns of the whole and three of the detail.
    """
    if not pictures:
        return style.in_words("transforms", "no transforms")
    figure = style.photograph(
        1.42 * len(pictures) + 0.6, style.counted("each transform alone", len(pictures), len(pictures))
    )
    axes = figure.subplots(len(pictures), 6, squeeze=False)
    for axis, title in zip(
        axes[0], ("before", "low end", "high end", "before, detail", "low end, detail", "high end, detail"), strict=True
    ):
        axis.set_title(title, fontsize=9)
    for row, (name, images) in zip(axes, pictures.items(), strict=True):
        row[0].set_ylabel(_two_lines(name), fontsize=9)
        for axis, image in zip(row[:3], images, strict=True):
            _show(axis, image)
        for axis, image in zip(row[3:], images, strict=True):
            _show(axis, _detail(image, centre))
    return figure


def cutout_rows(pictures: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Show what each cut-out takes from a crop and from its mask.

    Args:
        pictures: cut-out → crop (H, W, 3) and mask (H, W) before, crop and mask after; uint8.
    Returns:
        The figure: one column per cut-out; rows: crop before, mask before, crop after, mask after, mask after over the crop after.
    """
    if not pictures:
        return style.in_words("cut-outs", "no cut-outs")
    figure = style.photograph(9.4, style.counted("cut-outs", len(pictures), len(pictures)))
    axes = figure.subplots(5, len(pictures), squeeze=False)
    for axis, label in zip(
        axes[:, 0], ("crop before", "mask before", "crop after", "mask after", "mask after, over it"), strict=True
    ):
        axis.set_ylabel(label, fontsize=9)
    for column, (name, images) in zip(axes.T, pictures.items(), strict=True):
        column[0].set_title(name, fontsize=9)
        for axis, image in zip(column, (*images, overlay_mask(images[2], images[3])), strict=True):
            _show(axis, image)
    return figure


def cutout_chances(counts: Mapping[str, int], shares: Mapping[str, float]) -> Figure:
    """Compare how often each cut-out was drawn with how often it should be.

    Args:
        counts: cut-out → draws.
        shares: cut-out → its chance, 0–1.
    Returns:
        The figure: two bars per cut-out, share due and share drawn; a line spans twice the standard error of so many draws either way.
    """
    total = sum(counts.values())
    if not total:
        return style.in_words("chance of each cut-out", "no draws")
    figure = style.figure(3.8, style.counted("chance of each cut-out", total, total, "draws"))
    axis = style.axes(figure, 1)[0]
    places = np.arange(len(shares))
    due = np.array(list(shares.values()))
    drawn = np.array([counts.get(name, 0) / total for name in shares])
    errors = 2 * np.sqrt(due * (1 - due) / total)
    axis.bar(places - 0.2, due, 0.38, color=SHARE_COLOUR, label="due, ± 2 standard errors", yerr=errors, capsize=4)
    axis.bar(places + 0.2, drawn, 0.38, color=DRAWN_COLOUR, label="drawn")
    for x, heights, texts in ((places - 0.2, due + errors, due), (places + 0.2, drawn, drawn)):
        for place, height, share in zip(x, heights, texts, strict=True):
            axis.annotate(
                f"{share:.2%}", (place, height), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8
            )
    axis.set_xticks(places, list(shares))
    axis.set(ylabel="share of the draws", ylim=(0, 1.2 * float(max((due + errors).max(), drawn.max()))))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _show(axis: Axes, image: np.ndarray) -> None:
    """Draw an image without ticks; a gray one from 0 to 255."""
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def _detail(image: np.ndarray, centre: tuple[float, float]) -> np.ndarray:
    """Cut a square around a place, moved inside where it would reach beyond the edge."""
    height, width = image.shape[:2]
    side = min(height, width, max(8, round(DETAIL_SHARE * max(height, width))))
    left = min(max(0, round(centre[0] * width - side / 2)), width - side)
    top = min(max(0, round(centre[1] * height - side / 2)), height - side)
    return image[top : top + side, left : left + side]


def _two_lines(name: str) -> str:
    """Break a long CamelCase name before its second capital word: "Image\\nCompression"."""
    breaks = [index for index in range(3, len(name) - 3) if name[index].isupper() and name[index + 1].islower()]
    return name if len(name) < 11 or not breaks else f"{name[: breaks[-1]]}\n{name[breaks[-1] :]}"
