"""The command line: it chooses notebooks and parameters, the notebooks do the work.

dfdc run [--data DIR] [--run DIR] …   videos → faces → crops → masks → folds, and a report
dfdc sample DIR                       the built-in sample's videos, to look at
dfdc doctor                           is this machine ready?
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Find deepfakes in videos: notebooks, run from the command line.")


@app.command()
def run(
    data: Annotated[Path | None, typer.Option(help="Folder of videos; without it the built-in sample.")] = None,
    kind: Annotated[str, typer.Option(help="auto, dfdc, ffpp, celebdf or folder.")] = "auto",
    run_folder: Annotated[Path | None, typer.Option("--run", help="Run folder; by default outputs/<name of the data>.")] = None,
    first: Annotated[str, typer.Option("--from", help="First stage, e.g. 01.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last stage, e.g. 04.")] = "",
    assignments: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A notebook's parameter.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 = one per core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Do it again even where nothing changed.")] = False,
) -> None:
    """Run the numbered notebooks and write a report; what is up to date is left alone."""
    from dfdc_lib import parameters, pipeline

    try:
        stages = pipeline.choose_stages(first, last)
        chosen = parameters.parse_assignments(assignments or [], pipeline.all_parameters())
        if data and not data.is_dir():
            raise FileNotFoundError(f"--data must be a folder of videos, got {data}, which is {'a file' if data.exists() else 'not there'}")
        folder = run_folder or pipeline.PROJECT / "outputs" / (data.resolve().name if data else "sample")
        index = pipeline.run_stages(
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
def sample(folder: Annotated[Path, typer.Argument(help="Made if absent.")], seed: Annotated[int, typer.Option()] = 0) -> None:
    """Make the built-in sample: short videos of one public-domain portrait, in DFDC's layout."""
    from dfdc_lib.sample import make_sample

    typer.echo(f"sample: {make_sample(folder.resolve(), seed=seed)}")


@app.command()
def doctor() -> None:
    """Check this machine; every line says ok, or what to do."""
    from dfdc_lib.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'LOOK'}  {finding.subject}: {finding.text}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _stop(error: Exception) -> None:
    """End with one clear line instead of a stack trace."""
    typer.echo(f"dfdc: {error}", err=True)
    raise typer.Exit(1)
