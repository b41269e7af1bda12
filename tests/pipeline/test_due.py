from pathlib import Path

import nbformat
import pytest

from dfdc_lib.pipeline.due import (
    NotebookError,
    code_fingerprint,
    execute_notebook,
    files_fingerprint,
    folder_fingerprint,
    run_if_due,
)


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook whose first cell holds the parameters."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)
    return path


# Due -------------------------------------------------------------------------------------------------------------------------------
class Task:
    """A task that reads one file and writes another, and counts how often it ran."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs, self.settings, self.fails = folder, 0, {"MARGIN": 0.2}, False
        (folder / "in").write_text("first")

    def act(self) -> None:
        self.runs += 1
        if self.fails:
            raise ValueError("why")
        (self.folder / "out").write_text("made")

    def run(self) -> bool:
        return run_if_due(
            "task", self.act, self.folder / "db", self.settings, [self.folder / "in"], [self.folder / "out"]
        )


@pytest.mark.parametrize(
    ("change", "due"),
    [
        (lambda task: None, False),
        (lambda task: (task.folder / "in").write_text("first"), False),
        (lambda task: (task.folder / "in").write_text("second"), True),
        (lambda task: (task.folder / "out").unlink(), True),
        (lambda task: task.settings.update(MARGIN=0.3), True),
        (lambda task: (task.folder / "db").unlink(), True),
    ],
    ids=["nothing", "same text", "other text", "no output", "other parameter", "no database"],
)
def test_a_task_runs_again_when_something_changed(tmp_path: Path, change: object, due: bool) -> None:
    task = Task(tmp_path)
    assert task.run()
    change(task)  # type: ignore[operator]
    assert task.run() is due
    assert task.runs == 1 + due


def test_a_task_that_failed_stays_due(tmp_path: Path) -> None:
    task = Task(tmp_path)
    task.fails = True
    assert task.run()
    task.fails = False
    assert task.run()
    assert not task.run()
    assert task.runs == 2


# Fingerprints ----------------------------------------------------------------------------------------------------------------------
def test_folder_fingerprint(tmp_path: Path) -> None:
    empty = folder_fingerprint(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.mp4").write_bytes(b"1")
    one = folder_fingerprint(tmp_path)
    (tmp_path / "sub" / "gone.mp4").symlink_to("nowhere.mp4")
    broken_link = folder_fingerprint(tmp_path)
    (tmp_path / "sub" / "a.mp4").write_bytes(b"12")
    assert len({empty, one, broken_link, folder_fingerprint(tmp_path)}) == 4


def test_files_fingerprint(tmp_path: Path) -> None:
    assert files_fingerprint([]) == files_fingerprint([])
    paths = [tmp_path / "a.mp4", tmp_path / "absent.mp4"]
    paths[0].write_bytes(b"1")
    before = files_fingerprint(paths)
    assert files_fingerprint(paths) == before
    paths[0].write_bytes(b"12")
    assert len({before, files_fingerprint(paths), files_fingerprint(paths[:1])}) == 3


def test_code_fingerprint_is_that_of_the_code_cells(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", "A = 1")
    before = code_fingerprint(path)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("prose"))
    nbformat.write(notebook, path)
    assert code_fingerprint(path) == before
    assert code_fingerprint(write_notebook(path, "A = 2")) != before


# Executing -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.notebooks
def test_execute_notebook(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = "import os, sys; print(os.environ['DFDC_HEADLESS'], os.getcwd(), A); print('seen', file=sys.stderr)"
    path = write_notebook(tmp_path / "a.ipynb", "A = 1", shown)
    output, before = tmp_path / "made" / "a.ipynb", path.read_bytes()
    execute_notebook(path, output, {"A": 7})
    texts = [item.text for item in nbformat.read(output, as_version=4).cells[-1].outputs]
    assert texts[0] == f"1 {tmp_path} 7\n"
    assert "seen" in capfd.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.notebooks
def test_a_failing_cell_is_named(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "a.ipynb", "A = 1", "raise KeyError('why')", "A = 2")
    with pytest.raises(NotebookError, match="^KeyError: 'why'$"):
        execute_notebook(path, tmp_path / "made.ipynb", {})
    assert [cell.execution_count for cell in nbformat.read(tmp_path / "made.ipynb", as_version=4).cells[-1:]] == [None]
