from typing import Any

import pytest
from pydantic import ValidationError

from dfdc_lib.classifier.encoders import ENCODERS
from dfdc_lib.classifier.presets import PRESETS, TrainSettings, settings_of


def test_presets_have_names_and_survive_json() -> None:
    for name, preset in PRESETS.items():
        assert settings_of(name) == preset == TrainSettings.model_validate_json(preset.model_dump_json())
        assert preset.name == name


# Slides, "Training": 75,000 iterations in total for B5; 40 epochs for B7; GPUs x crops.
@pytest.mark.parametrize(
    ("name", "total_iterations", "epochs", "batch", "hard"),
    [("b5", 75_000, 30, 16 * 4, False), ("b7", 100_000, 40, 12 * 4, True)],
)
def test_the_numbers_of_the_slides(name: str, total_iterations: int, epochs: int, batch: int, hard: bool) -> None:
    preset = PRESETS[name]
    assert (preset.encoder, preset.epochs) == (f"tf_efficientnet_{name}_ns", epochs)
    assert (preset.batch, preset.hard, preset.iterations) == (batch, hard, 2_500)
    assert preset.epochs * preset.iterations == total_iterations
    assert preset.size == ENCODERS[preset.encoder] == 380
    assert (preset.optimizer, preset.learning_rate, preset.warmup_iterations, preset.drop_path) == ("sgd", 0.01, 0, 0.2)
    assert preset.pretrained and not preset.noise


def test_the_sample_needs_no_network_and_little_time() -> None:
    preset = PRESETS["sample"]
    assert preset.noise and not preset.pretrained
    assert preset.epochs * preset.iterations <= 100  # within 90 s on two cores


@pytest.mark.parametrize(
    ("preset", "changes", "expected"),
    [
        ("b5", {"name": "", "encoder": "", "size": -1, "learning_rate": -1.0, "hard": -1}, {}),  # the preset's values
        ("b5", {"seed": 0, "test_fold": 0, "validation_fold": 2}, {"seed": 0, "test_fold": 0, "validation_fold": 2}),
        ("b5", {"name": "mine", "learning_rate": 0.5}, {"name": "mine", "learning_rate": 0.5}),
        ("b7", {"hard": 0, "drop_path": 0.0}, {"hard": False, "drop_path": 0.0}),
        ("b5", {"noise": 1, "precision": "float16"}, {"noise": True, "precision": "float16"}),
        ("b5", {"encoder": "tf_efficientnet_b3_ns"}, {"encoder": "tf_efficientnet_b3_ns", "size": 300}),
        ("b5", {"encoder": "tf_efficientnet_b3_ns", "size": 64}, {"encoder": "tf_efficientnet_b3_ns", "size": 64}),
        ("b5", {"encoder": "resnet18"}, {"encoder": "resnet18"}),
        ("b5", {"pretrained": False}, {"pretrained": False}),
        ("sample", {"pretrained": True}, {"pretrained": False}),
        ("sample", {"weights_file": "a.pth"}, {"weights_file": "a.pth", "pretrained": True}),
        ("sample", {"weights_file": "a.pth", "pretrained": False}, {"weights_file": "a.pth", "pretrained": False}),
    ],
)
def test_changes(preset: str, changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert settings_of(preset, **changes).model_dump() == PRESETS[preset].model_dump() | expected


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="b5, b7, sample"):
        settings_of("b9")


@pytest.mark.parametrize(
    "change",
    [*[{field: 0} for field in ("size", "batch", "epochs", "iterations", "save_every")]]
    + [*[{"name": name} for name in (".", "..", "../b5", "a/b", "/tmp/b5")]]
    + [
        {"momentum": 0.5},
        {"optimizer": "adam"},
        {"precision": "half"},
        {"score_precision": "auto"},
        {"score_precision": "int8"},
        {"hard": 2},
    ],
    ids=str,
)
def test_invalid_values(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        settings_of("b5", **change)
