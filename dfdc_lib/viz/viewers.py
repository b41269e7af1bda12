"""Widgets for notebooks: browse frames, crops, masks and scores by video, frame and face; preview the augmentation.

Input: a table with one row per picture, and a function `load`. It takes a list of keys (video_id, frame_index,
face_index), returns the arrays of each, and is called when pictures are shown. For the contact sheet it is called once,
with all keys, so that it can decode each video once. Output: one cell output with the widgets and a static contact
sheet (JPEG) for pages without widgets; if `DFDC_HEADLESS` is set, as in the pipeline, the contact sheet only.
Sliders follow the arrow keys. `renderings` draws the pictures.
"""

import base64
import html
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import ipywidgets as widgets
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.records import Box, Face
from dfdc_lib.viz import style
from dfdc_lib.viz.draw import draw_faces, draw_score
from dfdc_lib.viz.renderings import render_augmentation, render_crop, render_frame, render_masks, render_prediction
from dfdc_lib.viz.sheets import contact_sheet, mask_rows

EXAMPLES, MASK_EXAMPLES = 12, 6  # on a static sheet
MOST_VIDEOS = 1000  # in a drop-down list
DRAWS = 100  # on the slider of `preview_augmentation`
LAYOUT = {"width": "min(640px, 100%)"}
SLIDER = {"continuous_update": False, "layout": LAYOUT}
KEY_COLUMNS = ["video_id", "frame_index", "face_index"]
Key = tuple[str, int, int]  # video_id, frame_index, face_index
Place = tuple[str, int]  # video_id, frame_index
FourImages = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Tree = dict[str, dict[int, list[int]]]  # video_id -> frame_index -> face indices
Caption = Callable[..., str]  # values of the controls -> text
Render = Callable[..., bytes]  # values of the controls -> PNG
MakeSheet = Callable[[list[Key], list[str], str], Figure]  # keys, their titles and the heading -> contact sheet

_open_viewers: dict[str, widgets.VBox] = {}  # kind of viewer and cell -> widgets, closed when the cell runs again


def browse_crops(crops: pd.DataFrame, load: Callable[[list[Key]], Sequence[np.ndarray]]) -> None:
    """Display a viewer of crops; `crops` has one row per crop: video_id, frame_index, face_index, label, confidence.

    `load(keys)` returns the crop of each key (video_id, frame_index, face_index), (H, W, 3) uint8 RGB.
    """
    columns = [*KEY_COLUMNS, "label", "confidence"]
    style.require_columns(crops, columns, "browse_crops")
    rows = _first_videos(crops)[columns].itertuples(index=False, name=None)
    facts = {tuple(key): (label, confidence) for *key, label, confidence in rows}

    def sheet(keys: list[Key], titles: list[str], heading: str) -> Figure:
        lines = [f"{style.label_name(facts[key][0])}, {facts[key][1]:.3f}" for key in keys]
        titles = [f"{title}\n{line}" for title, line in zip(titles, lines, strict=True)]
        return contact_sheet(load(keys), titles, heading=heading)

    _browse(crops, "crops", lambda *key: render_crop(load([key])[0], *facts[key]), sheet)


def browse_masks(masks: pd.DataFrame, load: Callable[[list[Key]], Sequence[FourImages]]) -> None:
    """Display a viewer of masks; `masks` has one row per mask: video_id, frame_index, face_index.

    `load(keys)` returns for each key (video_id, frame_index, face_index) original and fake, (H, W, 3) uint8 RGB, SSIM
    map, (H, W) in -1..1, and mask, (H, W) uint8.
    """
    style.require_columns(masks, KEY_COLUMNS, "browse_masks")

    def sheet(keys: list[Key], titles: list[str], heading: str) -> Figure:
        return mask_rows(dict(zip(titles, load(keys), strict=True)), heading)

    _browse(masks, "masks", lambda *key: render_masks(*load([key])[0]), sheet, MASK_EXAMPLES)


