"""For the tests of training: a run folder, settings that train on it in a second, and trainings that are killed."""

import multiprocessing
import os
import signal
import socket
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
import torch.distributed as dist

from dfdc_lib.classifier import train
from dfdc_lib.classifier.checkpoints import load_model
from dfdc_lib.classifier.crop_dataset import read_index
from dfdc_lib.classifier.presets import TrainSettings
from dfdc_lib.classifier.training_processes import ALONE, Process, join_processes
from dfdc_lib.classifier.validate import judge
from dfdc_lib.faces.crop_stage import CROP_COLUMNS
from dfdc_lib.records import (
    FAKE,
    REAL,
    Crop,
    DetectorSettings,
    FaceKey,
    Outcome,
    Recipe,
    Video,
    VideoCrops,
    VideoFaces,
    VideoInfo,
)
from dfdc_lib.run_folder import Run, open_run

PAIRS, FOLDS = 8, 4  # original "r<n>" and fake "f<n>" are in fold n % 4
FRAMES = (0, 10, 20, 30)
SIDE = 64  # pixels
LANDMARKS = ((22, 26), (42, 26), (32, 36), (25, 46), (39, 46))
DETECTOR = DetectorSettings(min_face_pixels=31)  # unlike the default, to show that the recipe comes from the run
FORGED = slice(16, 48)  # rows and columns in which a fake has no noise
# timm's test_efficientnet has 0.4 million weights, with BatchNorm and drop-path.
MODEL = {"name": "tiny", "encoder": "test_efficientnet", "noise": True, "pretrained": False, "size": SIDE, "hard": True}
LENGTH = {"batch": 4, "epochs": 2, "iterations": 5, "save_every": 2}
SETTINGS = TrainSettings.model_validate(MODEL | LENGTH | {"precision": "float32"})


def changed(**changes: Any) -> TrainSettings:
    """Return `SETTINGS` with other values."""
    return TrainSettings.model_validate(SETTINGS.model_dump() | changes)


def make_run(root: Path) -> Run:
    """Write crops, masks, folds and their records: 8 originals and 8 fakes with 4 crops each."""
    run, rng = open_run(root), np.random.default_rng(0)
    rows, masks, folds, outcomes = [], [], [], []
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[FORGED, FORGED] = 255
    videos = [(f"{kind}{n}", label, n) for n in range(PAIRS) for kind, label in (("r", REAL), ("f", FAKE))]
    for video_id, label, pair in videos:
        crops = tuple(_crop(video_id, frame_index) for frame_index in FRAMES)
        for crop in crops:
            key = FaceKey(video_id, crop.frame_index, 0)
            run.write_image(run.crop_path(key), _image(rng, label))
            numbers = (
                crop.frame_index,
                crop.time_seconds,
                crop.confidence,
                *crop.box,
                *crop.area,
                *np.ravel(crop.landmarks),
            )
            rows.append((*key, *numbers))
            if label == FAKE:
                run.write_image(run.mask_path(key), mask)
                masks.append(key._asdict() | {"ssim": 0.7, "changed_share": 0.25})
        _write_records(run, video_id, f"r{pair}", crops)
        folds.append((video_id, pair % FOLDS, pair, label, ""))
        outcomes.append(Outcome(video_id=video_id, status="done", count=len(crops), fingerprint="c").model_dump())
    run.write_table("crops.parquet", pd.DataFrame(rows, columns=CROP_COLUMNS))
    run.write_table("masks.csv", pd.DataFrame(masks))
    run.write_table("folds.csv", pd.DataFrame(folds, columns=["video_id", "fold", "group", "label", "method"]))
    run.write_table("status/02_crop_faces.csv", pd.DataFrame(outcomes))
    listed = [Video(video_id=fold[0], path=root / "data" / f"{fold[0]}.mp4", identities=(fold[0],)) for fold in folds]
    header = {"height": SIDE, "width": SIDE, "fps": 25, "frame_count": 40, "duration_seconds": 1.6}
    info = VideoInfo.model_validate(header | {"rotation_degrees": 0})
    run.write_videos(listed, {fold[0]: info.model_copy(update={"content": f"file {fold[0]}"}) for fold in folds})
    return run


