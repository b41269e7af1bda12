"""The settings of a training run, and presets: the slides' B5 and B7, and one for the built-in sample (a minute).

Source: the slides: 2,500 iterations per epoch; B5: 30 epochs, 16 x 4 crops per batch; B7: 40 epochs, 12 x 4 crops.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from dfdc_lib.classifier.encoders import ENCODERS
from dfdc_lib.records import FileName, FloatPrecision, Record

Count = Annotated[int, Field(ge=1)]


class TrainSettings(Record):
    """Everything that determines the result of a training run, besides the crops and the code."""

    name: FileName  # of the model and its folder in models/
    encoder: str  # timm name
    noise: bool = False  # SRM noise residual instead of the image
    pretrained: bool = True
    weights_file: str = ""  # file with the encoder's published weights; "" = download them
    size: Count  # pixels
    batch: Count  # crops, over all processes
    epochs: Count
    iterations: Count  # per epoch
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01  # slides
    warmup_iterations: int = 0
    hard: bool = False  # the winner's "hardcore" cut-outs
    drop_path: float = 0.2  # winner
    seed: int = 0
    precision: FloatPrecision | Literal["auto"] = "auto"  # of the training steps; see inference.autocast_dtype
    score_precision: FloatPrecision = "float32"  # of validation, test and prediction: part of the model's recipe
    validation_fold: int = 0
    test_fold: int = 1
    save_every: Count = 100  # iterations between two saved states


_SLIDES: dict[str, Any] = {"size": 380, "iterations": 2500}
_B5 = {"name": "b5", "encoder": "tf_efficientnet_b5_ns", "batch": 64, "epochs": 30}
_B7 = {"name": "b7", "encoder": "tf_efficientnet_b7_ns", "batch": 48, "epochs": 40, "hard": True}
_SAMPLE = {"name": "sample", "encoder": "resnet18", "noise": True, "pretrained": False, "size": 160}
_SHORT = {"batch": 16, "epochs": 4, "iterations": 25, "save_every": 25}
_FAST = {"optimizer": "adamw", "learning_rate": 1e-3, "warmup_iterations": 10, "drop_path": 0.0}
_ALL = [TrainSettings.model_validate(settings) for settings in (_SLIDES | _B5, _SLIDES | _B7, _SAMPLE | _SHORT | _FAST)]
PRESETS = {settings.name: settings for settings in _ALL}


def settings_of(preset: str, *, pretrained: bool = True, **changes: int | float | str) -> TrainSettings:
    """Return the settings of a preset with some of them changed.

    `changes` are fields of `TrainSettings`; "" and -1 keep the preset's value. A change of `encoder` to one in
    `ENCODERS` also sets the size listed there, unless `size` is changed too. A `weights_file` makes the encoder start
    from published weights even if the preset starts from random ones. With `pretrained=False` weights are always
    random. Raises ValueError for an unknown preset or an invalid value.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}: choose one of {', '.join(PRESETS)}")
    base = PRESETS[preset].model_dump()
    changed = {name: value for name, value in changes.items() if value not in ("", -1)}
    if changed.get("encoder") in ENCODERS:
        base["size"] = ENCODERS[str(changed["encoder"])]
    base["pretrained"] = pretrained and (base["pretrained"] or "weights_file" in changed)
    return TrainSettings.model_validate(base | changed)
