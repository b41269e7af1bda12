"""The plan of a training run: what is trained, on which crops, in which process; and the card of its result.

The fingerprint of a plan depends on its settings and crops, not on the code or the number of processes. It is stored
in the card, so a finished training is recognised.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import dfdc_lib
from dfdc_lib.classifier.crop_dataset import read_index
from dfdc_lib.classifier.inference import autocast_dtype
from dfdc_lib.classifier.model_files import CARD_FILE, read_card
from dfdc_lib.classifier.presets import TrainSettings
from dfdc_lib.classifier.training_processes import ALONE, Process
from dfdc_lib.data.datasets.files import is_of_sample
from dfdc_lib.evaluation.unseen import seen
from dfdc_lib.records import BUILT_IN_SAMPLE, ModelCard, Recipe, Seen
from dfdc_lib.run_folder import Run, project_path
from dfdc_lib.staleness import code_fingerprint, content_fingerprint, fingerprint

TRAINING_CODE = "dfdc_lib.classifier.train"
STATE_FILE = "state.pt"


@dataclass(frozen=True)
class Plan:
    """Everything that stays the same during a training run.

    `index`: the table of crops from `crop_dataset.read_index`; `train_folds`: numbers of the folds to train on.
    """

    run: Run
    settings: TrainSettings
    index: pd.DataFrame  # of the crops
    recipe: Recipe
    train_folds: tuple[int, ...]
    trained_on: Seen
    chosen_by: Seen
    fingerprint: str
    process: Process  # this one
    device: torch.device
    dtype: torch.dtype  # of the training steps; scores have the recipe's precision

    @property
    def folder(self) -> Path:
        """Return the model's folder, models/<name>/ in the run folder."""
        return self.run.model_folder(self.settings.name)


def make_plan(run: Run, settings: TrainSettings, workers: int, process: Process = ALONE) -> Plan:
    """Return the plan of one process: crops, folds, recipe, device and number format.

    `workers` is the number of processes that load its crops, -1 = as many as the cores allow. Raises ValueError if the
    batch is not a multiple of the number of processes, or the run does not have the validation fold, the test fold and
    at least one other fold.
    """
    process = process.with_loaders(workers)
    if settings.batch % process.count:
        raise ValueError(f"the batch must be a multiple of the {process.count} processes, got {settings.batch}")
    index = read_index(run)
    folds, held_out = set(index["fold"]), {settings.validation_fold, settings.test_fold}
    if len(held_out) < 2 or not held_out < folds:
        chosen = f"validation fold {settings.validation_fold} and test fold {settings.test_fold} of {sorted(folds)}"
        raise ValueError(f"training needs two held-out folds and another one, got {chosen}: see FOLD_COUNT in 04_folds")
    crops = run.read_crops(index["video_id"].iloc[0])
    detector = run.read_faces(crops.boxes_from).settings
    fed = {"size": settings.size, "precision": settings.score_precision}
    recipe = Recipe(detector=detector, margin=crops.margin, **fed)
    weights = content_fingerprint(project_path(settings.weights_file)) if settings.weights_file else ""
    # Without defaults: a field that a later version of the kit adds does not make a trained model out of date.
    records = [record.model_dump_json(exclude_defaults=True) for record in (settings, recipe)]
    inputs = fingerprint(*records, _crops_fingerprint(run, index), weights)
    train_folds, device = tuple(sorted(folds - held_out)), process.device
    dtype = autocast_dtype(settings.precision, device)
    tested, validated = (index["fold"] == fold for fold in (settings.test_fold, settings.validation_fold))
    trained_on, chosen_by = (
        seen(run, index.loc[rows, "video_id"], index.loc[tested, "video_id"])
        for rows in (~tested & ~validated, validated)
    )
    about = run, settings, index, recipe, train_folds, trained_on, chosen_by, inputs
    return Plan(*about, process, device, dtype)


def is_finished(plan: Plan) -> bool:
    """Return whether the model folder has a model trained with this plan's settings and crops for all epochs.

    Raise ValueError if it contains a model or an unfinished training with other settings, so nothing is overwritten.
    """
    stored, settings = _stored_settings(plan.folder), plan.settings.model_dump()
    different = [name for name, value in settings.items() if stored.get(name, value) != value]
    if different:
        faults = ", ".join(f"{name} = {stored[name]!r}, not {settings[name]!r}" for name in different)
        remedy = "choose another NAME, or replace that model with `dfdc run --from 06 --to 06 --force`"
        raise ValueError(f"{plan.folder} was trained with {faults}: {remedy}, or delete its folder")
    card, history = plan.folder / CARD_FILE, plan.folder / "history.csv"
    if not (card.is_file() and history.is_file()) or len(pd.read_csv(history)) < plan.settings.epochs:
        return False
    return read_card(card).data_fingerprint == plan.fingerprint


def make_card(plan: Plan, measured: dict[str, float]) -> ModelCard:
    """Build the card of a model trained by this plan; `measured` are its validation metrics, name -> value."""
    run, settings = plan.run, plan.settings.model_dump()
    manifest = json.loads((run.root / "run.json").read_bytes()) if (run.root / "run.json").exists() else {}
    of_sample = all(is_of_sample(video.path) for video in run.read_videos())
    data = BUILT_IN_SAMPLE if of_sample else manifest.get("data", run.root.name)
    model = {name: settings[name] for name in ("name", "encoder", "noise", "validation_fold", "test_fold")}
    how = {"recipe": plan.recipe, "training": settings, "train_folds": plan.train_folds}
    how |= {"trained_on": plan.trained_on, "chosen_by": plan.chosen_by}
    origin = {"data": data, "run": run.root.name, "data_fingerprint": plan.fingerprint}
    code = {"code_fingerprint": code_fingerprint(TRAINING_CODE), "commit": manifest.get("commit", "")}
    version, metrics = dfdc_lib.__version__, card_metrics("validation", measured)
    return ModelCard(**model, **how, **origin, **code, kit_version=version, metrics=metrics)


def card_metrics(fold: str, measured: dict[str, float]) -> dict[str, float]:
    """Return metrics under the names "<fold> <metric>", e.g. "test AUC"; `fold` is "validation" or "test".

    `measured`: metric -> value. Values that are not finite are left out, because JSON lacks them; the AUC of a single
    class is NaN.
    """
    return {f"{fold} {name}": value for name, value in measured.items() if np.isfinite(value)}


def _crops_fingerprint(run: Run, index: pd.DataFrame) -> str:
    outcomes = [outcome for stage in ("02_crop_faces", "03_ssim_masks") for outcome in run.read_status(stage)]
    pixels = [outcome.fingerprint for outcome in outcomes if outcome.video_id in index["video_id"].cat.categories]
    return fingerprint(index.to_csv(), *pixels)


def _stored_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of the model in a folder, or of the unfinished training; {} if there is neither."""
    if (folder / CARD_FILE).is_file():
        return read_card(folder / CARD_FILE).training
    if (folder / STATE_FILE).is_file():
        return torch.load(folder / STATE_FILE, mmap=True, weights_only=True).get("settings", {})
    return {}
