"""The frame classifier: a timm encoder, its pooled features, and one logit.

In comes a batch of normalised crops, (N, 3, H, W) float; out comes one logit a crop, positive = fake. The names of the weights are those of
the winner's code (`encoder.*`, `fc.weight`, `fc.bias`; the encoder keeps its unused classifier), so that the released checkpoints load
strictly. A variant of the classifier looks at the noise residual of the crop instead of at the crop.
Source: the slides, "Encoders"; S. Seferbekov 2020 for the head; Zhou et al. 2018, arXiv:1805.04953, for the noise filters.
"""

import difflib
import struct
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn

# timm name: side of the input in pixels. EfficientNet with Noisy Student weights: slides (B7 too at 380, for memory). timm calls these
# `tf_efficientnet_b3.ns_jft_in1k` today; both names work. ResNeSt at the size at which it was published beside B7 (SPEC, table of the
# deck's team: R200, R269 and B7 at 380).
ENCODERS = {
    "tf_efficientnet_b3_ns": 300,
    "tf_efficientnet_b4_ns": 380,
    "tf_efficientnet_b5_ns": 380,
    "tf_efficientnet_b6_ns": 380,
    "tf_efficientnet_b7_ns": 380,
    "resnest50d": 380,
    "resnest101e": 380,
    "resnest200e": 380,
    "resnest269e": 380,
}
DROP_PATH = 0.2  # winner

# Zhou et al. 2018, figure 3: three of the 30 filters of the spatial rich model, as (divisor, 5 x 5 weights). Each sums to zero.
SRM_KERNELS = (
    (4, ((0, 0, 0, 0, 0), (0, -1, 2, -1, 0), (0, 2, -4, 2, 0), (0, -1, 2, -1, 0), (0, 0, 0, 0, 0))),
    (12, ((-1, 2, -2, 2, -1), (2, -6, 8, -6, 2), (-2, 8, -12, 8, -2), (2, -6, 8, -6, 2), (-1, 2, -2, 2, -1))),
    (2, ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 1, -2, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0))),
)
SRM_BORDER = 2  # pixels a 5 x 5 filter reaches beyond the image
PIXEL_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)  # RGB of ImageNet: the recipe divided by it, the filters want 0-255


class NoiseResidual(nn.Module):
    """Three fixed high-pass filters: what is left of an image when its content is taken away.

    Each filter is summed over R, G and B, so three images come out. The filters sum to zero: the mean that normalisation took away needs no
    undoing. Always computed in float32: half precision would round away what is looked for.
    Departs from the paper: the border is replicated, not black, so that the edge of a crop is no edge in its residual.
    """

    kernels: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        filters = torch.stack(
            [torch.tensor(weights, dtype=torch.float32) / divisor for divisor, weights in SRM_KERNELS]
        )
        self.register_buffer(
            "kernels", filters[:, None] * torch.tensor(PIXEL_STD)[None, :, None, None]
        )  # (3 out, 3 RGB, 5, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Filter (N, 3, H, W) normalised RGB; gives (N, 3, H, W) float32 in gray levels, summed over RGB."""
        with torch.autocast(images.device.type, enabled=False):
            padded = F.pad(images.float(), (SRM_BORDER,) * 4, mode="replicate")
            return F.conv2d(padded, self.kernels.float())


