"""Run `dfdc` in this process."""

from typer.testing import CliRunner

from dfdc_lib.cli import app


def invoke(*arguments: str) -> str:
    """Run `dfdc` and return what it prints."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: str) -> str:
    """Run `dfdc` with arguments that it refuses and return its single line."""
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, SystemExit), result.exception  # not an uncaught error
    [line] = result.stderr.splitlines()
    assert line.startswith("dfdc: ")
    return line
