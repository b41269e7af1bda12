import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.backends import cudnn

from dfdc_lib.classifier.inference import autocast_dtype, logits_of, normalize
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.records import Recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")
RECIPE = Recipe(size=64)
IMAGES = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> Classifier:
    torch.manual_seed(0)
    return create_model("test_efficientnet", pretrained=False).eval()


@pytest.mark.parametrize(
    ("precision", "device", "bf16", "expected"),
    [
        ("float32", CPU, True, torch.float32),
        ("bfloat16", CPU, False, torch.bfloat16),
        ("float16", GPU, True, torch.float16),
        ("auto", CPU, True, torch.bfloat16),
        ("auto", CPU, False, torch.float32),
        ("auto", GPU, True, torch.bfloat16),
        ("auto", GPU, False, torch.float16),
    ],
)
def test_autocast_dtype(
    precision, device: torch.device, bf16: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: bf16)
    assert autocast_dtype(precision, device) == expected


def test_logits_are_those_of_the_model_in_either_precision(model: Classifier) -> None:
    rough = logits_of(model, IMAGES, Recipe(size=64, precision="bfloat16"))
    exact = logits_of(model, IMAGES, RECIPE)  # on every CPU, also one that computes in bfloat16
    assert exact.shape == rough.shape == (3,) and exact.dtype == rough.dtype == np.float32
    with torch.inference_mode():
        assert np.array_equal(exact, model(normalize(IMAGES, RECIPE, CPU)).numpy())
    assert 0 < np.abs(rough - exact).max() < 0.1


def test_float32_is_not_tf32(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[bool] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda x: (allowed.append(cudnn.allow_tf32), forward(x))[1])
    before = cudnn.enabled, cudnn.allow_tf32
    logits_of(model, IMAGES, RECIPE)
    assert (allowed, before) == ([False], (cudnn.enabled, cudnn.allow_tf32))


def test_normalize_with_the_numbers_of_the_recipe() -> None:
    pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    images = normalize(pixels, RECIPE, CPU)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    expected = [[-2.117904, -2.035714, -1.804444], [2.248908, 2.428571, 2.640000]]  # (0 - mean) / std, (1 - mean) / std
    torch.testing.assert_close(images[:, :, 2, 3], torch.tensor(expected), rtol=0, atol=1e-5)
    recipe = RECIPE.model_copy(update={"mean": (0.0, 0.5, 1.0), "std": (1.0, 0.5, 2.0)})
    images = normalize(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8), recipe, CPU)
    assert images.flatten().tolist() == [1.0, 1.0, 0.0]


def test_no_images() -> None:
    assert normalize(torch.zeros(0, 3, 64, 64, dtype=torch.uint8), RECIPE, CPU).shape == (0, 3, 64, 64)


def test_normalize_after_an_export() -> None:
    class Normalised(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return normalize(images, recipe, CPU)

    recipe = RECIPE.model_copy(update={"mean": (0.125, 0.25, 0.5)})  # of no other test
    exported = torch.export.export(Normalised(), (IMAGES,)).module()
    images = normalize(IMAGES, recipe, CPU)
    assert torch.equal(images, exported(IMAGES))
    assert images[0, 2, 0, 0].item() == pytest.approx((int(IMAGES[0, 2, 0, 0]) / 255 - 0.5) / 0.225)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.1), ("float16", 0.02)])
def test_a_gpu_returns_the_logits_of_the_cpu(model: Classifier, precision: Any, tolerance: float) -> None:
    expected = logits_of(model, IMAGES, RECIPE)
    on_gpu = copy.deepcopy(model).to(GPU)
    logits = logits_of(on_gpu, IMAGES, Recipe(size=64, precision=precision))
    assert logits.dtype == np.float32 and np.abs(logits - expected).max() < tolerance
