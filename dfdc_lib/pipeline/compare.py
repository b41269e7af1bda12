"""Two runs side by side: what was done differently, the numbers of both, and whether a difference of their scores is more than chance.

In: two run folders (`run.json`, `metrics/`, and for the difference on the same videos `scores/`, `videos.csv`, `folds.csv`). Out: a table
for the terminal, and a page like the report's, whose template is `compare.html.j2`.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from dfdc_lib.evaluation import metrics
from dfdc_lib.evaluation.load_scores import read_run_scores
from dfdc_lib.evaluation.paired import CLIP, DRAWS, paired_differences, shared_videos
from dfdc_lib.pipeline.report import page_environment
from dfdc_lib.run_folder import Run

LEFT_OUT = ("RUN",)  # parameters that say where a run lies, not how it was made
INTERVAL = re.compile(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]")  # how notebook 08 writes one: 0.21337 [0.1171, 0.2760]
ABSENT, SAME = "–", "="
WIDEST_CELL = 44  # characters in the terminal; the page shows all


@dataclass(frozen=True)
class Row:
    """One line of a table: what it is of, and what either run says."""

    part: str  # notebook, or other place; rows of one part stand together
    name: str
    first: str
    second: str
    change: str = ""  # the second minus the first, where that can be said


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common and what not, ready to be shown."""

    first: Run
    second: Run
    settings: list[Row]  # versions, commit, data and the like that differ
    parameters: list[Row]  # those that differ
    same_parameters: int
    metrics: list[Row]  # all
    overlaps: list[bool]  # one per metric that differs and has an interval in both runs: do the two overlap?
    paired: list[Row]  # differences on the same videos; empty where that cannot be measured
    notes: list[str]  # what the paired differences rest on, or why there are none


def compare_runs(first: Path, second: Path) -> Comparison:
    """Compare two runs; nothing is written.

    Args:
        first: run folder A.
        second: run folder B.
    Returns:
        The comparison; differences are B − A.
    Raises:
        FileNotFoundError: if one is no run folder.
        ValueError: if both are one folder, or no notebook ran in both; also if the scores of one are not as they should be.
    """
    a, b = _existing_run(first), _existing_run(second)
    if a.root == b.root:
        raise ValueError(f"RUN_A and RUN_B are the same folder, {a.root}: give two runs")
    made_a, made_b = (json.loads((run.root / "run.json").read_bytes()) for run in (a, b))
    if not made_a["stages"].keys() & made_b["stages"].keys():
        ran = " and ".join(", ".join(sorted(made["stages"])) or "nothing" for made in (made_a, made_b))
        raise ValueError(
            f"{a.root} and {b.root} have nothing in common, they ran {ran}: run one of these notebooks in both"
        )
    parameters, same_parameters = _differing_parameters(made_a["stages"], made_b["stages"])
    metrics, overlaps = _metrics_of_both(a, b)
    paired, notes = _paired(a, b)
    settings = _differing("", _settings(a, made_a), _settings(b, made_b))
    return Comparison(a, b, settings, parameters, same_parameters, metrics, overlaps, paired, notes)


def terminal_text(comparison: Comparison) -> str:
    """Lay the comparison out for a terminal."""
    differing = [row for row in comparison.metrics if row.change != SAME]
    tables = [
        ("made differently", comparison.settings),
        (f"parameters that differ ({comparison.same_parameters} are the same)", comparison.parameters),
        (f"metrics that differ ({len(comparison.metrics) - len(differing)} are the same, see the page)", differing),
        ("difference on the same videos", comparison.paired),
    ]
    lines = [f"A  {comparison.first.root}", f"B  {comparison.second.root}"]
    for heading, rows in tables:
        lines += ["", heading, *(_aligned(rows) if rows else ["  none"])]
        lines += (
            [f"  {overlap_sentence(comparison.overlaps)}"] if rows and rows is differing and comparison.overlaps else []
        )
    return "\n".join([*lines, *(f"  {note}" for note in comparison.notes)])


def overlap_sentence(overlaps: Sequence[bool]) -> str:
    """Say how many intervals overlap, and what that is worth."""
    return (
        f"Metrics that differ and have intervals in both runs: {len(overlaps)}; the intervals overlap in {sum(overlaps)}. Overlap does not "
        "settle whether the runs differ: the difference on the same videos does, where it can be measured."
    )


def write_comparison(comparison: Comparison, output: Path | None = None) -> Path:
    """Write the comparison as one HTML page that loads nothing.

    Args:
        comparison: of `compare_runs`.
        output: where; None = `report/compare_<name of B>.html` of run A, replaced if it is there.
    Returns:
        The page.
    """
    path = (output or comparison.first.root / "report" / f"compare_{comparison.second.root.name}.html").resolve()
    environment = page_environment(comparison.first)

    def source(run: Run, name: str) -> Markup:
        """Link to a file of either run, as seen from the page."""
        place = quote(os.path.relpath(run.root / name, path.parent))
        return (
            Markup('<a class="source" href="{}">{}</a>').format(place, name)
            if (run.root / name).exists()
            else Markup("")
        )

    page = environment.get_template("compare.html.j2").render(
        comparison=comparison, link=source, overlap_sentence=overlap_sentence, draws=DRAWS, clip=CLIP
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)
    return path


# Reading both runs -------------------------------------------------------------------------------------------------------------------
def _existing_run(path: Path) -> Run:
    root = path.resolve()
    if not (root / "run.json").is_file():
        found = "it has no run.json" if root.is_dir() else "it is a file" if root.exists() else "it is not there"
        raise FileNotFoundError(
            f"expected a run folder, got {path}: {found}; give a folder that `dfdc run` made, such as outputs/sample"
        )
    return Run(root)


