"""Measuring a command: its children count, and so does what outlives it."""

import os
import sys

import pytest

from dfdc_lib.benchmarks.meter import descendants, measure, megabytes, process_age

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
BURN = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
HOLD = "import time; block = bytearray(100_000_000); block[::4096] = b'x' * len(block[::4096]); time.sleep(1)"
WAITS = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}])"
LEAVES = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {!r}])"


@pytest.mark.parametrize("code", [BURN, WAITS.format(BURN), LEAVES.format(BURN), WAITS.format(LEAVES.format(BURN))])
def test_cpu_time_counts_children_and_orphans(code: str) -> None:
    assert measure([sys.executable, "-c", code]).cpu_seconds >= 0.3


@pytest.mark.parametrize("code", [HOLD, WAITS.format(HOLD)])
def test_memory_counts_children(code: str) -> None:
    usage = measure([sys.executable, "-c", code])
    assert usage.peak_megabytes > 100 and usage.wall_seconds > 1


def test_a_command_that_fails_is_an_error_with_its_reason() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        measure([sys.executable, "-c", "raise ValueError('broken')"])


def test_this_process_has_an_age_memory_and_no_unknown_children() -> None:
    assert 0 < process_age() < 1e6
    assert megabytes([os.getpid()]) > 5 and megabytes([2**22 + 1]) == 0  # no process has this number
    assert os.getpid() in descendants(os.getppid())
