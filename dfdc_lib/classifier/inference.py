"""Run a model on batches of crops: squares of `preprocess.fit_to_square` in, logits out.

Validation, test and prediction share this code, so all scores of a model have the number format in its recipe.
Source: the winner's inference. Departs from the winner's code: float32 unless the recipe says otherwise; he halved the
weights' precision. bfloat16 moved single scores by up to 0.31 (a network with random weights, 313 faces).
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.backends import cudnn

from dfdc_lib.classifier.model import Classifier
from dfdc_lib.classifier.preprocess import normalize
from dfdc_lib.records import Precision, Recipe
from dfdc_lib.staleness import fingerprint


class Computation(NamedTuple):
    """The device, the worker processes and the precision with which faces are found and scored.

    `device`: auto, cpu or cuda; `workers`: processes that find faces, 0 = one per core; `precision`: "" = the recipe's.
    """

    device: str = "auto"  # auto, cpu or cuda
    workers: int = 0  # processes that find faces; 0 = one per core
    precision: Precision | Literal[""] = ""  # of the scores; "" = that of each model's recipe


DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast_dtype(precision: Precision | Literal["auto"], device: torch.device) -> torch.dtype:
    """Return the number format of training steps; scores always use the precision in the recipe.

    "auto" is bfloat16 if the device supports it, else float16 (GPU) or float32 (CPU).
    """
    if precision != "auto":
        return DTYPES[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def scoring_recipe(recipe: Recipe, computation: Computation) -> Recipe:
    """Return a copy of a recipe with `computation.precision`; "" keeps the recipe's, an unknown one is a ValueError."""
    if computation.precision not in ("", *DTYPES):
        raise ValueError(f"PRECISION must be one of {', '.join(DTYPES)}, or empty, got {computation.precision!r}")
    return recipe.model_copy(update={"precision": computation.precision or recipe.precision})


def weights_fingerprint(model: Classifier) -> str:
    """Return a hash of the names and sums of a model's weights, equal for equal weights."""
    sums = [f"{name} {tensor.double().sum().item():.12g}" for name, tensor in sorted(model.state_dict().items())]
    return fingerprint(*sums)


def logits_of(model: Classifier, images: torch.Tensor, recipe: Recipe) -> np.ndarray:
    """Return the logits of n images, (n,) float32.

    `images`: (n, 3, size, size) uint8 RGB; squares from `fit_to_square`, channels first. The model must be in eval
    mode, on the device to use. It computes in the recipe's precision; float32 is never replaced by TF32 on a GPU.
    """
    device, dtype = next(model.parameters()).device, DTYPES[recipe.precision]
    exact = cudnn.flags(enabled=True, benchmark=cudnn.benchmark, allow_tf32=False)
    with torch.inference_mode(), exact, torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        return model(normalize(images, recipe, device)).float().cpu().numpy()
