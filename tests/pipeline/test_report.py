"""The report of a small made-up run: one notebook that was done, one that failed, one that did not run; hostile names everywhere."""

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

from dfdc_lib.pipeline.report import (
    FAILURES_SHOWN,
    METRICS_SHOWN,
    _duration,
    _number,
    collapse_carriage_returns,
    write_page,
    write_report,
)
from dfdc_lib.records import Video
from dfdc_lib.run_folder import Run

STAGES = ("00_videos", "01_detect_faces", "02_crop_faces")
HOSTILE = '<script>alert("x")</script>'
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="  # a PNG of one pixel
)
JPEG_PIXEL = base64.encodebytes(
    cv2.imencode(".jpg", np.zeros((1, 1), np.uint8))[1].tobytes()
).decode()  # in lines, as kernels send it
STATUS = {
    "00_videos": ["done", "done", "done", "failed"],
    "01_detect_faces": ["done", "nothing", "not needed", "failed before"],
}
LOADING = {
    "src",
    "srcset",
    "data",
    "poster",
    "background",
    "action",
    "formaction",
}  # attributes that load or send something


class Page(HTMLParser):
    """Every element of a page as (tag, attributes), and the text of each element that was asked for by tag or class."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(html)
        self.html = html

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attributes[attribute] for name, attributes in self.elements if name == tag and attribute in attributes]


def plain_text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def notebook(*cells) -> bytes:
    return nbformat.writes(new_notebook(cells=list(cells), metadata={"language_info": {"name": "python"}})).encode()


def widget(**others) -> dict:
    return {
        "application/vnd.jupyter.widget-view+json": {"model_id": "0", "version_major": 2},
        "text/plain": "VBox(children=())",
        **others,
    }


FINISHED = "\rcrops:   0%|          | 0/2 [00:00<?]\rcrops: 100%|██████████| 2/2 [00:01<00:00, 2.0video/s]\n"
STOPPED = "\rmasks:   0%|          | 0/4 [00:00<?]\rmasks:  50%|█████     | 2/4 [00:01<00:01, 2.0video/s]"
DETECT = notebook(
    new_markdown_cell(
        "# 01 · Detect faces\n\nSee [00](00_videos.ipynb), [later](02_crop_faces.ipynb), [MTCNN](https://doi.org/10.1109/x)."
    ),
    new_markdown_cell(
        f"## Twice\n\n{HOSTILE} <img src='https://example.org/a.png' onerror='alert(1)'> <iframe src='https://example.org'></iframe>"
    ),
    new_markdown_cell(
        "## Twice\n\n![far](https://example.org/b.png) [bad](javascript:alert(1)) [also](data:text/html;base64,xxxx)\n\n### Below"
    ),
    new_markdown_cell(
        f"Words <span title='<h2>{HOSTILE}</h2>'>title</span> [x](00_videos.ipynb)\n\nprint: href=\"00_videos.ipynb\""
    ),
    new_code_cell('RUN = "demo"', metadata={"tags": ["injected-parameters"]}),
    new_code_cell("print('a < b')", outputs=[new_output("stream", text="a < b\n")]),
    new_code_cell(
        "bars()",
        outputs=[
            new_output("stream", name="stderr", text=FINISHED[:60]),
            new_output("stream", name="stdout", text="one\n"),
            new_output("stream", name="stderr", text=FINISHED[60:]),
            new_output("stream", name="stdout", text="two\n"),
        ],
    ),
    new_code_cell("bars()", outputs=[new_output("stream", name="stderr", text=STOPPED)]),
    new_code_cell(
        "plot.faces(crops)", outputs=[new_output("display_data", data={"image/png": PIXEL, "text/plain": "<Figure>"})]
    ),
    new_code_cell("viewer", outputs=[new_output("display_data", data=widget(**{"image/png": PIXEL}))]),
    new_code_cell(
        "photograph", outputs=[new_output("display_data", data={"image/jpeg": JPEG_PIXEL, "text/plain": "<Image>"})]
    ),
    new_code_cell("sheet", outputs=[new_output("display_data", data=widget(**{"image/jpeg": JPEG_PIXEL}))]),
    new_code_cell("viewer", outputs=[new_output("display_data", data=widget())]),
    new_code_cell(
        "table",
        outputs=[
            new_output(
                "execute_result",
                data={
                    "text/html": f"<style>.x{{}}</style><table class='dataframe'><tr><td onclick='x()'>0.93</td></tr></table>{HOSTILE}",
                    "text/plain": "t",
                },
            )
        ],
    ),
    new_code_cell(
        "script",
        outputs=[new_output("display_data", data={"application/javascript": "alert(1)", "text/plain": "<Javascript>"})],
    ),
)
VIDEOS = notebook(
    new_markdown_cell("No title here."),
    new_code_cell(
        "read()",
        outputs=[
            new_output(
                "error",
                ename="ValueError",
                evalue="<b>no</b> video",
                traceback=["\x1b[31mValueError\x1b[39m: <b>no</b> video"],
            )
        ],
    ),
)


def stage_entry(title: str, status: str, seconds: float, error: str = "", **parameters) -> dict:
    return {
        "title": title,
        "status": status,
        "started": "2026-11-22T10:00:00+00:00",
        "seconds": seconds,
        "parameters": parameters,
        "error": error,
    }


def manifest(data: str) -> dict:
    return {
        "kit_version": "0.1.0",
        "commit": "abc123",
        "data": data,
        "kind": "dfdc",
        "command": f"dfdc run --data '{HOSTILE}'",
        "started": "2026-11-22T10:00:00+00:00",
        "seconds": 125.4,
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "stages": {
            "00_videos": stage_entry(
                "Videos", "failed", 4.1, "Traceback:\n\x1b[31mValueError\x1b[39m: <b>no</b> video", RUN=HOSTILE, DATA=""
            ),
            "01_detect_faces": stage_entry("Detect faces", "done", 61.0, MARGIN=0.2),
        },
    }


def make_run(root: Path) -> Run:
    run = Run(root)
    ids = ["a", "b", "c", HOSTILE]
    run.write_videos(
        [
            Video(video_id=name, path=Path("x.mp4"), label=label)
            for name, label in zip(ids, (0, 1, 1, None), strict=True)
        ],
        {},
    )
    for stage, statuses in STATUS.items():
        run.write_table(
            f"status/{stage}.csv",
            pd.DataFrame({"video_id": ids, "status": statuses, "count": 0, "note": "", "fingerprint": ""}),
        )
    run.write_table(
        "failures.csv",
        pd.DataFrame(
            [("00_videos", HOSTILE, 'cut off, "moov" <absent>\nline 2')], columns=["stage", "video_id", "reason"]
        ),
    )
    run.write_metrics("01_detect_faces", {"faces": 12345, "mean_confidence": 0.98765, "note": HOSTILE, "nothing": None})
    run.write_bytes(run.notebook_path("00_videos"), VIDEOS)
    run.write_bytes(run.notebook_path("01_detect_faces"), DETECT)
    run.write_json(run.root / "run.json", manifest(f"/videos/{HOSTILE.replace('/', '')}"))
    return run


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
    return {path.name: Page(path.read_text()) for path in (reported.root / "report").iterdir()}


def test_empty_run(tmp_path: Path):
    """Nothing ran and nothing is there but run.json: every stage is listed as not run, and no file is linked that is not there."""
    run = Run(tmp_path)
    run.write_json(tmp_path / "run.json", manifest("x") | {"stages": {}})
    index = write_report(run, STAGES)
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]
    text = plain_text(index.read_text())
    assert text.count("not run") == 3
    assert "videos 0 0 real · 0 fake videos.csv (not there)" in text
    assert "None. They would be in failures.csv (not there)" in text
    assert set(Page(index.read_text()).values("a", "href")) == {"../run.json"}


def test_no_manifest(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"run\.json is missing: .*run `dfdc run`"):
        write_report(Run(tmp_path), STAGES)


def test_pages_are_those_of_executed_notebooks(run: Run):
    assert write_report(run, STAGES) == run.root / "report" / "index.html"
    assert sorted(path.name for path in (run.root / "report").iterdir()) == [
        "00_videos.html",
        "01_detect_faces.html",
        "index.html",
    ]
    assert not list((run.root / ".partial").iterdir())


def test_nothing_is_loaded_and_nothing_runs(pages: dict[str, Page]):
    for name, page in pages.items():
        for tag, attributes in page.elements:
            assert tag not in {"script", "iframe", "object", "embed", "link", "base", "form"}, (name, tag)
            assert not [attribute for attribute in attributes if attribute.startswith("on")], (name, attributes)
            assert all(attributes[attribute].startswith("data:image/") for attribute in LOADING & set(attributes)), (
                name,
                attributes,
            )
            if tag != "a":
                assert "href" not in attributes, (name, attributes)
        assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page.values("meta", "content")
        style = re.search(r"<style>(.*?)</style>", page.html, flags=re.DOTALL).group(1)
        assert "body {" in style
        assert not re.search(r"url\(|@import|https?:", style)


def test_links(reported: Run, pages: dict[str, Page]):
    """Every relative link leads to a file or to a heading of the page; those to other sites are references a person may follow."""
    outside = set()
    for page in pages.values():
        for link in page.values("a", "href"):
            if link.startswith("#"):
                assert [attributes for _, attributes in page.elements if attributes.get("id") == link[1:]], link
            elif "://" in link:
                outside.add(link)
            else:
                assert (reported.root / "report" / unquote(link)).is_file(), link
    assert outside == {"https://doi.org/10.1109/x"}
    detect = pages["01_detect_faces.html"]
    assert detect.values("a", "href").count("00_videos.html") == 4  # twice the step back, twice in the text
    assert 'print: href="00_videos.ipynb"' in detect.html
    assert "javascript" not in detect.html.lower().replace("&lt;javascript&gt;", "")
    assert [link for link in detect.values("a", "href") if link.startswith("#")] == [
        "#section-1",
        "#section-2",
        "#section-3",
    ]


def test_steps(pages: dict[str, Page]):
    rel = {
        name: [
            (a["rel"], a["href"]) for tag, a in page.elements if tag == "a" and "rel" in a and "://" not in a["href"]
        ]
        for name, page in pages.items()
    }
    assert rel["00_videos.html"] == [("next", "01_detect_faces.html")] * 2
    assert rel["01_detect_faces.html"] == [("prev", "00_videos.html")] * 2
    assert pages["00_videos.html"].values("a", "href").count("index.html") == 2


def test_hostile_names_are_escaped(pages: dict[str, Page]):
    escaped = "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;"
    index = pages["index.html"].html
    assert f'<td class="name">{escaped}</td>' in index  # the video that failed
    assert f'<td class="name value">{escaped}</td>' in index  # a parameter
    assert f"<dd>{escaped}</dd>" in index  # a metric
    assert f"dfdc run --data &#39;{escaped}&#39;" in index
    assert "<title>&lt;script&gt;alert" in index
    assert "cut off, &#34;moov&#34; &lt;absent&gt;\nline 2" in index
    for page in pages.values():
        assert "<script" not in page.html.lower()


@pytest.mark.parametrize("stage", STATUS)
def test_counts_are_those_of_the_status_file(reported: Run, pages: dict[str, Page], stage: str):
    row = re.search(rf'<a href="{stage}\.html">.*?</tr>', pages["index.html"].html, flags=re.DOTALL).group(0)
    shown = {plain_text(status): int(count) for status, count in re.findall(r"<li[^>]*>([^<]+)<b>(\d+)</b>", row)}
    counted = Counter(pd.read_csv(reported.root / "status" / f"{stage}.csv")["status"])
    assert {status: count for status, count in shown.items() if count} == counted
    assert set(shown) >= {"done", "nothing", "not needed", "failed"}
    assert sum(shown.values()) == 4
    assert f'href="../status/{stage}.csv"' in row
    assert "accounted for" not in row


def test_missing_videos_are_said(run: Run):
    table = pd.read_csv(run.root / "status" / "00_videos.csv")
    run.write_table("status/00_videos.csv", table.iloc[:3])
    assert "3 of 4 videos are accounted for" in plain_text(write_report(run, STAGES).read_text())


def test_summary(pages: dict[str, Page]):
    text = plain_text(pages["index.html"].html)
    for expected in (
        "videos 4 1 real · 2 fake · 1 without a label videos.csv",
        "notebooks done 1 of 3 1 failed run.json",
        "failures 1 listed below failures.csv",
        "time 2 min 05 s of this run run.json",
        "faces 12,345 mean confidence 0.988",
        "nothing – metrics/01_detect_faces.json",
        "1 min 01 s",
        "02 02_crop_faces not run",
        "dfdc_lib 0.1.0 · commit abc123 python 3.11.7 torch 2.13.0",
        "01 Detect faces MARGIN 0.2",
        "DATA (empty)",
        "22 November 2026, 10:00 UTC",
    ):
        assert expected in text


def test_failed_stage_shows_its_error(pages: dict[str, Page]):
    for name in ("index.html", "00_videos.html"):
        assert "<strong>ValueError: &lt;b&gt;no&lt;/b&gt; video</strong>" in pages[name].html
        assert "<pre>Traceback:\nValueError: &lt;b&gt;no&lt;/b&gt; video</pre>" in pages[name].html
    page = pages["00_videos.html"].html
    assert (
        '<span class="ansi-red-fg">ValueError</span>: &lt;b&gt;no&lt;/b&gt; video' in page
    )  # the cell's own traceback
    assert "<h1>00 · Videos</h1>" in page  # this notebook has no title of its own
    assert page.count("<h1") == pages["01_detect_faces.html"].html.count("<h1") == 1


@pytest.mark.parametrize(("data", "notices"), [("built-in sample", 1), ("/videos/dfdc", 0)])
def test_smoke_notice(run: Run, data: str, notices: int):
    run.write_json(run.root / "run.json", manifest(data))
    text = plain_text(write_report(run, STAGES).read_text())
    assert (
        text.count("This is a smoke sample: one public-domain portrait moved by a virtual camera. It shows") == notices
    )
    assert text.count("it is no evidence about deepfakes.") == notices


def test_many_failures_and_metrics(run: Run):
    failures = [("01_detect_faces", f"video-{index}", "cut off") for index in range(FAILURES_SHOWN + 5)]
    run.write_table("failures.csv", pd.DataFrame(failures, columns=["stage", "video_id", "reason"]))
    run.write_metrics("01_detect_faces", {f"number_{index}": index for index in range(METRICS_SHOWN + 2)})
    text = plain_text(write_report(run, STAGES).read_text())
    assert "The first 200 of 205; all are in failures.csv" in text
    assert f"video-{FAILURES_SHOWN - 1} " in text
    assert f"video-{FAILURES_SHOWN} " not in text
    assert "number 7 7 and 2 more in metrics/01_detect_faces.json" in text


@pytest.mark.parametrize("content", [b"", b"\n", b"stage,video_id,reason\n"])
def test_empty_failures(run: Run, content: bytes):
    run.write_bytes(run.root / "failures.csv", content)
    assert "failures 0 none failures.csv" in plain_text(write_report(run, STAGES).read_text())


def test_outputs(pages: dict[str, Page]):
    page = pages["01_detect_faces.html"]
    assert page.html.count("<pre>a &lt; b</pre>") == 1
    png, jpeg = "data:image/png;base64," + PIXEL, "data:image/jpeg;base64," + JPEG_PIXEL.replace("\n", "")
    pictures = [
        (attributes["src"], attributes["alt"])
        for tag, attributes in page.elements
        if tag == "img" and "src" in attributes
    ]
    assert pictures == [
        (png, "Output of plot.faces(crops)"),
        (png, "Output of viewer"),  # a widget's picture stands for it
        (jpeg, "Output of photograph"),
        (jpeg, "Output of sheet"),
    ]
    assert "far" in page.values("img", "alt")  # a picture on another site is not fetched: its description stands for it
    assert "VBox" not in page.html
    assert page.html.count("A viewer that moves: open this notebook in JupyterLab.") == 1
    assert '<table class="dataframe"><tbody><tr><td>0.93</td></tr></tbody></table>' in page.html
    assert ".x{}" not in page.html


def test_bars(pages: dict[str, Page]):
    """A finished bar goes, an unfinished one stays at its last state; what was printed between its pieces stays in one piece."""
    html = pages["01_detect_faces.html"].html
    assert "crops:" not in html
    assert "<pre>one\ntwo</pre>" in html
    assert '<pre class="stderr">masks:  50%|█████     | 2/4 [00:01&lt;00:01, 2.0video/s]</pre>' in html


def test_code_is_folded_and_parameters_are_open(pages: dict[str, Page]):
    folds = [attributes for tag, attributes in pages["01_detect_faces.html"].elements if tag == "details"]
    assert ["open" in attributes for attributes in folds] == [True] + [False] * 10
    assert "<summary>parameters of this run</summary>" in pages["01_detect_faces.html"].html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain\n", "plain\n"),
        ("1/2\r2/2", "2/2"),
        ("1/2\r2/2\n", "2/2\n"),
        ("long line\rshort", "shortline"),
        ("long line\r", "long line"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("a\r\rb\nkeep\n\rc", "b\nkeep\nc"),
    ],
)
def test_collapse_carriage_returns(text: str, shown: str):
    assert collapse_carriage_returns(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0"),
        (0.0, "0"),
        (12345, "12,345"),
        (0.5, "0.5"),
        (0.12345, "0.123"),
        (2.0, "2"),
        (-3.25, "-3.25"),
        (0.000012, "1.2e-05"),
    ]
    + [(True, "True"), (1234567.891, "1,234,567.891"), ("text", "text"), (float("nan"), "nan")],
)
def test_number(value: object, shown: str):
    assert _number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"),
        (4.14, "4.1 s"),
        (59.94, "59.9 s"),
        (60, "1 min 00 s"),
        (3599.4, "59 min 59 s"),
        (3660, "1 h 01 min"),
    ],
)
def test_duration(seconds: float, shown: str):
    assert _duration(seconds) == shown


def test_same_run_same_report(run: Run):
    """A second report over the same folder gives the same bytes: nothing in it depends on the moment of writing."""
    first = {path.name: path.read_bytes() for path in write_report(run, STAGES).parent.iterdir()}
    second = {path.name: path.read_bytes() for path in write_report(run, STAGES).parent.iterdir()}
    assert first == second


# One page alone ------------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def alone(run: Run) -> Page:
    return Page(write_page(run, "01_detect_faces").read_text())


def test_a_page_alone_is_the_index(run: Run):
    assert write_page(run, "01_detect_faces") == run.root / "report" / "index.html"
    assert [path.name for path in (run.root / "report").iterdir()] == ["index.html"]
    assert not list((run.root / ".partial").iterdir())


def test_a_page_alone_leads_to_no_other_page(run: Run, alone: Page):
    links = alone.values("a", "href")
    assert [link for link in links if link.startswith("#")] == ["#section-1", "#section-2", "#section-3"]
    files = [link for link in links if not link.startswith(("#", "https://"))]
    own = [
        "../run.json",
        "../notebooks/01_detect_faces.ipynb",
        "../status/01_detect_faces.csv",
        "../metrics/01_detect_faces.json",
    ]
    own += ["../failures.csv", "../videos.csv"]  # the tables and records beside them
    assert files == own and all((run.root / "report" / link).is_file() for link in own)
    assert not [
        attributes
        for tag, attributes in alone.elements
        if "rel" in attributes and "://" not in attributes.get("href", "")
    ]
    assert ">Summary<" not in alone.html


def test_a_page_alone_runs_nothing_and_loads_nothing(alone: Page):
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & {tag for tag, _ in alone.elements}
    loaded = [value for _, attributes in alone.elements for name, value in attributes.items() if name in LOADING]
    assert len(loaded) == 4 and all(value.startswith("data:image/") for value in loaded)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in alone.values("meta", "content")
    assert "<script" not in alone.html.lower() and "javascript:" not in alone.html


def test_a_page_alone_shows_what_the_page_among_others_shows(run: Run, alone: Page):
    write_report(run, STAGES)
    among = Page((run.root / "report" / "01_detect_faces.html").read_text())
    assert re.search("<title>(.*?)</title>", alone.html).group(1) == re.search(
        "<title>(.*?)</title>", among.html
    ).group(1)
    assert alone.values("img", "src") == among.values("img", "src")
    assert "1 min 01 s" in plain_text(alone.html)


def test_a_page_opens_with_the_title_and_what_leads(run: Run):
    cells = [
        new_markdown_cell("# 01 · Detect faces"),
        new_markdown_cell("why"),
        new_code_cell("work()"),
        new_markdown_cell("## Look"),
    ]
    answer = new_code_cell(
        "answer",
        metadata={"tags": ["lead"]},
        outputs=[new_output("display_data", data={"text/html": "<h2>forged</h2>"})],
    )
    run.write_bytes(run.notebook_path("01_detect_faces"), notebook(*cells, answer))
    page = write_page(run, "01_detect_faces").read_text()
    places = [page.index(text) for text in ("Detect faces</h1>", ">forged</h2>", "<p>why", "work", ">Look</h2>")]
    assert places == sorted(places)
    assert re.findall(r'href="#section-\d">(.*?)<', page) == ["forged", "Look"]


def test_a_page_alone_of_a_notebook_that_failed_shows_its_error(run: Run):
    page = write_page(run, "00_videos").read_text()
    assert "<strong>ValueError: &lt;b&gt;no&lt;/b&gt; video</strong>" in page
    assert "<pre>Traceback:\nValueError: &lt;b&gt;no&lt;/b&gt; video</pre>" in page
