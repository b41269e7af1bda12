"""Commands that run notebooks: bad input is refused before anything runs; the rest reaches the runner as typed."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import invoke, refusal
from typer.testing import CliRunner

from dfdc_lib.cli import app
from dfdc_lib.data.video import video_writer
from dfdc_lib.evaluation import load_scores
from dfdc_lib.pipeline import parameters, runner, source, stage_table
from dfdc_lib.pipeline.runner import Request, StageError
from dfdc_lib.records import ModelCard, Recipe, ScoredModel, Scoring, Video
from dfdc_lib.run_folder import open_run

RELEASED = "final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36"
SMALL = ["--model", "trained/models/small"]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Request]:
    """Requests to the runner, which writes a submission and metrics instead of running; with videos and models."""
    made: list[Request] = []

    def run_stages(request: Request) -> Path:
        made.append(request)
        run = open_run(request.run_folder)
        run.write_bytes(run.root / "submission.csv", b"filename,label\nx.mp4,0.5\n")
        run.write_bytes(run.root / "submission_details.csv", b"filename,note\nx.mp4,few faces\n")
        run.write_videos([Video(video_id="x", path=tmp_path / "x.mp4")], {})
        card = ModelCard(name="small", encoder="resnet18", recipe=Recipe(size=64), data=source.BUILT_IN_SAMPLE)
        model = ScoredModel(card=card, fingerprint="", table="")
        run.write_record(run.scoring_path, Scoring(models={"m": model}, videos="all", frames=32, strategy="mean"))
        run.write_metrics("11_inspect_video", {"answer": "inconclusive", "because": "too blurred", "score": 0.875})
        return Path("/report/index.html")

    monkeypatch.setattr(runner, "run_stages", run_stages)
    for module in (stage_table, source):
        monkeypatch.setattr(module, "PROJECT", tmp_path / "project")
    monkeypatch.setenv("DFDC_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    for folder in ("videos", "trained/models/small", "r/models/own", "finished", "sample_run"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a.mp4", "original.mp4"):
        with video_writer(tmp_path / name, (32, 32), 25, {}) as write:
            write(np.zeros((32, 32, 3), np.uint8))
    files = {"a_file.mp4": "", "text.mp4": "no video\n" * 100, "a_list.txt": "a.mp4\n", "empty.txt": ""}
    files |= {"gone.csv": "path\ngone.mp4\n", "finished/run.json": '{"data": "/data/dfdc", "kind": "dfdc"}'}
    files["sample_run/run.json"] = json.dumps({"data": source.BUILT_IN_SAMPLE, "kind": "auto"})
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    return made


@pytest.mark.parametrize(
    ("command", "keyword"),
    [
        ("run --from 7", "00_videos"),
        ("run --to masks", "00_videos"),
        ("run --from 03 --to 01", "--from"),
        ("run -p MARGIN", "NAME=VALUE"),
        ("run -p MARGIN=0.3 -p FRAMESTRIDE=5", "FRAME_STRIDE"),
        ("run --parameter margin=0.3", "MARGIN"),
        ("run -p MARGIN=wide", "float"),
        ("run -p FRAME_STRIDE=2.5", "int"),
        ("run --executor dask", "tcp://"),
        ("run --data a_file.mp4", "is a file"),
        ("run --data absent", "does not exist"),
        ("predict absent", "does not exist"),
        ("predict empty.txt", "empty.txt"),
        ("predict gone.csv", "gone.mp4"),
        ("predict finished", "--run"),
        ("predict videos --model b99", "dfdc weights list"),
        ("predict videos --output videos", "--output"),
        ("predict videos --strategy best", "confident"),
        ("predict videos -p MARGIN=0.3", "MARGIN"),  # of another notebook
        ("predict videos -p MODELS=[]", "MODELS"),  # --model sets it
        ("inspect a.mp4 -p FRAMES=8", "FRAMES"),
        ("inspect absent.mp4", "does not exist"),
        ("inspect videos", "is a folder"),
        ("inspect text.mp4", "text.mp4"),
        ("inspect a_file.mp4", "a_file.mp4"),  # empty
        ("inspect a.mp4 --original gone.mp4", "does not exist"),
        ("inspect a.mp4 --original videos", "is a folder"),
        ("inspect a.mp4 --original text.mp4", "text.mp4"),
        ("inspect a.mp4 --model b99", "dfdc weights list"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    command: str, keyword: str, requests: list[Request], tmp_path: Path
) -> None:
    name, *arguments = command.split()
    before = sorted(tmp_path.iterdir())
    assert keyword in refusal(name, *(SMALL if name != "run" else []), *arguments, "--run", "new")
    assert (requests, sorted(tmp_path.iterdir())) == ([], before)


@pytest.mark.parametrize("command", ["predict", "inspect"])
def test_a_model_is_required(command: str, requests: list[Request]) -> None:
    result = CliRunner().invoke(app, [command, "a.mp4"])
    assert (result.exit_code, requests) == (2, [])
    assert "--model" in result.stderr


@pytest.mark.parametrize(
    ("command", "error", "message"),
    [
        ("run", StageError("03_ssim_masks", "ValueError: why", Path("/x.ipynb")), "03_ssim_masks"),
        ("run", RuntimeError("another process"), "another process"),
        ("run", FileNotFoundError("02 needs videos.csv"), "videos.csv"),
        ("inspect a.mp4 --model own", StageError("11_inspect_video", "ValueError: no face", Path("/x")), "no face"),
        ("inspect a.mp4 --model own", StageError("11_inspect_video", "interrupted", Path("/x")), "interrupted"),
    ],
)
def test_an_error_of_the_runner_is_one_line(
    command: str, error: Exception, message: str, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: Request) -> Path:
        raise error

    monkeypatch.setattr(runner, "run_stages", fail)
    line = refusal(*command.split(), "--run", "r")
    assert message in line
    assert ("11_inspect_video" in line) is False  # the reason alone


ALL_STAGES = [stage.number for stage in stage_table.STAGES]
DEFAULTS = {"KIND": "auto", "WORKERS": 0, "EXECUTOR": "processes", "BACKEND": "auto"}
CLUSTER = {"KIND": "dfdc", "WORKERS": 2, "EXECUTOR": "tcp://node1:8786", "BACKEND": "torch"}
PARAMETERS = {"MARGIN": 0.3, "THRESHOLDS": [0.7, 0.8]}
OPTIONS = "--data videos --kind dfdc --run r --from 01 --to 03 --workers 2 --executor tcp://node1:8786"
OPTIONS += " --backend torch --force"


@pytest.mark.parametrize(
    ("arguments", "folder", "data", "stages", "values"),
    [
        ("", "project/outputs/sample", None, ALL_STAGES, DEFAULTS),
        ("--data videos", "project/outputs/videos", "videos", ALL_STAGES, DEFAULTS),
        (OPTIONS, "r", "videos", ["01", "02", "03"], CLUSTER),
        ("--run r -p MARGIN=0.3 -p 'THRESHOLDS=[0.7, 0.8]' --to 00", "r", None, ["00"], DEFAULTS | PARAMETERS),
    ],
)
def test_run_requests_what_was_typed(
    arguments: str, folder: str, data: str | None, stages: list, values: dict, requests: list[Request], tmp_path: Path
) -> None:
    assert invoke("run", *shlex.split(arguments)) == "report: /report/index.html\n"
    [request] = requests
    assert request.run_folder == tmp_path / folder  # relative to the working directory
    assert request.data == (tmp_path / data if data else None)
    assert [stage.number for stage in request.stages] == stages
    assert (request.parameters, request.force) == (values, "--force" in arguments)
    assert request.command.startswith("dfdc")


def test_scores_of_other_videos_never_replace_the_numbers_of_a_run(
    requests: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_scores, "PROJECT", tmp_path / "project")
    scores = tmp_path / "other.csv"
    scores.write_text("video_id,label,m\na,0,0.2\nb,1,0.9\n")
    for folder, ids in (("project/outputs/sample", ["x", "y"]), ("project/outputs/videos", ["a", "b", "c"])):
        open_run(tmp_path / folder).write_videos([Video(video_id=name, path=Path(name)) for name in ids], {})
    arguments = ["--from", "08", "-p", f"SCORES={scores}"]
    invoke("run", *arguments)
    invoke("run", "--run", "new", *arguments)
    invoke("run", "--data", "videos", *arguments)  # all its videos are videos of that run
    expected = [("project/outputs/scores_other", scores), ("new", scores), ("project/outputs/videos", "videos")]
    made = [(request.run_folder, request.data) for request in requests]
    assert made == [(tmp_path / folder, tmp_path / data) for folder, data in expected]
    assert "--run" in refusal("run", "--run", "project/outputs/sample", *arguments)
    assert "--from 08" in refusal("run", *arguments[2:])
    assert "absent.csv" in refusal("run", "--from", "08", "-p", "SCORES=absent.csv")


def test_dry_run_prints_the_plan_and_runs_nothing(requests: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    plans = iter([[runner.StaleStage(stage_table.STAGES[2], ["code changed (faces/crops.py)"], 68)], []])
    monkeypatch.setattr(runner, "plan", lambda request: next(plans))
    assert invoke("run", "--dry-run") == "02_crop_faces: code changed (faces/crops.py), 68 videos\n"
    assert "up to date" in invoke("run", "--dry-run")
    assert requests == []


def test_every_notebook_parameter_can_be_set() -> None:
    known = stage_table.all_parameters()
    assert {"FRAME_STRIDE", "THRESHOLDS", "MARGIN", "SCHEME", "FOLD_COUNT", "SAMPLE_SEED"} <= set(known)
    assert "RUN" not in known
    assert parameters.parse_assignments(["FOLD_COUNT=3"], known) == {"FOLD_COUNT": 3}


def test_predict_runs_00_and_07_and_copies_the_submission(requests: list[Request], tmp_path: Path) -> None:
    models = [word for name in ("trained/models/small", RELEASED, "own") for word in ("--model", name)]
    arguments = ["predict", "videos", *models, "--run", "r", "--workers", "2", "--output", "new/my.csv"]
    arguments += ["--backend", "openvino", "--executor", "inline"]
    submission = tmp_path / "new" / "my.csv"
    warning, *lines = invoke(*arguments).splitlines()
    details = tmp_path / "new" / "my_details.csv"
    assert "small" in warning and "sample" in warning  # as notebook 11 warns
    assert lines == [f"submission: {submission}", f"what each score rests on: {details}", "report: /report/index.html"]
    assert details.read_text(encoding="utf-8") == "filename,note\nx.mp4,few faces\n"
    assert "(replaced)" in invoke(*arguments)
    request = requests[0]
    # A path starts at the working directory; released checkpoints and the run's models go by name.
    names = [str(tmp_path / "trained/models/small"), RELEASED, "own"]
    values = {"KIND": "auto", "WORKERS": 2, "VIDEOS": "all", "MODELS": names, "STRATEGY": "confident"}
    values |= {"BACKEND": "openvino", "EXECUTOR": "inline"}
    assert request.parameters == values
    assert submission.read_text(encoding="utf-8") == "filename,label\nx.mp4,0.5\n"


def test_predict_and_inspect_set_parameters_of_their_notebooks(requests: list[Request]) -> None:
    invoke("predict", "videos", *SMALL, "--strategy", "mean", "-p", "PRECISION=bfloat16", "-p", "FRAMES=8")
    invoke("inspect", "a.mp4", *SMALL, "-p", "PRECISION=bfloat16")
    scored, examined = (request.parameters for request in requests)
    assert (scored["STRATEGY"], scored["PRECISION"], scored["FRAMES"]) == ("mean", "bfloat16", 8)
    assert examined["PRECISION"] == "bfloat16"


@pytest.mark.parametrize(
    ("videos", "folder", "data", "stages"),
    [
        ("videos/.", "project/outputs/predict_videos", "videos", ["00_videos", "07_predict"]),
        ("a_list.txt", "project/outputs/predict_a_list", "a_list.txt", ["00_videos", "07_predict"]),
        ("finished", "finished", "/data/dfdc", ["07_predict"]),
        ("finished --run finished", "finished", "/data/dfdc", ["07_predict"]),
        ("sample_run", "sample_run", None, ["07_predict"]),
    ],
)
def test_where_predict_works(
    videos: str, folder: str, data: str | None, stages: list[str], requests: list[Request], tmp_path: Path
) -> None:
    invoke("predict", *videos.split(), *SMALL)
    [request] = requests
    assert (request.run_folder, request.data) == (tmp_path / folder, tmp_path / data if data else None)
    assert [stage.name for stage in request.stages] == stages


@pytest.mark.notebooks
@pytest.mark.slow
def test_predict_for_real(sample_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One small video and an untrained model: the second time nothing runs; another model repeats 07 alone."""
    from dfdc_lib.classifier.checkpoints import save_model
    from dfdc_lib.classifier.model import create_model
    from dfdc_lib.records import ModelCard, Recipe

    def write_model(epoch: int) -> None:
        recipe = Recipe(size=64)
        card = ModelCard(name="small", encoder="resnet18", noise=True, recipe=recipe, training={"epoch": epoch})
        save_model(tmp_path / "small", create_model("resnet18", pretrained=False, drop_path=0, noise=True), card)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    shutil.copy(sample_root / "dfdc_train_part_0" / "small_256x192.mp4", tmp_path / "videos")
    write_model(1)
    arguments = ["predict", "videos", "--model", "small", "--run", "r", "--workers", "1"]
    invoke(*arguments)
    header, row = (tmp_path / "submission.csv").read_text(encoding="utf-8").splitlines()
    name, score = row.split(",")
    assert (header.split(",")[0], name) == ("filename", "small_256x192.mp4")
    assert 0 < float(score) < 1 and score != "0.5"
    executed: list[str] = []
    monkeypatch.setattr(runner, "execute_notebook", lambda notebook, *_: executed.append(notebook.stem))
    invoke(*arguments)
    assert executed == []
    write_model(2)
    invoke(*arguments)
    assert executed == ["07_predict"]


