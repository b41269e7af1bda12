"""The command line: it chooses notebooks and parameters; the notebooks do the work.

In: command-line arguments. Out: requests to the pipeline, or calls of the library. `app` is the command `dfdc`.
Nothing slow is imported before a command needs it.
"""

import functools
from collections.abc import Callable
from typing import Any

import typer

from dfdc_lib.cli import models, runs, setup

HELP = "Find deepfakes in videos with notebooks run from the command line."
WEIGHTS_HELP = "The seven published checkpoints of the winning solution, in the cache folder DFDC_WEIGHTS."
COMMANDS = (
    *(runs.run, runs.predict, runs.inspect, runs.benchmark, runs.compare),
    *(models.export, models.quantize),
    *(setup.sample, setup.doctor),
)
WEIGHTS_COMMANDS = {"list": models.list_weights, "download": models.download_weights, "verify": models.verify_weights}


def with_one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Print an expected error as one line instead of a stack trace, and exit with status 1."""

    @functools.wraps(command)
    def run_command(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except typer.Exit:  # a RuntimeError
            raise
        except (ValueError, OSError, RuntimeError) as error:
            typer.echo(f"dfdc: {error}", err=True)
            raise typer.Exit(1) from None

    return run_command


app = typer.Typer(add_completion=False, no_args_is_help=True, help=HELP)
weights_app = typer.Typer(no_args_is_help=True, help=WEIGHTS_HELP)
app.add_typer(weights_app, name="weights")
for command in COMMANDS:
    app.command()(with_one_line_errors(command))
for name, command in WEIGHTS_COMMANDS.items():
    weights_app.command(name)(with_one_line_errors(command))
