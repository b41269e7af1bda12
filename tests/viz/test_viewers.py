import base64
from types import SimpleNamespace

import cv2
import ipywidgets
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from dfdc_lib.viz import style, viewers

WIDGET = "application/vnd.jupyter.widget-view+json"
STATIC = ["image/jpeg", "text/plain"]
CHOICES = {"whole": ("draw",), "noise": ("draw", "range"), "flip": ()}  # choice -> sliders
TREE = {"a": {0: [0], 10: [0, 1]}, "b": {5: [0]}}  # video_id -> frame_index -> face indices
REAL, FAKE = style.rgb(style.REAL_COLOUR), style.rgb(style.FAKE_COLOUR)
LIVING = ipywidgets.widgets.widget._instances  # widgets that the kernel holds


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What viewers display, as with a front end."""
    bundles: list[dict] = []

    def display(bundle: dict, raw: bool, display_id: bool = False) -> SimpleNamespace:
        bundles.append(bundle)
        return SimpleNamespace(update=lambda bundle, raw: bundles.__setitem__(-1, bundle))

    monkeypatch.setattr(viewers, "display", display)
    monkeypatch.delenv("DFDC_HEADLESS", raising=False)
    return bundles


class Widgets:
    """The widgets of a displayed bundle."""

    def __init__(self, bundle: dict):
        self.box = LIVING[bundle[WIDGET]["model_id"]]
        *controls, self.text, self.image = self.box.children
        self.controls = {control.description: control for control in controls}

    def states(self, y: int, x: int, moves: list[tuple[str, object]]) -> list[tuple[str, tuple, list[str]]]:
        """Return the caption, a pixel of the picture and the hidden controls, at first and after every move."""
        states = []
        for move in [None, *moves]:
            if move:
                self.controls[move[0]].value = move[1]
            hidden = [name for name, control in self.controls.items() if control.layout.display == "none"]
            states.append((self.text.value, tuple(decode(self.image.value)[y, x].tolist()), hidden))
        return states


def decode(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)


def crops_of(tree: dict) -> pd.DataFrame:
    rows = [(v, f, i, int(v == "b"), 0.99) for v, frames in tree.items() for f, faces in frames.items() for i in faces]
    return pd.DataFrame(rows, columns=["video_id", "frame_index", "face_index", "label", "confidence"])


def gray(value: int) -> np.ndarray:
    return np.full((40, 30, 3), value, np.uint8)


def gray_crops(keys: list[viewers.Key]) -> list[np.ndarray]:
    return [gray(100 * (video_id == "b") + frame % 100 + face) for video_id, frame, face in keys]


def gray_frames(places: list[viewers.Place]) -> list[tuple[np.ndarray, list]]:
    if ("a", 1) in places:
        raise FileNotFoundError("<a> is missing")
    return [(gray(frame_index), []) for _, frame_index in places]


def masks_of(keys: list[viewers.Key]) -> list[viewers.FourImages]:
    rest = gray(60), np.ones((40, 30), np.float32), np.zeros((40, 30), np.uint8)
    return [(gray(frame_index), *rest) for _, frame_index, _ in keys]


def scored_frames(keys: list[viewers.Key]) -> list[tuple[np.ndarray, tuple, float]]:
    return [(gray(0), (5, 10, 20, 30), 0.25 + 0.5 * (video_id == "b")) for video_id, *_ in keys]


def augmented(choice: str, number: int, share: float) -> viewers.FourImages:
    """Return a crop after augmentation whose colour encodes the choice, the draw and the range."""
    colour = (250 * (choice == "noise"), number, round(100 * share))
    return gray(60), gray(255)[..., 0], np.full((40, 30, 3), colour, np.uint8), gray(0)[..., 0]


OPEN_VIEWER = {
    "crops": lambda tree: viewers.browse_crops(crops_of(tree), gray_crops),
    "masks": lambda tree: viewers.browse_masks(crops_of(tree), masks_of),
    "frames": lambda tree: viewers.browse_frames({name: list(frames) for name, frames in tree.items()}, gray_frames),
    "predictions": lambda tree: viewers.browse_predictions(crops_of(tree), scored_frames),
    "augmentation": lambda tree: viewers.preview_augmentation(CHOICES if any(tree.values()) else {}, augmented),
}


@pytest.mark.parametrize("viewer", OPEN_VIEWER)
def test_one_output_holds_widgets_and_picture(viewer: str, shown: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pictures or a front end there is the static picture only; a cell that runs again leaks no widgets."""
    for tree in ({}, {"a": {}}, TREE):
        OPEN_VIEWER[viewer](tree)
    count, first = len(LIVING), Widgets(shown[-1])
    assert not any(getattr(control, "continuous_update", False) for control in first.controls.values())
    OPEN_VIEWER[viewer](TREE)
    assert (first.box.comm is None, Widgets(shown[-1]).box.comm is None) == (True, False)
    monkeypatch.setenv("DFDC_HEADLESS", "1")
    OPEN_VIEWER[viewer](TREE)
    assert len(LIVING) == count
    assert [sorted(bundle) for bundle in shown] == [STATIC, STATIC, [WIDGET, *STATIC], [WIDGET, *STATIC], STATIC]
    pictures = [bundle["image/jpeg"] for bundle in shown]
    assert len(set(pictures[2:])) == 1
    assert all(decode(base64.b64decode(picture)).shape[1] == 1080 for picture in pictures)


