import base64

import cv2
import ipywidgets
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from dfdc_lib import viewers
from dfdc_lib.records import Face

WIDGET = "application/vnd.jupyter.widget-view+json"
TREE = {"a": {0: [0], 10: [0, 1]}, "b": {5: [0]}}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Collect what viewers display, as with a front end."""
    bundles: list[dict] = []
    monkeypatch.setattr(viewers, "display", lambda bundle, raw: bundles.append(bundle))
    monkeypatch.setattr(viewers, "_open", {})
    monkeypatch.delenv("DFDC_HEADLESS", raising=False)
    return bundles


def decode(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)


def sheet(bundle: dict) -> np.ndarray:
    return decode(base64.b64decode(bundle["image/jpeg"]))


def place_bytes(video_id: str, frame_index: int, face_index: int) -> bytes:
    return f"{video_id} {frame_index} {face_index}".encode()


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


# Pictures ----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("label", "colour"), [(0, (0, 114, 178)), (1, (213, 94, 0)), (None, (153, 153, 153)), (float("nan"), (153, 153, 153))]
)
@pytest.mark.parametrize("shape", [(40, 30), (600, 900), (1, 5)])
def test_render_crop_has_one_size_and_the_labels_colour(label: object, colour: tuple, shape: tuple) -> None:
    image = decode(viewers.render_crop(np.full((*shape, 3), 7, np.uint8), label, 0.5))
    assert image.shape == (480 + 2 * 8 + 36, 480 + 2 * 8, 3)
    assert tuple(image[3, 3]) == tuple(image[490, 490]) == colour
    assert tuple(image[248, 248]) == (7, 7, 7)


def test_render_masks_draws_five_panels() -> None:
    original, fake = np.full((70, 70, 3), 200, np.uint8), np.full((70, 70, 3), 50, np.uint8)
    ssim_map, mask = np.full((70, 70), -1, np.float32), np.full((70, 70), 255, np.uint8)
    image = decode(viewers.render_masks(original, fake, ssim_map, mask))
    assert image.shape == (280 + 36, 5 * 280, 3)
    middles = [tuple(image[140, 140 + 280 * panel]) for panel in range(5)]
    assert middles == [(200, 200, 200), (50, 50, 50), (68, 1, 84), (255, 255, 255), (148, 76, 20)]  # (68, 1, 84): viridis at its lowest


@pytest.mark.parametrize(("value", "colour"), [(-1, (68, 1, 84)), (-3, (68, 1, 84)), (1, (253, 231, 37))])
def test_render_masks_holds_the_range_of_the_ssim_map(value: float, colour: tuple) -> None:
    original, fake, _, mask = masks_of()
    image = decode(viewers.render_masks(original, fake, np.full((40, 30), value, np.float32), mask))
    assert np.abs(image[140, 700].astype(int) - colour).max() <= 2


@pytest.mark.parametrize(
    ("shape", "size"), [((1080, 1920), (720, 1280)), ((1920, 1080), (720, 405)), ((144, 256), (144, 256)), ((2, 2), (2, 2))]
)
def test_render_frame_is_never_larger_than_a_screen(shape: tuple, size: tuple) -> None:
    assert decode(viewers.render_frame(np.zeros((*shape, 3), np.uint8), [])).shape[:2] == size


def test_render_frame_draws_the_faces() -> None:
    face = Face(box=(20, 40, 80, 90), landmarks=((50, 65),) * 5, confidence=0.9)
    image = decode(viewers.render_frame(np.zeros((100, 100, 3), np.uint8), [face]))
    assert tuple(image[60, 20]) == tuple(image[65, 50]) == (240, 228, 66)


@pytest.mark.parametrize(("score", "colour"), [(0.1, (0, 114, 178)), (0.9, (213, 94, 0))])
def test_render_prediction_draws_box_and_score(score: float, colour: tuple) -> None:
    image = decode(viewers.render_prediction(np.zeros((100, 160, 3), np.uint8), (20, 40, 80, 90), score))
    assert image.shape == (100, 160, 3)
    assert tuple(image[60, 20]) == tuple(image[60, 79]) == colour
    assert (image[20:38, 20:60] == (240, 228, 66)).all(axis=2).any()  # the number, in yellow


def test_render_prediction_is_never_larger_than_a_screen() -> None:
    image = decode(viewers.render_prediction(np.zeros((1080, 1920, 3), np.uint8), (200, 200, 600, 700), 0.5))
    assert image.shape == (720, 1280, 3)


# The shell ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "browse",
    [
        lambda: viewers.browse_crops(crops_of({}), gray_crop),
        lambda: viewers.browse_masks(crops_of({}), masks_of),
        lambda: viewers.browse_frames({}, lambda video, frame: (gray_crop("a", 0, 0), [])),
        lambda: viewers.browse_frames({"a": []}, lambda video, frame: (gray_crop("a", 0, 0), [])),
        lambda: viewers.browse_predictions(crops_of({}), scored_face),
    ],
)
def test_nothing_to_browse_is_a_picture_that_says_so(browse, shown: list[dict]) -> None:
    browse()
    assert [sorted(bundle) for bundle in shown] == [["image/jpeg", "text/plain"]]
    assert sheet(shown[0]).shape[1] == 1080


def test_moving_a_slider_changes_picture_and_text(shown: list[dict]) -> None:
    browser = viewers._browse(TREE, place_bytes, b"sheet", "crops", 2)
    assert (browser.image.value, browser.where.value) == (b"a 0 0", "a, frame 0")
    assert browser.face.layout.display == "none"
    browser.frame.value = 10
    assert browser.image.value == b"a 10 0"
    assert browser.face.layout.display is None
    browser.face.value = 1
    assert (browser.image.value, browser.where.value) == (b"a 10 1", "a, frame 10, face 1")
    browser.video.value = "b"
    assert (browser.image.value, browser.where.value) == (b"b 5 0", "b, frame 5")
    assert browser.face.layout.display == "none"
    assert (browser.frame.options, browser.face.options) == ((5,), (0,))
    assert not browser.frame.continuous_update
    assert not browser.face.continuous_update


def test_one_move_draws_one_picture(shown: list[dict]) -> None:
    calls: list[tuple] = []

    def render(*place: object) -> bytes:
        calls.append(place)
        return b"png"

    browser = viewers._browse({"a": {0: [0], 7: [0]}, "b": {3: [2], 9: [0]}}, render, b"sheet", "crops", 2)
    browser.frame.value = 7
    browser.video.value = "b"
    browser.video.value = "a"
    assert calls == [("a", 0, 0), ("a", 7, 0), ("b", 3, 2), ("a", 0, 0)]


def test_a_picture_that_cannot_be_read_says_why(shown: list[dict]) -> None:
    def render(video_id: str, frame_index: int, face_index: int) -> bytes:
        if video_id == "b":
            raise FileNotFoundError("crops/<b>.png is missing: run notebook 02 first")
        return b"png"

    browser = viewers._browse(TREE, render, b"sheet", "crops", 2)
    browser.video.value = "b"
    assert browser.image.value == b""
    assert browser.where.value == "b, frame 5: crops/&lt;b&gt;.png is missing: run notebook 02 first"
    browser.video.value = "a"
    assert (browser.image.value, browser.where.value) == (b"png", "a, frame 0")


def test_one_output_holds_widgets_and_picture(shown: list[dict]) -> None:
    browser = viewers._browse(TREE, place_bytes, b"sheet", "crops", 2)
    (bundle,) = shown
    assert sorted(bundle) == [WIDGET, "image/jpeg", "text/plain"]
    assert bundle[WIDGET]["model_id"] == browser.box.model_id
    assert base64.b64decode(bundle["image/jpeg"]) == b"sheet"


def test_headless_shows_the_picture_alone(shown: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFDC_HEADLESS", "1")
    assert viewers._browse(TREE, place_bytes, b"sheet", "crops", 2) is None
    assert [sorted(bundle) for bundle in shown] == [["image/jpeg", "text/plain"]]


def test_a_cell_that_runs_again_leaks_no_widget(shown: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    living = ipywidgets.widgets.widget._instances
    first = viewers._browse(TREE, place_bytes, b"sheet", "crops", 2)
    first.frame.value = 10
    count = len(living)
    for _ in range(3):
        last = viewers._browse(TREE, place_bytes, b"sheet", "crops", 2)
    assert len(living) == count
    assert (first.box.comm, last.box.comm is None) == (None, False)
    monkeypatch.setattr(viewers, "_cell_id", lambda: "another cell")
    viewers._browse(TREE, place_bytes, b"sheet", "crops", 2)
    assert len(living) > count  # two cells, two viewers


# The four viewers --------------------------------------------------------------------------------------------------------------------
def test_browse_crops_looks_at_crops_with_their_label(shown: list[dict]) -> None:
    viewers.browse_crops(crops_of(TREE), gray_crop)
    (browser,) = viewers._open.values()
    browser.video.value = "b"
    image = decode(browser.image.value)
    assert (tuple(image[248, 248]), tuple(image[3, 3])) == ((150, 150, 150), (213, 94, 0))
    assert sheet(shown[0]).shape[1] == 1080


def test_browse_masks_and_frames_look_at_what_load_gives(shown: list[dict]) -> None:
    viewers.browse_masks(crops_of(TREE), masks_of)
    viewers.browse_frames({"a": [0, 10], "b": [20]}, lambda video, frame: (np.full((90, 160, 3), frame, np.uint8), []))
    masks, frames = viewers._open.values()
    assert decode(masks.image.value).shape == (316, 1400, 3)
    frames.frame.value = 10
    assert decode(frames.image.value)[45, 80].tolist() == [10, 10, 10]
    assert frames.where.value == "a, frame 10"
    assert [sheet(bundle).shape[1] for bundle in shown] == [1080, 1080]


def test_browse_predictions_looks_at_the_face_that_is_chosen(shown: list[dict]) -> None:
    viewers.browse_predictions(crops_of(TREE), scored_face)
    (browser,) = viewers._open.values()
    assert tuple(decode(browser.image.value)[60, 20]) == (0, 114, 178)
    browser.video.value = "b"
    assert tuple(decode(browser.image.value)[60, 20]) == (213, 94, 0)
    assert browser.where.value == "b, frame 5"
    assert sheet(shown[0]).shape[1] == 1080


def test_pictures_are_loaded_when_they_are_looked_at(shown: list[dict]) -> None:
    loaded: list[tuple] = []

    def load(*place: object) -> np.ndarray:
        loaded.append(place)
        return gray_crop(*place)

    crops = crops_of({f"v{i:03d}": {f: [0] for f in range(0, 100, 10)} for i in range(200)})
    viewers.browse_crops(crops, load)
    assert len(loaded) == viewers.EXAMPLES + 1
    assert [loaded[0], loaded[11]] == [("v000", 0, 0), ("v199", 90, 0)]
    assert len({video for video, *_ in loaded[:12]}) == 12  # evenly drawn


def test_a_list_too_long_for_a_menu_says_so(shown: list[dict]) -> None:
    viewers.browse_frames({f"v{i}": [0] for i in range(1200)}, lambda video, frame: (np.zeros((9, 9, 3), np.uint8), []))
    (browser,) = viewers._open.values()
    assert len(browser.video.options) == 1000
    assert browser.where.value == "v0, frame 0 (first 1,000 of 1,200 videos)"


@pytest.mark.parametrize(
    ("browse", "message"),
    [
        (viewers.browse_crops, "browse_crops needs .* missing face_index, label, confidence"),
        (viewers.browse_masks, "missing face_index"),
        (viewers.browse_predictions, "browse_predictions needs .* missing face_index"),
    ],
)
def test_missing_columns_are_named(browse, message: str, shown: list[dict]) -> None:
    with pytest.raises(ValueError, match=message):
        browse(pd.DataFrame({"video_id": ["a"], "frame_index": [0]}), gray_crop)


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
