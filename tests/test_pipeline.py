import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfdc_lib import pipeline
from dfdc_lib.parameters import parse_assignments

FAST = {"FRAME_STRIDE": 8, "WORKERS": 2, "EPOCHS": 1, "ITERATIONS": 2, "BATCH": 4, "FRAMES": 3, "DRAWS": 100}
LAST_WITHOUT_TRAINING = "04"
# What says when and how long, and not what came out.
TIMES = {"run.json", ".doit.db", ".run.lock", ".stage.lock", ".sample.lock"}
TIMED_FOLDERS = {"notebooks", "report", "sample"}
AFTER_FOLDS = {"models", "scores", "submission.csv", "05", "06", "07", "08"}  # what later stages make, by its folder or number


def run(folder: Path, data: Path, first: str = "", last: str = "", **parameters: object) -> list[str]:
    """Run the pipeline and say which notebooks it executed."""
    began = time.time_ns()
    pipeline.run_stages(folder, data, pipeline.choose_stages(first, last), FAST | parameters)
    return sorted(path.stem for path in (folder / "notebooks").glob("*.ipynb") if path.stat().st_mtime_ns > began)


def contents(folder: Path) -> dict[str, str]:
    """Hash every file of stages 00–04 that must not depend on when it was made."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if name.name in TIMES or name.parts[0] in TIMED_FOLDERS or {name.parts[0], name.name[:2]} & AFTER_FOLDS:
            continue
        if path.is_file():
            found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


# Choosing --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("first", "last", "numbers"),
    [("", "04", ["00", "01", "02", "03", "04"]), ("02", "03", ["02", "03"]), ("08", "", ["08"]), ("", "00", ["00"])],
)
def test_choose_stages(first: str, last: str, numbers: list[str]) -> None:
    assert [stage.number for stage in pipeline.choose_stages(first, last)] == numbers


@pytest.mark.parametrize(
    ("first", "last", "message"), [("7", "", "no stage '7'; the stages are 00_videos"), ("03", "01", "no stage lies between")]
)
def test_choose_stages_refuses(first: str, last: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline.choose_stages(first, last)


def test_stage_table_is_in_order_and_complete() -> None:
    names = [stage.name for stage in pipeline.STAGES]
    assert names == sorted(names) == sorted(path.stem for path in pipeline.NOTEBOOKS.glob("*.ipynb"))
    made: set[str] = set()
    for stage in pipeline.STAGES:
        assert set(stage.needs) <= made, f"{stage.name} needs what no earlier stage makes"
        made |= set(stage.makes)


def test_parameters_of_all_notebooks_agree() -> None:
    """One name has one type and one default wherever it stands: `-p` sets it everywhere."""
    known: dict[str, tuple[str, object]] = {}
    for stage in pipeline.STAGES:
        for name, parameter in pipeline.read_parameters(stage.notebook).items():
            agreed = (parameter.type_name, parameter.default)
            assert known.setdefault(name, agreed) == agreed
    assert parse_assignments(["MARGIN=0.3"], pipeline.all_parameters()) == {"MARGIN": 0.3}


# Running ---------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def finished(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which everything has run once."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    executed = run(folder, sample_root)
    assert executed == [stage.name for stage in pipeline.STAGES]
    return folder


@pytest.mark.notebooks
@pytest.mark.slow
def test_counts_add_up_and_the_report_shows_them(finished: Path) -> None:
    manifest = json.loads((finished / "run.json").read_text())
    assert {name: entry["status"] for name, entry in manifest["stages"].items()} == {stage.name: "done" for stage in pipeline.STAGES}
    assert manifest["stages"]["01_detect_faces"]["parameters"]["FRAME_STRIDE"] == 8
    videos = (finished / "videos.csv").read_text().splitlines()[1:]
    for status in sorted((finished / "status").glob("*.csv")):
        assert len(status.read_text().splitlines()) - 1 == len(videos) == 35, status.name
    index = (finished / "report" / "index.html").read_text()
    assert all(f'href="{stage.name}.html"' in index for stage in pipeline.STAGES)
    assert not (finished / ".partial").exists()


@pytest.mark.notebooks
@pytest.mark.slow
def test_five_kills_leave_no_trace(finished: Path, sample_root: Path, tmp_path: Path) -> None:
    """SIGKILL at five different moments, then the same command: the files of an undisturbed run, byte for byte."""
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "dfdc_lib.cli", "run", "--data", str(sample_root), "--run", str(folder), "--workers", "2"]
    command += ["--to", LAST_WITHOUT_TRAINING, "-p", "FRAME_STRIDE=8"]
    # A moment is told by what has been made by then.
    moments = [("info", 3), ("boxes", 1), ("boxes", 6), ("crops/*", 20), ("masks/*", 9)]
    for place, count in moments:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(list(folder.glob(f"{place}/*"))) < count:
            assert process.poll() is None, f"the run ended before it had made {count} of {place}"
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    made = contents(folder)
    assert {name.split("/")[0] for name in made} >= {"boxes", "crops", "masks", "hashes", "info", "status", "crops.parquet", "folds.csv"}
    assert made == contents(finished)
    assert not (folder / ".partial").exists()


@pytest.mark.notebooks
@pytest.mark.slow
def test_only_what_depends_on_a_changed_parameter_runs_again(finished: Path, sample_root: Path) -> None:
    """Step by step, each from where the last one left the run: last of the tests that read it."""
    steps: list[tuple[dict[str, object], list[str]]] = [
        ({}, []),
        ({"WORKERS": 1}, []),
        ({"FOLD_SEED": 3}, ["04_folds"]),
        ({"FOLD_SEED": 3, "MARGIN": 0.3}, ["02_crop_faces", "03_ssim_masks"]),
    ]
    for changed, due in steps:
        assert run(finished, sample_root, last=LAST_WITHOUT_TRAINING, **changed) == due, changed


# Refusing --------------------------------------------------------------------------------------------------------------------------
def test_a_stage_without_what_it_needs_says_so(tmp_path: Path, sample_root: Path) -> None:
    with pytest.raises(FileNotFoundError, match="02_crop_faces needs videos.csv, which is not in .*: run the stages before it first"):
        run(tmp_path / "run", sample_root, first="02")


def test_a_run_folder_holds_one_data_set(tmp_path: Path, sample_root: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"data": "other", "stages": {}}))
    with pytest.raises(ValueError, match="holds a run of other, not of .*: choose another --run"):
        run(folder, sample_root)


@pytest.mark.notebooks
def test_a_notebook_that_stops_is_reported(tmp_path: Path) -> None:
    empty = tmp_path / "no videos"
    empty.mkdir()
    with pytest.raises(pipeline.StageError, match="00_videos stopped: .*no video"):
        run(tmp_path / "run", empty)
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["stages"]["00_videos"]["status"] == "failed"
    assert "no video" in (tmp_path / "run" / "report" / "index.html").read_text()
