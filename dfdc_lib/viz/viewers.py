"""The widgets of the notebooks: browse frames, crops and masks by video, frame and face, and try the augmentation of training.

Each viewer is a shell of ipywidgets around a pure `renderings.render_…(arrays) → PNG bytes`. What it displays is one output that holds the
widgets and a static contact sheet (JPEG), so that a place without widgets shows the sheet; with `DFDC_HEADLESS` set (the pipeline, exported
pages) only the sheet goes out. Pictures are loaded when they are looked at. Sliders follow the arrow keys.
"""

import base64
import html
import os
from collections.abc import Callable, Collection, Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from dfdc_lib.records import Box, Face
from dfdc_lib.viz import style
from dfdc_lib.viz.draw import draw_faces, draw_score
from dfdc_lib.viz.renderings import render_augmentation, render_crop, render_frame, render_masks, render_prediction
from dfdc_lib.viz.sheets import contact_sheet, mask_rows
from dfdc_lib.viz.style import label_name, require_columns

EXAMPLES = 12  # on a static sheet
MOST_VIDEOS = 1000  # that a drop-down list can hold
DRAWS = 100  # that the slider of `preview_augmentation` offers
WIDE = {"width": "min(640px, 100%)"}
Tree = Mapping[str, Mapping[int, Sequence[int]]]  # video_id → frame_index → face_index
BeforeAfter = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # crop and mask before, crop and mask after

_open: dict[str, "_Browser | _Preview"] = {}  # the last viewer of every cell: it is closed when the cell runs again


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

    def sheet() -> Figure:
        places, total = _examples(tree, EXAMPLES)
        titles = [
            f"{v}\nframe {f}, face {i}\n{label_name(facts[v, f, i][0])}, {facts[v, f, i][1]:.3f}" for v, f, i in places
        ]
        return contact_sheet([load(*place) for place in places], titles, heading=f"crops, evenly drawn from {total:,}")

    _browse(tree, render, sheet, "crops", crops["video_id"].nunique())


def browse_masks(
    masks: pd.DataFrame, load: Callable[[str, int, int], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
) -> None:
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

    def sheet() -> Figure:
        places, total = _examples(tree, EXAMPLES // 2)
        figure = mask_rows(
            {f"{video}\nframe {frame}, face {face}": load(video, frame, face) for video, frame, face in places}
        )
        figure.suptitle(f"masks, evenly drawn from {total:,} (n = {len(places)})")
        return figure

    _browse(tree, render, sheet, "masks", masks["video_id"].nunique())


def browse_frames(
    frames: Mapping[str, Sequence[int]], load: Callable[[str, int], tuple[np.ndarray, Sequence[Face]]]
) -> None:
    """Browse frames with their faces by video and frame.

    Args:
        frames: video_id → the indices of its examined frames.
        load: (video_id, frame_index) → the frame, (H, W, 3) uint8 RGB, and its faces.
    """
    tree = {
        name: {int(index): [0] for index in indices}
        for name, indices in list(frames.items())[:MOST_VIDEOS]
        if len(indices)
    }

    def render(video_id: str, frame_index: int, _: int) -> bytes:
        return render_frame(*load(video_id, frame_index))

    def sheet() -> Figure:
        places, total = _examples(tree, EXAMPLES)
        drawn = [draw_faces(*load(video, frame)) for video, frame, _ in places]
        titles = [f"{video}\nframe {frame}" for video, frame, _ in places]
        return contact_sheet(drawn, titles, columns=4, heading=f"frames, evenly drawn from {total:,}")

    _browse(tree, render, sheet, "frames", len(frames))


def browse_predictions(scores: pd.DataFrame, load: Callable[[str, int, int], tuple[np.ndarray, Box, float]]) -> None:
    """Browse scored faces by video, frame and face.

    Args:
        scores: one row a face: video_id, frame_index, face_index.
        load: (video_id, frame_index, face_index) → the frame, (H, W, 3) uint8 RGB, the face's box and its score.
    Raises:
        ValueError: if a column is missing.
    """
    require_columns(scores, ("video_id", "frame_index", "face_index"), "browse_predictions")
    tree = _tree(scores)

    def sheet() -> Figure:
        places, total = _examples(tree, EXAMPLES)
        drawn = [draw_score(*load(*place)) for place in places]
        titles = [f"{video}\nframe {frame}, face {face}" for video, frame, face in places]
        return contact_sheet(drawn, titles, columns=4, heading=f"scored faces, evenly drawn from {total:,}")

    _browse(tree, lambda *place: render_prediction(*load(*place)), sheet, "predictions", scores["video_id"].nunique())


def preview_augmentation(
    choices: Mapping[str, Collection[str]], draw: Callable[[str, int, float], BeforeAfter]
) -> None:
    """Try what training does to one crop: choose a transform or a cut-out, the number of the draw and the place in its range.

    Args:
        choices: what can be looked at → which of the sliders "draw" and "range" it has; the others are hidden.
        draw: (choice, number of the draw, place in the range: 0 = its low end, 1 = its high end) → crop and mask before, crop and mask
            after, as `render_augmentation` takes them, all of one height and width.
    """

    def block(choice: str) -> np.ndarray:
        before, before_mask, after, after_mask = draw(choice, 0, 1.0)
        masks = [np.repeat(mask[..., None], 3, axis=2) for mask in (before_mask, after_mask)]
        return np.vstack([np.hstack([before, after]), np.hstack(masks)])

    def sheet() -> Figure:
        heading = "before | after, crop above mask; draw 0 at the high end"
        return contact_sheet([block(choice) for choice in choices], list(choices), heading=heading)

    def render(choice: str, number: int, share: float) -> bytes:
        return render_augmentation(*draw(choice, number, share))

    _show(sheet, "augmentation", (lambda: _Preview(choices, render)) if choices else None)


# The shells --------------------------------------------------------------------------------------------------------------------------
class _Picture:
    """A line of text and the picture below it."""

    def __init__(self) -> None:
        self.where = widgets.HTML()
        self.image = widgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})

    def draw(self, text: str, render: Callable[[], bytes]) -> None:
        """Draw a picture, or say why there is none: a widget's errors go to a log that nobody sees."""
        try:
            self.image.value = render()
        except (OSError, ValueError) as error:
            self.image.value = b""
            text = f"{text}: {error}"
        self.where.value = html.escape(text)


