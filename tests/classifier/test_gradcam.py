import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import nn

from dfdc_lib.classifier import gradcam
from dfdc_lib.classifier.inference import normalize
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.records import Recipe

SIDE = 64  # pixels
RECIPE = Recipe(size=SIDE)
PLAIN = Recipe(size=SIDE, mean=(0, 0, 0), std=(1, 1, 1))
SLOW = ("tf_efficientnet_b5_ns", "tf_efficientnet_b7_ns", "resnest50d")
ENCODERS = [("resnet18", True), ("resnet18", False), ("tf_efficientnet_b0_ns", False), ("resnest14d", False)]


class Tiles(nn.Module):
    """An encoder with known features: the mean colour of tiles of 16 pixels."""

    head_hidden_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(3, 1)

    def get_classifier(self) -> nn.Module:
        return self.classifier

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(images, 16)

    def forward_head(self, features: torch.Tensor, pre_logits: bool) -> torch.Tensor:
        return self.global_pool(features).flatten(1)


def tiles(red: float, green: float, blue: float) -> Classifier:
    """A model whose logit is a weighted sum of the colours."""
    model = Classifier(Tiles()).eval()
    model.fc.weight.data = torch.tensor([[red, green, blue]], dtype=torch.float32)
    return model


def lit(channel: int, left: int, top: int) -> np.ndarray:
    """A black image with one coloured tile."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[top : top + 16, left : left + 16, channel] = 255
    return image


def noisy(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def network() -> Classifier:
    torch.manual_seed(3)
    return create_model("test_resnet", pretrained=False, drop_path=0, noise=True).eval()


@pytest.mark.parametrize(("left", "top"), [(0, 0), (16, 48), (48, 32)])
def test_the_tile_that_makes_the_logit_is_hot(left: int, top: int) -> None:
    image = np.maximum(lit(0, left, top), lit(2, 32, 16))  # red is evidence for "fake", blue against it
    (heat,) = gradcam.heat_maps(tiles(2, 0, -1), image[None], PLAIN)
    assert heat.max() == pytest.approx(1)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert (left <= column < left + 16, top <= row < top + 16) == (True, True)
    outside = np.ones((SIDE, SIDE), bool)
    outside[max(0, top - 8) : top + 24, max(0, left - 8) : left + 24] = False  # bilinear: half a tile beyond
    assert not heat[outside].any()


def test_evidence_against_leaves_an_all_zero_map() -> None:
    images = np.stack([lit(2, 0, 0), np.zeros((SIDE, SIDE, 3), np.uint8), lit(0, 0, 0)])
    heat = gradcam.heat_maps(tiles(1, 0, -1), images, PLAIN)
    assert heat.max(axis=(1, 2)).tolist() == [0, 0, pytest.approx(1)]


@pytest.mark.parametrize(
    ("encoder", "noise"), [*ENCODERS, *[pytest.param(name, False, marks=pytest.mark.slow) for name in SLOW]]
)
def test_a_map_is_the_class_activation_map_where_features_are_averaged(encoder: str, noise: bool) -> None:
    """Selvaraju et al. 2017, section 3.1: with average pooling and one linear layer, Grad-CAM is CAM."""
    torch.manual_seed(0)
    model = create_model(encoder, pretrained=False, drop_path=0, noise=noise).eval()
    images = noisy(2)
    with torch.no_grad():
        features = model.features(normalize(torch.from_numpy(images).permute(0, 3, 1, 2), RECIPE, torch.device("cpu")))
        assert features.shape[2:] == (2, 2)
        if torch.einsum("c,nchw->", model.fc.weight[0], features) < 0:  # a random head may see no evidence for "fake"
            model.fc.weight.data.neg_()
        cam = F.relu(torch.einsum("c,nchw->nhw", model.fc.weight[0], features))[:, None]
        expected = F.interpolate(cam, (SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
    heat = gradcam.heat_maps(model, images, RECIPE)
    assert heat.any()
    assert np.abs(heat - (expected / expected.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)).numpy()).max() < 1e-4


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    together = gradcam.heat_maps(model, noisy(5), RECIPE)
    monkeypatch.setattr(gradcam, "CROPS_PER_BATCH", 2)
    assert np.abs(gradcam.heat_maps(model, noisy(5), RECIPE) - together).max() < 1e-4
    empty = gradcam.heat_maps(model, noisy(0), RECIPE)
    assert (empty.shape, empty.dtype) == ((0, SIDE, SIDE), np.float32)


def test_the_model_is_not_changed() -> None:
    model = network()
    model.encoder.layer2.requires_grad_(False)
    needs_gradient = [parameter.requires_grad for parameter in model.parameters()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradcam.heat_maps(model, noisy(1), RECIPE)
    assert not any(module.training for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()] == needs_gradient
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("shape", "dtype"), [((SIDE, SIDE, 3), np.uint8), ((1, 32, 32, 3), np.uint8), ((1, SIDE, SIDE, 3), np.float32)]
)
def test_images_of_another_shape_are_an_error(shape: tuple, dtype: type) -> None:
    with pytest.raises(ValueError, match="fit_to_square"):
        gradcam.heat_maps(tiles(1, 0, 0), np.zeros(shape, dtype), RECIPE)


def test_maps_depend_on_the_weights() -> None:
    """Adebayo et al. 2018, arXiv:1810.03292, "model parameter randomization test", by rank correlation as there."""
    colours = np.random.default_rng(1).integers(0, 256, (6, SIDE // 16, SIDE // 16, 3), np.uint8)
    images = np.kron(colours, np.ones((1, 16, 16, 1), np.uint8))

    def similarity(weights: np.ndarray) -> float:
        pairs = zip(maps.reshape(6, -1), gradcam.heat_maps(tiles(*weights), images, PLAIN).reshape(6, -1), strict=True)
        return float(np.mean([spearmanr(one, other).statistic if other.any() else 0 for one, other in pairs]))

    maps = gradcam.heat_maps(tiles(1, 0, -1), images, PLAIN)
    assert similarity(np.array([1, 0, -1])) == pytest.approx(1)
    others = [similarity(weights) for weights in np.random.default_rng(0).uniform(-1, 1, (12, 3))]
    assert abs(np.mean(others)) < 0.3
    assert min(others) < 0
