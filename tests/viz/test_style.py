import subprocess
import sys

import cv2
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from dfdc_lib.viz import style
from dfdc_lib.viz.draw import FACE_COLOUR


def test_nothing_is_said_in_words() -> None:
    figure = style.in_words("videos", "no videos")
    assert figure.get_suptitle() == "videos"
    assert figure.axes[0].texts[0].get_text() == "nothing to show: no videos"
    assert not figure.axes[0].axison


@pytest.mark.parametrize(
    ("label", "name"),
    [
        (0, "real"),
        (1, "fake"),
        (np.int64(1), "fake"),
        (1.0, "fake"),
        (None, "unknown"),
        (float("nan"), "unknown"),
        (pd.NA, "unknown"),
    ],
)
def test_label_name(label: object, name: str) -> None:
    assert style.label_name(label) == name


@pytest.mark.parametrize(
    ("text", "length", "short"),
    [("", 5, ""), ("abcde", 5, "abcde"), ("abcdefgh", 5, "ab…gh"), ("abcdefgh", 6, "abc…gh")],
)
def test_shorten(text: str, length: int, short: str) -> None:
    assert style.shorten(text, length) == short


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("", ""),
        ("abcdefghi", "abc…ghi"),
        ("abcdefghi\nframe 3", "abc…ghi\nframe 3"),
        ("a$b_1$c", r"a\$b_1\$c"),
        (12, "12"),
    ],
)
def test_text_shortens_lines_and_draws_no_formula(name: object, short: str) -> None:
    assert style.text(name, 7) == style.text(name, 1) == short  # a name keeps seven characters at least


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("", 0, 0), "n = 0"),
        (("videos", 4, 4), "videos (n = 4)"),
        (("videos", 48, 1500), "videos (first 48 of 1,500)"),
        (("", 2, 2, "pairs"), "n = 2 pairs"),
    ],
)
def test_counted(arguments: tuple, text: str) -> None:
    assert style.counted(*arguments) == text


def test_first_of_says_only_what_was_left_out() -> None:
    assert style.first_of("rows", 12, 12) == ""
    assert style.first_of("rows", 1300, 12) == ", first 12 of 1,300 rows"


def test_missing_columns_are_named() -> None:
    table = pd.DataFrame({"label": [1], "fps": [25]})
    style.require_columns(table, ("fps", "label"), "video_sizes")
    with pytest.raises(
        ValueError, match="video_sizes needs the columns label, height, width; missing height, width in label, fps"
    ):
        style.require_columns(table, ("label", "height", "width"), "video_sizes")


def test_axes_stand_side_by_side_and_open() -> None:
    figure = style.figure(2, "title")
    left, right = style.axes(figure, 2, (1, 3))
    figure.draw_without_rendering()
    assert style.figure_of(right) is figure
    assert right.get_position().width / left.get_position().width == pytest.approx(3, rel=0.01)
    assert [left.spines[side].get_visible() for side in ("top", "right", "bottom", "left")] == [
        False,
        False,
        True,
        True,
    ]


# How a figure is shown ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("take", "draw", "start", "tolerance"),
    [(style.figure, style.png, b"\x89PNG\r\n\x1a\n", 0), (style.photograph, style.jpeg, b"\xff\xd8\xff", 4)],
)
def test_paper_has_one_width_and_its_own_format(take, draw, start: bytes, tolerance: int) -> None:
    paper = take(2, "")
    paper.set_facecolor(style.LABEL_COLOURS["fake"])
    content = draw(paper)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert content.startswith(start)
    assert image.shape == (240, 1080, 3)
    assert np.abs(image.astype(int) - (213, 94, 0)).max() <= tolerance


def test_a_jpeg_keeps_the_colour_of_a_thin_line() -> None:
    stripes = np.full((240, 1080, 3), 120, np.uint8)
    stripes[:, 501::10] = FACE_COLOUR  # one pixel wide
    paper = style.photograph(2, "")
    paper.figimage(stripes)
    image = cv2.imdecode(np.frombuffer(style.jpeg(paper), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(image.astype(int) - stripes).max() <= 40


@pytest.mark.notebooks
def test_a_bare_figure_shows_itself_once_in_a_notebook_without_magic() -> None:
    sources = ["from dfdc_lib import plot\nplot.video_counts([])"]
    sources += [
        "from dfdc_lib import sheets\nimport numpy as np\nsheets.contact_sheet([np.zeros((9, 9, 3), np.uint8)], ['a'])"
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    starts = {"image/png": "iVBORw0KGgo", "image/jpeg": "/9j/"}  # in base64
    for cell, (kind, start) in zip(notebook.cells, starts.items(), strict=True):
        shown = [output for output in cell.outputs if output.output_type != "stream"]
        assert [output.output_type for output in shown] == ["execute_result"]
        assert set(shown[0].data) == {kind, "text/plain"}
        assert shown[0].data[kind].startswith(start)
        assert shown[0].data[kind].replace("\n", "") in page.replace("\n", "")


def test_charts_and_sheets_leave_pyplot_alone() -> None:
    code = "import sys; from dfdc_lib import plot, sheets\n"
    code += "plot.video_counts([]); sheets.mask_rows({}); print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