class _Preview:
    """The widgets of `preview_augmentation`."""

    def __init__(self, choices: Mapping[str, Collection[str]], render: Callable[[str, int, float], bytes]) -> None:
        self._choices, self._render = choices, render
        self.choice = widgets.Dropdown(options=list(choices), description="look at", layout=WIDE)
        self.draw = widgets.IntSlider(0, 0, DRAWS - 1, description="draw", continuous_update=False, layout=WIDE)
        self.range = widgets.FloatSlider(
            1.0, min=0, max=1, step=0.05, description="range", continuous_update=False, layout=WIDE
        )
        self.picture = _Picture()
        self.box = widgets.VBox([self.choice, self.draw, self.range, self.picture.where, self.picture.image])
        for slider in (self.choice, self.draw, self.range):
            slider.observe(self._look, "value")
        self._look()

    def _look(self, _: object = None) -> None:
        choice, number, share = self.choice.value, self.draw.value, self.range.value
        sliders = self._choices[choice]
        self.draw.layout.display = None if "draw" in sliders else "none"
        self.range.layout.display = None if "range" in sliders else "none"
        draw = f", draw {number}" if "draw" in sliders else ""
        place = f", at {share:.0%} of its range" if "range" in sliders else ""
        self.picture.draw(f"{choice}{draw}{place}", lambda: self._render(choice, number, share))


class _Browser:
    """The widgets of one browser; what they are set to is where it stands."""

    def __init__(self, tree: Tree, render: Callable[[str, int, int], bytes], note: str) -> None:
        self._tree, self._render, self._note = tree, render, note
        self.video = widgets.Dropdown(options=list(tree), description="video", layout=WIDE)
        self.frame = widgets.SelectionSlider(options=[0], description="frame", continuous_update=False, layout=WIDE)
        self.face = widgets.SelectionSlider(options=[0], description="face", continuous_update=False, layout=WIDE)
        self.picture = _Picture()
        self.box = widgets.VBox([self.video, self.frame, self.face, self.picture.where, self.picture.image])
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
        face = (
            "" if self.face.options == (0,) else f", face {place[2]}"
        )  # where there is one face there is nothing to tell
        text = f"{place[0]}, frame {place[1]}{face}{self._note}"
        self.picture.draw(text, lambda: self._render(*place))


def _browse(
    tree: Tree, render: Callable[[str, int, int], bytes], sheet: Callable[[], Figure], noun: str, video_count: int
) -> None:
    """Display a browser: see `_show`."""
    note = f" (first {len(tree):,} of {video_count:,} videos)" if video_count > len(tree) else ""
    _show(sheet, noun, (lambda: _Browser(tree, render, note)) if tree else None)


def _show(sheet: Callable[[], Figure], noun: str, make: Callable[[], "_Browser | _Preview"] | None) -> None:
    """Display the static sheet and, where there are any and unless headless, the widgets: one output that holds both.

    The widgets come first, alone: the sheet takes seconds, and with them a person can begin.
    """
    if not make or os.environ.get("DFDC_HEADLESS"):
        display(_static(sheet, noun), raw=True)
        return
    key = f"{noun} {_cell_id()}"
    if key in _open:
        _close(_open.pop(key).box)
    _open[key] = make()
    bundle = _open[key].box._repr_mimebundle_()
    handle = display(bundle, raw=True, display_id=True)
    handle.update(bundle | _static(sheet, noun), raw=True)


def _static(sheet: Callable[[], Figure], noun: str) -> dict[str, str]:
    return {"image/jpeg": base64.b64encode(style.jpeg(sheet())).decode(), "text/plain": f"contact sheet of {noun}"}


def _close(box: widgets.VBox) -> None:
    """Close a box and all that it holds, or the kernel would keep them."""
    for widget in (box, *box.children):
        for part in (widget.layout, getattr(widget, "style", None), widget):
            if part is not None:
                part.close()


def _cell_id() -> str:
    """Name the notebook cell that runs, where the front end tells; two cells may each hold a viewer of one kind."""
    parent: dict = getattr(get_ipython(), "get_parent", dict)()
    return parent.get("metadata", {}).get("cellId", "")


def _tree(table: pd.DataFrame) -> dict[str, dict[int, list[int]]]:
    tree: dict[str, dict[int, list[int]]] = {name: {} for name in table["video_id"].unique()[:MOST_VIDEOS]}
    rows = table[table["video_id"].isin(list(tree))]
    for video_id, frame_index, face_index in zip(
        rows["video_id"], rows["frame_index"], rows["face_index"], strict=True
    ):
        tree[video_id].setdefault(int(frame_index), []).append(int(face_index))
    return tree


def _examples(tree: Tree, most: int) -> tuple[list[tuple[str, int, int]], int]:
    """Draw places evenly from all, for the static sheet; and say how many there are."""
    places = [
        (video, frame, face) for video, frames in tree.items() for frame in sorted(frames) for face in frames[frame]
    ]
    step = max(1.0, (len(places) - 1) / (most - 1))
    return [places[round(number * step)] for number in range(min(most, len(places)))], len(places)
