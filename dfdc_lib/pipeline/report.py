"""The offline report of a run: `report/index.html` and one page per executed notebook.

Input: a run folder (run.json, videos.csv, failures.csv, status/, metrics/, notebooks/). Output: HTML pages with their
style and pictures inside. They have no scripts and load nothing from a network; a Content-Security-Policy in each page
enforces this. Everything that comes from a run is escaped; HTML outputs of notebooks are reduced to `SAFE_TAGS`.
Source: nbconvert's HTML exporter with the template `cells.html.j2`.
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
from typing import Any, get_args
from urllib.parse import quote

import bleach  # type: ignore[import-untyped]
import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters import strip_ansi
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from traitlets.config import Config

from dfdc_lib.records import FAKE, REAL, Status, Video
from dfdc_lib.run_folder import Run

TEMPLATES = Path(__file__).with_name("templates")
LEAD = "lead"  # tag of the cells that open a page
# Preferred formats of an output, in order; scripts and widgets are not among them.
OUTPUT_FORMATS = ["text/html", "text/markdown", "image/png", "image/jpeg", "image/svg+xml", "text/plain"]
# nbconvert's own filter removes headings, pictures and classes, so bleach is called with these lists instead.
SAFE_TAGS = re.findall(
    r"\w+",
    "a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 "
    "hr i img kbd li ol p pre s small span strong sub summary sup table tbody td tfoot th thead tr u ul",
)
SAFE_ATTRIBUTES = {"alt", "class", "colspan", "height", "id", "open", "rowspan", "title", "width"}
SAFE_LINK = re.compile(r"https?://|mailto:|#")
# tqdm: `crops: 100%|████| 40/40 [00:03<00:00, 12.1video/s]`
FINISHED_BAR = re.compile(r"^.*100%\|.*\| *(\S+)/\1 \[.*\n?", flags=re.MULTILINE)
Manifest = dict[str, Any]  # run.json
Heading = tuple[str, str, str]  # level, id, HTML of the text


@dataclass(frozen=True)
class StageResult:
    """What the run folder contains about one stage, ready for the templates.

    `status`: done, failed or not run; `parameters`, `metrics`: name -> value; `counts`: videos per status.
    """

    name: str
    title: str
    status: str  # done | failed | not run
    seconds: float
    error: str
    parameters: dict[str, object]
    counts: dict[Status, int]  # videos per status ("failed before" only if any); empty without a status file
    metrics: dict[str, object]
    has_page: bool


def write_report(run: Run, stage_names: Sequence[str]) -> Path:
    """Write the summary of a run and a page for each executed notebook, and return the path of the summary.

    The stages appear in the order of `stage_names`. Files that are missing are shown as missing; only a run folder
    without run.json raises FileNotFoundError.
    """
    manifest = _read_manifest(run)
    stages = [_read_stage(run, name, manifest) for name in stage_names]
    pages = [stage for stage in stages if stage.has_page]
    for stage in pages:
        _write_notebook_page(run, manifest, stage, pages)
    videos = run.read_videos() if (run.root / "videos.csv").exists() else []
    values = {"manifest": manifest, "stages": stages, "videos": videos, "failures": _read_failures(run)}
    values |= {"label_counts": _label_counts(videos), "status_counts": Counter(stage.status for stage in stages)}
    return _write_html(run, "index.html", render_page(run, "index.html.j2", **values))


def write_page(run: Run, name: str) -> Path:
    """Write a report that is one executed notebook's page, `report/index.html`, and return its path.

    `name`: that of the notebook, without suffix. The page's readers want the answer, so the code and the parameters
    come last.
    """
    manifest = _read_manifest(run)
    return _write_notebook_page(run, manifest, _read_stage(run, name, manifest))


def render_page(run: Run, template: str, **values: object) -> str:
    """Return the HTML of a page for the run's folder `report/`.

    `template` is a file of `templates/`; `values` fill it and are escaped. A missing value raises UndefinedError.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.loader = FileSystemLoader(TEMPLATES)
    css = Markup((TEMPLATES / "report.css").read_text())
    environment.globals |= {"css": css, "source": partial(_source_link, run)}
    environment.globals["data_name"] = lambda manifest: Path(manifest["data"]).name or manifest["data"]
    environment.filters |= {"duration": format_duration, "number": format_number, "moment": _format_time}
    return environment.get_template(template).render(**values)


def format_number(value: object) -> str:
    """Return a value as text, floats with three decimals or, if tiny, two digits: `12,345`, `0.873`, `1.2e-05`, `–`."""
    if isinstance(value, float) and value and abs(value) < 0.001:
        return f"{value:.2g}"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None else str(value)


