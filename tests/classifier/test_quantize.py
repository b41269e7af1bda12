"""int8 is offered for exactly the weights that were compared, and only if it loses little."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from train_work import SIDE, make_run, recipe
from typer.testing import CliRunner

from dfdc_lib.backends.choice import Engine
from dfdc_lib.classifier import quantize
from dfdc_lib.classifier.checkpoints import save_model
from dfdc_lib.classifier.crop_dataset import read_index
from dfdc_lib.classifier.model import create_model
from dfdc_lib.classifier.model_files import ModelFiles, read_model_folder
from dfdc_lib.classifier.networks import load_network, network_fingerprint
from dfdc_lib.cli import app
from dfdc_lib.records import ModelCard, Quantization
from dfdc_lib.run_folder import Run

INT8 = recipe().model_copy(update={"precision": "int8"})


def record(float32: dict[str, float], int8: dict[str, float]) -> Quantization:
    counts: dict[str, Any] = {"calibration_crops": 300, "crops": 1000, "videos": 40}
    differences = {"largest_difference": 0.1, "mean_difference": 0.01}
    aucs = {"float32_auc": float32, "int8_auc": int8}
    return Quantization.model_validate({"network": "n", "run": "r"} | counts | differences | aucs)


@pytest.mark.parametrize(
    ("float32", "int8", "expected"),
    [
        ({"frame AUC": 0.95}, {"frame AUC": 0.95}, ""),
        ({"frame AUC": 0.95}, {"frame AUC": 0.945}, ""),  # the limit, 0.005
        ({"frame AUC": 0.95}, {"frame AUC": 0.9449}, "frame AUC"),
        ({"frame AUC": 0.9}, {"frame AUC": 0.92}, ""),
        ({"frame AUC": 0.955}, {"frame AUC": 0.759}, "frame AUC"),  # published
        ({"frame AUC": 0.9, "video AUC": 0.95}, {"frame AUC": 0.9, "video AUC": 0.94}, "video AUC"),
        ({"frame AUC": 0.5}, {"frame AUC": 0.5}, "0.6"),  # nothing to lose
    ],
)
def test_refusal(float32: dict[str, float], int8: dict[str, float], expected: str) -> None:
    reason = quantize.refusal(record(float32, int8))
    assert expected in reason and bool(reason) == bool(expected)


def crops(*folds: int, reals: int = 40) -> pd.DataFrame:
    """40 real and 40 fake crops in each fold, of one real and one fake video."""
    kinds = [(fold, label, count) for fold in folds for label, count in ((0, reals), (1, 40))]
    rows = [(f"{label}-{fold}", fold, label) for fold, label, count in kinds for _ in range(count)]
    return pd.DataFrame(rows, columns=["video_id", "fold", "label"])


@pytest.mark.parametrize(
    ("folds", "train_folds", "calibration"),
    [((0, 1, 2, 3), (2, 3), {2, 3}), ((0, 1, 2), (), {0}), ((0, 1), (0, 1), {0}), ((0, 1), (7,), {0})],
)
def test_crops_of_the_calibration_are_not_compared(
    folds: tuple[int, ...], train_folds: tuple[int, ...], calibration: set[int]
) -> None:
    used, compared = quantize.choose_crops(crops(*folds), train_folds)
    assert set(used["fold"]) == calibration and set(compared["fold"]) == set(folds) - calibration
    assert len(used) == 80 * len(calibration) and compared["label"].mean() == 0.5


@pytest.mark.parametrize("index", [crops(0), crops(0, 1, reals=29), crops(0, 1)[:80]])
def test_too_few_crops_are_refused(index: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="30"):
        quantize.choose_crops(index, ())


@pytest.mark.parametrize(("videos", "expected"), [(14, {"frame AUC"}), (15, {"frame AUC", "video AUC"})])
def test_videos_are_compared_if_one_pair_cannot_cost_more_than_is_allowed(videos: int, expected: set[str]) -> None:
    rows = [(f"{label}-{n}", label, 0.2 + 0.5 * label) for n in range(videos) for label in (0, 1)]
    frames = pd.DataFrame(rows, columns=["video_id", "label", "int8"])
    assert quantize.aucs(frames, "int8") == dict.fromkeys(expected, 1.0)


def trained(run: Run, seed: int) -> ModelFiles:
    """Write a model whose running statistics fit the crops, so that its scores differ."""
    torch.manual_seed(seed)
    model = create_model("test_efficientnet", pretrained=False, drop_path=0)
    squares = quantize._squares(run, read_index(run), recipe())
    with torch.no_grad():
        for _ in range(3):
            model(torch.from_numpy(squares).permute(0, 3, 1, 2) / 64 - 2)
        model.fc.weight *= 20
    card = ModelCard(name="tiny", encoder="test_efficientnet", recipe=recipe(), train_folds=(0, 1))
    save_model(run.model_folder("tiny"), model.eval(), card)
    return read_model_folder(run.model_folder("tiny"))


@pytest.mark.slow
def test_quantize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFDC_CACHE", str(tmp_path / "cache"))
    for name, value in {"MIN_CROPS": 16, "MIN_AUC": 0, "MAX_AUC_LOSS": 1}.items():
        monkeypatch.setattr(quantize, name, value)
    run = make_run(tmp_path / "run")
    files = trained(run, seed=0)
    result = CliRunner().invoke(app, ["quantize", str(run.model_folder("tiny"))])
    assert result.exit_code == 0, result.output
    assert re.search(r"32 crops; compared on 32 crops of 8 videos", result.output)
    assert re.search(r"frame AUC: float32 0\.\d{4}, int8 0\.\d{4}", result.output)
    squares = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    rough, exact = (load_network(files, settings, Engine()) for settings in (INT8, recipe()))
    assert 1e-4 < np.abs(rough.logits(squares) - exact.logits(squares)).max() < 1
    assert rough.heat_maps(squares).shape == (3, SIDE, SIDE)
    assert network_fingerprint(files, INT8, Engine()) != network_fingerprint(files, recipe(), Engine())
    with pytest.raises(ValueError, match="BACKEND"):
        network_fingerprint(files, INT8, Engine("torch"))
    # Other weights under the same name have no int8 network.
    with pytest.raises(ValueError, match="dfdc quantize"):
        network_fingerprint(trained(run, seed=1), INT8, Engine())
    # A later comparison that finds a loss takes the int8 network away.
    trained(run, seed=0)
    network_fingerprint(files, INT8, Engine())
    monkeypatch.setattr(quantize, "MAX_AUC_LOSS", -2)
    result = CliRunner().invoke(app, ["quantize", str(run.model_folder("tiny"))])
    assert result.exit_code == 1 and "not available" in result.output
    with pytest.raises(ValueError, match="dfdc quantize"):
        load_network(files, INT8, Engine())
