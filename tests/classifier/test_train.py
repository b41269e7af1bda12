"""Training: what it writes, and that an interrupted run ends as an uninterrupted one."""

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from train_work import (
    SETTINGS,
    SIDE,
    changed,
    die_in_iteration,
    fit_in_processes,
    judged,
    make_run,
    recipe,
    start_context,
    train_for_ever,
)

from dfdc_lib.classifier import train, training_plan, validate
from dfdc_lib.classifier.checkpoints import load_model
from dfdc_lib.classifier.crop_dataset import read_index
from dfdc_lib.classifier.inference import logits_of
from dfdc_lib.classifier.model import create_model
from dfdc_lib.classifier.presets import PRESETS, TrainSettings
from dfdc_lib.records import BUILT_IN_SAMPLE, Outcome, Recipe, Seen
from dfdc_lib.run_folder import Run

HISTORY_COLUMNS = ["epoch", "train loss", "learning rate", "log loss", "AUC", "frame log loss", "frame AUC", "videos"]


class StopHereError(Exception):
    """Raised by a test in the middle of training."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are slower with several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("train") / "run")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run")


@pytest.fixture(scope="module")
def uninterrupted(shared_run: Run) -> Path:
    """The model folder of `SETTINGS`, trained without an interruption; do not write into it."""
    return train.fit(shared_run, SETTINGS)


@pytest.fixture
def iterations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per iteration that is trained."""
    entries: list[int] = []
    original = train.balanced_loss
    monkeypatch.setattr(train, "balanced_loss", lambda *args: (entries.append(1), original(*args))[1])
    return entries


def relabelled(run: Run) -> Run:
    """Exchange the labels, so that a model is out of date."""
    run.write_table("folds.csv", run.read_table("folds.csv").assign(label=lambda folds: 1 - folds["label"]))
    return run


