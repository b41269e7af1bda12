"""Exported models: their scores are those of the classifier, for any batch, and they carry their recipe."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from train_work import DETECTOR, SIDE, make_run, recipe
from typer.testing import CliRunner

from dfdc_lib.backends.openvino_models import core
from dfdc_lib.classifier import export as export_module
from dfdc_lib.classifier.checkpoints import save_model
from dfdc_lib.classifier.export import comparison_squares, export, largest_difference
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.cli import app
from dfdc_lib.records import ModelCard, Recipe

CARD = ModelCard(name="tiny", encoder="test_efficientnet", noise=True, recipe=recipe())


@pytest.fixture(scope="module")
def model() -> Classifier:
    torch.manual_seed(0)
    return create_model(CARD.encoder, pretrained=False, noise=True).eval()


@pytest.fixture(scope="module", params=["tiny.onnx", "tiny.xml"])
def exported(request: pytest.FixtureRequest, model: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / request.param
    export(model, CARD, path)
    return path


@pytest.mark.parametrize("count", [1, 3])
def test_the_scores_are_those_of_the_classifier(count: int, exported: Path, model: Classifier) -> None:
    squares = np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    assert largest_difference(exported, model, squares, CARD.recipe) < 1e-5


def test_another_classifier_differs(exported: Path) -> None:
    other, squares = create_model(CARD.encoder, pretrained=False, noise=True).eval(), np.eye(SIDE, dtype=np.uint8)
    squares = np.tile(200 * squares[None, :, :, None], (1, 1, 1, 3))
    assert largest_difference(exported, other, squares, CARD.recipe) > 1e-4


def test_files_and_metadata(exported: Path) -> None:
    if exported.suffix == ".onnx":
        assert [path.name for path in exported.parent.iterdir()] == ["tiny.onnx"]
        about = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    else:
        assert sorted(path.name for path in exported.parent.iterdir()) == ["tiny.bin", "tiny.xml"]
        network = core().read_model(exported)
        about = {name: network.get_rt_info(name).astype(str) for name in ("dfdc_recipe", "dfdc_model")}
    assert Recipe.model_validate_json(about["dfdc_recipe"]) == CARD.recipe
    assert about["dfdc_model"] == "tiny"


def test_another_format_is_refused(model: Classifier, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tflite"):
        export(model, CARD, tmp_path / "tiny.tflite")


def test_without_crops_the_sample_is_compared(
    sample_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "make_sample", lambda *_, **__: sample_root)
    squares, source = comparison_squares(tmp_path / "models" / "tiny", Recipe(size=SIDE, detector=DETECTOR))
    assert squares.shape[1:] == (SIDE, SIDE, 3) and len(squares) >= 4
    assert "sample" in source


def test_command(model: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")
    save_model(run.model_folder("tiny"), model, CARD)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["export", "run/models/tiny", "--format", "openvino"])
    assert result.exit_code == 0, result.output
    assert "16 crops" in result.output and str(run.root) in result.output
    squares, _ = comparison_squares(run.model_folder("tiny"), CARD.recipe)
    assert largest_difference(tmp_path / "tiny.xml", model, squares, CARD.recipe) < 1e-5
    result = CliRunner().invoke(app, ["export", "run/models/tiny", "--format", "tflite"])
    assert result.exit_code == 1 and "tflite" in result.output
