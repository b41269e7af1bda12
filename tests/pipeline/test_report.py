"""The report of a small run with one finished, one failed and one missing notebook, and markup in every name."""

import base64
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import cv2
import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dfdc_lib.pipeline.report import format_duration, format_number, write_page, write_report
from dfdc_lib.records import Video
from dfdc_lib.run_folder import Run

STAGES = ("00_videos", "01_detect_faces", "02_crop_faces")
HOSTILE = '<script>alert("x")</script>'
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="  # PNG
JPEG_BYTES = cv2.imencode(".jpg", np.zeros((1, 1), np.uint8))[1].tobytes()
JPEG_PIXEL = base64.encodebytes(JPEG_BYTES).decode()  # with line breaks, as kernels send it
STATUS = {
    "00_videos": ["done", "done", "done", "failed"],
    "01_detect_faces": ["done", "nothing", "not needed", "failed before"],
}
LOADING = {"src", "srcset", "data", "poster", "background", "action", "formaction"}  # attributes that load or send
ACTIVE_TAGS = {"script", "iframe", "object", "embed", "link", "base", "form"}
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "0"}, "text/plain": "VBox(children=())"}
FINISHED = "\rcrops:   0%|          | 0/2 [00:00<?]\rcrops: 100%|██████████| 2/2 [00:01<00:00, 2.0video/s]\n"
STOPPED = "\rmasks:   0%|          | 0/4 [00:00<?]\rmasks:  50%|█████     | 2/4 [00:01<00:01, 2.0video/s]"


