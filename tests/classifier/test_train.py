"""Training: the loss and the schedule by hand, and a run that is stopped anywhere ends as one that was not."""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook
from train_work import SETTINGS, SIDE, make_run, recipe

from dfdc_lib.classifier import train, validate
from dfdc_lib.classifier.checkpoints import load_model
from dfdc_lib.classifier.crop_dataset import read_index
from dfdc_lib.classifier.inference import logits_of
from dfdc_lib.classifier.model import create_model
from dfdc_lib.classifier.presets import PRESETS, TrainSettings
from dfdc_lib.records import BUILT_IN_SAMPLE, Video
from dfdc_lib.run_folder import Run, open_run

ITERATIONS = SETTINGS.epochs * SETTINGS.iterations
HISTORY_COLUMNS = ["epoch", "train loss", "learning rate", "log loss", "AUC", "frame log loss", "frame AUC", "videos"]
SCRIPT = Path(__file__).parents[1] / "train_work.py"


class StopHereError(Exception):
    """What a test raises in the middle of training."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks lose by threads, by far on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("train") / "run")


@pytest.fixture
def own_run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run")


@pytest.fixture(scope="module")
def undisturbed(run: Run) -> Path:
    """The model folder of `SETTINGS`, trained without a stop; tests read it."""
    return train.fit(run, SETTINGS)


def changed(**changes: Any) -> TrainSettings:
    return TrainSettings.model_validate(SETTINGS.model_dump() | changes)


def after(calls: int, deed: Callable[..., Any], whole: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function: it does the deed in the call of this number, counted from 0."""
    numbers = iter(range(10**6))
    return lambda *args: deed(*args) if next(numbers) == calls else whole(*args)


def stop(*args: Any) -> None:
    raise StopHereError


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / name)


def assert_equal_models(folder: Path, expected: Path) -> None:
    """Compare what training leaves: the chosen weights, the histories, and the last weights and momenta."""
    for name in ("weights.safetensors", "history.csv", "losses.csv"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
    state, expected_state = (torch.load(path / "state.pt", weights_only=True) for path in (folder, expected))
    for key, tensor in expected_state["model"].items():
        assert torch.equal(state["model"][key], tensor), key
    for number, values in expected_state["optimizer"]["state"].items():
        assert torch.equal(state["optimizer"]["state"][number]["momentum_buffer"], values["momentum_buffer"])


# What comes out ---------------------------------------------------------------------------------------------------------------------
def test_history_and_losses(undisturbed: Path) -> None:
    history, losses = table(undisturbed, "history.csv"), table(undisturbed, "losses.csv")
    assert list(history.columns) == HISTORY_COLUMNS
    assert history["epoch"].tolist() == [0, 1]
    assert history["learning rate"].tolist() == pytest.approx([0.01 * 0.5**0.9, 0], abs=1e-9)
    assert history["videos"].tolist() == [4, 4]
    assert list(losses.columns) == ["epoch", "iteration", "loss"]
    assert losses["epoch"].tolist() == [0] * 5 + [1] * 5
    assert losses["iteration"].tolist() == [0, 1, 2, 3, 4] * 2
    assert losses.groupby("epoch")["loss"].mean().tolist() == pytest.approx(history["train loss"].tolist())
    assert list((undisturbed / "tensorboard").glob("events*"))


def test_the_card_says_how_the_model_was_made(undisturbed: Path, run: Run) -> None:
    _, card = load_model(undisturbed)
    assert (card.name, card.encoder, card.noise, card.recipe) == ("tiny", "test_efficientnet", True, recipe())
    assert (card.train_folds, card.validation_fold, card.test_fold) == ((2, 3), 0, 1)
    assert TrainSettings.model_validate(card.training) == SETTINGS
    assert card.run == run.root.name
    best = table(undisturbed, "history.csv")["log loss"].min()
    assert card.metrics["validation log loss"] == pytest.approx(best)
    assert len(card.data_fingerprint) == 16 and card.data == run.root.name


def test_the_card_names_the_sample_where_no_pipeline_did(tmp_path: Path) -> None:
    """A model that knows one face is warned of, also where the notebooks were worked by hand."""
    (tmp_path / "sample.json").write_text("{}")
    own = open_run(tmp_path / "run")
    own.write_videos([Video(video_id="a", path=tmp_path / "part_0" / "a.mp4")], {})
    assert train._card(own, SETTINGS, recipe(), (2, 3), "mark", {}).data == BUILT_IN_SAMPLE


def test_a_reloaded_checkpoint_gives_equal_logits(own_run: Run) -> None:
    seen = {}

    def keep(folder: Path, model: torch.nn.Module, card: Any) -> None:
        seen["logits"] = logits_of(model.eval(), images, card.recipe, torch.float32)
        whole(folder, model, card)

    images = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8)
    with pytest.MonkeyPatch.context() as patch:
        whole = train.save_model
        patch.setattr(train, "save_model", keep)
        folder = train.fit(own_run, changed(epochs=1))
    model, card = load_model(folder)
    assert np.array_equal(logits_of(model, images, card.recipe, torch.float32), seen["logits"])


