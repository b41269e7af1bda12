"""Models as files: weights, and a card that describes them and how their crops are made.

A model folder has `weights.safetensors`, `seen.csv` (the videos that the model was trained on and chosen by) and
`model.json` (the rest of its `ModelCard`). The winner's released checkpoints are pickles
of torch; they are read without running code in them. Loading is strict: a missing, unexpected or misshapen weight is an
error.
Source: S. Seferbekov 2020 for the form of the released files.
"""

import json
import re
import struct
import textwrap
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dfdc_lib.classifier import released
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.data.folds import DFDC_PARTS, PARTS_PER_FOLD
from dfdc_lib.evaluation.unseen import CHOSEN_BY, TRAINED_ON, part_name
from dfdc_lib.records import Calibration, DetectorSettings, ModelCard, Recipe, Seen
from dfdc_lib.run_folder import Run, atomic_path, project_path

WEIGHTS_FILE, CARD_FILE, TEST_METRICS_FILE = "weights.safetensors", "model.json", "test_metrics.json"
SEEN_FILE, SEEN_COLUMNS = "seen.csv", ["role", "kind", "value"]
SEEN_ROLES = {"trained_on": TRAINED_ON, "chosen_by": CHOSEN_BY}  # field of a card -> role in its SEEN_FILE
IN_OTHER_FILES = {"calibration", *SEEN_ROLES}

# The winner's inference: lower thresholds, halved frames, a third of the face as margin, 380 pixels.
WINNER_DETECTOR = DetectorSettings(thresholds=(0.7, 0.8, 0.8), resize="winner")
WINNER_RECIPE = Recipe(detector=WINNER_DETECTOR, margin=1 / 3, edges="winner", frames="opencv", size=380)
# Of the winner's 16 folds, the first chose his checkpoints: parts 0-2.
WINNER_SEEN = {
    "trained_on": Seen(names=tuple(map(part_name, range(PARTS_PER_FOLD, DFDC_PARTS)))),
    "chosen_by": Seen(names=tuple(map(part_name, range(PARTS_PER_FOLD)))),
}
RELEASED_NAME = re.compile(r"DeepFakeClassifier_(?P<encoder>[\w.]+)_(?P<fold>\d+)_(?P<epoch>\d+)$")
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
    _parse_card(text, f"the card of {card.name}")
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    # The inner context ends first: the weights are renamed before the card.
    with atomic_path(folder / CARD_FILE) as new_card, atomic_path(folder / WEIGHTS_FILE) as new_weights:
        new_card.write_text(text)
        save_file(weights, new_weights)
        for path in (folder / CARD_FILE, folder / SEEN_FILE, folder / TEST_METRICS_FILE, _calibration_path(folder)):
            path.unlink(missing_ok=True)
        if card.trained_on is not None and card.chosen_by is not None:
            write_seen(folder, card.trained_on, card.chosen_by)


def write_seen(folder: Path, trained_on: Seen, chosen_by: Seen) -> None:
    """Write seen.csv into a model folder: a row for each name or video that the model was trained on or chosen by."""
    lists = {TRAINED_ON: trained_on, CHOSEN_BY: chosen_by}
    fields = [(role, kind, value) for role, seen in lists.items() for kind, values in seen for value in values]
    with atomic_path(folder / SEEN_FILE) as path:
        pd.DataFrame(fields, columns=SEEN_COLUMNS).to_csv(path, index=False)


