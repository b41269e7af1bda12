"""For the tests of training: a run folder written by hand, settings that train it in a second, and a training run that kills itself."""

import os
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from dfdc_lib.classifier import train
from dfdc_lib.classifier.presets import TrainSettings
from dfdc_lib.faces.crop_stage import CROP_COLUMNS
from dfdc_lib.records import (
    FAKE,
    REAL,
    Crop,
    DetectorSettings,
    FaceKey,
    Mask,
    Outcome,
    Recipe,
    Video,
    VideoCrops,
    VideoFaces,
)
from dfdc_lib.run_folder import Run, open_run

PAIRS, FOLDS = 8, 4  # original "r<n>" and fake "f<n>" lie in fold n % 4
FRAMES = (0, 10, 20, 30)
SIDE = 64  # pixels
LANDMARKS = ((22, 26), (42, 26), (32, 36), (25, 46), (39, 46))
DETECTOR = DetectorSettings(min_face_pixels=31)  # unlike the default, so that a recipe shows where it comes from
FORGED = slice(16, 48)  # rows and columns that a fake has without their noise
SETTINGS = TrainSettings(
    name="tiny",
    encoder="test_efficientnet",  # of timm: 0.4 million weights, BatchNorm and drop-path
    noise=True,
    pretrained=False,
    size=SIDE,
    batch=4,
    epochs=2,
    iterations=5,
    hard=True,
    save_every=2,
    precision="float32",
)


def make_run(root: Path) -> Run:
    """Write crops, masks, folds and the records beside them: 8 originals and 8 fakes of 4 crops each."""
    run, rng = open_run(root), np.random.default_rng(0)
    rows, masks, folds, outcomes = [], [], [], []
    for video_id, label, pair in [
        (f"{kind}{n}", label, n) for n in range(PAIRS) for kind, label in (("r", REAL), ("f", FAKE))
    ]:
        crops = tuple(_crop(video_id, frame_index) for frame_index in FRAMES)
        for crop in crops:
            run.write_image(run.crop_path(FaceKey(video_id, crop.frame_index, 0)), _image(rng, label))
            rows.append(
                (
                    video_id,
                    crop.frame_index,
                    0,
                    crop.time_seconds,
                    crop.confidence,
                    *crop.box,
                    *crop.area,
                    *np.ravel(crop.landmarks),
                )
            )
            if label == FAKE:
                mask = np.zeros((SIDE, SIDE), np.uint8)
                mask[FORGED, FORGED] = 255
                run.write_image(run.mask_path(FaceKey(video_id, crop.frame_index, 0)), mask)
                masks.append(
                    {"video_id": video_id}
                    | Mask(frame_index=crop.frame_index, face_index=0, ssim=0.7, changed_share=0.25).model_dump()
                )
        record = VideoCrops(
            video_id=video_id,
            boxes_from=f"r{pair}",
            margin=0.3,
            crops=crops,
            frames_only_here=0,
            frames_only_in_original=0,
            fingerprint="c",
        )
        run.write_record(run.crops_record_path(video_id), record)
        folds.append((video_id, pair % FOLDS, pair, label, ""))
        outcomes.append(Outcome(video_id=video_id, status="done", count=len(crops), fingerprint="c").model_dump())
        if label == REAL:
            run.write_record(run.boxes_path(video_id), _faces(video_id))
    run.write_table("crops.parquet", pd.DataFrame(rows, columns=CROP_COLUMNS))
    run.write_table("masks.csv", pd.DataFrame(masks))
    run.write_table("folds.csv", pd.DataFrame(folds, columns=["video_id", "fold", "group", "label", "method"]))
    run.write_table("status/02_crop_faces.csv", pd.DataFrame(outcomes))
    run.write_videos([Video(video_id=fold[0], path=root / "data" / f"{fold[0]}.mp4") for fold in folds], {})
    return run


def recipe() -> Recipe:
    """Say how the crops of `make_run` were made."""
    return Recipe(detector=DETECTOR, margin=0.3, size=SIDE)


def _crop(video_id: str, frame_index: int) -> Crop:
    box, area = (6.0, 6.0, 58.0, 58.0), (0, 0, SIDE, SIDE)
    return Crop(
        video_id=video_id,
        frame_index=frame_index,
        face_index=0,
        time_seconds=frame_index / 25,
        confidence=0.99,
        box=box,
        area=area,
        landmarks=LANDMARKS,
    )


def _faces(video_id: str) -> VideoFaces:
    return VideoFaces(
        video_id=video_id,
        height=SIDE,
        width=SIDE,
        fps=25,
        frame_count=40,
        missing_frame_count=0,
        detector_scale=1,
        settings=DETECTOR,
        frames=(),
        fingerprint="b",
    )


def _image(rng: np.random.Generator, label: int) -> np.ndarray:
    """A soft colour field with a camera's noise; a fake has none in its middle."""
    colours = cv2.resize(rng.uniform(60, 190, (3, 3, 3)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 14, (SIDE, SIDE, 3))
    if label == FAKE:
        noise[FORGED, FORGED] = 0
    return np.clip(np.rint(colours + noise), 0, 255).astype(np.uint8)


if __name__ == "__main__":  # train, and die at once in the given iteration, for the test that goes on from there
    fatal, calls, whole = int(sys.argv[2]), iter(range(10**6)), train.balanced_loss

    def loss_or_death(logits: torch.Tensor, targets: torch.Tensor, processes: int = 1) -> torch.Tensor:
        if next(calls) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(logits, targets, processes)

    torch.set_num_threads(1)  # as the tests
    train.balanced_loss = loss_or_death
    train.fit(open_run(sys.argv[1]), SETTINGS)
