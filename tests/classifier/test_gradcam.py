"""Heat maps: right where the answer is known by hand, for every kind of encoder, and gone when the weights are."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dfdc_lib.classifier import gradcam
from dfdc_lib.classifier.preprocess import normalize
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.records import Recipe

SIDE = 64  # pixels
RECIPE = Recipe(size=SIDE)
PLAIN = Recipe(size=SIDE, mean=(0, 0, 0), std=(1, 1, 1))
SMALL = "test_resnet"  # timm's, for tests: half a million weights
ENCODERS = [
    ("resnet18", True),
    ("resnet18", False),
    ("tf_efficientnet_b0_ns", False),
    ("resnest14d", False),
    pytest.param("tf_efficientnet_b5_ns", False, marks=pytest.mark.slow),
    pytest.param("tf_efficientnet_b7_ns", False, marks=pytest.mark.slow),
    pytest.param("resnest50d", False, marks=pytest.mark.slow),
]


class Tiles(nn.Module):
    """An encoder whose features are known: the mean colour of tiles of 16 pixels."""

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


def tiles(red: int, green: int, blue: int) -> Classifier:
    """Say "fake" by so much of each colour."""
    model = Classifier(Tiles())
    model.fc.weight.data = torch.tensor([[float(red), green, blue]])
    return model


def noisy(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def lit(channel: int, left: int, top: int) -> np.ndarray:
    """A black image with one coloured tile."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[top : top + 16, left : left + 16, channel] = 255
    return image


@pytest.fixture(scope="module")
def small() -> Classifier:
    torch.manual_seed(3)
    return create_model(SMALL, pretrained=False, drop_path=0, noise=True)


# heat_maps ------------------------------------------------------------------------------------------------------------------------------
def test_no_images_no_maps(small: Classifier) -> None:
    maps = gradcam.heat_maps(small, np.zeros((0, SIDE, SIDE, 3), np.uint8), RECIPE)
    assert (maps.shape, maps.dtype) == ((0, SIDE, SIDE), np.float32)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (16, 48), (48, 32)])
def test_the_tile_that_makes_the_logit_is_hot(left: int, top: int) -> None:
    image = np.maximum(lit(0, left, top), lit(2, 32, 16))  # red speaks for "fake", blue against it
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


@pytest.mark.parametrize(("encoder", "noise"), ENCODERS)
def test_a_map_is_the_class_activation_map_where_features_are_averaged(encoder: str, noise: bool) -> None:
    """Selvaraju et al. 2017, section 3.1: with global average pooling and one linear layer Grad-CAM is CAM, Σ weight · feature map."""
    torch.manual_seed(0)
    model = create_model(encoder, pretrained=False, drop_path=0, noise=noise).eval()
    images = noisy(2)
    with torch.no_grad():
        features = model.features(normalize(torch.from_numpy(images).permute(0, 3, 1, 2), RECIPE, torch.device("cpu")))
        assert features.shape[2:] == (2, 2)
        if (
            torch.einsum("c,nchw->", model.fc.weight[0], features) < 0
        ):  # a random head may well say "real": then nothing is hot
            model.fc.weight.data.neg_()
        cam = F.relu(torch.einsum("c,nchw->nhw", model.fc.weight[0], features))[:, None]
        expected = F.interpolate(cam, (SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0]
    heat = gradcam.heat_maps(model, images, RECIPE)
    assert heat.any()
    assert np.abs(heat - (expected / expected.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)).numpy()).max() < 1e-4


def test_batches_do_not_matter(small: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    together = gradcam.heat_maps(small, noisy(5), RECIPE)
    monkeypatch.setattr(gradcam, "CROPS_PER_BATCH", 2)
    assert np.abs(gradcam.heat_maps(small, noisy(5), RECIPE) - together).max() < 1e-4


def test_the_model_comes_back_as_it_was_given(small: Classifier) -> None:
    small.train()
    small.encoder.layer1.eval()
    small.encoder.layer2.requires_grad_(False)
    modes = [module.training for module in small.modules()]
    needs = [parameter.requires_grad for parameter in small.parameters()]
    state = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    gradcam.heat_maps(small, noisy(1), RECIPE)
    gradcam.randomised(small, 0)
    assert [module.training for module in small.modules()] == modes
    assert [parameter.requires_grad for parameter in small.parameters()] == needs
    assert all(parameter.grad is None for parameter in small.parameters())
    assert all(
        torch.equal(state[name], tensor) for name, tensor in small.state_dict().items()
    )  # batch norm counted nothing
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in small.modules())


