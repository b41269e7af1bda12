"""The command line: it chooses notebooks and parameters; the notebooks do the work."""

import functools
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

HELP = "Find deepfakes in videos with notebooks run from the command line."
WEIGHTS_HELP = "The seven published checkpoints of the winning solution, in the cache folder DFDC_WEIGHTS."
MODELS_HELP = "Model folder or released checkpoint; repeat the option to average several."
VIDEOS_HELP = "Folder of videos; .txt or .csv list (one path per line, or a column path or filename); or a run folder."
PREDICT_RUN_HELP = "Run folder; default: outputs/predict_<name of VIDEOS>, or VIDEOS if it is one."
EXECUTOR_HELP = "Where videos are worked on: inline, processes, or a Dask cluster as tcp://<scheduler>:<port>."
BENCHMARK_MODEL_HELP = "Model folder or released checkpoint; default: an untrained model of ENCODER."
QUANTIZE_RUN_HELP = "Run folder with labelled crops, after stage 04; default: the one in which the model lies."
COMPARE_HELP = "Path of the page; default: RUN_A/report/compare_<name of RUN_B>.html."

app = typer.Typer(add_completion=False, no_args_is_help=True, help=HELP)
weights_app = typer.Typer(no_args_is_help=True, help=WEIGHTS_HELP)
app.add_typer(weights_app, name="weights")

Models = Annotated[list[str], typer.Option("--model", help=MODELS_HELP)]
Workers = Annotated[int, typer.Option(min=0, help="Worker processes; 0 = one per core.")]
BackendName = Annotated[str, typer.Option("--backend", help="auto, openvino (CPU) or torch (CPU or GPU).")]
ExecutorName = Annotated[str, typer.Option("--executor", help=EXECUTOR_HELP)]
Assignments = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Set a notebook parameter.")
]


def _one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Print an expected error as one line instead of a stack trace, and exit with status 1."""

    @functools.wraps(command)
    def run_command(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except (ValueError, OSError, RuntimeError) as error:
            typer.echo(f"dfdc: {error}", err=True)
            raise typer.Exit(1) from None

    return run_command


@app.command()
@_one_line_errors
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
    if data and not data.is_dir():
        raise FileNotFoundError(f"--data must be a folder of videos, got {data}, which {_what_is_there(data)}")
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


@app.command()
@_one_line_errors
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
    places = [_model_path(name, source.run_folder) for name in models]
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


@app.command()
@_one_line_errors
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
        "MODELS": [_model_path(name, target) for name in models],
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


@app.command()
@_one_line_errors
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

    if data and not data.is_dir():
        raise FileNotFoundError(f"--data must be a folder of videos, got {data}, which {_what_is_there(data)}")
    name = f"benchmark_{data.resolve().name if data else 'sample'}"
    target = (run_folder or stage_table.PROJECT / "outputs" / name).resolve()
    values: dict[str, Any] = {"MODEL": _model_path(model, target) if model else "", "WORKERS": workers}
    values |= _assigned(assignments, [stage_table.BENCHMARK], values)
    chosen, command = [stage_table.BENCHMARK], _command_line()
    request = runner.Request(target, data.resolve() if data else None, chosen, values, force=True, command=command)
    typer.echo(f"report: {runner.run_stages(request)}")


@app.command()
@_one_line_errors
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


@app.command()
@_one_line_errors
def sample(
    folder: Annotated[Path, typer.Argument(help="Created if absent.")],
    seed: Annotated[int, typer.Option(help="Of camera movements and noise.")] = 0,
) -> None:
    """Create the built-in sample: short videos made from one public-domain portrait, in DFDC's layout."""
    from dfdc_lib.data.sample import make_sample

    typer.echo(f"sample: {make_sample(folder.resolve(), seed=seed)}")


@app.command()
@_one_line_errors
def export(
    model: Annotated[str, typer.Argument(help="Model folder or released checkpoint.")],
    format_name: Annotated[str, typer.Option("--format", help="onnx, or openvino (a pair of .xml and .bin).")] = "onnx",
    output: Annotated[Path | None, typer.Option(help="File; default: <name of MODEL>.onnx or .xml.")] = None,
) -> None:
    """Export a model for other programs, with its recipe; print how far its scores are from PyTorch's."""
    from dfdc_lib.classifier import checkpoints, export, model_files
    from dfdc_lib.run_folder import Run

    here, suffix = Run(Path.cwd()), export.suffix_of(format_name)
    files = model_files.find_model(_model_path(model, here.root), here)
    classifier, card = checkpoints.load_classifier(files), files.card
    path = output or Path(f"{card.name}{suffix}")
    export.export(classifier, card, path)
    squares, source = export.comparison_squares(Path(model), card.recipe)
    difference = export.largest_difference(path, classifier, squares, card.recipe)
    typer.echo(f"largest difference of scores on {len(squares)} crops of {source}: {difference:.1e}")
    typer.echo(f"model: {path.resolve()}")