class Page(HTMLParser):
    """The elements of a page as (tag, attributes)."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.html = path.read_text(encoding="utf-8")
        self.text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", self.html.split("</style>")[1])).strip()
        self.feed(self.html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attributes[attribute] for name, attributes in self.elements if name == tag and attribute in attributes]


def notebook(*cells) -> bytes:
    return nbformat.writes(new_notebook(cells=list(cells), metadata={"language_info": {"name": "python"}})).encode()


def stream(text: str, name: str = "stdout"):
    return new_output("stream", name=name, text=text)


def display(source: str, **formats):
    return new_code_cell(source, outputs=[new_output("display_data", data=formats.pop("data", {}) | formats)])


TABLE = "<style>.x{}</style><table class='dataframe'><tr><td onclick='x()'>0.93</td></tr></table>"
TEXTS = (
    "# 01 - Detect faces\n\n[00](00_videos.ipynb), [later](02_crop_faces.ipynb), [doi](https://doi.org/1).",
    f"## Twice\n\n{HOSTILE} <img src='https://a.org/a.png' onerror='x()'> <iframe src='https://a.org'></iframe>",
    "## Twice\n\n![far](https://a.org/b.png) [bad](javascript:x) [also](data:text/html;base64,x)\n\n### Below",
    f"<span title='<h2>{HOSTILE}</h2>'>title</span>\n\nprint: href=\"00_videos.ipynb\"",
)
BARS = [stream(FINISHED[:60], "stderr"), stream("one\n"), stream(FINISHED[60:], "stderr"), stream("two\n")]
DETECT = notebook(
    *map(new_markdown_cell, TEXTS),
    new_code_cell('RUN = "demo"', metadata={"tags": ["injected-parameters"]}),
    new_code_cell("print('a < b')", outputs=[stream("a < b\n")]),
    new_code_cell("bars()", outputs=BARS),
    new_code_cell("bars()", outputs=[stream(STOPPED, "stderr")]),
    display("plot.faces(crops)", data={"image/png": PIXEL, "text/plain": "<Figure>"}),
    display("viewer", data=WIDGET | {"image/png": PIXEL}),
    display("photograph", data={"image/jpeg": JPEG_PIXEL, "text/plain": "<Image>"}),
    display("sheet", data=WIDGET | {"image/jpeg": JPEG_PIXEL}),
    display("viewer", data=WIDGET),
    display("table", data={"text/html": TABLE + HOSTILE}),
    display("script", data={"application/javascript": "alert(1)", "text/plain": "<Javascript>"}),
)
ERROR = new_output("error", ename="ValueError", evalue="<b>no</b>", traceback=["\x1b[31mValueError\x1b[39m: <b>no</b>"])
VIDEOS = notebook(new_markdown_cell("No title here."), new_code_cell("read()", outputs=[ERROR]))


def manifest(source: str) -> dict:
    started = "2026-11-22T10:00:00+00:00"
    failed = {"title": "Videos", "status": "failed", "seconds": 4.1, "parameters": {"RUN": HOSTILE, "DATA": ""}}
    failed |= {"started": started, "error": "Traceback:\n\x1b[31mValueError\x1b[39m: <b>no</b> video"}
    done = {"title": "Detect faces", "status": "done", "seconds": 61.0, "parameters": {"MARGIN": 0.2}}
    done |= {"started": started, "error": ""}
    about = {"kit_version": "0.1.0", "commit": "abc123", "data": source, "kind": "dfdc", "started": started}
    about |= {"command": f"dfdc run --data '{HOSTILE}'", "seconds": 125.4, "versions": {"torch": "2.13.0"}}
    return about | {"stages": {"00_videos": failed, "01_detect_faces": done}}


def make_run(root: Path) -> Run:
    run = Run(root)
    labels = {"a": 0, "b": 1, "c": 1, HOSTILE.replace("/", ""): None}
    run.write_videos([Video(video_id=name, path=Path("x.mp4"), label=label) for name, label in labels.items()], {})
    for stage, statuses in STATUS.items():
        columns = {"video_id": list(labels), "status": statuses, "count": 0, "note": "", "fingerprint": ""}
        run.write_table(f"status/{stage}.csv", pd.DataFrame(columns))
    write_failures(run, [("00_videos", HOSTILE, 'cut off, "moov" <absent>\nline 2')])
    run.write_metrics("01_detect_faces", {"faces": 12345, "mean_confidence": 0.98765, "note": HOSTILE, "nothing": None})
    run.write_bytes(run.notebook_path("00_videos"), VIDEOS)
    run.write_bytes(run.notebook_path("01_detect_faces"), DETECT)
    run.write_json(run.root / "run.json", manifest(f"/videos/{HOSTILE.replace('/', '')}"))
    return run


def write_failures(run: Run, rows: list[tuple[str, str, str]]) -> None:
    run.write_table("failures.csv", pd.DataFrame(rows, columns=["stage", "video_id", "reason"]))


def page_names(run: Run) -> list[str]:
    return sorted(path.name for path in (run.root / "report").iterdir())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(tmp_path_factory.mktemp("reported"))
    write_report(run, STAGES)
    return run


@pytest.fixture(scope="module")
def pages(reported: Run) -> dict[str, Page]:
    return {path.stem: Page(path) for path in (reported.root / "report").iterdir()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of notebook 01 without other pages."""
    return Page(write_page(make_run(tmp_path_factory.mktemp("alone")), "01_detect_faces"))


def test_a_run_without_notebooks(tmp_path: Path):
    run = Run(tmp_path)
    with pytest.raises(FileNotFoundError, match="run.json"):
        write_report(run, STAGES)
    run.write_json(tmp_path / "run.json", manifest("x") | {"stages": {}})
    index = Page(write_report(run, STAGES))
    assert page_names(run) == ["index.html"]
    assert index.text.count("not run") == 3
    assert "videos 0 0 real · 0 fake videos.csv (missing)" in index.text
    assert set(index.values("a", "href")) == {"../run.json"}


def test_every_executed_notebook_has_a_page(run: Run):
    assert write_report(run, STAGES) == run.root / "report" / "index.html"
    pages = {path: path.read_bytes() for path in (run.root / "report").iterdir()}
    assert page_names(run) == ["00_videos.html", "01_detect_faces.html", "index.html"]
    assert all(page.count(b"<h1") == 1 for page in pages.values())
    assert not list((run.root / ".partial").iterdir())
    write_report(run, STAGES)
    assert {path: path.read_bytes() for path in pages} == pages  # reproducible


