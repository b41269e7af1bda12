"""Models as files: weights and, beside them, the card that says what they are and how crops are made for them.

The kit's own form is a folder with `weights.safetensors` and `model.json` (a `ModelCard`). The winner's released checkpoints are pickles of
torch; they are read without running anything in them, under the recipe of his inference. Loading is strict: a missing, unexpected or
misshapen weight is an error that names it.
Source: S. Seferbekov 2020 for the form of the released files.
"""

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dfdc_lib.classifier import released
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.records import Calibration, DetectorSettings, ModelCard, Recipe
from dfdc_lib.run_folder import Run, project_path

WEIGHTS_FILE, CARD_FILE, CALIBRATION_FILE = "weights.safetensors", "model.json", "calibration.json"
KEYS_SHOWN = 4  # in an error message

# Winner's inference: his thresholds there, every video halved, a third of the face on each side, 380 pixels, by area or cubic.
WINNER_RECIPE = Recipe(
    detector=DetectorSettings(thresholds=(0.7, 0.8, 0.8), resize="half"),
    margin=1 / 3,
    size=380,
    interpolation_down="area",
    interpolation_up="cubic",
)
RELEASED_NAME = re.compile(r"DeepFakeClassifier_(?P<encoder>[\w.]+)_(?P<fold>\d+)_(?P<epoch>\d+)$")
RELEASED_PREFIX = "module."  # DistributedDataParallel's

# A NumPy number, such as the log loss that the winner's training stored beside the weights: data, and all that may be in a pickle besides
# tensors. The first two are one function, by its name in NumPy 1 and in NumPy 2.
_SCALAR: Any = np.float64(0).__reduce__()[0]
HARMLESS: list[Callable | tuple[Callable, str]] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
]


def save_model(folder: Path, model: Classifier, card: ModelCard) -> None:
    """Write a model folder; made if absent, a model in it is replaced.

    The card comes last: a folder with a card holds the weights that belong to it, whatever was killed when. A calibration belongs to the
    weights it was fitted for and goes with them; notebook 08 writes the next one.

    Args:
        folder: `models/<name>` of a run folder.
        model: on any device, in any mode; not wrapped in DistributedDataParallel.
        card: what the model is; its numbers must be finite.
    Raises:
        ValueError: if the card would not read back.
    """
    text = card.model_dump_json(indent=1, exclude={"calibration"})
    _parse_card(text, f"the card of {card.name}")
    folder.mkdir(parents=True, exist_ok=True)
    partial_weights, partial_card = folder / f".{WEIGHTS_FILE}.partial", folder / f".{CARD_FILE}.partial"
    save_file({key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}, partial_weights)
    partial_card.write_text(text)
    for name in (CARD_FILE, CALIBRATION_FILE):
        (folder / name).unlink(missing_ok=True)
    partial_weights.replace(folder / WEIGHTS_FILE)
    partial_card.replace(folder / CARD_FILE)


def load_model(folder: Path) -> tuple[Classifier, ModelCard]:
    """Read a model folder; the classifier is on the CPU and in evaluation mode.

    Raises:
        FileNotFoundError: if the card or the weights are missing.
        ValueError: if the card cannot be read, or the weights are damaged or not those of the card's encoder.
    """
    card_path, weights_path = folder / CARD_FILE, folder / WEIGHTS_FILE
    for path in (card_path, weights_path):
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: {folder} is no model folder, or its training did not get as far; run notebook 06"
            )
    card = _parse_card(card_path.read_text(), str(card_path))
    try:
        tensors = load_file(weights_path)
    except SafetensorError as error:
        raise ValueError(
            f"{weights_path} is damaged or no safetensors file ({error}): train the model again, or copy the file again"
        ) from error
    model = create_model(card.encoder, pretrained=False, drop_path=0, noise=card.noise)
    _load_strict(model, tensors, weights_path)
    return model.eval(), card.model_copy(update={"calibration": _read_calibration(folder / CALIBRATION_FILE)})


