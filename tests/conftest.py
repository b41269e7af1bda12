"""What the tests share: the real videos, and one small built-in sample."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("DFDC_HEADLESS", "1")

PROJECT = Path(__file__).resolve().parents[1]


# Long ones begin, or at the end one core would wait for the other; the first two share one finished run, so one worker has both.
LONG_FILES = ("test_pipeline.py", "test_browser.py", "test_cli.py", "test_train.py")
WHOLE_RUNS = LONG_FILES[:2]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, and keep each on one worker (`--dist loadgroup`): it makes its fixtures once."""
    items.sort(key=lambda item: LONG_FILES.index(item.path.name) if item.path.name in LONG_FILES else len(LONG_FILES))
    for item in items:
        item.add_marker(pytest.mark.xdist_group("whole runs" if item.path.name in WHOLE_RUNS else item.path.stem))


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
    from dfdc_lib.sample import make_sample

    return make_sample(tmp_path_factory.mktemp("data") / "sample", seconds=0.9)


@pytest.fixture(scope="session")
def finished(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder in which every stage has run once; the tests of test_pipeline.py change it, in their order."""
    from whole_run import run

    from dfdc_lib import pipeline

    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert run(folder, sample_root) == [stage.name for stage in pipeline.STAGES]
    return folder
