"""Commands about run folders: they run notebooks in one, or compare two."""

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dfdc_lib.cli.models import model_path

MODELS_HELP = "Model folder or released checkpoint; repeat the option to average several."
VIDEOS_HELP = "Folder of videos; .txt or .csv list (one path per line, or a column path or filename); or a run folder."
PREDICT_RUN_HELP = "Run folder; default: outputs/predict_<name of VIDEOS>, or VIDEOS if it is one."
EXECUTOR_HELP = "Where videos are processed: inline, processes, or a Dask cluster as tcp://<scheduler>:<port>."
BENCHMARK_MODEL_HELP = "Model folder or released checkpoint; default: an untrained model of ENCODER."
COMPARE_HELP = "Path of the page; default: RUN_A/report/compare_<name of RUN_B>.html."

Models = Annotated[list[str], typer.Option("--model", help=MODELS_HELP)]
Workers = Annotated[int, typer.Option(min=0, help="Worker processes; 0 = one per core.")]
BackendName = Annotated[str, typer.Option("--backend", help="auto, openvino (CPU) or torch (CPU or GPU).")]
ExecutorName = Annotated[str, typer.Option("--executor", help=EXECUTOR_HELP)]
Assignments = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Set a notebook parameter.")
]


def run(
    data: Annotated[Path | None, typer.Option(help="Folder of videos; default: the built-in sample.")] = None,
    kind: Annotated[str, typer.Option(help="auto, dfdc, ffpp, celebdf or folder.")] = "auto",
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="Run folder; default: outputs/<name of data>.")
    ] = None,
    first: Annotated[str, typer.Option("--from", help="First stage, e.g. 01.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last stage, e.g. 04.")] = "",
    assignments: Assignments = None,
    workers: Workers = 0,
    backend: BackendName = "auto",
    executor: ExecutorName = "processes",
    force: Annotated[bool, typer.Option("--force", help="Redo the chosen stages from scratch.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is out of date and why, then stop.")] = False,
) -> None:
    """Run the numbered notebooks that are out of date, and write a report."""
    from dfdc_lib.backends.choice import require_backend
    from dfdc_lib.data.datasets import require_kind
    from dfdc_lib.executors import require_executor
    from dfdc_lib.pipeline import parameters, runner, stage_table
    from dfdc_lib.pipeline.source import Source, choose_scores_source

    stages = stage_table.choose_stages(first, last)
    require_kind(kind)
    require_backend(backend)
    require_executor(executor)
    chosen = parameters.parse_assignments(assignments or [], stage_table.all_parameters())
    _require_folder(data)
    folder = run_folder or stage_table.PROJECT / "outputs" / (data.resolve().name if data else "sample")
    values = {"KIND": kind, "WORKERS": workers, "EXECUTOR": executor, "BACKEND": backend} | chosen
    source = Source(folder.resolve(), data.resolve() if data else None, kind, tuple(stages))
    if chosen.get("SCORES"):
        source = choose_scores_source(chosen["SCORES"], source, named=run_folder is not None)
    request = runner.Request(source.run_folder, source.data, source.stages, values, force, _command_line())
    if dry_run:
        typer.echo("\n".join(map(str, runner.plan(request))) or "everything is up to date")
    else:
        typer.echo(f"report: {runner.run_stages(request)}")


def predict(
    videos: Annotated[Path, typer.Argument(help=VIDEOS_HELP)],
    models: Models,
    run_folder: Annotated[Path | None, typer.Option("--run", help=PREDICT_RUN_HELP)] = None,
    output: Annotated[Path, typer.Option(help="Path of the submission file.")] = Path("submission.csv"),
    strategy: Annotated[str, typer.Option(help="How the frame scores of a video become one.")] = "confident",
    assignments: Assignments = None,
    workers: Workers = 0,
    backend: BackendName = "auto",
    executor: ExecutorName = "processes",
) -> None:
    """Score videos and write a submission file: run notebooks 00 and 07, or only 07 if VIDEOS is a run folder."""
    from dfdc_lib.backends.choice import require_backend
    from dfdc_lib.evaluation.scoring import run_warnings
    from dfdc_lib.evaluation.strategies import STRATEGIES
    from dfdc_lib.executors import require_executor
    from dfdc_lib.pipeline import runner
    from dfdc_lib.pipeline.source import choose_source
    from dfdc_lib.run_folder import Run

    if output.is_dir():
        raise IsADirectoryError(f"--output must be a file, but {output} is a folder: try {output / 'submission.csv'}")
    require_backend(backend)
    require_executor(executor)
    source = choose_source(videos, run_folder)
    places = [model_path(name, source.run_folder) for name in models]
    if strategy not in STRATEGIES:
        raise ValueError(f"--strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}")
    values = {"KIND": source.kind, "WORKERS": workers, "MODELS": places, "VIDEOS": "all", "STRATEGY": strategy}
    values |= {"BACKEND": backend, "EXECUTOR": executor}
    values |= _assigned(assignments, source.stages, values)
    request = runner.Request(source.run_folder, source.data, source.stages, values, command=_command_line())
    index = runner.run_stages(request)
    replaced = " (replaced)" if output.exists() else ""
    output.resolve().parent.mkdir(parents=True, exist_ok=True)
    details = output.with_name(f"{output.stem}_details.csv")
    for name, copy in (("submission.csv", output), ("submission_details.csv", details)):
        if copy.resolve() != (source.run_folder / name).resolve():
            shutil.copyfile(source.run_folder / name, copy)
    for warning in run_warnings(Run(source.run_folder)):
        typer.echo(warning)
    typer.echo(f"submission: {output.resolve()}{replaced}")
    typer.echo(f"what each score rests on: {details.resolve()}")
    typer.echo(f"report: {index}")


