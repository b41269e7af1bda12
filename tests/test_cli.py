"""The command line: what is wrong is refused in one line before anything runs, the rest is handed on as it was typed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dfdc_lib import doctor
from dfdc_lib.cli import app
from dfdc_lib.data import sample
from dfdc_lib.data.encode import video_writer
from dfdc_lib.doctor import Finding
from dfdc_lib.pipeline import parameters, runner
from dfdc_lib.run_folder import open_run

ALL_STAGES = " ".join(stage.number for stage in runner.STAGES)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[tuple, dict]]:
    """What the pipeline is asked for, in place of running it."""
    asked: list[tuple[tuple, dict]] = []

    def run_stages(*positional: Any, **named: Any) -> Path:
        asked.append((positional, named))
        return Path("/run/report/index.html")

    monkeypatch.setattr(runner, "run_stages", run_stages)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    (tmp_path / "a_file.mp4").touch()
    return asked


def one_line(arguments: list[str]) -> str:
    """Call `dfdc` with arguments that it refuses, and give its one line."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception  # and not an error that nobody caught
    assert "Traceback" not in result.output
    lines = result.stderr.splitlines()
    assert (len(lines), result.stdout) == (1, "")
    return lines[0]


def test_help_lists_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(
        f" {command} " in result.output for command in ("run", "inspect", "predict", "compare", "sample", "doctor")
    )
    assert CliRunner().invoke(app, []).output.strip() == result.output.strip()  # no command, no guess


@pytest.mark.parametrize(
    "option", ["--data", "--kind", "--run", "--from", "--to", "--parameter", "-p", "--workers", "--force", "NAME=VALUE"]
)
def test_help_of_run_lists_its_options(option: str) -> None:
    assert (
        option
        in CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).output
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--from", "7"], "dfdc: there is no stage '7'; the stages are 00_videos, 01_detect_faces, "),
        (["--to", "masks"], "dfdc: there is no stage 'masks'; the stages are 00_videos, "),
        (["--from", "03", "--to", "01"], "dfdc: no stage lies between 03 and 01: give the earlier number to --from"),
        (["-p", "MARGIN"], "dfdc: a parameter must read NAME=VALUE, got 'MARGIN'"),
        (
            ["-p", "MARGIN=0.3", "-p", "FRAMESTRIDE=5"],
            "dfdc: there is no parameter 'FRAMESTRIDE'; the nearest name is FRAME_STRIDE; all are ",
        ),
        (["--parameter", "margin=0.3"], "dfdc: there is no parameter 'margin'; the nearest name is MARGIN; all are "),
        (["-p", "MARGIN=wide"], "dfdc: MARGIN must be float (fraction of the box's side added on each side; "),
        (["-p", "FRAME_STRIDE=2.5"], "dfdc: FRAME_STRIDE must be int (look at every n-th frame; "),
        (["--data", "a_file.mp4"], "dfdc: --data must be a folder of videos, got a_file.mp4, which is a file"),
        (["--data", "absent"], "dfdc: --data must be a folder of videos, got absent, which is not there"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_runs(
    arguments: list[str], line: str, calls: list, tmp_path: Path
) -> None:
    assert one_line(["run", "--run", "run", *arguments]).startswith(line)
    assert calls == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_file.mp4", "videos"]


def test_a_run_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert (
        one_line(["run", "--run", str(tmp_path / "file")])
        == f"dfdc: the run folder {tmp_path / 'file'} is a file: choose a folder"
    )


@pytest.mark.parametrize(
    "error",
    [
        runner.StageError("03_ssim_masks", "ValueError: why", Path("/run/notebooks/03_ssim_masks.ipynb")),
        RuntimeError("dfdc run: another process is at work in /run; wait, or choose another run folder"),
        FileNotFoundError("02_crop_faces needs videos.csv, which is not in /run"),
        ValueError("/run holds a run of a, not of b"),
    ],
)
def test_what_stops_the_pipeline_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*positional: Any, **named: Any) -> Path:
        raise error

    monkeypatch.setattr(runner, "run_stages", stop)
    assert one_line(["run"]) == f"dfdc: {error}"


