"""The state from which a training resumes; `test_train` interrupts trainings."""

from pathlib import Path

import pytest
import torch
from train_work import changed, make_run

from dfdc_lib.classifier import train, training_plan
from dfdc_lib.run_folder import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run")


@pytest.mark.parametrize(("before", "now"), [("bfloat16", "float16"), ("bfloat16", "float32"), ("float16", "bfloat16")])
def test_a_state_of_another_number_format_is_not_resumed(
    before: str, now: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The precision "auto" depends on the device."""
    settings = changed(precision="auto")
    for name in (before, now):
        monkeypatch.setattr(training_plan, "autocast_dtype", lambda *_, name=name: getattr(torch, name))
        state = train._create_state(training_plan.make_plan(run, settings, 0))
        if name == before:
            state.save(run)
            assert state.load()
    with pytest.raises(ValueError, match=f"{before}.*{now}"):
        state.load()
