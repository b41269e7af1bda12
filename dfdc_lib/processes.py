"""Worker processes: where they come from, how they share the cores, and how they end.

They are forked from a server: a process without threads that has imported what jobs need. A worker therefore starts in
milliseconds, and inherits none of a notebook kernel's threads and locks, as one that is forked from the kernel would.
The server is started once, with the first pool, and ends with the last process that uses it.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Any

# What the jobs import, without torch. Importing them must not start threads: only the thread that forks lives on.
PRELOADED = (
    "dfdc_lib.data.sample",
    "dfdc_lib.data.video_stage",
    "dfdc_lib.data.fold_stage",
    "dfdc_lib.faces.detect_stage",
    "dfdc_lib.faces.crop_stage",
    "dfdc_lib.faces.mask_stage",
)
HAS_SERVER = "forkserver" in multiprocessing.get_all_start_methods()  # not on Windows, where workers are spawned


def server_context(more: Sequence[str] = ()) -> BaseContext:
    """Return the context whose processes are forked from this process's server; the first call starts the server.

    `more`: modules that the server imports besides `PRELOADED`; without effect if the server runs already.
    """
    if not HAS_SERVER:
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload([*PRELOADED, *more])
    with _inheritance_of_server():
        forkserver.ensure_running()
    return multiprocessing.get_context("forkserver")


def adopt_server() -> None:
    """Let the server that this process was forked from fork the children of this process as well.

    Without this call the process starts a server of its own, although CPython's docstring of `ensure_running` says
    otherwise (3.11 to 3.13). A process that was not forked from a server is left as it is.
    """
    from multiprocessing import forkserver

    server: Any = forkserver._forkserver
    if server._forkserver_address is not None and server._forkserver_pid is None:
        server.ensure_running = forkserver.ensure_running = lambda: None


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of `workers` processes that share the cores evenly and end when this process ends."""
    threads = max(1, core_count() // workers)
    return ProcessPoolExecutor(workers, server_context(), initializer=_begin_worker, initargs=(threads, {**os.environ}))


def core_count() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_after(parent_has_ended: Callable[[], object]) -> None:
    """Start a thread that ends this process as soon as the parent process has ended.

    `parent_has_ended` blocks until the parent process has ended.
    """

    def end_with_parent() -> None:
        parent_has_ended()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@contextmanager
def _inheritance_of_server() -> Iterator[None]:
    """Change what a process started within the block inherits: no threads of OpenBLAS, and no end at Ctrl-C.

    Ctrl-C reaches all processes of a terminal. The server ends with those that it works for.
    """
    blas, handler = os.environ.get("OPENBLAS_NUM_THREADS"), signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()  # only there handlers can be set
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if in_main_thread:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
        del os.environ["OPENBLAS_NUM_THREADS"]
        os.environ |= {} if blas is None else {"OPENBLAS_NUM_THREADS": blas}


def _begin_worker(threads: int, environment: Mapping[str, str]) -> None:
    """Give a worker its parent's environment and a share of the cores; end it at once with its parent.

    An orphan would go on writing. `threads`: of OpenCV, and of libraries that read OMP_NUM_THREADS when imported.
    """
    import cv2  # here: the command line, which starts the server, does not use it

    os.environ |= environment  # the server has that of the moment in which it was started
    os.environ["OMP_NUM_THREADS"] = str(threads)
    cv2.setNumThreads(threads)
    parent = multiprocessing.parent_process()
    assert parent is not None
    end_after(parent.join)
