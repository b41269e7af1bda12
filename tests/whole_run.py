"""A small run of the whole pipeline, for tests that look at one."""

import time
from pathlib import Path

from dfdc_lib.pipeline.runner import Request, run_stages
from dfdc_lib.pipeline.stage_table import choose_stages

FAST = {"FRAME_STRIDE": 8, "WORKERS": 1, "EPOCHS": 1, "ITERATIONS": 2, "BATCH": 4, "FRAMES": 3, "DRAWS": 100}


def request(folder: Path, data: Path, first: str = "", last: str = "", **parameters: object) -> Request:
    """Return a request for stages `first` to `last` with parameters that make them fast."""
    return Request(folder, data, choose_stages(first, last), FAST | parameters)


def run(folder: Path, data: Path, first: str = "", last: str = "", **parameters: object) -> list[str]:
    """Run stages and return the names of the notebooks that were executed."""
    began = time.time_ns()
    run_stages(request(folder, data, first, last, **parameters))
    return sorted(path.stem for path in (folder / "notebooks").glob("*.ipynb") if path.stat().st_mtime_ns > began)
