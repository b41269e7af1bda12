"""A notebook's cells as safe HTML: nothing that runs, nothing that loads.

Input: cells of an executed notebook. Output: HTML for a page of the report, and its headings. HTML outputs are reduced
to `SAFE_TAGS`. Source: nbconvert's HTML exporter with the template `cells.html.j2`. Importing it takes a second, which
only a report needs.
"""

import re
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import bleach  # type: ignore[import-untyped]
import nbformat
from jinja2 import FileSystemLoader
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from traitlets.config import Config

TEMPLATES = Path(__file__).with_name("templates")
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
Heading = tuple[str, str, str]  # level, id, HTML of the text


def read_cells(notebook: Path) -> list[nbformat.NotebookNode]:
    """Return the cells of a notebook file."""
    return nbformat.read(notebook, as_version=4).cells


def cells_html(cells: Sequence[nbformat.NotebookNode], linked: Sequence[str], without: str) -> str:
    """Return the HTML of cells.

    `linked`: names of the notebooks that have a page; links to other notebooks are removed. `without`: "input" or
    "output" to leave that part out, else "".
    """
    for cell in cells:
        if cell.cell_type == "code":
            _merge_streams(cell)
    notebook_links = frozenset(f"{name}.ipynb" for name in linked)
    exporter = _exporter(notebook_links, without)
    body, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=list(cells)))
    for link in notebook_links:
        body = body.replace(f'<a href="{link}"', f'<a href="{link.removesuffix(".ipynb")}.html"')
    return body


@cache  # compiling its templates takes longer than a notebook
def _exporter(notebook_links: frozenset[str], without: str) -> HTMLExporter:
    return HTMLExporter(
        config=Config({"NbConvertBase": {"display_data_priority": OUTPUT_FORMATS}}),
        template_name="basic",
        template_file="cells.html.j2",
        extra_loaders=[FileSystemLoader(TEMPLATES)],
        filters={"clean_html": partial(_clean_html, notebook_links=notebook_links)},
        exclude_anchor_links=True,
        exclude_input=without == "input",
        exclude_output=without == "output",
    )


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


def _clean_html(html: str, notebook_links: frozenset[str]) -> str:
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


def number_headings(body: str) -> tuple[str, list[Heading]]:
    """Add ids to the headings of levels 2 and 3, and return the headings."""
    headings: list[Heading] = []

    def add_id(match: re.Match[str]) -> str:
        level, text = match.groups()
        headings.append((level, f"section-{len(headings) + 1}", re.sub(r"</?a\b[^>]*>", "", text)))
        return f'<h{level} id="{headings[-1][1]}">{text}</h{level}>'

    return re.sub(r"<h([23])>(.*?)</h\1>", add_id, body, flags=re.DOTALL), headings
