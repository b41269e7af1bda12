"""Worker processes: forked from one server, with a share of the cores, ended with their parent."""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from dfdc_lib import processes
from dfdc_lib.processes import adopt_server, core_count, server_context, worker_pool

HEAVY = {"torch", "torchvision", "timm", "albumentations", "facenet_pytorch", "distributed"}

pytestmark = pytest.mark.skipif(not processes.HAS_SERVER, reason="this system has no fork server: workers are spawned")


def server_and_modules() -> tuple[int, set[str]]:
    """Return the server that forked this process, and the modules it has imported."""
    return os.getppid(), set(sys.modules)


def servers_of_nested_workers() -> tuple[int, int]:
    """Return the servers of this process and of a worker of its own."""
    adopt_server()
    with worker_pool(1) as pool:
        return os.getppid(), pool.submit(os.getppid).result()


@pytest.mark.parametrize(("count", "threads_each"), [(core_count(), 1), (1, core_count())])
def test_workers_share_the_cores(count: int, threads_each: int) -> None:
    with worker_pool(count) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == str(threads_each)


def test_workers_have_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    server_context()
    monkeypatch.setenv("DFDC_WEIGHTS", "elsewhere")
    with worker_pool(1) as pool:
        assert pool.submit(os.getenv, "DFDC_WEIGHTS").result() == "elsewhere"
    assert os.getenv("OPENBLAS_NUM_THREADS") is None


def test_a_worker_starts_with_what_jobs_need_and_no_more() -> None:
    with worker_pool(1) as pool, worker_pool(1) as other:
        server, modules = pool.submit(server_and_modules).result()
        assert set(processes.PRELOADED) <= modules and not HEAVY & modules
        assert other.submit(os.getppid).result() == server != os.getpid()
    if Path("/proc/self/task").exists():  # only a thread of PyArrow's allocator, which allows for forks
        threads = [path.read_text(encoding="utf-8").strip() for path in Path(f"/proc/{server}/task").glob("*/comm")]
        assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1


def test_children_of_a_child_come_from_the_same_server() -> None:
    with ProcessPoolExecutor(1, server_context()) as pool:
        first, second = pool.submit(servers_of_nested_workers).result()
    assert first == second


def test_a_process_of_its_own_keeps_its_server() -> None:
    with worker_pool(1) as pool:
        server = pool.submit(os.getppid).result()
    adopt_server()
    with worker_pool(1) as pool:
        assert pool.submit(os.getppid).result() == server
