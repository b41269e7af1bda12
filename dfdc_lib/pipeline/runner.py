"""Bring a run folder up to date: decide which notebooks are out of date, run them, write the report.

`staleness.changes` decides. What a notebook depended on when it last succeeded is stored in run.json; all state lies in
the run folder.
"""

import glob
import json
import os
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
from dfdc_lib.data.datasets.video_list import is_video_list, read_video_list
from dfdc_lib.pipeline.execution import NotebookError, code_cells, execute_notebook, kernel_server
from dfdc_lib.pipeline.parameters import read_parameters
from dfdc_lib.pipeline.report import write_page, write_report
from dfdc_lib.pipeline.stage_table import BENCHMARK, INSPECT, STAGES, Stage, files_of
from dfdc_lib.records import BUILT_IN_SAMPLE, require_file_name
from dfdc_lib.run_folder import PROJECT, Run, open_run, project_path
from dfdc_lib.staleness import Dependencies, changes, code_of, content_fingerprint, fingerprint, source_fingerprint

# They say where and how fast a result is computed, and do not change it.
OTHER_PARAMETERS = {"RUN", "WORKERS", "EXECUTOR", "BACKEND", "DEVICE", "LOADERS", "PROCESSES", "NODES"}
TRAINING = "06_train"
NOT_RUN = "not run yet"
REPORTED_PACKAGES = "torch torchvision facenet-pytorch albumentations av opencv-python scikit-image numpy papermill"


class StageError(RuntimeError):
    """A notebook failed. The message names it; `reason` is the error alone."""

    def __init__(self, stage: str, reason: str, notebook: Path) -> None:
        super().__init__(f"{stage} failed: {reason}; see the executed notebook: {notebook}")
        self.reason = reason


@dataclass(frozen=True)
class Request:
    """A request to bring a run folder up to date: its data, stages and parameters.

    `data`: folder or list of videos, None = the built-in sample; `parameters`: name -> value.
    """

    run_folder: Path  # created if absent
    data: Path | None  # folder of videos, or a list of videos; None = the built-in sample
    stages: Sequence[Stage]  # in order
    parameters: Mapping[str, Any]  # name -> value, checked by `parse_assignments`; a notebook gets those it has
    force: bool = False  # run the stages from scratch even if nothing changed
    command: str = ""  # what the user typed, for run.json

    def parameters_of(self, stage: Stage) -> dict[str, Any]:
        """Return the values of all parameters of a stage's notebook."""
        values = dict(self.parameters) | {"RUN": str(self.run_folder), "DATA": str(self.data or "")}
        return {name: values.get(name, known.default) for name, known in read_parameters(stage.notebook).items()}


@dataclass(frozen=True)
class StaleStage:
    """A stage that is out of date."""

    stage: Stage
    reasons: list[str]
    video_count: int = 0  # videos whose results are out of date because code changed

    def __str__(self) -> str:
        videos = [f"{self.video_count} videos"] if self.video_count else []
        return f"{self.stage.name}: {', '.join([*self.reasons, *videos])}"


def plan(request: Request) -> list[StaleStage]:
    """Return the stages that are out of date, in order, with the reasons.

    A stage is also listed if it only reads files of an out-of-date stage. `run_stages` skips it if those files come
    out unchanged.

    Raises:
        FileNotFoundError: if a stage needs a file that neither exists nor is made by an earlier stage.
        ValueError: if the run folder belongs to another data set.
    """
    run = Run(request.run_folder)
    manifest = _read_manifest(run, request)
    stale: list[StaleStage] = []
    made: set[str] = set()  # by earlier stages of the plan
    for stage in request.stages:
        _require_inputs(run, stage, request.parameters_of(stage), made)
        made |= set(stage.makes)
        found = _staleness(run, stage, request, manifest)
        upstream = [s.stage.name for s in stale if _reads(run, stage, request.parameters_of(stage), s.stage)]
        if upstream and not request.force and stage.name in manifest["stages"]:
            found = StaleStage(stage, [*found.reasons, f"depends on {', '.join(upstream)}"], found.video_count)
        if found.reasons:
            stale.append(found)
    return stale


