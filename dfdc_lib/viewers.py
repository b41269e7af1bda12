"""The widgets of the notebooks: browse frames, crops and masks by video, frame and face.

Each viewer is a pure `render_…(arrays) → PNG bytes` and one shell of ipywidgets around it. What it displays is one output that holds the
widgets and a static contact sheet (JPEG), so that a place without widgets shows the sheet; with `DFDC_HEADLESS` set (the pipeline, exported
pages) only the sheet goes out. Pictures are loaded when they are looked at. OpenCV draws them: matplotlib is too slow for a slider.
"""

import base64
import html
import os
from collections.abc import Callable, Mapping, Sequence

import cv2
import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display

from dfdc_lib import figures
from dfdc_lib.figures import LABEL_COLOURS, label_name, require_columns
from dfdc_lib.images import draw_faces, draw_score, fit, overlay_mask
from dfdc_lib.records import Box, Face
from dfdc_lib.sheets import contact_sheet, mask_rows

CROP_SIDE, PANEL_SIDE = 480, 280  # pixels: every picture of a viewer has one size, so that nothing jumps
FRAME_SIZE = (720, 1280)  # height, width: no larger frame goes to the browser
CAPTION_HEIGHT, BORDER = 36, 8  # pixels
EXAMPLES = 12  # on a static sheet
MOST_VIDEOS = 1000  # that a drop-down list can hold
Tree = Mapping[str, Mapping[int, Sequence[int]]]  # video_id → frame_index → face_index

_open: dict[str, "_Browser"] = {}  # the last viewer of every cell: it is closed when the cell runs again


# Pictures ----------------------------------------------------------------------------------------------------------------------------
def render_crop(crop: np.ndarray, label: int | None, confidence: float) -> bytes:
    """Draw one crop with its label's colour around it and its confidence below.

    Args:
        crop: (H, W, 3) uint8 RGB.
        label: 0 real, 1 fake, None or NaN unknown.
        confidence: the detector's, 0–1.
    Returns:
        PNG of `CROP_SIDE` plus borders and caption, whatever the crop's size.
    """
    name = label_name(label)
    red, green, blue = (int(LABEL_COLOURS[name][start : start + 2], 16) for start in (1, 3, 5))
    square = _on_square(crop, CROP_SIDE)
    framed = cv2.copyMakeBorder(square, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_CONSTANT, value=(red, green, blue))
    return _png(_captioned(framed, f"{name}, confidence {confidence:.3f}"))


def render_masks(original: np.ndarray, fake: np.ndarray, ssim_map: np.ndarray, mask: np.ndarray) -> bytes:
    """Draw original | fake | SSIM map | mask | overlay in one strip.

    Args:
        original: (H, W, 3) uint8 RGB.
        fake: same shape.
        ssim_map: (H, W) in −1…1; dark violet −1, yellow 1.
        mask: (H, W) uint8; 0 = unchanged.
    Returns:
        PNG of five panels of `PANEL_SIDE` pixels with captions.
    """
    levels = np.rint((np.clip(ssim_map, -1, 1) + 1) * 127.5).astype(np.uint8)
    coloured = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    panels = {
        "original": original,
        "fake": fake,
        f"SSIM, mean {float(np.mean(ssim_map)):.2f}": coloured,
        "mask": cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB),
        "overlay": overlay_mask(fake, mask),
    }
    return _png(np.hstack([_captioned(_on_square(image, PANEL_SIDE), text) for text, image in panels.items()]))


def render_frame(image: np.ndarray, faces: Sequence[Face]) -> bytes:
    """Draw one frame with its faces.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: boxes and landmarks in pixels of this frame.
    Returns:
        PNG, no larger than `FRAME_SIZE`.
    """
    return _png(fit(draw_faces(image, faces), *FRAME_SIZE))


def render_prediction(image: np.ndarray, box: Box, score: float) -> bytes:
    """Draw one frame with one face's box and score.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: in pixels of this frame.
        score: P(fake), 0–1.
    Returns:
        PNG, no larger than `FRAME_SIZE`.
    """
    return _png(fit(draw_score(image, box, score), *FRAME_SIZE))


