"""Scored faces for a notebook to show: run folder and a model's scores in; small tables, frames and faces out."""

import numpy as np
import pandas as pd

from dfdc_lib.data.video import read_frames
from dfdc_lib.faces.crops import cut_face
from dfdc_lib.faces.examples import highest_and_lowest
from dfdc_lib.records import FAKE, KEY_COLUMNS, REAL, Box, box_of
from dfdc_lib.run_folder import Run


def labelled_scores(run: Run, model: str) -> pd.DataFrame:
    """Return the rows of a model's `scores/<model>.parquet`, plus `label`: 0 or 1, NaN if it is unknown."""
    labels = {video.video_id: video.label for video in run.read_videos()}
    scores = run.read_table(f"scores/{model}.parquet")
    return scores.assign(label=scores["video_id"].map(labels))


def extreme_faces(scores: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the rows with the `most` highest, then the `most` lowest scores, of different videos, plus a `caption`.

    `scores`: the table from `labelled_scores`.
    """
    rows = highest_and_lowest(scores, "score", most)
    names = rows["label"].map({REAL: "real", FAKE: "fake"}).fillna("unknown")
    values = zip(rows["video_id"], rows["frame_index"], rows["score"], names, strict=True)
    return rows.assign(caption=[f"{video}\nframe {frame}\n{score:.2f}, {name}" for video, frame, score, name in values])


def scored_face(
    run: Run, scores: pd.DataFrame, video_id: str, frame_index: int, face_index: int
) -> tuple[np.ndarray, Box, float]:
    """Return one face's whole frame, (H, W, 3) uint8 RGB, its box in the frame, and its score from `scores`.

    `scores`: a score table, as in `scores/<model>.parquet`, with a row for this face.
    """
    path = next(video.path for video in run.read_videos() if video.video_id == video_id)
    row = scores[(scores[KEY_COLUMNS] == [video_id, frame_index, face_index]).all(axis=1)].iloc[0].to_dict()
    return read_frames(path, {frame_index})[0].image, box_of(row), float(row["score"])


def scored_faces(run: Run, rows: pd.DataFrame) -> list[np.ndarray]:
    """Return the face of each row of a score table, cut without margin: (h, w, 3) uint8 RGB, of different sizes."""
    faces = [scored_face(run, rows, *key) for key in rows[KEY_COLUMNS].itertuples(index=False)]
    return [cut_face(image, box, 0) for image, box, _ in faces]


def furthest_from_truth(scores: pd.DataFrame, video_scores: pd.Series) -> pd.DataFrame:
    """Return the labelled videos, sorted by the distance of their video score from the label, the furthest first.

    `scores`: from `labelled_scores`; `video_scores`: video_id -> video score, 0-1. Columns of the result: label, frames
    (their number), video score, off by (the distance).
    """
    videos = scores.dropna(subset=["label"]).groupby("video_id")
    table = videos.agg(label=("label", "first"), frames=("frame_index", "nunique"))
    table = table.join(video_scores.rename("video score"))
    table["off by"] = (table["video score"] - table["label"]).abs()
    return table.sort_values("off by", ascending=False)
