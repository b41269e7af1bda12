"""The frame classifier: an encoder, its pooled features, and one logit.

Input: normalised crops, (N, 3, H, W) float. Output: one logit per crop; positive = fake. The weights have the names of
the winner's code (`encoder.*`, `fc.*`; the encoder retains its unused classifier), so the released checkpoints load
strictly. A variant of the classifier processes the noise residual of the crop instead of the crop.
Source: S. Seferbekov 2020 for the head; Zhou et al. 2018, arXiv:1805.04953, for the noise filters.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from dfdc_lib.classifier.encoders import create_encoder

# Zhou et al. 2018, figure 3: three of the 30 filters of the spatial rich model, as (divisor, 5 x 5 weights).
SRM_KERNELS = (
    (4, ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0))),
    (12, ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1))),
    (2, ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0))),
)
SRM_BORDER = 2  # pixels that a 5 x 5 filter reaches beyond the image
PIXEL_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)  # ImageNet, RGB; undoes the recipe's division


class NoiseResidual(nn.Module):
    """Three fixed high-pass filters that remove the content of an image.

    Each filter is summed over R, G and B. Its weights sum to zero, so the mean subtracted by the normalisation does not
    matter. The residual is always computed in float32: half precision would round it away.
    Departs from the paper: the border is replicated, not black, so the edge of a crop leaves no residual.
    """

    kernels: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = torch.stack([torch.tensor(weights).float() / divisor for divisor, weights in SRM_KERNELS])
        kernels = filters[:, None] * torch.tensor(PIXEL_STD)[None, :, None, None]  # (3 out, 3 RGB, 5, 5)
        self.register_buffer("kernels", kernels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the three filters' outputs, (N, 3, H, W) float32 in units of 0-255 pixel values.

        `images`: (N, 3, H, W) normalised RGB.
        """
        with torch.autocast(images.device.type, enabled=False):
            padded = F.pad(images.float(), (SRM_BORDER,) * 4, mode="replicate")
            return F.conv2d(padded, self.kernels.float())


class Classifier(nn.Module):
    """An encoder, global average pooling, and a linear layer that returns one logit; created by `create_model`.

    `encoder`: a timm model; with `noise`, it gets the output of `NoiseResidual`. The pooling is the encoder's own. It
    equals the mean over H and W bit for bit for EfficientNet, ResNet and ResNeSt, and also handles encoders that return
    tokens. The encoder's classification layer is frozen, so DDP ignores it.
    """

    encoder: Any  # nn.Module does not declare timm's methods

    def __init__(self, encoder: nn.Module, noise: bool = False) -> None:
        super().__init__()
        self.noise = NoiseResidual() if noise else nn.Identity()
        self.encoder = encoder
        self.encoder.get_classifier().requires_grad_(False)
        self.fc = nn.Linear(self.encoder.head_hidden_size, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N,) logits for (N, 3, H, W) float RGB, normalised as in the recipe."""
        return self.head(self.features(images))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last feature map of the encoder for (N, 3, H, W) normalised RGB: (N, channels, H/32, W/32)."""
        return self.encoder.forward_features(self.noise(images).contiguous(memory_format=torch.channels_last))

    def head(self, features: torch.Tensor) -> torch.Tensor:
        """Return (N,) logits for a feature map from `features`."""
        pooled = self.encoder.forward_head(features, pre_logits=True)  # (N, channels)
        return self.fc(pooled)[:, 0]


def create_model(
    encoder: str, *, pretrained: bool, drop_path: float = 0.2, noise: bool = False, weights_file: Path | None = None
) -> Classifier:
    """Create a classifier on the CPU, in training mode and channels_last format; `fc`, its last layer, is random.

    With `pretrained`, the encoder (a timm name) starts from its published weights (ImageNet; Noisy Student for `*_ns`),
    read from `weights_file` (safetensors or torch), else the network. `drop_path`: chance of skipping the last block in
    training, falling to 0 at the first (Huang et al. 2016, arXiv:1603.09382; winner: 0.2). With `noise`, the encoder
    gets the output of `NoiseResidual` instead of the crop. Raises ValueError for an unknown encoder, a `drop_path` that
    it lacks, or a `weights_file` without `pretrained`; FileNotFoundError if there is no such file; RuntimeError if the
    weights cannot be loaded.
    """
    network = create_encoder(encoder, pretrained, drop_path, weights_file)
    return Classifier(network, noise).to(memory_format=torch.channels_last)
