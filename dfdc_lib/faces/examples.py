"""Read examples of frames, crops and masks for a notebook to show.

Input: the run folder. Output: arrays and small tables, so that plots and viewers need not know the folder's layout.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from dfdc_lib.data.sample import true_mask_path
from dfdc_lib.data.video import Frame, VideoReader, read_frames
from dfdc_lib.faces import masks
from dfdc_lib.faces.crops import cut, cut_face, key_of
from dfdc_lib.faces.mask_stage import crop_pair
from dfdc_lib.processes import core_count
from dfdc_lib.records import FAKE, KEY_COLUMNS, REAL, Face, FaceExample, FaceKey, Video
from dfdc_lib.run_folder import LANDMARK_COLUMNS, Run


def first_frames(videos: Sequence[Video]) -> list[np.ndarray]:
    """Return the first undamaged frame of each video, (H, W, 3) uint8 RGB."""
    images = []
    for video in videos:
        with VideoReader(video.path) as reader:
            images.append(next(reader.frames()).image)
    return images


def frames_of(run: Run, places: Sequence[tuple[str, int]]) -> list[np.ndarray]:
    """Return the frame at each place (video_id, frame_index), (H, W, 3) uint8 RGB.

    Each video is decoded once, up to its last requested frame; as many videos are decoded at once as there are cores.
    Raises ValueError if a frame is missing or damaged.
    """
    wanted: dict[str, set[int]] = {}
    for video_id, frame_index in places:
        wanted.setdefault(video_id, set()).add(frame_index)
    paths = {video.video_id: video.path for video in run.read_videos() if video.video_id in wanted}
    with ThreadPoolExecutor(core_count()) as pool:  # threads suffice: decoding releases the GIL
        found = list(pool.map(lambda video_id: _read(paths[video_id], wanted[video_id]), wanted))
    images = {
        (name, frame.frame_index): frame.image for name, frames in zip(wanted, found, strict=True) for frame in frames
    }
    lost = next((place for place in places if place not in images), None)
    if lost:
        name = f"frame {lost[1]} of {paths[lost[0]]}"
        raise ValueError(f"{name} is missing or damaged; has the file changed since notebook 00?")
    return [images[place] for place in places]


def frames_with_faces(run: Run, places: Sequence[tuple[str, int]]) -> list[tuple[np.ndarray, tuple[Face, ...]]]:
    """Return the examined frame at each place (video_id, frame_index), and its detected faces, from `boxes/`.

    Frames are (H, W, 3) uint8 RGB. Each video is decoded once.
    """
    examined = {video_id: run.read_faces(video_id).frames for video_id in {video_id for video_id, _ in places}}
    faces = {(name, frame.frame_index): frame.faces for name, frames in examined.items() for frame in frames}
    return [(image, faces[place]) for image, place in zip(frames_of(run, places), places, strict=True)]


def read_crop(run: Run, video_id: str, frame_index: int, face_index: int) -> np.ndarray:
    """Return a stored crop, (H, W, 3) uint8 RGB; FileNotFoundError if there is none."""
    return run.read_image(run.crop_path(FaceKey(video_id, frame_index, face_index)))


def crops_at_margins(run: Run, keys: Sequence[FaceKey], margins: Sequence[float]) -> dict[str, list[np.ndarray]]:
    """Return the same faces cut with several margins: "margin 0.20" -> one (H, W, 3) uint8 RGB crop per key.

    `keys`: of stored faces; `margins`: fractions of the box's side.
    """
    frames = frames_with_faces(run, [(video_id, frame_index) for video_id, frame_index, _ in keys])
    shown = [(image, faces[key[2]].box) for (image, faces), key in zip(frames, keys, strict=True)]
    return {f"margin {margin:.2f}": [cut_face(image, box, margin) for image, box in shown] for margin in margins}


def mask_panel(run: Run, video_id: str, frame_index: int, face_index: int) -> tuple[np.ndarray, ...]:
    """Return an original and a fake crop (the same pixels), their SSIM map, (H, W) in -1..1, and the stored mask."""
    key = FaceKey(video_id, frame_index, face_index)
    original, fake = crop_pair(run, key)
    return original, fake, masks.ssim_map(original, fake), run.read_image(run.mask_path(key))


def strongest_and_weakest(table: pd.DataFrame, most: int) -> list[FaceKey]:
    """Return the keys of the `most` masks with the largest, then of the `most` with the smallest changed share.

    `table`: masks.csv, with the columns video_id, frame_index, face_index, changed_share.
    """
    rows = highest_and_lowest(table, "changed_share", most)[KEY_COLUMNS]
    return [FaceKey(str(video), int(frame), int(face)) for video, frame, face in rows.itertuples(index=False)]


def highest_and_lowest(table: pd.DataFrame, column: str, most: int) -> pd.DataFrame:
    """Return the rows with the `most` highest, then the `most` lowest values of a column, each in falling order.

    Either end has at most one row per video; a row at both ends appears once. `table` has one row per face: video_id,
    frame_index, face_index, and `column`.
    """
    ordered = table.sort_values(column, ascending=False)
    highest = ordered.drop_duplicates("video_id").head(most)
    lowest = ordered.drop_duplicates("video_id", keep="last").tail(most)
    return pd.concat([highest, lowest]).drop_duplicates(KEY_COLUMNS)


def example_crop(run: Run) -> FaceExample:
    """Return the fake crop with the largest changed share in masks.csv, or the run's first crop if there are no masks.

    Raises ValueError if the run has no crops.
    """
    table = run.read_table("crops.parquet").set_index(KEY_COLUMNS)
    if table.empty:
        raise ValueError(f"{run.root} has no crops: no face was found in its videos, see 01_detect_faces")
    strongest = strongest_and_weakest(run.read_table("masks.csv"), 1)[:1]
    key = strongest[0] if strongest else FaceKey(*table.index[0])
    crop = read_crop(run, *key)
    mask = run.read_image(run.mask_path(key)) if strongest else np.zeros(crop.shape[:2], np.uint8)
    is_fake = any(video.video_id == key.video_id and video.label == FAKE for video in run.read_videos())
    landmarks = table.loc[key, LANDMARK_COLUMNS].to_numpy(np.float32).reshape(5, 2)
    return FaceExample(crop, mask, landmarks, FAKE if is_fake else REAL)


def true_overlaps(run: Run) -> pd.DataFrame:
    """Return the overlap of the built-in sample's SSIM masks with its true masks; no rows for other videos.

    Columns: video_id, frame_index, face_index, iou (0-1); one row per mask of a forged face.
    """
    rows = []
    for video_id in run.read_table("masks.csv")["video_id"].unique():
        for crop in run.read_crops(video_id).crops:
            path = true_mask_path(run.root / "sample", video_id, crop.frame_index)
            if not path.exists():
                break
            truth = cut(run.read_image(path), crop.area)
            if not masks.changed_share(truth):  # a real face next to the forged one
                continue
            rows.append((*key_of(crop), masks.overlap(run.read_image(run.mask_path(key_of(crop))), truth)))
    return pd.DataFrame(rows, columns=[*KEY_COLUMNS, "iou"])


def _read(path: Path, wanted: set[int]) -> list[Frame]:
    """Return frames of a video; those that are lost with several threads are read with one, as the stages do."""
    frames = read_frames(path, wanted)
    lost = wanted - {frame.frame_index for frame in frames}
    return [*frames, *read_frames(path, lost, threads=1)] if lost else frames
