"""One notebook: is it due, and its execution.

In: a name, what it depends on, the files it needs and those it makes. Out: it is run where something of these has changed since it last
succeeded, and the database keeps that. Source: doit's API decides, as one task at a time; papermill executes.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from doit.action import PythonAction
from doit.api import run_tasks
from doit.cmd_base import TaskLoader2
from doit.reporter import ZeroReporter
from doit.task import Task
from doit.tools import config_changed

from dfdc_lib.run_folder import PROJECT

QUIET_KERNEL = (
    "--IPKernelApp.log_level=ERROR"  # it would warn, at every start, of a port that only this machine can reach
)


class NotebookError(RuntimeError):
    """A cell of a notebook failed; the message is the error's name and text."""


def run_if_due(
    name: str,
    action: Callable[[], None],
    database: Path,
    depends_on: Mapping[str, Any],
    needs: Sequence[Path],
    makes: Sequence[Path],
) -> bool:
    """Run an action if anything it depends on has changed since it last succeeded.

    Args:
        name: of the task in the database.
        action: what it raises makes it due again, and goes no further: let it keep its error itself.
        database: doit's, made if absent.
        depends_on: name → value with a JSON form.
        needs: files whose content it depends on; they are there.
        makes: files; one that is absent makes it due.
    Returns:
        Whether the action ran.
    Raises:
        RuntimeError: for a fault of doit's own.
    """
    ran: list[bool] = []

    def act() -> bool:
        ran.append(True)
        action()
        return True

    task = Task(
        name,
        [PythonAction(act)],
        file_dep=[str(path) for path in needs],
        targets=[str(path) for path in makes],
        uptodate=[config_changed(dict(depends_on))],
        verbosity=2,
    )
    config = {"GLOBAL": {"dep_file": str(database), "backend": "sqlite3", "reporter": _SilentReporter}}
    run_tasks(_OneTask(task), {name: {}}, config)
    return bool(ran)


def execute_notebook(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    """Run a notebook headless, in its own folder; what it writes to stderr (progress bars) goes to ours.

    Args:
        notebook: stays as it is.
        output: the notebook as executed, also as far as it came; its folder is made if absent.
        parameters: name → value, in place of those in the cell tagged `parameters`.
    Raises:
        NotebookError: if a cell failed.
    """
    import papermill  # here: a run in which nothing is due should not wait for it

    output.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= {"DFDC_HEADLESS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            dict(parameters),
            kernel_name="python3",
            progress_bar=False,
            stderr_file=sys.stderr,
            cwd=str(notebook.parent),
            extra_arguments=[QUIET_KERNEL],
        )
    except papermill.PapermillExecutionError as error:
        raise NotebookError(f"{error.ename}: {error.evalue}") from error


def code_fingerprint(notebook: Path) -> str:
    """Hash what a notebook computes with: its code cells and the library's source."""
    digest = hashlib.sha256()
    for cell in json.loads(notebook.read_bytes())["cells"]:
        if cell["cell_type"] == "code":
            digest.update("".join(cell["source"]).encode())
    for module in sorted((PROJECT / "dfdc_lib").rglob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()[:16]


def folder_fingerprint(folder: Path) -> str:
    """Hash the names, sizes and times of all files, so that a new or changed video is noticed."""
    return files_fingerprint(sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names))


def files_fingerprint(paths: Iterable[Path]) -> str:
    """Hash the names, sizes and times of files; one that is not there counts by its name."""
    digest = hashlib.sha256()
    for path in paths:
        state = path.stat() if path.exists() else None
        digest.update(f"{path}\x1f{state and (state.st_size, state.st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:16]


# What doit wants to be told ----------------------------------------------------------------------------------------------------------
class _OneTask(TaskLoader2):
    """Tell doit of one task."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def setup(self, opt_values: dict) -> None:
        """Have nothing to set up."""

    def load_doit_config(self) -> dict:
        return {}

    def load_tasks(self, cmd: object, pos_args: list) -> list[Task]:
        return [self.task]


class _SilentReporter(ZeroReporter):
    """Leave the talking to whoever runs the task, but not about doit's own faults."""

    def add_failure(self, task: Task, fail: Any) -> None:
        pass

    def runtime_error(self, message: str) -> None:
        raise RuntimeError(message)