def test_the_loss_falls_and_held_out_videos_are_told_apart(own_run: Run) -> None:
    learning = {
        "optimizer": "adamw",
        "learning_rate": 1e-2,
        "warmup_iterations": 5,
        "batch": 8,
        "hard": False,
        "drop_path": 0.0,
    }
    folder = train.fit(own_run, changed(**learning, epochs=1, iterations=40))
    losses = table(folder, "losses.csv")["loss"]
    assert losses[-10:].mean() < 0.7 * losses[:10].mean()
    found = train.test(own_run, folder)
    assert found["AUC"] == 1.0
    assert found["videos"] == 4


def test_one_optimizer_step_an_iteration_with_a_clipped_gradient(own_run: Run) -> None:
    norms = []

    def measure(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())

    hook = register_optimizer_step_pre_hook(measure)
    try:
        train.fit(own_run, SETTINGS)
    finally:
        hook.remove()
    assert len(norms) == ITERATIONS
    assert max(norms) <= 1 + 1e-4


def test_the_test_fold_comes_into_the_card_without_changing_the_weights(own_run: Run) -> None:
    folder = train.fit(own_run, changed(epochs=1))
    weights, (_, before) = (folder / "weights.safetensors").read_bytes(), load_model(folder)
    found = train.test(own_run, folder)
    _, card = load_model(folder)
    assert card.metrics == before.metrics | {f"test {name}": value for name, value in found.items()}
    assert set(found) == {"log loss", "AUC", "frame log loss", "frame AUC", "videos"}
    assert (folder / "weights.safetensors").read_bytes() == weights


def test_a_validation_fold_of_one_kind_gives_a_model_without_an_auc(own_run: Run) -> None:
    folds = own_run.read_table("folds.csv")
    own_run.write_table("folds.csv", folds[~((folds["fold"] == 0) & (folds["label"] == 1))])
    folder = train.fit(own_run, changed(epochs=1))
    _, card = load_model(folder)
    assert set(card.metrics) == {"validation log loss", "validation frame log loss", "validation videos"}
    assert table(folder, "history.csv")["AUC"].isna().all()