def load_released(path: Path) -> tuple[Classifier, ModelCard]:
    """Read a checkpoint of the winner's form, on the CPU and in evaluation mode, under the recipe of the winner's inference.

    The encoder is read from the file name, `…DeepFakeClassifier_<timm name>_<fold>_<epoch>`. Nothing in the file is run: a pickled object
    other than a tensor or a number is refused.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the name does not say the encoder, the file is damaged or holds other objects, or its weights are not the encoder's.
    """
    named = RELEASED_NAME.search(path.name)
    if not named:
        raise ValueError(
            f"a checkpoint of the winner's form is called …DeepFakeClassifier_<encoder>_<fold>_<epoch>, got {path.name}"
        )
    card = ModelCard(
        name=path.name,
        encoder=named["encoder"],
        recipe=WINNER_RECIPE,
        training={"epoch": int(named["epoch"])},
        data="DFDC",
        validation_fold=int(named["fold"]),
    )
    tensors = _read_state_dict(path)
    model = create_model(card.encoder, pretrained=False, drop_path=0)
    _load_strict(model, tensors, path, RELEASED_PREFIX)
    return model.eval(), card


def load_any(name: str, run: Run) -> tuple[Classifier, ModelCard]:
    """Find a model by what a user calls it, and load it.

    Args:
        name: of a model in the run folder, or of a released checkpoint in the cache folder; or the path of a model folder or of a file of
            the winner's form, a relative one starting at the project folder. A name goes before a path.
        run: whose `models/` is looked in.
    Raises:
        FileNotFoundError: if there is no such model; the message lists what there is.
        ValueError: if it cannot be loaded as it should be.
    """
    own, path, checkpoint = (
        run.root / "models" / name,
        project_path(name),
        {item.name: item for item in released.RELEASED}.get(name),
    )
    if (own / CARD_FILE).is_file():
        return load_model(own)
    if checkpoint:
        return load_released(_checked_release(checkpoint))
    if path.is_dir():
        return load_model(path)
    if path.is_file():
        return load_released(path)
    trained = sorted(card.parent.name for card in run.root.glob(f"models/*/{CARD_FILE}"))
    cached = [item.name for item in released.RELEASED if (released.cache_folder() / item.name).is_file()]
    raise FileNotFoundError(
        f"there is no model {name!r}; trained in {run.root}: {', '.join(trained) or 'none'}; "
        f"released, in {released.cache_folder()}: {', '.join(cached) or 'none, see `dfdc weights download`'}; or give a model folder's path"
    )


def _checked_release(checkpoint: released.Released) -> Path:
    path = released.cache_folder() / checkpoint.name
    state = released.verify(checkpoint, released.cache_folder())
    if state == "missing":
        raise FileNotFoundError(f"{path} is missing: run `dfdc weights download {checkpoint.name}`")
    if state == "wrong":
        raise ValueError(
            f"{path} is not the released file (its SHA-256 differs): run `dfdc weights download {checkpoint.name}`"
        )
    return path


def _read_calibration(path: Path) -> Calibration | None:
    if not path.is_file():
        return None
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(
            f"{path} is no calibration: {error.errors()[0]['msg']}; delete it, or run notebook 08 again"
        ) from error


def _parse_card(text: str, source: str) -> ModelCard:
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the whole"
        raise ValueError(f"{source} is no model card: {where}: {fault['msg']}") from error


def _read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read the `state_dict` of a pickle of torch, allowing tensors and numbers only."""
    try:
        with torch.serialization.safe_globals(HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, IndexError, struct.error) as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))  # how torch words it
        if refused:
            raise ValueError(
                f"{path} holds a Python object ({refused[1]}) and was not loaded: loading it could run anything"
            ) from error
        raise ValueError(f"{path} is damaged, cut short or no checkpoint of torch: fetch it again") from error
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ValueError(
            f"{path} must hold a dict with a state_dict of tensors, got {type(content).__name__} without one"
        )
    return state


def _load_strict(model: Classifier, tensors: Mapping[str, torch.Tensor], source: Path, prefix: str = "") -> None:
    """Load weights whose names, less the prefix, and shapes are exactly the model's."""
    expected = {prefix + key: tensor.shape for key, tensor in model.state_dict().items()}
    misshapen = [key for key in expected.keys() & tensors.keys() if tensors[key].shape != expected[key]]
    faults = [
        ("missing", sorted(expected.keys() - tensors.keys())),
        ("unexpected", sorted(tensors.keys() - expected.keys())),
        (
            "of wrong shape",
            [f"{key} {tuple(tensors[key].shape)} and not {tuple(expected[key])}" for key in sorted(misshapen)],
        ),
    ]
    if any(keys for _, keys in faults):
        listed = "; ".join(f"{len(keys)} {fault}: {', '.join(keys[:KEYS_SHOWN])}" for fault, keys in faults if keys)
        raise ValueError(f"{source} does not hold the weights of this encoder: {listed}")
    model.load_state_dict({key.removeprefix(prefix): tensor for key, tensor in tensors.items()}, strict=True)