def test_pages_load_and_run_nothing(pages: dict[str, Page], alone: Page):
    for page in (*pages.values(), alone):
        assert not ACTIVE_TAGS & {tag for tag, _ in page.elements}
        assert "<script" not in page.html.lower()
        for tag, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on")]
            assert all(attributes[name].startswith("data:image/") for name in LOADING & attributes.keys())
            assert tag == "a" or "href" not in attributes
        assert any("default-src 'none'" in value for value in page.values("meta", "content"))
        style = page.html.split("</style>")[0]
        assert "body {" in style and not re.search(r"url\(|@import|https?:", style)


def test_links_lead_to_files_and_headings(reported: Run, pages: dict[str, Page]):
    outside = set()
    for page in pages.values():
        ids = {attributes.get("id") for _, attributes in page.elements}
        for link in page.values("a", "href"):
            if link.startswith("#"):
                assert link[1:] in ids
            elif "://" in link:
                outside.add(link)
            else:
                assert (reported.root / "report" / unquote(link)).is_file(), link
    assert outside == {"https://doi.org/1"}
    detect = pages["01_detect_faces"]
    assert detect.values("a", "href").count("00_videos.html") == 3  # twice to the previous page, once in the text
    assert 'print: href="00_videos.ipynb"' in detect.html
    assert "javascript:" not in detect.html
    assert len([link for link in detect.values("a", "href") if link.startswith("#")]) == 3
    assert "prev" in detect.values("a", "rel") and {"next"} == set(pages["00_videos"].values("a", "rel"))
    assert pages["00_videos"].values("a", "href").count("01_detect_faces.html") == 2  # above and below


@pytest.mark.parametrize("stage", STATUS)
def test_counts_are_those_of_the_status_file(stage: str, reported: Run, pages: dict[str, Page]):
    row = re.search(rf'<a href="{stage}\.html">.*?</tr>', pages["index"].html, flags=re.DOTALL).group(0)
    shown = {status.strip(): int(count) for status, count in re.findall(r"<li[^>]*>([^<]+)<b>(\d+)</b>", row)}
    counted = Counter(pd.read_csv(reported.root / "status" / f"{stage}.csv")["status"])
    assert {status: count for status, count in shown.items() if count} == counted
    assert set(shown) >= {"done", "nothing", "not needed", "failed"}
    assert "3 of 4 videos" not in pages["index"].text


def test_videos_without_a_status_are_reported(run: Run):
    table = pd.read_csv(run.root / "status" / "00_videos.csv")
    run.write_table("status/00_videos.csv", table.iloc[:3])
    assert "3 of 4 videos" in Page(write_report(run, STAGES)).text


def test_summary(pages: dict[str, Page]):
    about = ["0.1.0", "commit abc123", "torch 2.13.0", "MARGIN 0.2", "DATA (empty)", "22 November 2026, 10:00 UTC"]
    counts = ["videos 4", "1 real", "2 fake", "1 unlabelled", "done 1 of 3", "1 failed", "failures 1 "]
    metrics = ["faces 12,345", "mean confidence 0.988", "nothing –", "metrics/01_detect_faces.json"]
    stages = ["2 min 05 s", "1 min 01 s", "02_crop_faces not run"]  # the run, notebooks 01 and 02
    assert [text for text in about + counts + metrics + stages if text not in pages["index"].text] == []
    # Markup: the name of the data (three times), the command, a metric, a failed video and a parameter.
    assert pages["index"].html.count("&lt;script&gt;alert(&#34;x&#34;)") == 7
    assert "cut off, &#34;moov&#34; &lt;absent&gt;\nline 2" in pages["index"].html


def test_a_failed_stage_shows_its_error(run: Run, pages: dict[str, Page]):
    for page in (pages["index"], pages["00_videos"], Page(write_page(run, "00_videos"))):
        assert "Traceback: ValueError: &lt;b&gt;no&lt;/b&gt; video" in page.text  # without the codes of colours


@pytest.mark.parametrize(("source", "notices"), [("built-in sample", 1), ("/videos/dfdc", 0)])
def test_only_the_sample_is_called_a_smoke_test(source: str, notices: int, run: Run):
    run.write_json(run.root / "run.json", manifest(source))
    assert Page(write_report(run, STAGES)).text.count("no evidence about deepfakes") == notices


