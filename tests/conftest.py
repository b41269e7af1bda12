"""What the tests share: the real videos, and one small built-in sample."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("DFDC_HEADLESS", "1")

PROJECT = Path(__file__).resolve().parents[1]


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