@pytest.mark.parametrize(
    ("arguments", "folder", "data", "stages", "values", "force"),
    [
        ([], runner.PROJECT / "outputs" / "sample", None, ALL_STAGES, {"KIND": "auto", "WORKERS": 0}, False),
        (
            ["--data", "videos"],
            runner.PROJECT / "outputs" / "videos",
            "videos",
            ALL_STAGES,
            {"KIND": "auto", "WORKERS": 0},
            False,
        ),
        (
            [
                "--data",
                "videos",
                "--kind",
                "dfdc",
                "--run",
                "r",
                "--from",
                "01",
                "--to",
                "03",
                "--workers",
                "2",
                "--force",
            ],
            "r",
            "videos",
            "01 02 03",
            {"KIND": "dfdc", "WORKERS": 2},
            True,
        ),
        (
            ["--run", "r", "-p", "MARGIN=0.3", "-p", "THRESHOLDS=[0.7, 0.8, 0.8]", "--to", "00"],
            "r",
            None,
            "00",
            {"KIND": "auto", "WORKERS": 0, "MARGIN": 0.3, "THRESHOLDS": [0.7, 0.8, 0.8]},
            False,
        ),
    ],
)
def test_a_run_is_handed_on_as_typed(
    arguments: list[str],
    folder: str | Path,
    data: str | None,
    stages: str,
    values: dict,
    force: bool,
    calls: list,
    tmp_path: Path,
) -> None:
    result = CliRunner().invoke(app, ["run", *arguments])
    assert (result.exit_code, result.stdout) == (0, "report: /run/report/index.html\n")
    [((got_folder, got_data, got_stages, got_values), named)] = calls
    assert got_folder == tmp_path / folder  # relative to where the command was typed
    assert got_data == (tmp_path / data if data else None)
    assert " ".join(stage.number for stage in got_stages) == stages
    assert got_values == values
    assert named["force"] is force
    assert named["command"].startswith("dfdc")


def test_every_parameter_of_every_notebook_can_be_set() -> None:
    known = runner.all_parameters()
    assert {"FRAME_STRIDE", "THRESHOLDS", "MARGIN", "SCHEME", "FOLD_COUNT", "SAMPLE_SEED"} <= set(known)
    assert "RUN" not in known
    assert parameters.parse_assignments(["FOLD_COUNT=3"], known) == {"FOLD_COUNT": 3}


def test_sample_says_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(sample, "make_sample", lambda root, seed: asked.append((root, seed)) or root)
    result = CliRunner().invoke(app, ["sample", str(tmp_path / "s"), "--seed", "3"])
    assert (result.exit_code, result.stdout) == (0, f"sample: {tmp_path / 's'}\n")
    assert asked == [(tmp_path / "s", 3)]


