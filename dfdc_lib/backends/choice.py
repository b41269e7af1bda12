"""Choose the library and the device that run the networks, without importing PyTorch.

Input: what the user asked for. Output: an `Engine`. OpenVINO runs networks on the CPU, PyTorch on a GPU; training is
PyTorch's on both.
"""

import ctypes
import os
from functools import cache
from typing import Literal, NamedTuple, get_args

Backend = Literal["auto", "openvino", "torch"]
CUDA_LIBRARY = "libcuda.so.1" if os.name == "posix" else "nvcuda.dll"


class Engine(NamedTuple):
    """The library that runs a network, "openvino" or "torch", and the device: "cpu", "cuda" or "cuda:1".

    `address`: of the process that runs MTCNN's networks for this one, see `remote.serve`; "" = this process runs them.
    """

    backend: Literal["openvino", "torch"] = "openvino"
    device: str = "cpu"
    address: str = ""

    @property
    def on_gpu(self) -> bool:
        """Whether networks run on an NVIDIA GPU."""
        return self.device != "cpu"


ON_CPU = Engine()


def require_backend(backend: str) -> None:
    """Raise ValueError unless `backend` is "auto", "openvino" or "torch"."""
    if backend not in get_args(Backend):
        raise ValueError(f"the backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")


def choose_engine(backend: str = "auto", device: str = "auto") -> Engine:
    """Return the engine to use.

    Args:
        backend: "openvino", "torch", or "auto": OpenVINO on the CPU, PyTorch on a GPU.
        device: "cpu", "cuda", "cuda:1" ..., or "auto": a GPU if there is one that PyTorch can use, else the CPU.
    Raises:
        ValueError: for another word, or OpenVINO on a GPU.
    """
    require_backend(backend)
    if device != "auto" and device.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"DEVICE must be auto, cpu, cuda or cuda:<number>, got {device!r}")
    if device == "auto":
        device = "cuda" if backend != "openvino" and has_gpu() else "cpu"
    if backend == "openvino" and device != "cpu":
        raise ValueError(f"OpenVINO runs networks on the CPU only, got DEVICE={device}: set BACKEND to torch or auto")
    if backend == "auto":
        backend = "openvino" if device == "cpu" else "torch"
    return Engine("openvino" if backend == "openvino" else "torch", device)


@cache
def has_gpu() -> bool:
    """Return whether PyTorch can use an NVIDIA GPU; PyTorch is imported only if the driver reports one."""
    if not _driver_reports_gpu():
        return False
    import torch  # here: importing it takes seconds

    return torch.cuda.is_available()


def _driver_reports_gpu() -> bool:
    try:
        driver = ctypes.CDLL(CUDA_LIBRARY)
    except OSError:  # no driver
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