def in_call(number: int, action: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that its call of this number, counted from 0, is replaced by an action."""
    numbers = iter(range(10**6))
    return lambda *args: action(*args) if next(numbers) == number else original(*args)


def stop(*args: Any) -> None:
    raise StopHereError


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / name)


def assert_equal_models(folder: Path, expected: Path) -> None:
    """Compare the best weights, the histories, and the last weights and momenta."""
    for name in ("weights.safetensors", "history.csv", "losses.csv"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
    state, expected_state = (torch.load(path / "state.pt", weights_only=True) for path in (folder, expected))
    for key, tensor in expected_state["model"].items():
        assert torch.equal(state["model"][key], tensor), key
    for number, values in expected_state["optimizer"]["state"].items():
        assert torch.equal(state["optimizer"]["state"][number]["momentum_buffer"], values["momentum_buffer"])


def test_history_losses_and_card(uninterrupted: Path, shared_run: Run) -> None:
    history, losses = table(uninterrupted, "history.csv"), table(uninterrupted, "losses.csv")
    assert list(history.columns) == HISTORY_COLUMNS
    assert history["epoch"].tolist() == [0, 1]
    assert history["learning rate"].tolist() == pytest.approx([0.01 * 0.5**0.9, 0], abs=1e-9)
    assert history["videos"].tolist() == [4, 4]
    assert list(losses.columns) == ["epoch", "iteration", "loss"]
    assert losses["epoch"].tolist() == [0] * 5 + [1] * 5
    assert losses["iteration"].tolist() == [0, 1, 2, 3, 4] * 2
    assert losses.groupby("epoch")["loss"].mean().tolist() == pytest.approx(history["train loss"].tolist())
    assert list((uninterrupted / "tensorboard").glob("events*"))
    _, card = load_model(uninterrupted)
    assert (card.name, card.encoder, card.noise, card.recipe) == ("tiny", "test_efficientnet", True, recipe())
    assert (card.train_folds, card.validation_fold, card.test_fold) == ((2, 3), 0, 1)
    assert TrainSettings.model_validate(card.training) == SETTINGS
    assert card.run == card.data == shared_run.root.name
    seen = [Seen(contents=tuple(f"file {kind}{n}" for kind in "fr" for n in pairs)) for pairs in ((2, 3, 6, 7), (0, 4))]
    assert [card.trained_on, card.chosen_by] == seen  # of the folds 2 and 3, and 0; a plain folder has no names
    assert card.metrics["validation log loss"] == pytest.approx(history["log loss"].min())
    assert len(card.data_fingerprint) == len(card.code_fingerprint) == 16


def test_card_names_the_sample_without_the_pipeline(run: Run) -> None:
    (run.root / "sample.json").write_text("{}")  # beside the folder of the videos
    assert load_model(train.fit(run, changed(epochs=1)))[1].data == BUILT_IN_SAMPLE


def test_code_note(uninterrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, card = load_model(uninterrupted)
    assert "current code" in train.code_note(card)
    monkeypatch.setattr(train, "code_fingerprint", lambda *_: "other")
    note = train.code_note(card.model_copy(update={"kit_version": "0.1", "commit": "abc"}))
    assert "older code" in note and "0.1" in note and "abc" in note


@pytest.mark.parametrize("score_precision", ["float32", "bfloat16"])
def test_validation_and_test_scores_have_the_precision_of_the_recipe(
    score_precision: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []

    def recorded(model: torch.nn.Module, images: torch.Tensor, recipe: Recipe) -> np.ndarray:
        used.append(recipe.precision)
        return logits_of(model, images, recipe)

    monkeypatch.setattr(validate, "logits_of", recorded)
    folder = train.fit(run, changed(precision="bfloat16", score_precision=score_precision, epochs=1, iterations=1))
    validated = len(used)
    train.test(run, folder)
    assert 0 < validated < len(used) and set(used) == {load_model(folder)[1].recipe.precision} == {score_precision}


def test_a_reloaded_checkpoint_gives_equal_logits(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8)
    logits, save = [], train.save_model

    def record_and_save(folder: Path, model: torch.nn.Module, card: Any) -> None:
        logits.append(logits_of(model.eval(), images, card.recipe))
        save(folder, model, card)

    monkeypatch.setattr(train, "save_model", record_and_save)
    model, card = load_model(train.fit(run, changed(epochs=1)))
    assert np.array_equal(logits_of(model, images, card.recipe), logits[0])


def test_the_loss_falls_and_unseen_fakes_are_recognised(run: Run) -> None:
    learning = {"optimizer": "adamw", "learning_rate": 1e-2, "warmup_iterations": 5, "batch": 8, "hard": False}
    folder = train.fit(run, changed(**learning, drop_path=0.0, epochs=1, iterations=40))
    losses = table(folder, "losses.csv")["loss"]
    assert losses[-10:].mean() < 0.7 * losses[:10].mean()
    measured = train.test(run, folder)
    assert measured["AUC"] == 1.0
    assert measured["videos"] == 4


def test_one_optimizer_step_per_iteration_with_a_clipped_gradient(run: Run) -> None:
    norms = []

    def measure(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())

    hook = register_optimizer_step_pre_hook(measure)
    try:
        train.fit(run, SETTINGS)
    finally:
        hook.remove()
    assert len(norms) == SETTINGS.epochs * SETTINGS.iterations
    assert max(norms) <= 1 + 1e-4


def test_the_test_changes_neither_weights_nor_card_file(run: Run) -> None:
    folder = train.fit(run, changed(epochs=1))
    files, (_, before) = [folder / "weights.safetensors", folder / "model.json"], load_model(folder)
    contents = [path.read_bytes() for path in files]
    measured = train.test(run, folder)
    assert load_model(folder)[1].metrics == before.metrics | {f"test {name}": v for name, v in measured.items()}
    assert list(measured) == ["log loss", "AUC", "frame log loss", "frame AUC", "videos"]
    assert [path.read_bytes() for path in files] == contents
    train.fit(relabelled(run), changed(epochs=1))
    assert not [name for name in load_model(folder)[1].metrics if name.startswith("test")]  # those of other weights


def test_a_validation_fold_of_one_class_gives_a_model_without_an_auc(run: Run) -> None:
    folds = run.read_table("folds.csv")
    run.write_table("folds.csv", folds[~((folds["fold"] == 0) & (folds["label"] == 1))])
    folder = train.fit(run, changed(epochs=1))
    names = "log loss", "frame log loss", "videos"
    assert set(load_model(folder)[1].metrics) == {f"validation {name}" for name in names}
    assert table(folder, "history.csv")["AUC"].isna().all()


def test_judge_measures_as_the_winner_did(shared_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    index, model = read_index(shared_run), create_model("test_efficientnet", pretrained=False)

    def judged(scores: np.ndarray, rows: pd.Series) -> dict[str, float]:
        monkeypatch.setattr(validate, "logits_of", lambda *_: np.log(scores / (1 - scores)))
        return validate.judge(model, shared_run, index[rows], recipe())

    rows = index["video_id"].isin(["r0", "f0", "r1"]) & index["frame_index"].isin([0, 10])  # r0 r0 f0 f0 r1 r1
    measured = judged(np.array([0.1, 0.3, 0.6, 0.8, 0.4, 0.9]), rows)
    by_video = -math.log(0.7), -(math.log(0.8) + math.log(0.35)) / 2  # fake 0.7; real 0.2 and 0.65
    by_frame = -np.log([0.6, 0.8]).mean(), -np.log([0.9, 0.7, 0.6, 0.1]).mean()
    log_losses = {"log loss": sum(by_video) / 2, "frame log loss": sum(by_frame) / 2}
    assert measured == pytest.approx(log_losses | {"AUC": 1.0, "frame AUC": 6 / 8, "videos": 3.0})
    measured = judged(np.full(4, 1 - 1e-12), index["video_id"] == "r0")  # sure and wrong
    assert measured["log loss"] == pytest.approx(-math.log(validate.LOG_LOSS_CLIP), rel=1e-3)
    assert math.isnan(measured["AUC"])


@pytest.mark.parametrize(
    ("function", "call"),
    [
        *[("balanced_loss", call) for call in (0, 1, 3, 5, 8)],  # before and after a saved state, in both epochs
        ("judge", 0),  # between the last iteration and the end of an epoch
        ("_write_history", 1),  # after the checkpoint was written
    ],
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    function: str, call: int, run: Run, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(train, function)
    monkeypatch.setattr(train, function, in_call(call, stop, original))
    with pytest.raises(StopHereError):
        train.fit(run, SETTINGS)
    monkeypatch.setattr(train, function, original)
    assert_equal_models(train.fit(run, SETTINGS), uninterrupted)


def test_a_resumed_run_does_not_start_again(run: Run, iterations: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(train, "balanced_loss", in_call(8, stop, train.balanced_loss))
        with pytest.raises(StopHereError):
            train.fit(run, SETTINGS)
    iterations.clear()
    folder = train.fit(run, SETTINGS)
    assert len(iterations) == 3  # saved after 7 of 10: the second epoch's first two
    (folder / "state.pt").unlink()
    train.fit(run, SETTINGS)
    assert len(iterations) == 3  # finished, also without its state


@pytest.mark.parametrize("change", ["labels", "pixels"])
def test_other_crops_start_again(change: str, run: Run, iterations: list[int]) -> None:
    train.fit(run, changed(epochs=1))
    if change == "labels":
        relabelled(run)
    else:
        outcomes = [outcome.model_copy(update={"fingerprint": "d"}) for outcome in run.read_status("02_crop_faces")]
        rows = pd.DataFrame([outcome.model_dump() for outcome in outcomes], columns=list(Outcome.model_fields))
        run.write_table("status/02_crop_faces.csv", rows)
    train.fit(run, changed(epochs=1))
    assert len(iterations) == 2 * SETTINGS.iterations


def test_a_run_folder_in_use_is_refused(run: Run) -> None:
    with run.lock("stage", "another"):
        for processes in (1, 2):
            with pytest.raises(RuntimeError, match="06_train"):
                train.train(run, SETTINGS, processes)
    assert not (run.root / "models").exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.slow
def test_torchrun_and_its_processes_end_with_the_killed_parent(run: Run) -> None:
    parent = start_context().Process(target=train_for_ever, args=(run.root,))
    parent.start()
    assert parent.pid
    wait_until((run.root / "models" / "tiny" / "state.pt").exists)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 3  # torchrun and its two
    with pytest.raises(RuntimeError, match="06_train"):
        train.fit(run, SETTINGS)
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children), seconds=10)
    with run.lock("stage", "the next"):
        pass


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Return when a condition holds; fail after so many seconds, on a busy machine."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_a_new_training_is_not_finished_by_the_history_of_another(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    train.fit(run, SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(train, "_write_history", stop)  # the first checkpoint has been written
        with pytest.raises(StopHereError):
            train.fit(relabelled(run), SETTINGS)
    folder = train.fit(run, SETTINGS)
    assert load_model(folder)[1].data_fingerprint == training_plan.make_plan(run, SETTINGS, 0).fingerprint
    assert len(table(folder, "history.csv")) == SETTINGS.epochs


def test_a_killed_process_ends_as_an_uninterrupted_one(run: Run, uninterrupted: Path) -> None:
    process = start_context().Process(target=die_in_iteration, args=(run.root, 7))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert_equal_models(train.fit(run, SETTINGS), uninterrupted)


def test_workers_do_not_change_the_result(run: Run, uninterrupted: Path) -> None:
    assert_equal_models(train.fit(run, SETTINGS, workers=2), uninterrupted)


def with_a_gradient_of_infinity(logits: torch.Tensor, *_: Any) -> torch.Tensor:
    return (logits - logits.detach()).abs().sqrt().sum()  # the loss is 0


@pytest.mark.parametrize("loss", [lambda logits, *_: logits.sum() * float("nan"), with_a_gradient_of_infinity])
def test_a_loss_or_gradient_that_is_no_number_stops_and_names_the_files(
    loss: Callable, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "balanced_loss", in_call(3, loss, train.balanced_loss))
    with pytest.raises(RuntimeError, match="epoch 0, iteration 3, on ") as caught:
        train.fit(run, SETTINGS)
    names = str(caught.value).split(", on ")[1].split(": ")[0].split(", ")
    assert len(names) == SETTINGS.batch
    assert all((run.root / "crops" / name).is_file() for name in names)
    state = torch.load(run.root / "models" / "tiny" / "state.pt", weights_only=True)
    assert state["iteration"] == 2
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_in_float16_a_gradient_that_overflows_is_skipped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "balanced_loss", in_call(0, with_a_gradient_of_infinity, train.balanced_loss))
    folder = train.fit(run, changed(precision="float16", epochs=1, iterations=2))
    state = torch.load(folder / "state.pt", weights_only=True)
    assert state["scaler"]["scale"] == 2**15  # half of the first scale
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_a_validation_without_numbers_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "logits_of", lambda model, images, *_: np.full(len(images), np.nan))
    with pytest.raises(RuntimeError, match="4 videos.*PRECISION"):
        train.fit(run, SETTINGS)
    assert not (run.root / "models" / "tiny" / "model.json").exists()


def test_out_of_memory_names_the_remedy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "balanced_loss", Mock(side_effect=torch.OutOfMemoryError))
    with pytest.raises(RuntimeError, match="BATCH"):
        train.fit(run, SETTINGS)


def test_two_processes_train_and_judge_what_one_does(run: Run) -> None:
    # Without BatchNorm and drop-path, whose statistics and draws differ between processes on a CPU.
    same = {"encoder": "convnext_atto", "noise": False, "drop_path": 0.0, "epochs": 1, "iterations": 8}
    one, two, again = (changed(**same, name=name) for name in ("one", "two", "again"))
    alone, seed = train.train(run, one), torch.initial_seed()
    ranks = fit_in_processes(run, two)
    folder = run.model_folder("two")
    losses = [table(path, "losses.csv")["loss"].to_numpy() for path in (alone, folder)]
    assert len(losses[0]) == 8
    assert losses[0].std() > 1e-3
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-4)
    histories = [table(path, "history.csv")["log loss"][0] for path in (alone, folder)]
    assert histories[1] == pytest.approx(histories[0], abs=1e-4)
    expected = judged(run, folder)
    for rank in ranks:
        assert rank.measured == pytest.approx(expected, abs=1e-6)
    assert ranks[0].seed == seed != ranks[1].seed  # each process draws its own drop-path
    assert [rank.seed for rank in fit_in_processes(run, again)] == [rank.seed for rank in ranks]


@pytest.mark.slow
def test_a_process_that_fails_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "TRAINING_CODE", "no_such_module")  # fails sooner than training would
    with pytest.raises(RuntimeError, match="torchrun"):
        train.train(run, SETTINGS, processes=2)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "millions"), [("b5", 30.4), ("b7", 66.3)])
def test_the_presets_of_the_slides_train_and_load(preset: str, millions: float, run: Run) -> None:
    small = {"pretrained": False, "batch": 2, "size": SIDE, "epochs": 1, "iterations": 2, "precision": "float32"}
    folder = train.fit(run, TrainSettings.model_validate(PRESETS[preset].model_dump() | small))
    assert table(folder, "losses.csv")["loss"].between(0, 5).tolist() == [True, True]
    model, card = load_model(folder)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    assert (
        json.loads((folder / "model.json").read_text(encoding="utf-8"))["encoder"]
        == card.encoder
        == f"tf_efficientnet_{preset}_ns"
    )
    assert logits_of(model, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), card.recipe).shape == (1,)
    for path in folder.glob("*.*"):  # up to a gigabyte
        path.unlink()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_on_a_gpu(precision: str, run: Run) -> None:
    folder = train.fit(run, changed(precision=precision, epochs=1, iterations=3))
    assert table(folder, "losses.csv")["loss"].between(0, 5).tolist() == [True] * 3
    assert load_model(folder)[1].metrics["validation videos"] == 4
