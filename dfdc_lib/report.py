"""The offline report of a run: `report/index.html` and one page for each executed notebook.

In: what a run folder holds (`run.json`, `videos.csv`, `failures.csv`, `status/`, `metrics/`, `notebooks/`). Out: HTML pages that carry
their style and pictures inside, have no scripts and load nothing from a network: a Content-Security-Policy in each page holds this.
A number on the summary names the file of the run folder it comes from. Whatever comes from a run is escaped, or, where it is HTML of a
notebook, cut down to the harmless tags of `SAFE_TAGS`. Source: nbconvert's HTML exporter, with a template of its own.
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
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.filters import strip_ansi
from traitlets.config import Config

from dfdc_lib.records import FAKE, REAL, Status, Video
from dfdc_lib.store import Run

FAILURES_SHOWN = 200
METRICS_SHOWN = 8  # per stage; the rest is in the file
SHOWN_FIRST = ["text/html", "text/markdown", "image/png", "image/jpeg", "image/svg+xml", "text/plain"]  # no scripts, no widgets
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
        raise FileNotFoundError(f"{manifest_path} is missing: the report is made of it; run `dfdc run` with this run folder first")
    manifest = json.loads(manifest_path.read_bytes())
    stages = [_read_stage(run, name, manifest["stages"].get(name, {})) for name in stage_names]
    environment = _environment(run)
    pages = [stage for stage in stages if stage.has_page]
    for stage, previous, following in zip(pages, [None, *pages], [*pages[1:], None], strict=False):
        body, contents = _notebook_body(run.notebook_path(stage.name), [page.name for page in pages])
        page = environment.get_template("notebook.html").render(
            manifest=manifest, stage=stage, previous=previous, following=following, body=Markup(body), contents=contents
        )
        run.write_bytes(run.root / "report" / f"{stage.name}.html", page.encode())
    videos = _read_videos(run)
    index = environment.get_template("index.html").render(
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
    return {status: counter[status] for status in get_args(Status) if counter[status] or status != "failed before"} if counter else {}


def _read_failures(run: Run) -> list[dict[str, str]]:
    path = run.root / "failures.csv"
    text = path.read_bytes().decode() if path.exists() else ""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _read_videos(run: Run) -> list[Video]:
    return run.read_videos() if (run.root / "videos.csv").exists() else []


# A notebook's cells as HTML ----------------------------------------------------------------------------------------------------------
def _notebook_body(path: Path, page_names: Sequence[str]) -> tuple[str, list[tuple[str, str, str]]]:
    """Turn a notebook into HTML; also its headings as (level, id, HTML of the text)."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _merge_streams(cell.outputs)
    notebook_links = {f"{name}.ipynb" for name in page_names}
    exporter = HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": SHOWN_FIRST}}),
        template_name="basic",
        template_file="cells.html",
        extra_loaders=[DictLoader(TEMPLATES)],
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


