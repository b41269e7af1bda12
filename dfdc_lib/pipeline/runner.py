"""The stage table, and the way from it to executed notebooks and a report.

A stage is due (`due.run_if_due`) when its notebook's code, its parameters, the library or a file it needs has changed since it last
succeeded in this run folder; nothing changed, nothing runs. All state lies in the run folder.
"""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dfdc_lib
from dfdc_lib.data.video_list import is_video_list, read_video_list
from dfdc_lib.pipeline.due import (
    NotebookError,
    code_fingerprint,
    execute_notebook,
    files_fingerprint,
    folder_fingerprint,
    run_if_due,
)
from dfdc_lib.pipeline.parameters import Parameter, read_parameters
from dfdc_lib.pipeline.report import write_page, write_report
from dfdc_lib.records import BUILT_IN_SAMPLE
from dfdc_lib.run_folder import PROJECT, Run, open_run, project_path

NOTEBOOKS = PROJECT / "notebooks"
OPTIONS = {"RUN", "DATA", "KIND", "WORKERS"}  # parameters that have an option of their own
# Change how a stage is computed, not what comes out: a stage does not depend on them.
SPEED_PARAMETERS = {"WORKERS", "DEVICE"}
STATES = {  # what a stage goes on from, by its number
    "00": "info/*.json",
    "01": "boxes/*.json",
    "02": "crops/*/crops.json",
    "03": "masks/*/masks.json",
    "04": "hashes/*.json",
    "06": "models/*/state.pt",
    "07": "scores/*/*.json",
}
REPORTED_PACKAGES = (
    "torch",
    "torchvision",
    "facenet-pytorch",
    "albumentations",
    "av",
    "opencv-python",
    "scikit-image",
    "numpy",
    "papermill",
)


@dataclass(frozen=True)
class Stage:
    """One notebook, the files of the run folder it needs, those it makes, and those it uses where they are there."""

    name: str
    title: str
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    uses: tuple[str, ...] = ()
    model_parts: tuple[str, ...] = ()  # files of its models that it reads beside card and weights

    @property
    def number(self) -> str:
        """Give "03" of "03_ssim_masks"."""
        return self.name[:2]

    @property
    def notebook(self) -> Path:
        """Say where the notebook lies."""
        return NOTEBOOKS / f"{self.name}.ipynb"


STAGES = (
    Stage("00_videos", "Videos", (), ("videos.csv", "status/00_videos.csv")),
    Stage("01_detect_faces", "Detect faces", ("videos.csv", "status/00_videos.csv"), ("status/01_detect_faces.csv",)),
    Stage(
        "02_crop_faces",
        "Crop faces",
        ("videos.csv", "status/01_detect_faces.csv"),
        ("crops.parquet", "status/02_crop_faces.csv"),
    ),
    Stage(
        "03_ssim_masks",
        "SSIM masks",
        ("videos.csv", "status/02_crop_faces.csv"),
        ("masks.csv", "status/03_ssim_masks.csv"),
    ),
    Stage("04_folds", "Folds", ("videos.csv", "status/00_videos.csv"), ("folds.csv", "leaks.csv")),
    Stage(
        "05_augmentation_preview",
        "Augmentation preview",
        ("crops.parquet", "masks.csv"),
        ("metrics/05_augmentation_preview.json",),
    ),
    Stage("06_train", "Train", ("crops.parquet", "masks.csv", "folds.csv"), ("metrics/06_train.json",)),
    Stage("07_predict", "Predict", ("videos.csv",), ("submission.csv", "status/07_predict.csv"), uses=("folds.csv",)),
    Stage(
        "08_averaging_strategies",
        "Averaging strategies",
        ("submission.csv",),
        ("metrics/08_averaging_strategies.json",),
    ),
)


# Beside the stages of a run: one video, in a run folder of its own.
INSPECT = Stage("11_inspect_video", "Inspect a video", (), ("inspection.json",), model_parts=("calibration.json",))


class StageError(RuntimeError):
    """A notebook stopped; the message says which, and with what; `reason` is the error alone."""

    def __init__(self, stage: str, reason: str, notebook: Path) -> None:
        super().__init__(f"{stage} stopped: {reason}; the notebook as far as it came: {notebook}")
        self.reason = reason


