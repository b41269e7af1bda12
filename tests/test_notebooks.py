"""The form of the notebooks: DESIGN, "Notebooks"."""

import ast
import json
import statistics
from pathlib import Path

import nbformat
import papermill
import pytest

from dfdc_lib.pipeline.parameters import read_parameters
from dfdc_lib.pipeline.stage_table import NOTEBOOKS

MOST_CELLS, MOST_LINES, MEDIAN_LINES, MOST_COLUMNS = 15, 15, 4, 120
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_form(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first, second = notebook.cells[:2]
    assert first.cell_type == second.cell_type == "markdown"
    assert first.source.startswith(f"# {path.stem[:2]} - ") and "?**" in first.source
    assert second.source.startswith("*What you will see:*")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)
    lines = [[line for line in cell.source.splitlines() if line.strip()] for cell in code]
    counts = [len(cell) for cell in lines]
    assert len(code) <= MOST_CELLS and statistics.median(counts) <= MEDIAN_LINES
    assert max(counts[:1] + counts[2:]) <= MOST_LINES  # a parameter takes a line of its own
    assert max(len(line) for cell in lines for line in cell) <= MOST_COLUMNS
    assert not [line for cell in lines for line in cell if line.startswith(("def ", "class "))]
    assert "parameters" in code[1].metadata.tags and code[1].source.startswith("RUN: str = ")
    assert f'run.write_metrics("{path.stem}"' in code[-1].source
    assert "## Check" in json.dumps([cell.source for cell in notebook.cells])


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_parameter_has_a_type_a_default_and_help(path: Path) -> None:
    parameters = read_parameters(path)
    cells = nbformat.read(path, as_version=4).cells
    [source] = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert list(parameters) == [line.partition(":")[0] for line in source.splitlines()]
    # papermill drops a parameter with a second "=" in its line, for example in its help, and only warns.
    expected = papermill.inspect_notebook(str(path))
    assert {name: (each.type_name, each.help) for name, each in parameters.items()} == {
        name: (each["inferred_type_name"], each["help"]) for name, each in expected.items()
    }
    assert all(each.default == ast.literal_eval(expected[name]["default"]) for name, each in parameters.items())
    assert "RUN" in parameters
    assert all(parameter.help for parameter in parameters.values())
