"""The offline report of a run: `report/index.html` and one page for each executed notebook.

In: what a run folder holds (`run.json`, `videos.csv`, `failures.csv`, `status/`, `metrics/`, `notebooks/`). Out: HTML pages that carry
their style and pictures inside, have no scripts and load nothing from a network: a Content-Security-Policy in each page holds this.
A number on the summary names the file of the run folder it comes from. Whatever comes from a run is escaped, or, where it is HTML of a
notebook, cut down to the harmless tags of `SAFE_TAGS`. The pages' templates and style lie in `templates/`. Source: nbconvert's HTML
exporter, with `cells.html.j2` as its template.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import get_args
from urllib.parse import quote

import bleach  # type: ignore[import-untyped]
import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters import strip_ansi
from traitlets.config import Config

from dfdc_lib.records import FAKE, REAL, Status, Video
from dfdc_lib.run_folder import Run

TEMPLATES = Path(__file__).with_name("templates")
FAILURES_SHOWN = 200
METRICS_SHOWN = 8  # per stage; the rest is in the file
LEAD = "lead"  # tag of a cell whose output a page opens with
SHOWN_FIRST = [
    "text/html",
    "text/markdown",
    "image/png",
    "image/jpeg",
    "image/svg+xml",
    "text/plain",
]  # no scripts, no widgets
SAFE_TAGS = re.findall(
    r"\w+",
    "a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i img kbd li ol p "
    "pre s small span strong sub summary sup table tbody td tfoot th thead tr u ul",
)
SAFE_ATTRIBUTES = {"alt", "class", "colspan", "height", "id", "open", "rowspan", "title", "width"}
SAFE_LINK = re.compile(r"https?://|mailto:|#")  # a person may follow them; nothing follows them by itself
FINISHED_BAR = re.compile(r"100%\|.*\| *(\S+)/\1 \[")  # tqdm: `crops: 100%|████| 40/40 [00:03<00:00, 12.1video/s]`


@dataclass(frozen=True)
class Stage:
    """What the run folder says of one stage, ready to be shown."""

    name: str
    title: str
    status: str  # done | failed | not run
    seconds: float
    error: str
    parameters: dict[str, object]
    counts: dict[Status, int]  # videos per status; empty where the stage keeps no status file
    metrics: dict[str, object]
    has_page: bool


def write_report(run: Run, stage_names: Sequence[str]) -> Path:
    """Write the summary and one page per executed notebook of a run.

    Args:
        run: a run folder with `run.json`; of the rest, what is there is shown.
        stage_names: the stages in the order of the report, such as `01_detect_faces`.
    Returns:
        The path of `report/index.html`.
    Raises:
        FileNotFoundError: if the run has no `run.json`.
    """
    manifest_path = run.root / "run.json"
    if not manifest_path.exists():
        raise FileNotFoundError(
            f"{manifest_path} is missing: the report is made of it; run `dfdc run` with this run folder first"
        )
    manifest = json.loads(manifest_path.read_bytes())
    stages = [_read_stage(run, name, manifest["stages"].get(name, {})) for name in stage_names]
    environment = page_environment(run)
    pages = [stage for stage in stages if stage.has_page]
    for stage, previous, following in zip(pages, [None, *pages], [*pages[1:], None], strict=False):
        body, contents = _notebook_body(run.notebook_path(stage.name), [page.name for page in pages])
        neighbours = {"alone": False, "previous": previous, "following": following}
        page = environment.get_template("notebook.html.j2").render(
            manifest=manifest, stage=stage, body=Markup(body), contents=contents, files=(), **neighbours
        )
        run.write_bytes(run.root / "report" / f"{stage.name}.html", page.encode())
    videos = _read_videos(run)
    index = environment.get_template("index.html.j2").render(
        manifest=manifest,
        stages=stages,
        videos=videos,
        label_counts=_label_counts(videos),
        status_counts=Counter(stage.status for stage in stages),
        failures=_read_failures(run),
        failures_shown=FAILURES_SHOWN,
        metrics_shown=METRICS_SHOWN,
    )
    index_path = run.root / "report" / "index.html"
    run.write_bytes(index_path, index.encode())
    return index_path


def write_page(run: Run, name: str) -> Path:
    """Write the page of one executed notebook alone, whole in itself, as the report of a run that has no other.

    Args:
        run: a run folder with `run.json` and that notebook.
        name: of the stage, such as `11_inspect_video`.
    Returns:
        The path of `report/index.html`.
    """
    manifest = json.loads((run.root / "run.json").read_bytes())
    stage = _read_stage(run, name, manifest["stages"][name])
    body, contents = _notebook_body(run.notebook_path(name), [])
    files = sorted(
        path.name for path in run.root.iterdir() if path.suffix in (".csv", ".json") and path.name != "run.json"
    )
    neighbours = {"alone": True, "previous": None, "following": None}
    template = page_environment(run).get_template("notebook.html.j2")
    page = template.render(
        manifest=manifest, stage=stage, body=Markup(body), contents=contents, files=files, **neighbours
    )
    path = run.root / "report" / "index.html"
    run.write_bytes(path, page.encode())
    return path


def collapse_carriage_returns(text: str) -> str:
    r"""Give what a terminal would show in the end of text that returned to the start of its lines.

    Args:
        text: a stream, such as that of a progress bar: `" 1/2\r 2/2\n"`.
    Returns:
        The text without `\r`; what was written later stands over what was written before, character by character.
    """
    return "\n".join(_overwrite(line) for line in text.split("\n"))


def _overwrite(line: str) -> str:
    shown = ""
    for piece in line.split("\r"):
        shown = piece + shown[len(piece) :]
    return shown


# Reading the run folder --------------------------------------------------------------------------------------------------------------
def _read_stage(run: Run, name: str, entry: dict) -> Stage:
    metrics_path = run.metrics_path(name)
    return Stage(
        name=name,
        title=entry.get("title", name),
        status=entry.get("status", "not run"),
        seconds=entry.get("seconds", 0.0),
        error=strip_ansi(entry.get("error", "")).strip(),
        parameters=entry.get("parameters", {}),
        counts=_count_statuses(run, name),
        metrics=json.loads(metrics_path.read_bytes()) if metrics_path.exists() else {},
        has_page=run.notebook_path(name).exists(),
    )


def _count_statuses(run: Run, name: str) -> dict[Status, int]:
    """Count videos per status; a zero is said too, except for `failed before`, which only follows a failure."""
    counter = Counter(outcome.status for outcome in run.read_status(name))
    return (
        {status: counter[status] for status in get_args(Status) if counter[status] or status != "failed before"}
        if counter
        else {}
    )


def _read_failures(run: Run) -> list[dict[str, str]]:
    path = run.root / "failures.csv"
    text = path.read_bytes().decode() if path.exists() else ""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _read_videos(run: Run) -> list[Video]:
    return run.read_videos() if (run.root / "videos.csv").exists() else []


# A notebook's cells as HTML ----------------------------------------------------------------------------------------------------------
def _notebook_body(path: Path, page_names: Sequence[str]) -> tuple[str, list[tuple[str, str, str]]]:
    """Turn a notebook into HTML; also its headings as (level, id, HTML of the text). Cells tagged `lead` come first, below the title."""
    notebook = nbformat.read(path, as_version=4)
    title, *others = notebook.cells or [nbformat.v4.new_markdown_cell("")]
    notebook.cells = [title, *sorted(others, key=lambda cell: LEAD not in cell.metadata.get("tags", []))]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _merge_streams(cell.outputs)
    notebook_links = {f"{name}.ipynb" for name in page_names}
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": SHOWN_FIRST}}),
        template_name="basic",
        template_file="cells.html.j2",
        extra_loaders=[FileSystemLoader(TEMPLATES)],
        filters={"clean_html": partial(_clean_html, notebook_links=notebook_links)},
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    for link in notebook_links:
        body = body.replace(f'<a href="{link}"', f'<a href="{link.removesuffix(".ipynb")}.html"')
    return _number_headings(body)


def _merge_streams(outputs: Sequence[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join the pieces of each stream, and leave out what shows nothing then: a bar that reached its end."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        earlier = _earlier_piece(merged, output)
        if earlier is None:
            merged.append(output)
        else:
            earlier.text += output.text
    for output in merged:
        if output.output_type == "stream":
            output.text = _stream_shown(output)
    return [output for output in merged if output.output_type != "stream" or output.text.strip()]


def _earlier_piece(
    merged: Sequence[nbformat.NotebookNode], output: nbformat.NotebookNode
) -> nbformat.NotebookNode | None:
    """Find what a piece of a stream continues: stdout the output before it; stderr any one, since prints cut a bar to pieces."""
    if output.output_type != "stream":
        return None
    candidates = merged if output.name == "stderr" else merged[-1:]
    return next((earlier for earlier in candidates if earlier.get("name") == output.name), None)


def _stream_shown(output: nbformat.NotebookNode) -> str:
    lines = collapse_carriage_returns(output.text).split("\n")
    return "\n".join(
        line.rstrip() for line in lines if output.name == "stdout" or not FINISHED_BAR.search(line)
    ).rstrip("\n")


def _clean_html(html: str, notebook_links: set[str]) -> str:
    """Keep of a notebook's HTML what neither runs nor loads anything."""

    def is_safe(tag: str, name: str, value: str) -> bool:
        if name == "src":
            return tag == "img" and value.startswith("data:image/")
        if name == "href":
            return bool(SAFE_LINK.match(value)) or value in notebook_links
        return name in SAFE_ATTRIBUTES

    without_scripts = re.sub(r"<(script|style)\b.*?</\1\s*>", "", str(html), flags=re.DOTALL | re.IGNORECASE)
    return bleach.clean(
        without_scripts, tags=SAFE_TAGS, attributes=is_safe, protocols={"data", "http", "https", "mailto"}, strip=True
    )


