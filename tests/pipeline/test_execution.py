"""Notebooks as programs."""

import json
import sys
from pathlib import Path

import nbformat
import pytest
from notebook_files import write_notebook

from dfdc_lib.pipeline.execution import NotebookError, code_cells, execute_notebook


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


FOREIGN = {
    "crashes": ["/bin/false", "{connection_file}"],
    "does not exist": ["/nowhere/python", "{connection_file}"],
    "is another Python": [sys.executable, "-I", "-S", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
}


@pytest.mark.notebooks
@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_kernel_named_python3_is_not_used(
    foreign: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    spec = {"argv": FOREIGN[foreign], "display_name": "Python 3", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    path = write_notebook(tmp_path / "a.ipynb", "A = 1", "import sys, dfdc_lib; print(sys.executable)")
    execute_notebook(path, tmp_path / "made.ipynb", {"A": 2})
    assert nbformat.read(tmp_path / "made.ipynb", as_version=4).cells[-2].outputs[0].text == f"{sys.executable}\n"


@pytest.mark.notebooks
@pytest.mark.parametrize("death", ["os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_a_kernel_that_dies_is_reported(death: str, tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", "A = 1", f"import os; {death}")
    with pytest.raises(NotebookError, match="kernel died"):
        execute_notebook(path, tmp_path / "made.ipynb", {})