@pytest.mark.parametrize(
    ("viewer", "y", "x", "colours"),
    [
        ("crops", 248, 248, [(0, 0, 0), (10, 10, 10), (11, 11, 11), (105, 105, 105)]),
        ("crops", 3, 3, [REAL, REAL, REAL, FAKE]),  # the border
        ("masks", 140, 140, [(0, 0, 0), (10, 10, 10), (10, 10, 10), (5, 5, 5)]),
        ("predictions", 25, 5, [REAL, REAL, REAL, FAKE]),
    ],
)
def test_sliders_change_picture_and_caption(viewer: str, y: int, x: int, colours: list, shown: list[dict]) -> None:
    OPEN_VIEWER[viewer](TREE)
    captions = ["a, frame 0", "a, frame 10, face 0", "a, frame 10, face 1", "b, frame 5"]
    hidden = [["face"], [], [], ["face"]]
    states = Widgets(shown[0]).states(y, x, [("frame", 10), ("face", 1), ("video", "b")])
    assert states == list(zip(captions, colours, hidden, strict=True))


def test_the_preview_hides_unused_sliders(shown: list[dict]) -> None:
    OPEN_VIEWER["augmentation"](TREE)
    moves = [("draw", 7), ("view", "noise"), ("range", 0.25), ("view", "flip")]
    assert Widgets(shown[0]).states(140, 420, moves) == [
        ("whole, draw 0", (0, 0, 100), ["range"]),
        ("whole, draw 7", (0, 7, 100), ["range"]),
        ("noise, draw 7, at 100% of its range", (250, 7, 100), []),
        ("noise, draw 7, at 25% of its range", (250, 7, 25), []),
        ("flip", (0, 7, 25), ["draw", "range"]),
    ]


def test_pictures_are_loaded_once_and_only_when_shown(shown: list[dict]) -> None:
    loaded: list[list[viewers.Key]] = []

    def load(keys: list[viewers.Key]) -> list[np.ndarray]:
        loaded.append(keys)
        return gray_crops(keys)

    tree = {"a": {0: [0], 7: [0]}, "b": {9: [0], 3: [2]}} | {f"v{i}": {0: [0]} for i in range(1198)}
    viewers.browse_crops(crops_of(tree), load)
    first, sheet = loaded  # the widgets come first; the contact sheet's pictures are loaded together
    assert (first, sheet[0], sheet[-1]) == ([("a", 0, 0)], ("a", 0, 0), ("v997", 0, 0))
    assert len({video for video, *_ in sheet}) == len(sheet) == viewers.EXAMPLES  # evenly spaced
    loaded.clear()
    browser = Widgets(shown[0])
    browser.states(0, 0, [("frame", 7), ("video", "b"), ("video", "a")])
    assert loaded == [[("a", 7, 0)], [("b", 3, 2)], [("a", 0, 0)]]
    assert [len(control.options) for control in browser.controls.values()] == [1000, 2, 1]
    assert "first 1,000 of 1,200 videos" in browser.text.value


def test_two_cells_have_two_viewers(shown: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    for cell in ("first", "second"):
        shell = SimpleNamespace(get_parent=lambda cell=cell: {"metadata": {"cellId": cell}})
        monkeypatch.setattr(viewers, "get_ipython", lambda shell=shell: shell)
        viewers.browse_frames({"a": [0]}, gray_frames)
    assert all(Widgets(bundle).box.comm is not None for bundle in shown)


def test_a_missing_picture_is_reported_in_the_caption(shown: list[dict]) -> None:
    viewers.browse_frames({"a": range(40)}, gray_frames)  # frame 1 is not on the contact sheet
    browser = Widgets(shown[0])
    browser.controls["frame"].value = 1
    assert (browser.image.value, browser.text.value) == (b"", "a, frame 1: &lt;a&gt; is missing")
    browser.controls["frame"].value = 2
    assert browser.states(20, 15, []) == [("a, frame 2", (2, 2, 2), ["face"])]


@pytest.mark.parametrize("viewer", [viewers.browse_crops, viewers.browse_masks, viewers.browse_predictions])
def test_missing_columns_raise(viewer) -> None:
    with pytest.raises(ValueError, match=f"{viewer.__name__}.*missing face_index"):
        viewer(pd.DataFrame({"video_id": ["a"], "frame_index": [0]}), gray_crops)


@pytest.mark.notebooks
def test_an_exported_page_shows_the_static_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFDC_HEADLESS", "1")
    source = "from dfdc_lib.viz.viewers import browse_frames, np\n"
    source += "browse_frames({'a': [0]}, lambda places: [(np.zeros((9, 9, 3), np.uint8), [])])"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    (output,) = [output for output in notebook.cells[0].outputs if output.output_type == "display_data"]
    assert sorted(output.data) == STATIC
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert output.data["image/jpeg"].replace("\n", "") in page.replace("\n", "")
