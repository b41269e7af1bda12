"""Run a model on batches of crops with PyTorch: squares of `preprocess.fit_to_square` in, logits out.

Validation and test during training use it, and prediction on a GPU (see `networks`). All scores of a model have the
number format in its recipe.
Source: the winner's inference (mean and standard deviation of ImageNet).
Departs from the winner's code: float32 unless the recipe says otherwise; he halved the weights' precision. bfloat16
moved single scores by up to 0.31 (a network with random weights, 313 faces).
"""

from functools import cache
from typing import Literal

import numpy as np
import torch
from torch.backends import cudnn

from dfdc_lib.backends.transfer import to_device
from dfdc_lib.classifier.model import Classifier
from dfdc_lib.records import FloatPrecision, Recipe

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast_dtype(precision: FloatPrecision | Literal["auto"], device: torch.device) -> torch.dtype:
    """Return the number format of training steps; scores always use the precision in the recipe.

    "auto" is bfloat16 if the device supports it, else float16 (GPU) or float32 (CPU).
    """
    if precision != "auto":
        return DTYPES[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def normalize(images: torch.Tensor, recipe: Recipe, device: torch.device) -> torch.Tensor:
    """Move (n, 3, H, W) uint8 RGB to the device and normalise it; return float32 in channels_last format."""
    moved = to_device(images, device).to(torch.float32, memory_format=torch.channels_last) / 255
    # During an export, new tensors are symbolic and must not be cached.
    constant = _constant.__wrapped__ if torch.compiler.is_compiling() else _constant
    return (moved - constant(recipe.mean, device)) / constant(recipe.std, device)


def logits_of(model: Classifier, images: torch.Tensor, recipe: Recipe) -> np.ndarray:
    """Return the logits of n images, (n,) float32.

    `images`: (n, 3, size, size) uint8 RGB; squares from `fit_to_square`, channels first. The model must be in eval
    mode, on the device to use. It computes in the recipe's precision; float32 is never replaced by TF32 on a GPU.
    """
    device, dtype = next(model.parameters()).device, DTYPES[recipe.precision]
    exact = cudnn.flags(enabled=True, benchmark=cudnn.benchmark, allow_tf32=False)
    with torch.inference_mode(), exact, torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        return model(normalize(images, recipe, device)).float().cpu().numpy()


@cache
def _constant(values: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """Return the values as (1, 3, 1, 1) float32; cached, because a copy to a GPU makes the CPU wait."""
    return torch.tensor(values, device=device).view(1, 3, 1, 1)
