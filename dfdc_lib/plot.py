"""Every figure of the kit: arrays, records and tables in, a matplotlib `Figure` out.

A figure needs neither pyplot nor a notebook magic: as the last expression of a cell it shows itself, once. House rules (DESIGN,
"Figures"): images without ticks, the concept as row label, fixed ranges (score and share 0–1, SSIM map −1–1, mask 0–255), one colour
for real and one for fake everywhere, quantity and unit on the axes, n in the title. Where there is more than a page can hold, the
first ones are drawn and the title says of how many. Colours: Okabe & Ito 2008, "Color Universal Design", safe for colour-blind eyes.
"""

import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from dfdc_lib.records import FAKE, REAL, Face, Video, VideoFaces

LABEL_COLOURS = {"real": "#0072B2", "fake": "#D55E00", "unknown": "#999999"}  # Okabe-Ito blue, vermillion; gray
LABEL_MARKERS = {"real": "o", "fake": "x", "unknown": "s"}
FACE_COLOUR = (240, 228, 66)  # RGB, Okabe-Ito yellow: boxes and landmarks
CHANGED_COLOUR = (213, 94, 0)  # RGB, the fake's vermillion: changed pixels in an overlay
FACE_COUNT_COLOURS = ("#000000", "#D9D9D9", "#56B4E9", "#CC79A7")  # of frames with 0, 1, 2, 3 or more faces
SSIM_COLOURS = "viridis"
RESIZE_SIDES = {300: "×2", 1000: "×1", 1900: "×0.5"}  # slides: below this wider side, in pixels, the detector sees the frame resized so
LAST_RESIZE = "×0.33"  # slides: wider side over 1900

WIDTH = 9.0  # inches
DPI = 120  # 9 in = 1080 pixels
CHARACTER = 0.085  # inches: a wide character at 9 points
MOST_IMAGES, MOST_ROWS, MOST_IMAGE_ROWS = 48, 60, 12  # that one figure draws
MOST_STRIPS, STRIP_CELLS = 24, 300


class _NotebookFigure(Figure):
    """A figure that a notebook shows as PNG by itself: without pyplot, thus never twice."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


def figure_png(figure: Figure) -> bytes:
    """Draw a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def label_name(label: object) -> str:
    """Name a label: "real", "fake", or "unknown" for None and for what a table makes of it (NaN, NA)."""
    if pd.isna(label):  # type: ignore[call-overload]
        return "unknown"
    return {REAL: "real", FAKE: "fake"}[label]  # type: ignore[index]


