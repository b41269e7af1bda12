import warnings
from pathlib import Path
from typing import NoReturn

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from torch import nn

from dfdc_lib.classifier.encoders import ENCODERS
from dfdc_lib.classifier.model import create_model

SMALL = "resnet18"


def test_table_has_the_encoders_of_the_slides() -> None:
    efficientnets = {f"tf_efficientnet_b{n}_ns": 300 if n == 3 else 380 for n in range(3, 8)}
    assert efficientnets | {f"resnest{name}": 380 for name in ("50d", "101e", "200e", "269e")} == ENCODERS
    assert all(timm.is_model(name) for name in ENCODERS)


@pytest.mark.parametrize("encoder", ["tf_efficientnet_b0_ns", "tf_efficientnet_b0.ns_jft_in1k"])
def test_both_names_without_a_warning(encoder: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = create_model(encoder, pretrained=False)
    assert model.encoder.default_cfg["tag"] == "ns_jft_in1k"


@pytest.mark.parametrize(("drop_path", "expected"), [(0.0, []), (0.2, [0.2])])
def test_drop_path_reaches_the_encoder(drop_path: float, expected: list[float]) -> None:
    model = create_model(SMALL, pretrained=False, drop_path=drop_path)
    rates = [module.drop_prob for module in model.modules() if type(module).__name__ == "DropPath"]
    assert rates[-1:] == expected


@pytest.mark.parametrize(
    ("encoder", "options", "error", "keyword"),
    [
        ("vgg11", {}, ValueError, "drop_path=0$"),
        ("resnest50", {}, ValueError, "resnest50d"),
        ("§", {}, ValueError, "none"),
        (SMALL, {"weights_file": Path("absent")}, ValueError, "pretrained"),
        (SMALL, {"weights_file": Path("absent"), "pretrained": True}, FileNotFoundError, "absent"),
        ("resnet10t.none", {"pretrained": True}, RuntimeError, "WEIGHTS_FILE"),
    ],
)
def test_what_cannot_be_created(encoder: str, options: dict, error: type[Exception], keyword: str) -> None:
    with pytest.raises(error, match=keyword):
        create_model(encoder, **{"pretrained": False} | options)


def test_offline_is_an_error_and_never_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> NoReturn:
        raise LocalEntryNotFoundError("cannot find the requested files in the local cache.")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", no_network)
    with pytest.raises(RuntimeError, match=r"cannot find.*PRETRAINED=False"):
        create_model(SMALL, pretrained=True)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_file(suffix: str, tmp_path: Path) -> None:
    encoder = timm.create_model(SMALL)
    nn.init.constant_(encoder.conv1.weight, 0.25)
    path = tmp_path / f"weights.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(encoder.state_dict(), path)
    state = create_model(SMALL, pretrained=True, weights_file=path).encoder.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("content", ["", "text", "truncated", "missing key", "other encoder"])
def test_unfit_weights_file(content: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = timm.create_model("resnet26" if content == "other encoder" else SMALL).state_dict()
    if content == "missing key":
        del state["layer1.0.conv1.weight"]
    torch.save(state, path)
    if content in ("", "text"):
        path.write_text(content)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(RuntimeError, match=str(path)):
        create_model(SMALL, pretrained=True, weights_file=path)
