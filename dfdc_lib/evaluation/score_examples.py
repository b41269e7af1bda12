"""Scored faces for a notebook to show: run folder and a model's scores in; small tables, frames and faces out."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dfdc_lib.faces.crops import cut_face
from dfdc_lib.faces.examples import frames_of, highest_and_lowest
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


def scored_frames(
    run: Run, scores: pd.DataFrame, keys: Sequence[tuple[str, int, int]]
) -> list[tuple[np.ndarray, Box, float]]:
    """Return each face's whole frame, (H, W, 3) uint8 RGB, its box in the frame, and its score from `scores`.

    `scores`: a score table, as in `scores/<model>.parquet`; `keys`: the video_id, frame_index and face_index of some of
    its rows. Each video is decoded once.
    """
    candidates = scores[scores["video_id"].isin({video_id for video_id, *_ in keys})].set_index(KEY_COLUMNS)
    rows = candidates.loc[list(keys)].to_dict("records")
    images = frames_of(run, [(video_id, frame_index) for video_id, frame_index, _ in keys])
    return [(image, box_of(row), float(row["score"])) for image, row in zip(images, rows, strict=True)]


def scored_faces(run: Run, rows: pd.DataFrame) -> list[np.ndarray]:
    """Return the face of each row of a score table, cut without margin: (h, w, 3) uint8 RGB, of different sizes."""
    frames = scored_frames(run, rows, list(rows[KEY_COLUMNS].itertuples(index=False, name=None)))
    return [cut_face(image, box, 0) for image, box, _ in frames]


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
