import numpy as np
import pytest
import timm
import torch
from scipy.ndimage import correlate
from torch import nn

from dfdc_lib.classifier.inference import normalize
from dfdc_lib.classifier.model import PIXEL_STD, SRM_KERNELS, Classifier, NoiseResidual, create_model
from dfdc_lib.records import Recipe

SMALL = "resnet18"


def images(count: int, side: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def normalised(pixels: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float."""
    return normalize(torch.from_numpy(pixels).permute(2, 0, 1)[None], Recipe(size=64), torch.device("cpu"))


def logits(model: Classifier, batch: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(batch)


@pytest.mark.parametrize(
    ("encoder", "side", "channels"),
    [
        ("tf_efficientnet_b5_ns", 64, 2048),
        ("tf_efficientnet_b7_ns", 64, 2560),
        (SMALL, 32, 512),
        ("mobilenetv3_small_050", 32, 1024),
        ("convnext_atto", 32, 320),
        ("vit_tiny_patch16_224", 224, 192),  # tokens instead of a feature map
    ],
)
def test_one_logit_per_image_for_any_encoder(encoder: str, side: int, channels: int) -> None:
    model = create_model(encoder, pretrained=False, drop_path=0)
    result = logits(model, images(2, side))
    assert result.shape == (2,) and torch.isfinite(result).all()
    assert model.fc.in_features == channels


@pytest.mark.parametrize("encoder", ["tf_efficientnet_b0_ns", "resnest14d", SMALL])
def test_every_weight_but_the_unused_ones_is_trained(encoder: str) -> None:
    model = create_model(encoder, pretrained=False).train()
    nn.functional.binary_cross_entropy_with_logits(model(images(2)), torch.tensor([0.0, 1.0])).backward()
    without_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    unused = "classifier" if "efficientnet" in encoder else "fc"
    assert without_gradient == {f"encoder.{unused}.weight", f"encoder.{unused}.bias"}  # DDP would wait for others
    assert not any(parameter.requires_grad for name, parameter in model.named_parameters() if name in without_gradient)


@pytest.mark.parametrize("encoder", ["tf_efficientnet_b0_ns", SMALL])
def test_logit_is_fc_of_the_mean_over_height_and_width(encoder: str) -> None:
    model = create_model(encoder, pretrained=False).eval()
    batch = images(2).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = model.fc(model.encoder.forward_features(batch).mean((2, 3)))[:, 0]
        assert torch.equal(model(batch), expected)  # bit for bit


def test_names_are_those_of_the_winners_code() -> None:
    """The keys of his B7 checkpoints: the encoder's as in timm, including its unused classifier, and fc."""
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


def test_channels_last() -> None:
    model = create_model(SMALL, pretrained=False).eval()
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)]
    assert all(module.weight.is_contiguous(memory_format=torch.channels_last) for module in layers)
    inputs: list[torch.Tensor] = []
    model.encoder.conv1.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    model(images(2))
    assert inputs[0].is_contiguous(memory_format=torch.channels_last)


def test_kernels_are_those_of_the_paper() -> None:
    """Zhou et al. 2018, figure 3."""
    assert [divisor for divisor, _ in SRM_KERNELS] == [4, 12, 2]
    kernels = NoiseResidual().kernels / torch.tensor(PIXEL_STD)[:, None, None]
    first, second, third = kernels[:, 0]
    assert torch.equal(kernels[:, 0], kernels[:, 1])
    assert torch.allclose(kernels.sum((2, 3)), torch.zeros(3, 3), atol=1e-6)
    assert torch.allclose(kernels[:, 0, 2, 2], torch.tensor([-1.0, -1.0, -1.0]))  # -4/4, -12/12, -2/2
    assert torch.allclose(first[1], torch.tensor([0, -0.25, 0.5, -0.25, 0]))
    assert torch.allclose(second[:2] * 12, torch.tensor([[-1.0, 2, -2, 2, -1], [2.0, -6, 8, -6, 2]]))
    assert torch.allclose(third[2], torch.tensor([0, 0.5, -1, 0.5, 0]))
    assert all(torch.allclose(kernels[:, 0], kernels[:, 0].flip(axis)) for axis in (1, 2))


def test_residual_is_in_gray_levels_and_0_for_a_constant_image() -> None:
    residual = NoiseResidual()(normalised(np.full((9, 7, 3), (200, 30, 90), np.uint8)))
    assert residual.shape == (1, 3, 9, 7)
    assert residual.abs().max() < 1e-3  # gray levels
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    gray = pixels.sum(2).astype(float)
    expected = [correlate(gray, np.array(weights) / divisor, mode="nearest") for divisor, weights in SRM_KERNELS]
    assert np.allclose(NoiseResidual()(normalised(pixels))[0].numpy(), expected, atol=1e-2)


def test_half_precision_does_not_round_the_residual() -> None:
    noise, batch = NoiseResidual(), images(1)
    with torch.autocast("cpu", torch.bfloat16):
        residual = noise(batch)
    assert residual.dtype == torch.float32
    assert torch.equal(residual, noise(batch))


def test_noise_variant_uses_the_residual_and_does_not_train_it() -> None:
    model = create_model(SMALL, pretrained=False, noise=True)
    assert "noise.kernels" in model.state_dict().keys() - {name for name, _ in model.named_parameters()}
    plain = normalised(np.full((64, 64, 3), 40, np.uint8))
    assert torch.allclose(logits(model, plain), logits(model, plain + 1), atol=1e-4)  # brightness has no effect
    assert not torch.allclose(logits(model, plain), logits(model, images(1)), atol=1e-4)
