"""The pictures of one examined video: where they lie in its run folder, and the arrays a notebook shows of them."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dfdc_lib.faces.masks import ssim_map
from dfdc_lib.records import Box, FaceKey, box_of
from dfdc_lib.run_folder import Run

VIDEO_ID = "video"  # of the one video in such a run folder


def frame_path(run: Run, frame_index: int) -> Path:
    """Say where a whole frame is kept: JPEG, for the eye only."""
    return run.root / "frames" / f"{frame_index:05d}.jpg"


def heat_path(run: Run, frame_index: int, face_index: int) -> Path:
    """Say where the heat map of a crop is kept: gray, of the crop's size, 255 = the strongest place."""
    return run.root / "heat" / f"{frame_index:05d}_{face_index}.png"


def original_path(run: Run, frame_index: int, face_index: int) -> Path:
    """Say where the part of the original that a crop shows is kept, at the crop's size."""
    return run.root / "originals" / f"{frame_index:05d}_{face_index}.png"


def thumbnails(run: Run, faces: pd.DataFrame, most: int) -> dict[int, list[np.ndarray]]:
    """Read a few crops of every person, evenly chosen in order of time.

    Args:
        run: the run folder of an examination.
        faces: its `faces.csv`.
        most: crops of one person.
    Returns:
        track → crops, (H, W, 3) uint8 RGB.
    """
    chosen: dict[int, list[np.ndarray]] = {}
    for track in faces["track"].unique():
        own = faces[faces["track"] == track].sort_values("frame_index")
        rows = own.iloc[np.unique(np.linspace(0, len(own) - 1, min(most, len(own))).round().astype(int))]
        places = zip(rows["frame_index"], rows["face_index"], strict=True)
        chosen[int(track)] = [run.read_image(run.crop_path(FaceKey(VIDEO_ID, *place))) for place in places]
    return chosen


def evidence(run: Run, rows: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Read the frame, the crop and the heat map of every row: (H, W, 3) uint8, (h, w, 3) uint8, (h, w) float in 0–1."""
    return [_evidence(run, row) for row in rows.to_dict("records")]


def _evidence(run: Run, row: Mapping[Hashable, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    place = (row["frame_index"], row["face_index"])
    crop = run.read_image(run.crop_path(FaceKey(VIDEO_ID, *place)))
    return run.read_image(frame_path(run, row["frame_index"])), crop, run.read_image(heat_path(run, *place)) / 255


def scored_face(run: Run, faces: pd.DataFrame, frame_index: int, face_index: int) -> tuple[np.ndarray, Box, float]:
    """Read a whole frame, (H, W, 3) uint8 RGB, and the box and score of one of its faces."""
    row = faces[(faces["frame_index"] == frame_index) & (faces["face_index"] == face_index)].iloc[0].to_dict()
    return run.read_image(frame_path(run, frame_index)), box_of(row), float(row["score"])


def strongest_masks(
    run: Run, masks: pd.DataFrame, most: int
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Read the faces that depart most from the original.

    Args:
        run: the run folder of an examination with an original.
        masks: its `masks.csv`.
        most: rows.
    Returns:
        label → original, fake (H, W, 3) uint8, SSIM map (H, W) in −1…1, mask (H, W) uint8; the strongest first.
    """
    panels = {}
    for row in masks.sort_values("changed_share", ascending=False, kind="stable").head(most).to_dict("records"):
        place = (row["frame_index"], row["face_index"])
        original, crop = (
            run.read_image(original_path(run, *place)),
            run.read_image(run.crop_path(FaceKey(VIDEO_ID, *place))),
        )
        label = (
            f"frame {place[0]}\n{row['time_seconds']:.2f} s\nperson {row['track']}\nchanged {row['changed_share']:.0%}"
        )
        panels[label] = (
            original,
            crop,
            ssim_map(original, crop),
            run.read_image(run.mask_path(FaceKey(VIDEO_ID, *place))),
        )
    return panels
