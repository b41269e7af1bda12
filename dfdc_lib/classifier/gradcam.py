"""Heat maps: where in a crop a classifier sees evidence for "fake".

Input: a model and squares of `preprocess.fit_to_square`. Output: one map per square, as coarse as the encoder's last
feature map (32 pixels per cell). A map shows where the model looked, not whether it was right.
Source: Grad-CAM, Selvaraju et al. 2017, equations 1 and 2, arXiv:1610.02391, implemented by captum.
"""

import numpy as np
import torch
from captum.attr import LayerGradCam

from dfdc_lib.classifier.heat import heat_of_evidence
from dfdc_lib.classifier.inference import normalize
from dfdc_lib.classifier.model import Classifier
from dfdc_lib.records import Recipe

CROPS_PER_BATCH = 8


def heat_maps(model: Classifier, images: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Return a Grad-CAM heat map of each image: where the encoder's last feature map raises the logit.

    `images`: (n, size, size, 3) uint8 RGB, from `fit_to_square`; the model must be in eval mode. The maps are
    (n, size, size) float32: 1 = the strongest evidence for "fake" in that image, 0 = none. A map without evidence is 0
    everywhere. Values of different images cannot be compared. Raises ValueError for another shape or dtype.
    """
    if images.shape[1:] != (recipe.size, recipe.size, 3) or images.dtype != np.uint8:
        expected = f"(n, {recipe.size}, {recipe.size}, 3) uint8"
        raise ValueError(f"images must be {expected}, got {images.shape} {images.dtype}: see preprocess.fit_to_square")
    maps = [_heat_of_batch(model, batch, recipe) for batch in torch.from_numpy(images).split(CROPS_PER_BATCH)]
    return np.concatenate(maps)


def _heat_of_batch(model: Classifier, images: torch.Tensor, recipe: Recipe) -> np.ndarray:
    if not len(images):
        return np.zeros(images.shape[:3], np.float32)
    device = next(model.parameters()).device
    with torch.no_grad():  # the gradient ends at the feature map, which saves memory
        features = model.features(normalize(images.permute(0, 3, 1, 2), recipe, device))
    # The input of the pooling is the feature map, in every encoder.
    grad_cam = LayerGradCam(model.head, model.encoder.global_pool)
    coarse = grad_cam.attribute(features.requires_grad_(), attribute_to_layer_input=True, relu_attributions=True)
    return heat_of_evidence(coarse.detach()[:, 0].float().cpu().numpy(), recipe.size)