# Viewers -----------------------------------------------------------------------------------------------------------------------------
def browse_crops(crops: pd.DataFrame, load: Callable[[str, int, int], np.ndarray]) -> None:
    """Browse crops by video, frame and face.

    Args:
        crops: one row a crop: video_id, frame_index, face_index, label, confidence.
        load: (video_id, frame_index, face_index) → the crop, (H, W, 3) uint8 RGB.
    Raises:
        ValueError: if a column is missing.
    """
    require_columns(crops, ("video_id", "frame_index", "face_index", "label", "confidence"), "browse_crops")
    tree = _tree(crops)
    rows = crops[crops["video_id"].isin(list(tree))]
    keys = zip(rows["video_id"], rows["frame_index"], rows["face_index"], strict=True)
    facts = dict(zip(keys, zip(rows["label"], rows["confidence"], strict=True), strict=True))

    def render(video_id: str, frame_index: int, face_index: int) -> bytes:
        label, confidence = facts[video_id, frame_index, face_index]
        return render_crop(load(video_id, frame_index, face_index), label, confidence)

    places, total = _examples(tree, EXAMPLES)
    titles = [f"{v}\nframe {f}, face {i}\n{label_name(facts[v, f, i][0])}, {facts[v, f, i][1]:.3f}" for v, f, i in places]
    sheet = contact_sheet([load(*place) for place in places], titles, heading=f"crops, evenly drawn from {total:,}")
    _browse(tree, render, figures.jpeg(sheet), "crops", crops["video_id"].nunique())