def browse_frames(
    frames: Mapping[str, Sequence[int]], load: Callable[[list[Place]], Sequence[tuple[np.ndarray, Sequence[Face]]]]
) -> None:
    """Display a viewer of frames with their faces; `frames`: video_id -> frame indices.

    `load(places)` returns the frame at each place (video_id, frame_index), (H, W, 3) uint8 RGB, and its faces.
    """
    table = pd.DataFrame([(name, index, 0) for name, row in frames.items() for index in row], columns=KEY_COLUMNS)

    def sheet(keys: list[Key], titles: list[str], heading: str) -> Figure:
        loaded = load([key[:2] for key in keys])
        return contact_sheet([draw_faces(*frame) for frame in loaded], titles, 4, heading)

    _browse(table, "frames", lambda *key: render_frame(*load([key[:2]])[0]), sheet)


def browse_predictions(
    scores: pd.DataFrame, load: Callable[[list[Key]], Sequence[tuple[np.ndarray, Box, float]]]
) -> None:
    """Display a viewer of scored faces; `scores` has one row per face: video_id, frame_index, face_index.

    `load(keys)` returns for each key (video_id, frame_index, face_index) the frame, (H, W, 3) uint8 RGB, and the face's
    box and score.
    """
    style.require_columns(scores, KEY_COLUMNS, "browse_predictions")

    def sheet(keys: list[Key], titles: list[str], heading: str) -> Figure:
        return contact_sheet([draw_score(*face) for face in load(keys)], titles, 4, heading)

    _browse(scores, "scored faces", lambda *key: render_prediction(*load([key])[0]), sheet)


def preview_augmentation(choices: Mapping[str, Collection[str]], draw: Callable[[str, int, float], FourImages]) -> None:
    """Display a viewer of the training augmentation of one crop.

    `choices`: transform or cut-out -> the sliders that it uses ("draw", "range"); the others are hidden.
    `draw(choice, number, position)` returns the crop and its mask before, then both after, all of one height and width.
    `number`: which random draw; `position`: place in the transform's range (0 = low end, 1 = high end).
    """

    def block(choice: str) -> np.ndarray:
        before, before_mask, after, after_mask = draw(choice, 0, 1.0)
        masks = np.hstack([before_mask, after_mask])
        return np.vstack([np.hstack([before, after]), np.repeat(masks[..., None], 3, axis=2)])

    def sheet() -> Figure:
        heading = "before | after, crop above mask; draw 0 at the high end"
        return contact_sheet([block(choice) for choice in choices], list(choices), heading=heading)

    make_widgets = partial(_preview_widgets, choices, lambda *state: render_augmentation(*draw(*state)))
    _display("augmentation", sheet, make_widgets if choices else None)


def _first_videos(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["video_id"].isin(table["video_id"].unique()[:MOST_VIDEOS])]


def _browse(table: pd.DataFrame, noun: str, render: Render, sheet: MakeSheet, examples: int = EXAMPLES) -> None:
    """Display a browser of pictures, one per row of the table; `render` turns a key into PNG."""
    rows, video_count = _first_videos(table)[KEY_COLUMNS], table["video_id"].nunique()
    tree: Tree = {name: {} for name in rows["video_id"].unique()}
    for video, frame, face in rows.sort_values(KEY_COLUMNS).itertuples(index=False, name=None):
        tree[video].setdefault(int(frame), []).append(int(face))
    keys = [(video, frame, face) for video in tree for frame, faces in tree[video].items() for face in faces]
    shown = [keys[index] for index in evenly_spaced(len(keys), examples)]
    heading = noun if len(shown) == len(keys) else f"{noun}, evenly spaced among {len(keys):,}"
    note = f" (first {len(tree):,} of {video_count:,} videos)" if video_count > len(tree) else ""

    def caption(video: str, frame: int, face: int, separator: str = ", ") -> str:
        face_text = "" if tree[video][frame] == [0] else f", face {face}"
        return f"{video}{separator}frame {frame}{face_text}"

    titles = [caption(*key, separator="\n") for key in shown]
    make_widgets = partial(_browser_widgets, tree, lambda *key: caption(*key) + note, render)
    _display(noun, lambda: sheet(shown, titles, heading), make_widgets if tree else None)


