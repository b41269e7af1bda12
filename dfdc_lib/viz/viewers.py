"""Widgets for notebooks: browse frames, crops, masks and scores, and preview the augmentation.

Input: a table of what there is, and a function that loads one of it when it is shown. Output: one cell output with the
widgets and a static contact sheet (JPEG). Pages without widgets show the sheet; if `DFDC_HEADLESS` is set, as in the
pipeline, the output has the sheet only. The pictures come from `renderings`. Sliders follow the arrow keys.
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
KEY_COLUMNS = ["video_id", "frame_index", "face_index"]
Key = tuple[str, int, int]  # video_id, frame_index, face_index
FourImages = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

_open_viewers: dict[str, widgets.VBox] = {}  # kind of viewer and cell -> widgets, closed when the cell runs again


def browse_crops(crops: pd.DataFrame, load: Callable[[str, int, int], np.ndarray]) -> None:
    """Browse crops by video, frame and face.

    Args:
        crops: one row per crop with video_id, frame_index, face_index, label, confidence.
        load: (video_id, frame_index, face_index) -> crop, (H, W, 3) uint8 RGB.
    """
    columns = [*KEY_COLUMNS, "label", "confidence"]
    style.require_columns(crops, columns, "browse_crops")
    rows = _first_videos(crops)[columns].itertuples(index=False, name=None)
    facts = {tuple(key): (label, confidence) for *key, label, confidence in rows}

    def title(key: Key) -> str:
        label, confidence = facts[key]
        return f"{_face_title(key)}\n{style.label_name(label)}, {confidence:.3f}"

    def sheet(keys: list[Key], heading: str) -> Figure:
        return contact_sheet([load(*key) for key in keys], [title(key) for key in keys], heading=heading)

    _browse(crops, "crops", lambda *key: render_crop(load(*key), *facts[key]), sheet)


def browse_masks(masks: pd.DataFrame, load: Callable[[str, int, int], FourImages]) -> None:
    """Browse masks by video, frame and face.

    Args:
        masks: one row per mask with video_id, frame_index, face_index.
        load: (video_id, frame_index, face_index) -> original, fake, SSIM map, mask; see `render_masks`.
    """
    style.require_columns(masks, KEY_COLUMNS, "browse_masks")

    def sheet(keys: list[Key], heading: str) -> Figure:
        figure = mask_rows({_face_title(key): load(*key) for key in keys})
        figure.suptitle(style.counted(heading, len(keys), len(keys)))
        return figure

    _browse(masks, "masks", lambda *key: render_masks(*load(*key)), sheet, MASK_EXAMPLES)


def browse_frames(
    frames: Mapping[str, Sequence[int]], load: Callable[[str, int], tuple[np.ndarray, Sequence[Face]]]
) -> None:
    """Browse frames with their faces by video and frame.

    Args:
        frames: video_id -> indices of the examined frames.
        load: (video_id, frame_index) -> frame, (H, W, 3) uint8 RGB, and its faces.
    """
    table = pd.DataFrame([(name, index, 0) for name, row in frames.items() for index in row], columns=KEY_COLUMNS)

    def sheet(keys: list[Key], heading: str) -> Figure:
        pictures = [draw_faces(*load(video, frame)) for video, frame, _ in keys]
        return contact_sheet(pictures, [f"{video}\nframe {frame}" for video, frame, _ in keys], 4, heading)

    _browse(table, "frames", lambda video, frame, _: render_frame(*load(video, frame)), sheet)


def browse_predictions(scores: pd.DataFrame, load: Callable[[str, int, int], tuple[np.ndarray, Box, float]]) -> None:
    """Browse scored faces by video, frame and face.

    Args:
        scores: one row per face with video_id, frame_index, face_index.
        load: (video_id, frame_index, face_index) -> frame, (H, W, 3) uint8 RGB, box and score of the face.
    """
    style.require_columns(scores, KEY_COLUMNS, "browse_predictions")

    def sheet(keys: list[Key], heading: str) -> Figure:
        pictures = [draw_score(*load(*key)) for key in keys]
        return contact_sheet(pictures, [_face_title(key) for key in keys], 4, heading)

    _browse(scores, "scored faces", lambda *key: render_prediction(*load(*key)), sheet)


def preview_augmentation(choices: Mapping[str, Collection[str]], draw: Callable[[str, int, float], FourImages]) -> None:
    """Preview on one crop what the augmentation of training does.

    Args:
        choices: transform or cut-out -> the sliders that it uses, of "draw" and "range"; the others are hidden.
        draw: (choice, number of the draw, position in the range: 0 = low end, 1 = high end) -> crop and mask before,
            crop and mask after, all of one height and width; see `render_augmentation`.
    """

    def block(choice: str) -> np.ndarray:
        before, before_mask, after, after_mask = draw(choice, 0, 1.0)
        masks = np.hstack([before_mask, after_mask])
        return np.vstack([np.hstack([before, after]), np.repeat(masks[..., None], 3, axis=2)])

    def sheet() -> Figure:
        heading = "before | after, crop above mask; draw 0 at the high end"
        return contact_sheet([block(choice) for choice in choices], list(choices), heading=heading)

    def render(choice: str, number: int, share: float) -> bytes:
        return render_augmentation(*draw(choice, number, share))

    _display("augmentation", sheet, (lambda: _preview_widgets(choices, render)) if choices else None)


def _face_title(key: Key) -> str:
    video_id, frame_index, face_index = key
    return f"{video_id}\nframe {frame_index}, face {face_index}"


def _first_videos(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["video_id"].isin(table["video_id"].unique()[:MOST_VIDEOS])]


def _browse(
    table: pd.DataFrame,
    noun: str,
    render: Callable[..., bytes],
    sheet: Callable[[list[Key], str], Figure],
    examples: int = EXAMPLES,
) -> None:
    """Display a browser of pictures.

    Args:
        table: one row per picture with `KEY_COLUMNS`.
        noun: what the pictures show, in plural.
        render: (video_id, frame_index, face_index) -> PNG.
        sheet: (keys, heading) -> contact sheet of these pictures.
        examples: largest number of pictures on the contact sheet.
    """
    rows, video_count = _first_videos(table)[KEY_COLUMNS], table["video_id"].nunique()
    tree: dict[str, dict[int, list[int]]] = {name: {} for name in rows["video_id"].unique()}
    for video, frame, face in rows.sort_values(KEY_COLUMNS).itertuples(index=False, name=None):
        tree[video].setdefault(int(frame), []).append(int(face))
    keys = [(video, frame, face) for video in tree for frame, faces in tree[video].items() for face in faces]
    shown = [keys[index] for index in evenly_spaced(len(keys), examples)]
    heading = noun if len(shown) == len(keys) else f"{noun}, evenly spaced among {len(keys):,}"
    note = f" (first {len(tree):,} of {video_count:,} videos)" if video_count > len(tree) else ""
    make_widgets = (lambda: _browser_widgets(tree, render, note)) if tree else None
    _display(noun, lambda: sheet(shown, heading), make_widgets)


def _browser_widgets(
    tree: Mapping[str, Mapping[int, Sequence[int]]], render: Callable[[str, int, int], bytes], note: str
) -> widgets.VBox:
    """Return a list of videos, sliders for frames and faces, and the chosen picture.

    Args:
        tree: video_id -> frame_index -> face indices.
        render: (video_id, frame_index, face_index) -> PNG.
        note: end of every caption.
    """
    video = widgets.Dropdown(options=list(tree), description="video", layout=LAYOUT)
    frame, face = (
        widgets.SelectionSlider(options=[0], description=name, continuous_update=False, layout=LAYOUT)
        for name in ("frame", "face")
    )

    def caption(video_id: str, frame_index: int, face_index: int) -> str:
        face_text = "" if tree[video_id][frame_index] == [0] else f", face {face_index}"
        return f"{video_id}, frame {frame_index}{face_text}{note}"

    box, update = _box([video, frame, face], caption, render)

    def offer_faces(_: object = None) -> None:
        faces = tree[video.value][frame.value]
        _set_options(face, faces, update)
        face.layout.display = "none" if len(faces) == 1 else None
        update()

    def offer_frames(_: object = None) -> None:
        _set_options(frame, list(tree[video.value]), offer_faces)
        offer_faces()

    video.observe(offer_frames, "value")
    frame.observe(offer_faces, "value")
    face.observe(update, "value")
    offer_frames()
    return box


def _set_options(slider: widgets.SelectionSlider, options: Sequence[int], observer: Callable[..., None]) -> None:
    """Set a slider's options without notifying its observer, so that one move draws one picture."""
    slider.unobserve_all("value")
    slider.options = options
    slider.observe(observer, "value")


