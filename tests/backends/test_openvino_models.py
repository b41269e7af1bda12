import locale
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from dfdc_lib.backends import openvino_models
from dfdc_lib.backends.openvino_models import CompiledNetwork, convert_once, save, to_openvino


class Scaled(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values * self.factor


def convert(factor: float, path: Path) -> None:
    save(to_openvino(Scaled(factor), torch.zeros(2, 3), [-1, 3]), path)


def fail(path: Path) -> None:
    path.with_suffix(".bin").write_bytes(b"half")
    raise ValueError("no such network")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFDC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("rows", [1, 5])
def test_a_converted_network_computes_the_same_for_any_number_of_rows(rows: int) -> None:
    values = np.random.default_rng(0).random((rows, 3)).astype(np.float32)
    network = CompiledNetwork(convert_once("scaled", "a", partial(convert, 0.1)))
    assert np.array_equal(network(values)[0], values * np.float32(0.1))


def test_threads_share_a_network() -> None:
    network = CompiledNetwork(convert_once("scaled", "a", partial(convert, 2.0)))
    batches = [np.full((20_000, 3), value, np.float32) for value in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for batch, (result,) in zip(batches, pool.map(network, batches), strict=True):
            assert np.array_equal(result, 2 * batch)


def test_networks_compiled_by_several_threads_leave_the_locale(cache: Path) -> None:
    paths = [convert_once("scaled", str(factor), partial(convert, factor)) for factor in (1.0, 2.0, 3.0)]
    before = locale.setlocale(locale.LC_ALL)
    with ThreadPoolExecutor(3) as pool:
        for _ in range(10):
            assert len(list(pool.map(CompiledNetwork, paths))) == 3
    assert locale.setlocale(locale.LC_ALL) == before


def test_a_network_is_converted_once_per_key(monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[Path] = []
    elsewhere: Callable = openvino_models._convert_elsewhere
    monkeypatch.setattr(
        openvino_models, "_convert_elsewhere", lambda make, path: (converted.append(path), elsewhere(make, path))
    )
    first = [convert_once("scaled", "a", partial(convert, 2.0)) for _ in range(2)]
    assert first[0] == first[1] != convert_once("scaled", "b", partial(convert, 2.0))
    assert len(converted) == 2


def test_a_failed_conversion_leaves_nothing_that_looks_done(cache: Path) -> None:
    with pytest.raises(ValueError, match="no such network"):
        convert_once("scaled", "a", fail)
    assert not [*cache.rglob("*.xml"), *cache.rglob("*.bin")]
    assert convert_once("scaled", "a", partial(convert, 2.0)).is_file()


def test_a_signal_after_networks_are_gone_does_not_end_the_process() -> None:
    path = convert_once("scaled", "a", partial(convert, 2.0))
    code = f"""
import os, signal
from pathlib import Path
from dfdc_lib.backends.openvino_models import CompiledNetwork
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
first, second = (CompiledNetwork(Path({str(path)!r})) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGUSR1)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "handled\n"