def test_inspect_runs_11_with_absolute_paths(requests: list[Request], tmp_path: Path) -> None:
    models = [word for name in ("trained/models/small", "own") for word in ("--model", name)]
    text = invoke("inspect", "a.mp4", *models, "--original", "original.mp4", "--run", "r", "--workers", "2")
    assert text == "a.mp4: inconclusive; score 0.88\nbecause too blurred\npage: /report/index.html\n"
    [request] = requests
    stages = [stage_table.INSPECT]
    assert (request.run_folder, request.data, request.stages) == (tmp_path / "r", tmp_path / "a.mp4", stages)
    assert request.parameters == {
        "VIDEO": str(tmp_path / "a.mp4"),
        "ORIGINAL": str(tmp_path / "original.mp4"),
        "MODELS": [str(tmp_path / "trained/models/small"), "own"],
        "WORKERS": 2,
        "BACKEND": "auto",
    }
    assert set(request.parameters) <= set(parameters.read_parameters(stage_table.INSPECT.notebook))


def test_inspect_has_a_run_folder_of_its_own(requests: list[Request], tmp_path: Path) -> None:
    invoke("inspect", "a.mp4", *SMALL)
    assert requests[0].run_folder == tmp_path / "project" / "outputs" / "inspect_a"
    assert requests[0].parameters["ORIGINAL"] == ""


def test_benchmark_always_runs_12_in_a_folder_of_its_own(requests: list[Request], tmp_path: Path) -> None:
    invoke("benchmark", "-p", "REPEATS=2", "--workers", "1")
    [request] = requests
    assert request.run_folder == tmp_path / "project" / "outputs" / "benchmark_sample"
    assert (request.data, request.stages, request.force) == (None, [stage_table.BENCHMARK], True)
    assert request.parameters == {"MODEL": "", "WORKERS": 1, "REPEATS": 2}