class Classifier(nn.Module):
    """An encoder, the mean of its features over height and width, and a linear layer: one logit.

    Made by `create_model`. The encoder's own pooling is used: bit-equal to the mean over H and W for EfficientNet, ResNet and ResNeSt,
    and right as well for encoders that give tokens. Its classifier stays, unused and not trained (so that DDP does not wait for it).

    Args:
        encoder: a timm model with `forward_features`, `forward_head` and `head_hidden_size`.
        noise: the encoder is given the noise residual of the image.
    """

    encoder: Any  # nn.Module does not know a timm model's methods

    def __init__(self, encoder: nn.Module, noise: bool = False) -> None:
        super().__init__()
        self.noise = NoiseResidual() if noise else nn.Identity()
        self.encoder = encoder
        self.encoder.get_classifier().requires_grad_(False)
        self.fc = nn.Linear(self.encoder.head_hidden_size, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify (N, 3, H, W) float, RGB normalised as the recipe says; gives (N,) logits, positive = fake."""
        return self.head(self.features(images))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Give the last feature map of what `forward` takes: (N, channels, H/32, W/32)."""
        return self.encoder.forward_features(self.noise(images).contiguous(memory_format=torch.channels_last))

    def head(self, features: torch.Tensor) -> torch.Tensor:
        """Pool a feature map and give (N,) logits."""
        pooled = self.encoder.forward_head(features, pre_logits=True)  # (N, channels)
        return self.fc(pooled)[:, 0]


def create_model(
    encoder: str,
    *,
    pretrained: bool,
    drop_path: float = DROP_PATH,
    noise: bool = False,
    weights_file: Path | None = None,
) -> Classifier:
    """Make a classifier, in channels_last memory format, on the CPU.

    Args:
        encoder: any name that timm knows; `ENCODERS` has those of the slides.
        pretrained: start from the encoder's published weights (ImageNet; Noisy Student for `*_ns`). False: random weights.
        drop_path: probability that training leaves out a block of the encoder, rising linearly to this in the last one.
        noise: put the SRM noise filters before the encoder.
        weights_file: take the published weights from this file (safetensors, or a state dict of torch) and not from the network.
    Returns:
        The classifier, in training mode; `fc` is random.
    Raises:
        ValueError: if timm has no such encoder, the encoder has no drop-path, or `weights_file` comes with `pretrained=False`.
        FileNotFoundError: if `weights_file` is not there.
        RuntimeError: if the published weights cannot be had or do not fit; the message says how to go on.
    Source:
        Drop-path: Huang et al. 2016, arXiv:1603.09382. The winner's code, whose drop-path of 0.2 is the default.
    """
    if weights_file and not pretrained:
        raise ValueError(
            f"weights_file is read only with pretrained=True, got pretrained=False and {weights_file}: choose one"
        )
    if weights_file and not weights_file.is_file():
        raise FileNotFoundError(f"weights_file must be a file of weights of {encoder}, and {weights_file} is not there")
    overlay = {"file": str(weights_file)} if weights_file else None
    try:
        network = _create_encoder(encoder, drop_path, pretrained, overlay)
    except (
        OSError,
        RuntimeError,
        EOFError,
        IndexError,
        KeyError,
        struct.error,
        UnpicklingError,
        SafetensorError,
    ) as error:
        raise RuntimeError(
            f"the published weights of {encoder} cannot be had from {weights_file or 'the network'}: {_first_line(error)}. "
            "Go on with pretrained=False (PRETRAINED=False in the notebook: random weights), or fetch them on a machine with a network "
            "and name the file (weights_file, WEIGHTS_FILE in the notebook)"
        ) from error
    return Classifier(network, noise).to(memory_format=torch.channels_last)


def _create_encoder(encoder: str, drop_path: float, pretrained: bool, overlay: dict[str, str] | None) -> nn.Module:
    """Make the timm model; `overlay` replaces entries of its description of the published weights."""
    if not timm.is_model(encoder):
        close = difflib.get_close_matches(encoder, [*ENCODERS, *timm.list_models()])
        raise ValueError(
            f"encoder must be a name that timm knows, got {encoder!r}; close to it: {', '.join(close) or 'nothing'}"
        )
    # Passed only where it is wanted: some encoders do not take it at all.
    extra: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mapping deprecated model name")  # the slides' names are old and good
        try:
            return timm.create_model(encoder, pretrained=pretrained, pretrained_cfg_overlay=overlay, **extra)
        except TypeError as error:
            if "drop_path_rate" not in str(error):
                raise
            raise ValueError(
                f"encoder {encoder} has no drop-path, got drop_path={drop_path}: use drop_path=0"
            ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
