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


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        *[(style.label_name(label), "real") for label in (0, 0.0)],
        *[(style.label_name(label), "fake") for label in (1, np.int64(1), 1.0)],
        *[(style.label_name(label), "unknown") for label in (None, float("nan"), pd.NA)],
        *[(style.shorten("abcdefgh"[:length], 5), text) for length, text in ((0, ""), (5, "abcde"), (8, "ab…gh"))],
        (style.shorten("abcdefgh", 6), "abc…gh"),
        *[(style.text("abcdefghi\nframe 3", length), "abc…ghi\nframe 3") for length in (1, 7)],  # at least seven
        *[(style.text(name, 7), text) for name, text in (("a$b$c", r"a\$b\$c"), (12, "12"))],
        (style.counted("videos", 48, 1500), "videos (first 48 of 1,500)"),
        (style.counted("", 2, 2, "pairs"), "n = 2 pairs"),
        *[(style.first_of("rows", n, 12), end) for n, end in ((12, ""), (1300, ", first 12 of 1,300 rows"))],
    ],
)
def test_texts(returned: str, expected: str) -> None:
    assert returned == expected


def test_require_columns_names_the_missing_ones() -> None:
    table = pd.DataFrame({"label": [1], "fps": [25]})
    style.require_columns(table, ("fps", "label"), "video_sizes")
    with pytest.raises(ValueError, match="missing height, width"):
        style.require_columns(table, ("label", "height", "width"), "video_sizes")


def test_axes_have_relative_widths_and_two_spines() -> None:
    figure = style.figure(2, "title")
    left, right = style.axes(figure, 2, (1, 3))
    figure.draw_without_rendering()
    assert right.get_position().width / left.get_position().width == pytest.approx(3, rel=0.01)
    assert {side for side, spine in left.spines.items() if spine.get_visible()} == {"bottom", "left"}


@pytest.mark.parametrize(
    ("create", "encode", "start", "tolerance"),
    [(style.figure, style.png, b"\x89PNG\r\n\x1a\n", 0), (style.photograph, style.jpeg, b"\xff\xd8\xff", 4)],
)
def test_figures_have_one_width_and_their_format(create, encode, start: bytes, tolerance: int) -> None:
    figure = create(2, "")
    figure.set_facecolor(style.FAKE_COLOUR)
    content = encode(figure)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert content.startswith(start)
    assert image.shape == (240, 1080, 3)
    assert np.abs(image.astype(int) - style.rgb(style.FAKE_COLOUR)).max() <= tolerance


def test_jpeg_preserves_the_colour_of_a_thin_line() -> None:
    stripes = np.full((240, 1080, 3), 120, np.uint8)
    stripes[:, 501::10] = style.rgb(style.YELLOW)  # one pixel wide
    figure = style.photograph(2, "")
    figure.figimage(stripes)
    image = cv2.imdecode(np.frombuffer(style.jpeg(figure), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(image.astype(int) - stripes).max() <= 40


@pytest.mark.notebooks
def test_a_notebook_shows_a_figure_once() -> None:
    imports = "from dfdc_lib.viz import style\n"
    sources = [f"{imports}style.figure(2, 'a')", f"{imports}style.photograph(2, 'a')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    starts = {"image/png": "iVBORw0KGgo", "image/jpeg": "/9j/"}  # in base64
    for cell, (kind, start) in zip(notebook.cells, starts.items(), strict=True):
        [output] = [output for output in cell.outputs if output.output_type != "stream"]
        assert output.output_type == "execute_result"
        assert set(output.data) == {kind, "text/plain"}
        assert output.data[kind].startswith(start)
        assert output.data[kind].replace("\n", "") in page.replace("\n", "")


def test_figures_do_not_import_pyplot() -> None:
    code = "import sys; from dfdc_lib.viz import plot_data, sheets\n"
    code += "plot_data.video_counts([]); sheets.mask_rows({}); print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
