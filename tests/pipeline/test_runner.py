"""The runner: only out-of-date stages run, with reasons; a killed run continues; failures are reported."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from whole_run import request, run, start

from dfdc_lib import staleness
from dfdc_lib.pipeline import runner
from dfdc_lib.pipeline.execution import NotebookError
from dfdc_lib.pipeline.runner import Request, StageError, plan, run_stages
from dfdc_lib.pipeline.stage_table import INSPECT, STAGES
from dfdc_lib.run_folder import PROJECT, open_run

BEFORE_TRAINING = "04"
# Files and folders that depend on when or how fast they were made.
TIMED = {"run.json", ".run.lock", ".stage.lock", ".sample.lock", "notebooks", "report", "sample"}
AFTER_FOLDS = {
    "models",
    "scores",
    "submission.csv",
    "submission_details.csv",
    "calibrations",
    "05",
    "06",
    "07",
    "08",
}  # folders, files, numbers


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file of stages 00-04 that must not depend on when it was made."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if {name.name, name.parts[0]} & TIMED or {name.parts[0], name.name[:2]} & AFTER_FOLDS:
            continue
        if path.is_file():
            hashes[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


@pytest.mark.notebooks
@pytest.mark.slow
def test_counts_add_up_and_the_report_links_every_page(finished: Path) -> None:
    manifest = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    assert {name: entry["status"] for name, entry in manifest["stages"].items()} == {s.name: "done" for s in STAGES}
    assert manifest["stages"]["01_detect_faces"]["parameters"]["FRAME_STRIDE"] == 8
    videos = (finished / "videos.csv").read_text(encoding="utf-8").splitlines()[1:]
    for status in sorted((finished / "status").glob("*.csv")):
        assert len(status.read_text(encoding="utf-8").splitlines()) - 1 == len(videos) == 35, status.name
    index = (finished / "report" / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{stage.name}.html"' in index for stage in STAGES)
    assert not (finished / ".partial").exists()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the tests that change one."""
    return tmp_path_factory.mktemp("runs") / "killed"


def kill_when(folder: Path, place: str, count: int, process_id: int, is_alive: Callable[[], bool]) -> None:
    """Kill a process as soon as a place in its run folder has so many files."""
    while len(list(folder.glob(f"{place}/*"))) < count:
        assert is_alive(), f"the run ended before it had made {count} of {place}"
        time.sleep(0.02)
    os.kill(process_id, signal.SIGKILL)


