"""Viewers: their widgets, driven through the public functions, and the static picture beside them."""

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
CHOICES = {"whole": ("draw",), "noise": ("draw", "range"), "flip": ()}
TREE = {"a": {0: [0], 10: [0, 1]}, "b": {5: [0]}}
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

    def move(self, name: str, value: object) -> None:
        self.controls[name].value = value

    def state(self, y: int, x: int) -> tuple[str, tuple, list[str]]:
        """Return the caption, a pixel of the picture and the hidden controls."""
        hidden = [name for name, control in self.controls.items() if control.layout.display == "none"]
        return self.text.value, tuple(decode(self.image.value)[y, x].tolist()), hidden


def decode(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)


def crops_of(tree: dict) -> pd.DataFrame:
    rows = [(v, f, i, 1, 0.99) for v, frames in tree.items() for f, faces in frames.items() for i in faces]
    return pd.DataFrame(rows, columns=["video_id", "frame_index", "face_index", "label", "confidence"])


def gray_crop(video_id: str, frame_index: int, face_index: int) -> np.ndarray:
    return np.full((40, 30, 3), 100 * (video_id == "b") + frame_index % 100 + face_index, np.uint8)


def gray_frame(video_id: str, frame_index: int) -> tuple[np.ndarray, list]:
    return np.full((90, 160, 3), frame_index, np.uint8), []


def masks_of(*key: object) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    crop = np.full((40, 30, 3), 60, np.uint8)
    return crop, crop, np.ones((40, 30), np.float32), np.zeros((40, 30), np.uint8)


def scored_face(video_id: str, frame_index: int, face_index: int) -> tuple[np.ndarray, tuple, float]:
    return np.zeros((100, 160, 3), np.uint8), (20, 40, 80, 90), 0.25 + 0.5 * (video_id == "b")


