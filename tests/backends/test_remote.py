"""Networks served by one process: every caller gets its own answers, and its own errors."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dfdc_lib.backends.remote import connect, serve


def run(name: str, images: np.ndarray) -> list[np.ndarray]:
    if name != "double":
        raise KeyError(name)
    return [2 * images, np.array([len(images)])]


def test_every_caller_gets_its_own_answers() -> None:
    def call(number: int) -> list[list[float]]:
        return [[output.tolist() for output in network("double", np.full(3, number + k))] for k in range(20)]

    with serve(run) as address:
        network = connect(address)
        alone = [call(number) for number in range(8)]
        with ThreadPoolExecutor(4) as threads:  # one connection of several threads
            assert list(threads.map(call, range(8))) == alone
        others = [connect(address) for _ in range(3)]
        assert [other("double", np.ones(2))[0].tolist() for other in others] == [[2, 2]] * 3
    assert alone[5][2] == [[14, 14, 14], [3]]


def test_an_error_goes_to_its_caller_alone() -> None:
    with serve(run) as address:
        first, second = connect(address), connect(address)
        with pytest.raises(RuntimeError, match="halve"):
            first("halve", np.ones(1))
        assert first("double", np.ones(1))[0] == second("double", np.ones(1))[0] == 2


def test_nobody_is_served_after_the_block() -> None:
    with serve(run) as address:
        connect(address)
    with pytest.raises(OSError):
        connect(address)
