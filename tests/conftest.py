"""What the tests share: the real videos, and one small built-in sample."""

import fcntl
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

os.environ.setdefault("DFDC_HEADLESS", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # each has its core; threads that wait for one another would take the other's
    os.environ.setdefault("OMP_NUM_THREADS", "1")

PROJECT = Path(__file__).resolve().parents[1]


# Long ones begin, or at the end one core would wait for the other; test_browser.py comes when test_pipeline.py has made what both look at.
LONG_FILES = ("test_pipeline.py", "test_cli.py", "test_train.py", "test_browser.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files for `--dist loadfile --no-loadscope-reorder`."""
    items.sort(key=lambda item: LONG_FILES.index(item.path.name) if item.path.name in LONG_FILES else len(LONG_FILES))


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a folder for all workers together: the first that comes makes it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with (base / f"{name}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if lock.read() != "made":
            make(base / name)
            lock.write("made")
    return base / name


@pytest.fixture(scope="session")
def test_videos() -> Path:
    """The folder of real videos; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("DFDC_TEST_VIDEOS", PROJECT.parent / "shared" / "data"))
    if not (folder / "INDEX.csv").exists():
        pytest.skip(f"no real videos in {folder}: set DFDC_TEST_VIDEOS to their folder")
    return folder


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built-in sample of short videos, made once; do not write into it."""
    from dfdc_lib.data.sample import make_sample

    return made_once(tmp_path_factory, "sample", partial(make_sample, seconds=0.9))


@pytest.fixture(scope="session")
def finished(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which every stage has run once, with its report; do not change what is in it."""
    from whole_run import run

    from dfdc_lib.pipeline import runner

    def make(folder: Path) -> None:
        assert run(folder, sample_root) == [stage.name for stage in runner.STAGES]

    return made_once(tmp_path_factory, "finished", make)
