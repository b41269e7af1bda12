"""Model files: find the model that a name stands for, and read its card. Needs no PyTorch.

A model folder has `weights.safetensors`, `seen.csv` (the videos that the model was trained on and chosen by) and
`model.json` (the rest of its `ModelCard`). The card of a released checkpoint of the winner is part of this module.
Source: S. Seferbekov 2020 for the released files and the recipe of his inference.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import ValidationError

from dfdc_lib.classifier import released
from dfdc_lib.data.folds import DFDC_PARTS, PARTS_PER_FOLD
from dfdc_lib.evaluation.unseen import CHOSEN_BY, TRAINED_ON, part_name
from dfdc_lib.records import Calibration, DetectorSettings, ModelCard, Recipe, Seen
from dfdc_lib.run_folder import Run, atomic_path, project_path
from dfdc_lib.staleness import content_fingerprint

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


class ModelFiles(NamedTuple):
    """A model on disk: its file of weights (safetensors, or a released checkpoint) and its card."""

    weights: Path
    card: ModelCard

    @property
    def fingerprint(self) -> str:
        """Hash of the whole file of weights."""
        return content_fingerprint(self.weights)


def find_model(name: str, run: Run) -> ModelFiles:
    """Return the model that `name` stands for: in the run's models/, a released checkpoint, or a path, in this order.

    A path is that of a model folder or of a checkpoint of the winner; a relative one starts at the project folder.
    Raises FileNotFoundError if there is no such model or a file of it is missing, ValueError if its card is damaged.
    """
    in_run, path = run.root / "models" / name, project_path(name)
    checkpoint = next((checkpoint for checkpoint in released.RELEASED if checkpoint.name == name), None)
    if (in_run / CARD_FILE).is_file():
        return read_model_folder(in_run)
    if checkpoint:
        return released_files(_verified(checkpoint))
    if path.is_dir():
        return read_model_folder(path)
    if path.is_file():
        return released_files(path)
    cache = released.cache_folder()
    trained = sorted(card.parent.name for card in run.root.glob(f"models/*/{CARD_FILE}"))
    cached = [checkpoint.name for checkpoint in released.RELEASED if (cache / checkpoint.name).is_file()]
    raise FileNotFoundError(
        f"there is no model {name!r}; trained in {run.root}: {', '.join(trained) or 'none'}; released, in {cache}: "
        f"{', '.join(cached) or 'none (`dfdc weights download` fetches them)'}; the path of a model folder works too"
    )


def read_model_folder(folder: Path) -> ModelFiles:
    """Return the model in a folder, and its card.

    The card includes, if they exist, what the model was trained on and chosen by, its test metrics, and its calibration
    (`calibrations/<name>.json` of the run folder). Raises FileNotFoundError if the card or the weights are missing,
    ValueError if a file but the weights is damaged.
    """
    weights = folder / WEIGHTS_FILE
    for path in (folder / CARD_FILE, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {folder} holds no trained model; run notebook 06")
    card, metrics = read_card(folder / CARD_FILE), folder / TEST_METRICS_FILE
    tested = json.loads(metrics.read_bytes()) if metrics.is_file() else {}
    later = {"metrics": card.metrics | tested, "calibration": _read_calibration(calibration_path(folder))}
    return ModelFiles(weights, card.model_copy(update=later | _read_seen(folder / SEEN_FILE)))


def released_files(path: Path) -> ModelFiles:
    """Return a checkpoint of the winner with a card that has his recipe; the encoder is taken from the file name.

    The cards of the seven released checkpoints list the parts of DFDC that the models were trained on and chosen by;
    for other files these are unknown. Raises ValueError if the file name does not contain an encoder.
    """
    parts = RELEASED_NAME.search(path.name)
    if not parts:
        raise ValueError(f"expected a name like ...DeepFakeClassifier_<encoder>_<fold>_<epoch>, got {path.name}")
    training, fold = {"epoch": int(parts["epoch"])}, int(parts["fold"])
    about: dict[str, Any] = {"recipe": WINNER_RECIPE, "training": training, "data": "DFDC", "validation_fold": fold}
    if path.name in {checkpoint.name for checkpoint in released.RELEASED}:
        about |= WINNER_SEEN
    return ModelFiles(path, ModelCard.model_validate({"name": path.name, "encoder": parts["encoder"]} | about))


def read_card(path: Path) -> ModelCard:
    """Return a model card as it was written by `save_model`; raise ValueError if it is invalid."""
    return parse_card(path.read_text(encoding="utf-8"), str(path))


def parse_card(text: str, source: str) -> ModelCard:
    """Return the model card in a JSON text; raise ValueError, which names `source`, if it is invalid."""
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"])) or "JSON"
        raise ValueError(f"{source} is not a valid model card: {field}: {fault['msg']}") from error


def write_seen(folder: Path, trained_on: Seen, chosen_by: Seen) -> None:
    """Write seen.csv into a model folder: a row for each name or video that the model was trained on or chosen by."""
    lists = {TRAINED_ON: trained_on, CHOSEN_BY: chosen_by}
    fields = [(role, kind, value) for role, seen in lists.items() for kind, values in seen for value in values]
    with atomic_path(folder / SEEN_FILE) as path:
        pd.DataFrame(fields, columns=SEEN_COLUMNS).to_csv(path, index=False)


def calibration_path(folder: Path) -> Path:
    """Return where the calibration of the model in this folder lies: in the run folder that the model belongs to."""
    folder = folder.absolute()
    return Run(folder.parent.parent).calibration_path(folder.name)


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
