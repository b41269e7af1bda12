import numpy as np
import pytest
import torch
from torch.backends import cudnn

from dfdc_lib.classifier.inference import autocast_dtype, logits_of, weights_fingerprint
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.classifier.preprocess import normalize
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


def test_weights_fingerprint_depends_on_the_weights(model: Classifier) -> None:
    torch.manual_seed(0)
    same = create_model("test_efficientnet", pretrained=False)
    assert weights_fingerprint(same) == weights_fingerprint(model)
    with torch.no_grad():
        same.fc.bias += 1e-3
    assert weights_fingerprint(same) != weights_fingerprint(model)
