import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from whole_run import run

from dfdc_lib.pipeline import runner
from dfdc_lib.pipeline.due import NotebookError
from dfdc_lib.pipeline.parameters import parse_assignments
from dfdc_lib.run_folder import open_run

LAST_WITHOUT_TRAINING = "04"
# What says when and how long, and not what came out.
TIMES = {"run.json", ".doit.db", ".run.lock", ".stage.lock", ".sample.lock"}
TIMED_FOLDERS = {"notebooks", "report", "sample"}
AFTER_FOLDS = {
    "models",
    "scores",
    "submission.csv",
    "05",
    "06",
    "07",
    "08",
}  # what later stages make, by its folder or number


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
    assert [stage.number for stage in runner.choose_stages(first, last)] == numbers


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [("7", "", "no stage '7'; the stages are 00_videos"), ("03", "01", "no stage lies between")],
)
def test_choose_stages_refuses(first: str, last: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runner.choose_stages(first, last)


def test_stage_table_is_in_order_and_complete() -> None:
    names = [stage.name for stage in (*runner.STAGES, runner.INSPECT)]
    assert names == sorted(names) == sorted(path.stem for path in runner.NOTEBOOKS.glob("*.ipynb"))
    made: set[str] = set()
    for stage in runner.STAGES:
        assert set(stage.needs) <= made, f"{stage.name} needs what no earlier stage makes"
        made |= set(stage.makes)


def test_parameters_of_all_notebooks_agree() -> None:
    """One name has one type and one default wherever it stands: `-p` sets it everywhere."""
    known: dict[str, tuple[str, object]] = {}
    for stage in runner.STAGES:
        for name, parameter in runner.read_parameters(stage.notebook).items():
            agreed = (parameter.type_name, parameter.default)
            assert known.setdefault(name, agreed) == agreed
    assert parse_assignments(["MARGIN=0.3"], runner.all_parameters()) == {"MARGIN": 0.3}


# Running ---------------------------------------------------------------------------------------------------------------------------
@pytest.mark.notebooks
@pytest.mark.slow
def test_counts_add_up_and_the_report_shows_them(finished: Path) -> None:
    manifest = json.loads((finished / "run.json").read_text())
    assert {name: entry["status"] for name, entry in manifest["stages"].items()} == {
        stage.name: "done" for stage in runner.STAGES
    }
    assert manifest["stages"]["01_detect_faces"]["parameters"]["FRAME_STRIDE"] == 8
    videos = (finished / "videos.csv").read_text().splitlines()[1:]
    for status in sorted((finished / "status").glob("*.csv")):
        assert len(status.read_text().splitlines()) - 1 == len(videos) == 35, status.name
    index = (finished / "report" / "index.html").read_text()
    assert all(f'href="{stage.name}.html"' in index for stage in runner.STAGES)
    assert not (finished / ".partial").exists()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the two tests that change one."""
    return tmp_path_factory.mktemp("runs") / "killed"


@pytest.mark.notebooks
@pytest.mark.slow
def test_five_kills_leave_no_trace(finished: Path, sample_root: Path, killed: Path) -> None:
    """SIGKILL at five different moments, then the same command: the files of an undisturbed run, byte for byte."""
    folder = killed
    command = [
        sys.executable,
        "-m",
        "dfdc_lib.cli",
        "run",
        "--data",
        str(sample_root),
        "--run",
        str(folder),
        "--workers",
        "1",
    ]
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
    assert {name.split("/")[0] for name in made} >= {
        "boxes",
        "crops",
        "masks",
        "hashes",
        "info",
        "status",
        "crops.parquet",
        "folds.csv",
    }
    assert made == contents(finished)
    assert not (folder / ".partial").exists()


@pytest.mark.notebooks
@pytest.mark.slow
def test_only_what_depends_on_a_changed_parameter_runs_again(sample_root: Path, killed: Path) -> None:
    """Step by step, each from where the last one left the run."""
    run(killed, sample_root, last=LAST_WITHOUT_TRAINING)  # nothing, where the test before this one was run
    steps: list[tuple[dict[str, object], list[str]]] = [
        ({}, []),
        ({"WORKERS": 2}, []),
        ({"FOLD_SEED": 3}, ["04_folds"]),
        ({"FOLD_SEED": 3, "MARGIN": 0.3}, ["02_crop_faces", "03_ssim_masks"]),
    ]
    for changed, due in steps:
        assert run(killed, sample_root, last=LAST_WITHOUT_TRAINING, **changed) == due, changed


# One video -------------------------------------------------------------------------------------------------------------------------
class Examination:
    """`dfdc inspect` of a file with a model, with a notebook that only writes its name; counts how often it ran."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.runs, self.reason = folder / "run", 0, ""
        self.video, self.original, self.model = (folder / name for name in ("a.mp4", "original.mp4", "small"))
        self.values = {"VIDEO": str(self.video), "ORIGINAL": "", "MODELS": [str(self.model)], "WORKERS": 1}
        self.video.write_text("a video")
        self.original.write_text("its original")
        self.model.mkdir()
        for name in ("model.json", "weights.safetensors"):
            (self.model / name).write_text(name)
        monkeypatch.setattr(runner, "execute_notebook", self.execute)

    def execute(self, notebook: Path, output: Path, parameters: dict) -> None:
        self.runs += 1
        output.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=[new_markdown_cell(f"# Words on {parameters['VIDEO']}")]), output)
        if self.reason:
            raise NotebookError(self.reason)
        (self.folder / "inspection.json").write_text("{}")

    def run(self) -> Path:
        return runner.run_stages(self.folder, self.video, [runner.INSPECT], self.values, command="dfdc inspect")