@app.command()
@_one_line_errors
def quantize(
    model: Annotated[str, typer.Argument(help="Model folder or released checkpoint.")],
    run_folder: Annotated[Path | None, typer.Option("--run", help=QUANTIZE_RUN_HELP)] = None,
) -> None:
    """Make a model's int8 network for PRECISION=int8, if it ranks crops as well as float32; print the comparison."""
    from dfdc_lib.classifier import model_files, quantize
    from dfdc_lib.run_folder import Run

    run = Run((run_folder or Path(model).absolute().parent.parent).resolve())
    files = model_files.find_model(_model_path(model, run.root), run)
    record = quantize.quantize(files, run)
    typer.echo(quantize.report(record))
    if reason := quantize.refusal(record):
        raise ValueError(f"PRECISION=int8 is not available for {files.card.name}: {reason}")
    typer.echo(f"PRECISION=int8 is available for {files.card.name} on this machine")


@weights_app.command("list")
def list_weights() -> None:
    """List the released checkpoints and their state in the cache folder: present, incomplete, missing or wrong size."""
    from dfdc_lib.classifier import released

    folder = released.cache_folder()
    typer.echo(f"folder: {folder}")
    for checkpoint in released.RELEASED:
        state = released.describe_state(checkpoint, folder)
        typer.echo(f"{checkpoint.name}  {checkpoint.size_bytes / 1e6:6.1f} MB  {state}")


@weights_app.command("download")
@_one_line_errors
def download_weights(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all.")] = None,
) -> None:
    """Download checkpoints; resume partial downloads and skip complete files."""
    from dfdc_lib.classifier import released

    for checkpoint in released.choose(names or []):
        typer.echo(f"ok  {released.download(checkpoint, released.cache_folder())}")


@weights_app.command("verify")
@_one_line_errors
def verify_weights() -> None:
    """Compare each checkpoint's SHA-256 with the published one; exit with status 1 unless all are present and match."""
    from dfdc_lib.classifier import released

    folder = released.cache_folder()
    states = {checkpoint.name: released.verify(checkpoint, folder) for checkpoint in released.RELEASED}
    for name, state in states.items():
        typer.echo(f"{state:<8}{name}")
    if set(states.values()) != {"ok"}:
        raise ValueError(f"some checkpoints in {folder} are missing or wrong: run `dfdc weights download`")


@app.command()
def doctor() -> None:
    """Check this machine; every line says ok or what to do."""
    from dfdc_lib.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'LOOK'}  {finding.subject}: {finding.text}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _model_path(name: str, run_folder: Path) -> str:
    """Return the absolute path of a model folder; names of released checkpoints and of models of the run stay."""
    from dfdc_lib.classifier import released

    names = {checkpoint.name for checkpoint in released.RELEASED}
    if name in names or (run_folder / "models" / name).is_dir():
        return name
    if not Path(name).exists():
        raise FileNotFoundError(
            f"there is no model {name!r}: expected a model folder (outputs/<run>/models/<name>) or a name that "
            "`dfdc weights list` shows"
        )
    return str(Path(name).resolve())


def _assigned(assignments: list[str] | None, stages: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of stages that `-p` sets; those that the command sets by options are not among them."""
    from dfdc_lib.pipeline import parameters, stage_table

    every = {name: value for stage in stages for name, value in parameters.read_parameters(stage.notebook).items()}
    known = {name: value for name, value in every.items() if name not in {*options, *stage_table.OPTIONS}}
    return parameters.parse_assignments(assignments or [], known)


def _what_is_there(path: Path) -> str:
    return "does not exist" if not path.exists() else "is a folder" if path.is_dir() else "is a file"


def _command_line() -> str:
    return shlex.join(["dfdc", *sys.argv[1:]])


if __name__ == "__main__":
    app()