@pytest.mark.notebooks
@pytest.mark.slow
def test_five_kills_leave_no_trace(finished: Path, sample_root: Path, killed: Path) -> None:
    """SIGKILL at five moments, first of the command line, then the same run: the files of an undisturbed run."""
    command = [sys.executable, "-m", "dfdc_lib.cli", "run", "--data", str(sample_root), "--run", str(killed)]
    command += ["--workers", "1", "--to", BEFORE_TRAINING, "-p", "FRAME_STRIDE=8"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kill_when(killed, "info", 3, process.pid, lambda: process.poll() is None)
    process.wait()
    for place, count in [("boxes", 1), ("boxes", 6), ("crops/*", 20), ("masks/*", 9)]:
        forked = start(request(killed, sample_root, last=BEFORE_TRAINING))
        kill_when(killed, place, count, forked.pid, forked.is_alive)
        forked.join()
    assert run(killed, sample_root, last=BEFORE_TRAINING)
    made = contents(killed)
    assert {name.split("/")[0] for name in made} >= {"boxes", "crops", "masks", "hashes", "info", "status", "folds.csv"}
    assert made == contents(finished)
    assert not (killed / ".partial").exists()


@pytest.mark.notebooks
@pytest.mark.slow
def test_only_what_depends_on_a_change_runs_again(sample_root: Path, killed: Path) -> None:
    """Step by step, each continuing from the last."""
    run(killed, sample_root, last=BEFORE_TRAINING)  # nothing, if the test before this one has run
    steps: list[tuple[dict[str, object], list[str]]] = [
        ({}, []),
        ({"WORKERS": 2}, []),
        ({"FOLD_SEED": 3}, ["04_folds"]),
        ({"FOLD_SEED": 3, "MARGIN": 0.3}, ["02_crop_faces", "03_ssim_masks"]),
    ]
    for changed, stale in steps:
        assert run(killed, sample_root, last=BEFORE_TRAINING, **changed) == stale, changed


# A pipeline of notebooks that do nothing but write what their stage makes ---------------------------------------------
class Pipeline:
    """Stages 00 to 07 with an instant `execute_notebook`; counts what was executed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.executed, self.fails = folder / "run", [], set()
        (folder / "videos").mkdir()
        (folder / "videos" / "a.mp4").write_text("a video")
        self.request = request(self.folder, folder / "videos")
        monkeypatch.setattr(runner, "execute_notebook", self.execute)
        monkeypatch.setattr(runner, "write_report", lambda *_: self.folder / "report" / "index.html")

    def execute(self, notebook: Path, output: Path, parameters: dict) -> None:
        stage = next(stage for stage in STAGES if stage.name == notebook.stem)
        self.executed.append(stage.number)
        if stage.number in self.fails:
            raise NotebookError("ValueError: why")
        opened = open_run(self.folder)
        outcome = "video_id,status,count,note,fingerprint\na,done,1,,0123\n"
        for name in stage.makes:
            content = outcome if name.startswith("status/") else f"made by {stage.name} from {parameters}"
            opened.write_bytes(self.folder / name, content.encode())

    def run(self, **changes: object) -> list[str]:
        """Run a changed request and return the numbers of the executed stages."""
        self.executed.clear()
        run_stages(replace(self.request, **changes))
        return self.executed

    def plan(self, **changes: object) -> dict[str, str]:
        """Return the reasons by stage number."""
        return {stale.stage.number: str(stale).partition(": ")[2] for stale in plan(replace(self.request, **changes))}


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    pipeline = Pipeline(tmp_path, monkeypatch)
    assert pipeline.plan() == {stage.number: "not run yet" for stage in STAGES}
    assert pipeline.run() == [stage.number for stage in STAGES]
    assert (pipeline.plan(), pipeline.run()) == ({}, [])
    return pipeline


def change_module(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make one module of the library look changed."""
    read_module = staleness.read_module

    def changed(path: Path) -> tuple[str, list[Path]]:
        code, imported = read_module(path)
        return (f"changed {code}" if path == PROJECT / "dfdc_lib" / name else code), imported

    monkeypatch.setattr(staleness, "read_module", changed)


def test_a_change_in_the_crop_function(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """02 is named with its reason and its videos, and so is what depends on it, but not 01."""
    change_module(monkeypatch, "faces/crops.py")
    reasons = pipeline.plan()
    assert reasons["02"] == "code changed (faces/crops.py), 1 videos"
    assert "02_crop_faces" in reasons["03"] and "02_crop_faces" in reasons["06"]
    assert not {"00", "01", "04"} & reasons.keys()
    assert pipeline.run()[0] == "02"
    assert pipeline.plan() == {}


def test_a_change_in_planning_code_concerns_no_video(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    change_module(monkeypatch, "faces/box_source.py")
    assert pipeline.plan()["01"] == "code changed (faces/box_source.py)"


@pytest.mark.parametrize("name", ["viz/style.py", "workers.py", "pipeline/runner.py"])
def test_a_change_in_code_that_computes_nothing(name: str, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    change_module(monkeypatch, name)
    assert pipeline.plan() == {}


def test_changed_training_code_keeps_the_model(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    state = pipeline.folder / "models" / "sample" / "state.pt"
    state.parent.mkdir(parents=True)
    state.touch()
    change_module(monkeypatch, "classifier/train.py")
    assert "--force" in pipeline.plan()["06"]
    assert "06" in pipeline.run()
    assert state.exists()


def test_changed_parameters_and_data(pipeline: Pipeline, tmp_path: Path) -> None:
    reasons = pipeline.plan(parameters=pipeline.request.parameters | {"MARGIN": 0.3})
    assert reasons["02"] == "MARGIN changed from 0.2 to 0.3"
    assert "02_crop_faces" in reasons["03"] and "01" not in reasons
    others = {"WORKERS": 7, "EXECUTOR": "inline", "DEVICE": "cpu", "LOADERS": 2, "PROCESSES": 2, "NODES": 2}
    assert pipeline.plan(parameters=pipeline.request.parameters | others) == {}
    (tmp_path / "videos" / "b.mp4").write_text("another video")
    assert pipeline.plan()["00"] == "input changed (data)"


@pytest.mark.parametrize(
    ("name", "stale"),
    [
        ("scores/scoring.json", {"08"}),
        ("scores/roles.csv", {"08"}),
        ("folds.csv", {"06", "07", "08"}),
        ("models/sample/model.json", {"07", "08"}),
        ("models/sample/seen.csv", {"07", "08"}),
    ],
)
def test_evaluation_follows_scores_folds_and_cards(name: str, stale: set[str], pipeline: Pipeline) -> None:
    pipeline.folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
    pipeline.folder.joinpath(name).write_text("changed")
    assert set(pipeline.plan()) == stale


def test_a_missing_result_is_made_again(pipeline: Pipeline) -> None:
    (pipeline.folder / "masks.csv").unlink()
    assert pipeline.plan()["03"].startswith("masks.csv is missing")
    assert pipeline.run() == ["03"]


def test_a_deleted_calibration_is_fitted_again(pipeline: Pipeline) -> None:
    """`save_model` deletes it; weights trained again are often the same, and then nothing else has changed."""
    calibration = pipeline.folder / "calibrations" / "sample.json"
    open_run(pipeline.folder).write_bytes(calibration, b"{}")
    stages = [stage for stage in STAGES if stage.number == "08"]
    assert pipeline.run(stages=stages, force=True) == ["08"]
    assert pipeline.plan() == {}
    calibration.unlink()
    assert pipeline.plan() == {"08": "calibrations/sample.json is missing"}
    assert pipeline.run() == ["08"]
    assert pipeline.plan() == {}  # no calibration this time


def test_force_redoes_exactly_the_named_stages(pipeline: Pipeline) -> None:
    record, other = pipeline.folder / "crops" / "a" / "crops.json", pipeline.folder / "boxes" / "a.json"
    for path in (record, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    stages = [stage for stage in STAGES if stage.number == "02"]
    assert pipeline.plan(stages=stages, force=True) == {"02": "forced"}
    assert pipeline.run(stages=stages, force=True) == ["02"]
    assert (record.exists(), other.exists()) == (False, True)
    assert pipeline.plan() == {}


def test_force_forgets_the_named_model_alone(pipeline: Pipeline) -> None:
    models = {name: pipeline.folder / "models" / name for name in ("a", "b", "[ab]")}
    files = ("state.pt", "history.csv", "model.json")
    stages = [stage for stage in STAGES if stage.number == "06"]
    for name, folder in models.items():
        for path in (other / file for other in models.values() for file in files):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        parameters = pipeline.request.parameters | {"NAME": name}
        assert pipeline.run(stages=stages, force=True, parameters=parameters) == ["06"]
        assert not any((folder / file).exists() for file in files)
        assert all((other / file).exists() for other in models.values() for file in files if other != folder)


@pytest.mark.parametrize("name", ["..", "../../elsewhere"])
def test_force_deletes_nothing_outside_models(pipeline: Pipeline, name: str) -> None:
    outside = pipeline.folder / "models" / name / "model.json"
    outside.parent.mkdir(parents=True, exist_ok=True)
    outside.touch()
    stages = [stage for stage in STAGES if stage.number == "06"]
    with pytest.raises(ValueError, match="name"):
        pipeline.run(stages=stages, force=True, parameters=pipeline.request.parameters | {"NAME": name})
    assert outside.exists()


def test_a_failed_stage_stops_the_run_and_is_repeated(pipeline: Pipeline) -> None:
    pipeline.fails = {"04"}
    changed = pipeline.request.parameters | {"FOLD_SEED": 3}
    with pytest.raises(StageError, match="04_folds") as stopped:
        pipeline.run(parameters=changed)
    assert (stopped.value.reason, pipeline.executed) == ("ValueError: why", ["04"])
    entry = json.loads((pipeline.folder / "run.json").read_text(encoding="utf-8"))["stages"]["04_folds"]
    assert (entry["status"], entry["error"]) == ("failed", "ValueError: why")
    assert "04" in pipeline.plan()  # even with the old parameters
    pipeline.fails = set()
    assert pipeline.run(parameters=changed)[0] == "04"


def test_a_run_killed_within_a_stage_repeats_it(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "execute_notebook", killed)
    stages = [stage for stage in STAGES if stage.number == "02"]
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(stages=stages, force=True)
    assert "02" in pipeline.plan()


def test_a_stage_without_its_inputs_is_refused(tmp_path: Path, sample_root: Path) -> None:
    for call in (plan, run_stages):
        with pytest.raises(FileNotFoundError, match="02_crop_faces needs videos.csv"):
            call(request(tmp_path / "run", sample_root, first="02"))


def test_a_run_folder_belongs_to_one_data_set(pipeline: Pipeline, sample_root: Path) -> None:
    with pytest.raises(ValueError, match="--run"):
        pipeline.run(data=sample_root)


@pytest.mark.notebooks
def test_a_failing_notebook_is_reported(tmp_path: Path) -> None:
    empty = tmp_path / "no videos"
    empty.mkdir()
    with pytest.raises(StageError, match="00_videos"):
        run(tmp_path / "run", empty)
    assert "no video" in (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")


# One video ------------------------------------------------------------------------------------------------------------
class Examination:
    """`dfdc inspect` of a file with a model, with a notebook that only writes its name; counts how often it ran."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.runs, self.reason = folder / "run", 0, ""
        self.video, self.original = folder / "a.mp4", folder / "original.mp4"
        self.model, self.calibration = folder / "x" / "models" / "small", folder / "x" / "calibrations" / "small.json"
        self.values = {"VIDEO": str(self.video), "ORIGINAL": "", "MODELS": [str(self.model)], "WORKERS": 1}
        for path in (self.video, self.original, self.model / "model.json", self.model / "weights.safetensors"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(path.name)
        self.calibration.parent.mkdir()
        monkeypatch.setattr(runner, "execute_notebook", self.execute)

    def execute(self, notebook: Path, output: Path, parameters: dict) -> None:
        self.runs += 1
        output.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=[new_markdown_cell(f"# Words on {parameters['VIDEO']}")]), output)
        if self.reason:
            raise NotebookError(self.reason)
        (self.folder / "inspection.json").write_text("{}")

    def run(self, data: Path | None = None) -> Path:
        return run_stages(Request(self.folder, data or self.video, [INSPECT], self.values, command="dfdc inspect"))


@pytest.fixture
def examination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examination:
    return Examination(tmp_path, monkeypatch)


CHANGES: dict[str, tuple[Callable[[Examination], object], bool]] = {
    "nothing": (lambda it: None, False),
    "workers": (lambda it: it.values.update(WORKERS=2), False),
    "video": (lambda it: it.video.write_text("another"), True),
    "unused original": (lambda it: it.original.write_text("not used"), False),
    "original": (lambda it: it.values.update(ORIGINAL=str(it.original)), True),
    "weights": (lambda it: (it.model / "weights.safetensors").write_text("trained on"), True),
    "card": (lambda it: (it.model / "model.json").write_text("another card"), True),
    "test metrics": (lambda it: (it.model / "test_metrics.json").write_text("{}"), True),
    "calibration": (lambda it: it.calibration.write_text("calibrated since"), True),
    "history": (lambda it: (it.model / "history.csv").write_text("of the training"), False),
    "result": (lambda it: (it.folder / "inspection.json").unlink(), True),
}


@pytest.mark.parametrize(("change", "stale"), CHANGES.values(), ids=CHANGES)
def test_an_examination_is_out_of_date_if_its_inputs_changed(
    change: Callable[[Examination], object], stale: bool, examination: Examination
) -> None:
    page = examination.run()
    assert examination.run() == page == examination.folder / "report" / "index.html"
    assert examination.runs == 1
    change(examination)
    assert examination.run() == page
    assert examination.runs == 1 + stale


def test_an_examination_is_out_of_date_if_an_input_vanished(examination: Examination) -> None:
    examination.calibration.write_text("calibrated")
    examination.run()
    examination.calibration.unlink()
    examination.run()
    assert examination.runs == 2


def test_a_calibration_does_not_affect_predictions(examination: Examination) -> None:
    examination.calibration.write_text("calibrated")
    opened = open_run(examination.folder)
    predict = next(stage for stage in STAGES if stage.name == "07_predict")
    inputs = {s: runner.dependencies(opened, s, examination.values, None).inputs for s in (predict, INSPECT)}
    assert {Path(name).name for name in inputs[predict]} == {"a.mp4", "model.json", "weights.safetensors"}
    assert {Path(name).name for name in inputs[INSPECT]} == {"a.mp4", "model.json", "weights.safetensors", "small.json"}


def test_an_examination_is_one_page_of_one_video(examination: Examination) -> None:
    page = examination.run()
    assert f"Words on {examination.video}" in page.read_text(encoding="utf-8")
    assert list(page.parent.iterdir()) == [page]
    assert json.loads((examination.folder / "run.json").read_text(encoding="utf-8"))["stages"].keys() == {
        "11_inspect_video"
    }
    with pytest.raises(ValueError, match="--run"):
        examination.run(examination.original)


def test_a_failed_examination_shows_its_reason(examination: Examination) -> None:
    examination.reason = "ValueError: no face was found"
    with pytest.raises(StageError, match="11_inspect_video") as stopped:
        examination.run()
    page = examination.folder / "report" / "index.html"
    assert stopped.value.reason == "ValueError: no face was found" and stopped.value.reason in page.read_text(
        encoding="utf-8"
    )
    examination.reason = ""
    examination.run()
    assert examination.runs == 2
    assert "no face was found" not in page.read_text(encoding="utf-8")


def test_scores_from_a_file_need_no_run_before_them(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("video_id,label,m\n")
    asked = Request(tmp_path / "run", file, STAGES[-1:], {"SCORES": str(file)})
    assert [stale.reasons for stale in plan(asked)] == [["not run yet"]]
    with pytest.raises(FileNotFoundError, match="submission.csv"):
        plan(replace(asked, parameters={}))