def _preview_widgets(
    choices: Mapping[str, Collection[str]], render: Callable[[str, int, float], bytes]
) -> widgets.VBox:
    """Return a list of choices, sliders for the draw and the range, and the picture."""
    view = widgets.Dropdown(options=list(choices), description="view", layout=LAYOUT)
    draw = widgets.IntSlider(0, 0, DRAWS - 1, description="draw", continuous_update=False, layout=LAYOUT)
    place = widgets.FloatSlider(1, min=0, max=1, step=0.05, description="range", continuous_update=False, layout=LAYOUT)

    def caption(choice: str, number: int, share: float) -> str:
        draw_text = f", draw {number}" if "draw" in choices[choice] else ""
        range_text = f", at {share:.0%} of its range" if "range" in choices[choice] else ""
        return f"{choice}{draw_text}{range_text}"

    box, update = _box([view, draw, place], caption, render)

    def look(_: object = None) -> None:
        for slider in (draw, place):
            slider.layout.display = None if slider.description in choices[view.value] else "none"
        update()

    for control in (view, draw, place):
        control.observe(look, "value")
    look()
    return box


def _box(
    controls: Sequence[widgets.ValueWidget], caption: Callable[..., str], render: Callable[..., bytes]
) -> tuple[widgets.VBox, Callable[..., None]]:
    """Return controls with a caption and a picture below, and the function that updates both.

    `caption` and `render` get the values of the controls. An error of `render` appears in the caption, because Jupyter
    writes errors of widgets to a log that users do not see.
    """
    text = widgets.HTML()
    image = widgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})

    def update(_: object = None) -> None:
        values = [control.value for control in controls]
        message = caption(*values)
        try:
            image.value = render(*values)
        except (OSError, ValueError) as error:
            image.value = b""
            message = f"{message}: {error}"
        text.value = html.escape(message)

    return widgets.VBox([*controls, text, image]), update


