"""Write and read the weights of models; `model_files` finds models and reads their cards.

The winner's released checkpoints are pickles of torch; they are read without running code in them. Loading is strict: a
missing, unexpected or misshapen weight is an error.
Source: S. Seferbekov 2020 for the form of the released files.
"""

import re
import struct
import textwrap
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.classifier.model_files import (
    CARD_FILE,
    IN_OTHER_FILES,
    SEEN_FILE,
    TEST_METRICS_FILE,
    WEIGHTS_FILE,
    ModelFiles,
    calibration_path,
    parse_card,
    read_model_folder,
    write_seen,
)
from dfdc_lib.records import ModelCard
from dfdc_lib.run_folder import atomic_path

RELEASED_PREFIX = "module."  # of DistributedDataParallel

# Allowed in a pickle besides tensors: a NumPy number, such as the log loss that the winner stored beside the weights.
# Its constructor has one name in NumPy 1 and another in NumPy 2.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_SCALARS = [(_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
HARMLESS: list[Any] = [*_SCALARS, np.dtype, np.dtypes.Float64DType, np.dtypes.Float32DType]


def save_model(folder: Path, model: Classifier, card: ModelCard) -> None:
    """Write the model folder `<run>/models/<name>`, or replace the model in it.

    The card is written last, so a folder with a card always has the weights that belong to it. The calibration and the
    test metrics of replaced weights are deleted. Raises ValueError if the card contains NaN or infinity.
    """
    text = card.model_dump_json(indent=1, exclude=IN_OTHER_FILES)
    parse_card(text, f"the card of {card.name}")
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    # The inner context ends first: the weights are renamed before the card.
    with atomic_path(folder / CARD_FILE) as new_card, atomic_path(folder / WEIGHTS_FILE) as new_weights:
        new_card.write_text(text, encoding="utf-8")
        save_file(weights, new_weights)
        for path in (folder / CARD_FILE, folder / SEEN_FILE, folder / TEST_METRICS_FILE, calibration_path(folder)):
            path.unlink(missing_ok=True)
        if card.trained_on is not None and card.chosen_by is not None:
            write_seen(folder, card.trained_on, card.chosen_by)


def load_model(folder: Path) -> tuple[Classifier, ModelCard]:
    """Read a model folder; return the classifier, on the CPU and in eval mode, and its card.

    Raises errors as `model_files.read_model_folder` and `load_classifier`.
    """
    files = read_model_folder(folder)
    return load_classifier(files), files.card


def load_classifier(files: ModelFiles) -> Classifier:
    """Return the classifier of a model, on the CPU and in eval mode.

    Raises ValueError if the weights are damaged, hold anything but tensors and numbers, or do not fit the encoder.
    """
    tensors = _read_safetensors(files.weights) if files.weights.name == WEIGHTS_FILE else _read_released(files.weights)
    model = create_model(files.card.encoder, pretrained=False, drop_path=0, noise=files.card.noise)
    _load_weights(model, tensors, files.weights)
    return model


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again, or train the model again") from error


def _read_released(path: Path) -> dict[str, torch.Tensor]:
    return {key.removeprefix(RELEASED_PREFIX): tensor for key, tensor in _read_state_dict(path).items()}


def _read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Return the `state_dict` in a pickle of torch; only tensors and numbers are allowed in it."""
    try:
        with torch.serialization.safe_globals(HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, IndexError, struct.error) as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))  # torch's wording
        if refused:
            raise ValueError(f"{path} was not loaded, it contains the Python object {refused[1]}") from error
        raise ValueError(f"{path} is damaged or not a checkpoint of torch: download it again") from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ValueError(f"{path} must contain a dict with a state_dict of tensors, got {type(content).__name__}")
    return state


def _load_weights(model: Classifier, tensors: Mapping[str, torch.Tensor], source: Path) -> None:
    """Load weights with exactly the names and shapes of the model, and set it to eval mode."""
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        faults = [line.strip() for line in str(error).splitlines()[1:]]  # names are in quotes; one line per wrong shape
        count = sum(max(1, line.count('"') // 2) for line in faults)
        listed = textwrap.shorten("; ".join(faults), 300)
        raise ValueError(f"{source} does not fit this encoder, {count} weights differ: {listed}") from error
    model.eval()
