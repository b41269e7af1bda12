"""Notebooks as programs."""

from pathlib import Path

import nbformat
import pytest

from dfdc_lib.pipeline.execution import NotebookError, code_cells, execute_notebook


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook whose first cell holds the parameters, with a cell of prose at its end."""
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=[*made, nbformat.v4.new_markdown_cell("prose")])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)
    return path


def test_code_cells(tmp_path: Path) -> None:
    assert code_cells(write_notebook(tmp_path / "a.ipynb", "A = 1", "B = 2\nC = 3")) == ["A = 1", "B = 2\nC = 3"]


@pytest.mark.notebooks
def test_execute_notebook(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = "import os, sys; print(os.environ['DFDC_HEADLESS'], os.getcwd(), A); print('seen', file=sys.stderr)"
    path = write_notebook(tmp_path / "a.ipynb", "A = 1", shown)
    output, before = tmp_path / "made" / "a.ipynb", path.read_bytes()
    execute_notebook(path, output, {"A": 7})
    texts = [item.text for item in nbformat.read(output, as_version=4).cells[-2].outputs]
    assert texts[0] == f"1 {tmp_path} 7\n"
    assert "seen" in capfd.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.notebooks
def test_a_failing_cell_is_reported(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", "A = 1", "raise KeyError('why')", "A = 2")
    with pytest.raises(NotebookError, match="KeyError: 'why'"):
        execute_notebook(path, tmp_path / "made.ipynb", {})
    assert nbformat.read(tmp_path / "made.ipynb", as_version=4).cells[-2].execution_count is None