def test_judge_measures_as_the_winner_did(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    index = read_index(run)
    rows = np.flatnonzero(
        index["video_id"].isin(["r0", "f0", "r1"]) & index["frame_index"].isin([0, 10])
    )  # r0 r0 f0 f0 r1 r1
    scores = np.array([0.1, 0.3, 0.6, 0.8, 0.4, 0.9])
    monkeypatch.setattr(validate, "logits_of", lambda *_: np.log(scores / (1 - scores)))
    found = validate.judge(
        create_model("test_efficientnet", pretrained=False), run, index, rows, recipe(), 0, torch.float32
    )
    assert found == pytest.approx(
        {
            "log loss": (-math.log(0.7) + (-math.log(0.8) - math.log(0.35)) / 2)
            / 2,  # videos: fake .7; real .2 and .65
            "AUC": 1.0,
            "frame log loss": (-np.log([0.6, 0.8]).mean() - np.log([0.9, 0.7, 0.6, 0.1]).mean()) / 2,
            "frame AUC": 6 / 8,
            "videos": 3.0,
        }
    )


def test_judge_survives_a_model_that_is_sure_and_wrong(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    index = read_index(run)
    rows = np.flatnonzero(index["video_id"] == "r0")
    monkeypatch.setattr(validate, "logits_of", lambda *_: np.full(4, 100.0))
    found = validate.judge(
        create_model("test_efficientnet", pretrained=False), run, index, rows, recipe(), 0, torch.float32
    )
    assert found["log loss"] == pytest.approx(-math.log(validate.LOG_LOSS_CLIP), rel=1e-3)
    assert math.isnan(found["AUC"])


# Stopped and started again ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("function", "calls"),
    [
        *[("balanced_loss", calls) for calls in (0, 1, 3, 5, 8)],  # before and after a saved state, in both epochs
        ("judge", 0),  # between the last iteration and the end of an epoch
        ("_write_history", 1),  # after the checkpoint was written
    ],
)
def test_a_run_that_was_stopped_ends_as_an_undisturbed_one(
    function: str, calls: int, own_run: Run, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = getattr(train, function)
    monkeypatch.setattr(train, function, after(calls, stop, whole))
    with pytest.raises(StopHereError):
        train.fit(own_run, SETTINGS)
    monkeypatch.setattr(train, function, whole)
    assert_equal_models(train.fit(own_run, SETTINGS), undisturbed)


def test_a_resumed_run_does_not_begin_anew(own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = train.balanced_loss, []
    monkeypatch.setattr(train, "balanced_loss", after(8, stop, whole))
    with pytest.raises(StopHereError):
        train.fit(own_run, SETTINGS)
    monkeypatch.setattr(train, "balanced_loss", lambda *args: (calls.append(1), whole(*args))[1])
    train.fit(own_run, SETTINGS)
    assert len(calls) == 3  # saved after 7 of 10: the second epoch's first two
    train.fit(own_run, SETTINGS)
    assert len(calls) == 3  # it has ended


def test_other_settings_begin_anew(own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    train.fit(own_run, changed(epochs=1))
    whole, calls = train.balanced_loss, []
    monkeypatch.setattr(train, "balanced_loss", lambda *args: (calls.append(1), whole(*args))[1])
    train.fit(own_run, changed(epochs=1, seed=1))
    assert len(calls) == SETTINGS.iterations


@pytest.mark.slow
def test_a_killed_process_ends_as_an_undisturbed_one(own_run: Run, undisturbed: Path) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), str(own_run.root), "7"], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert_equal_models(train.fit(own_run, SETTINGS), undisturbed)


def test_workers_do_not_change_what_is_trained(own_run: Run, undisturbed: Path) -> None:
    assert_equal_models(train.fit(own_run, SETTINGS, workers=2), undisturbed)


# Faults -----------------------------------------------------------------------------------------------------------------------------
def test_a_loss_that_is_no_number_stops_and_names_the_files(own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = after(3, lambda logits, *_: logits.sum() * float("nan"), train.balanced_loss)
    monkeypatch.setattr(train, "balanced_loss", broken)
    with pytest.raises(
        RuntimeError, match=r"the loss is nan in epoch 0, iteration 3, on .*: a lower rate may help"
    ) as caught:
        train.fit(own_run, SETTINGS)
    names = str(caught.value).split(", on ")[1].removesuffix(": a lower rate may help").split(", ")
    assert len(names) == SETTINGS.batch
    assert all((own_run.root / "crops" / name).is_file() for name in names)
    state = torch.load(own_run.root / "models" / "tiny" / "state.pt", weights_only=True)
    assert state["iteration"] == 2
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


@pytest.mark.parametrize(("validation", "test"), [(0, 0), (0, 4), (7, 1)])
def test_folds_that_are_not_there_are_an_error(validation: int, test: int, run: Run) -> None:
    expected = rf"a validation fold, a test fold and at least one more, got validation {validation} and test {test} of the folds \[0, 1, 2, 3\]"
    with pytest.raises(ValueError, match=expected):
        train.fit(run, changed(validation_fold=validation, test_fold=test))


def test_two_folds_are_too_few(own_run: Run) -> None:
    folds = own_run.read_table("folds.csv")
    own_run.write_table("folds.csv", folds.assign(fold=folds["fold"] % 2))
    with pytest.raises(
        ValueError, match=r"got validation 0 and test 1 of the folds \[0, 1\]: see FOLD_COUNT in 04_folds"
    ):
        train.fit(own_run, SETTINGS)


def test_a_batch_that_cannot_be_shared_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="a batch of 4 cannot be shared evenly by 3 processes: choose a multiple of 3"):
        train.fit(run, SETTINGS)


def test_out_of_memory_says_what_to_lower(own_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_up(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train, "balanced_loss", fill_up)
    with pytest.raises(
        RuntimeError,
        match="out of memory with batches of 4 crops of 64 pixels: lower BATCH, or SIZE, or use more processes",
    ):
        train.fit(own_run, SETTINGS)


# Several processes ------------------------------------------------------------------------------------------------------------------
def test_shared_statistics_keep_what_an_efficientnet_computes() -> None:
    torch.manual_seed(0)
    model = create_model("test_efficientnet", pretrained=False).eval()
    images = torch.randn(2, 3, 64, 64)
    expected, keys = model(images), list(model.state_dict())
    shared = train.share_statistics(model)
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in shared.modules())
    assert torch.equal(shared(images), expected)
    assert list(shared.state_dict()) == keys


@pytest.mark.slow
def test_two_processes_train_what_one_does(own_run: Run) -> None:
    # Without BatchNorm and drop-path, whose statistics and draws are each process's own on a CPU.
    same = {"encoder": "convnext_atto", "noise": False, "drop_path": 0.0, "epochs": 1, "iterations": 20}
    one = train.train(own_run, changed(**same, name="one"))
    two = train.train(own_run, changed(**same, name="two"), processes=2)
    losses = [table(folder, "losses.csv")["loss"].to_numpy() for folder in (one, two)]
    assert len(losses[0]) == 20
    assert losses[0].std() > 1e-3
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-4)
    assert table(two, "history.csv")["log loss"][0] == pytest.approx(table(one, "history.csv")["log loss"][0], abs=1e-4)


@pytest.mark.slow
def test_a_process_that_fails_is_an_error(own_run: Run) -> None:
    with pytest.raises(RuntimeError, match="torchrun ended with code 1: its message stands above"):
        train.train(own_run, changed(batch=3), processes=2)


# Presets ----------------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def passing_run(own_run: Run) -> Iterator[Run]:
    """A run folder whose models, of up to a gigabyte, do not stay."""
    yield own_run
    for path in own_run.root.glob("models/*/*.*"):
        if path.is_file():
            path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "millions"), [("b5", 30.4), ("b7", 66.3)])
def test_the_slides_presets_train_and_load(preset: str, millions: float, passing_run: Run) -> None:
    small = {"pretrained": False, "batch": 2, "size": SIDE, "epochs": 1, "iterations": 2, "precision": "float32"}
    folder = train.fit(passing_run, TrainSettings.model_validate(PRESETS[preset].model_dump() | small))
    assert table(folder, "losses.csv")["loss"].between(0, 5).tolist() == [True, True]
    model, card = load_model(folder)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    assert json.loads((folder / "model.json").read_text())["encoder"] == card.encoder == f"tf_efficientnet_{preset}_ns"
    assert logits_of(model, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8), card.recipe, torch.float32).shape == (1,)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_on_a_gpu(precision: str, own_run: Run) -> None:
    folder = train.fit(own_run, changed(precision=precision, epochs=1, iterations=3))
    assert table(folder, "losses.csv")["loss"].between(0, 5).tolist() == [True] * 3
    assert load_model(folder)[1].metrics["validation videos"] == 4
