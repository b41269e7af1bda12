"""Train a classifier: settings and a run folder in; the best checkpoint, its card and its history out.

Training runs in one process, or in several that torchrun starts. They share every batch and its loss, so the result is
the same as with one process. Everything random depends on (seed, epoch, iteration): an interrupted run resumes from its
last saved state and ends with the same weights as an uninterrupted one.
Source: the slides (2,500 iterations per epoch); the winner's code (gradient clipping); see objective.py for the loss.
Departs from the winner's code: the seed determines everything; a test fold, which chose no checkpoint, is measured.
"""

import os
import shlex
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm.std import tqdm

from dfdc_lib.classifier.checkpoints import load_model, save_model
from dfdc_lib.classifier.crop_dataset import (
    TrainingCrops,
    crop_loader,
    epoch_keys,
    read_index,
    training_rows,
    validation_rows,
)
from dfdc_lib.classifier.inference import normalize
from dfdc_lib.classifier.model import create_model
from dfdc_lib.classifier.model_files import TEST_METRICS_FILE
from dfdc_lib.classifier.objective import balanced_loss, sum_over_processes
from dfdc_lib.classifier.presets import TrainSettings
from dfdc_lib.classifier.training_plan import TRAINING_CODE, Plan, card_metrics, is_finished, make_card, make_plan
from dfdc_lib.classifier.training_processes import ALONE, Process, by_srun, join_processes, torchrun_command
from dfdc_lib.classifier.training_state import TrainingState
from dfdc_lib.classifier.validate import judge
from dfdc_lib.processes import end_after
from dfdc_lib.records import FaceKey, ModelCard
from dfdc_lib.run_folder import Run, open_run, project_path
from dfdc_lib.staleness import code_fingerprint

OWNER = "notebook 06_train"  # of the run folder's lock
GRADIENT_NORM = 1.0  # winner
WITH_PARENT = "end with parent"  # argument of a process: its stdin closes when the process of `train` ends


def train(run: Run, settings: TrainSettings, processes: int = 1, workers: int = 0, nodes: int = 1) -> Path:
    """Train a classifier and return its folder; do nothing if it was already trained with these settings and crops.

    `processes`: 1 = train in this process; more = start that many with torchrun and wait for them. `nodes`: number of
    machines, with `processes` each (see `torchrun_command`). `workers`: number of processes that load crops for each
    training process; 0 = it loads them itself; -1 = as many as the cores allow.
    The folder, models/<name>/, gets weights.safetensors, model.json, history.csv (one row per epoch) and losses.csv
    (one row per iteration).
    Raise ValueError if that folder was trained with other settings. Raise RuntimeError if another process works in this
    run folder, a process fails, there is too little memory, or the loss becomes NaN.
    """
    if processes == nodes == 1:
        return fit(run, settings, workers)
    with run.lock("stage", OWNER):  # an error is clearer here than from torchrun
        plan = make_plan(run, settings, workers, Process(count=processes * nodes))
        if is_finished(plan):
            return plan.folder
    arguments = [TRAINING_CODE, str(run.root), settings.model_dump_json(), str(workers)]
    command = [*torchrun_command(processes, nodes), *arguments]
    if nodes > 1 and not by_srun(nodes):
        print(f"run this on each of the {nodes - 1} other machines: {shlex.join(command)}")
    with subprocess.Popen([*command, WITH_PARENT], stdin=subprocess.PIPE) as launcher:  # the pipe closes with this one
        if code := launcher.wait():
            raise RuntimeError(f"torchrun failed with exit code {code}: see its message above")
    return plan.folder


def fit(run: Run, settings: TrainSettings, workers: int = 0, process: Process = ALONE) -> Path:
    """Train in this process; arguments, result and errors are those of `train`.

    `process`: `ALONE`, or the result of `join_processes` if torchrun started several processes.
    """
    plan = make_plan(run, settings, workers, process)
    with run.lock("stage", OWNER) if plan.process.rank == 0 else nullcontext():
        if not is_finished(plan):
            _fit(plan)
    return plan.folder