def _display(noun: str, sheet: Callable[[], Figure], make_widgets: Callable[[], widgets.VBox] | None) -> None:
    """Display widgets and contact sheet as one output; only the sheet if there are no widgets or `DFDC_HEADLESS` is set.

    The widgets are displayed first, because the sheet takes seconds.
    """
    if not make_widgets or os.environ.get("DFDC_HEADLESS"):
        display(_static(sheet, noun), raw=True)
        return
    name = f"{noun} {_cell_id()}"
    if name in _open_viewers:
        _close(_open_viewers.pop(name))
    box = _open_viewers[name] = make_widgets()
    bundle = box._repr_mimebundle_()
    handle = display(bundle, raw=True, display_id=True)
    handle.update(bundle | _static(sheet, noun), raw=True)


def _static(sheet: Callable[[], Figure], noun: str) -> dict[str, str]:
    return {"image/jpeg": base64.b64encode(style.jpeg(sheet())).decode(), "text/plain": f"contact sheet of {noun}"}


def _close(box: widgets.VBox) -> None:
    """Close a box and its children, which the kernel would otherwise hold in memory."""
    for widget in (box, *box.children):
        for part in (widget.layout, getattr(widget, "style", None), widget):
            if part is not None:
                part.close()


def _cell_id() -> str:
    """Return the id of the running notebook cell, or an empty string if the front end sends none."""
    parent: dict = getattr(get_ipython(), "get_parent", dict)()
    return parent.get("metadata", {}).get("cellId", "")