def test_sample_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert one_line(["sample", str(tmp_path)]).startswith("dfdc: ")
    assert one_line(["sample", str(tmp_path / "s"), "--seed", "-1"]).startswith(
        "dfdc: expected seconds >= 0.04, seed >= 0"
    )
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("findings", "code", "output"),
    [
        ([], 0, ""),
        ([Finding("disk", True, "72 GiB free")], 0, "ok    disk: 72 GiB free\n"),
        (
            [Finding("disk", True, "72 GiB free"), Finding("GPU", False, "what to do")],
            1,
            "ok    disk: 72 GiB free\nLOOK  GPU: what to do\n",
        ),
    ],
)
def test_doctor(findings: list[Finding], code: int, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    result = CliRunner().invoke(app, ["doctor"])
    assert (result.exit_code, result.stdout) == (code, output)


def test_the_installed_command_refuses_in_one_line() -> None:
    command = Path(sys.executable).with_name("dfdc")
    if not command.exists():
        pytest.skip(f"{command} is not there: install the project into this environment")
    done = subprocess.run([command, "run", "-p", "MARGIN=wide"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("dfdc: MARGIN must be float")
    assert len(done.stderr.splitlines()) == 1


# predict ---------------------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[tuple, dict]]:
    """What the pipeline is asked for; in place of running, it writes a submission."""
    asked: list[tuple[tuple, dict]] = []

    def run_stages(folder: Path, *positional: Any, **named: Any) -> Path:
        asked.append(((folder, *positional), named))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "submission.csv").write_text("filename,label\nx.mp4,0.5\n")
        return folder / "report" / "index.html"

    monkeypatch.setattr(runner, "run_stages", run_stages)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DFDC_WEIGHTS", str(tmp_path / "weights"))
    for folder in ("videos", "trained/models/small", "r/models/own"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "a_list.txt").touch()
    (tmp_path / "gone.csv").write_text("path\ngone.mp4\n")
    (tmp_path / "finished").mkdir()
    (tmp_path / "finished" / "run.json").write_text('{"data": "/data/dfdc", "kind": "dfdc"}')
    return asked


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["absent", "--model", "trained/models/small"],
            "dfdc: expected a folder of videos, a list of them (.txt, .csv) or a run folder, got absent, which is not there",
        ),
        (
            ["a_list.txt", "--model", "trained/models/small"],
            "dfdc: the list a_list.txt names no video: write one path a line",
        ),
        (
            ["gone.csv", "--model", "trained/models/small"],
            "dfdc: gone.csv names 1 of 1 files that are not there: 'gone.mp4' (line 2); ",
        ),
        (
            ["finished", "--model", "trained/models/small"],
            "dfdc: finished is a run folder, and the scores of its videos go into it: leave ",
        ),
        (
            ["videos", "--model", "b99"],
            "dfdc: there is no model 'b99': give the path of a model folder (outputs/<run>/models/<name>), or ",
        ),
        (["videos", "--model", "trained/models/small", "--model", "x"], "dfdc: there is no model 'x': "),
        (
            ["videos", "--model", "trained/models/small", "--output", "videos"],
            "dfdc: --output must be a file, got videos, which is a folder",
        ),
    ],
)
def test_predict_refuses_before_anything_runs(arguments: list[str], line: str, predicted: list, tmp_path: Path) -> None:
    assert one_line(["predict", "--run", "r", *arguments]).startswith(line)
    assert predicted == []
    assert not (tmp_path / "submission.csv").exists()


def test_predict_without_a_model_is_refused(predicted: list) -> None:
    result = CliRunner().invoke(app, ["predict", "videos"])
    assert result.exit_code == 2
    assert "--model" in result.stderr
    assert predicted == []


def test_predict_runs_00_and_07_on_all_videos_and_copies_the_submission(predicted: list, tmp_path: Path) -> None:
    released = "final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36"
    models = [part for name in ("trained/models/small", released, "own") for part in ("--model", name)]
    result = CliRunner().invoke(app, ["predict", "videos", *models, "--run", "r", "--workers", "2"])
    submission, report = tmp_path / "submission.csv", tmp_path / "r" / "report" / "index.html"
    assert (result.exit_code, result.stdout) == (0, f"submission: {submission}\nreport: {report}\n")
    [((folder, data, stages, values), named)] = predicted
    assert (folder, data) == (tmp_path / "r", tmp_path / "videos")
    assert [stage.name for stage in stages] == ["00_videos", "07_predict"]
    # A path starts where the command was typed; a released checkpoint and the run's own model go by their names.
    assert values == {
        "KIND": "auto",
        "WORKERS": 2,
        "VIDEOS": "all",
        "MODELS": [str(tmp_path / "trained/models/small"), released, "own"],
    }
    assert named["command"].startswith("dfdc")
    assert submission.read_text() == "filename,label\nx.mp4,0.5\n"


def test_predict_says_what_it_replaces_and_makes_the_outputs_folder(predicted: list, tmp_path: Path) -> None:
    arguments = ["predict", "videos", "--model", "trained/models/small", "--run", "r", "--output", "new/my.csv"]
    assert CliRunner().invoke(app, arguments).stdout.startswith(f"submission: {tmp_path / 'new' / 'my.csv'}\n")
    assert (
        CliRunner().invoke(app, arguments).stdout.startswith(f"submission: {tmp_path / 'new' / 'my.csv'} (replaced)\n")
    )


