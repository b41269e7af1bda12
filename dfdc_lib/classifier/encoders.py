"""The encoders of the classifier: timm models with random or published weights.

Input: a timm name. Output: the network, or an error that names the remedy if its weights cannot be loaded.
Source: the slides, "Encoders".
"""

import difflib
import struct
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
from safetensors import SafetensorError
from torch import nn

# timm name -> side of the input in pixels. EfficientNet with Noisy Student weights: slides (B7 also at 380, to save
# memory); timm also calls them `tf_efficientnet_b3.ns_jft_in1k` etc. ResNeSt: 380, as the slides' team.
_EFFICIENTNETS = [f"tf_efficientnet_b{number}_ns" for number in (4, 5, 6, 7)]
_RESNESTS = ["resnest50d", "resnest101e", "resnest200e", "resnest269e"]
ENCODERS = {"tf_efficientnet_b3_ns": 300} | dict.fromkeys(_EFFICIENTNETS + _RESNESTS, 380)
UNREADABLE = (OSError, RuntimeError, EOFError, IndexError, KeyError, struct.error, UnpicklingError, SafetensorError)


def create_encoder(name: str, pretrained: bool, drop_path: float, weights_file: Path | None) -> nn.Module:
    """Return a timm model with random or published weights; arguments and errors are those of `model.create_model`."""
    if weights_file and not pretrained:
        raise ValueError(f"weights_file needs pretrained=True, got pretrained=False and {weights_file}")
    if weights_file and not weights_file.is_file():
        raise FileNotFoundError(f"weights_file must be a file with weights of {name}; {weights_file} does not exist")
    if not timm.is_model(name):
        similar = ", ".join(difflib.get_close_matches(name, [*ENCODERS, *timm.list_models()]))
        raise ValueError(f"encoder must be a timm model, got {name!r}; similar names: {similar or 'none'}")
    options: dict[str, Any] = {"pretrained_cfg_overlay": {"file": str(weights_file)} if weights_file else None}
    if drop_path:  # some encoders do not accept the argument at all
        options["drop_path_rate"] = drop_path
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mapping deprecated model name")  # the slides' names
            return timm.create_model(name, pretrained=pretrained, **options)
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        raise ValueError(f"encoder {name} has no drop-path, got drop_path={drop_path}: use drop_path=0") from error
    except UNREADABLE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise RuntimeError(
            f"the published weights of {name} cannot be loaded from {weights_file or 'the network'}: {reason}. Set "
            "PRETRAINED=False for random weights, or download them on a machine with a network and set WEIGHTS_FILE"
        ) from error
