"""What the README names is there: modules and their functions, tests, notebooks, make targets, commands and their options."""

import importlib
import re
from pathlib import Path

import pytest
from typer.main import get_command

from dfdc_lib.cli import app
from dfdc_lib.pipeline import runner

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()
SHELL_LINES = [
    line.strip() for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) for line in block.splitlines()
]
COMMANDS = [line.split("#")[0].split() for line in SHELL_LINES if line.startswith(".venv/bin/dfdc ")]
MODULES = {path.stem for path in (PROJECT / "dfdc_lib").glob("*.py")}
NAMED_IN_MODULES = sorted(path for path in set(re.findall(r"`(\w+\.\w+)`", README)) if path.split(".")[0] in MODULES)
CLAIM_ROWS = re.findall(r"^\| (.+?) \((\d)\) \| (.+?) \|(.*?)\|$", README, flags=re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+\.py)`", README))))
def test_named_tests_are_there(name: str) -> None:
    assert (PROJECT / "tests" / name).is_file()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+)\.py`", README))))
def test_named_modules_are_there(name: str) -> None:
    assert (PROJECT / ("tests" if name.startswith("test_") else "dfdc_lib") / f"{name}.py").is_file()


@pytest.mark.parametrize(
    "path", [path for path in NAMED_IN_MODULES if not path.endswith((".py", ".csv", ".json", ".parquet"))]
)
def test_named_functions_are_there(path: str) -> None:
    module, name = path.split(".")
    assert hasattr(importlib.import_module(f"dfdc_lib.{module}"), name)


def test_claims_cover_sections_2_to_7() -> None:
    assert {section for _, section, _, _ in CLAIM_ROWS} == set("234567")


def test_every_notebook_has_its_row() -> None:
    rows = re.findall(r"^\| `(\d\d_\w+)` \|", README, flags=re.MULTILINE)
    assert rows == sorted(path.stem for path in runner.NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize(
    "target",
    sorted(set(re.findall(r"\bmake ([a-z]+)\b", " ".join([*SHELL_LINES, *re.findall(r"`(make \w+)`", README)])))),
)
def test_make_targets_are_there(target: str) -> None:
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_and_options_are_there(words: list[str]) -> None:
    command = get_command(app)
    while getattr(command, "commands", None):
        command = command.commands[words[1]]  # KeyError: there is no such command
        words = words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_every_parameter_that_is_set_is_one() -> None:
    assigned = {word.split("=")[0] for words in COMMANDS for word in words if re.match(r"[A-Z_]+=", word)}
    assert assigned and assigned <= runner.all_parameters().keys()