def _number_headings(body: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Give the headings below the title an id, and list them."""
    contents: list[tuple[str, str, str]] = []

    def mark(match: re.Match[str]) -> str:
        level, text = match.groups()
        contents.append((level, f"section-{len(contents) + 1}", re.sub(r"</?a\b[^>]*>", "", text)))
        return f'<h{level} id="{contents[-1][1]}">{text}</h{level}>'

    return re.sub(r"<h([23])>(.*?)</h\1>", mark, body, flags=re.DOTALL), contents


# Pages -------------------------------------------------------------------------------------------------------------------------------
def page_environment(run: Run) -> Environment:
    """Make the templates ready for pages in a run's `report/`; whatever they insert is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["css"] = Markup((TEMPLATES / "report.css").read_text())
    environment.globals["source"] = partial(_source_link, run)
    environment.globals["data_name"] = _data_name
    environment.filters |= {"duration": _duration, "number": _number, "moment": _moment}
    return environment


def _source_link(run: Run, name: str) -> Markup:
    """Link to a file of the run folder, seen from `report/`; a file that is not there is named without a link."""
    if (run.root / name).exists():
        return Markup('<a class="source" href="{}">{}</a>').format("../" + quote(name), name)
    return Markup('<span class="source">{} (not there)</span>').format(name)


def _data_name(manifest: dict) -> str:
    return Path(manifest["data"]).name or manifest["data"]


def _label_counts(videos: Sequence[Video]) -> str:
    labels = Counter(video.label for video in videos)
    unknown = f" · {labels[None]:,} without a label" if labels[None] else ""
    return f"{labels[REAL]:,} real · {labels[FAKE]:,} fake{unknown}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _moment(iso: str) -> str:
    return datetime.fromisoformat(iso).strftime("%d %B %Y, %H:%M %Z").strip()


def _number(value: object) -> str:
    """Write a number as a person reads it: `12,345`, `0.873`, `1.2e-05`."""
    if isinstance(value, float) and value and abs(value) < 0.001:
        return f"{value:.2g}"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None else str(value)
