"""The command line: it chooses notebooks and parameters, the notebooks do the work.

dfdc run [--data DIR] [--run DIR] …   videos → faces → crops → masks → folds, and a report
dfdc inspect VIDEO --model NAME …     one page about one suspicious video
dfdc predict VIDEOS --model NAME …    the scores of a folder's, a list's or a run's videos, as submission.csv
dfdc compare RUN_A RUN_B              two runs side by side
dfdc sample DIR                       the built-in sample's videos, to look at
dfdc weights list|download|verify     the winner's released checkpoints
dfdc doctor                           is this machine ready?
"""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Find deepfakes in videos: notebooks, run from the command line."
)
weights_app = typer.Typer(
    no_args_is_help=True, help="The winner's seven released checkpoints, in a cache folder (DFDC_WEIGHTS)."
)
app.add_typer(weights_app, name="weights")


@app.command()
def run(
    data: Annotated[Path | None, typer.Option(help="Folder of videos; without it the built-in sample.")] = None,
    kind: Annotated[str, typer.Option(help="auto, dfdc, ffpp, celebdf or folder.")] = "auto",
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="Run folder; by default outputs/<name of the data>.")
    ] = None,
    first: Annotated[str, typer.Option("--from", help="First stage, e.g. 01.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last stage, e.g. 04.")] = "",
    assignments: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A notebook's parameter.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 = one per core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Do it again even where nothing changed.")] = False,
) -> None:
    """Run the numbered notebooks and write a report; what is up to date is left alone."""
    from dfdc_lib.data.datasets import require_kind
    from dfdc_lib.pipeline import parameters, runner

    try:
        stages = runner.choose_stages(first, last)
        require_kind(kind)
        chosen = parameters.parse_assignments(assignments or [], runner.all_parameters())
        if data and not data.is_dir():
            raise FileNotFoundError(
                f"--data must be a folder of videos, got {data}, which is {'a file' if data.exists() else 'not there'}"
            )
        folder = run_folder or runner.PROJECT / "outputs" / (data.resolve().name if data else "sample")
        index = runner.run_stages(
            folder.resolve(),
            data.resolve() if data else None,
            stages,
            {"KIND": kind, "WORKERS": workers} | chosen,
            force=force,
            command=shlex.join(["dfdc", *sys.argv[1:]]),
        )
    except (ValueError, OSError, RuntimeError) as error:
        _stop(error)
    typer.echo(f"report: {index}")


