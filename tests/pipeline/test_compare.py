import re
from pathlib import Path

import pandas as pd
import pytest
from scored import write_scores
from typer.testing import CliRunner

from dfdc_lib.cli import app
from dfdc_lib.pipeline.compare import Row, compare_runs, terminal_text, write_comparison
from dfdc_lib.records import Video
from dfdc_lib.run_folder import open_run

CROPS, STRATEGIES, LOSS = "02_crop_faces", "08_averaging_strategies", "log loss, mean"
STAGES = {CROPS: {"MARGIN": 0.2, "WORKERS": 0}, STRATEGIES: {"SCORES": "", "DRAWS": 2000}}
METRICS = {CROPS: {"crops": 1234}, STRATEGIES: {"judged": "all", LOSS: "0.200 [0.100, 0.300]"}}
ORIGINALS = 20


def make_run(
    folder: Path, stages: dict = STAGES, metrics: dict = METRICS, wrong_by: float = 0.0, torch: str = "2.6"
) -> Path:
    """Make a run folder with run.json, metrics and, unless `wrong_by` is 0, scores that are off by that much."""
    run = open_run(folder)
    done = {"title": "", "status": "done"}
    entries = {name: done | {"parameters": {"RUN": str(folder)} | values} for name, values in stages.items()}
    about = {"kit_version": "0.1.0", "commit": "abc", "data": "videos", "kind": "auto", "command": "dfdc run"}
    run.write_json(folder / "run.json", about | {"versions": {"torch": torch}, "stages": entries})
    for stage, values in metrics.items():
        run.write_metrics(stage, values)
    if wrong_by:
        originals = [Video(video_id=f"{n:02d}", path=Path(f"/v/{n:02d}.mp4"), label=0) for n in range(ORIGINALS)]
        fakes = [Video(video_id=f"{v.video_id}_f", path=v.path, label=1, original_id=v.video_id) for v in originals]
        videos = [*originals, *fakes]
        run.write_videos(videos, {})
        rows = [(video.video_id, frame, abs(video.label - wrong_by)) for video in videos for frame in range(2)]
        write_scores(run, {"model": pd.DataFrame(rows, columns=["video_id", "frame_index", "score"])})
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs that differ in a parameter, a version, two metrics and their scores."""
    stages = STAGES | {CROPS: {"MARGIN": 0.3, "WORKERS": 0}}
    metrics = {CROPS: {"crops": 1230, "<b>new": 1}, STRATEGIES: {"judged": "all", LOSS: "0.400 [0.250, 0.500]"}}
    second = make_run(tmp_path / "b & c", stages, metrics, wrong_by=0.3, torch="2.7")
    return make_run(tmp_path / "a", wrong_by=0.1), second


def test_equal_runs(tmp_path: Path) -> None:
    comparison = compare_runs(make_run(tmp_path / "a"), make_run(tmp_path / "b"))
    assert (comparison.settings, comparison.parameters, comparison.overlaps, comparison.paired) == ([], [], [], [])
    assert comparison.same_parameters == 4
    assert [row.change for row in comparison.metrics] == ["=", "=", "="]
    assert len(comparison.notes) == 1 and "no predictions" in comparison.notes[0]


def test_different_runs(runs: tuple[Path, Path]) -> None:
    comparison = compare_runs(*runs)
    assert comparison.settings == [Row("", "torch", "2.6", "2.7")]
    assert comparison.parameters == [Row(CROPS, "MARGIN", "0.2", "0.3")]
    assert comparison.same_parameters == 3
    assert comparison.metrics == [
        Row(CROPS, "crops", "1,234", "1,230", "-4"),
        Row(CROPS, "<b>new", "–", "1", "only in B"),
        Row(STRATEGIES, "judged", "all", "all", "="),
        Row(STRATEGIES, LOSS, "0.200 [0.100, 0.300]", "0.400 [0.250, 0.500]", "+0.2, intervals overlap"),
    ]
    assert comparison.overlaps == [True]
    # Every video is off by 0.1 in A and by 0.3 in B: -ln 0.9 and -ln 0.7, in every draw.
    assert comparison.paired[:2] == [
        Row("mean", "log loss", "0.105", "0.357", "+0.251 [+0.251, +0.251] A is better"),
        Row("mean", "AUC", "1.000", "1.000", "+0.000 [+0.000, +0.000] not settled"),
    ]
    assert "40 videos in 20 identity groups" in comparison.notes[0]


@pytest.mark.parametrize(
    ("other", "change"),
    [
        ("0.200 [0.100, 0.300]", "="),
        ("0.350 [0.300, 0.400]", "+0.15, intervals overlap"),
        ("0.050 [0.010, 0.090]", "-0.15, intervals do not overlap"),
        ("nan [nan, nan]", "differs"),
        (0.1, "-0.1"),
        (None, "only in A"),
    ],
)
def test_metrics_with_intervals(other: object, change: str, tmp_path: Path) -> None:
    first = make_run(tmp_path / "a", metrics={STRATEGIES: {LOSS: "0.200 [0.100, 0.300]"}})
    [row] = compare_runs(first, make_run(tmp_path / "b", metrics={STRATEGIES: {LOSS: other}})).metrics
    assert row.change == change


def test_a_notebook_that_ran_once(tmp_path: Path) -> None:
    comparison = compare_runs(make_run(tmp_path / "a"), make_run(tmp_path / "b", {CROPS: STAGES[CROPS]}))
    assert [(row.part, row.first, row.second) for row in comparison.parameters] == [(STRATEGIES, "done", "not run")]
    assert comparison.same_parameters == 2


def test_no_video_in_common(runs: tuple[Path, Path]) -> None:
    videos = runs[1] / "videos.csv"
    videos.write_text(re.sub(r"^(\d\d)", r"x\1", videos.read_text(encoding="utf-8"), flags=re.MULTILINE))
    scores = pd.read_parquet(runs[1] / "scores" / "model.parquet")
    write_scores(open_run(runs[1]), {"model": scores.assign(video_id="x" + scores["video_id"])})
    comparison = compare_runs(*runs)
    assert comparison.paired == [] and comparison.notes[0].startswith("Not measured")


def test_terminal_text(runs: tuple[Path, Path]) -> None:
    lines = terminal_text(compare_runs(*runs)).splitlines()
    assert lines[:2] == [f"A  {runs[0]}", f"B  {runs[1]}"]
    cells = [line.split() for line in lines]
    assert ["MARGIN", "0.2", "0.3"] in cells
    assert ["crops", "1,234", "1,230", "-4"] in cells
    assert ["judged", "all", "all", "="] not in cells  # equal metrics are on the page only
    assert any(line.endswith("A is better") for line in lines)
    assert max(map(len, lines)) < 240


def test_page(runs: tuple[Path, Path]) -> None:
    path = write_comparison(compare_runs(*runs))
    assert path == runs[0] / "report" / "compare_b & c.html"
    page = path.read_text(encoding="utf-8")
    assert "default-src 'none'" in page and "<script" not in page and "http" not in page.split("</style>")[1]
    assert "&lt;b&gt;new" in page and "<b>new" not in page
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_page_elsewhere_links_to_both_runs(runs: tuple[Path, Path], tmp_path: Path) -> None:
    before = sorted(runs[0].rglob("*"))
    page = write_comparison(compare_runs(*runs), tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    for folder in ("../a", "../b%20%26%20c"):
        assert f'href="{folder}/run.json"' in page
        assert f'href="{folder}/metrics/02_crop_faces.json"' in page
    assert sorted(runs[0].rglob("*")) == before


def test_the_command_ends_with_the_page(runs: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(app, ["compare", *map(str, runs)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].endswith("compare_b & c.html")


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("absent", "a", "does not exist"),
        ("a", "empty", "has no run.json"),
        ("a", "file", "is a file"),
        ("a", "empty/../a", "the same folder"),
        ("a", "other", "no notebook in common"),
    ],
)
def test_the_command_refuses(
    first: str, second: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "a")
    make_run(tmp_path / "other", {"00_videos": {}}, {})
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["compare", first, second])
    assert (result.exit_code, result.stdout) == (1, "")
    assert reason in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "a" / "report").exists() and not list((tmp_path / "empty").iterdir())
