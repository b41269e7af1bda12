"""Run a command in a fresh process and measure it: wall time, CPU time and memory, with all its child processes.

Input: a command. Output: a `Usage`. The command runs under a small process of its own (`python -m` this module), which
adopts the orphans among the command's descendants: CPU time counts for a process once its parent has waited for it, so
a server process that outlives the command would otherwise not count. Needs Linux.
Source: proc(5) for PSS (a page that n processes share counts 1/n in each), prctl(2), getrusage(2).
"""

import ctypes
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS_BETWEEN_SAMPLES = 0.2  # of the memory; a sample takes several milliseconds
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
KIB_PER_MB = 1e6 / 1024


class Usage(NamedTuple):
    """What a command took.

    `wall_seconds` end with the command itself, `cpu_seconds` (user + system) count all its descendants too;
    `peak_megabytes`: the most proportional memory (PSS) that all of them held at once, in 10^6 bytes.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_megabytes: float


def measure(command: Sequence[str]) -> Usage:
    """Run a command to its end and return what it took.

    Raises RuntimeError with the last line of its errors if it fails, OSError on a system other than Linux.
    """
    if not sys.platform.startswith("linux"):
        raise OSError(f"benchmarks read /proc, which only Linux has, got {sys.platform}: run them on Linux")
    metered = [sys.executable, "-m", "dfdc_lib.benchmarks.meter", *command]
    done = subprocess.run(metered, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{' '.join(command)[:200]} failed: {last}")
    return Usage(**json.loads(done.stdout))


def process_age() -> float:
    """Return the seconds since this process started, to a hundredth."""
    start_ticks = int(_stat_fields(os.getpid())[19])  # field 22 of proc(5), "starttime"
    return time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """Return the process ids of the children of a process, of their children, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat_fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = list(children.get(pid, ()))
    for child in found:
        found += children.get(child, ())  # the loop visits these too
    return found


def megabytes(pids: Sequence[int]) -> float:
    """Return the proportional memory (PSS) of processes, in 10^6 bytes; one that has ended counts 0."""
    return sum(map(_pss_kib, pids)) / KIB_PER_MB


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the name, which may contain spaces; [] if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _pss_kib(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def _run(command: Sequence[str]) -> int:
    """Run a command, print its `Usage` as JSON, and return its exit status."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl could not make this process adopt orphans")
    samples, ended = [0.0], threading.Event()

    def sample() -> None:
        while not ended.wait(SECONDS_BETWEEN_SAMPLES):
            samples.append(megabytes(descendants(os.getpid())))

    began = time.monotonic()
    process = subprocess.Popen(command, stdout=sys.stderr)
    sampler = threading.Thread(target=sample)
    sampler.start()
    status = process.wait()
    wall = time.monotonic() - began
    ended.set()
    sampler.join()
    _wait_for_orphans()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps(Usage(wall, spent.ru_utime + spent.ru_stime, max(samples))._asdict()))
    return status


def _wait_for_orphans() -> None:
    try:
        while True:
            os.wait()
    except ChildProcessError:  # none is left
        return


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1:]))