def browse_masks(masks: pd.DataFrame, load: Callable[[str, int, int], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> None:
    """Browse masks by video, frame and face.

    Args:
        masks: one row a mask: video_id, frame_index, face_index.
        load: (video_id, frame_index, face_index) → original, fake, SSIM map, mask, as `render_masks` takes them.
    Raises:
        ValueError: if a column is missing.
    """
    require_columns(masks, ("video_id", "frame_index", "face_index"), "browse_masks")
    tree = _tree(masks)

    def render(video_id: str, frame_index: int, face_index: int) -> bytes:
        return render_masks(*load(video_id, frame_index, face_index))

    places, total = _examples(tree, EXAMPLES // 2)
    sheet = mask_rows({f"{video}\nframe {frame}, face {face}": load(video, frame, face) for video, frame, face in places})
    sheet.suptitle(f"masks, evenly drawn from {total:,} (n = {len(places)})")
    _browse(tree, render, figures.jpeg(sheet), "masks", masks["video_id"].nunique())


def browse_frames(frames: Mapping[str, Sequence[int]], load: Callable[[str, int], tuple[np.ndarray, Sequence[Face]]]) -> None:
    """Browse frames with their faces by video and frame.

    Args:
        frames: video_id → the indices of its examined frames.
        load: (video_id, frame_index) → the frame, (H, W, 3) uint8 RGB, and its faces.
    """
    tree = {name: {int(index): [0] for index in indices} for name, indices in list(frames.items())[:MOST_VIDEOS] if len(indices)}

    def render(video_id: str, frame_index: int, _: int) -> bytes:
        return render_frame(*load(video_id, frame_index))

    places, total = _examples(tree, EXAMPLES)
    drawn = [draw_faces(*load(video, frame)) for video, frame, _ in places]
    titles = [f"{video}\nframe {frame}" for video, frame, _ in places]
    sheet = contact_sheet(drawn, titles, columns=4, heading=f"frames, evenly drawn from {total:,}")
    _browse(tree, render, figures.jpeg(sheet), "frames", len(frames))


def browse_predictions(scores: pd.DataFrame, load: Callable[[str, int, int], tuple[np.ndarray, Box, float]]) -> None:
    """Browse scored faces by video, frame and face.

    Args:
        scores: one row a face: video_id, frame_index, face_index.
        load: (video_id, frame_index, face_index) → the frame, (H, W, 3) uint8 RGB, the face's box and its score.
    Raises:
        ValueError: if a column is missing.
    """
    figures.require_columns(scores, ("video_id", "frame_index", "face_index"), "browse_predictions")
    tree = _tree(scores)
    places, total = _examples(tree, EXAMPLES)
    drawn = [draw_score(*load(*place)) for place in places]
    titles = [f"{video}\nframe {frame}, face {face}" for video, frame, face in places]
    sheet = contact_sheet(drawn, titles, columns=4, heading=f"scored faces, evenly drawn from {total:,}")
    _browse(tree, lambda *place: render_prediction(*load(*place)), figures.jpeg(sheet), "predictions", scores["video_id"].nunique())


# The shell ---------------------------------------------------------------------------------------------------------------------------
class _Browser:
    """The widgets of one viewer; what they are set to is where the viewer stands."""

    def __init__(self, tree: Tree, render: Callable[[str, int, int], bytes], note: str) -> None:
        self._tree, self._render, self._note = tree, render, note
        wide = {"width": "min(640px, 100%)"}
        self.video = widgets.Dropdown(options=list(tree), description="video", layout=wide)
        self.frame = widgets.SelectionSlider(options=[0], description="frame", continuous_update=False, layout=wide)
        self.face = widgets.SelectionSlider(options=[0], description="face", continuous_update=False, layout=wide)
        self.where = widgets.HTML()
        self.image = widgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})
        self.box = widgets.VBox([self.video, self.frame, self.face, self.where, self.image])
        self.video.observe(self._enter_video, "value")
        self.frame.observe(self._enter_frame, "value")
        self.face.observe(self._look, "value")
        self._enter_video()

    def _enter_video(self, _: object = None) -> None:
        self._offer(self.frame, self._enter_frame, sorted(self._tree[self.video.value]))
        self._enter_frame()

    def _enter_frame(self, _: object = None) -> None:
        faces = sorted(self._tree[self.video.value][self.frame.value])
        self._offer(self.face, self._look, faces)
        self.face.layout.display = "none" if len(faces) == 1 else None
        self._look()

    def _offer(self, slider: widgets.SelectionSlider, observer: Callable[[object], None], options: list[int]) -> None:
        """Give a slider new options in silence: one picture is drawn for one move, not one for every widget that follows."""
        slider.unobserve(observer, "value")
        slider.options = options
        slider.observe(observer, "value")

    def _look(self, _: object = None) -> None:
        place = (self.video.value, self.frame.value, self.face.value)
        face = "" if self.face.options == (0,) else f", face {place[2]}"  # where there is one face there is nothing to tell
        text = f"{place[0]}, frame {place[1]}{face}{self._note}"
        try:
            self.image.value = self._render(*place)
        except (OSError, ValueError) as error:  # a widget's errors go to a log that nobody sees
            self.image.value = b""
            text = f"{text}: {error}"
        self.where.value = html.escape(text)

    def close(self) -> None:
        for widget in (self.box, *self.box.children):
            for part in (widget.layout, getattr(widget, "style", None), widget):
                if part is not None:
                    part.close()


def _browse(tree: Tree, render: Callable[[str, int, int], bytes], static: bytes, noun: str, video_count: int) -> "_Browser | None":
    """Display the static sheet and, unless headless, the widgets: one output that holds both."""
    bundle = {"image/jpeg": base64.b64encode(static).decode(), "text/plain": f"contact sheet of {noun}"}
    browser = None
    if tree and not os.environ.get("DFDC_HEADLESS"):
        key = f"{noun} {_cell_id()}"
        if key in _open:
            _open.pop(key).close()
        note = f" (first {len(tree):,} of {video_count:,} videos)" if video_count > len(tree) else ""
        browser = _open[key] = _Browser(tree, render, note)
        bundle = browser.box._repr_mimebundle_() | bundle
    display(bundle, raw=True)
    return browser


def _cell_id() -> str:
    """Name the notebook cell that runs, where the front end tells; two cells may each hold a viewer of one kind."""
    parent: dict = getattr(get_ipython(), "get_parent", dict)()
    return parent.get("metadata", {}).get("cellId", "")


def _tree(table: pd.DataFrame) -> dict[str, dict[int, list[int]]]:
    tree: dict[str, dict[int, list[int]]] = {name: {} for name in table["video_id"].unique()[:MOST_VIDEOS]}
    rows = table[table["video_id"].isin(list(tree))]
    for video_id, frame_index, face_index in zip(rows["video_id"], rows["frame_index"], rows["face_index"], strict=True):
        tree[video_id].setdefault(int(frame_index), []).append(int(face_index))
    return tree


def _examples(tree: Tree, most: int) -> tuple[list[tuple[str, int, int]], int]:
    """Draw places evenly from all, for the static sheet; and say how many there are."""
    places = [(video, frame, face) for video, frames in tree.items() for frame in sorted(frames) for face in frames[frame]]
    step = max(1.0, (len(places) - 1) / (most - 1))
    return [places[round(number * step)] for number in range(min(most, len(places)))], len(places)


def _on_square(image: np.ndarray, side: int) -> np.ndarray:
    """Scale an image into a white square, in its own proportions."""
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square = np.full((side, side, 3), 255, np.uint8)
    square[top : top + size[1], left : left + size[0]] = scaled
    return square


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    below = np.full((CAPTION_HEIGHT, image.shape[1], 3), 255, np.uint8)
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.75, 1)
    start = (max(0, image.shape[1] - width) // 2, CAPTION_HEIGHT - 11)
    cv2.putText(below, text, start, cv2.FONT_HERSHEY_SIMPLEX, 0.75, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([image, below])


def _png(image: np.ndarray) -> bytes:
    encoded, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape}, dtype {image.dtype}")
    return content.tobytes()