def _settings(run: Run, manifest: dict[str, Any]) -> dict[str, str]:
    about = {name: manifest.get(name, "") for name in ("data", "kind", "command", "kit_version", "commit")}
    models = sorted(path.stem for path in (run.root / "scores").glob("*.parquet"))
    return (
        {name.replace("kit_version", "dfdc_lib"): str(value) for name, value in about.items()}
        | manifest["versions"]
        | {"scored by": ", ".join(models)}
    )


def _differing(part: str, first: dict[str, Any], second: dict[str, Any]) -> list[Row]:
    """List the names whose values differ; a name that one side lacks differs."""
    both = [(name, _written(first.get(name)), _written(second.get(name))) for name in dict.fromkeys([*first, *second])]
    return [Row(part, name, *values) for name, *values in both if values[0] != values[1]]


def _differing_parameters(first: dict[str, dict], second: dict[str, dict]) -> tuple[list[Row], int]:
    """List what differs of the notebooks' parameters and how the notebooks ended, and count the parameters that are the same."""
    rows, same = [], 0
    for stage in sorted({*first, *second}):
        entries = [stages.get(stage, {"status": "not run"}) for stages in (first, second)]
        rows += _differing(stage, *({"(how it ended)": entry["status"]} for entry in entries))
        if stage in first and stage in second:
            chosen = [
                {name: value for name, value in entry["parameters"].items() if name not in LEFT_OUT}
                for entry in entries
            ]
            differing = _differing(stage, *chosen)
            rows += differing
            same += len({*chosen[0], *chosen[1]}) - len(differing)
    return rows, same


def _metrics_of_both(first: Run, second: Run) -> tuple[list[Row], list[bool]]:
    rows: list[Row] = []
    overlaps: list[bool] = []
    for stage in sorted({path.stem for run in (first, second) for path in (run.root / "metrics").glob("*.json")}):
        paths = [run.metrics_path(stage) for run in (first, second)]
        a, b = (json.loads(path.read_bytes()) if path.exists() else {} for path in paths)
        for name in dict.fromkeys([*a, *b]):
            overlap = None if a.get(name) == b.get(name) else _overlap(a.get(name), b.get(name))
            overlaps += [] if overlap is None else [overlap]
            rows.append(
                Row(
                    stage,
                    name,
                    _written(a.get(name)),
                    _written(b.get(name)),
                    _change(a.get(name), b.get(name), overlap),
                )
            )
    return rows, overlaps


def _paired(first: Run, second: Run) -> tuple[list[Row], list[str]]:
    """Measure the differences on the same videos, and say what they rest on."""
    without = [run.root for run in (first, second) if not list((run.root / "scores").glob("*.parquet"))]
    if without:
        return [], [f"not measured: {' and '.join(map(str, without))} has no predictions (notebook 07)"]
    tables = [read_run_scores(run) for run in (first, second)]
    notes = [f"{side}: {'; '.join(table.notes)}." for side, table in zip("AB", tables, strict=True)]
    videos = shared_videos(tables[0], tables[1])
    if videos.empty:
        return [], [
            "not measured: no labelled video that may be judged is, with one id and label, in both runs.",
            *notes,
        ]
    rows = []
    for change in paired_differences(tables[0], tables[1]).to_dict("records"):
        text = f"{change['value']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}] {change['answer']}"
        rows.append(
            Row(change["strategy"], change["metric"], f"{change['first']:.5f}", f"{change['second']:.5f}", text)
        )
    rests_on = f"{len(videos):,} videos of {videos['group'].nunique():,} originals are in both runs and were judged"
    caution = metrics.caution(videos)
    return rows, [f"{rests_on}{'; ' + caution if caution else ''}.", *notes]


# Writing values ----------------------------------------------------------------------------------------------------------------------
def _written(value: object) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value) or "(empty)"


def _interval(value: object) -> re.Match[str] | None:
    return INTERVAL.fullmatch(value) if isinstance(value, str) else None


def _overlap(first: object, second: object) -> bool | None:
    """Tell whether two intervals overlap; None where one of the values has none."""
    a, b = _interval(first), _interval(second)
    return max(float(a[2]), float(b[2])) <= min(float(a[3]), float(b[3])) if a and b else None


def _change(first: object, second: object, overlap: bool | None) -> str:
    """Say by how much a metric differs, where both are numbers."""
    if first == second:
        return SAME
    if first is None or second is None:
        return f"only in {'B' if first is None else 'A'}"
    a, b = _number(first), _number(second)
    text = "differs" if a is None or b is None else f"{b - a:+.4g}"
    return text if overlap is None else f"{text}, intervals {'overlap' if overlap else 'apart'}"


def _number(value: object) -> float | None:
    interval = _interval(value)
    if interval:
        return float(interval[1])
    return float(value) if isinstance(value, int | float) else None


def _aligned(rows: Sequence[Row]) -> list[str]:
    """Align the rows in columns, under the parts they belong to."""
    cells = [[row.name, row.first, row.second, row.change] for row in rows]
    short = [[cell if len(cell) <= WIDEST_CELL else cell[: WIDEST_CELL - 1] + "…" for cell in line] for line in cells]
    short = [[*line[:3], full[3]] for line, full in zip(short, cells, strict=True)]
    heading = ["", "A", "B", "B − A" if any(row.change for row in rows) else ""]
    widths = [max(len(line[column]) for line in [heading, *short]) for column in range(len(heading))]
    lines, part = [], ""
    for line, row in zip([heading, *short], [None, *rows], strict=True):
        if row and row.part != part:
            part = row.part
            lines.append(f"  {part}")
        lines.append("    " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return lines
