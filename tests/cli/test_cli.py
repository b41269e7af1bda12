"""The command `dfdc` as a whole."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import invoke
from typer.testing import CliRunner

from dfdc_lib.cli import app


def test_help_lists_commands_and_options() -> None:
    text = invoke("--help")
    assert all(f" {command} " in text for command in ("run", "inspect", "predict", "compare", "sample", "doctor"))
    wide = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    text = CliRunner().invoke(app, ["run", "--help"], env=wide).output
    options = ("--data", "--kind", "--run", "--from", "--to", "--parameter", "-p", "--workers", "--force", "--dry-run")
    assert all(option in text for option in options)


def test_the_installed_command_refuses_in_one_line() -> None:
    command = Path(sys.executable).with_name("dfdc")
    if not command.exists():
        pytest.skip(f"{command} is missing: install the project into this environment")
    process = subprocess.run([command, "run", "-p", "MARGIN=wide"], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, len(process.stderr.splitlines())) == (1, "", 1)
