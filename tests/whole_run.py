"""A small run of the whole pipeline, for tests that look at one."""

import os
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from dfdc_lib.pipeline.execution import kernel_server
from dfdc_lib.pipeline.runner import Request, run_stages
from dfdc_lib.pipeline.stage_table import choose_stages
from dfdc_lib.processes import adopt_server

FAST = {"FRAME_STRIDE": 8, "WORKERS": 1, "EPOCHS": 1, "ITERATIONS": 2, "BATCH": 4, "FRAMES": 3, "DRAWS": 100}


def request(folder: Path, data: Path, first: str = "", last: str = "", **parameters: object) -> Request:
    """Return a request for stages `first` to `last` with parameters that make them fast."""
    return Request(folder, data, choose_stages(first, last), FAST | parameters)


def run(folder: Path, data: Path, first: str = "", last: str = "", **parameters: object) -> list[str]:
    """Run stages and return the names of the notebooks that were executed."""
    began = time.time_ns()
    run_stages(request(folder, data, first, last, **parameters))
    return sorted(path.stem for path in (folder / "notebooks").glob("*.ipynb") if path.stat().st_mtime_ns > began)


def start(request: Request) -> BaseProcess:
    """Start a run in another process, which has imported what it needs and forks its kernels as `dfdc run` does."""
    process = kernel_server().Process(target=_run_silently, args=(request,))
    process.start()
    return process


def _run_silently(request: Request) -> None:
    adopt_server()
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    run_stages(request)