@pytest.mark.parametrize(
    ("shape", "dtype", "got"),
    [
        ((SIDE, SIDE, 3), np.uint8, r"\(64, 64, 3\) uint8"),
        ((1, 32, 32, 3), np.uint8, "32, 32"),
        ((1, SIDE, SIDE, 3), np.float32, "float32"),
    ],
)
def test_images_of_another_shape_are_refused(shape: tuple, dtype: type, got: str, small: Classifier) -> None:
    with pytest.raises(
        ValueError, match=rf"must be \(n, 64, 64, 3\) uint8, got .*{got}.*: make them with preprocess.fit_to_square"
    ):
        gradcam.heat_maps(small, np.zeros(shape, dtype), RECIPE)


# The check ------------------------------------------------------------------------------------------------------------------------------
def ramp(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 2, 2)


@pytest.mark.parametrize(
    ("one", "other", "similarity"),
    [
        ([0, 0.1, 0.2, 1], [0, 0.1, 0.2, 1], 1),
        ([0, 0.1, 0.2, 1], [0, 0.7, 0.8, 0.9], 1),  # the order counts alone
        ([0, 0.1, 0.2, 1], [1, 0.2, 0.1, 0], -1),
        ([0, 0.1, 0.2, 1], [0, 0, 0, 0], 0),
    ],
)
def test_map_similarity(one: list[float], other: list[float], similarity: float) -> None:
    assert gradcam.map_similarity(ramp(one), ramp(other)) == pytest.approx(similarity)


def test_map_similarity_leaves_out_maps_without_evidence() -> None:
    maps = np.concatenate([ramp([0, 0, 0, 0]), ramp([0, 0.5, 0.2, 1])])
    assert gradcam.map_similarity(maps, maps) == pytest.approx(1)
    with pytest.raises(ValueError, match="none of 1 heat maps shows any evidence"):
        gradcam.map_similarity(maps[:1], maps[:1])
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2, 2\) and \(1, 2, 2\)"):
        gradcam.map_similarity(maps, maps[:1])


@pytest.mark.parametrize("encoder", [SMALL, "tf_efficientnet_b0_ns", "resnest14d"])
def test_randomised_draws_every_weight_again(encoder: str) -> None:
    model = create_model(encoder, pretrained=False, drop_path=0)
    for parameter in model.parameters():
        parameter.data += 0.5  # as if trained: batch norm's 1 and 0 would be drawn alike
    drawn, same, other = (dict(gradcam.randomised(model, seed).named_parameters()) for seed in (1, 1, 2))
    assert not [name for name, parameter in model.named_parameters() if torch.equal(parameter, drawn[name])]
    assert all(torch.equal(parameter, same[name]) for name, parameter in drawn.items())
    assert not torch.equal(drawn["fc.weight"], other["fc.weight"])


def mosaics(count: int) -> np.ndarray:
    """Tiles of random colours."""
    colours = np.random.default_rng(1).integers(0, 256, (count, SIDE // 16, SIDE // 16, 3), np.uint8)
    return np.kron(colours, np.ones((1, 16, 16, 1), np.uint8))


def test_randomised_weights_change_the_map() -> None:
    """Weights that have nothing to do with red give maps that have, on the average, nothing to do with red."""
    model, images = tiles(1, 0, -1), mosaics(6)
    maps = gradcam.heat_maps(model, images, PLAIN)
    assert gradcam.map_similarity(maps, gradcam.heat_maps(model, images, PLAIN)) == pytest.approx(1)
    similarities = [gradcam.randomised_similarity(model, images, PLAIN, seed) for seed in range(12)]
    assert similarities[0] == gradcam.randomised_similarity(model, images, PLAIN, 0)
    assert abs(np.mean(similarities)) < 0.3
    assert min(similarities) < 0


def test_randomised_weights_change_the_map_of_a_network(small: Classifier) -> None:
    recipe = Recipe(size=160)  # 5 × 5 cells
    images = np.random.default_rng(2).integers(0, 256, (6, 160, 160, 3), np.uint8)
    small.fc.weight.data.abs_()  # no map is all zero
    assert gradcam.heat_maps(small, images, recipe).any(axis=(1, 2)).all()
    assert max(gradcam.randomised_similarity(small, images, recipe, seed) for seed in range(3)) < 0.5