@app.command()
def predict(
    videos: Annotated[
        Path,
        typer.Argument(
            help="Folder of videos; .txt or .csv that lists them, one path a line or a column path or filename; or a run folder."
        ),
    ],
    models: Annotated[
        list[str], typer.Option("--model", help="Model folder or released checkpoint; several are averaged.")
    ],
    run_folder: Annotated[
        Path | None,
        typer.Option("--run", help="Run folder; by default outputs/predict_<name of VIDEOS>, or VIDEOS if it is one."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the submission goes.")] = Path("submission.csv"),
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 = one per core.")] = 0,
) -> None:
    """Score every video: notebooks 00 and 07, which go on where they stopped; of a run folder, 07 in that folder."""
    from dfdc_lib.pipeline import runner

    try:
        if output.is_dir():
            raise IsADirectoryError(
                f"--output must be a file, got {output}, which is a folder: try {output / 'submission.csv'}"
            )
        source = runner.choose_source(videos, run_folder)
        index = runner.run_stages(
            source.run_folder,
            source.data,
            source.stages,
            {
                "KIND": source.kind,
                "WORKERS": workers,
                "MODELS": [_place_of_model(name, source.run_folder) for name in models],
                "VIDEOS": "all",
            },
            command=shlex.join(["dfdc", *sys.argv[1:]]),
        )
        replaced = " (replaced)" if output.exists() else ""
        output.resolve().parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.run_folder / "submission.csv", output)
    except (ValueError, OSError, RuntimeError) as error:
        _stop(error)
    typer.echo(f"submission: {output.resolve()}{replaced}")
    typer.echo(f"report: {index}")


@app.command()
def inspect(
    video: Annotated[Path, typer.Argument(help="The video.")],
    models: Annotated[
        list[str], typer.Option("--model", help="Model folder or released checkpoint; several are averaged.")
    ],
    original: Annotated[Path | None, typer.Option(help="The video it may have been made of, frame for frame.")] = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="Run folder; by default outputs/inspect_<name of the video>.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 = one per core.")] = 0,
) -> None:
    """Examine one video: notebook 11, as one page that shows the answer, what it rests on, and whether it holds."""
    from dfdc_lib.data.video import read_info
    from dfdc_lib.pipeline import runner
    from dfdc_lib.run_folder import open_run

    try:
        for file in filter(None, (video, original)):
            if not file.is_file():
                raise FileNotFoundError(
                    f"expected a video file, got {file}, which is {'a folder' if file.exists() else 'not there'}"
                )
            read_info(file)  # says what is wrong with it, before anything is started
        target = (run_folder or runner.PROJECT / "outputs" / f"inspect_{video.stem}").resolve()
        places = [_place_of_model(name, target) for name in models]
        given = {
            "VIDEO": str(video.resolve()),
            "ORIGINAL": str(original.resolve()) if original else "",
            "MODELS": places,
            "WORKERS": workers,
        }
        page = runner.run_stages(
            target, video.resolve(), [runner.INSPECT], given, command=shlex.join(["dfdc", *sys.argv[1:]])
        )
    except runner.StageError as error:
        _stop(ValueError(error.reason.partition(": ")[2] or error.reason))
    except (ValueError, OSError, RuntimeError) as error:
        _stop(error)
    found = json.loads(open_run(target).metrics_path(runner.INSPECT.name).read_bytes())
    typer.echo(f"{video.name}: {found['answer']}; score {found['score']:.2f}")
    if found["because"]:
        typer.echo(f"because {found['because']}")
    typer.echo(f"page: {page}")


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another run folder.")],
    output: Annotated[
        Path | None, typer.Option(help="Page; by default RUN_A/report/compare_<name of RUN_B>.html.")
    ] = None,
) -> None:
    """Set two runs side by side: what was done differently, the metrics of both, and the difference of their scores on the same videos."""
    from dfdc_lib.pipeline.compare import compare_runs, terminal_text, write_comparison

    try:
        if output and output.is_dir():
            raise IsADirectoryError(
                f"--output must be a file, got {output}, which is a folder: try {output / 'compare.html'}"
            )
        comparison = compare_runs(first, second)
        page = write_comparison(comparison, output)
    except (ValueError, OSError) as error:
        _stop(error)
    typer.echo(terminal_text(comparison))
    typer.echo(f"page: {page}")


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Made if absent.")], seed: Annotated[int, typer.Option()] = 0
) -> None:
    """Make the built-in sample: short videos of one public-domain portrait, in DFDC's layout."""
    from dfdc_lib.data.sample import make_sample

    try:
        typer.echo(f"sample: {make_sample(folder.resolve(), seed=seed)}")
    except (ValueError, OSError) as error:
        _stop(error)


@weights_app.command("list")
def list_weights() -> None:
    """List the checkpoints and what of them is there."""
    from dfdc_lib.classifier import released

    folder = released.cache_folder()
    typer.echo(f"folder: {folder}")
    for checkpoint in released.RELEASED:
        typer.echo(
            f"{checkpoint.name}  {checkpoint.size_bytes / 1e6:6.1f} MB  {released.describe_state(checkpoint, folder)}"
        )


@weights_app.command("download")
def download_weights(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Without one: all.")] = None,
) -> None:
    """Fetch checkpoints; what was cut short goes on where it stopped, what is there and whole is left alone."""
    from dfdc_lib.classifier import released

    try:
        for checkpoint in released.choose(names or []):
            typer.echo(f"ok  {released.download(checkpoint, released.cache_folder())}")
    except (ValueError, OSError) as error:
        _stop(error)


@weights_app.command("verify")
def verify_weights() -> None:
    """Read every checkpoint and compare its SHA-256; ends with 1 unless all are ok."""
    from dfdc_lib.classifier import released

    states = {checkpoint.name: released.verify(checkpoint, released.cache_folder()) for checkpoint in released.RELEASED}
    for name, state in states.items():
        typer.echo(f"{state:<8}{name}")
    if set(states.values()) != {"ok"}:
        typer.echo(f"dfdc: not all are ok in {released.cache_folder()}: run `dfdc weights download`", err=True)
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Check this machine; every line says ok, or what to do."""
    from dfdc_lib.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'LOOK'}  {finding.subject}: {finding.text}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _place_of_model(name: str, run_folder: Path) -> str:
    """Make a model's path absolute, for the notebook runs elsewhere; the name of a released checkpoint or of the run's own model stays."""
    from dfdc_lib.classifier import released

    if name in {checkpoint.name for checkpoint in released.RELEASED} or (run_folder / "models" / name).is_dir():
        return name
    if not Path(name).exists():
        raise FileNotFoundError(
            f"there is no model {name!r}: give the path of a model folder (outputs/<run>/models/<name>), or a name that "
            "`dfdc weights list` shows"
        )
    return str(Path(name).resolve())


def _stop(error: Exception) -> None:
    """End with one clear line instead of a stack trace."""
    typer.echo(f"dfdc: {error}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
