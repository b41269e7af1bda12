"""Which pixels made the score? Heat maps of what spoke for "fake", and a check that they tell of the model and not of the picture alone.

Squares that a model is fed and the model in, one map per square out. A heat map is as coarse as the encoder's last feature map (a cell is
32 pixels wide), and says where the model looked, not that it is right. Source: Grad-CAM, Selvaraju et al. 2017, arXiv:1610.02391, by
captum; the check: Adebayo et al. 2018, arXiv:1810.03292.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from scipy.stats import spearmanr

from dfdc_lib.classifier.inference import feed
from dfdc_lib.classifier.model import Classifier
from dfdc_lib.records import Recipe

CROPS_PER_BATCH = 8


def heat_maps(model: Classifier, images: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Show where the evidence for "fake" lies: Grad-CAM of the logit on the encoder's last feature map.

    The gradient goes no further back than that map, so that memory stays flat; the model comes back as it was given.

    Args:
        model: in any mode, on its device; it works in eval mode and float32 here.
        images: (n, size, size, 3) uint8 RGB, made by `feed.fit_to_square`.
        recipe: of this model.
    Returns:
        (n, size, size) float32, 0 = nothing that speaks for "fake", 1 = the strongest place of this image. Strengths of two images cannot
        be compared. All 0 where no place speaks for "fake".
    Raises:
        ValueError: if the images have another shape or dtype.
    Source:
        Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2.
    """
    if images.shape[1:] != (recipe.size, recipe.size, 3) or images.dtype != np.uint8:
        expected = f"(n, {recipe.size}, {recipe.size}, 3) uint8"
        raise ValueError(
            f"images must be {expected}, got {images.shape} {images.dtype}: make them with feed.fit_to_square"
        )
    maps = np.zeros(images.shape[:3], np.float32)
    with _in_eval_mode(model):
        for start in range(0, len(images), CROPS_PER_BATCH):
            maps[start : start + CROPS_PER_BATCH] = _heat_of_batch(
                model, images[start : start + CROPS_PER_BATCH], recipe
            )
    return maps


def map_similarity(maps: np.ndarray, others: np.ndarray) -> float:
    """Compare heat maps of the same images by the order of their pixels: the mean of the images' rank correlations.

    Args:
        maps: (n, H, W); an all-zero one has no order and is left out.
        others: the same shape; an all-zero one resembles nothing: 0.
    Returns:
        −1 to 1; 1 = the same order in every image.
    Raises:
        ValueError: if shapes differ, or if every one of `maps` is all zero.
    Source:
        Spearman's rank correlation, as in Adebayo et al. 2018, arXiv:1810.03292.
    """
    if maps.shape != others.shape:
        raise ValueError(
            f"two stacks of heat maps must have one shape, got {maps.shape} and {others.shape}: make both of the same images"
        )
    pairs = [(one.ravel(), other.ravel()) for one, other in zip(maps, others, strict=True) if one.any()]
    if not pairs:
        raise ValueError(
            f"none of {len(maps)} heat maps shows any evidence, so there is no order to compare: take images with high scores"
        )
    return float(np.mean([spearmanr(one, other).statistic if np.ptp(other) else 0.0 for one, other in pairs]))


def randomised_similarity(model: Classifier, images: np.ndarray, recipe: Recipe, seed: int) -> float:
    """Check heat maps: do they change when all that the model learned is taken away? They must, or they show the picture only.

    Args:
        model, images, recipe: as `heat_maps` takes them.
        seed: of the weights that are drawn.
    Returns:
        `map_similarity` of the model's maps and those of a copy whose weights are all drawn again: near 0 for a map to be trusted, near 1
        for one that hardly depends on the model.
    Raises:
        ValueError: as `heat_maps` and `map_similarity`.
    Source:
        Adebayo et al. 2018, arXiv:1810.03292, "model parameter randomization test".
    """
    return map_similarity(heat_maps(model, images, recipe), heat_maps(randomised(model, seed), images, recipe))


def randomised(model: Classifier, seed: int) -> Classifier:
    """Copy a model and draw all its weights again, as at their making; batch norm forgets what it counted."""
    device = next(model.parameters()).device
    drawn = copy.deepcopy(model).cpu()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for module in drawn.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    return drawn.to(device)


def _heat_of_batch(model: Classifier, images: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Make the heat maps of one batch, (n, size, size) float32 in 0–1."""
    device = next(model.parameters()).device
    with torch.no_grad():
        features = model.features(feed(torch.from_numpy(images).permute(0, 3, 1, 2), recipe, device))
    # What comes into the pooling is the feature map itself, whatever the encoder.
    grad_cam = LayerGradCam(model.head, model.encoder.global_pool)
    coarse = grad_cam.attribute(features.requires_grad_(), attribute_to_layer_input=True, relu_attributions=True)
    fine = F.interpolate(coarse.detach(), (recipe.size, recipe.size), mode="bilinear", align_corners=False)[:, 0]
    strongest = fine.amax(dim=(1, 2), keepdim=True).clamp(
        min=torch.finfo(fine.dtype).tiny
    )  # an all-zero map stays zero
    return (fine / strongest).cpu().numpy()


@contextmanager
def _in_eval_mode(model: Classifier) -> Iterator[None]:
    """Switch a model to eval mode and back, each module to the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