def _browser_widgets(tree: Tree, caption: Caption, render: Render) -> widgets.VBox:
    video = widgets.Dropdown(options=list(tree), description="video", layout=LAYOUT)
    frame = widgets.SelectionSlider(options=[0], description="frame", **SLIDER)
    face = widgets.SelectionSlider(options=[0], description="face", **SLIDER)

    def adjust() -> None:
        frame.options = list(tree[video.value])
        face.options = tree[video.value][frame.value]
        face.layout.display = "none" if len(face.options) == 1 else None

    return _viewer([video, frame, face], adjust, caption, render)


def _preview_widgets(choices: Mapping[str, Collection[str]], render: Render) -> widgets.VBox:
    view = widgets.Dropdown(options=list(choices), description="view", layout=LAYOUT)
    draw = widgets.IntSlider(0, 0, DRAWS - 1, description="draw", **SLIDER)
    place = widgets.FloatSlider(1, min=0, max=1, step=0.05, description="range", **SLIDER)

    def adjust() -> None:
        for slider in (draw, place):
            slider.layout.display = None if slider.description in choices[view.value] else "none"

    def caption(choice: str, number: int, share: float) -> str:
        texts = {"draw": f", draw {number}", "range": f", at {share:.0%} of its range"}
        return choice + "".join(text for name, text in texts.items() if name in choices[choice])

    return _viewer([view, draw, place], adjust, caption, render)


def _viewer(
    controls: Sequence[widgets.ValueWidget], adjust: Callable[[], None], caption: Caption, render: Render
) -> widgets.VBox:
    """Return controls above a caption and a picture, which both follow the controls' values.

    `adjust` runs first and sets the options and visibility of the controls. An error of `render` appears in the
    caption, because Jupyter writes errors of widgets to a log that users do not see.
    """
    text = widgets.HTML()
    image = widgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})

    def update(_: object = None) -> None:
        adjust()
        values = [control.value for control in controls]
        message = html.escape(caption(*values))
        if text.value == message:  # `adjust` has moved another control, and that has drawn the picture
            return
        try:
            image.value = render(*values)
        except (OSError, ValueError) as error:
            image.value = b""
            message = f"{message}: {html.escape(str(error))}"
        text.value = message

    for control in controls:
        control.observe(update, "value")
    update()
    return widgets.VBox([*controls, text, image])


def _display(noun: str, sheet: Callable[[], Figure], make_widgets: Callable[[], widgets.VBox] | None) -> None:
    """Display widgets and contact sheet as one output, or the sheet alone if there are no widgets or no front end."""
    bundle, show = {}, display
    if make_widgets and not os.environ.get("DFDC_HEADLESS"):
        parent: dict = getattr(get_ipython(), "get_parent", dict)()
        name = f"{noun} {parent.get('metadata', {}).get('cellId', '')}"  # not all front ends send the cell's id
        if name in _open_viewers:
            _close(_open_viewers.pop(name))
        _open_viewers[name] = make_widgets()
        bundle = _open_viewers[name]._repr_mimebundle_()
        show = display(bundle, raw=True, display_id=True).update  # show the widgets now: the sheet takes seconds
    image = base64.b64encode(style.jpeg(sheet())).decode()
    show(bundle | {"image/jpeg": image, "text/plain": f"contact sheet of {noun}"}, raw=True)


def _close(box: widgets.VBox) -> None:
    """Close a box and its children, which the kernel would otherwise hold in memory."""
    for widget in (box, *box.children):
        for part in (widget, widget.layout, getattr(widget, "style", widget)):
            part.close()
