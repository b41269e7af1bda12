"""Shared fixtures: the real videos, a small built-in sample and a finished run."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

os.environ.setdefault("DFDC_HEADLESS", "1")
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] # jsonschema would import it: see `execution`
if "PYTEST_XDIST_WORKER" in os.environ:  # every test worker has one core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT = Path(__file__).resolve().parents[1]

# The slowest files start first, so that all workers end at the same time. The first four are given out at once, in
# turns; test_browser.py starts when test_runner.py has made the run that both use.
SLOW_FILES = (
    "test_runner.py",
    "test_train.py",
    "test_runs.py",
    "test_winner_parity.py",
    "test_browser.py",
    "test_stages.py",
    "test_executors.py",
    "test_study.py",
    "test_alignment.py",
    "test_kernel.py",
    "test_jumps.py",
    "test_predict.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the test files for `--dist loadfile --no-loadscope-reorder`."""
    items.sort(key=lambda item: SLOW_FILES.index(item.path.name) if item.path.name in SLOW_FILES else len(SLOW_FILES))


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that is made once for all test workers."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with FileLock(base / f"{name}.lock"):
        if not (base / f"{name}.made").exists():
            make(base / name)
            (base / f"{name}.made").touch()
    return base / name


@pytest.fixture(scope="session")
def test_videos() -> Path:
    """The folder of real videos; tests that need it are skipped if it is absent."""
    folder = Path(os.environ.get("DFDC_TEST_VIDEOS", PROJECT.parent / "shared" / "data"))
    if not (folder / "INDEX.csv").exists():
        pytest.skip(f"no real videos in {folder}: set DFDC_TEST_VIDEOS to their folder")
    return folder


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built-in sample of short videos; do not write into it."""
    from dfdc_lib.data.sample import make_sample

    return made_once(tmp_path_factory, "sample", partial(make_sample, seconds=0.9))


@pytest.fixture(scope="session")
def finished(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which every stage has run once, with its report; do not change it."""
    from whole_run import run

    from dfdc_lib.pipeline.stage_table import STAGES

    def make(folder: Path) -> None:
        assert run(folder, sample_root) == [stage.name for stage in STAGES]

    return made_once(tmp_path_factory, "finished", make)
