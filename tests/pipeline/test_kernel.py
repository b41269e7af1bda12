"""Kernels that are forked from a server: what they share, what they do not, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from notebook_files import write_notebook

from dfdc_lib import processes
from dfdc_lib.pipeline import execution, kernel
from dfdc_lib.pipeline.execution import NotebookError, execute_notebook

PATIENCE_SECONDS = 60  # for a process to start or to end, on a busy machine
HEAVY = {"torch", "torchvision", "timm", "albumentations", "facenet_pytorch", "nbconvert", "papermill"}

needs_server = pytest.mark.skipif(not processes.HAS_SERVER, reason="this system has no fork server")
pytestmark = pytest.mark.notebooks


def printed(path: Path) -> list[str]:
    """Return what each code cell of an executed notebook has printed to stdout."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return ["".join(each.text for each in cell.outputs if each.get("name") == "stdout").strip() for cell in cells]


@needs_server
def test_a_kernel_and_its_workers_come_from_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execution.kernel_server()
    monkeypatch.setattr(sys, "executable", "/bin/false")  # no kernel is a new Python
    monkeypatch.setenv("DFDC_WEIGHTS", "set after the server has started")
    cells = [
        "import os, sys; modules = list(sys.modules); print(os.getppid(), os.environ['DFDC_WEIGHTS'])",
        "print(*modules)",
        "from dfdc_lib.processes import worker_pool",
        "with worker_pool(1) as pool: print(pool.submit(os.getppid).result())",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]);",
    ]
    execute_notebook(write_notebook(tmp_path / "a.ipynb", "A = 1", *cells), tmp_path / "made.ipynb", {})
    _, own, modules, _, workers, _ = printed(tmp_path / "made.ipynb")
    server, weights = own.split(maxsplit=1)
    assert (int(server) != os.getpid(), weights, workers) == (True, "set after the server has started", server)
    assert not HEAVY & set(modules.split())
    picture = nbformat.read(tmp_path / "made.ipynb", as_version=4).cells[-2].outputs[-1]
    assert "image/png" in picture.data


def test_without_a_server_a_kernel_is_a_new_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "HAS_SERVER", False)
    path = write_notebook(tmp_path / "a.ipynb", "A = 1", "import os, sys; print(os.getppid(), sys.executable)")
    execute_notebook(path, tmp_path / "made.ipynb", {})
    assert printed(tmp_path / "made.ipynb")[1] == f"{os.getpid()} {sys.executable}"
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NotebookError, match="/bin/false"):
        execute_notebook(path, tmp_path / "made.ipynb", {})


def is_running(process_id: int) -> bool:
    """Return whether a process is alive; a zombie is not."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@needs_server
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_kernel_starts_with_what_notebooks_need_and_ends_with_the_command(
    number: signal.Signals, tmp_path: Path
) -> None:
    """SIGINT goes to all processes of the command's terminal, as Ctrl-C does."""
    state = "import json, os, pathlib, sys, time; state = json.dumps([os.getpid(), *sys.modules])"
    cells = [state, "pathlib.Path('.state').write_text(state); os.rename('.state', 'state')", "time.sleep(600)"]
    write_notebook(tmp_path / "a.ipynb", "A = 1", *cells)
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background job ignores it
    code += "from pathlib import Path; from dfdc_lib.pipeline.execution import execute_notebook; "
    code += "execute_notebook(Path('a.ipynb').resolve(), Path('made.ipynb').resolve(), {})"
    options = {"cwd": tmp_path, "start_new_session": True, "stderr": subprocess.PIPE, "text": True}
    command = subprocess.Popen([sys.executable, "-c", code], **options)
    end = time.monotonic() + PATIENCE_SECONDS
    while not (tmp_path / "state").exists():
        assert time.monotonic() < end and command.poll() is None
        time.sleep(0.02)
    kernel_id, *modules = json.loads((tmp_path / "state").read_text(encoding="utf-8"))
    assert set(execution.PRELOADED) <= set(modules) and not HEAVY & set(modules)
    if Path("/proc/self/task").exists():  # only a thread of PyArrow's allocator, which allows for forks
        status = Path(f"/proc/{kernel_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        threads = [path.read_text(encoding="utf-8").strip() for path in Path(f"/proc/{status[1]}/task").glob("*/comm")]
        assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1
    (os.killpg if number == signal.SIGINT else os.kill)(command.pid, number)
    _, errors = command.communicate(timeout=PATIENCE_SECONDS)
    assert command.returncode != 0
    while is_running(kernel_id):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert ("KeyboardInterrupt" in errors) is (number == signal.SIGINT)
    assert "forkserver" not in errors  # the server prints no stack trace of its own
