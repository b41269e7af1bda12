"""Convert a model for OpenVINO. In: its files and recipe. Out: a network from squares of uint8 pixels to logits.

Where the logit is the mean over places of a linear function of the last feature map (global average pooling, then one
linear layer: EfficientNet, ResNet, ResNeSt), the network also returns that function at each place, the evidence. It is
what Grad-CAM computes: the gradient of the logit is then the same at all places (Selvaraju et al. 2017, section 3).
"""

from pathlib import Path

import torch
from torch import nn

from dfdc_lib.backends.openvino_models import save, to_openvino
from dfdc_lib.classifier.checkpoints import load_classifier
from dfdc_lib.classifier.inference import normalize
from dfdc_lib.classifier.model import Classifier
from dfdc_lib.classifier.model_files import ModelFiles
from dfdc_lib.records import Recipe

TOLERANCE = 1e-3  # of a logit


class FromSquares(nn.Module):
    """A classifier with normalisation: (n, size, size, 3) uint8 RGB in; logits (n,), and evidence (n, h, w), out.

    `with_evidence`: whether to return the evidence.
    """

    def __init__(self, classifier: Classifier, recipe: Recipe, with_evidence: bool) -> None:
        super().__init__()
        self.classifier, self.recipe, self.with_evidence = classifier, recipe, with_evidence

    def forward(self, squares: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return (logits, evidence), or (logits,)."""
        images = normalize(squares.permute(0, 3, 1, 2), self.recipe, squares.device)
        features = self.classifier.features(images)
        logits = self.classifier.head(features)
        if not self.with_evidence:
            return (logits,)
        return logits, evidence_of(self.classifier, features)


def evidence_of(classifier: Classifier, features: torch.Tensor) -> torch.Tensor:
    """Return the last layer applied at each place of a feature map (n, channels, h, w): (n, h, w), without its bias."""
    return torch.einsum("nchw,c->nhw", features, classifier.fc.weight[0])


def convert_classifier(files: ModelFiles, recipe: Recipe, path: Path) -> None:
    """Write a model's converted network as .xml and .bin files."""
    classifier = load_classifier(files)
    example = torch.randint(256, (2, recipe.size, recipe.size, 3), dtype=torch.uint8)
    network = FromSquares(classifier, recipe, has_evidence(classifier, example, recipe)).eval()
    save(to_openvino(network, example, [-1, recipe.size, recipe.size, 3]), path)


def has_evidence(classifier: Classifier, squares: torch.Tensor, recipe: Recipe) -> bool:
    """Return whether the logit of squares is the mean of their evidence plus the bias of the last layer."""
    with torch.no_grad():
        features = classifier.features(normalize(squares.permute(0, 3, 1, 2), recipe, squares.device))
        if features.dim() != 4 or features.shape[1] != classifier.fc.in_features:
            return False
        sums = evidence_of(classifier, features).mean(dim=(1, 2)) + classifier.fc.bias
        return bool((sums - classifier.head(features)).abs().max() < TOLERANCE)
