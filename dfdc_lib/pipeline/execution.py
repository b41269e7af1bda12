"""Notebooks as programs: their source, and their execution by papermill in the Python that runs this module."""

import json
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Thread
from typing import Any

from dfdc_lib.processes import server_context

QUIET_KERNEL = "--IPKernelApp.log_level=ERROR"  # without it every start warns about a local port
# What notebooks import, without torch and albumentations: 05 and 06 import those themselves.
PRELOADED = (
    "ipykernel.kernelapp",
    "dfdc_lib.pipeline.kernel",
    "matplotlib.backends.backend_agg",
    "dfdc_lib.viz.plot_data",
    "dfdc_lib.viz.plot_inspection",
    "dfdc_lib.viz.plot_scores",
    "dfdc_lib.viz.plot_training",
    "dfdc_lib.viz.viewers",
    "dfdc_lib.faces.examples",
    "dfdc_lib.evaluation.score_examples",
    "dfdc_lib.evaluation.strategy_study",
    "dfdc_lib.classifier.predict",
    "dfdc_lib.inspection.inspect",
    "dfdc_lib.inspection.pictures",
    "dfdc_lib.backends.openvino_models",  # before openvino: it turns telemetry off
    "openvino",
)


class NotebookError(RuntimeError):
    """A cell of a notebook failed, or its kernel died; the message holds the error's name and text."""


def code_cells(notebook: Path) -> list[str]:
    """Return the source of each code cell of a notebook file, in order."""
    cells = json.loads(notebook.read_bytes())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def kernel_server() -> BaseContext:
    """Return the context whose processes are forked with what notebooks import; the first call starts its server.

    The server imports in the background: call this as early as it is certain that a notebook will run.
    """
    os.environ |= {"DFDC_HEADLESS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # before matplotlib is imported
    return server_context(PRELOADED)


def execute_notebook(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> None:
    """Run a notebook headless in its own folder; its stderr (progress bars) goes to this process's stderr.

    The kernel is this process's Python, whatever kernels are installed: another "python3" on JUPYTER_PATH would lack
    this library.

    Args:
        notebook: is not changed.
        output: the executed notebook, written even if a cell fails; its folder is created.
        parameters: name -> value, replacing those of the cell tagged `parameters`.
    Raises:
        NotebookError: if a cell failed, or the kernel did not start or died.
    """
    papermill = _import_papermill()  # here: a run with nothing to do should not wait for it
    from dfdc_lib.pipeline.kernel import ThisPython

    output.parent.mkdir(parents=True, exist_ok=True)
    kernel_server()
    # The report will need it; this process has nothing to do while the kernel works.
    Thread(target=import_module, args=("dfdc_lib.pipeline.notebook_html",), daemon=True).start()
    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            dict(parameters),
            kernel_name="python3",  # only chooses how parameters are written
            kernel_manager_class=ThisPython,
            progress_bar=False,
            stderr_file=sys.stderr,
            cwd=str(notebook.parent),
            extra_arguments=[QUIET_KERNEL],
        )
    except papermill.PapermillExecutionError as error:
        raise NotebookError(f"{error.ename}: {error.evalue}") from error
    except RuntimeError as error:  # of nbclient; a dead kernel leaves no reason
        remedy = f"see its messages above; does `{sys.executable} -m ipykernel_launcher --version` work?"
        raise NotebookError(f"the kernel died: {error}; {remedy}") from error


def _import_papermill() -> Any:
    """Return the module papermill, imported without optional dependencies that no notebook needs."""
    # An optional import of jsonschema: it spends a second on a grammar of web addresses.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    if "pyarrow.fs" in sys.modules:
        return import_module("papermill")
    sys.modules["pyarrow.fs"] = None  # type: ignore[assignment] # only for HDFS; a third of the time
    try:
        return import_module("papermill")
    finally:
        del sys.modules["pyarrow.fs"]  # pandas may need it later