def augmented(choice: str, number: int, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return a crop after augmentation whose colour encodes the choice, the draw and the range."""
    before, mask = np.full((40, 30, 3), 60, np.uint8), np.full((40, 30), 255, np.uint8)
    colour = (250 * (choice == "noise"), number, round(100 * share))
    return before, mask, np.full((40, 30, 3), colour, np.uint8), np.zeros((40, 30), np.uint8)


OPEN_VIEWER = [
    lambda tree: viewers.browse_crops(crops_of(tree), gray_crop),
    lambda tree: viewers.browse_masks(crops_of(tree), masks_of),
    lambda tree: viewers.browse_frames({video: list(frames) for video, frames in tree.items()}, gray_frame),
    lambda tree: viewers.browse_predictions(crops_of(tree), scored_face),
    lambda tree: viewers.preview_augmentation(CHOICES if any(tree.values()) else {}, augmented),
]


@pytest.mark.parametrize("tree", [{}, {"a": {}}])
@pytest.mark.parametrize("open_viewer", OPEN_VIEWER)
def test_an_empty_viewer_is_a_static_picture(open_viewer, tree: dict, shown: list[dict]) -> None:
    open_viewer(tree)
    assert [sorted(bundle) for bundle in shown] == [STATIC]
    assert decode(base64.b64decode(shown[0]["image/jpeg"])).shape[1] == 1080


@pytest.mark.parametrize("open_viewer", OPEN_VIEWER)
def test_every_viewer(open_viewer, shown: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    """One output holds widgets and picture; the cell can run again without a leak; headless there are no widgets."""
    open_viewer(TREE)
    count, first = len(LIVING), Widgets(shown[0]).box
    open_viewer(TREE)
    assert len(LIVING) == count
    assert (first.comm is None, Widgets(shown[1]).box.comm is None) == (True, False)
    monkeypatch.setenv("DFDC_HEADLESS", "1")
    open_viewer(TREE)
    assert len(LIVING) == count
    assert [sorted(bundle) for bundle in shown] == [[WIDGET, *STATIC], [WIDGET, *STATIC], STATIC]
    assert len({bundle["image/jpeg"] for bundle in shown}) == 1
    assert decode(base64.b64decode(shown[0]["image/jpeg"])).shape[1] == 1080


def test_two_cells_have_two_viewers(shown: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    for cell in ("first", "second"):
        shell = SimpleNamespace(get_parent=lambda cell=cell: {"metadata": {"cellId": cell}})
        monkeypatch.setattr(viewers, "get_ipython", lambda shell=shell: shell)
        viewers.browse_frames({"a": [0]}, gray_frame)
    assert all(Widgets(bundle).box.comm is not None for bundle in shown)


def test_sliders_change_picture_and_caption(shown: list[dict]) -> None:
    viewers.browse_crops(crops_of(TREE), gray_crop)
    browser = Widgets(shown[0])
    states = [browser.state(248, 248)]
    for name, value in [("frame", 10), ("face", 1), ("video", "b")]:
        browser.move(name, value)
        states.append(browser.state(248, 248))
    assert states == [
        ("a, frame 0", (0, 0, 0), ["face"]),
        ("a, frame 10, face 0", (10, 10, 10), []),
        ("a, frame 10, face 1", (11, 11, 11), []),
        ("b, frame 5", (105, 105, 105), ["face"]),
    ]
    assert [browser.controls[name].options for name in ("frame", "face")] == [(5,), (0,)]
    assert not any(browser.controls[name].continuous_update for name in ("frame", "face"))


def test_pictures_are_loaded_once_and_only_when_shown(shown: list[dict]) -> None:
    loaded: list[tuple] = []

    def load(*key: object) -> np.ndarray:
        loaded.append(key)
        return gray_crop(*key)

    tree = {f"v{i:03d}": {frame: [0] for frame in range(0, 100, 10)} for i in range(198)}
    viewers.browse_crops(crops_of(tree | {"a": {0: [0], 7: [0]}, "b": {9: [0], 3: [2]}}), load)
    assert len(loaded) == 1 + viewers.EXAMPLES
    assert [loaded[i] for i in (0, 1, -1)] == [("v000", 0, 0), ("v000", 0, 0), ("b", 9, 0)]  # the widgets come first
    assert len({video for video, *_ in loaded[1:]}) == 12  # evenly spaced
    loaded.clear()
    browser = Widgets(shown[0])
    for name, value in [("video", "a"), ("frame", 7), ("video", "b"), ("video", "a")]:
        browser.move(name, value)
    assert loaded == [("a", 0, 0), ("a", 7, 0), ("b", 3, 2), ("a", 0, 0)]


def test_a_missing_picture_is_reported_in_the_caption(shown: list[dict]) -> None:
    missing: set[str] = set()

    def load(video_id: str, frame_index: int, face_index: int) -> np.ndarray:
        if video_id in missing:
            raise FileNotFoundError("crops/<b>.png is missing")
        return gray_crop(video_id, frame_index, face_index)

    viewers.browse_crops(crops_of(TREE), load)
    missing.add("b")
    browser = Widgets(shown[0])
    browser.move("video", "b")
    assert (browser.image.value, browser.text.value) == (b"", "b, frame 5: crops/&lt;b&gt;.png is missing")
    browser.move("video", "a")
    assert browser.state(248, 248) == ("a, frame 0", (0, 0, 0), ["face"])


def test_masks_frames_and_predictions_show_what_load_returns(shown: list[dict]) -> None:
    viewers.browse_masks(crops_of(TREE), masks_of)
    viewers.browse_frames({"a": [0, 10], "b": [20]}, gray_frame)
    viewers.browse_predictions(crops_of(TREE), scored_face)
    masks, frames, predictions = (Widgets(bundle) for bundle in shown)
    assert decode(masks.image.value).shape == (316, 1400, 3)
    frames.move("frame", 10)
    assert frames.state(45, 80) == ("a, frame 10", (10, 10, 10), ["face"])
    assert predictions.state(60, 20)[:2] == ("a, frame 0", style.rgb(style.REAL_COLOUR))
    predictions.move("video", "b")
    assert predictions.state(60, 20)[:2] == ("b, frame 5", style.rgb(style.FAKE_COLOUR))


def test_the_preview_follows_its_sliders_and_hides_unused_ones(shown: list[dict]) -> None:
    viewers.preview_augmentation(CHOICES, augmented)
    preview = Widgets(shown[0])
    states = [preview.state(140, 420)]
    for name, value in [("draw", 7), ("view", "noise"), ("range", 0.25), ("view", "flip")]:
        preview.move(name, value)
        states.append(preview.state(140, 420))
    assert states == [
        ("whole, draw 0", (0, 0, 100), ["range"]),
        ("whole, draw 7", (0, 7, 100), ["range"]),
        ("noise, draw 7, at 100% of its range", (250, 7, 100), []),
        ("noise, draw 7, at 25% of its range", (250, 7, 25), []),
        ("flip", (0, 7, 25), ["draw", "range"]),
    ]


def test_a_list_of_videos_that_is_too_long_is_cut(shown: list[dict]) -> None:
    viewers.browse_frames({f"v{i}": [0] for i in range(1200)}, gray_frame)
    browser = Widgets(shown[0])
    assert len(browser.controls["video"].options) == 1000
    assert "first 1,000 of 1,200 videos" in browser.text.value


@pytest.mark.parametrize("viewer", [viewers.browse_crops, viewers.browse_masks, viewers.browse_predictions])
def test_missing_columns_raise(viewer) -> None:
    with pytest.raises(ValueError, match=f"{viewer.__name__}.*missing face_index"):
        viewer(pd.DataFrame({"video_id": ["a"], "frame_index": [0]}), gray_crop)


@pytest.mark.notebooks
def test_an_exported_page_shows_the_static_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFDC_HEADLESS", "1")
    source = "import numpy as np\nfrom dfdc_lib.viz import viewers\n"
    source += "viewers.browse_frames({'a': [0]}, lambda v, f: (np.zeros((9, 9, 3), np.uint8), []))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    (output,) = [output for output in notebook.cells[0].outputs if output.output_type == "display_data"]
    assert sorted(output.data) == STATIC
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert output.data["image/jpeg"].replace("\n", "") in page.replace("\n", "")
