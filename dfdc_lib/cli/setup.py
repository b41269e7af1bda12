"""Commands that set up a machine: the built-in sample, and a check of everything that the kit needs."""

from pathlib import Path
from typing import Annotated

import typer


def sample(
    folder: Annotated[Path, typer.Argument(help="Created if absent.")],
    seed: Annotated[int, typer.Option(help="Random seed of the camera movements and the noise.")] = 0,
) -> None:
    """Create the built-in sample: short videos made from one public-domain portrait, in DFDC's layout."""
    from dfdc_lib.data.sample import make_sample

    typer.echo(f"sample: {make_sample(folder.resolve(), seed=seed)}")


def doctor() -> None:
    """Check this machine; print ok or a remedy for each item."""
    from dfdc_lib.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'LOOK'}  {finding.subject}: {finding.text}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
