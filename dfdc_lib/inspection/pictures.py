"""Write and read the pictures of one examined video: crops, whole frames, heat maps, masks.

Input: the video, its scored faces, its original, a model. Output: files in the run folder of the examination, and the
arrays that notebook 11 shows. The frames are stored because reading a long video again takes minutes.
"""

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.std import tqdm

from dfdc_lib.classifier.networks import Network
from dfdc_lib.classifier.preprocess import fit_to_square, from_square
from dfdc_lib.data import video
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.faces.alignment import align_videos, matching_patch
from dfdc_lib.faces.crops import crop_area, cut_face
from dfdc_lib.faces.masks import WINDOW, compare_crops
from dfdc_lib.inspection.verdict import looks_forged
from dfdc_lib.records import Box, FaceKey, Person, Recipe, box_of
from dfdc_lib.run_folder import Run

VIDEO_ID = "video"  # of the only video in the run folder of an examination
EVIDENCE_FRAMES = 4  # shown in full size
MASK_COLUMNS = ["frame_index", "time_seconds", "face_index", "track", "person", "score", "ssim", "changed_share"]


def frame_path(run: Run, frame_index: int) -> Path:
    """Return the path of a whole frame that shows a scored face, stored as a JPEG for display only."""
    return run.root / "frames" / f"{frame_index:05d}.jpg"


def image_path(run: Run, folder: str, key: FaceKey) -> Path:
    """Return the path of a crop's heat map (folder "heat", 255 = strongest) or of its original (folder "originals")."""
    return run.root / folder / f"{key.name}.png"


