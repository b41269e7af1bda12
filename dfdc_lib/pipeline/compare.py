"""Compare two runs: what was done differently, the metrics of both, and the difference of their scores.

Input: two run folders (run.json and metrics/; for the scores also scores/, videos.csv, folds.csv). Output: a text for
the terminal and an HTML page in the style of the report, from the template `compare.html.j2`.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from dfdc_lib.evaluation.bootstrap import caution
from dfdc_lib.evaluation.load_scores import read_run_scores
from dfdc_lib.evaluation.paired import RESAMPLING, paired_differences, shared_videos
from dfdc_lib.pipeline.report import format_number, render_page
from dfdc_lib.records import Scoring
from dfdc_lib.run_folder import Run, atomic_path

INTERVAL = re.compile(r"(-?[\d.]+) \[(-?[\d.]+),\s(-?[\d.]+)\](?: \(.*\))?")  # 0.213 [0.117, 0.276] (only 8 videos)
SAME = "="
MAX_CELL_WIDTH = 44  # characters in the terminal; the page shows everything


@dataclass(frozen=True)
class Row:
    """One row of a comparison table: a name and its values in runs A and B.

    `part`: notebook or strategy; `first`, `second`: values of A and B; `change`: B - A, if defined.
    """

    part: str  # notebook or strategy; consecutive rows of one part share a heading
    name: str
    first: str  # value of A
    second: str  # value of B
    change: str = ""  # B − A, if it is defined


@dataclass(frozen=True)
class Comparison:
    """The comparison of two runs, ready to be displayed.

    `settings`, `parameters`: those that differ; `paired`: differences on the same videos; `overlaps`: for each metric
    that differs and has intervals in both runs, whether these overlap.
    """

    first: Run
    second: Run
    settings: list[Row]  # data, versions and models that differ
    parameters: list[Row]  # parameters that differ
    same_parameters: int
    metrics: list[Row]  # all metrics
    overlaps: list[bool]  # of each metric that differs and has intervals in both runs: do the intervals overlap?
    paired: list[Row]  # differences on the same videos; empty if they cannot be measured
    notes: list[str]  # which videos the differences are measured on, or why there are none


def compare_runs(first: Path, second: Path) -> Comparison:
    """Compare run folder A, `first`, with B, `second`, without writing anything; differences are B − A.

    Raise FileNotFoundError if one is not a run folder; ValueError if both are the same, if they have no notebook in
    common, or if a score table is invalid.
    """
    a, b = _open_existing(first), _open_existing(second)
    if a.root == b.root:
        raise ValueError(f"RUN_A and RUN_B are the same folder, {a.root}: name two different runs")
    manifest_a, manifest_b = (json.loads((run.root / "run.json").read_bytes()) for run in (a, b))
    stages_a, stages_b = manifest_a["stages"], manifest_b["stages"]
    if not stages_a.keys() & stages_b.keys():
        ran = " and ".join(", ".join(sorted(stages)) or "nothing" for stages in (stages_a, stages_b))
        raise ValueError(f"{a.root} and {b.root} have no notebook in common, they ran {ran}: run one of these in both")
    parameters, same_parameters = _compare_parameters(stages_a, stages_b)
    rows, overlaps = _compare_metrics(a, b)
    paired, notes = _compare_scores(a, b)
    settings = _differing("", _settings(a, manifest_a), _settings(b, manifest_b))
    return Comparison(a, b, settings, parameters, same_parameters, rows, overlaps, paired, notes)


def terminal_text(comparison: Comparison) -> str:
    """Return the comparison as text for a terminal."""
    differing = [row for row in comparison.metrics if row.change != SAME]
    same = len(comparison.metrics) - len(differing)
    tables = [
        ("data, versions and models that differ", comparison.settings),
        (f"parameters that differ ({comparison.same_parameters} are the same)", comparison.parameters),
        (f"metrics that differ ({same} are the same, see the page)", differing),
        ("difference on the same videos", comparison.paired),
    ]
    lines = [f"A  {comparison.first.root}", f"B  {comparison.second.root}"]
    for heading, rows in tables:
        lines += ["", heading, *(_aligned(rows) if rows else ["  none"])]
        if rows is differing and comparison.overlaps:
            lines.append(f"  {overlap_sentence(comparison.overlaps)}")
    return "\n".join([*lines, *(f"  {note}" for note in comparison.notes)])


def overlap_sentence(overlaps: Sequence[bool]) -> str:
    """Return sentences that count the overlapping pairs of intervals, and say what an overlap means.

    `overlaps`: for each metric that differs and has intervals in both runs, whether the two overlap.
    """
    return (
        f"{len(overlaps)} metrics differ and have intervals in both runs; {sum(overlaps)} of these pairs overlap. "
        "An overlap does not decide whether two runs differ. The difference on the same videos does, if it is listed."
    )


def write_comparison(comparison: Comparison, output: Path | None = None) -> Path:
    """Write the comparison as one HTML page, by default `report/compare_<name of B>.html` of run A; return its path."""
    path = (output or comparison.first.root / "report" / f"compare_{comparison.second.root.name}.html").resolve()

    def link(run: Run, name: str) -> Markup:
        """Return a link from the page to a file of one of the runs; empty if the file is missing."""
        target = run.root / name
        href = quote(os.path.relpath(target, path.parent))
        return Markup('<a class="source" href="{}">{}</a>').format(href, name) if target.exists() else Markup("")

    values = {"comparison": comparison, "overlap_sentence": overlap_sentence, "resampling": RESAMPLING, "link": link}
    page = render_page(comparison.first, "compare.html.j2", **values)
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


# Compare --------------------------------------------------------------------------------------------------------------
def _open_existing(path: Path) -> Run:
    root = path.resolve()
    if not (root / "run.json").is_file():
        problem = "has no run.json" if root.is_dir() else "is a file" if root.exists() else "does not exist"
        raise FileNotFoundError(f"expected a run folder of `dfdc run`, such as outputs/sample; {path} {problem}")
    return Run(root)


def _settings(run: Run, manifest: dict[str, Any]) -> dict[str, str]:
    about = {name: str(manifest.get(name, "")) for name in ("data", "kind", "command", "commit")}
    models = run.read_record(run.scoring_path, Scoring).models if run.scoring_path.exists() else ()
    versions = {"dfdc_lib": str(manifest.get("kit_version", ""))} | manifest["versions"]
    return about | versions | {"scored by": ", ".join(models)}


def _differing(part: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Row]:
    """Return a row for each name whose values differ or that only one side has."""

    def text(value: object) -> str:
        return "–" if value is None else str(value) or "(empty)"

    rows = [Row(part, name, text(first.get(name)), text(second.get(name))) for name in {**first, **second}]
    return [row for row in rows if row.first != row.second]


def _compare_parameters(first: dict[str, dict], second: dict[str, dict]) -> tuple[list[Row], int]:
    """Return the parameters and final statuses that differ, and the number of parameters that are the same."""
    rows, same = [], 0
    for stage in sorted(first.keys() | second.keys()):
        a, b = (stages.get(stage, {"status": "not run"}) for stages in (first, second))
        rows += _differing(stage, {"(status)": a["status"]}, {"(status)": b["status"]})
        if stage in first and stage in second:
            names = (a["parameters"].keys() | b["parameters"].keys()) - {"RUN"}  # where a run lies, not how it was made
            differing = [row for row in _differing(stage, a["parameters"], b["parameters"]) if row.name in names]
            rows += differing
            same += len(names) - len(differing)
    return rows, same


def _compare_metrics(first: Run, second: Run) -> tuple[list[Row], list[bool]]:
    """Return all metrics, and whether the intervals of those that differ overlap."""
    rows: list[Row] = []
    overlaps: list[bool] = []
    for stage in sorted({path.stem for run in (first, second) for path in (run.root / "metrics").glob("*.json")}):
        paths = [run.metrics_path(stage) for run in (first, second)]
        a, b = (json.loads(path.read_bytes()) if path.exists() else {} for path in paths)
        for name in {**a, **b}:
            values = a.get(name), b.get(name)
            change, overlap = _change(*values)
            overlaps += [] if overlap is None else [overlap]
            rows.append(Row(stage, name, format_number(values[0]), format_number(values[1]), change))
    return rows, overlaps


def _compare_scores(first: Run, second: Run) -> tuple[list[Row], list[str]]:
    """Return the differences on the videos that both runs scored, and notes about these videos."""
    without = [str(run.root) for run in (first, second) if not run.scoring_path.exists()]
    if without:
        return [], [f"Not measured: no predictions (notebook 07) in {' and '.join(without)}"]
    a, b = read_run_scores(first), read_run_scores(second)
    notes = [f"{side}: {'; '.join((table.role, *table.notes))}." for side, table in (("A", a), ("B", b))]
    videos = shared_videos(a, b)
    if videos.empty:
        return [], ["Not measured: the runs share no unseen video with the same id and label.", *notes]
    rows = []
    for change in paired_differences(a, b).to_dict("records"):
        text = f"{change['value']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}] {change['answer']}"
        first_value, second_value = f"{change['first']:.3f}", f"{change['second']:.3f}"
        rows.append(Row(change["strategy"], change["metric"], first_value, second_value, text))
    measured = (
        f"Measured on {len(videos):,} videos in {videos['group'].nunique():,} identity groups that both runs scored"
    )
    return rows, [f"{'; '.join(filter(None, (measured, caution(videos))))}.", *notes]


# Format values --------------------------------------------------------------------------------------------------------
def _change(first: object, second: object) -> tuple[str, bool | None]:
    """Return by how much a metric differs, and whether its intervals overlap (None without intervals)."""
    if first == second:
        return SAME, None
    if first is None or second is None:
        return f"only in {'B' if first is None else 'A'}", None
    a, b = _numbers(first), _numbers(second)
    if not a or not b:
        return "differs", None
    difference = b[0] - a[0]
    text = f"{difference:+,.0f}" if difference.is_integer() else f"{difference:+.3g}"
    if len(a) == 1 or len(b) == 1:
        return text, None
    overlap = max(a[1], b[1]) <= min(a[2], b[2])
    return f"{text}, intervals {'overlap' if overlap else 'do not overlap'}", overlap


def _numbers(value: object) -> tuple[float, ...]:
    """Return (value,) for a number, (value, low, high) for a text with an interval, () for anything else."""
    if isinstance(value, int | float):
        return (float(value),)
    match = INTERVAL.fullmatch(str(value))
    return tuple(map(float, match.groups())) if match else ()


def _aligned(rows: Sequence[Row]) -> list[str]:
    """Return the rows as aligned columns, each part under its heading."""
    header = Row("", "", "A", "B", "B − A" if any(row.change for row in rows) else "")
    table = [(*map(_shorten, (row.name, row.first, row.second)), row.change) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines, part = [], ""
    for row, cells in zip((header, *rows), table, strict=True):
        if row.part != part:
            part = row.part
            lines.append(f"  {part}")
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append(f"    {'  '.join(padded)}".rstrip())
    return lines


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_CELL_WIDTH else text[: MAX_CELL_WIDTH - 1] + "…"
