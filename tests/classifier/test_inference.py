"""Crops in, logits out: what a model is fed with is what its recipe says."""

import numpy as np
import pytest
import torch

from dfdc_lib.classifier.inference import autocast_dtype, choose_device, feed, logits_of, weights_fingerprint
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.records import Recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")
RECIPE = Recipe(size=64)


@pytest.fixture(scope="module")
def model() -> Classifier:
    torch.manual_seed(0)
    return create_model("test_efficientnet", pretrained=False).eval()


def images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_feed_of_no_image() -> None:
    assert feed(images(0), RECIPE, CPU).shape == (0, 3, 64, 64)


def test_feed_normalises_with_the_means_of_imagenet() -> None:
    fed = feed(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4), RECIPE, CPU)
    assert fed.dtype == torch.float32
    assert fed.is_contiguous(memory_format=torch.channels_last)
    black, white = (
        [-2.117904, -2.035714, -1.804444],
        [2.248908, 2.428571, 2.640000],
    )  # (0 - mean) / std and (1 - mean) / std
    torch.testing.assert_close(fed[:, :, 2, 3], torch.tensor([black, white]), rtol=0, atol=1e-5)


def test_feed_takes_the_numbers_of_the_recipe() -> None:
    recipe = RECIPE.model_copy(update={"mean": (0.0, 0.5, 1.0), "std": (1.0, 0.5, 2.0)})
    fed = feed(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8), recipe, CPU)
    assert fed.flatten().tolist() == [1.0, 1.0, 0.0]


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


@pytest.mark.parametrize(
    ("asked", "there", "expected"),
    [("auto", True, GPU), ("auto", False, CPU), ("cpu", True, CPU), ("cuda", False, GPU)],
)
def test_choose_device(asked: str, there: bool, expected: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(asked) == expected


def test_logits_are_what_the_model_says(model: Classifier) -> None:
    logits = logits_of(model, images(3), RECIPE, torch.float32)
    assert logits.shape == (3,) and logits.dtype == np.float32
    with torch.inference_mode():
        assert np.array_equal(logits, model(feed(images(3), RECIPE, CPU)).numpy())


def test_bfloat16_computes_in_bfloat16_and_gives_float32(model: Classifier) -> None:
    exact, rough = (
        logits_of(model, images(3), RECIPE, torch.float32),
        logits_of(model, images(3), RECIPE, torch.bfloat16),
    )
    assert rough.dtype == np.float32
    assert not np.array_equal(rough, exact)
    assert np.abs(rough - exact).max() < 0.1


def test_the_fingerprint_tells_models_apart(model: Classifier) -> None:
    torch.manual_seed(0)
    same = create_model("test_efficientnet", pretrained=False)
    assert weights_fingerprint(same) == weights_fingerprint(model)
    with torch.no_grad():
        same.fc.bias += 1e-3
    assert weights_fingerprint(same) != weights_fingerprint(model)
