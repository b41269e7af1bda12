"""The classifier: which encoders, what shape, whose names, and what the noise filters leave of an image."""

import warnings
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from scipy.ndimage import correlate
from torch import nn

from dfdc_lib.classifier.model import ENCODERS, PIXEL_STD, SRM_KERNELS, Classifier, NoiseResidual, create_model

SMALL = "resnet18"
IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]


@pytest.fixture(scope="module")
def small() -> Classifier:
    torch.manual_seed(0)
    return create_model(SMALL, pretrained=False).eval()


def images(count: int, side: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def normalise(pixels: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 → (1, 3, H, W), as the recipe says."""
    return ((torch.from_numpy(pixels).permute(2, 0, 1) / 255 - IMAGENET_MEAN) / IMAGENET_STD)[None]


@pytest.mark.parametrize(("encoder", "side"), ENCODERS.items())
def test_every_encoder_of_the_table_is_known_to_timm(encoder: str, side: int) -> None:
    assert timm.is_model(encoder)
    assert side == (300 if encoder == "tf_efficientnet_b3_ns" else 380)


def test_table_has_the_slides_encoders() -> None:
    assert [name for name in ENCODERS if "efficientnet" in name] == [f"tf_efficientnet_b{n}_ns" for n in range(3, 8)]
    assert [name for name in ENCODERS if "resnest" in name] == [
        "resnest50d",
        "resnest101e",
        "resnest200e",
        "resnest269e",
    ]


@pytest.mark.parametrize(("encoder", "channels"), [("tf_efficientnet_b5_ns", 2048), ("tf_efficientnet_b7_ns", 2560)])
def test_presets_run(encoder: str, channels: int) -> None:
    model = create_model(encoder, pretrained=False).eval()
    with torch.inference_mode():
        logits = model(images(2))
    assert logits.shape == (2,)
    assert torch.isfinite(logits).all()
    assert model.fc.in_features == channels


@pytest.mark.parametrize("encoder", ["tf_efficientnet_b0_ns", "resnest14d", SMALL])
def test_every_weight_but_the_unused_ones_is_trained(encoder: str) -> None:
    model = create_model(encoder, pretrained=False).train()
    logits = model(images(2))
    nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor([0.0, 1.0])).backward()
    without_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    unused = "classifier" if "efficientnet" in encoder else "fc"
    assert without_gradient == {f"encoder.{unused}.weight", f"encoder.{unused}.bias"}  # nothing that DDP would wait for
    assert not any(parameter.requires_grad for name, parameter in model.named_parameters() if name in without_gradient)


@pytest.mark.parametrize("encoder", [SMALL, "mobilenetv3_small_050", "convnext_atto"])
def test_any_encoder(encoder: str) -> None:
    model = create_model(encoder, pretrained=False, drop_path=0).eval()
    with torch.inference_mode():
        logits = model(images(3, side=32))
    assert logits.shape == (3,)
    assert torch.isfinite(logits).all()


def test_encoder_of_tokens() -> None:
    model = create_model("vit_tiny_patch16_224", pretrained=False).eval()
    with torch.inference_mode():
        assert model(images(1, side=224)).shape == (1,)


@pytest.mark.parametrize("encoder", ["tf_efficientnet_b0_ns", SMALL])
def test_logit_is_fc_of_the_mean_over_height_and_width(encoder: str) -> None:
    model = create_model(encoder, pretrained=False).eval()
    batch = images(2).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = model.fc(model.encoder.forward_features(batch).mean((2, 3)))[:, 0]
        assert torch.equal(model(batch), expected)  # bit for bit


def test_names_are_those_of_the_winners_code() -> None:
    """Keys of his B7 checkpoints: the encoder's as timm names them, its unused classifier among them, and fc."""
    with torch.device("meta"):  # names and shapes only
        model = create_model("tf_efficientnet_b7_ns", pretrained=False)
        encoder = timm.create_model("tf_efficientnet_b7.ns_jft_in1k")
    shapes = {f"module.{name}": tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    expected = {f"module.encoder.{name}": tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    assert shapes == expected | {"module.fc.weight": (1, 2560), "module.fc.bias": (1,)}
    assert shapes["module.encoder.conv_stem.weight"] == (64, 3, 3, 3)
    assert shapes["module.encoder.blocks.6.3.conv_pwl.weight"] == (640, 3840, 1, 1)
    assert shapes["module.encoder.classifier.weight"] == (1000, 2560)
    assert sum(name.endswith("num_batches_tracked") for name in shapes) == 163
    # SPEC: a released file has 266,910,617 bytes; the rest is names and headers.
    assert 0 < 266_910_617 - 4 * sum(int(np.prod(shape)) for shape in shapes.values()) < 300_000


@pytest.mark.parametrize("encoder", ["tf_efficientnet_b0_ns", "tf_efficientnet_b0.ns_jft_in1k"])
def test_both_spellings_without_a_warning(encoder: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = create_model(encoder, pretrained=False)
    assert model.encoder.default_cfg["tag"] == "ns_jft_in1k"


def test_channels_last(small: Classifier) -> None:
    convolutions = [
        module for module in small.modules() if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)
    ]
    assert all(module.weight.is_contiguous(memory_format=torch.channels_last) for module in convolutions)
    seen: list[torch.Tensor] = []
    handle = small.encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    small(images(2))
    handle.remove()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("drop_path", "expected"), [(0.0, []), (0.2, [0.2])])
def test_drop_path_reaches_the_encoder(drop_path: float, expected: list[float]) -> None:
    model = create_model(SMALL, pretrained=False, drop_path=drop_path)
    rates = [module.drop_prob for module in model.modules() if type(module).__name__ == "DropPath"]
    assert rates[-1:] == expected


def test_encoder_without_drop_path() -> None:
    with pytest.raises(ValueError, match=r"encoder vgg11 has no drop-path, got drop_path=0\.2: use drop_path=0"):
        create_model("vgg11", pretrained=False)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [("resnest50", r"got 'resnest50'; close to it: .*resnest50d"), ("§", r"got '§'; close to it: nothing")],
)
def test_unknown_encoder(encoder: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(encoder, pretrained=False)


# Published weights ------------------------------------------------------------------------------------------------------------------
def test_offline_is_an_error_and_never_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> NoReturn:
        raise LocalEntryNotFoundError("cannot find the requested files in the local cache.")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_hf", no_network)
    with pytest.raises(
        RuntimeError,
        match=rf"weights of {SMALL} cannot be had from the network: cannot find .*PRETRAINED=False.*WEIGHTS_FILE",
    ):
        create_model(SMALL, pretrained=True)


def test_encoder_without_published_weights() -> None:
    with pytest.raises(
        RuntimeError, match=r"weights of resnet10t\.none cannot be had from the network: Invalid pretrained tag"
    ):
        create_model("resnet10t.none", pretrained=True)


@pytest.mark.parametrize("form", ["safetensors", "torch"])
def test_local_file_of_weights(form: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    encoder = timm.create_model(SMALL)
    nn.init.constant_(encoder.conv1.weight, 0.25)
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    save_file(encoder.state_dict(), path) if form == "safetensors" else torch.save(encoder.state_dict(), path)
    model = create_model(SMALL, pretrained=True, weights_file=path)
    state = model.encoder.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("content", ["", "text", "truncated", "missing key", "other encoder"])
def test_unfit_file_of_weights(content: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state = timm.create_model("resnet26" if content == "other encoder" else SMALL).state_dict()
    if content == "missing key":
        del state["layer1.0.conv1.weight"]
    torch.save(state, path)
    if content in ("", "text"):
        path.write_text(content)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(
        RuntimeError,
        match=rf"the published weights of {SMALL} cannot be had from {path}: .*Go on with pretrained=False",
    ):
        create_model(SMALL, pretrained=True, weights_file=path)


def test_file_of_weights_must_be_wanted_and_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="weights_file is read only with pretrained=True"):
        create_model(SMALL, pretrained=False, weights_file=tmp_path / "a")
    with pytest.raises(
        FileNotFoundError, match=f"must be a file of weights of {SMALL}, and {tmp_path / 'a'} is not there"
    ):
        create_model(SMALL, pretrained=True, weights_file=tmp_path / "a")


# Noise residual ---------------------------------------------------------------------------------------------------------------------
def test_kernels_are_those_of_the_paper() -> None:
    """Zhou et al. 2018, figure 3."""
    assert [divisor for divisor, _ in SRM_KERNELS] == [4, 12, 2]
    kernels = NoiseResidual().kernels / torch.tensor(PIXEL_STD)[:, None, None]
    first, second, third = kernels[:, 0]
    assert torch.equal(kernels[:, 0], kernels[:, 1])
    assert torch.allclose(kernels.sum((2, 3)), torch.zeros(3, 3), atol=1e-6)
    assert torch.allclose(
        kernels[:, 0].reshape(3, 25)[:, 12], torch.tensor([-1.0, -1.0, -1.0])
    )  # the middle: -4/4, -12/12, -2/2
    assert torch.allclose(first[1, :], torch.tensor([0, -0.25, 0.5, -0.25, 0]))
    assert torch.allclose(second[0, :] * 12, torch.tensor([-1.0, 2, -2, 2, -1]))
    assert torch.allclose(second[1, :] * 12, torch.tensor([2.0, -6, 8, -6, 2]))
    assert torch.allclose(third[2, :], torch.tensor([0, 0.5, -1, 0.5, 0]))
    assert all(
        torch.allclose(kernel, kernel.flip(0)) and torch.allclose(kernel, kernel.flip(1))
        for kernel in (first, second, third)
    )


def test_constant_image_leaves_nothing_border_included() -> None:
    residual = NoiseResidual()(normalise(np.full((9, 7, 3), (200, 30, 90), np.uint8)))
    assert residual.shape == (1, 3, 9, 7)
    assert residual.abs().max() < 1e-3  # gray levels


def test_residual_is_in_gray_levels_of_the_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    expected = [
        correlate(pixels.sum(2).astype(float), np.array(weights) / divisor, mode="nearest")
        for divisor, weights in SRM_KERNELS
    ]
    assert np.allclose(NoiseResidual()(normalise(pixels))[0].numpy(), expected, atol=1e-2)


def test_half_precision_does_not_round_the_residual() -> None:
    noise, batch = NoiseResidual(), images(1)
    with torch.autocast("cpu", torch.bfloat16):
        residual = noise(batch)
    assert residual.dtype == torch.float32
    assert torch.equal(residual, noise(batch))


def test_noise_variant_sees_the_residual_and_does_not_train_it() -> None:
    model = create_model(SMALL, pretrained=False, noise=True).eval()
    names = {name for name, _ in model.named_parameters()}
    assert model.state_dict().keys() - names >= {"noise.kernels"}
    plain = normalise(np.full((64, 64, 3), 40, np.uint8))
    with torch.inference_mode():
        assert torch.allclose(model(plain), model(plain + 1), atol=1e-4)  # brightness alone is nothing to it
        assert not torch.allclose(model(plain), model(images(1)), atol=1e-4)