def test_predict_has_a_run_folder_of_its_own(predicted: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runner, "PROJECT", tmp_path / "project")
    CliRunner().invoke(app, ["predict", "videos/.", "--model", "trained/models/small"])
    [((folder, *_), _)] = predicted
    assert folder == tmp_path / "project" / "outputs" / "predict_videos"


def test_predict_takes_a_list(predicted: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runner, "PROJECT", tmp_path / "project")
    (tmp_path / "videos" / "a.mp4").touch()
    (tmp_path / "a_list.txt").write_text("videos/a.mp4\n")
    assert CliRunner().invoke(app, ["predict", "a_list.txt", "--model", "trained/models/small"]).exit_code == 0
    [((folder, data, stages, _), _)] = predicted
    assert (folder, data) == (tmp_path / "project" / "outputs" / "predict_a_list", tmp_path / "a_list.txt")
    assert [stage.name for stage in stages] == ["00_videos", "07_predict"]


@pytest.mark.parametrize("run_option", [[], ["--run", "finished"]])
@pytest.mark.parametrize(("source", "data"), [("/data/dfdc", Path("/data/dfdc")), (runner.BUILT_IN_SAMPLE, None)])
def test_predict_of_a_run_folder_runs_07_in_it(
    source: str, data: Path | None, run_option: list[str], predicted: list, tmp_path: Path
) -> None:
    (tmp_path / "finished" / "run.json").write_text(json.dumps({"data": source, "kind": "dfdc"}))
    assert (
        CliRunner().invoke(app, ["predict", "finished", "--model", "trained/models/small", *run_option]).exit_code == 0
    )
    [((folder, known_data, stages, values), _)] = predicted
    assert (folder, known_data, values["KIND"], values["VIDEOS"]) == (tmp_path / "finished", data, "dfdc", "all")
    assert [stage.name for stage in stages] == ["07_predict"]


