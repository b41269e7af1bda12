"""A model ready to score crops, run by OpenVINO on the CPU or by PyTorch on a GPU.

Input: the files of a model, the recipe and the engine. Output: a `Network`. Validation and test during training use
PyTorch (`inference.logits_of`); its scores and OpenVINO's differ by less than 1e-3 in float32.
"""

from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from dfdc_lib.backends.choice import Engine, choose_engine
from dfdc_lib.backends.openvino_models import CompiledNetwork, convert_once
from dfdc_lib.classifier.heat import heat_of_evidence
from dfdc_lib.classifier.model_files import ModelFiles, read_model_folder
from dfdc_lib.records import Recipe
from dfdc_lib.staleness import code_fingerprint, fingerprint

CROPS_PER_BATCH, GPU_CROPS_PER_BATCH = 8, 64


class Network(Protocol):
    """A model; squares are those of `preprocess.fit_to_square`, (n, size, size, 3) uint8 RGB."""

    batch_size: int  # squares to score at once

    def logits(self, squares: np.ndarray) -> np.ndarray:
        """Return the logits of squares, (n,) float32."""
        ...

    def heat_maps(self, squares: np.ndarray) -> np.ndarray:
        """Return a heat map of each square, (n, size, size) float32; see `gradcam.heat_maps`."""
        ...


def load_network(files: ModelFiles, recipe: Recipe, engine: Engine) -> Network:
    """Return a model ready to run on an engine, in the recipe's precision.

    Raises ValueError if the weights are damaged or do not fit the encoder, or the engine lacks the precision.
    """
    return OpenVinoNetwork(files, recipe) if engine.backend == "openvino" else TorchNetwork(files, recipe, engine)


def prepare(folder: Path) -> ModelFiles:
    """Return the model in a folder; convert it first if OpenVINO runs it here, so that its first use need not wait."""
    files = read_model_folder(folder)
    if choose_engine().backend == "openvino":
        _converted(files, files.card.recipe)
    return files


class OpenVinoNetwork:
    """A model run by OpenVINO on the CPU; it is converted the first time."""

    def __init__(self, files: ModelFiles, recipe: Recipe) -> None:
        if recipe.precision == "float16":
            raise ValueError("OpenVINO has no float16 on a CPU: set PRECISION to float32, or BACKEND to torch")
        self.batch_size = CROPS_PER_BATCH
        self._files, self._recipe = files, recipe
        self._network = CompiledNetwork(_converted(files, recipe), recipe.precision)

    def logits(self, squares: np.ndarray) -> np.ndarray:
        """Return the logits of squares, (n,) float32."""
        return self._run(squares)[0]

    def heat_maps(self, squares: np.ndarray) -> np.ndarray:
        """Return a heat map of each square, (n, size, size) float32; see `gradcam.heat_maps`."""
        if self._network.output_count == 1:  # the logit is no sum over places: only PyTorch has the gradient
            return TorchNetwork(self._files, self._recipe, Engine("torch")).heat_maps(squares)
        return heat_of_evidence(self._run(squares)[1], self._recipe.size)

    def _run(self, squares: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for squares; batches are filled up, because a new size costs a preparation."""
        outputs = []
        for start in range(0, max(1, len(squares)), self.batch_size):
            part = squares[start : start + self.batch_size]
            batch = np.zeros((self.batch_size, *squares.shape[1:]), np.uint8)
            batch[: len(part)] = part
            outputs.append([output[: len(part)] for output in self._network(batch)])
        return [np.concatenate(batches) for batches in zip(*outputs, strict=True)]


class TorchNetwork:
    """A model run by PyTorch."""

    def __init__(self, files: ModelFiles, recipe: Recipe, engine: Engine) -> None:
        from dfdc_lib.classifier.checkpoints import load_classifier

        self.batch_size = GPU_CROPS_PER_BATCH if engine.on_gpu else CROPS_PER_BATCH
        self._recipe = recipe
        self._model = load_classifier(files).to(engine.device)

    def logits(self, squares: np.ndarray) -> np.ndarray:
        """Return the logits of squares, (n,) float32."""
        import torch

        from dfdc_lib.classifier.inference import logits_of

        return logits_of(self._model, torch.from_numpy(squares).permute(0, 3, 1, 2), self._recipe)

    def heat_maps(self, squares: np.ndarray) -> np.ndarray:
        """Return a heat map of each square, (n, size, size) float32; see `gradcam.heat_maps`."""
        from dfdc_lib.classifier.gradcam import heat_maps

        return heat_maps(self._model, squares, self._recipe)


def _converted(files: ModelFiles, recipe: Recipe) -> Path:
    """Return the file of a model converted for OpenVINO, from the cache if it is there."""
    network = files.fingerprint, files.card.encoder, files.card.noise, recipe.size, recipe.mean, recipe.std
    key = fingerprint(*network, code_fingerprint("dfdc_lib.classifier.convert"))
    return convert_once(files.card.encoder, key, partial(_convert, files, recipe))


def _convert(files: ModelFiles, recipe: Recipe, path: Path) -> None:
    from dfdc_lib.classifier.convert import convert_classifier  # imports PyTorch

    convert_classifier(files, recipe, path)