def _earlier_piece(merged: Sequence[nbformat.NotebookNode], output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """Find what a piece of a stream continues: stdout the output before it; stderr any one, since prints cut a bar to pieces."""
    if output.output_type != "stream":
        return None
    candidates = merged if output.name == "stderr" else merged[-1:]
    return next((earlier for earlier in candidates if earlier.get("name") == output.name), None)


def _stream_shown(output: nbformat.NotebookNode) -> str:
    lines = collapse_carriage_returns(output.text).split("\n")
    return "\n".join(line.rstrip() for line in lines if output.name == "stdout" or not FINISHED_BAR.search(line)).rstrip("\n")


def _clean_html(html: str, notebook_links: set[str]) -> str:
    """Keep of a notebook's HTML what neither runs nor loads anything."""

    def is_safe(tag: str, name: str, value: str) -> bool:
        if name == "src":
            return tag == "img" and value.startswith("data:image/")
        if name == "href":
            return bool(SAFE_LINK.match(value)) or value in notebook_links
        return name in SAFE_ATTRIBUTES

    without_scripts = re.sub(r"<(script|style)\b.*?</\1\s*>", "", str(html), flags=re.DOTALL | re.IGNORECASE)
    return bleach.clean(without_scripts, tags=SAFE_TAGS, attributes=is_safe, protocols={"data", "http", "https", "mailto"}, strip=True)


def _number_headings(body: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Give the headings below the title an id, and list them."""
    contents: list[tuple[str, str, str]] = []

    def mark(match: re.Match[str]) -> str:
        level, text = match.groups()
        contents.append((level, f"section-{len(contents) + 1}", re.sub(r"</?a\b[^>]*>", "", text)))
        return f'<h{level} id="{contents[-1][1]}">{text}</h{level}>'

    return re.sub(r"<h([23])>(.*?)</h\1>", mark, body, flags=re.DOTALL), contents


# Pages -------------------------------------------------------------------------------------------------------------------------------
def _environment(run: Run) -> Environment:
    """Make the templates ready; whatever they insert is escaped."""
    environment = Environment(
        loader=DictLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["css"] = Markup(Path(__file__).with_suffix(".css").read_text())
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


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{% block title %}{% endblock %}</title>
<style>
{{ css }}
</style>
</head>
<body>
{% block body %}{% endblock %}
</body>
</html>
"""

MACROS = """{% macro error_box(text) %}
<div class="error"><strong>{{ text.split("\\n") | last }}</strong>
{% if "\\n" in text %}<details><summary>all of it</summary><pre>{{ text }}</pre></details>{% endif %}</div>
{% endmacro %}
{% macro counts_line(counts) %}
<ul class="counts">
{% for status, count in counts.items() %}
<li class="{{ status.split(" ")[0] }}{{ " zero" if not count }}">{{ status }} <b>{{ count | number }}</b></li>
{% endfor %}
</ul>
{% endmacro %}
"""

INDEX = """{% extends "page.html" %}
{% from "macros.html" import error_box, counts_line %}
{% block title %}{{ data_name(manifest) }} · report{% endblock %}
{% block body %}
<main class="summary">
<h1>{{ data_name(manifest) }}</h1>
<p class="lead">What the numbered notebooks of <code>dfdc_lib</code> did with these videos, in one run on {{ manifest.started | moment }}.
Each name below opens the notebook as it was executed. Nothing on these pages is loaded from a network.</p>
{% if manifest.data == "built-in sample" %}
<p class="notice"><strong>This is a smoke sample:</strong> one public-domain portrait moved by a virtual camera.
It shows that the kit works; it is no evidence about deepfakes.</p>
{% endif %}
{% macro tile(name, value, detail, file) %}
<div><dt>{{ name }}</dt><dd>{{ value }}</dd><dd class="detail">{{ detail }}</dd><dd>{{ source(file) }}</dd></div>
{% endmacro %}
<dl class="tiles">
{{ tile("videos", videos | length | number, label_counts, "videos.csv") }}
{{ tile("notebooks done", status_counts["done"] ~ " of " ~ stages | length, status_counts["failed"] ~ " failed", "run.json") }}
{{ tile("failures", failures | length | number, "listed below" if failures else "none", "failures.csv") }}
{{ tile("time", manifest.seconds | duration, "of this run", "run.json") }}
</dl>

<h2>Notebooks</h2>
<div class="scroll"><table class="stages">
<thead><tr><th>notebook</th><th>videos</th><th>numbers</th><th>time</th></tr></thead>
<tbody>
{% for stage in stages %}
<tr class="{{ stage.status | replace(" ", "-") }}">
<th scope="row"><span class="ordinal">{{ stage.name.split("_")[0] }}</span>
{% if stage.has_page %}<a href="{{ stage.name | urlencode }}.html">{{ stage.title }}</a>{% else %}{{ stage.title }}{% endif %}
<span class="status">{{ stage.status }}</span></th>
<td>{% if stage.counts %}{{ counts_line(stage.counts) }}
{% if stage.counts.values() | sum != videos | length %}
<p class="mismatch">{{ stage.counts.values() | sum | number }} of {{ videos | length | number }} videos are accounted for</p>{% endif %}
{{ source("status/" ~ stage.name ~ ".csv") }}{% else %}–{% endif %}</td>
<td>{% if stage.metrics %}<dl class="metrics">
{% for name, value in (stage.metrics.items() | list)[:metrics_shown] %}
<div><dt>{{ name | replace("_", " ") }}</dt><dd>{{ value | number }}</dd></div>
{% endfor %}
</dl>
{% if stage.metrics | length > metrics_shown %}<span class="more">and {{ stage.metrics | length - metrics_shown }} more in</span>{% endif %}
{{ source("metrics/" ~ stage.name ~ ".json") }}{% else %}–{% endif %}</td>
<td class="time">{{ stage.seconds | duration if stage.status != "not run" else "–" }}</td>
</tr>
{% if stage.error %}<tr><td colspan="4">{{ error_box(stage.error) }}</td></tr>{% endif %}
{% endfor %}
</tbody></table></div>
<p class="legend"><b>done</b>: something was found or made · <b>nothing</b>: there was nothing to find, such as a video without a face ·
<b>not needed</b>: not this notebook's work, such as a mask for a real video · <b>failed</b>: listed below with the reason ·
<b>failed before</b>: an earlier notebook failed on it.
Each line adds up to the number of videos. Times are from {{ source("run.json") }}.</p>

<h2>Failures</h2>
{% if failures %}
<p>{% if failures | length > failures_shown %}The first {{ failures_shown }} of {{ failures | length | number }}; all are in
{% else %}From {% endif %}{{ source("failures.csv") }}.</p>
<div class="scroll"><table><thead><tr><th>notebook</th><th>video</th><th>reason</th></tr></thead><tbody>
{% for failure in failures[:failures_shown] %}
<tr><td class="name">{{ failure.stage }}</td><td class="name">{{ failure.video_id }}</td><td class="reason">{{ failure.reason }}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}<p>None. They would be in {{ source("failures.csv") }}.</p>{% endif %}

<h2>How it was made</h2>
<pre class="command">{{ manifest.command }}</pre>
<dl class="facts">
<div><dt>data</dt><dd>{{ manifest.data }}</dd></div><div><dt>kind</dt><dd>{{ manifest.kind }}</dd></div>
<div><dt>dfdc_lib</dt><dd>{{ manifest.kit_version }}{% if manifest.commit %} · commit {{ manifest.commit }}{% endif %}</dd></div>
{% for name, version in manifest.versions.items() %}<div><dt>{{ name }}</dt><dd>{{ version }}</dd></div>
{% endfor %}
</dl>
<p>From {{ source("run.json") }}, as are the parameters.</p>
<h3>Parameters</h3>
<div class="scroll"><table class="parameters"><thead><tr><th>notebook</th><th>parameter</th><th>value</th></tr></thead>
{% for stage in stages if stage.parameters %}
<tbody>
{% for name, value in stage.parameters.items() %}
<tr>{% if loop.first %}
<th scope="rowgroup" rowspan="{{ loop.length }}">{{ stage.name.split("_")[0] }} {{ stage.title }}</th>{% endif %}
<td class="name">{{ name }}</td><td class="name value">{{ value if value != "" else "(empty)" }}</td></tr>
{% endfor %}
</tbody>
{% endfor %}
</table></div>
</main>
{% endblock %}
"""

NOTEBOOK = """{% extends "page.html" %}
{% from "macros.html" import error_box, counts_line %}
{% macro steps() %}
<nav class="steps"><a href="index.html">Summary</a>
{% if previous %}<a rel="prev" href="{{ previous.name | urlencode }}.html">← {{ previous.title }}</a>{% endif %}
{% if following %}<a rel="next" href="{{ following.name | urlencode }}.html">{{ following.title }} →</a>{% endif %}</nav>
{% endmacro %}
{% block title %}{{ stage.name.split("_")[0] }} · {{ stage.title }} · {{ data_name(manifest) }}{% endblock %}
{% block body %}
{{ steps() }}
<div class="columns">
{% if contents %}
<nav class="contents"><b>On this page</b><ul>
{% for level, id, text in contents %}<li class="level-{{ level }}"><a href="#{{ id }}">{{ text | safe }}</a></li>
{% endfor %}
</ul></nav>
{% endif %}
<main class="notebook">
{% if "<h1" not in body %}<h1>{{ stage.name.split("_")[0] }} · {{ stage.title }}</h1>{% endif %}
{% if stage.error %}{{ error_box(stage.error) }}{% endif %}
{{ body }}
<footer>
{% if stage.counts %}{{ counts_line(stage.counts) }}{% endif %}
<p>{{ stage.status }}{% if stage.status != "not run" %} in {{ stage.seconds | duration }}{% endif %} ({{ source("run.json") }}) ·
{{ source("notebooks/" ~ stage.name ~ ".ipynb") }}{% if stage.counts %} · {{ source("status/" ~ stage.name ~ ".csv") }}{% endif %}
{% if stage.metrics %} · {{ source("metrics/" ~ stage.name ~ ".json") }}{% endif %}</p>
</footer>
</main>
</div>
{{ steps() }}
{% endblock %}
"""

# nbconvert does not escape by itself: each insertion names its filter.
CELLS = """{%- extends "display_priority.j2" -%}
{%- macro picture(kind, content, output, cell) -%}
<p class="picture"><img src="data:{{ kind }};base64,{{ content | replace("\\n", "") | e }}"
alt="{{ (output.metadata.get(kind, {}).alt or "Output of " ~ (cell.source.split("\\n") | last)) | e }}"></p>
{%- endmacro -%}
{% block codecell %}<section class="cell">{{ super() }}</section>{% endblock %}
{% block input %}{% if cell.source.strip() %}{% set injected = "injected-parameters" in cell.metadata.get("tags", []) -%}
<details class="code"{{ " open" if injected }}><summary>{{ "parameters of this run" if injected else "code" }}</summary>
{{ cell.source | highlight_code(metadata=cell.metadata) | clean_html }}</details>{% endif %}{% endblock %}
{% block output %}<div class="output">{{ super() }}</div>{% endblock %}
{% block markdowncell %}<section class="prose">{{ cell.source | markdown2html | clean_html }}</section>{% endblock %}
{% block stream_stdout %}<pre>{{ output.text | ansi2html }}</pre>{% endblock %}
{% block stream_stderr %}<pre class="stderr">{{ output.text | ansi2html }}</pre>{% endblock %}
{% block execute_result %}{% block data_priority scoped %}{{ super() }}{% endblock %}{% endblock %}
{% block data_html %}<div class="html">{{ output.data["text/html"] | clean_html }}</div>{% endblock %}
{% block data_markdown %}{{ output.data["text/markdown"] | markdown2html | clean_html }}{% endblock %}
{% block data_png %}{{ picture("image/png", output.data["image/png"], output, cell) }}{% endblock %}
{% block data_jpg %}{{ picture("image/jpeg", output.data["image/jpeg"], output, cell) }}{% endblock %}
{% block data_svg %}{{ picture("image/svg+xml", output.data["image/svg+xml"] | text_base64, output, cell) }}{% endblock %}
{% block data_text %}{% if "application/vnd.jupyter.widget-view+json" in output.data -%}
<p class="note">A viewer that moves: open this notebook in JupyterLab.</p>
{%- else %}<pre>{{ output.data["text/plain"] | ansi2html }}</pre>{% endif %}{% endblock %}
{% block error %}<div class="error"><strong>{{ output.ename | e }}: {{ output.evalue | ansi2html }}</strong>
<details><summary>traceback</summary><pre>{{ output.traceback | join("\\n") | ansi2html }}</pre></details></div>{% endblock %}
"""

TEMPLATES = {"page.html": PAGE, "macros.html": MACROS, "index.html": INDEX, "notebook.html": NOTEBOOK, "cells.html": CELLS}
