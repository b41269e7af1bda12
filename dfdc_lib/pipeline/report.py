"""The offline report of a run: `report/index.html` and one page per executed notebook.

Input: a run folder (run.json, videos.csv, failures.csv, status/, metrics/, notebooks/). Output: HTML pages with their
style and pictures inside. They have no scripts and load nothing from a network; a Content-Security-Policy in each page
enforces this. Everything that comes from a run is escaped; `notebook_html` converts the notebooks.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote

from markupsafe import Markup

from dfdc_lib.records import FAKE, REAL, Status, Video
from dfdc_lib.run_folder import Run

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
ANSI = re.compile(r"\x1b\[.*?[@-~]")  # colours of a terminal, as nbconvert's strip_ansi knows them
LEAD = "lead"  # tag of the cells that open a page
Manifest = dict[str, Any]  # run.json


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
    return _environment(run).get_template(template).render(**values)


@cache  # with its compiled templates
def _environment(run: Run) -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.loader = FileSystemLoader(TEMPLATES)
    css = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    environment.globals |= {"css": css, "source": partial(_source_link, run)}
    environment.globals["data_name"] = lambda manifest: Path(manifest["data"]).name or manifest["data"]
    environment.filters |= {"duration": format_duration, "number": format_number, "moment": _format_time}
    return environment


def format_number(value: object) -> str:
    """Return a value as text, floats with three decimals or, if tiny, two digits: `12,345`, `0.873`, `1e-05`, `–`."""
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
        error=ANSI.sub("", entry.get("error", "")).strip(),
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
    from dfdc_lib.pipeline.notebook_html import cells_html, number_headings, read_cells

    cells = read_cells(run.notebook_path(stage.name))
    code = "" if pages else cells_html([cell for cell in cells if cell.cell_type == "code"], [], "output")
    cells[1:] = sorted(cells[1:], key=lambda cell: LEAD not in cell.metadata.get("tags", []))  # after the title
    html = cells_html(cells, [page.name for page in pages], "" if pages else "input")
    body, headings = number_headings(html)
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