def choose_stages(first: str = "", last: str = "") -> list[Stage]:
    """Choose the stages from number `first` to number `last`; "" = from the beginning, to the end.

    Raises:
        ValueError: for a number that no stage has, or an empty range.
    """
    numbers = [stage.number for stage in STAGES]
    for number in (first, last):
        if number and number not in numbers:
            raise ValueError(
                f"there is no stage {number!r}; the stages are {', '.join(stage.name for stage in STAGES)}"
            )
    chosen = [stage for stage in STAGES if (not first or stage.number >= first) and (not last or stage.number <= last)]
    if not chosen:
        raise ValueError(f"no stage lies between {first} and {last}: give the earlier number to --from")
    return chosen


def all_parameters() -> dict[str, Parameter]:
    """Gather what `-p` may set; RUN, DATA, KIND and WORKERS have options of their own."""
    return {
        name: found
        for stage in STAGES
        for name, found in read_parameters(stage.notebook).items()
        if name not in OPTIONS
    }


@dataclass(frozen=True)
class Source:
    """Whose videos are to be scored: in which run folder, from which data, by which stages."""

    run_folder: Path
    data: Path | None  # None = the built-in sample
    kind: str
    stages: tuple[Stage, ...]


def choose_source(videos: Path, run_folder: Path | None) -> Source:
    """Say what it takes to score videos.

    Args:
        videos: folder of videos, list of them (see `video_list`), or run folder: one that has a run.json.
        run_folder: None = `outputs/predict_<name>`, or `videos` if that is a run folder.
    Returns:
        Notebooks 00 and 07; of a run folder only 07, in that folder itself.
    Raises:
        FileNotFoundError: if there is nothing at `videos`, it is another file, or a listed video is not there.
        ValueError: if a list is not as it should be, or `run_folder` is another folder than the run folder whose videos are wanted.
    """
    manifest_path = videos / "run.json"
    predict = tuple(stage for stage in STAGES if stage.name == "07_predict")
    if manifest_path.exists():
        if run_folder and run_folder.resolve() != videos.resolve():
            raise ValueError(
                f"{videos} is a run folder, and the scores of its videos go into it: leave out --run {run_folder}"
            )
        manifest = json.loads(manifest_path.read_bytes())
        data = None if manifest["data"] == BUILT_IN_SAMPLE else Path(manifest["data"])
        return Source(videos.resolve(), data, manifest["kind"], predict)
    if is_video_list(videos):
        read_video_list(videos)
    elif not videos.is_dir():
        found = "a file" if videos.exists() else "not there"
        raise FileNotFoundError(
            f"expected a folder of videos, a list of them (.txt, .csv) or a run folder, got {videos}, which is {found}"
        )
    name = videos.resolve().stem if videos.is_file() else videos.resolve().name
    target = (run_folder or PROJECT / "outputs" / f"predict_{name}").resolve()
    return Source(target, videos.resolve(), "auto", (STAGES[0], *predict))


def run_stages(
    run_folder: Path,
    data: Path | None,
    stages: Sequence[Stage],
    parameters: Mapping[str, Any],
    *,
    force: bool = False,
    command: str = "",
) -> Path:
    """Bring a run folder up to date.

    Args:
        run_folder: made if absent.
        data: folder of videos, or a list of them; None = the built-in sample.
        stages: in order.
        parameters: name → value, checked by `parse_assignments`; a notebook gets those it has.
        force: run the stages even if nothing changed, from scratch.
        command: what the user typed, for the manifest.
    Returns:
        The report's index page.
    Raises:
        StageError: if a notebook stopped; the report is written all the same.
        ValueError, FileNotFoundError: before anything runs.
        RuntimeError: if another process works in this run folder.
    """
    run = open_run(run_folder)
    source = str(data) if data else BUILT_IN_SAMPLE
    with run.lock("run", "dfdc run"):
        run.remove_partial()
        manifest = _open_manifest(run, source, str(parameters.get("KIND", "auto")), command)
        if force:
            _forget(run, stages)
        settings = dict(parameters) | {"RUN": str(run.root), "DATA": str(data or "")}
        began, ran = time.monotonic(), []
        error: StageError | None = None
        for stage in stages:
            own = {name: settings.get(name, known.default) for name, known in read_parameters(stage.notebook).items()}
            try:
                if _bring_up_to_date(run, stage, own, data, manifest):
                    ran.append(stage)
                    print(f"{stage.name}: done in {manifest['stages'][stage.name]['seconds']:.1f} s", file=sys.stderr)
                else:
                    print(f"{stage.name}: unchanged", file=sys.stderr)
            except StageError as stopped:
                ran.append(stage)
                error = stopped
                break
        index = run.root / "report" / "index.html"
        if ran or not index.exists():
            manifest["seconds"] = round(time.monotonic() - began, 1)
            run.write_json(run.root / "run.json", manifest)
            index = (
                write_page(run, INSPECT.name)
                if stages == [INSPECT]
                else write_report(run, [stage.name for stage in STAGES])
            )
        run.remove_partial()
    if error:
        raise error
    return index