@pytest.fixture
def examination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examination:
    return Examination(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("change", "due"),
    [
        (lambda it: None, False),
        (lambda it: it.values.update(WORKERS=2), False),
        (lambda it: it.video.write_text("another"), True),
        (lambda it: it.original.write_text("not used"), False),
        (lambda it: it.values.update(ORIGINAL=str(it.original)), True),
        (lambda it: (it.model / "weights.safetensors").write_text("trained on"), True),
        (lambda it: (it.model / "model.json").write_text("another card"), True),
        (lambda it: (it.model / "calibration.json").write_text("calibrated since"), True),
        (lambda it: (it.model / "history.csv").write_text("of the training"), False),
        (lambda it: (it.folder / "inspection.json").unlink(), True),
    ],
    ids=[
        "nothing",
        "workers",
        "video",
        "original-unused",
        "original-given",
        "weights",
        "card",
        "calibration",
        "history",
        "result",
    ],
)
def test_an_examination_is_due_when_what_it_looks_at_changed(
    change: Callable, due: bool, examination: Examination
) -> None:
    page = examination.run()
    assert examination.run() == page == examination.folder / "report" / "index.html"
    assert examination.runs == 1
    change(examination)
    assert examination.run() == page
    assert examination.runs == 1 + due


@pytest.mark.parametrize(
    "change",
    [lambda it: it.original.write_text("another cut"), lambda it: (it.model / "calibration.json").unlink()],
    ids=["original", "calibration"],
)
def test_an_examination_is_due_when_what_it_used_changed(change: Callable, examination: Examination) -> None:
    examination.values["ORIGINAL"] = str(examination.original)
    (examination.model / "calibration.json").write_text("calibrated")
    examination.run()
    change(examination)
    examination.run()
    assert examination.runs == 2


def test_a_calibration_makes_no_prediction_due(tmp_path: Path) -> None:
    """Scores do not depend on it."""
    run_folder = open_run(tmp_path / "run")
    (run_folder.root / "models" / "m").mkdir(parents=True)
    for name in ("model.json", "calibration.json"):
        (run_folder.root / "models" / "m" / name).write_text("{}")
    [predict] = runner.choose_stages("07", "07")
    used = {stage.name: runner._used_files(run_folder, stage, {"MODELS": ["m"]}) for stage in (predict, runner.INSPECT)}
    assert {name: [path.name for path in paths] for name, paths in used.items()} == {
        "07_predict": ["model.json"],
        "11_inspect_video": ["model.json", "calibration.json"],
    }


def test_an_examination_is_one_page(examination: Examination) -> None:
    page = examination.run().read_text()
    assert f"Words on {examination.video}" in page
    assert [path.name for path in (examination.folder / "report").iterdir()] == ["index.html"]
    assert json.loads((examination.folder / "run.json").read_text())["stages"].keys() == {"11_inspect_video"}


def test_a_folder_holds_the_examination_of_one_video(examination: Examination) -> None:
    examination.run()
    with pytest.raises(ValueError, match="run holds a run of .*a.mp4, not of .*original.mp4: choose another --run"):
        runner.run_stages(examination.folder, examination.original, [runner.INSPECT], examination.values)


def test_an_examination_that_stops_gives_its_reason_and_its_page(examination: Examination) -> None:
    examination.reason = "ValueError: no face was found"
    with pytest.raises(
        runner.StageError, match="11_inspect_video stopped: ValueError: no face was found; the notebook as far"
    ) as stopped:
        examination.run()
    assert stopped.value.reason == "ValueError: no face was found"
    assert "ValueError: no face was found" in (examination.folder / "report" / "index.html").read_text()
    examination.reason = ""
    examination.run()  # it stayed due
    assert examination.runs == 2
    assert "no face was found" not in (examination.folder / "report" / "index.html").read_text()


# Refusing --------------------------------------------------------------------------------------------------------------------------
def test_a_stage_without_what_it_needs_says_so(tmp_path: Path, sample_root: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match="02_crop_faces needs videos.csv, which is not in .*: run the stages before it first"
    ):
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
    with pytest.raises(runner.StageError, match="00_videos stopped: .*no video"):
        run(tmp_path / "run", empty)
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert manifest["stages"]["00_videos"]["status"] == "failed"
    assert "no video" in (tmp_path / "run" / "report" / "index.html").read_text()
