"""Training, read from top to bottom: settings and a run folder in, the best checkpoint and its history out.

One process, or several that torchrun starts; with several, each takes its share of every batch and the loss is that of the whole batch, so
that two processes train what one would. Everything random depends on (seed, epoch, iteration): a run that was killed goes on from its last
saved state and ends with the weights of an undisturbed one.
Source: the slides (2,500 iterations per epoch), the winner's code (gradient clipping); see objective.py for loss and steps.
Departs from the winner's code: the seed seeds everything; a fold of its own,
which no checkpoint was chosen on, says how good the model is.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
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

import dfdc_lib
from dfdc_lib.classifier.checkpoints import load_model, save_model
from dfdc_lib.classifier.crop_dataset import EpochSampler, TrainingCrops, read_index, training_rows, validation_rows
from dfdc_lib.classifier.inference import autocast_dtype, choose_device, feed
from dfdc_lib.classifier.model import Classifier, create_model
from dfdc_lib.classifier.objective import balanced_loss, create_optimizer, create_scheduler, sum_over_processes
from dfdc_lib.classifier.presets import TrainSettings
from dfdc_lib.classifier.training_state import TrainingState
from dfdc_lib.classifier.validate import judge
from dfdc_lib.data.sample import is_of_sample
from dfdc_lib.records import BUILT_IN_SAMPLE, ModelCard, Recipe
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.staleness import fingerprint

GRADIENT_NORM = 1.0  # winner
LONGEST_WAIT = timedelta(
    hours=2
)  # of processes for the first, which judges alone: NCCL gives up after 10 minutes by default


def train(run: Run, settings: TrainSettings, processes: int = 1, workers: int = 0) -> Path:
    """Train in this process, or in `processes` of them by torchrun.

    Args:
        run: a run folder with crops, masks and folds.
        settings: what to train.
        processes: 1 = here; more = one per GPU, or per share of the CPU's cores.
        workers: that load crops, of each process; 0 = none.
    Returns:
        models/<name>/: weights.safetensors, model.json, history.csv (one row an epoch), losses.csv (one row an iteration), tensorboard/.
    Raises:
        RuntimeError: if a torchrun process failed, memory ran out, or the loss became NaN.
    """
    if processes == 1:
        return fit(run, settings, workers)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc_per_node={processes}",
        "-m",
        "dfdc_lib.classifier.train",
    ]
    done = subprocess.run([*command, str(run.root), settings.model_dump_json(), str(workers)], check=False)
    if done.returncode:
        raise RuntimeError(f"torchrun ended with code {done.returncode}: its message stands above")
    return run.root / "models" / settings.name


def fit(run: Run, settings: TrainSettings, workers: int = 0) -> Path:
    """Train a classifier; called once in every process. Arguments and result as of `train`."""
    rank, processes, device = _begin_process(settings)
    folder = run.root / "models" / settings.name
    index, recipe = read_index(run), recipe_of(run, settings.size)
    train_folds = _train_folds(index, settings)
    rows = training_rows(index, train_folds)
    labels, judged = index["label"].to_numpy()[rows], validation_rows(index, settings.validation_fold)
    crops = TrainingCrops(run, index, recipe, hard=settings.hard, seed=settings.seed)

    torch.manual_seed(settings.seed)
    model = create_model(
        settings.encoder, pretrained=settings.pretrained, drop_path=settings.drop_path, noise=settings.noise
    )
    if (
        processes > 1 and device.type == "cuda"
    ):  # torch has no SyncBN for CPUs: there, batch statistics are those of each process
        model = share_statistics(model)
    model = model.to(device)
    shared: torch.nn.Module = DistributedDataParallel(model) if processes > 1 else model
    optimizer = create_optimizer(model, settings)
    scheduler = create_scheduler(optimizer, settings)
    dtype = autocast_dtype(settings.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
    mark = fingerprint(settings, recipe, fingerprint(index.to_csv()))
    state = TrainingState(
        folder / "state.pt", mark, model=model, optimizer=optimizer, scheduler=scheduler, scaler=scaler
    )
    state.load()

    while state.epoch < settings.epochs:
        count, start = settings.iterations * settings.batch, state.iteration * settings.batch
        sampler = EpochSampler(
            rows, labels, count, settings.seed, state.epoch, start=start, rank=rank, processes=processes
        )
        shared.train()
        with _progress(settings, state, rank) as progress:
            for images, targets, places in DataLoader(
                crops, settings.batch // processes, sampler=sampler, num_workers=workers
            ):
                torch.manual_seed(
                    _step_seed(settings, state)
                )  # for drop-path: a resumed run draws what an undisturbed one draws
                with _memory_advice(settings), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    logits = shared(feed(images, recipe, device))  # (batch / processes,)
                    loss = balanced_loss(logits.float(), targets.to(device, torch.float32), processes)
                    scaler.scale(loss).backward()
                state.losses.append(sum_over_processes(loss.detach(), processes) / processes)
                if not np.isfinite(state.losses[-1]):
                    raise RuntimeError(
                        f"the loss is {state.losses[-1]} in {state.moment}, on {_names(index, places)}: a lower rate may help"
                    )
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad(set_to_none=True)
                scheduler.step()
                state.iteration += 1
                progress.set_postfix(
                    loss=f"{np.mean(state.losses[-20:]):.4f}", rate=f"{scheduler.get_last_lr()[0]:.1e}"
                )
                progress.update(settings.batch)
                if rank == 0 and state.iteration % settings.save_every == 0 and state.iteration < settings.iterations:
                    state.save(run)
        if rank == 0:
            found = judge(model, run, index, judged, recipe, workers, dtype)
            if state.end_epoch(
                found, float(np.mean(state.losses[-settings.iterations :])), float(scheduler.get_last_lr()[0])
            ):
                save_model(folder, model, _card(run, settings, recipe, train_folds, mark, found))
            _write_history(run, folder, state, settings.iterations)
        state.epoch, state.iteration = state.epoch + 1, 0
        if rank == 0:
            state.save(run)
        if processes > 1:
            dist.barrier()
    return folder


def test(run: Run, folder: Path, workers: int = 0) -> dict[str, float]:
    """Measure the chosen checkpoint on the fold that nothing was chosen on, and write what comes out into its card.

    Returns:
        As of `judge`.
    """
    model, card = load_model(folder)
    device = choose_device()
    model = model.to(device)
    index = read_index(run)
    found = judge(
        model,
        run,
        index,
        np.flatnonzero(index["fold"] == card.test_fold),
        card.recipe,
        workers,
        autocast_dtype("auto", device),
    )
    save_model(folder, model, card.model_copy(update={"metrics": card.metrics | _card_metrics("test", found)}))
    return found


def share_statistics(model: Classifier) -> Classifier:
    """Make every BatchNorm take its statistics from the batches of all processes; what the model computes stays the same.

    timm's own function: torch's drops the activation that timm's BatchNorm of an EfficientNet holds.
    """
    return convert_sync_batchnorm(model)


def recipe_of(run: Run, size: int) -> Recipe:
    """Say how the crops of a run were made, for a model of this input size."""
    first = next(outcome.video_id for outcome in run.read_status("02_crop_faces") if outcome.status == "done")
    crops = run.read_crops(first)
    return Recipe(detector=run.read_faces(crops.boxes_from).settings, margin=crops.margin, size=size)


def _begin_process(settings: TrainSettings) -> tuple[int, int, torch.device]:
    """Join the other processes, where torchrun has started several."""
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if settings.batch % processes:
        raise ValueError(
            f"a batch of {settings.batch} cannot be shared evenly by {processes} processes: choose a multiple of {processes}"
        )
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if processes > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    return rank, processes, device


def _train_folds(index: pd.DataFrame, settings: TrainSettings) -> list[int]:
    folds = set(index["fold"])
    held_out = {settings.validation_fold, settings.test_fold}
    if len(held_out) < 2 or not held_out < folds:
        raise ValueError(
            f"training needs a validation fold, a test fold and at least one more, got validation {settings.validation_fold} and "
            f"test {settings.test_fold} of the folds {sorted(folds)}: see FOLD_COUNT in 04_folds"
        )
    return sorted(folds - held_out)


def _step_seed(settings: TrainSettings, state: TrainingState) -> int:
    return int(np.random.SeedSequence([settings.seed, state.epoch, state.iteration]).generate_state(1)[0])


def _progress(settings: TrainSettings, state: TrainingState, rank: int) -> tqdm:
    title = f"epoch {state.epoch + 1}/{settings.epochs}"
    total, done = settings.iterations * settings.batch, state.iteration * settings.batch
    return tqdm(total=total, initial=done, desc=title, unit="img", mininterval=0.5, disable=rank > 0)


@contextmanager
def _memory_advice(settings: TrainSettings) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RuntimeError(
            f"out of memory with batches of {settings.batch} crops of {settings.size} pixels: lower BATCH, or SIZE, or use more processes"
        ) from error


def _names(index: pd.DataFrame, places: Sequence[int]) -> str:
    rows = index.iloc[[int(place) for place in places]]
    return ", ".join(
        f"{v}/{frame:05d}_{face}.png"
        for v, frame, face in zip(rows["video_id"], rows["frame_index"], rows["face_index"], strict=True)
    )


def _card(
    run: Run, settings: TrainSettings, recipe: Recipe, train_folds: Sequence[int], mark: str, found: dict[str, float]
) -> ModelCard:
    manifest = json.loads((run.root / "run.json").read_bytes()) if (run.root / "run.json").exists() else {}
    of_sample = all(
        is_of_sample(item.path) for item in run.read_videos()
    )  # also where the notebooks were worked by hand
    return ModelCard(
        name=settings.name,
        encoder=settings.encoder,
        noise=settings.noise,
        recipe=recipe,
        training=settings.model_dump(),
        metrics=_card_metrics("validation", found),
        data=BUILT_IN_SAMPLE if of_sample else manifest.get("data", run.root.name),
        run=run.root.name,
        train_folds=tuple(train_folds),
        validation_fold=settings.validation_fold,
        test_fold=settings.test_fold,
        data_fingerprint=mark,
        commit=manifest.get("commit", ""),
        kit_version=dfdc_lib.__version__,
    )


def _card_metrics(fold: str, found: dict[str, float]) -> dict[str, float]:
    """Name what `judge` found after its fold; an AUC of one kind alone is no number, and JSON has none for it."""
    return {f"{fold} {name}": value for name, value in found.items() if np.isfinite(value)}


def _write_history(run: Run, folder: Path, state: TrainingState, iterations: int) -> None:
    """Write history.csv and losses.csv, and the epoch that has ended for TensorBoard."""
    place, numbers, last = folder.relative_to(run.root), np.arange(len(state.losses)), state.history[-1]
    losses = pd.DataFrame({"epoch": numbers // iterations, "iteration": numbers % iterations, "loss": state.losses})
    run.write_table(f"{place}/losses.csv", losses)
    run.write_table(f"{place}/history.csv", pd.DataFrame(state.history))
    with SummaryWriter(str(folder / "tensorboard")) as writer:
        for name, value in last.items():
            if name != "epoch":
                writer.add_scalar(name.replace(" ", "_"), value, int(last["epoch"]))


if __name__ == "__main__":
    fit(open_run(sys.argv[1]), TrainSettings.model_validate_json(sys.argv[2]), int(sys.argv[3]))
    if dist.is_initialized():
        dist.destroy_process_group()