def _open_manifest(run: Run, source: str, kind: str, command: str) -> dict[str, Any]:
    """Continue the manifest of this run folder, or begin it."""
    path = run.root / "run.json"
    manifest = json.loads(path.read_bytes()) if path.exists() else {"stages": {}}
    if manifest.get("data", source) != source:
        raise ValueError(
            f"{run.root} holds a run of {manifest['data']}, not of {source}: choose another --run, or delete that folder"
        )
    git = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    manifest |= {
        "kit_version": dfdc_lib.__version__,
        "commit": git.stdout.strip(),
        "data": source,
        "kind": kind,
        "command": command,
        "started": _now(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in REPORTED_PACKAGES},
    }
    return manifest


def _forget(run: Run, stages: Sequence[Stage]) -> None:
    """Make these stages due, and what they would go on from."""
    (run.root / ".doit.db").unlink(missing_ok=True)
    for stage in stages:
        for record in run.root.glob(STATES[stage.number]) if stage.number in STATES else ():
            record.unlink()


def _bring_up_to_date(
    run: Run, stage: Stage, parameters: dict[str, Any], data: Path | None, manifest: dict[str, Any]
) -> bool:
    """Run a stage if it is due; say whether it was."""
    for name in stage.needs:
        if not (run.root / name).exists():
            raise FileNotFoundError(
                f"{stage.name} needs {name}, which is not in {run.root}: run the stages before it first (leave out --from)"
            )
    ran = run_if_due(
        stage.name,
        lambda: _execute(run, stage, parameters, manifest),
        run.root / ".doit.db",
        depends_on={
            "parameters": {name: value for name, value in parameters.items() if name not in SPEED_PARAMETERS},
            "code": code_fingerprint(stage.notebook),
            "data": _data_fingerprint(data) if data and not stage.needs else "",
        },
        needs=[*(run.root / name for name in stage.needs), *_used_files(run, stage, parameters)],
        makes=[run.root / name for name in stage.makes],
    )
    failure = manifest["stages"].get(stage.name, {}).get("error") if ran else ""
    if failure:
        raise StageError(stage.name, failure, run.notebook_path(stage.name))
    return ran


def _data_fingerprint(data: Path) -> str:
    return files_fingerprint([data, *read_video_list(data)]) if is_video_list(data) else folder_fingerprint(data)


def _used_files(run: Run, stage: Stage, parameters: Mapping[str, Any]) -> list[Path]:
    """List what there is of the files that a stage uses: those it names, and those in its parameters MODELS, VIDEO and ORIGINAL."""
    models = [
        place for name in parameters.get("MODELS", []) for place in (run.root / "models" / name, project_path(name))
    ]
    parts = [folder / part for folder in models for part in ("model.json", "weights.safetensors", *stage.model_parts)]
    given = [project_path(parameters[name]) for name in ("VIDEO", "ORIGINAL") if parameters.get(name)]
    return [
        path
        for path in dict.fromkeys([*(run.root / name for name in stage.uses), *models, *parts, *given])
        if path.is_file()
    ]


def _execute(run: Run, stage: Stage, parameters: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Run the notebook and write in the manifest how it went."""
    entry: dict[str, Any] = {
        "title": stage.title,
        "status": "failed",
        "started": _now(),
        "parameters": parameters,
        "error": "interrupted",
    }
    manifest["stages"][stage.name] = entry
    began = time.monotonic()
    try:
        execute_notebook(stage.notebook, run.notebook_path(stage.name), parameters)
        entry |= {"status": "done", "error": ""}
    except NotebookError as error:
        entry["error"] = str(error)
        raise
    finally:
        entry["seconds"] = round(time.monotonic() - began, 1)
        run.write_json(run.root / "run.json", manifest)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