def format_duration(seconds: float) -> str:
    """Return a duration such as `4.1 s`, `1 min 01 s` or `1 h 01 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _read_manifest(run: Run) -> Manifest:
    path = run.root / "run.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run `dfdc run` with this run folder before writing its report")
    return json.loads(path.read_bytes())


def _read_stage(run: Run, name: str, manifest: Manifest) -> StageResult:
    entry, metrics_path = manifest["stages"].get(name, {}), run.metrics_path(name)
    counter = Counter(outcome.status for outcome in run.read_status(name))
    statuses = [status for status in get_args(Status) if counter[status] or status != "failed before"]
    return StageResult(
        name=name,
        title=entry.get("title", name),
        status=entry.get("status", "not run"),
        seconds=entry.get("seconds", 0.0),
        error=strip_ansi(entry.get("error", "")).strip(),
        parameters=entry.get("parameters", {}),
        counts={status: counter[status] for status in statuses} if counter else {},
        metrics=json.loads(metrics_path.read_bytes()) if metrics_path.exists() else {},
        has_page=run.notebook_path(name).exists(),
    )


def _read_failures(run: Run) -> list[dict[str, str]]:
    path = run.root / "failures.csv"
    text = path.read_bytes().decode() if path.exists() else ""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _write_notebook_page(run: Run, manifest: Manifest, stage: StageResult, pages: Sequence[StageResult] = ()) -> Path:
    """Write the page of one notebook, with links to the pages before and after it; without `pages`, as index page."""
    cells = nbformat.read(run.notebook_path(stage.name), as_version=4).cells
    code = "" if pages else _cells_html([cell for cell in cells if cell.cell_type == "code"], [], "output")
    cells[1:] = sorted(cells[1:], key=lambda cell: LEAD not in cell.metadata.get("tags", []))  # after the title
    html = _cells_html(cells, [page.name for page in pages], "" if pages else "input")
    body, headings = _number_headings(html)
    around = [None, *pages, None]
    position = around.index(stage) if pages else 0
    files = [] if pages else [path.name for path in run.root.glob("*.*") if path.suffix in (".csv", ".json")]
    links: dict[str, object] = {"previous": around[position - 1], "following": around[position + 1]}
    links |= {"files": sorted(set(files) - {"run.json"}), "alone": not pages, "contents": headings}
    content = {"body": Markup(body), "code": Markup(code)}
    page = render_page(run, "notebook.html.j2", manifest=manifest, stage=stage, **content, **links)
    return _write_html(run, f"{stage.name}.html" if pages else "index.html", page)


def _write_html(run: Run, file_name: str, html: str) -> Path:
    path = run.root / "report" / file_name
    run.write_bytes(path, html.encode())
    return path


def _cells_html(cells: Sequence[nbformat.NotebookNode], linked: Sequence[str], without: str) -> str:
    """Return the HTML of cells; `without` is "input" or "output" to leave that part out, else ""."""
    for cell in cells:
        if cell.cell_type == "code":
            _merge_streams(cell)
    notebook_links = {f"{name}.ipynb" for name in linked}
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": OUTPUT_FORMATS}}),
        template_name="basic",
        template_file="cells.html.j2",
        extra_loaders=[FileSystemLoader(TEMPLATES)],
        filters={"clean_html": partial(_clean_html, notebook_links=notebook_links)},
        exclude_anchor_links=True,
        exclude_input=without == "input",
        exclude_output=without == "output",
    )
    body, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=list(cells)))
    for link in notebook_links:
        body = body.replace(f'<a href="{link}"', f'<a href="{link.removesuffix(".ipynb")}.html"')
    return body


def _merge_streams(cell: nbformat.NotebookNode) -> None:
    """Merge the pieces of stdout and of stderr, and delete progress bars that reached their end."""
    # stderr goes first, because prints between its pieces would keep a progress bar from being merged.
    cell.outputs = sorted(cell.outputs, key=lambda output: output.get("name") != "stderr")
    CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, 0)
    for output in cell.outputs:
        if output.output_type == "stream":
            text = FINISHED_BAR.sub("", output.text) if output.name == "stderr" else output.text
            output.text = text.rstrip()
    cell.outputs = [output for output in cell.outputs if output.output_type != "stream" or output.text]


def _clean_html(html: str, notebook_links: set[str]) -> str:
    """Return HTML without anything that runs or loads."""

    def is_safe(tag: str, name: str, value: str) -> bool:
        if name == "src":
            return tag == "img" and value.startswith("data:image/")
        if name == "href":
            return bool(SAFE_LINK.match(value)) or value in notebook_links
        return name in SAFE_ATTRIBUTES

    # bleach removes the tags of scripts and styles, but keeps their text.
    html = re.sub(r"<(script|style)\b.*?</\1\s*>", "", str(html), flags=re.DOTALL | re.IGNORECASE)
    protocols = {"data", "http", "https", "mailto"}
    return bleach.clean(html, tags=SAFE_TAGS, attributes=is_safe, protocols=protocols, strip=True)


def _number_headings(body: str) -> tuple[str, list[Heading]]:
    """Add ids to the headings of levels 2 and 3, and return the headings."""
    headings: list[Heading] = []

    def add_id(match: re.Match[str]) -> str:
        level, text = match.groups()
        headings.append((level, f"section-{len(headings) + 1}", re.sub(r"</?a\b[^>]*>", "", text)))
        return f'<h{level} id="{headings[-1][1]}">{text}</h{level}>'

    return re.sub(r"<h([23])>(.*?)</h\1>", add_id, body, flags=re.DOTALL), headings


def _source_link(run: Run, name: str) -> Markup:
    """Return a link from `report/` to a file of the run folder, or its name without a link if it is missing."""
    if (run.root / name).exists():
        return Markup('<a class="source" href="{}">{}</a>').format("../" + quote(name), name)
    return Markup('<span class="source">{} (missing)</span>').format(name)


def _label_counts(videos: Sequence[Video]) -> str:
    labels = Counter(video.label for video in videos)
    unknown = f" · {labels[None]:,} unlabelled" if labels[None] else ""
    return f"{labels[REAL]:,} real · {labels[FAKE]:,} fake{unknown}"


def _format_time(iso: str) -> str:
    return datetime.fromisoformat(iso).strftime("%d %B %Y, %H:%M %Z").strip()
