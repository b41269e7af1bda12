"""The three networks of MTCNN, run by OpenVINO or by PyTorch.

Input: an engine. Output: `mtcnn.Networks`. The weights are those in facenet-pytorch's package.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from dfdc_lib.backends.choice import Engine
from dfdc_lib.backends.openvino_models import CompiledNetwork, convert_once, save, to_openvino
from dfdc_lib.backends.remote import RunNetwork, connect, serve
from dfdc_lib.faces.mtcnn import OUTPUT_SIDE, REFINED_SIDE
from dfdc_lib.staleness import content_fingerprint

INPUTS = {"PNet": (-1, -1), "RNet": (REFINED_SIDE,) * 2, "ONet": (OUTPUT_SIDE,) * 2}  # height, width; -1 = any
CENTRE, SCALE = 127.5, 0.0078125  # facenet-pytorch: pixel values become -1 ... 1
BATCH_STEP = 16  # crops: batches are filled up to a multiple, because every new size costs OpenVINO a preparation


class LoadedNetworks:
    """The networks of MTCNN on some device, float32; see `mtcnn.Networks` for the methods.

    `run`: runs the network of this name on images (N, 3, H, W) and returns its outputs.
    """

    def __init__(self, run: RunNetwork) -> None:
        self._run = run

    def propose(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P-Net: return probabilities (N, h, w) and offsets (N, 4, h, w)."""
        offsets, probabilities = self._run("PNet", images)
        return probabilities[:, 1], offsets

    def refine(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """R-Net: return probabilities (N,) and offsets (N, 4)."""
        offsets, probabilities = self._run("RNet", images)
        return probabilities[:, 1], offsets

    def output(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """O-Net: return probabilities (N,), offsets (N, 4) and landmarks (N, 10)."""
        offsets, landmarks, probabilities = self._run("ONet", images)
        return probabilities[:, 1], offsets, landmarks


def load_networks(engine: Engine) -> LoadedNetworks:
    """Return the networks of MTCNN on the device of an engine, or those of the process at its address."""
    if engine.address:
        return LoadedNetworks(connect(engine.address))
    return LoadedNetworks(_openvino_runner() if engine.backend == "openvino" else torch_runner(engine.device))


@contextmanager
def engine_of_workers(engine: Engine, executor: str) -> Iterator[Engine]:
    """Yield the engine that an executor's tasks use to find faces; it is valid while the block runs.

    With worker processes and a GPU, this process runs the networks for them. The workers only decode and do not import
    PyTorch, and the GPU holds one context instead of one per worker. `executor`: as in
    `executors.choose_task_runner`; the workers of a cluster use their own GPU.
    """
    if executor != "processes" or not engine.on_gpu:
        yield engine
        return
    loading = Lock()

    @cache
    def networks() -> RunNetwork:
        return torch_runner(engine.device)

    def run(name: str, images: np.ndarray) -> list[np.ndarray]:
        with loading:  # with the first call: a stage that is up to date needs no GPU
            loaded = networks()
        return loaded(name, images)

    with serve(run) as address:
        yield engine._replace(address=address)


def torch_runner(device: str) -> RunNetwork:
    """Return a function that runs MTCNN's networks with PyTorch on a device; several threads may call it.

    They run in float32. In float16, which is as precise as TF32, the boxes of 69 of 101 faces of FaceForensics++ moved
    by more than 0.1 pixels, the median by 3 pixels.
    """
    import torch

    from dfdc_lib.backends.transfer import to_device

    torch.backends.cudnn.allow_tf32 = False  # not restored: one thread would change it for the others
    networks = {name: _with_weights(name).to(device) for name in INPUTS}

    def run(name: str, images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = networks[name](to_device(torch.from_numpy(images), torch.device(device)))
            return [output.cpu().numpy() for output in outputs]

    return run


def convert_networks() -> dict[str, Path]:
    """Return the files of the networks converted for OpenVINO, by name; convert them if the cache lacks them."""
    return {name: convert_once(name, _weights_fingerprint(name), partial(_convert, name)) for name in INPUTS}


def _openvino_runner() -> RunNetwork:
    networks = {name: CompiledNetwork(path) for name, path in convert_networks().items()}

    def run(name: str, images: np.ndarray) -> list[np.ndarray]:
        count = len(images) if name == "PNet" else -(-len(images) // BATCH_STEP) * BATCH_STEP
        batch = np.zeros((count, *images.shape[1:]), np.float32) if count > len(images) else images
        batch[: len(images)] = images
        return [output[: len(images)] for output in networks[name](batch)]

    return run


def _with_weights(name: str) -> Any:
    """Return a network of facenet-pytorch that takes pixel values 0-255, in eval mode."""
    import torch
    from facenet_pytorch.models import mtcnn

    class Normalised(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = getattr(mtcnn, name)()

        def forward(self, images: torch.Tensor) -> Any:
            return self.network((images - CENTRE) * SCALE)

    return Normalised().eval()


def _convert(name: str, path: Path) -> None:
    import torch

    height, width = (40 if side < 0 else side for side in INPUTS[name])
    example = torch.zeros(2, 3, height, width)
    save(to_openvino(_with_weights(name), example, [-1, 3, *INPUTS[name]]), path)


def _weights_fingerprint(name: str) -> str:
    package = importlib.util.find_spec("facenet_pytorch")  # importing it would import PyTorch
    assert package is not None and package.origin is not None
    return content_fingerprint(Path(package.origin).parent / "data" / f"{name.lower()}.pt")