def test(run: Run, folder: Path, workers: int = 0) -> dict[str, float]:
    """Measure a trained model on the crops of its test fold; return the metrics, name -> value.

    `folder`: the model folder; test_metrics.json is written into it. `workers`: as in `train`.
    """
    model, card = load_model(folder)
    process, index = ALONE.with_loaders(workers), read_index(run)
    crops = index[index["fold"] == card.test_fold]
    measured = judge(model.to(process.device), run, crops, card.recipe, process)
    run.write_json(folder / TEST_METRICS_FILE, card_metrics("test", measured))
    return measured


def code_note(card: ModelCard) -> str:
    """Return one line that says whether a model was trained by the current code or by which older version."""
    if card.code_fingerprint == code_fingerprint(TRAINING_CODE):
        return "trained by the current code"
    return f"trained by older code (kit {card.kit_version or 'unknown'}, commit {card.commit or 'unknown'})"


def _fit(plan: Plan) -> None:
    """Train from the last saved state to the last epoch."""
    settings, is_first = plan.settings, plan.process.rank == 0
    crops = TrainingCrops(plan.run, plan.index, plan.recipe, hard=settings.hard, seed=settings.seed)
    keys: list[tuple[int, int, int]] = []  # replaced in each epoch, so that the loaders persist
    loader = crop_loader(crops, keys, settings.batch // plan.process.count, plan.process)
    state = _create_state(plan)
    if not state.load() and is_first:
        (plan.folder / "history.csv").unlink(missing_ok=True)  # of another training
    while state.epoch < settings.epochs:
        try:
            keys[:] = _keys(plan, state)
            _train_epoch(plan, state, loader)
        except torch.OutOfMemoryError as error:
            batch = f"batches of {settings.batch} crops of {settings.size} pixels"
            raise RuntimeError(f"out of memory with {batch}: lower BATCH or SIZE, or use more processes") from error
        _validate(plan, state)
        state.epoch, state.iteration = state.epoch + 1, 0
        if is_first:
            state.save(plan.run)
        if plan.process.count > 1:
            dist.barrier()


def _create_state(plan: Plan) -> TrainingState:
    settings, device = plan.settings, plan.device
    torch.manual_seed(settings.seed)
    options = settings.model_dump(include={"encoder", "pretrained", "drop_path", "noise"})
    weights_file = project_path(settings.weights_file) if settings.weights_file else None
    model = create_model(**options, weights_file=weights_file)
    if plan.process.count > 1 and device.type == "cuda":  # on CPUs, batch statistics are those of each process
        model = convert_sync_batchnorm(model)  # torch's function drops the activation in an EfficientNet's BatchNorm
    model = model.to(device)
    network = DistributedDataParallel(model) if plan.process.count > 1 else model
    return TrainingState(plan, network)


def _train_epoch(plan: Plan, state: TrainingState, loader: DataLoader) -> None:
    """Train until the end of the epoch, from the iteration that the state has reached."""
    settings, device, is_first = plan.settings, plan.device, plan.process.rank == 0
    total, start = settings.iterations * settings.batch, state.iteration * settings.batch
    title = f"epoch {state.epoch + 1}/{settings.epochs}"
    state.network.train()
    with tqdm(desc=title, total=total, initial=start, unit="img", mininterval=0.5, disable=not is_first) as progress:
        for images, labels, rows in loader:
            numbers = settings.seed, state.epoch, state.iteration, plan.process.rank
            seed = np.random.SeedSequence(numbers).generate_state(1)[0]
            torch.manual_seed(int(seed))  # for drop-path: a resumed run draws what an uninterrupted one draws
            targets = labels.to(device, torch.float32, non_blocking=True)
            loss, norm = _step(plan, state, normalize(images, plan.recipe, device), targets)
            if not np.isfinite([loss, norm]).all():
                keys = plan.index.loc[rows.tolist(), list(FaceKey._fields)].itertuples(index=False, name=None)
                files = ", ".join(f"{key.video_id}/{key.name}.png" for key in map(FaceKey._make, keys))
                where = f"epoch {state.epoch}, iteration {state.iteration}, on {files}"
                remedy = "try a lower LEARNING_RATE, with another NAME or with --force"
                raise RuntimeError(f"loss {loss}, gradient {norm} in {where}: {remedy}")
            state.iteration += 1
            rate = state.scheduler.get_last_lr()[0]
            progress.set_postfix(loss=f"{np.mean(state.losses[-20:]):.4f}", rate=f"{rate:.1e}")
            progress.update(settings.batch)
            is_last = state.iteration == settings.iterations
            if is_first and state.iteration % settings.save_every == 0 and not is_last:
                state.save(plan.run)


def _step(plan: Plan, state: TrainingState, images: torch.Tensor, targets: torch.Tensor) -> tuple[float, float]:
    """Update the weights once; return the loss of the whole batch and the norm of the gradient.

    In float16, the scaler skips a step whose gradient overflows; its norm counts as 0.
    """
    with torch.autocast(plan.device.type, plan.dtype, enabled=plan.dtype != torch.float32):
        logits = state.network(images)  # (batch / processes,)
        loss = balanced_loss(logits.float(), targets, plan.process.count)
        state.scaler.scale(loss).backward()
    state.scaler.unscale_(state.optimizer)
    norm = float(torch.nn.utils.clip_grad_norm_(state.model.parameters(), GRADIENT_NORM))
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    state.scheduler.step()
    state.losses.append(sum_over_processes(loss.detach(), plan.process.count) / plan.process.count)
    return state.losses[-1], 0.0 if state.scaler.is_enabled() and not np.isfinite(norm) else norm


def _keys(plan: Plan, state: TrainingState) -> list[tuple[int, int, int]]:
    """Return the keys of this process's crops of an epoch, from the iteration that the state has reached."""
    settings, process = plan.settings, plan.process
    rows = training_rows(plan.index, plan.train_folds)
    labels, count = plan.index["label"].to_numpy()[rows], settings.iterations * settings.batch
    start = state.iteration * settings.batch
    return epoch_keys(rows, labels, count, settings.seed, state.epoch)[start + process.rank :: process.count]


def _validate(plan: Plan, state: TrainingState) -> None:
    """Validate the model in all processes; the first saves it if it is the best so far, and writes the history."""
    if plan.process.count > 1:  # the first process's model is saved; on CPUs, each has its own batch statistics
        for buffer in state.model.buffers():
            dist.broadcast(buffer, src=0)
    crops = plan.index.iloc[validation_rows(plan.index, plan.settings.validation_fold)]
    measured = judge(state.model, plan.run, crops, plan.recipe, plan.process)
    if plan.process.rank > 0:
        return
    if state.end_epoch(measured, float(np.mean(state.losses[-plan.settings.iterations :]))):
        save_model(plan.folder, state.model, make_card(plan, measured))
    _write_history(plan, state)


def _write_history(plan: Plan, state: TrainingState) -> None:
    epochs, iterations = np.divmod(np.arange(len(state.losses)), plan.settings.iterations)
    losses = pd.DataFrame({"epoch": epochs, "iteration": iterations, "loss": state.losses})
    plan.run.write_table(f"models/{plan.settings.name}/losses.csv", losses)
    with SummaryWriter(str(plan.folder / "tensorboard")) as writer:
        for name, value in state.history[-1].items():
            if name != "epoch":
                writer.add_scalar(name.replace(" ", "_"), value, state.epoch)
    # Last, because a complete history means that the model is finished.
    plan.run.write_table(f"models/{plan.settings.name}/history.csv", pd.DataFrame(state.history))


if __name__ == "__main__":  # one of the processes that `train` has started through torchrun
    if sys.argv[4:] == [WITH_PARENT]:
        end_after(partial(os.read, 0, 1))
    fit(open_run(sys.argv[1]), TrainSettings.model_validate_json(sys.argv[2]), int(sys.argv[3]), join_processes())
    dist.destroy_process_group()