def run_stages(request: Request) -> Path:
    """Run the requested notebooks that are out of date, write the report, and return its index page.

    Raises:
        StageError: if a notebook failed; the report is written all the same.
        ValueError, FileNotFoundError: as `plan`, before any notebook runs.
        RuntimeError: if another process works in this run folder.
    """
    run = open_run(request.run_folder)
    with run.lock("run", "dfdc run"):
        run.remove_partial()
        stale_stages = plan(request)
        if stale_stages:
            kernel_server()  # imports what notebooks need, while this process imports papermill
        for stale in stale_stages:
            if stale.reasons != [NOT_RUN]:
                print(f"out of date: {stale}", file=sys.stderr)
        manifest = _read_manifest(run, request) | _environment(request)
        began, executed = time.monotonic(), False
        error: StageError | None = None
        for stage in request.stages:
            if not _staleness(run, stage, request, manifest).reasons:
                print(f"{stage.name}: up to date", file=sys.stderr)
                continue
            executed = True
            try:
                _execute(run, stage, request, manifest)
            except StageError as stopped:
                error = stopped
                break
            print(f"{stage.name}: done in {manifest['stages'][stage.name]['seconds']:.1f} s", file=sys.stderr)
        index = run.root / "report" / "index.html"
        if executed or not index.exists():
            manifest["seconds"] = round(time.monotonic() - began, 1)
            run.write_json(run.root / "run.json", manifest)
            # An examination, a benchmark and the evaluation of a score file (no videos.csv) are one notebook each.
            first = request.stages[0]
            one_page = first in (INSPECT, BENCHMARK) or (first != STAGES[0] and not (run.root / "videos.csv").exists())
            index = write_page(run, first.name) if one_page else write_report(run, [stage.name for stage in STAGES])
        run.remove_partial()
    if error:
        raise error
    return index


def dependencies(run: Run, stage: Stage, parameters: Mapping[str, Any], data: Path | None) -> Dependencies:
    """Return the current parameters, code and input files of a stage: everything that its result depends on.

    The stage is out of date if they differ from those stored at its last run. `parameters`: name -> value, of the
    stage's notebook. `data`: folder or list of videos, None = the built-in sample; it counts only for stages that need
    no earlier stage.
    """
    inputs = {_label(run, path): content_fingerprint(path) for path in _input_files(run, stage, parameters)}
    if data and not stage.needs:
        inputs["data"] = _data_fingerprint(data)
    return Dependencies(
        parameters={name: json.dumps(value) for name, value in parameters.items() if name not in OTHER_PARAMETERS},
        code={"notebook": source_fingerprint("\n".join(code_cells(stage.notebook)))} | code_of(stage.code),
        inputs=inputs,
    )


def _staleness(run: Run, stage: Stage, request: Request, manifest: Mapping[str, Any]) -> StaleStage:
    """Return why a stage is out of date; no reasons if it is up to date."""
    stored = manifest["stages"].get(stage.name, {})
    missing = [name for name in (*stage.makes, *stored.get("made", ())) if not (run.root / name).exists()]
    if request.force:
        return StaleStage(stage, ["forced"])
    if not stored:
        return StaleStage(stage, [NOT_RUN])
    if stored["status"] != "done":
        return StaleStage(stage, ["its last run did not succeed"])
    if "depends_on" not in stored:
        return StaleStage(stage, ["run by an older version of the kit"])
    if missing:
        return StaleStage(stage, [f"{', '.join(missing)} is missing"])
    current = dependencies(run, stage, request.parameters_of(stage), request.data)
    found = changes(Dependencies.model_validate(stored["depends_on"]), current)
    keeps = [stage.keeps] if stage.keeps and found.reasons and not (found.parameters or found.inputs) else []
    stale_job = bool(code_of(stage.job or stage.code).keys() & set(found.code))
    videos = sum(bool(outcome.fingerprint) for outcome in run.read_status(stage.name)) if stale_job else 0
    return StaleStage(stage, found.reasons + keeps, videos)


def _require_inputs(run: Run, stage: Stage, parameters: Mapping[str, Any], made: set[str]) -> None:
    for name in files_of(stage.needs_with(parameters)):
        if name not in made and not (run.root / name).exists():
            remedy = "run the earlier stages first (omit --from)"
            raise FileNotFoundError(f"{stage.name} needs {name}, which is not in {run.root}: {remedy}")


