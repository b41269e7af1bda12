"""What is trained: the slides' numbers, and what a user may change."""

from typing import Any

import pytest
from pydantic import ValidationError

from dfdc_lib.classifier.model import ENCODERS
from dfdc_lib.classifier.presets import PRESETS, TrainSettings, settings_of


def test_nothing_changed_is_the_preset() -> None:
    for name, preset in PRESETS.items():
        assert settings_of(name) == preset
        assert preset.name == name


# Slides, "Training": 75,000 iterations in all for B5; 40 epochs for B7; GPUs × crops.
@pytest.mark.parametrize(
    ("name", "encoder", "iterations_in_all", "epochs", "batch", "hard"),
    [
        ("b5", "tf_efficientnet_b5_ns", 75_000, 30, 16 * 4, False),
        ("b7", "tf_efficientnet_b7_ns", 100_000, 40, 12 * 4, True),
    ],
)
def test_the_slides_numbers(
    name: str, encoder: str, iterations_in_all: int, epochs: int, batch: int, hard: bool
) -> None:
    preset = PRESETS[name]
    assert (preset.encoder, preset.epochs, preset.batch, preset.hard) == (encoder, epochs, batch, hard)
    assert preset.iterations == 2_500
    assert preset.epochs * preset.iterations == iterations_in_all
    assert preset.size == ENCODERS[encoder] == 380
    assert (preset.optimizer, preset.learning_rate, preset.warmup_iterations, preset.drop_path) == ("sgd", 0.01, 0, 0.2)
    assert preset.pretrained and not preset.noise


def test_the_sample_needs_no_network() -> None:
    preset = PRESETS["sample"]
    assert preset.noise and not preset.pretrained
    assert preset.epochs * preset.iterations <= 100  # within 90 s on two cores


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        (
            {"name": "", "encoder": "", "size": -1, "learning_rate": -1.0},
            {},
        ),  # what a notebook passes for "the preset's"
        ({"seed": 0, "test_fold": 0, "validation_fold": 2}, {"seed": 0, "test_fold": 0, "validation_fold": 2}),
        ({"name": "mine", "batch": 8, "learning_rate": 0.5}, {"name": "mine", "batch": 8, "learning_rate": 0.5}),
    ],
)
def test_changes(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    assert settings_of("b5", **changes).model_dump() == PRESETS["b5"].model_dump() | expected


@pytest.mark.parametrize(
    ("preset", "pretrained", "expected"), [("b5", True, True), ("b5", False, False), ("sample", True, False)]
)
def test_pretrained_is_only_taken_away(preset: str, pretrained: bool, expected: bool) -> None:
    assert settings_of(preset, pretrained=pretrained).pretrained is expected


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="there is no preset 'b9': choose one of b5, b7, sample"):
        settings_of("b9")


@pytest.mark.parametrize("field", ["size", "batch", "epochs", "iterations", "save_every"])
def test_a_count_is_at_least_one(field: str) -> None:
    with pytest.raises(ValidationError, match=rf"{field}\s+Input should be greater than or equal to 1"):
        settings_of("b5", **{field: 0})


def test_unknown_fields_and_values_are_errors() -> None:
    with pytest.raises(ValidationError, match=r"momentum\s+Extra inputs are not permitted"):
        settings_of("b5", momentum=0.5)
    with pytest.raises(ValidationError, match=r"optimizer\s+Input should be 'sgd' or 'adamw'"):
        settings_of("b5", optimizer="adam")


def test_settings_travel_as_json() -> None:
    settings = settings_of("b7", seed=3)
    assert TrainSettings.model_validate_json(settings.model_dump_json()) == settings
