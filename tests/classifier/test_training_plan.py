"""The plan of a training: what it refuses, and when a training counts as finished."""

from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from train_work import SETTINGS, changed, make_run

from dfdc_lib.classifier import train, training_plan
from dfdc_lib.classifier.model import create_model
from dfdc_lib.classifier.presets import TrainSettings
from dfdc_lib.run_folder import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run")


@pytest.mark.parametrize("unfinished", [False, True])
def test_other_settings_under_the_name_of_a_model_are_refused(
    unfinished: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        if unfinished:
            patch.setattr(train, "_validate", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt) if unfinished else nullcontext():
            train.fit(run, changed(epochs=1))
    folder = run.root / "models" / "tiny"
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    for processes in (1, 2):
        with pytest.raises(ValueError, match=r"batch = 4, not 2, seed = 0, not 1: .*NAME.*--force"):
            train.train(run, changed(epochs=1, seed=1, batch=2), processes)
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    assert not training_plan.is_finished(training_plan.make_plan(run, changed(seed=1, name="another"), 0))


def test_a_field_that_a_later_kit_adds_keeps_the_model(run: Run) -> None:
    class LaterSettings(TrainSettings):
        later: bool = False

    train.fit(run, changed(epochs=1))
    for later in (False, True):
        settings = LaterSettings.model_validate(changed(epochs=1).model_dump() | {"later": later})
        assert training_plan.is_finished(training_plan.make_plan(run, settings, 0)) != later


def test_variables_of_another_launcher_do_not_make_one_process_wait(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    plan = training_plan.make_plan(run, SETTINGS, 0)
    assert (plan.process.rank, plan.process.count) == (0, 1)


def test_weights_file_is_used_and_part_of_the_fingerprint(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    fingerprints = set()
    for bias in (0.0, 1.0):
        encoder = create_model(SETTINGS.encoder, pretrained=False).encoder
        torch.nn.init.constant_(encoder.conv_stem.weight, bias)
        torch.save(encoder.state_dict(), path)
        plan = training_plan.make_plan(run, changed(pretrained=True, weights_file=str(path)), 0)
        fingerprints.add(plan.fingerprint)
        assert (train._create_state(plan).model.encoder.conv_stem.weight == bias).all()
    assert len(fingerprints) == 2


def test_missing_folds_and_a_batch_that_cannot_be_shared(run: Run) -> None:
    folds = run.read_table("folds.csv")
    for validation, test, fold_count in ((0, 0, 4), (0, 4, 4), (7, 1, 4), (0, 1, 2)):
        run.write_table("folds.csv", folds.assign(fold=folds["fold"] % fold_count))
        with pytest.raises(ValueError, match="FOLD_COUNT"):
            train.fit(run, changed(validation_fold=validation, test_fold=test))
    with pytest.raises(ValueError, match="multiple"):
        train.train(run, SETTINGS, processes=3)