def recipe() -> Recipe:
    """Return the recipe of the crops of `make_run`."""
    return Recipe(detector=DETECTOR, margin=0.3, size=SIDE)


def _write_records(run: Run, video_id: str, original_id: str, crops: tuple[Crop, ...]) -> None:
    record = {"video_id": video_id, "boxes_from": original_id, "margin": 0.3, "crops": crops, "fingerprint": "c"}
    counts = {"frames_only_here": 0, "frames_only_in_original": 0}
    run.write_record(run.crops_record_path(video_id), VideoCrops.model_validate(record | counts))
    faces = {"video_id": video_id, "height": SIDE, "width": SIDE, "fps": 25, "frame_count": 40, "fingerprint": "b"}
    settings = {"missing_frame_count": 0, "detector_scale": 1, "settings": DETECTOR, "frames": ()}
    if video_id == original_id:
        run.write_record(run.boxes_path(video_id), VideoFaces.model_validate(faces | settings))


def _crop(video_id: str, frame_index: int) -> Crop:
    key = FaceKey(video_id, frame_index, face_index=0)._asdict() | {"boxes_frame_index": frame_index}
    places = {"box": (6.0, 6.0, 58.0, 58.0), "area": (0, 0, SIDE, SIDE), "landmarks": LANDMARKS}
    return Crop.model_validate(key | places | {"time_seconds": frame_index / 25, "confidence": 0.99})


def _image(rng: np.random.Generator, label: int) -> np.ndarray:
    """Return a smooth colour field with a camera's noise; a fake has no noise in its middle."""
    colours = cv2.resize(rng.uniform(60, 190, (3, 3, 3)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 14, (SIDE, SIDE, 3))
    if label == FAKE:
        noise[FORGED, FORGED] = 0
    return np.clip(np.rint(colours + noise), 0, 255).astype(np.uint8)


class Rank(NamedTuple):
    """What one of several training processes has seen: the last seed of its drop-path, and the metrics of `judged`."""

    seed: int
    measured: dict[str, float]


def fit_in_processes(run: Run, settings: TrainSettings) -> list[Rank]:
    """Train as two machines with one process each do, over the loopback; return what each has seen."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    with ProcessPoolExecutor(2, start_context()) as pool:
        return list(pool.map(partial(_fit_as, port=port, root=run.root, settings=settings), (0, 1)))


def start_context() -> BaseContext:
    """Return how tests start processes: as a fork, which has imported torch, unless CUDA forbids it."""
    cv2.setNumThreads(1)  # a fork that inherits OpenCV's pool of threads waits for them forever
    return multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")


def judged(run: Run, folder: Path, process: Process = ALONE) -> dict[str, float]:
    """Return a model's metrics on seven crops, which two processes cannot share evenly."""
    return judge(load_model(folder)[0].to(process.device), run, read_index(run).iloc[8:15], recipe(), process)


def _fit_as(rank: int, port: str, root: Path, settings: TrainSettings) -> Rank:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    process, run = join_processes(), open_run(root)
    folder = train.fit(run, settings, process=process)
    result = Rank(torch.initial_seed(), judged(run, folder, process))
    dist.destroy_process_group()
    return result


def die_in_iteration(root: Path, fatal: int) -> None:
    """Train with `SETTINGS`; kill this process in the given iteration."""
    iterations, original = iter(range(10**6)), train.balanced_loss

    def loss_or_death(logits: torch.Tensor, targets: torch.Tensor, processes: int = 1) -> torch.Tensor:
        if next(iterations) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(logits, targets, processes)

    torch.set_num_threads(1)  # as in the tests
    train.balanced_loss = loss_or_death
    train.fit(open_run(root), SETTINGS)


def train_for_ever(root: Path) -> None:
    """Train in two processes that torchrun starts, until the test kills this process."""
    train.train(open_run(root), SETTINGS.model_copy(update={"iterations": 10**6}), processes=2)
