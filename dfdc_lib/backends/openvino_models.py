"""Networks that run with OpenVINO: converted from PyTorch once, cached on disk, compiled for this CPU.

Input: a function that writes the converted network. Output: a compiled network. The converter may import PyTorch, so it
runs in a process of its own, unless PyTorch is imported already. Converted networks lie in $DFDC_CACHE, by default
`dfdc_lib/openvino` in $XDG_CACHE_HOME (~/.cache); the folder can be deleted at any time.
"""

import locale
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from filelock import FileLock

from dfdc_lib.processes import core_count
from dfdc_lib.staleness import fingerprint

# OpenVINO sends statistics of its use, from a thread that starts when it is imported, unless it cannot import this.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

LOCALE = locale.setlocale(locale.LC_ALL)  # the present one
# OpenVINO would choose bfloat16 by itself where the CPU has it.
HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}  # precision of a recipe -> what is not quantised


def cache_folder() -> Path:
    """Return the folder of converted networks."""
    if chosen := os.environ.get("DFDC_CACHE"):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dfdc_lib" / "openvino"


def cached_path(name: str, key: str) -> Path:
    """Return where `convert_once` keeps the network that it converts for these arguments."""
    key = fingerprint(key, version("openvino"), version("torch"))
    return cache_folder() / f"{name}-{key}" / "network.xml"


def convert_once(name: str, key: str, convert: Callable[[Path], None]) -> Path:
    """Return the file of a converted network; convert it first if the cache lacks it.

    Args:
        name: part of the file's name, for people.
        key: fingerprint of the weights and of everything else that the conversion depends on, except versions.
        convert: writes the network, as an .xml file beside a .bin file of the same name; picklable. Any exception that
            it raises is raised here.
    """
    path = cached_path(name, key)
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not path.is_file():
            with TemporaryDirectory(dir=folder) as partial:
                _convert_elsewhere(convert, Path(partial) / path.name)
                for written in (path.with_suffix(".bin"), path):
                    (Path(partial) / written.name).replace(written)
    return path


@cache
def core() -> Any:
    """Return the process's one `openvino.Core`, which lives as long as the process.

    Its CPU plugin gives the thread an alternate signal stack, and restores the previous one when it is destroyed. Of
    two cores, the second may restore the freed stack of the first: the next signal (an interrupt, the end of a child
    process) then kills the process (seen with OpenVINO 2026.4).
    """
    import openvino

    return openvino.Core()


class CompiledNetwork:
    """A converted network, compiled for this CPU; several threads may call it.

    It uses as many threads as this process may: OMP_NUM_THREADS, else one per core.

    Args:
        path: the .xml file.
        precision: float32, bfloat16, or int8 for a quantised network.
    """

    def __init__(self, path: Path, precision: str = "float32") -> None:
        settings = {
            "CACHE_DIR": str(path.parent / "compiled"),
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": int(os.environ.get("OMP_NUM_THREADS", core_count())),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._model = core().compile_model(str(path), "CPU", settings)
        # OpenVINO switches to the locale "C" meanwhile; of two threads that compile, one could leave it switched.
        locale.setlocale(locale.LC_ALL, LOCALE)
        self._of_thread = threading.local()  # a request serves one thread

    @property
    def output_count(self) -> int:
        """Number of arrays that a call returns."""
        return len(self._model.outputs)

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        """Return the network's outputs for its one input."""
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._model.create_infer_request()
        return list(self._of_thread.request.infer(batch, share_inputs=True).to_tuple())

    def in_batches(self, images: np.ndarray, size: int) -> list[np.ndarray]:
        """Return the outputs for any number of uint8 images, computed in batches of one size.

        The last batch is filled up, because a new size costs a preparation.
        """
        outputs = []
        for start in range(0, max(1, len(images)), size):
            part = images[start : start + size]
            batch = np.zeros((size, *images.shape[1:]), np.uint8)
            batch[: len(part)] = part
            outputs.append([output[: len(part)] for output in self(batch)])
        return [np.concatenate(batches) for batches in zip(*outputs, strict=True)]


def to_openvino(network: Any, example: Any, shape: list[int]) -> Any:
    """Convert a PyTorch module with one input; return an `openvino.Model`.

    Args:
        network: in eval mode, outside of `torch.inference_mode`.
        example: an input tensor.
        shape: of the input; -1 = any size.
    """
    import warnings

    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated in torch, and OpenVINO uses it
        return openvino.convert_model(network, example_input=example, input=[openvino.PartialShape(shape)])


def save(model: Any, path: Path) -> None:
    """Write an `openvino.Model` as .xml and .bin files, weights in float32."""
    import openvino

    openvino.save_model(model, path, compress_to_fp16=False)


def _convert_elsewhere(convert: Callable[[Path], None], path: Path) -> None:
    if "torch" in sys.modules:
        convert(path)
        return
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(convert, path).result()
