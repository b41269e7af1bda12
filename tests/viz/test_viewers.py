import base64

import cv2
import ipywidgets
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from dfdc_lib.viz import style, viewers

WIDGET = "application/vnd.jupyter.widget-view+json"
CHOICES = {"whole": ("draw",), "noise": ("draw", "range"), "flip": ()}
TREE = {"a": {0: [0], 10: [0, 1]}, "b": {5: [0]}}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Collect what viewers display, as with a front end."""
    bundles: list[dict] = []

    class Handle:
        def update(self, bundle: dict, raw: bool) -> None:
            bundles[-1] = bundle

    def display(bundle: dict, raw: bool, display_id: bool = False) -> Handle:
        bundles.append(bundle)
        return Handle()

    monkeypatch.setattr(viewers, "display", display)
    monkeypatch.setattr(viewers, "_open", {})
    monkeypatch.delenv("DFDC_HEADLESS", raising=False)
    return bundles


def decode(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)


def sheet(bundle: dict) -> np.ndarray:
    return decode(base64.b64decode(bundle["image/jpeg"]))


def place_bytes(video_id: str, frame_index: int, face_index: int) -> bytes:
    return f"{video_id} {frame_index} {face_index}".encode()


def no_sheet() -> Figure:
    return style.in_words("sheet", "it is a test's")


def browse(*args: object) -> viewers._Browser:
    """Open a browser and give its widgets."""
    viewers._browse(*args)
    return list(viewers._open.values())[-1]


def crops_of(tree: dict) -> pd.DataFrame:
    rows = [(v, f, i, 1, 0.99) for v, frames in tree.items() for f, faces in frames.items() for i in faces]
    return pd.DataFrame(rows, columns=["video_id", "frame_index", "face_index", "label", "confidence"])


def gray_crop(video_id: str, frame_index: int, face_index: int) -> np.ndarray:
    return np.full((40, 30, 3), 100 * (video_id == "b") + 10 * frame_index % 100 + face_index, np.uint8)


def masks_of(*place: object) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    crop = np.full((40, 30, 3), 60, np.uint8)
    return crop, crop, np.ones((40, 30), np.float32), np.zeros((40, 30), np.uint8)


def scored_face(video_id: str, frame_index: int, face_index: int) -> tuple[np.ndarray, tuple, float]:
    return np.zeros((100, 160, 3), np.uint8), (20, 40, 80, 90), 0.25 + 0.5 * (video_id == "b")


def drawn(choice: str, number: int, share: float) -> viewers.BeforeAfter:
    """Tell choice, draw and range by the colour of the crop after."""
    before, mask = np.full((40, 30, 3), 60, np.uint8), np.full((40, 30), 255, np.uint8)
    colour = (250 * (choice == "noise"), number, round(100 * share))
    return before, mask, np.full((40, 30, 3), colour, np.uint8), np.zeros((40, 30), np.uint8)


# The shell ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "open_viewer",
    [
        lambda: viewers.browse_crops(crops_of({}), gray_crop),
        lambda: viewers.browse_masks(crops_of({}), masks_of),
        lambda: viewers.browse_frames({}, lambda video, frame: (gray_crop("a", 0, 0), [])),
        lambda: viewers.browse_frames({"a": []}, lambda video, frame: (gray_crop("a", 0, 0), [])),
        lambda: viewers.browse_predictions(crops_of({}), scored_face),
        lambda: viewers.preview_augmentation({}, drawn),
    ],
)
def test_nothing_to_browse_is_a_picture_that_says_so(open_viewer, shown: list[dict]) -> None:
    open_viewer()
    assert [sorted(bundle) for bundle in shown] == [["image/jpeg", "text/plain"]]
    assert sheet(shown[0]).shape[1] == 1080


def test_moving_a_slider_changes_picture_and_text(shown: list[dict]) -> None:
    browser = browse(TREE, place_bytes, no_sheet, "crops", 2)
    assert (browser.picture.image.value, browser.picture.where.value) == (b"a 0 0", "a, frame 0")
    assert browser.face.layout.display == "none"
    browser.frame.value = 10
    assert browser.picture.image.value == b"a 10 0"
    assert browser.face.layout.display is None
    browser.face.value = 1
    assert (browser.picture.image.value, browser.picture.where.value) == (b"a 10 1", "a, frame 10, face 1")
    browser.video.value = "b"
    assert (browser.picture.image.value, browser.picture.where.value) == (b"b 5 0", "b, frame 5")
    assert browser.face.layout.display == "none"
    assert (browser.frame.options, browser.face.options) == ((5,), (0,))
    assert not browser.frame.continuous_update
    assert not browser.face.continuous_update


def test_one_move_draws_one_picture(shown: list[dict]) -> None:
    calls: list[tuple] = []

    def render(*place: object) -> bytes:
        calls.append(place)
        return b"png"

    browser = browse({"a": {0: [0], 7: [0]}, "b": {3: [2], 9: [0]}}, render, no_sheet, "crops", 2)
    browser.frame.value = 7
    browser.video.value = "b"
    browser.video.value = "a"
    assert calls == [("a", 0, 0), ("a", 7, 0), ("b", 3, 2), ("a", 0, 0)]


def test_a_picture_that_cannot_be_read_says_why(shown: list[dict]) -> None:
    def render(video_id: str, frame_index: int, face_index: int) -> bytes:
        if video_id == "b":
            raise FileNotFoundError("crops/<b>.png is missing: run notebook 02 first")
        return b"png"

    browser = browse(TREE, render, no_sheet, "crops", 2)
    browser.video.value = "b"
    assert browser.picture.image.value == b""
    assert browser.picture.where.value == "b, frame 5: crops/&lt;b&gt;.png is missing: run notebook 02 first"
    browser.video.value = "a"
    assert (browser.picture.image.value, browser.picture.where.value) == (b"png", "a, frame 0")


def test_one_output_holds_widgets_and_picture(shown: list[dict]) -> None:
    browser = browse(TREE, place_bytes, no_sheet, "crops", 2)
    (bundle,) = shown
    assert sorted(bundle) == [WIDGET, "image/jpeg", "text/plain"]
    assert bundle[WIDGET]["model_id"] == browser.box.model_id
    assert base64.b64decode(bundle["image/jpeg"]) == style.jpeg(no_sheet())


def test_headless_shows_the_picture_alone(shown: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFDC_HEADLESS", "1")
    viewers._browse(TREE, place_bytes, no_sheet, "crops", 2)
    assert not viewers._open
    assert [sorted(bundle) for bundle in shown] == [["image/jpeg", "text/plain"]]


def test_a_cell_that_runs_again_leaks_no_widget(shown: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    living = ipywidgets.widgets.widget._instances
    first = browse(TREE, place_bytes, no_sheet, "crops", 2)
    first.frame.value = 10
    count = len(living)
    for _ in range(3):
        last = browse(TREE, place_bytes, no_sheet, "crops", 2)
    assert len(living) == count
    assert (first.box.comm, last.box.comm is None) == (None, False)
    monkeypatch.setattr(viewers, "_cell_id", lambda: "another cell")
    viewers._browse(TREE, place_bytes, no_sheet, "crops", 2)
    assert len(living) > count  # two cells, two viewers


@pytest.mark.parametrize(
    "open_viewer",
    [
        lambda: viewers.browse_crops(crops_of(TREE), gray_crop),
        lambda: viewers.browse_masks(crops_of(TREE), masks_of),
        lambda: viewers.browse_frames({"a": [0, 10]}, lambda video, frame: (gray_crop("a", 0, 0), [])),
        lambda: viewers.browse_predictions(crops_of(TREE), scored_face),
        lambda: viewers.preview_augmentation(CHOICES, drawn),
    ],
)
def test_no_viewer_leaks_widgets(open_viewer, shown: list[dict]) -> None:
    living = ipywidgets.widgets.widget._instances
    open_viewer()
    count = len(living)
    open_viewer()
    assert len(living) == count


# The viewers --------------------------------------------------------------------------------------------------------------------
def test_browse_crops_looks_at_crops_with_their_label(shown: list[dict]) -> None:
    viewers.browse_crops(crops_of(TREE), gray_crop)
    (browser,) = viewers._open.values()
    browser.video.value = "b"
    image = decode(browser.picture.image.value)
    assert (tuple(image[248, 248]), tuple(image[3, 3])) == ((150, 150, 150), (213, 94, 0))
    assert sheet(shown[0]).shape[1] == 1080


def test_browse_masks_and_frames_look_at_what_load_gives(shown: list[dict]) -> None:
    viewers.browse_masks(crops_of(TREE), masks_of)
    viewers.browse_frames({"a": [0, 10], "b": [20]}, lambda video, frame: (np.full((90, 160, 3), frame, np.uint8), []))
    masks, frames = viewers._open.values()
    assert decode(masks.picture.image.value).shape == (316, 1400, 3)
    frames.frame.value = 10
    assert decode(frames.picture.image.value)[45, 80].tolist() == [10, 10, 10]
    assert frames.picture.where.value == "a, frame 10"
    assert [sheet(bundle).shape[1] for bundle in shown] == [1080, 1080]


def test_browse_predictions_looks_at_the_face_that_is_chosen(shown: list[dict]) -> None:
    viewers.browse_predictions(crops_of(TREE), scored_face)
    (browser,) = viewers._open.values()
    assert tuple(decode(browser.picture.image.value)[60, 20]) == (0, 114, 178)
    browser.video.value = "b"
    assert tuple(decode(browser.picture.image.value)[60, 20]) == (213, 94, 0)
    assert browser.picture.where.value == "b, frame 5"
    assert sheet(shown[0]).shape[1] == 1080


def test_preview_augmentation_draws_what_its_sliders_say(shown: list[dict]) -> None:
    viewers.preview_augmentation(CHOICES, drawn)
    (preview,) = viewers._open.values()

    def after() -> tuple:
        return tuple(int(value) for value in decode(preview.picture.image.value)[140, 140 + 280])

    assert (preview.picture.where.value, after()) == ("whole, draw 0", (0, 0, 100))
    preview.draw.value = 7
    assert (preview.picture.where.value, after()) == ("whole, draw 7", (0, 7, 100))
    preview.choice.value = "noise"
    preview.range.value = 0.25
    assert (preview.picture.where.value, after()) == ("noise, draw 7, at 25% of its range", (250, 7, 25))
    assert sheet(shown[0]).shape[1] == 1080


@pytest.mark.parametrize(("choice", "hidden"), [("whole", ["range"]), ("noise", []), ("flip", ["draw", "range"])])
def test_preview_augmentation_hides_the_sliders_that_do_nothing(
    choice: str, hidden: list[str], shown: list[dict]
) -> None:
    viewers.preview_augmentation(CHOICES, drawn)
    (preview,) = viewers._open.values()
    preview.choice.value = choice
    assert [name for name in ("draw", "range") if getattr(preview, name).layout.display == "none"] == hidden


def test_pictures_are_loaded_when_they_are_looked_at(shown: list[dict]) -> None:
    loaded: list[tuple] = []

    def load(*place: object) -> np.ndarray:
        loaded.append(place)
        return gray_crop(*place)

    crops = crops_of({f"v{i:03d}": {f: [0] for f in range(0, 100, 10)} for i in range(200)})
    viewers.browse_crops(crops, load)
    assert len(loaded) == 1 + viewers.EXAMPLES  # the widgets' picture comes first
    assert [loaded[1], loaded[12]] == [("v000", 0, 0), ("v199", 90, 0)]
    assert len({video for video, *_ in loaded[1:]}) == 12  # evenly drawn


def test_a_list_too_long_for_a_menu_says_so(shown: list[dict]) -> None:
    viewers.browse_frames({f"v{i}": [0] for i in range(1200)}, lambda video, frame: (np.zeros((9, 9, 3), np.uint8), []))
    (browser,) = viewers._open.values()
    assert len(browser.video.options) == 1000
    assert browser.picture.where.value == "v0, frame 0 (first 1,000 of 1,200 videos)"


@pytest.mark.parametrize(
    ("open_viewer", "message"),
    [
        (viewers.browse_crops, "browse_crops needs .* missing face_index, label, confidence"),
        (viewers.browse_masks, "missing face_index"),
        (viewers.browse_predictions, "browse_predictions needs .* missing face_index"),
    ],
)
def test_missing_columns_are_named(open_viewer, message: str, shown: list[dict]) -> None:
    with pytest.raises(ValueError, match=message):
        open_viewer(pd.DataFrame({"video_id": ["a"], "frame_index": [0]}), gray_crop)


@pytest.mark.notebooks
def test_an_exported_page_shows_the_static_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFDC_HEADLESS", "1")
    source = "import numpy as np\nfrom dfdc_lib import viewers\n"
    source += "viewers.browse_frames({'a': [0]}, lambda v, f: (np.zeros((9, 9, 3), np.uint8), []))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    (output,) = [output for output in notebook.cells[0].outputs if output.output_type == "display_data"]
    assert set(output.data) == {"image/jpeg", "text/plain"}
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert output.data["image/jpeg"].replace("\n", "") in page.replace("\n", "")
