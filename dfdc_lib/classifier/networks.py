"""A model ready to score crops, run by OpenVINO on the CPU or by PyTorch on a GPU.

Input: the files of a model, the recipe and the engine. Output: a `Network`. Validation and test during training use
PyTorch (`inference.logits_of`); its scores and OpenVINO's differ by less than 1e-3 in float32.
"""

from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from dfdc_lib.backends.choice import Engine, choose_engine
from dfdc_lib.backends.openvino_models import CompiledNetwork, cached_path, convert_once
from dfdc_lib.classifier.heat import heat_of_evidence
from dfdc_lib.classifier.model_files import WEIGHTS_FILE, ModelFiles, read_model_folder
from dfdc_lib.records import Quantization, Recipe
from dfdc_lib.staleness import code_fingerprint, fingerprint

CROPS_PER_BATCH, GPU_CROPS_PER_BATCH = 8, 64
NO_INT8_IN_TORCH = "PyTorch runs no int8 networks here: set PRECISION to float32, or BACKEND to openvino (CPU)"


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


def network_fingerprint(files: ModelFiles, recipe: Recipe, engine: Engine) -> str:
    """Return a fingerprint of the weights that `load_network` would use; for int8, also of the quantised network.

    Raises ValueError if int8 is asked of PyTorch, or of a model that `dfdc quantize` has not quantised.
    """
    if recipe.precision != "int8":
        return files.fingerprint
    if engine.backend != "openvino":
        raise ValueError(NO_INT8_IN_TORCH)
    return fingerprint(files.fingerprint, read_quantization(files, recipe).network)


def read_quantization(files: ModelFiles, recipe: Recipe) -> Quantization:
    """Return the record of a model's int8 network; raise ValueError if there is none for exactly these weights."""
    path = quantized_path(files, recipe).with_suffix(".json")
    if not path.is_file():
        place = files.weights.parent if files.weights.name == WEIGHTS_FILE else files.weights
        remedy = f"run `dfdc quantize {place}`, which makes one if its loss is small, or set PRECISION to float32"
        raise ValueError(
            f"model {files.card.name} has no int8 network of its present weights in {path.parent}: {remedy}"
        )
    return Quantization.model_validate_json(path.read_bytes())


def quantized_path(files: ModelFiles, recipe: Recipe) -> Path:
    """Return where the int8 network of a model lies, beside its record, if `dfdc quantize` has written them."""
    return cached_path(files.card.encoder, _conversion_key(files, recipe)).with_name("int8.xml")


def converted_path(files: ModelFiles, recipe: Recipe) -> Path:
    """Return the file of a model converted for OpenVINO, from the cache if it is there."""
    return convert_once(files.card.encoder, _conversion_key(files, recipe), partial(_convert, files, recipe))


def prepare(folder: Path) -> ModelFiles:
    """Return the model in a folder; convert it first if OpenVINO runs it here, so that its first use need not wait."""
    files = read_model_folder(folder)
    if choose_engine().backend == "openvino":
        converted_path(files, files.card.recipe)
    return files


class OpenVinoNetwork:
    """A model run by OpenVINO on the CPU; it is converted the first time."""

    def __init__(self, files: ModelFiles, recipe: Recipe) -> None:
        if recipe.precision == "float16":
            raise ValueError("OpenVINO has no float16 on a CPU: set PRECISION to float32, or BACKEND to torch")
        self.batch_size = CROPS_PER_BATCH
        self._files, self._recipe = files, recipe
        if recipe.precision == "int8":
            read_quantization(files, recipe)  # raises an error if there is none
            path = quantized_path(files, recipe)
        else:
            path = converted_path(files, recipe)
        self._network = CompiledNetwork(path, recipe.precision)

    def logits(self, squares: np.ndarray) -> np.ndarray:
        """Return the logits of squares, (n,) float32."""
        return self._network.in_batches(squares, self.batch_size)[0]

    def heat_maps(self, squares: np.ndarray) -> np.ndarray:
        """Return a heat map of each square, (n, size, size) float32; see `gradcam.heat_maps`."""
        if self._network.output_count == 1:  # the logit is no sum over places: only PyTorch has the gradient
            precision = "float32" if self._recipe.precision == "int8" else self._recipe.precision
            recipe = self._recipe.model_copy(update={"precision": precision})
            return TorchNetwork(self._files, recipe, Engine("torch")).heat_maps(squares)
        return heat_of_evidence(self._network.in_batches(squares, self.batch_size)[1], self._recipe.size)


class TorchNetwork:
    """A model run by PyTorch."""

    def __init__(self, files: ModelFiles, recipe: Recipe, engine: Engine) -> None:
        from dfdc_lib.classifier.checkpoints import load_classifier

        if recipe.precision == "int8":
            raise ValueError(NO_INT8_IN_TORCH)
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


def _conversion_key(files: ModelFiles, recipe: Recipe) -> str:
    network = files.fingerprint, files.card.encoder, files.card.noise, recipe.size, recipe.mean, recipe.std
    return fingerprint(*network, code_fingerprint("dfdc_lib.classifier.convert"))


def _convert(files: ModelFiles, recipe: Recipe, path: Path) -> None:
    from dfdc_lib.classifier.convert import convert_classifier  # imports PyTorch

    convert_classifier(files, recipe, path)
