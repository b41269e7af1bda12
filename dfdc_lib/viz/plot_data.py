"""Charts of numbers: records and tables in, a matplotlib `Figure` out.

House rules (DESIGN, "Figures"): fixed ranges (score and share 0–1, mean SSIM −1–1), one colour for real and one for fake everywhere,
quantity and unit on the axes, n in the title. Where there is more than a page can hold, the first ones are drawn and the title says of
how many.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from dfdc_lib.records import Video, VideoFaces
from dfdc_lib.viz import style
from dfdc_lib.viz.style import LABEL_COLOURS, LABEL_MARKERS, label_name

FACE_COUNT_COLOURS = (
    "#000000",
    "#D9D9D9",
    "#56B4E9",
    "#CC79A7",
)  # of frames with 0, 1, 2, 3 or more faces; Okabe-Ito; Okabe-Ito
RESIZE_SIDES = {
    300: "×2",
    1000: "×1",
    1900: "×0.5",
}  # slides: below this wider side, in pixels, the detector sees the frame resized so
LAST_RESIZE = "×0.33"  # slides: wider side over 1900
MOST_ROWS, MOST_STRIPS = 60, 24  # that one figure draws
STRIP_CELLS = 300


def video_counts(videos: Sequence[Video]) -> Figure:
    """Count videos by label, per DFDC part or, where there are no parts, per method and compression.

    Args:
        videos: as listed.
    Returns:
        The figure: one horizontal bar per group, real and fake stacked.
    """
    if not videos:
        return style.in_words("videos", "no videos")
    rows = [(-1 if video.part is None else video.part, _group(video), label_name(video.label)) for video in videos]
    table = pd.DataFrame(rows, columns=["part", "group", "label"])  # the part sorts: part 2 before part 10
    counts = table.groupby(["part", "group", "label"]).size().unstack(fill_value=0)
    title = style.counted("videos", len(videos), len(videos)) + style.first_of("groups", len(counts), MOST_ROWS)
    counts = counts.iloc[:MOST_ROWS]
    figure = style.figure(1.4 + 0.28 * len(counts), title)
    axis = style.axes(figure, 1)[0]
    axis.set_yticks(range(len(counts)), [style.text(name, 32) for _, name in counts.index])
    axis.set_ylim(len(counts) - 0.4, -0.6)
    _stack(axis.barh, "left", counts)
    for row, total in enumerate(counts.sum(axis=1)):
        axis.annotate(str(total), (total, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=9)
    axis.set_xlabel("videos")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label_legend(axis, counts.columns)
    return figure


def video_sizes(infos: pd.DataFrame) -> Figure:
    """Show frame sizes against the detector's resize rule, and durations.

    Args:
        infos: one row a video: label, height, width (pixels), duration_seconds, fps.
    Returns:
        The figure: sizes with the rule's branches | durations.
    Raises:
        ValueError: if a column is missing.
    Source:
        Slides, "resize before MTCNN": by the wider side, < 300 ×2, to 1000 ×1, over 1000 ×0.5, over 1900 ×0.33.
    """
    style.require_columns(infos, ("label", "height", "width", "duration_seconds", "fps"), "video_sizes")
    if infos.empty:
        return style.in_words("frame sizes and durations", "no videos")
    labels = infos["label"].map(label_name)
    figure = style.figure(4.6, style.counted("frame sizes and durations", len(infos), len(infos), "videos"))
    sizes, durations = style.axes(figure, 2)
    extent = max(2200.0, 1.12 * infos[["height", "width"]].to_numpy(float).max())
    _draw_resize_rule(sizes, extent)
    present = [name for name in LABEL_COLOURS if (labels == name).any()]
    for name in present:
        size_counts = Counter(zip(infos.loc[labels == name, "width"], infos.loc[labels == name, "height"], strict=True))
        areas = [
            30 + 25 * math.log2(count) for count in size_counts.values()
        ]  # points²: one dot for all videos of one size
        widths, heights = zip(*size_counts, strict=True)
        sizes.scatter(
            widths, heights, s=areas, c=LABEL_COLOURS[name], marker=LABEL_MARKERS[name], alpha=0.8, label=name, zorder=3
        )
    sizes.set(xlim=(0, extent), ylim=(0, extent), aspect="equal", xlabel="width (pixels)", ylabel="height (pixels)")
    sizes.set_title("frame size; dotted: the detector's resize rule", fontsize=10)
    seconds = [infos.loc[labels == name, "duration_seconds"].to_numpy(float) for name in present]
    longest = float(infos["duration_seconds"].max())
    durations.hist(
        seconds, bins=20, range=(0, 1.05 * longest), stacked=True, color=[LABEL_COLOURS[name] for name in present]
    )
    durations.set(xlabel="duration (seconds)", ylabel="videos", xlim=(0, None))
    durations.yaxis.set_major_locator(MaxNLocator(integer=True))
    durations.set_title(
        f"duration; {infos['fps'].min():.4g} to {infos['fps'].max():.4g} frames per second", fontsize=10
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def faces_per_frame(faces_by_video: Mapping[str, VideoFaces]) -> Figure:
    """Show how many faces the examined frames have, and where in each video a frame has none.

    Args:
        faces_by_video: video_id → its faces.
    Returns:
        The figure: frames by number of faces | one strip per video over time, black where there is no face.
    """
    totals = Counter(len(frame.faces) for faces in faces_by_video.values() for frame in faces.frames)
    if not totals:
        return style.in_words("faces per frame", "no examined frames")
    shown = {name: faces for name, faces in faces_by_video.items() if faces.frames}
    title = style.counted("faces per frame", totals.total(), totals.total(), "frames")
    title += style.first_of("videos", len(shown), MOST_STRIPS)
    names = list(shown)[:MOST_STRIPS]
    figure = style.figure(max(4.0, 1.4 + 0.24 * len(names)), title)
    bars, strips = style.axes(figure, 2, (1, 2))
    numbers = list(range(max(totals) + 1))
    bars.bar(
        numbers,
        [totals[number] for number in numbers],
        color=[FACE_COUNT_COLOURS[min(number, 3)] for number in numbers],
    )
    for number in sorted(totals):
        bars.annotate(
            str(totals[number]),
            (number, totals[number]),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    bars.set_xticks(numbers if len(numbers) < 9 else numbers[:: math.ceil(len(numbers) / 8)])
    bars.set(xlabel="faces in the frame", ylabel="frames")
    _draw_strips(strips, {name: shown[name] for name in names})
    return figure


def box_sizes(faces_by_video: Mapping[str, VideoFaces]) -> Figure:
    """Show how large the faces are, and how sure the detector is of them.

    Args:
        faces_by_video: video_id → its faces.
    Returns:
        The figure: wider side of the boxes in full-resolution pixels | confidence.
    """
    faces = [face for video in faces_by_video.values() for frame in video.frames for face in frame.faces]
    if not faces:
        return style.in_words("face boxes", "no faces")
    figure = style.figure(3.8, style.counted("face boxes", len(faces), len(faces)))
    sides, confidences = style.axes(figure, 2)
    wider = [max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in (face.box for face in faces)]
    sides.hist(wider, bins=30, range=(0, 1.05 * max(wider)), color="#555555")
    sides.set(xlabel="wider side of the box (pixels)", ylabel="boxes", xlim=(0, None))
    confidences.hist([face.confidence for face in faces], bins=50, range=(0, 1), color="#555555", log=True)
    confidences.set(xlabel="confidence (probability)", ylabel="boxes (log scale)", xlim=(0, 1), ylim=(0.5, None))
    return figure


def mask_strength(masks: pd.DataFrame) -> Figure:
    """Show how much the fakes of each method depart from their originals.

    Args:
        masks: one row a mask: video_id, method, ssim (mean of the SSIM map), changed_share.
    Returns:
        The figure: one box plot per method of the mean SSIM | of the changed share.
    Raises:
        ValueError: if a column is missing.
    """
    style.require_columns(masks, ("video_id", "method", "ssim", "changed_share"), "mask_strength")
    if masks.empty:
        return style.in_words("strength of the masks", "no masks")
    methods = masks["method"].fillna("").replace("", "all fakes")
    names = sorted(methods.unique())
    heading = style.counted(
        "strength of the masks", len(masks), len(masks), f"masks of {masks['video_id'].nunique():,} fakes"
    )
    title, names = heading + style.first_of("methods", len(names), MOST_ROWS), names[:MOST_ROWS]
    figure = style.figure(1.6 + 0.45 * len(names), title)
    panels = style.axes(figure, 2)
    for axis, column in zip(panels, ("ssim", "changed_share"), strict=True):
        values = [masks.loc[methods == name, column].to_numpy(float) for name in names]
        boxes = axis.boxplot(
            values, orientation="horizontal", widths=0.6, patch_artist=True, flierprops={"marker": ".", "alpha": 0.4}
        )
        for box in boxes["boxes"]:
            box.set(facecolor=LABEL_COLOURS["fake"], alpha=0.6)
        for line in boxes["medians"]:
            line.set(color="black", linewidth=2)
        ticks = [f"{style.text(name, 20)}\nn = {len(row):,}" for name, row in zip(names, values, strict=True)]
        axis.set_yticks(range(1, len(names) + 1), ticks)
        axis.invert_yaxis()
    panels[0].set(xlim=(-1, 1), xticks=[-1, -0.5, 0, 0.5, 1], xlabel="mean SSIM of a mask's crop (1 = unchanged)")
    panels[1].set(xlim=(0, 1), xlabel="changed share of the crop's pixels")
    panels[1].tick_params(labelleft=False)
    return figure


def mask_iou(iou: pd.DataFrame) -> Figure:
    """Show how well the SSIM masks meet the true ones.

    Args:
        iou: one row a mask: video_id, iou (0–1).
    Returns:
        The figure: dots per video and its median, the worst video on top; the median of all as a line.
    Raises:
        ValueError: if a column is missing.
    """
    style.require_columns(iou, ("video_id", "iou"), "mask_iou")
    if iou.empty:
        return style.in_words("SSIM masks against the truth", "no masks")
    medians = iou.groupby("video_id")["iou"].median().sort_values()
    note = f", the lowest {MOST_ROWS} of {len(medians):,} videos" if len(medians) > MOST_ROWS else ""
    overall = float(iou["iou"].median())
    medians = medians.iloc[:MOST_ROWS]
    rows = {str(name): row for row, name in enumerate(medians.index)}
    dots = iou[iou["video_id"].isin(medians.index)]
    figure = style.figure(
        1.6 + 0.24 * len(rows), style.counted("SSIM masks against the truth", len(iou), len(iou), "masks") + note
    )
    axis = style.axes(figure, 1)[0]
    axis.axvline(overall, color="black", linestyle="--", linewidth=1, label=f"median of all, {overall:.2f}")
    axis.scatter(
        dots["iou"],
        dots["video_id"].astype(str).map(rows),
        s=16,
        color=LABEL_COLOURS["fake"],
        alpha=0.5,
        label="one mask",
    )
    axis.scatter(
        medians, range(len(medians)), s=160, marker="|", color="black", linewidths=2.5, label="median of the video"
    )
    axis.set_yticks(range(len(rows)), [style.text(name, 32) for name in rows])
    axis.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), xlabel="intersection over union (1 = equal to the true mask)")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def fold_counts(folds: pd.DataFrame) -> Figure:
    """Count the real and fake videos of every fold.

    Args:
        folds: one row a video: fold, label, method.
    Returns:
        The figure: one stacked bar per fold.
    Raises:
        ValueError: if a column is missing.
    """
    style.require_columns(folds, ("fold", "label", "method"), "fold_counts")
    if folds.empty:
        return style.in_words("videos per fold", "no videos")
    counts = folds.assign(label=folds["label"].map(label_name)).groupby(["fold", "label"]).size().unstack(fill_value=0)
    figure = style.figure(4.0, style.counted("videos per fold", len(folds), len(folds)))
    axis = style.axes(figure, 1)[0]
    axis.set_xticks(range(len(counts)), [str(fold) for fold in counts.index])
    _stack(axis.bar, "bottom", counts)
    axis.set(xlabel="fold", ylabel="videos")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    _label_legend(axis, counts.columns)
    return figure


# Parts ----------------------------------------------------------------------------------------------------------------------------------
def _group(video: Video) -> str:
    if video.part is not None:
        return f"part {video.part}"
    name = video.method or {"real": "originals", "fake": "fakes", "unknown": "without label"}[label_name(video.label)]
    return f"{name} {video.compression}".strip()


def _stack(draw_bars, start: str, counts: pd.DataFrame) -> None:  # type: ignore[no-untyped-def]
    """Stack the bars of all labels; `start` is what the drawing function calls a bar's lower end."""
    lower = np.zeros(len(counts))
    for name in [name for name in LABEL_COLOURS if name in counts.columns]:
        draw_bars(range(len(counts)), counts[name], color=LABEL_COLOURS[name], **{start: lower})
        lower += counts[name].to_numpy()


