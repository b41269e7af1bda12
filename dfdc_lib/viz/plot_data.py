"""Plot videos, faces, masks and folds, for notebooks 00-04: records and tables in, figures out.

If there are more rows than one figure holds, the first ones are drawn and the title states how many there are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dfdc_lib.records import Video, VideoFaces
from dfdc_lib.viz import style
from dfdc_lib.viz.style import LABEL_COLOURS, LABEL_MARKERS, NEUTRAL, NEUTRAL_DARK, counted, label_name

FACE_COLOURS = {"0": "black", "1": style.NEUTRAL_PALE, "2": style.SKY_BLUE, "3 or more": style.PURPLE}
RESIZE_SIDES = {300: "×2", 1000: "×1", 1900: "×0.5"}  # slides: scale up to this longer side of the frame, in pixels
MOST_ROWS, MOST_STRIPS = 60, 24  # in one figure
STRIP_CELLS = 300
OUTSIDE_RIGHT: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False}


def video_counts(videos: Sequence[Video]) -> Figure:
    """Plot the number of videos by label, per DFDC part, or per method and compression if there are no parts."""
    if not videos:
        return style.in_words("videos", "no videos")
    rows = [(-1 if video.part is None else video.part, _group(video), label_name(video.label)) for video in videos]
    table = pd.DataFrame(rows, columns=["part", "group", "label"])  # sorting by part puts 2 before 10
    counts = table.groupby(["part", "group", "label"]).size().unstack(fill_value=0)
    title = counted("videos", len(videos), len(videos)) + style.first_of("groups", len(counts), MOST_ROWS)
    counts = counts.iloc[:MOST_ROWS]
    figure = style.figure(1.4 + 0.28 * len(counts), title)
    [axis] = style.axes(figure, 1)
    _stack(axis, counts, horizontal=True)
    axis.bar_label(axis.containers[-1], counts.sum(axis=1).tolist(), padding=3, fontsize=9)  # type: ignore[arg-type]
    axis.set_yticks(range(len(counts)), [style.text(name, 32) for _, name in counts.index])
    axis.set(xlabel="videos", ylim=(len(counts) - 0.4, -0.6))
    axis.locator_params(axis="x", integer=True)
    return figure


def video_sizes(infos: pd.DataFrame) -> Figure:
    """Plot frame sizes (pixels) with the detector's resize rule, and durations, of the videos in videos.csv (`infos`).

    Columns used: label, height, width, duration_seconds, fps. Source: slides, "resize before MTCNN", longer side: < 300
    ×2, to 1000 ×1, over 1000 ×0.5, over 1900 ×0.33.
    """
    style.require_columns(infos, ("label", "height", "width", "duration_seconds", "fps"), "video_sizes")
    if infos.empty:
        return style.in_words("frame sizes and durations", "no videos")
    labels = infos["label"].map(label_name)
    groups = {name: infos[labels == name] for name in LABEL_COLOURS if (labels == name).any()}
    figure = style.figure(4.6, counted("frame sizes and durations", len(infos), len(infos), "videos"))
    sizes, durations = style.axes(figure, 2)
    _draw_resize_rule(sizes, max(2200.0, 1.12 * infos[["height", "width"]].to_numpy(float).max()))
    for name, group in groups.items():
        shapes = group.value_counts(["width", "height"], sort=False).reset_index(name="videos")  # one dot per size
        areas = 30 + 25 * np.log2(shapes["videos"])  # points²
        look: dict[str, Any] = {"c": LABEL_COLOURS[name], "marker": LABEL_MARKERS[name], "alpha": 0.8, "zorder": 3}
        sizes.scatter(shapes["width"], shapes["height"], s=areas, label=name, **look)
    sizes.set_title("frame size; dotted: the detector's resize rule", fontsize=10)
    seconds = [group["duration_seconds"] for group in groups.values()]
    extent = (0, 1.05 * infos["duration_seconds"].max())
    durations.hist(seconds, bins=20, range=extent, stacked=True, color=[LABEL_COLOURS[name] for name in groups])
    durations.set(xlabel="duration (seconds)", ylabel="videos", xlim=(0, None))
    durations.locator_params(axis="y", integer=True)
    rates = f"{infos['fps'].min():.4g} to {infos['fps'].max():.4g} frames per second"
    durations.set_title(f"duration; {rates}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def faces_per_frame(faces_by_video: Mapping[str, VideoFaces]) -> Figure:
    """Plot a histogram of faces per examined frame, and each video's number over time as a strip; black = no face.

    `faces_by_video`: video_id -> its detected faces.
    """
    totals = Counter(len(frame.faces) for faces in faces_by_video.values() for frame in faces.frames)
    if not totals:
        return style.in_words("faces per frame", "no examined frames")
    examined = {name: faces for name, faces in faces_by_video.items() if faces.frames}
    title = counted("faces per frame", totals.total(), totals.total(), "frames")
    title += style.first_of("videos", len(examined), MOST_STRIPS)
    shown = {name: examined[name] for name in list(examined)[:MOST_STRIPS]}
    figure = style.figure(max(4.0, 1.4 + 0.24 * len(shown)), title)
    histogram, strips = style.axes(figure, 2, (1, 2))
    numbers = range(max(totals) + 1)
    colours = [list(FACE_COLOURS.values())[min(number, 3)] for number in numbers]
    bars = histogram.bar(numbers, [totals[number] for number in numbers], color=colours)
    histogram.bar_label(bars, [str(totals[number] or "") for number in numbers], padding=2, fontsize=9)
    histogram.set(xlabel="faces in the frame", ylabel="frames")
    histogram.locator_params(axis="x", integer=True, nbins=9, min_n_ticks=1)
    _draw_strips(strips, shown)
    return figure


def box_sizes(faces_by_video: Mapping[str, VideoFaces]) -> Figure:
    """Plot the longer side of all face boxes, in pixels of the full-resolution frame, and the detector's confidence.

    `faces_by_video`: video_id -> its detected faces.
    """
    faces = [face for video in faces_by_video.values() for frame in video.frames for face in frame.faces]
    if not faces:
        return style.in_words("face boxes", "no faces")
    figure = style.figure(3.8, counted("face boxes", len(faces), len(faces)))
    sides, confidences = style.axes(figure, 2)
    longer = [max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (face.box for face in faces)]
    sides.hist(longer, bins=30, range=(0, 1.05 * max(longer)), color=NEUTRAL_DARK)
    sides.set(xlabel="longer side of the box (pixels)", ylabel="boxes", xlim=(0, None))
    confidences.hist([face.confidence for face in faces], bins=50, range=(0, 1), color=NEUTRAL_DARK, log=True)
    confidences.set(xlabel="confidence (probability)", ylabel="boxes (log scale)", xlim=(0, 1), ylim=(0.5, None))
    return figure


def mask_strength(masks: pd.DataFrame) -> Figure:
    """Plot the masks' mean SSIM and changed share by method of forgery; `masks` has one row per mask.

    Columns: those of masks.csv (video_id, ssim, changed_share ...), and method.
    """
    style.require_columns(masks, ("video_id", "method", "ssim", "changed_share"), "mask_strength")
    if masks.empty:
        return style.in_words("strength of the masks", "no masks")
    groups = dict(list(masks.groupby(masks["method"].fillna("").replace("", "all fakes"))))
    count = f"n = {len(masks):,} masks of {masks['video_id'].nunique():,} fakes"
    title = f"strength of the masks ({count}){style.first_of('methods', len(groups), MOST_ROWS)}"
    shown = {name: groups[name] for name in list(groups)[:MOST_ROWS]}
    figure = style.figure(1.6 + 0.45 * len(shown), title)
    ssim, share = style.axes(figure, 2)
    look: dict[str, Any] = {"widths": 0.6, "patch_artist": True, "flierprops": {"marker": ".", "alpha": 0.4}}
    look |= {"boxprops": {"facecolor": (style.FAKE_COLOUR, 0.6)}, "medianprops": {"color": "black", "linewidth": 2}}
    labels = [f"{style.text(name, 20)}\nn = {len(group):,}" for name, group in shown.items()]
    for axis, column in ((ssim, "ssim"), (share, "changed_share")):
        values = [group[column] for group in shown.values()]
        axis.boxplot(values, orientation="horizontal", tick_labels=labels, **look)
        axis.invert_yaxis()
    ssim.set(xlim=(-1, 1), xticks=[-1, -0.5, 0, 0.5, 1], xlabel="mean SSIM of the crop (1 = unchanged)")
    share.set(xlim=(0, 1), xlabel="changed share of the crop's pixels")
    share.tick_params(labelleft=False)
    return figure


def mask_iou(iou: pd.DataFrame) -> Figure:
    """Plot the IoU (0-1) of SSIM masks and true masks by video, lowest median first.

    `iou`: the table from `examples.true_overlaps`, one row per mask: video_id, iou.
    """
    style.require_columns(iou, ("video_id", "iou"), "mask_iou")
    heading = "SSIM masks and true masks"
    if iou.empty:
        return style.in_words(heading, "true masks exist for the built-in sample only")
    medians = iou.groupby("video_id")["iou"].median().sort_values()
    left_out = f", the lowest {MOST_ROWS} of {len(medians):,} videos" if len(medians) > MOST_ROWS else ""
    medians = medians.iloc[:MOST_ROWS]
    dots = iou[iou["video_id"].isin(medians.index)]
    overall = float(iou["iou"].median())
    figure = style.figure(1.6 + 0.24 * len(medians), counted(heading, len(iou), len(iou), "masks") + left_out)
    [axis] = style.axes(figure, 1)
    axis.axvline(overall, color="black", linestyle="--", linewidth=1, label=f"median of all masks, {overall:.2f}")
    rows = medians.index.get_indexer(pd.Index(dots["video_id"]))
    axis.scatter(dots["iou"], rows, s=16, color=style.FAKE_COLOUR, alpha=0.5, label="one mask")
    places = range(len(medians))
    axis.scatter(medians, places, s=160, c="black", marker="|", linewidths=2.5, label="median of the video")
    axis.set_yticks(places, [style.text(name, 32) for name in medians.index])
    axis.set(xlim=(0, 1), ylim=(len(medians) - 0.5, -0.5), xlabel="intersection over union (1 = equal to true mask)")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def fold_counts(folds: pd.DataFrame) -> Figure:
    """Plot the number of real and fake videos of every fold; `folds` has one row per video: fold, label, method."""
    style.require_columns(folds, ("fold", "label", "method"), "fold_counts")
    if folds.empty:
        return style.in_words("videos per fold", "no videos")
    counts = folds.assign(label=folds["label"].map(label_name)).groupby(["fold", "label"]).size().unstack(fill_value=0)
    figure = style.figure(4.0, counted("videos per fold", len(folds), len(folds)))
    [axis] = style.axes(figure, 1)
    _stack(axis, counts)
    axis.set_xticks(range(len(counts)), [str(fold) for fold in counts.index])
    axis.set(xlabel="fold", ylabel="videos")
    axis.locator_params(axis="y", integer=True)
    return figure


def _group(video: Video) -> str:
    if video.part is not None:
        return f"part {video.part}"
    name = video.method or {"real": "originals", "fake": "fakes", "unknown": "without label"}[label_name(video.label)]
    return f"{name} {video.compression}".strip()


def _stack(axis: Axes, counts: pd.DataFrame, horizontal: bool = False) -> None:
    """Draw one stacked bar per row of `counts`, and a legend of its columns, the labels."""
    places, start = range(len(counts)), np.zeros(len(counts))
    for name in [name for name in LABEL_COLOURS if name in counts.columns]:
        bars = partial(axis.barh, left=start) if horizontal else partial(axis.bar, bottom=start)
        bars(places, counts[name], color=LABEL_COLOURS[name], label=name)
        start = start + counts[name].to_numpy()
    axis.legend(**OUTSIDE_RIGHT)


def _draw_resize_rule(axis: Axes, extent: float) -> None:
    """Draw the limits of the resize rule, squares because it uses the longer side, and set up the axis."""
    for side in RESIZE_SIDES:
        axis.plot([side, side, 0], [0, side, side], color=NEUTRAL, linewidth=1, linestyle=":")
    for side, scale in [*RESIZE_SIDES.items(), (round(extent), "×0.33")]:  # slides: ×0.33 for longer sides over 1900
        axis.annotate(scale, (0, side), (3, -3), textcoords="offset points", va="top", fontsize=9, color=NEUTRAL_DARK)
    axis.set(xlim=(0, extent), ylim=(0, extent), xticks=[*RESIZE_SIDES], yticks=[*RESIZE_SIDES], aspect="equal")
    axis.set(xlabel="width (pixels)", ylabel="height (pixels)")


def _draw_strips(axis: Axes, faces_by_video: Mapping[str, VideoFaces]) -> None:
    """Draw the number of faces over time, one row per video; a cell with several frames shows their lowest number."""
    times = {name: np.array([frame.time_seconds for frame in video.frames]) for name, video in faces_by_video.items()}
    ends = [time[-1] + (np.median(np.diff(time)) if len(time) > 1 else 1 / 25) for time in times.values()]
    longest = max(ends)
    cell_times = (np.arange(STRIP_CELLS) + 0.5) * longest / STRIP_CELLS
    grid = np.full((len(ends), STRIP_CELLS), np.nan)
    for row, end, (name, time) in zip(grid, ends, times.items(), strict=True):
        counts = np.array([min(len(frame.faces), 3) for frame in faces_by_video[name].frames], float)
        inside = cell_times < end
        row[inside] = counts[np.maximum(np.searchsorted(time, cell_times[inside], side="right") - 1, 0)]
        np.fmin.at(row, np.minimum((time / longest * STRIP_CELLS).astype(int), STRIP_CELLS - 1), counts)
    look: dict[str, Any] = {"cmap": ListedColormap(list(FACE_COLOURS.values())), "vmin": 0, "vmax": 4}
    axis.imshow(grid, aspect="auto", interpolation="nearest", extent=(0, longest, len(ends), 0), **look)
    axis.hlines(range(1, len(ends)), 0, longest, color="white", linewidth=2)
    axis.set_yticks(np.arange(len(ends)) + 0.5, [style.text(name, 22) for name in times], fontsize=9)
    axis.set_xlabel("time (seconds)")
    patches = [Patch(facecolor=colour, edgecolor=NEUTRAL, label=name) for name, colour in FACE_COLOURS.items()]
    axis.legend(handles=patches, title="faces", **OUTSIDE_RIGHT)
