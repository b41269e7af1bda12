"""Crops in, logits out: the one place where a model is fed, for validation and for prediction.

Source: the winner's inference (ImageNet mean and standard deviation, mixed precision).
"""

import numpy as np
import torch

from dfdc_lib.classifier.model import Classifier
from dfdc_lib.classifier.presets import Precision
from dfdc_lib.records import Recipe
from dfdc_lib.staleness import fingerprint


def choose_device(device: str = "auto") -> torch.device:
    """Choose a GPU where there is one ("auto"), or what is asked for: "cpu", "cuda"."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else torch.device(device)


def feed(images: torch.Tensor, recipe: Recipe, device: torch.device) -> torch.Tensor:
    """Bring (n, 3, H, W) uint8 RGB to the device and normalise it as the recipe says; float32, channels last."""
    moved = images.to(device, non_blocking=True).to(torch.float32, memory_format=torch.channels_last) / 255
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (recipe.mean, recipe.std))
    return (moved - mean) / std


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Choose the number format: "auto" is bfloat16 where the device computes in it, else float16 on a GPU and float32 on a CPU."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def weights_fingerprint(model: Classifier) -> str:
    """Tell models apart by their weights."""
    return fingerprint(
        *(f"{name} {tensor.double().sum().item():.12g}" for name, tensor in sorted(model.state_dict().items()))
    )


def logits_of(model: Classifier, images: torch.Tensor, recipe: Recipe, dtype: torch.dtype) -> np.ndarray:
    """Run a model on one batch.

    Args:
        model: in eval mode, on its device.
        images: (n, 3, size, size) uint8 RGB, made as the recipe says.
        recipe: of this model.
        dtype: number format of the computation.
    Returns:
        (n,) float32 logits.
    """
    device = next(model.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        return model(feed(images, recipe, device)).float().cpu().numpy()