def _label_legend(axis: Axes, present: Iterable[str]) -> None:
    patches = [Patch(color=LABEL_COLOURS[name], label=name) for name in LABEL_COLOURS if name in set(present)]
    axis.legend(handles=patches, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _draw_resize_rule(axis: Axes, extent: float) -> None:
    """Mark where the rule's branches meet: squares, since it asks for the wider side."""
    for side in RESIZE_SIDES:
        axis.plot([side, side, 0], [0, side, side], color="#777777", linewidth=1, linestyle=":")
    for side, resize in [*RESIZE_SIDES.items(), (round(extent), LAST_RESIZE)]:
        axis.annotate(
            resize, (0, side), xytext=(3, -3), textcoords="offset points", va="top", fontsize=9, color="#444444"
        )
    axis.set_xticks([*RESIZE_SIDES])
    axis.set_yticks([*RESIZE_SIDES])


def _draw_strips(axis: Axes, faces_by_video: Mapping[str, VideoFaces]) -> None:
    """Draw one row per video: the number of faces over time; a cell that holds several frames shows the one with the fewest."""
    ends = {}
    for name, faces in faces_by_video.items():
        steps = np.diff([frame.time_seconds for frame in faces.frames])
        ends[name] = faces.frames[-1].time_seconds + (float(np.median(steps)) if len(steps) else 1 / 25)
    longest = max(ends.values())
    grid = np.full((len(ends), STRIP_CELLS), np.nan)
    cell_times = (np.arange(STRIP_CELLS) + 0.5) * longest / STRIP_CELLS
    for row, (name, faces) in zip(grid, faces_by_video.items(), strict=True):
        times = np.array([frame.time_seconds for frame in faces.frames])
        counts = np.array([min(len(frame.faces), 3) for frame in faces.frames], float)
        inside = cell_times < ends[name]
        row[inside] = counts[np.maximum(np.searchsorted(times, cell_times[inside], side="right") - 1, 0)]
        np.fmin.at(row, np.minimum((times / longest * STRIP_CELLS).astype(int), STRIP_CELLS - 1), counts)
    colours = ListedColormap(FACE_COUNT_COLOURS)
    axis.imshow(
        grid, cmap=colours, vmin=0, vmax=4, aspect="auto", interpolation="nearest", extent=(0, longest, len(ends), 0)
    )
    axis.hlines(range(1, len(ends)), 0, longest, color="white", linewidth=2)
    axis.set_yticks(np.arange(len(ends)) + 0.5, [style.text(name, 22) for name in ends], fontsize=9)
    axis.set_xlabel("time (seconds)")
    legend = [
        Patch(facecolor=FACE_COUNT_COLOURS[n], edgecolor="#777777", label=f"{n}{' or more' if n == 3 else ''}")
        for n in range(4)
    ]
    axis.legend(handles=legend, title="faces", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