def test_many_failures_and_metrics_are_cut(run: Run):
    write_failures(run, [("01_detect_faces", f"video-{index}", "cut off") for index in range(205)])
    run.write_metrics("01_detect_faces", {f"number_{index}": index for index in range(10)})
    text = Page(write_report(run, STAGES)).text
    assert "200 of 205" in text
    assert re.findall(r"video-\d+", text)[-1] == "video-199"
    assert "number 7 7 and 2 more" in text


@pytest.mark.parametrize("content", [b"", b"\n", b"stage,video_id,reason\n"])
def test_no_failures(content: bytes, run: Run):
    run.write_bytes(run.root / "failures.csv", content)
    assert "failures 0 none failures.csv" in Page(write_report(run, STAGES)).text


def test_outputs(pages: dict[str, Page]):
    page = pages["01_detect_faces"]
    assert page.html.count("<pre>a &lt; b</pre>") == 1
    png, jpeg = "data:image/png;base64," + PIXEL, "data:image/jpeg;base64," + JPEG_PIXEL.replace("\n", "")
    assert page.values("img", "src") == [png, png, jpeg, jpeg]  # two of them replace widgets
    described = [f"Output of {source}" for source in ("plot.faces(crops)", "viewer", "photograph", "sheet")]
    # The first two pictures are on another site, so they are not loaded.
    assert page.values("img", "alt")[1:] == ["far", *described]
    assert page.html.count("open this notebook in JupyterLab") == 1
    assert "<td>0.93</td>" in page.html and "VBox" not in page.html and ".x{}" not in page.html
    folds = [attributes for tag, attributes in page.elements if tag == "details"]
    assert ["open" in attributes for attributes in folds] == [True] + [False] * 10  # the parameters are unfolded


def test_progress_bars(pages: dict[str, Page]):
    """Finished bars disappear; unfinished ones show their last state; prints between their pieces stay together."""
    text = pages["01_detect_faces"].text
    assert "crops:" not in text and "one two" in text
    assert re.findall(r"masks: +\d+%", text) == ["masks: 50%"]


def test_formatted_values():
    numbers = [None, 0, 0.0, 12345, -3.25, 0.000012, True, 1234567.8912, "text", float("nan")]
    texts = ["–", "0", "0", "12,345", "-3.25", "1.2e-05", "True", "1,234,567.891", "text", "nan"]
    assert list(map(format_number, numbers)) == texts
    durations = ["0.0 s", "59.9 s", "1 min 00 s", "59 min 59 s", "1 h 01 min"]
    assert list(map(format_duration, (0, 59.94, 60, 3599.4, 3660))) == durations


def test_a_page_alone_has_the_same_content_and_links_to_files_only(alone: Page, pages: dict[str, Page]):
    links = [link for link in alone.values("a", "href") if not link.startswith(("#", "https://"))]
    stage = ["notebooks/01_detect_faces.ipynb", "status/01_detect_faces.csv", "metrics/01_detect_faces.json"]
    assert links == [f"../{name}" for name in ("run.json", *stage, "failures.csv", "videos.csv")]
    among = pages["01_detect_faces"]
    assert alone.values("img", "src") == among.values("img", "src")
    assert "1 min 01 s" in alone.text
    assert alone.html.count('<details class="code"') == among.html.count('<details class="code"')
    assert alone.html.index('<details class="code"') > alone.html.rindex("<img")  # the code comes last


def test_a_page_alone_is_the_index_and_its_lead_cells_follow_the_title(run: Run):
    cells = [new_markdown_cell(text) for text in ("# Title", "reason", "## Look")]
    answer = display("answer", data={"text/html": "<h2>forged</h2>"})
    answer.metadata["tags"] = ["lead"]
    run.write_bytes(run.notebook_path("01_detect_faces"), notebook(*cells, answer))
    path = write_page(run, "01_detect_faces")
    assert path == run.root / "report" / "index.html" and page_names(run) == ["index.html"]
    words = [word for word in Page(path).text.split() if word in ("Title", "forged", "reason", "Look")]
    assert words == ["forged", "Look", "Title", "forged", "reason", "Look"]  # the contents come first
