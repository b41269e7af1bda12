import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from dfdc_lib.cli import app
from dfdc_lib.pipeline.compare import Row, compare_runs, terminal_text, write_comparison
from dfdc_lib.records import Video
from dfdc_lib.run_folder import open_run

STAGES = {"02_crop_faces": {"MARGIN": 0.2, "WORKERS": 0}, "08_averaging_strategies": {"SCORES": "", "DRAWS": 2000}}
METRICS = {
    "02_crop_faces": {"crops": 1234},
    "08_averaging_strategies": {"judged": "all", "log loss, mean": "0.20000 [0.1000, 0.3000]"},
}
ORIGINALS = 20


def make_run(
    folder: Path, stages: dict | None = None, metrics: dict | None = None, wrong_by: float = 0.0, **manifest: object
) -> Path:
    """Make a run folder with a manifest, metrics and, unless `wrong_by` is 0, scores that far from the labels."""
    run = open_run(folder)
    entries = {
        name: {"title": name, "status": "done", "parameters": {"RUN": str(folder)} | values}
        for name, values in (stages or STAGES).items()
    }
    about = {
        "kit_version": "0.1.0",
        "commit": "abc",
        "data": "videos",
        "kind": "auto",
        "command": "dfdc run",
        "versions": {"torch": "2.6"},
    }
    run.write_json(folder / "run.json", about | {"stages": entries} | manifest)
    for stage, values in (METRICS if metrics is None else metrics).items():
        run.write_metrics(stage, values)
    if wrong_by:
        originals = [Video(video_id=f"{n:02d}", path=Path(f"/v/{n:02d}.mp4"), label=0) for n in range(ORIGINALS)]
        fakes = [Video(video_id=f"{v.video_id}_f", path=v.path, label=1, original_id=v.video_id) for v in originals]
        run.write_videos([*originals, *fakes], {})
        rows = [
            (video.video_id, frame, abs(video.label - wrong_by)) for video in [*originals, *fakes] for frame in range(2)
        ]
        run.write_table("scores/model.parquet", pd.DataFrame(rows, columns=["video_id", "frame_index", "score"]))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs that differ in a parameter, a version, two metrics and their scores."""
    first = make_run(tmp_path / "a", wrong_by=0.1)
    stages = {
        "02_crop_faces": {"MARGIN": 0.3, "WORKERS": 0},
        "08_averaging_strategies": STAGES["08_averaging_strategies"],
    }
    metrics = {
        "02_crop_faces": {"crops": 1230, "<b>new": 1},
        "08_averaging_strategies": {"judged": "all", "log loss, mean": "0.4 [0.2500, 0.5000]"},
    }
    return first, make_run(tmp_path / "b & c", stages, metrics, wrong_by=0.3, versions={"torch": "2.7"})


# What differs ----------------------------------------------------------------------------------------------------------------------
def test_a_run_and_its_copy_differ_in_nothing(tmp_path: Path) -> None:
    comparison = compare_runs(make_run(tmp_path / "a"), make_run(tmp_path / "b"))
    assert (comparison.settings, comparison.parameters, comparison.same_parameters, comparison.overlaps) == (
        [],
        [],
        4,
        [],
    )
    assert [row.change for row in comparison.metrics] == ["=", "=", "="]
    assert comparison.paired == []
    assert comparison.notes == [f"not measured: {tmp_path / 'a'} and {tmp_path / 'b'} has no predictions (notebook 07)"]


def test_what_differs(runs: tuple[Path, Path]) -> None:
    comparison = compare_runs(*runs)
    assert comparison.settings == [Row("", "torch", "2.6", "2.7")]
    assert comparison.parameters == [Row("02_crop_faces", "MARGIN", "0.2", "0.3")]
    assert comparison.same_parameters == 3
    assert comparison.metrics == [
        Row("02_crop_faces", "crops", "1,234", "1,230", "-4"),
        Row("02_crop_faces", "<b>new", "–", "1", "only in B"),
        Row("08_averaging_strategies", "judged", "all", "all", "="),
        Row(
            "08_averaging_strategies",
            "log loss, mean",
            "0.20000 [0.1000, 0.3000]",
            "0.4 [0.2500, 0.5000]",
            "+0.2, intervals overlap",
        ),
    ]
    assert comparison.overlaps == [True]


@pytest.mark.parametrize(
    ("other", "change"),
    [
        ("0.20000 [0.1000, 0.3000]", "="),
        ("0.35000 [0.3000, 0.4000]", "+0.15, intervals overlap"),
        ("0.05000 [0.0100, 0.0900]", "-0.15, intervals apart"),
        ("nan [nan, nan]", "differs"),
        (0.1, "-0.1"),
        (None, "only in A"),
    ],
)
def test_metrics_with_intervals(other: object, change: str, tmp_path: Path) -> None:
    name = "log loss, mean"
    first = make_run(tmp_path / "a", metrics={"08_averaging_strategies": {name: "0.20000 [0.1000, 0.3000]"}})
    [row] = compare_runs(first, make_run(tmp_path / "b", metrics={"08_averaging_strategies": {name: other}})).metrics
    assert row.change == change


def test_a_notebook_that_ran_in_one_only(tmp_path: Path) -> None:
    second = make_run(tmp_path / "b", {"02_crop_faces": STAGES["02_crop_faces"]})
    comparison = compare_runs(make_run(tmp_path / "a"), second)
    assert comparison.parameters == [Row("08_averaging_strategies", "(how it ended)", "done", "not run")]
    assert comparison.same_parameters == 2


# The same videos -------------------------------------------------------------------------------------------------------------------
def test_differences_on_the_same_videos(runs: tuple[Path, Path]) -> None:
    comparison = compare_runs(*runs)
    loss, auc = comparison.paired[:2]
    # Every video is 0.1 off in A and 0.3 in B: −ln 0.9 and −ln 0.7, in every draw.
    assert loss == Row("mean", "log loss", "0.10536", "0.35667", "+0.2513 [+0.2513, +0.2513] A is better")
    assert auc == Row("mean", "AUC", "1.00000", "1.00000", "+0.0000 [+0.0000, +0.0000] not settled")
    assert comparison.notes[0] == "40 videos of 20 originals are in both runs and were judged."


def test_no_video_in_common_is_said(runs: tuple[Path, Path]) -> None:
    videos = runs[1] / "videos.csv"
    videos.write_text(re.sub(r"^(\d\d)", r"x\1", videos.read_text(), flags=re.MULTILINE))
    path = runs[1] / "scores" / "model.parquet"
    scores = pd.read_parquet(path)
    scores.assign(video_id="x" + scores["video_id"]).to_parquet(path)
    comparison = compare_runs(*runs)
    assert comparison.paired == []
    assert comparison.notes[0].startswith("not measured: no labelled video that may be judged is")


# Showing ---------------------------------------------------------------------------------------------------------------------------
def test_terminal_text(runs: tuple[Path, Path]) -> None:
    lines = terminal_text(compare_runs(*runs)).splitlines()
    assert lines[:2] == [f"A  {runs[0]}", f"B  {runs[1]}"]
    assert "parameters that differ (3 are the same)" in lines
    assert "    MARGIN  0.2  0.3" in lines
    assert "metrics that differ (1 are the same, see the page)" in lines
    assert any(re.fullmatch(r" +crops +1,234 +1,230 +-4", line) for line in lines)
    assert any(line.endswith("A is better") for line in lines)
    assert any(
        "intervals in both runs: 1; the intervals overlap in 1. Overlap does not settle" in line for line in lines
    )
    assert max(map(len, lines)) < 240


def test_page(runs: tuple[Path, Path]) -> None:
    path = write_comparison(compare_runs(*runs))
    assert path == runs[0] / "report" / "compare_b & c.html"
    page = path.read_text()
    assert "default-src 'none'" in page and "<script" not in page and "http" not in page.split("</style>")[1]
    assert "&lt;b&gt;new" in page and "<b>new" not in page
    links = re.findall(r'class="source" href="([^"]+)"', page)
    assert "../metrics/02_crop_faces.json" in links and "../../b%20%26%20c/metrics/02_crop_faces.json" in links
    assert not (runs[0] / ".partial").exists() or not list((runs[0] / ".partial").iterdir())


def test_a_page_elsewhere_links_to_both_runs(runs: tuple[Path, Path], tmp_path: Path) -> None:
    before = sorted(runs[0].rglob("*"))
    page = write_comparison(compare_runs(*runs), tmp_path / "new" / "page.html").read_text()
    assert 'href="../a/run.json"' in page and 'href="../b%20%26%20c/run.json"' in page
    assert sorted(runs[0].rglob("*")) == before


# The command -----------------------------------------------------------------------------------------------------------------------
def test_the_command_ends_with_the_page(runs: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(app, ["compare", *map(str, runs)])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == f"page: {runs[0] / 'report' / 'compare_b & c.html'}"


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ("absent", "a", "dfdc: expected a run folder, got absent: it is not there; give a folder that `dfdc run` made"),
        ("a", "empty", "dfdc: expected a run folder, got empty: it has no run.json"),
        ("a", "file", "dfdc: expected a run folder, got file: it is a file"),
        ("a", "empty/../a", "dfdc: RUN_A and RUN_B are the same folder, "),
        (
            "a",
            "other",
            "dfdc: {folder}/a and {folder}/other have nothing in common, they ran 02_crop_faces, 08_averaging_strategies and 00_",
        ),
    ],
)
def test_the_command_refuses(
    first: str, second: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "a")
    make_run(tmp_path / "other", {"00_videos": {}}, {})
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["compare", first, second])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(line.format(folder=tmp_path))
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "a" / "report").exists()
    assert list((tmp_path / "empty").iterdir()) == []
