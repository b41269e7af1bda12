"""What decides how a model is trained, and the presets: the slides' B5 and B7, and one that learns the built-in sample in a minute.

A settings record travels with the checkpoint (in its card), so that a training run can be told and repeated.
"""

from typing import Annotated, Literal

from pydantic import Field

from dfdc_lib.records import Record

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Count = Annotated[int, Field(ge=1)]


class TrainSettings(Record):
    """All that decides what a training run gives."""

    name: str  # of the model: its folder in models/
    encoder: str  # of timm
    noise: bool = False  # SRM noise residual instead of the picture
    pretrained: bool = True
    size: Count  # pixels
    batch: Count  # of all processes together
    epochs: Count
    iterations: Count  # per epoch
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01  # slides
    warmup_iterations: int = 0
    hard: bool = False  # the winner's "hardcore" cut-outs
    drop_path: float = 0.2  # winner
    seed: int = 0
    precision: Precision = "auto"
    validation_fold: int = 0
    test_fold: int = 1
    save_every: Count = 100  # iterations between two saved states


# Slides: 2,500 iterations per epoch; 75,000 in all (30 epochs) for B5, 16 × 4 crops a batch; 40 epochs, 12 × 4 crops for B7.
PRESETS = {
    "b5": TrainSettings(name="b5", encoder="tf_efficientnet_b5_ns", size=380, batch=64, epochs=30, iterations=2500),
    "b7": TrainSettings(
        name="b7", encoder="tf_efficientnet_b7_ns", size=380, batch=48, epochs=40, iterations=2500, hard=True
    ),
    "sample": TrainSettings(
        name="sample",
        encoder="resnet18",
        noise=True,
        pretrained=False,
        size=160,
        batch=16,
        epochs=4,
        iterations=25,
        optimizer="adamw",
        learning_rate=1e-3,
        warmup_iterations=10,
        drop_path=0.0,
        save_every=25,
    ),
}


def settings_of(preset: str, *, pretrained: bool = True, **changes: int | float | str) -> TrainSettings:
    """Take a preset and change what is given.

    Args:
        preset: name in `PRESETS`.
        pretrained: False starts from random weights where the preset would not.
        changes: fields of `TrainSettings`; "" and -1 leave the preset's value.
    Returns:
        The settings; the model is called after the preset unless `name` is given.
    Raises:
        ValueError: for an unknown preset or an unfit value.
    """
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}: choose one of {', '.join(PRESETS)}")
    chosen = {name: value for name, value in changes.items() if value not in ("", -1)}
    base = PRESETS[preset].model_dump()
    return TrainSettings.model_validate(base | {"pretrained": base["pretrained"] and pretrained} | chosen)
