import json
import statistics
from pathlib import Path

import nbformat
import pytest

from dfdc_lib.pipeline import runner

MOST_CELLS, MOST_LINES, MEDIAN_LINES = 15, 15, 4  # DESIGN, "Notebooks"
NOTEBOOKS = sorted(runner.NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_form(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first, second = notebook.cells[:2]
    assert first.cell_type == second.cell_type == "markdown"
    assert first.source.startswith(f"# {path.stem[:2]} · ") and "?**" in first.source
    assert second.source.startswith("*What you will see:*")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert [cell.execution_count for cell in code] == [None] * len(code)
    lines = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in code]
    assert len(code) <= MOST_CELLS and max(lines) <= MOST_LINES and statistics.median(lines) <= MEDIAN_LINES
    assert not [line for cell in code for line in cell.source.splitlines() if line.startswith(("def ", "class "))]
    assert "parameters" in code[1].metadata.tags and code[1].source.startswith("RUN: str = ")
    assert f'run.write_metrics("{path.stem}"' in code[-1].source
    assert "## Check" in json.dumps([cell.source for cell in notebook.cells])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_has_type_default_and_help(path: Path) -> None:
    parameters = runner.read_parameters(path)
    assert "RUN" in parameters
    assert all(parameter.help for parameter in parameters.values())