def _reads(run: Run, stage: Stage, parameters: Mapping[str, Any], earlier: Stage) -> bool:
    """Return whether a stage reads what an earlier stage makes: its files, or the model it trains."""
    models = [run.root / "models" / name for name in parameters.get("MODELS", [])]
    reads_model = earlier.name == TRAINING and any(folder.is_dir() for folder in models)
    return reads_model or earlier.number in (*stage.needs_with(parameters), *stage.uses)


def _input_files(run: Run, stage: Stage, parameters: Mapping[str, Any]) -> list[Path]:
    """Return the existing files that a stage reads: in the run folder, of its models, and those its parameters name."""
    paths = [run.root / name for name in files_of((*stage.needs_with(parameters), *stage.uses))]
    for name in parameters.get("MODELS", []) if stage.model_files else ():
        given = project_path(name)
        folders = (run.root / "models" / name, given)  # a model of this run, or anybody's
        paths += [folder / file.format(model=folder.name) for folder in folders for file in stage.model_files]
        paths.append(given)  # a released checkpoint is one file
    paths += [project_path(parameters[name]) for name in ("VIDEO", "ORIGINAL", "SCORES") if parameters.get(name)]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def _label(run: Run, path: Path) -> str:
    """Return the name under which run.json lists a file: relative to the run folder if it lies in it."""
    return str(path.relative_to(run.root)) if path.is_relative_to(run.root) else str(path)


def _data_fingerprint(data: Path) -> str:
    """Return a hash of the names, sizes and times of all files of a data set."""
    if is_video_list(data):
        paths = [data, *read_video_list(data)]
    else:
        paths = sorted(Path(root, name) for root, _, names in os.walk(data) for name in names)
    states = [(str(path), path.exists() and (path.stat().st_size, path.stat().st_mtime_ns)) for path in paths]
    return fingerprint(states)


def _read_manifest(run: Run, request: Request) -> dict[str, Any]:
    """Return the content of run.json, or an empty one."""
    path, source = run.root / "run.json", str(request.data) if request.data else BUILT_IN_SAMPLE
    manifest = json.loads(path.read_bytes()) if path.exists() else {"stages": {}}
    if manifest.get("data", source) != source:
        other = f"{run.root} holds a run of {manifest['data']}, not of {source}"
        raise ValueError(f"{other}: choose another --run, or delete that folder")
    return manifest | {"data": source, "kind": str(request.parameters.get("KIND", "auto"))}


def _environment(request: Request) -> dict[str, Any]:
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip()
    versions = {"python": platform.python_version()} | {name: version(name) for name in REPORTED_PACKAGES.split()}
    kit = {"kit_version": dfdc_lib.__version__, "commit": commit}
    return kit | {"command": request.command, "started": _now(), "versions": versions}


def _execute(run: Run, stage: Stage, request: Request, manifest: dict[str, Any]) -> None:
    """Run a notebook; run.json says "failed" until it has succeeded, so a killed run repeats it."""
    parameters = request.parameters_of(stage)
    _require_inputs(run, stage, parameters, set())
    depends_on = dependencies(run, stage, parameters, request.data).model_dump()
    entry: dict[str, Any] = {"title": stage.title, "started": _now(), "parameters": parameters}
    entry |= {"status": "failed", "error": "interrupted"}
    manifest["stages"][stage.name] = entry
    run.write_json(run.root / "run.json", manifest)
    if request.force:
        _delete_state(run, stage, parameters)
    began = time.monotonic()
    try:
        execute_notebook(stage.notebook, run.notebook_path(stage.name), parameters)
        made = sorted(str(path.relative_to(run.root)) for name in stage.may_make for path in run.root.glob(name))
        entry |= {"status": "done", "error": "", "depends_on": depends_on, "made": made}
    except NotebookError as error:
        entry["error"] = str(error)
        raise StageError(stage.name, str(error), run.notebook_path(stage.name)) from error
    finally:
        entry["seconds"] = round(time.monotonic() - began, 1)
        run.write_json(run.root / "run.json", manifest)


def _delete_state(run: Run, stage: Stage, parameters: Mapping[str, Any]) -> None:
    """Delete the files from which a stage would continue."""
    model = glob.escape(require_file_name(str(parameters.get("NAME") or parameters.get("PRESET"))))
    for pattern in stage.state:
        for path in run.root.glob(pattern.format(model=model)):
            path.unlink()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
