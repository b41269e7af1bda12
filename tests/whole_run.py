"""A run of the whole pipeline in small, for the tests that look at one."""

import time
from pathlib import Path

from dfdc_lib.pipeline import runner

FAST = {"FRAME_STRIDE": 8, "WORKERS": 1, "EPOCHS": 1, "ITERATIONS": 2, "BATCH": 4, "FRAMES": 3, "DRAWS": 100}


def run(folder: Path, data: Path, first: str = "", last: str = "", **parameters: object) -> list[str]:
    """Run the pipeline and say which notebooks it executed."""
    began = time.time_ns()
    runner.run_stages(folder, data, runner.choose_stages(first, last), FAST | parameters)
    return sorted(path.stem for path in (folder / "notebooks").glob("*.ipynb") if path.stat().st_mtime_ns > began)
