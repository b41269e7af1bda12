"""Run a model on batches of crops: squares of `preprocess.fit_to_square` in, logits out.

Validation, prediction and the heat maps share this code. Source: the winner's inference (mixed precision).
"""

from typing import Literal

import numpy as np
import torch

from dfdc_lib.classifier.model import Classifier
from dfdc_lib.classifier.preprocess import normalize
from dfdc_lib.records import Recipe
from dfdc_lib.staleness import fingerprint

Precision = Literal["auto", "float32", "bfloat16", "float16"]


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the number format; "auto" is bfloat16 if the device supports it, else float16 (GPU) or float32 (CPU)."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def weights_fingerprint(model: Classifier) -> str:
    """Return a fingerprint of a model's weights."""
    sums = [f"{name} {tensor.double().sum().item():.12g}" for name, tensor in sorted(model.state_dict().items())]
    return fingerprint(*sums)


def logits_of(model: Classifier, images: torch.Tensor, recipe: Recipe, dtype: torch.dtype) -> np.ndarray:
    """Return (n,) float32 logits of (n, 3, size, size) uint8 RGB squares; the model is in eval mode, on its device."""
    device = next(model.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        return model(normalize(images, recipe, device)).float().cpu().numpy()
