"""Everything that the README names exists: files, functions, notebooks, make targets, commands, options, parameters."""

import importlib
import re
from pathlib import Path

import pytest
from typer.main import get_command

from dfdc_lib.cli import app
from dfdc_lib.pipeline.parameters import parse_assignments
from dfdc_lib.pipeline.stage_table import NOTEBOOKS, all_parameters

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
SHELL_LINES = [line for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) for line in block.splitlines()]
COMMANDS = [line.split("#")[0].split() for line in SHELL_LINES if line.startswith(".venv/bin/dfdc ")]
INLINE = set(re.findall(r"`([^`\n]+)`", README))


def inline(pattern: str) -> list[str]:
    """Return the inline code that matches a pattern, or its first group."""
    matches = (re.fullmatch(pattern, text) for text in INLINE)
    return sorted({match[1 if match.re.groups else 0] for match in matches if match})


def options_of(*names: str) -> set[str]:
    command = get_command(app)
    for name in names:
        command = command.commands[name]  # KeyError: there is no such command
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("path", inline(r"[\w./]+\.(?:py|ipynb)"))
def test_files(path: str) -> None:
    assert any((folder / path).is_file() for folder in (PROJECT, PROJECT / "dfdc_lib", PROJECT / "tests"))


@pytest.mark.parametrize(("path", "name"), sorted(set(re.findall(r"`([\w/]+)\.py` \(`(\w+)`\)", README))))
def test_functions(path: str, name: str) -> None:
    assert hasattr(importlib.import_module(f"dfdc_lib.{path.replace('/', '.')}"), name)


def test_every_claim_has_a_module_and_a_test() -> None:
    rows = re.findall(r"^\| .+? \((\d)\) \| (.+?) \| ?(.*?) ?\|$", README, flags=re.MULTILINE)
    assert {section for section, _, _ in rows} == set("234567")
    assert all("test_" in test for _, module, test in rows if "not built yet" not in module)


def test_every_notebook_has_a_row() -> None:
    rows = re.findall(r"^\| `(\d\d_\w+)` \|", README, flags=re.MULTILINE)
    assert rows == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize(
    "target", sorted({*inline(r"make (\w+)"), *re.findall(r"^make (\w+)", "\n".join(SHELL_LINES))})
)
def test_make_targets(target: str) -> None:
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_and_their_options(words: list[str]) -> None:
    names = words[1:3] if words[1] == "weights" else words[1:2]
    assert {word for word in words if word.startswith("-")} <= options_of(*names)


@pytest.mark.parametrize("name", inline(r"dfdc (\w+)(?: .*)?"))
def test_commands_in_the_text(name: str) -> None:
    assert name in get_command(app).commands


def test_options_in_the_text() -> None:
    known = set().union(*(options_of(name) for name in get_command(app).commands))
    assert set(re.findall(r"(?<![\w-])--?[a-z-]+", " ".join(inline(r"-.*")))) <= known


@pytest.mark.parametrize("words", [words for words in COMMANDS if "-p" in words], ids=" ".join)
def test_parameters_in_commands(words: list[str]) -> None:
    assignments = [value.replace("'", "") for flag, value in zip(words, words[1:], strict=False) if flag == "-p"]
    assert len(parse_assignments(assignments, all_parameters())) == len(assignments)


@pytest.mark.parametrize("name", [name for name in inline(r"[A-Z][A-Z_]+") if not name.startswith("DFDC_")])
def test_parameters_and_constants_in_the_text(name: str) -> None:
    modules = "\n".join(path.read_text(encoding="utf-8") for path in (PROJECT / "dfdc_lib").rglob("*.py"))
    assert name in all_parameters() or re.search(rf"^{name}\b", modules, flags=re.MULTILINE)
