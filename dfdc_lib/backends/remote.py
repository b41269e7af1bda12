"""Networks that run in another process of this machine, because only that process has PyTorch and a context on the GPU.

In: a function that runs networks, in the process that has loaded them. Out: the same function in worker processes.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import AuthenticationError, current_process
from multiprocessing.connection import Client, Connection, Listener

import numpy as np

from dfdc_lib.workers import Failure, attempt

RunNetwork = Callable[[str, np.ndarray], list[np.ndarray]]  # the name of a network and its input -> its outputs


@contextmanager
def serve(run: RunNetwork) -> Iterator[str]:
    """Let other processes call `run` while the block runs; yield the address, for `connect`.

    Every connection has a thread of its own, so several threads may call `run` at once.
    """
    ended, listener = threading.Event(), Listener(authkey=current_process().authkey)
    server = threading.Thread(target=_accept, args=(listener, run, ended), daemon=True)
    server.start()
    try:
        yield str(listener.address)
    finally:
        ended.set()
        with suppress(EOFError, OSError):  # a worker's connection has just ended the server
            Client(listener.address, authkey=current_process().authkey).close()
        server.join()


def connect(address: str) -> RunNetwork:
    """Return a function that calls the `run` of `serve` in the process at `address`; both processes share an authkey.

    The function raises RuntimeError if `run` fails there, and EOFError or OSError if that process has stopped serving.
    """
    connection, lock = Client(address, authkey=current_process().authkey), threading.Lock()

    def run(name: str, images: np.ndarray) -> list[np.ndarray]:
        with lock:
            connection.send((name, images))
            result = connection.recv()
        if isinstance(result, Failure):
            raise RuntimeError(f"{name} failed in the process that runs the networks: {result.reason}")
        return result

    return run


def _accept(listener: Listener, run: RunNetwork, ended: threading.Event) -> None:
    """Accept connections until one comes after `ended` is set."""
    with listener:
        while True:
            with suppress(AuthenticationError, EOFError, OSError):  # a worker that died while it connected
                connection = listener.accept()
                if ended.is_set():
                    return
                threading.Thread(target=_answer, args=(connection, run), daemon=True).start()


def _answer(connection: Connection, run: RunNetwork) -> None:
    """Answer the calls of one process until it ends."""
    with connection:
        while True:
            try:
                request = connection.recv()
                connection.send(attempt(partial(run, *request)))
            except (EOFError, ConnectionError):
                return
