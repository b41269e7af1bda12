"""Notebooks for tests of their execution."""

from pathlib import Path

import nbformat


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook whose first cell holds the parameters, with a cell of prose at its end."""
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=[*made, nbformat.v4.new_markdown_cell("prose")])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)
    return path