@pytest.mark.notebooks
@pytest.mark.slow
def test_predict_for_real(sample_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small video and an untrained model; again: nothing runs; another model under the same path: 07 alone runs."""
    from dfdc_lib.classifier.checkpoints import save_model
    from dfdc_lib.classifier.model import create_model
    from dfdc_lib.records import ModelCard, Recipe

    def write_model(epoch: int) -> None:
        card = ModelCard(
            name="small", encoder="resnet18", noise=True, recipe=Recipe(size=64), training={"epoch": epoch}
        )
        save_model(tmp_path / "small", create_model("resnet18", pretrained=False, drop_path=0, noise=True), card)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    shutil.copy(sample_root / "dfdc_train_part_0" / "small_256x192.mp4", tmp_path / "videos")
    write_model(1)
    arguments = ["predict", "videos", "--model", "small", "--run", "r", "--workers", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    first, second = (tmp_path / "submission.csv").read_text().splitlines()
    name, score = second.split(",")
    assert (first.split(",")[0], name) == ("filename", "small_256x192.mp4")
    assert 0 < float(score) < 1 and score != "0.5"
    executed: list[str] = []
    monkeypatch.setattr(runner, "execute_notebook", lambda notebook, *_: executed.append(notebook.stem))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert executed == []
    write_model(2)
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert executed == ["07_predict"]


# inspect ---------------------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def inspected(calls: list, tmp_path: Path) -> list[tuple[tuple, dict]]:
    """What the pipeline is asked for; two videos and a model are there."""
    for name in ("a.mp4", "original.mp4"):
        with video_writer(tmp_path / name, (32, 32), 25, {}) as write:
            write(np.zeros((32, 32, 3), np.uint8))
    for folder in ("trained/models/small", "r/models/own"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "text.mp4").write_bytes(b"no video\n" * 100)
    for folder in ("r", "project/outputs/inspect_a"):
        found = {"answer": "inconclusive", "because": "too blurred", "score": 0.875}
        open_run(tmp_path / folder).write_metrics("11_inspect_video", found)
    return calls


SMALL = ["--model", "trained/models/small"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["absent.mp4", *SMALL], "dfdc: expected a video file, got absent.mp4, which is not there"),
        (["videos", *SMALL], "dfdc: expected a video file, got videos, which is a folder"),
        (["text.mp4", *SMALL], "dfdc: text.mp4 is not readable as a video: "),
        (["a_file.mp4", *SMALL], "dfdc: a_file.mp4 is not readable as a video: "),  # empty
        (["a.mp4", *SMALL, "--original", "gone.mp4"], "dfdc: expected a video file, got gone.mp4, which is not there"),
        (["a.mp4", *SMALL, "--original", "videos"], "dfdc: expected a video file, got videos, which is a folder"),
        (["a.mp4", *SMALL, "--original", "text.mp4"], "dfdc: text.mp4 is not readable as a video: "),
        (
            ["a.mp4", "--model", "b99"],
            "dfdc: there is no model 'b99': give the path of a model folder (outputs/<run>/models/<name>), or ",
        ),
        (["a.mp4", *SMALL, "--model", "x"], "dfdc: there is no model 'x': "),
    ],
)
def test_inspect_refuses_before_anything_runs(arguments: list[str], line: str, inspected: list, tmp_path: Path) -> None:
    assert one_line(["inspect", *arguments, "--run", "new"]).startswith(line)
    assert inspected == []
    assert not (tmp_path / "new").exists()


def test_inspect_without_a_model_is_refused(inspected: list) -> None:
    result = CliRunner().invoke(app, ["inspect", "a.mp4"])
    assert result.exit_code == 2
    assert "--model" in result.stderr
    assert inspected == []


def test_inspect_runs_11_with_absolute_paths(inspected: list, tmp_path: Path) -> None:
    models = [part for name in ("trained/models/small", "own") for part in ("--model", name)]
    result = CliRunner().invoke(
        app, ["inspect", "a.mp4", *models, "--original", "original.mp4", "--run", "r", "--workers", "2"]
    )
    assert (result.exit_code, result.stdout) == (
        0,
        "a.mp4: inconclusive; score 0.88\nbecause too blurred\npage: /run/report/index.html\n",
    )
    [((folder, data, stages, values), named)] = inspected
    assert (folder, data, stages) == (tmp_path / "r", tmp_path / "a.mp4", [runner.INSPECT])
    assert values == {
        "VIDEO": str(tmp_path / "a.mp4"),
        "ORIGINAL": str(tmp_path / "original.mp4"),
        "MODELS": [str(tmp_path / "trained/models/small"), "own"],
        "WORKERS": 2,
    }
    assert set(values) <= set(runner.read_parameters(runner.INSPECT.notebook))
    assert named["command"].startswith("dfdc")


def test_inspect_has_a_run_folder_of_its_own(inspected: list, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runner, "PROJECT", tmp_path / "project")
    CliRunner().invoke(app, ["inspect", "a.mp4", *SMALL])
    [((folder, _, _, values), _)] = inspected
    assert folder == tmp_path / "project" / "outputs" / "inspect_a"
    assert values["ORIGINAL"] == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            runner.StageError(
                "11_inspect_video", "ValueError: no face was found: there is nothing to judge", Path("/x.ipynb")
            ),
            "dfdc: no face was found: there is nothing to judge",
        ),
        (runner.StageError("11_inspect_video", "interrupted", Path("/x.ipynb")), "dfdc: interrupted"),
        (ValueError("/run holds a run of a, not of b"), "dfdc: /run holds a run of a, not of b"),
        (
            RuntimeError("dfdc run: another process is at work in /run"),
            "dfdc: dfdc run: another process is at work in /run",
        ),
    ],
)
def test_inspect_that_stops_says_the_reason_alone(
    error: Exception, line: str, inspected: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*positional: Any, **named: Any) -> Path:
        raise error

    monkeypatch.setattr(runner, "run_stages", stop)
    assert one_line(["inspect", "a.mp4", *SMALL]) == line