def evidence_rows(faces: pd.DataFrame, person: Person) -> pd.DataFrame:
    """Return up to four rows that best support the answer about a person, in order of time.

    The person's rows in `faces` are split into four equal parts by time. From each part the row with the highest score
    is returned if the person looks forged, else the one with the lowest. With fewer than four rows, all are returned.
    `faces`: rows of faces.csv (the table from `verdict.join_models`).
    """
    rows = faces[faces["track"] == person.track].sort_values("frame_index")
    scores = rows["score"].groupby(np.arange(len(rows)) * EVIDENCE_FRAMES // len(rows))
    return rows.loc[scores.idxmax() if looks_forged(person) else scores.idxmin()]


def write_crops(run: Run, path: Path, faces: pd.DataFrame, recipe: Recipe) -> None:
    """Write the crop of every face in `faces`, cut as the recipe says, and each frame of video `path` that has one.

    `faces`: rows of faces.csv (the table from `verdict.join_models`).
    """
    for frame, rows in _frames_with_faces(path, faces, faces["frame_index"], "crops"):
        for key, row in _keyed(rows):
            run.write_image(run.crop_path(key), cut_face(frame.image, box_of(row), recipe.margin, recipe.edges))
        run.write_image(frame_path(run, frame.frame_index), frame.image)


def write_heat_maps(run: Run, rows: pd.DataFrame, network: Network, recipe: Recipe) -> None:
    """Write a heat map for each face in `rows`: which pixels of its crop raised its score. The crops must exist.

    `rows`: those of faces.csv from `evidence_rows`.
    """
    crops = {key: run.read_image(run.crop_path(key)) for key, _ in _keyed(rows)}
    squares = np.stack([fit_to_square(crop, recipe) for crop in crops.values()])
    for (key, crop), heat in zip(crops.items(), network.heat_maps(squares), strict=True):
        gray = np.rint(255 * from_square(heat, *crop.shape[:2])).astype(np.uint8)
        run.write_image(image_path(run, "heat", key), gray)


def write_masks(run: Run, path: Path, original: Path, faces: pd.DataFrame, recipe: Recipe) -> pd.DataFrame:
    """Compare every scored face with the same pixels of the original; write the masks and the original's crops.

    `faces`: the table from `verdict.join_models` with a column `person`; `recipe`: that of the crops. The videos are
    first aligned as in stage 01. Return one row per compared face, with `MASK_COLUMNS`. Faces are left out if they are
    smaller than SSIM's window or outside the original, or if their frame corresponds to none of the original. Raise
    ValueError if no face is left, or the two videos do not fit.
    """
    info, alignment = video.read_info(path), align_videos(original, path)
    if alignment.problem:
        problem = f"{path.name} does not fit the original {original.name}: {alignment.problem}"
        raise ValueError(f"{problem}; check that it is the right video")
    counterparts = faces["frame_index"].map(alignment.original_frames())
    table = []
    for frame, rows in _frames_with_faces(original, faces, counterparts, "masks"):
        whole = (0, 0, frame.image.shape[1], frame.image.shape[0])
        for key, row in _keyed(rows):
            area = crop_area(box_of(row), recipe.margin, info.height, info.width, recipe.edges)
            if min(area[2] - area[0], area[3] - area[1]) < WINDOW:
                continue
            patch = matching_patch(frame.image, whole, area, alignment.transform)
            if not patch.size:
                continue
            comparison = compare_crops(patch, run.read_image(run.crop_path(key)))
            run.write_image(image_path(run, "originals", key), patch)
            run.write_image(run.mask_path(key), comparison.mask)
            table.append(row | {"ssim": comparison.ssim, "changed_share": comparison.changed_share})
    if not table:
        problem = f"the original {original.name} shows none of the examined frames of {path.name}"
        raise ValueError(f"{problem}: check that it is the right video")
    return pd.DataFrame(table)[MASK_COLUMNS]


def thumbnails(run: Run, faces: pd.DataFrame, most: int) -> dict[int, list[np.ndarray]]:
    """Return at most `most` stored crops per person, evenly spaced in time: track -> (H, W, 3) uint8 RGB images.

    `faces`: rows of faces.csv (the table from `verdict.join_models`).
    """
    chosen: dict[int, list[np.ndarray]] = {}
    for track in faces["track"].unique():
        rows = faces[faces["track"] == track].sort_values("frame_index")
        shown = rows.iloc[evenly_spaced(len(rows), most)]
        chosen[int(track)] = [run.read_image(run.crop_path(key)) for key, _ in _keyed(shown)]
    return chosen


def evidence(run: Run, rows: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Read the frame (H, W, 3) uint8, crop (h, w, 3) uint8 and heat map (h, w) 0-1 of each face in `rows`.

    `rows`: those of faces.csv from `evidence_rows`.
    """
    keys = [key for key, _ in _keyed(rows)]
    paths = [(frame_path(run, key.frame_index), run.crop_path(key), image_path(run, "heat", key)) for key in keys]
    return [(run.read_image(frame), run.read_image(crop), run.read_image(heat) / 255) for frame, crop, heat in paths]


def scored_face(run: Run, faces: pd.DataFrame, frame_index: int, face_index: int) -> tuple[np.ndarray, Box, float]:
    """Return a whole frame, (H, W, 3) uint8 RGB, and the box and the score of one of its faces.

    `faces`: rows of faces.csv (the table from `verdict.join_models`).
    """
    row = faces[(faces["frame_index"] == frame_index) & (faces["face_index"] == face_index)].iloc[0].to_dict()
    return run.read_image(frame_path(run, frame_index)), box_of(row), float(row["score"])


def strongest_masks(run: Run, masks: pd.DataFrame, most: int) -> dict[str, tuple[np.ndarray, ...]]:
    """Return the pictures of the `most` faces with the largest share of changed pixels, largest first.

    `masks` is the table from `write_masks`. Returns label -> (original's crop, crop, SSIM map, mask).
    """
    rows = masks.sort_values("changed_share", ascending=False, kind="stable").head(most)
    panels: dict[str, tuple[np.ndarray, ...]] = {}
    for key, row in _keyed(rows):
        original, crop = run.read_image(image_path(run, "originals", key)), run.read_image(run.crop_path(key))
        comparison = compare_crops(original, crop)
        where = f"frame {key.frame_index}\n{row['time_seconds']:.2f} s\nperson {row['person']}"
        panels[f"{where}\nchanged {row['changed_share']:.0%}"] = (original, crop, comparison.ssim_map, comparison.mask)
    return panels


def _frames_with_faces(
    path: Path, faces: pd.DataFrame, frames: pd.Series, title: str
) -> Iterator[tuple[video.Frame, pd.DataFrame]]:
    """Yield every frame that shows a face, with the rows of its faces; the progress bar counts frames.

    `frames` has the frame_index of every row in the video `path`; NaN = none.
    """
    rows = dict(list(faces.groupby(frames)))
    progress = tqdm(total=len(rows), desc=title, unit="frame", mininterval=0.5)
    with video.VideoReader(path) as reader, progress:
        for frame in reader.frames_at(rows):
            yield frame, rows[frame.frame_index]
            progress.update()


def _keyed(rows: pd.DataFrame) -> list[tuple[FaceKey, dict[Hashable, Any]]]:
    return [(FaceKey(VIDEO_ID, row["frame_index"], row["face_index"]), row) for row in rows.to_dict("records")]