def load_model(folder: Path) -> tuple[Classifier, ModelCard]:
    """Read a model folder; return the classifier, on the CPU and in eval mode, and its card.

    The card includes, if they exist, what the model was trained on and chosen by, its test metrics, and its calibration
    (`calibrations/<name>.json` of the run folder). Raises FileNotFoundError if the card or the weights are missing,
    ValueError if a file is damaged or the weights do not fit the encoder.
    """
    weights = folder / WEIGHTS_FILE
    for path in (folder / CARD_FILE, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {folder} holds no trained model; run notebook 06")
    card = read_card(folder / CARD_FILE)
    try:
        tensors = load_file(weights)
    except SafetensorError as error:
        raise ValueError(f"{weights} is damaged ({error}): copy it again, or train the model again") from error
    model = create_model(card.encoder, pretrained=False, drop_path=0, noise=card.noise)
    _load_weights(model, tensors, weights)
    metrics = folder / TEST_METRICS_FILE
    tested = json.loads(metrics.read_bytes()) if metrics.is_file() else {}
    later = {"metrics": card.metrics | tested, "calibration": _read_calibration(_calibration_path(folder))}
    return model, card.model_copy(update=later | _read_seen(folder / SEEN_FILE))


def load_released(path: Path) -> tuple[Classifier, ModelCard]:
    """Read a checkpoint of the winner; return the classifier, on the CPU and in eval mode, and a card with his recipe.

    The encoder is taken from the file name. The cards of the seven released checkpoints list the parts of DFDC that the
    models were trained on and chosen by; for other files these are unknown. Raises ValueError if the file name does not
    contain an encoder, the file holds anything but tensors and numbers, or the weights do not fit the encoder.
    """
    parts = RELEASED_NAME.search(path.name)
    if not parts:
        raise ValueError(f"expected a name like ...DeepFakeClassifier_<encoder>_<fold>_<epoch>, got {path.name}")
    training, fold = {"epoch": int(parts["epoch"])}, int(parts["fold"])
    about: dict[str, Any] = {"recipe": WINNER_RECIPE, "training": training, "data": "DFDC", "validation_fold": fold}
    if path.name in {checkpoint.name for checkpoint in released.RELEASED}:
        about |= WINNER_SEEN
    card = ModelCard.model_validate({"name": path.name, "encoder": parts["encoder"]} | about)
    tensors = {key.removeprefix(RELEASED_PREFIX): tensor for key, tensor in _read_state_dict(path).items()}
    model = create_model(card.encoder, pretrained=False, drop_path=0)
    _load_weights(model, tensors, path)
    return model, card


def load_any(name: str, run: Run) -> tuple[Classifier, ModelCard]:
    """Load the model that `name` stands for: one in the run's models/, a released checkpoint, or a path, in this order.

    A path is that of a model folder or of a checkpoint of the winner; a relative one starts at the project folder.
    Returns the classifier, on the CPU and in eval mode, and its card. Raises FileNotFoundError if there is no such
    model or a file of it is missing, ValueError if a file is damaged.
    """
    in_run, path = run.root / "models" / name, project_path(name)
    checkpoint = next((checkpoint for checkpoint in released.RELEASED if checkpoint.name == name), None)
    if (in_run / CARD_FILE).is_file():
        return load_model(in_run)
    if checkpoint:
        return load_released(_verified(checkpoint))
    if path.is_dir():
        return load_model(path)
    if path.is_file():
        return load_released(path)
    cache = released.cache_folder()
    trained = sorted(card.parent.name for card in run.root.glob(f"models/*/{CARD_FILE}"))
    cached = [checkpoint.name for checkpoint in released.RELEASED if (cache / checkpoint.name).is_file()]
    raise FileNotFoundError(
        f"there is no model {name!r}; trained in {run.root}: {', '.join(trained) or 'none'}; released, in {cache}: "
        f"{', '.join(cached) or 'none (`dfdc weights download` fetches them)'}; the path of a model folder works too"
    )


def read_card(path: Path) -> ModelCard:
    """Return a model card as it was written by `save_model`; raise ValueError if it is invalid."""
    return _parse_card(path.read_text(), str(path))


def _parse_card(text: str, source: str) -> ModelCard:
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"])) or "JSON"
        raise ValueError(f"{source} is not a valid model card: {field}: {fault['msg']}") from error


def _read_seen(path: Path) -> dict[str, Seen]:
    """Return the lists of a card; {} if they are unknown, because an older kit has trained the model."""
    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(table.columns) != SEEN_COLUMNS:
        raise ValueError(f"{path} must have the columns {', '.join(SEEN_COLUMNS)}: delete it, and run notebook 06")
    return {field: _seen_of(table[table["role"] == role]) for field, role in SEEN_ROLES.items()}


def _seen_of(rows: pd.DataFrame) -> Seen:
    return Seen.model_validate({kind: tuple(rows.loc[rows["kind"] == kind, "value"]) for kind in Seen.model_fields})


def _calibration_path(folder: Path) -> Path:
    folder = folder.absolute()
    return Run(folder.parent.parent).calibration_path(folder.name)


def _read_calibration(path: Path) -> Calibration | None:
    if not path.is_file():
        return None
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ValueError(f"{path} is not a valid calibration: {reason}; delete it, or rerun notebook 08") from error


def _verified(checkpoint: released.Released) -> Path:
    """Return the file of a released checkpoint; raise an error unless its SHA-256 is right."""
    path, remedy = released.cache_folder() / checkpoint.name, f"run `dfdc weights download {checkpoint.name}`"
    state = released.verify(checkpoint, path.parent)
    if state == "missing":
        raise FileNotFoundError(f"{path} is missing: {remedy}")
    if state == "wrong":
        raise ValueError(f"{path} is not the released file, its SHA-256 differs: {remedy}")
    return path


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