def inspect(
    video: Annotated[Path, typer.Argument(help="The video.")],
    models: Models,
    original: Annotated[Path | None, typer.Option(help="The video it may have been made from, frame by frame.")] = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="Run folder; default: outputs/inspect_<name>.")
    ] = None,
    assignments: Assignments = None,
    workers: Workers = 0,
    backend: BackendName = "auto",
) -> None:
    """Examine one video with notebook 11; write one page with the answer and its evidence."""
    from dfdc_lib.backends.choice import require_backend
    from dfdc_lib.data.video import read_info
    from dfdc_lib.pipeline import runner, stage_table
    from dfdc_lib.run_folder import Run

    require_backend(backend)
    for file in filter(None, (video, original)):
        if not file.is_file():
            raise FileNotFoundError(f"expected a video file, got {file}, which {_what_is_there(file)}")
        read_info(file)  # an unreadable file fails here, before a notebook starts
    target = (run_folder or stage_table.PROJECT / "outputs" / f"inspect_{video.stem}").resolve()
    values = {
        "VIDEO": str(video.resolve()),
        "ORIGINAL": str(original.resolve()) if original else "",
        "MODELS": [model_path(name, target) for name in models],
        "WORKERS": workers,
        "BACKEND": backend,
    }
    values |= _assigned(assignments, [stage_table.INSPECT], values)
    request = runner.Request(target, video.resolve(), [stage_table.INSPECT], values, command=_command_line())
    try:
        page = runner.run_stages(request)
    except runner.StageError as error:
        raise ValueError(error.reason.partition(": ")[2] or error.reason) from error
    metrics = json.loads(Run(target).metrics_path(stage_table.INSPECT.name).read_bytes())
    typer.echo(f"{video.name}: {metrics['answer']}; score {metrics['score']:.2f}")
    if metrics["because"]:
        typer.echo(f"because {metrics['because']}")
    typer.echo(f"page: {page}")


def benchmark(
    data: Annotated[Path | None, typer.Option(help="Folder of videos; default: the built-in sample.")] = None,
    model: Annotated[str, typer.Option(help=BENCHMARK_MODEL_HELP)] = "",
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="Run folder; default: outputs/benchmark_<name of data>.")
    ] = None,
    assignments: Assignments = None,
    workers: Workers = 0,
) -> None:
    """Compare the speed of the kit with that of the usual way on this machine, with notebook 12."""
    from dfdc_lib.pipeline import runner, stage_table

    _require_folder(data)
    name = f"benchmark_{data.resolve().name if data else 'sample'}"
    target = (run_folder or stage_table.PROJECT / "outputs" / name).resolve()
    values: dict[str, Any] = {"MODEL": model_path(model, target) if model else "", "WORKERS": workers}
    values |= _assigned(assignments, [stage_table.BENCHMARK], values)
    chosen, command = [stage_table.BENCHMARK], _command_line()
    request = runner.Request(target, data.resolve() if data else None, chosen, values, force=True, command=command)
    typer.echo(f"report: {runner.run_stages(request)}")


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another run folder.")],
    output: Annotated[Path | None, typer.Option(help=COMPARE_HELP)] = None,
) -> None:
    """Compare two runs: parameters, metrics, and the difference of their scores on the same videos."""
    from dfdc_lib.pipeline.compare import compare_runs, terminal_text, write_comparison

    if output and output.is_dir():
        raise IsADirectoryError(f"--output must be a file, but {output} is a folder: try {output / 'compare.html'}")
    comparison = compare_runs(first, second)
    page = write_comparison(comparison, output)
    typer.echo(terminal_text(comparison))
    typer.echo(f"page: {page}")


def _assigned(assignments: list[str] | None, stages: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of stages that `-p` sets; reject those that the command sets by its own options."""
    from dfdc_lib.pipeline import parameters, stage_table

    every = {name: value for stage in stages for name, value in parameters.read_parameters(stage.notebook).items()}
    known = {name: value for name, value in every.items() if name not in {*options, *stage_table.OPTIONS}}
    return parameters.parse_assignments(assignments or [], known)


def _require_folder(data: Path | None) -> None:
    if data and not data.is_dir():
        raise FileNotFoundError(f"--data must be a folder of videos, got {data}, which {_what_is_there(data)}")


def _what_is_there(path: Path) -> str:
    return "does not exist" if not path.exists() else "is a folder" if path.is_dir() else "is a file"


def _command_line() -> str:
    return shlex.join(["dfdc", *sys.argv[1:]])