def require_columns(table: pd.DataFrame, columns: Sequence[str], caller: str) -> None:
    """Raise a ValueError that names the columns which `caller` needs and `table` lacks."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{caller} needs the columns {', '.join(columns)}; missing {', '.join(missing)} in {', '.join(table.columns)}")


# Images ------------------------------------------------------------------------------------------------------------------------------
def shorten(text: str, length: int = 24) -> str:
    """Cut a long name in the middle, where names differ least: `shorten("abcdefgh", 5)` is "ab…gh"."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink an image that is larger than (height, width), keeping its proportions; a smaller one stays as it is."""
    scale = min(height / image.shape[0], width / image.shape[1], 1.0)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def overlay_mask(fake: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Colour the changed pixels of a fake crop; the crop below is gray, so that skin does not compete with the colour.

    Args:
        fake: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8; 0 = unchanged.
    Returns:
        (H, W, 3) uint8 RGB; where the mask is 255 the colour covers 60 %.
    Raises:
        ValueError: if mask and crop differ in size.
    """
    if mask.shape != fake.shape[:2]:
        raise ValueError(f"the mask must have the size of its crop {fake.shape[:2]}, got {mask.shape}: cut both with the same box")
    gray = np.asarray(cv2.cvtColor(fake, cv2.COLOR_RGB2GRAY), np.float32)[..., None]
    strength = np.float32(0.6 / 255) * mask[..., None]
    return np.rint(gray + (np.array(CHANGED_COLOUR, np.float32) - gray) * strength).astype(np.uint8)


def draw_faces(image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """Draw boxes, landmarks and confidences so large that a shrunken frame still shows them.

    Args:
        image: (H, W, 3) uint8 RGB frame; it is not changed.
        faces: boxes and landmarks in pixels of this frame.
    Returns:
        (H, W, 3) uint8 RGB copy.
    """
    drawn = np.ascontiguousarray(image).copy()
    wider = max(image.shape[:2])
    line = max(1, round(wider / 200))
    scale = max(0.35, wider / 750)  # of OpenCV's font, whose capitals are 22 pixels high at 1
    for face in faces:
        x0, y0, x1, y1 = (round(value) for value in face.box)
        cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), FACE_COLOUR, line)
        radius = max(1, min(line, round((x1 - x0) / 15)))  # dots of a small face must not run together
        for x, y in face.landmarks:
            cv2.circle(drawn, (round(x), round(y)), radius + max(1, radius // 3), (0, 0, 0), -1)
            cv2.circle(drawn, (round(x), round(y)), radius, FACE_COLOUR, -1)
        _draw_confidence(drawn, f"{face.confidence:.2f}", (x0, y0, y1), scale, line)
    return drawn


def _draw_confidence(image: np.ndarray, text: str, place: tuple[int, int, int], scale: float, line: int) -> None:
    """Write yellow on black above a box, given as x0, y0, y1; below it where there is no room above."""
    stroke = max(1, round(line / 2))
    (text_width, text_height), descent = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)
    width, height = text_width + 2 * line, text_height + descent + line
    x0, y0, y1 = place
    left = min(max(0, x0), max(0, image.shape[1] - width))
    top = y0 - line - height if y0 - line >= height else y1 + line
    cv2.rectangle(image, (left, top), (left + width, top + height), (0, 0, 0), -1)
    cv2.putText(image, text, (left + line, top + height - descent), cv2.FONT_HERSHEY_SIMPLEX, scale, FACE_COLOUR, stroke, cv2.LINE_AA)


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
        return _in_words(heading, "no images")
    shown = [_for_cell(image, WIDTH / columns) for image in images[:MOST_IMAGES]]
    rows = math.ceil(len(shown) / columns)
    tallness = float(np.median([image.shape[0] / image.shape[1] for image in shown]))
    lines = max(title.count("\n") + 1 for title in titles[:MOST_IMAGES])
    figure = _figure(rows * (WIDTH / columns * min(tallness, 1.8) + 0.2 * lines) + 0.5, _counted(heading, len(shown), len(images)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, image, title in zip(axes, shown, titles, strict=False):
        _show(axis, image)
        axis.set_title(_text(title, int(WIDTH / columns / CHARACTER)), fontsize=9)
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
            raise ValueError(f"image_rows needs {len(column_titles)} images in every row, got {len(images)} in row {name!r}")
    if not rows or not column_titles:
        return _in_words("", "no images")
    cell = WIDTH / len(column_titles)
    shown = {name: [_for_cell(image, cell) for image in images] for name, images in list(rows.items())[:MOST_IMAGE_ROWS]}
    title = _counted("", len(column_titles), len(column_titles), "examples") + _first("rows", len(rows), MOST_IMAGE_ROWS)
    axes = _row_axes(list(shown), column_titles, [image for images in shown.values() for image in images], title)
    for row, images in zip(axes, shown.values(), strict=True):
        for axis, image in zip(row, images, strict=True):
            _show(axis, image)
    return _figure_of(axes[0][0])


def mask_rows(rows: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Show how a mask comes about: original | fake | SSIM map | mask | mask in colour over the fake.

    Args:
        rows: row label (video and frame) → original and fake (H, W, 3) uint8, SSIM map (H, W) in −1…1, mask (H, W) uint8.
    Returns:
        The figure; of more than `MOST_IMAGE_ROWS` rows the first ones.
    """
    if not rows:
        return _in_words("", "no masks")
    shown = dict(list(rows.items())[:MOST_IMAGE_ROWS])
    columns = ("original", "fake", "SSIM map", "mask", "overlay")
    fakes = [images[1] for images in shown.values()]
    axes = _row_axes(list(shown), columns, fakes, _counted("", len(shown), len(rows), "pairs"), bar_row=True)
    for row, (original, fake, ssim_map, mask) in zip(axes[:-1], shown.values(), strict=True):
        _show(row[0], original)
        _show(row[1], fake)
        map_image = row[2].imshow(ssim_map, cmap=SSIM_COLOURS, vmin=-1, vmax=1)
        mask_image = _show(row[3], mask)
        _show(row[4], overlay_mask(fake, mask))
    figure = _figure_of(axes[0][0])
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
        halves = [cv2.resize(image, (max(1, round(image.shape[1] * height / image.shape[0])), height)) for image in (left, right)]
        joined.append(np.hstack([halves[0], np.full((height, 12, 3), 255, np.uint8), halves[1]]))
    figure = contact_sheet(joined, [text for text, _, _ in pairs[:MOST_IMAGES]], columns=2, heading=heading)
    if pairs:
        figure.suptitle(_counted(heading, len(joined), len(pairs), "pairs"))
    return figure


# Tables ------------------------------------------------------------------------------------------------------------------------------
def video_counts(videos: Sequence[Video]) -> Figure:
    """Count videos by label, per DFDC part or, where there are no parts, per method and compression.

    Args:
        videos: as listed.
    Returns:
        The figure: one horizontal bar per group, real and fake stacked.
    """
    if not videos:
        return _in_words("videos", "no videos")
    rows = [(-1 if video.part is None else video.part, _group(video), label_name(video.label)) for video in videos]
    table = pd.DataFrame(rows, columns=["part", "group", "label"])  # the part sorts: part 2 before part 10
    counts = table.groupby(["part", "group", "label"]).size().unstack(fill_value=0)
    title = _counted("videos", len(videos), len(videos)) + _first("groups", len(counts))
    counts = counts.iloc[:MOST_ROWS]
    figure = _figure(1.4 + 0.28 * len(counts), title)
    axis = _axes(figure, 1)[0]
    axis.set_yticks(range(len(counts)), [_text(name, 32) for _, name in counts.index])
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
    require_columns(infos, ("label", "height", "width", "duration_seconds", "fps"), "video_sizes")
    if infos.empty:
        return _in_words("frame sizes and durations", "no videos")
    labels = infos["label"].map(label_name)
    figure = _figure(4.6, _counted("frame sizes and durations", len(infos), len(infos), "videos"))
    sizes, durations = _axes(figure, 2)
    extent = max(2200.0, 1.12 * infos[["height", "width"]].to_numpy(float).max())
    _draw_resize_rule(sizes, extent)
    present = [name for name in LABEL_COLOURS if (labels == name).any()]
    for name in present:
        size_counts = Counter(zip(infos.loc[labels == name, "width"], infos.loc[labels == name, "height"], strict=True))
        areas = [30 + 25 * math.log2(count) for count in size_counts.values()]  # points²: one dot for all videos of one size
        widths, heights = zip(*size_counts, strict=True)
        sizes.scatter(widths, heights, s=areas, c=LABEL_COLOURS[name], marker=LABEL_MARKERS[name], alpha=0.8, label=name, zorder=3)
    sizes.set(xlim=(0, extent), ylim=(0, extent), aspect="equal", xlabel="width (pixels)", ylabel="height (pixels)")
    sizes.set_title("frame size; dotted: the detector's resize rule", fontsize=10)
    seconds = [infos.loc[labels == name, "duration_seconds"].to_numpy(float) for name in present]
    longest = float(infos["duration_seconds"].max())
    durations.hist(seconds, bins=20, range=(0, 1.05 * longest), stacked=True, color=[LABEL_COLOURS[name] for name in present])
    durations.set(xlabel="duration (seconds)", ylabel="videos", xlim=(0, None))
    durations.yaxis.set_major_locator(MaxNLocator(integer=True))
    durations.set_title(f"duration; {infos['fps'].min():.4g} to {infos['fps'].max():.4g} frames per second", fontsize=10)
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
        return _in_words("faces per frame", "no examined frames")
    shown = {name: faces for name, faces in faces_by_video.items() if faces.frames}
    title = _counted("faces per frame", totals.total(), totals.total(), "frames") + _first("videos", len(shown), MOST_STRIPS)
    names = list(shown)[:MOST_STRIPS]
    figure = _figure(max(4.0, 1.4 + 0.24 * len(names)), title)
    bars, strips = _axes(figure, 2, (1, 2))
    numbers = list(range(max(totals) + 1))
    bars.bar(numbers, [totals[number] for number in numbers], color=[FACE_COUNT_COLOURS[min(number, 3)] for number in numbers])
    for number in sorted(totals):
        bars.annotate(str(totals[number]), (number, totals[number]), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=9)
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
        return _in_words("face boxes", "no faces")
    figure = _figure(3.8, _counted("face boxes", len(faces), len(faces)))
    sides, confidences = _axes(figure, 2)
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
    require_columns(masks, ("video_id", "method", "ssim", "changed_share"), "mask_strength")
    if masks.empty:
        return _in_words("strength of the masks", "no masks")
    methods = masks["method"].fillna("").replace("", "all fakes")
    names = sorted(methods.unique())
    heading = _counted("strength of the masks", len(masks), len(masks), f"masks of {masks['video_id'].nunique():,} fakes")
    title, names = heading + _first("methods", len(names)), names[:MOST_ROWS]
    figure = _figure(1.6 + 0.45 * len(names), title)
    panels = _axes(figure, 2)
    for axis, column in zip(panels, ("ssim", "changed_share"), strict=True):
        values = [masks.loc[methods == name, column].to_numpy(float) for name in names]
        boxes = axis.boxplot(values, orientation="horizontal", widths=0.6, patch_artist=True, flierprops={"marker": ".", "alpha": 0.4})
        for box in boxes["boxes"]:
            box.set(facecolor=LABEL_COLOURS["fake"], alpha=0.6)
        for line in boxes["medians"]:
            line.set(color="black", linewidth=2)
        axis.set_yticks(range(1, len(names) + 1), [f"{_text(name, 20)}\nn = {len(row):,}" for name, row in zip(names, values, strict=True)])
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
    require_columns(iou, ("video_id", "iou"), "mask_iou")
    if iou.empty:
        return _in_words("SSIM masks against the truth", "no masks")
    medians = iou.groupby("video_id")["iou"].median().sort_values()
    note = f", the lowest {MOST_ROWS} of {len(medians):,} videos" if len(medians) > MOST_ROWS else ""
    overall = float(iou["iou"].median())
    medians = medians.iloc[:MOST_ROWS]
    rows = {str(name): row for row, name in enumerate(medians.index)}
    dots = iou[iou["video_id"].isin(medians.index)]
    figure = _figure(1.6 + 0.24 * len(rows), _counted("SSIM masks against the truth", len(iou), len(iou), "masks") + note)
    axis = _axes(figure, 1)[0]
    axis.axvline(overall, color="black", linestyle="--", linewidth=1, label=f"median of all, {overall:.2f}")
    axis.scatter(dots["iou"], dots["video_id"].astype(str).map(rows), s=16, color=LABEL_COLOURS["fake"], alpha=0.5, label="one mask")
    axis.scatter(medians, range(len(medians)), s=160, marker="|", color="black", linewidths=2.5, label="median of the video")
    axis.set_yticks(range(len(rows)), [_text(name, 32) for name in rows])
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
    require_columns(folds, ("fold", "label", "method"), "fold_counts")
    if folds.empty:
        return _in_words("videos per fold", "no videos")
    counts = folds.assign(label=folds["label"].map(label_name)).groupby(["fold", "label"]).size().unstack(fill_value=0)
    figure = _figure(4.0, _counted("videos per fold", len(folds), len(folds)))
    axis = _axes(figure, 1)[0]
    axis.set_xticks(range(len(counts)), [str(fold) for fold in counts.index])
    _stack(axis.bar, "bottom", counts)
    axis.set(xlabel="fold", ylabel="videos")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    _label_legend(axis, counts.columns)
    return figure


# Parts -------------------------------------------------------------------------------------------------------------------------------
def _figure(height: float, title: str) -> Figure:
    figure = _NotebookFigure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(title)
    return figure


def _figure_of(axis: Axes) -> Figure:
    figure = axis.figure
    assert isinstance(figure, Figure)
    return figure


def _axes(figure: Figure, panels: int, widths: Sequence[float] | None = None) -> list[Axes]:
    axes = list(figure.subplots(1, panels, squeeze=False, width_ratios=widths)[0])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return axes


def _row_axes(labels: Sequence[str], columns: Sequence[str], images: Iterable[np.ndarray], title: str, bar_row: bool = False) -> np.ndarray:
    """Lay out a grid with a label left of every row and a title over every column; `bar_row` adds a low last row for colour bars."""
    tallness = min(1.6, float(np.median([image.shape[0] / image.shape[1] for image in images])))
    cell_height = max(1.0, WIDTH / max(len(columns), 3) * tallness)
    heights = [cell_height] * len(labels) + [0.1] * bar_row
    figure = _figure(sum(heights) + 0.1 * len(labels) + 0.9, title)
    axes = figure.subplots(len(heights), len(columns), squeeze=False, height_ratios=heights)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(_text(column, int(WIDTH / len(columns) / CHARACTER)), fontsize=10)
    for axis, label in zip(axes[:, 0], labels, strict=False):
        axis.set_ylabel(_text(label, int(cell_height / CHARACTER)), fontsize=10)
    return axes


def _in_words(heading: str, text: str) -> Figure:
    """Say that there is nothing to draw."""
    figure = _figure(1.2, heading)
    axis = figure.subplots()
    axis.axis("off")
    axis.text(0.5, 0.5, f"nothing to show: {text}", ha="center", va="center", fontsize=12)
    return figure


def _counted(heading: str, shown: int, total: int, noun: str = "") -> str:
    amount = f"n = {total:,}" if shown == total else f"first {shown:,} of {total:,}"
    amount = f"{amount} {noun}".strip()
    return f"{heading} ({amount})" if heading else amount


def _first(noun: str, total: int, most: int = MOST_ROWS) -> str:
    return f", first {most} of {total:,} {noun}" if total > most else ""


def _text(text: str, length: int) -> str:
    """Shorten every line of a name, and keep matplotlib from reading a formula in its dollar signs."""
    return "\n".join(shorten(line, max(length, 7)) for line in str(text).split("\n")).replace("$", r"\$")


def _group(video: Video) -> str:
    if video.part is not None:
        return f"part {video.part}"
    name = video.method or {"real": "originals", "fake": "fakes", "unknown": "without label"}[label_name(video.label)]
    return f"{name} {video.compression}".strip()


def _for_cell(image: np.ndarray, inches: float) -> np.ndarray:
    """Shrink to what the paper can show: faster to draw, smaller to store."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"an image must be (H, W, 3) or (H, W) uint8, got shape {image.shape}, dtype {image.dtype}")
    return fit(image, 2 * round(inches * DPI), round(inches * DPI))


def _show(axis: Axes, image: np.ndarray) -> AxesImage:
    return axis.imshow(image, cmap="gray", vmin=0, vmax=255)  # the range counts for gray images only


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
        axis.annotate(resize, (0, side), xytext=(3, -3), textcoords="offset points", va="top", fontsize=9, color="#444444")
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
    axis.imshow(grid, cmap=colours, vmin=0, vmax=4, aspect="auto", interpolation="nearest", extent=(0, longest, len(ends), 0))
    axis.hlines(range(1, len(ends)), 0, longest, color="white", linewidth=2)
    axis.set_yticks(np.arange(len(ends)) + 0.5, [_text(name, 22) for name in ends], fontsize=9)
    axis.set_xlabel("time (seconds)")
    legend = [Patch(facecolor=FACE_COUNT_COLOURS[n], edgecolor="#777777", label=f"{n}{' or more' if n == 3 else ''}") for n in range(4)]
    axis.legend(handles=legend, title="faces", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
