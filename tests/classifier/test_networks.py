"""OpenVINO and PyTorch run the same model: equal logits and heat maps."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dfdc_lib.backends.choice import Engine
from dfdc_lib.classifier import networks
from dfdc_lib.classifier.checkpoints import save_model
from dfdc_lib.classifier.model import create_model
from dfdc_lib.classifier.model_files import ModelFiles, read_model_folder
from dfdc_lib.classifier.networks import OpenVinoNetwork, TorchNetwork, load_network, prepare
from dfdc_lib.records import ModelCard, Recipe

RECIPE = Recipe(size=64)
TORCH = Engine("torch")
SQUARES = np.random.default_rng(0).integers(0, 256, (11, 64, 64, 3), np.uint8)


def model_files(folder: Path, encoder: str, noise: bool = False) -> ModelFiles:
    torch.manual_seed(0)
    model = create_model(encoder, pretrained=False, drop_path=0, noise=noise)
    with torch.no_grad():
        for _ in range(3):  # running statistics that fit the images, or all logits are alike
            model(torch.from_numpy(SQUARES).permute(0, 3, 1, 2) / 64 - 2)
        model.fc.weight *= 20
    save_model(folder, model.eval(), ModelCard(name="m", encoder=encoder, noise=noise, recipe=RECIPE))
    return read_model_folder(folder)


@pytest.mark.parametrize(
    ("encoder", "noise"), [("test_efficientnet", False), ("resnet18", True), ("test_resnet", False)]
)
def test_openvino_equals_pytorch(encoder: str, noise: bool, tmp_path: Path) -> None:
    files = model_files(tmp_path, encoder, noise)
    fast, exact = (load_network(files, RECIPE, engine) for engine in (Engine(), TORCH))
    assert isinstance(fast, OpenVinoNetwork) and isinstance(exact, TorchNetwork)
    assert exact.logits(SQUARES).std() > 0.01
    assert np.abs(fast.logits(SQUARES) - exact.logits(SQUARES)).max() < 1e-3  # 11: a full batch and a part
    assert np.abs(fast.heat_maps(SQUARES[:2]) - exact.heat_maps(SQUARES[:2])).max() < 1e-3
    assert fast.logits(SQUARES[:0]).shape == (0,)


def test_an_encoder_whose_logit_is_no_mean_over_places_gets_its_heat_maps_from_pytorch(tmp_path: Path) -> None:
    files = model_files(tmp_path, "mobilenetv3_small_050")  # more layers after pooling
    fast, exact = (load_network(files, RECIPE, engine) for engine in (Engine(), TORCH))
    assert np.abs(fast.logits(SQUARES) - exact.logits(SQUARES)).max() < 1e-3
    assert np.array_equal(fast.heat_maps(SQUARES[:2]), exact.heat_maps(SQUARES[:2]))


def test_bfloat16_is_never_chosen_silently(tmp_path: Path) -> None:
    files = model_files(tmp_path, "test_efficientnet")
    exact, rough = (
        load_network(files, RECIPE.model_copy(update={"precision": name}), Engine()) for name in ("float32", "bfloat16")
    )
    assert np.abs(exact.logits(SQUARES) - load_network(files, RECIPE, TORCH).logits(SQUARES)).max() < 1e-4
    assert rough.logits(SQUARES).shape == (len(SQUARES),)
    with pytest.raises(ValueError, match="float16"):
        load_network(files, RECIPE.model_copy(update={"precision": "float16"}), Engine())


def test_a_model_with_other_normalisation_is_another_network(tmp_path: Path) -> None:
    files = model_files(tmp_path, "test_efficientnet")
    other = RECIPE.model_copy(update={"mean": (0.0, 0.0, 0.0)})
    logits = [load_network(files, recipe, Engine()).logits(SQUARES) for recipe in (RECIPE, other)]
    assert np.abs(np.subtract(*logits)).max() > 1e-3
    assert np.abs(logits[1] - networks.TorchNetwork(files, other, TORCH).logits(SQUARES)).max() < 1e-3


@pytest.mark.parametrize(("backend", "count"), [("openvino", 1), ("torch", 0)])
def test_a_prepared_model_is_converted_where_openvino_runs_it(
    backend: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFDC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(networks, "choose_engine", lambda: Engine(backend))
    model_files(tmp_path / "m", "test_efficientnet")
    files = prepare(tmp_path / "m")
    converted = list((tmp_path / "cache").rglob("network.xml"))
    assert len(converted) == count
    monkeypatch.setattr(networks, "_convert", str)  # a second conversion would fail
    if count:
        assert load_network(files, RECIPE, Engine()).logits(SQUARES).shape == (len(SQUARES),)
