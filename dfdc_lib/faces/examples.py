"""Examples of a run for a notebook to show: the run folder in, arrays and small tables out.

What `plot` and `viewers` draw comes from here, so that they need not know where anything lies.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dfdc_lib.data import video
from dfdc_lib.data.sample import true_mask_path
from dfdc_lib.faces import crops, masks
from dfdc_lib.faces.jobs import crop_pair
from dfdc_lib.records import FAKE, REAL, Box, Face, FaceKey, Video, box_of
from dfdc_lib.run_folder import LANDMARK_COLUMNS, Run

TRUTH_LEVEL = 128  # a pixel of the true mask counts as forged where at least half of it is
MaskPanel = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # original, fake, SSIM map, mask


def evenly(items: Sequence, most: int) -> list:
    """Draw at most `most` items, evenly from the first to the last.

    >>> evenly("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, most - 1))] for i in range(most)]


def first_frames(videos: Sequence[Video]) -> list[np.ndarray]:
    """Read the first frame of each video, (H, W, 3) uint8 RGB; of a damaged one the first that is sound."""
    images = []
    for item in videos:
        with video.VideoReader(item.path) as reader:
            images.append(next(reader.frames()).image)
    return images


def frame_with_faces(run: Run, video_id: str, frame_index: int) -> tuple[np.ndarray, tuple[Face, ...]]:
    """Read a frame, (H, W, 3) uint8 RGB, and the faces that were found in it."""
    path = next(item.path for item in run.read_videos() if item.video_id == video_id)
    faces = next(frame.faces for frame in run.read_faces(video_id).frames if frame.frame_index == frame_index)
    return video.read_frames(path, {frame_index})[0].image, faces


def read_crop(run: Run, video_id: str, frame_index: int, face_index: int) -> np.ndarray:
    """Read a crop, (H, W, 3) uint8 RGB."""
    return run.read_image(run.crop_path(FaceKey(video_id, frame_index, face_index)))


def crops_at_margins(
    run: Run, places: Sequence[tuple[str, int, int]], margins: Sequence[float]
) -> dict[str, list[np.ndarray]]:
    """Cut the same faces with several margins.

    Args:
        run: the run folder.
        places: video_id, frame_index and face_index of faces that were searched for in that video.
        margins: fractions of the box's side.
    Returns:
        "margin 0.20" → one crop per place.
    """
    rows: dict[str, list[np.ndarray]] = {f"margin {margin:.2f}": [] for margin in margins}
    for video_id, frame_index, face_index in places:
        image, faces = frame_with_faces(run, video_id, frame_index)
        for margin, row in zip(margins, rows.values(), strict=True):
            row.append(crops.cut(image, crops.crop_area(faces[face_index].box, margin, *image.shape[:2])))
    return rows


def mask_panel(run: Run, video_id: str, frame_index: int, face_index: int) -> MaskPanel:
    """Read a fake's crop, the same pixels of its original, their SSIM map and the stored mask."""
    original, fake = crop_pair(run, video_id, frame_index, face_index)
    return (
        original,
        fake,
        masks.ssim_map(original, fake),
        run.read_image(run.mask_path(FaceKey(video_id, frame_index, face_index))),
    )


def strongest_and_weakest(table: pd.DataFrame, most: int) -> list[tuple[str, int, int]]:
    """Choose the masks that change most and least, one of each video.

    Args:
        table: rows of masks.csv.
        most: how many of either kind.
    Returns:
        video_id, frame_index and face_index: the strongest first, the weakest last.
    """
    ordered = table.sort_values("changed_share", ascending=False)
    strongest = ordered.drop_duplicates("video_id").head(most)
    weakest = ordered.drop_duplicates("video_id", keep="last").tail(most)
    rows = pd.concat([strongest, weakest]).drop_duplicates()
    return [
        (str(v), int(frame), int(face))
        for v, frame, face in rows[["video_id", "frame_index", "face_index"]].itertuples(index=False)
    ]


def example_crop(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read one crop to try things on: of the fake that differs most from its original or, where there are no masks, the first crop.

    Returns:
        Crop (H, W, 3) uint8 RGB, SSIM mask (H, W) uint8 (all 0 where there is none), landmarks (5, 2) float32 x, y in crop pixels.
    Raises:
        ValueError: if the run has no crops.
    """
    table = run.read_table("crops.parquet")
    if table.empty:
        raise ValueError(f"{run.root} holds no crops: no face was found in its videos, look into 01_detect_faces")
    strongest = strongest_and_weakest(run.read_table("masks.csv"), 1)[:1]
    place = strongest[0] if strongest else tuple(table.loc[0, ["video_id", "frame_index", "face_index"]])
    row = table.set_index(["video_id", "frame_index", "face_index"]).loc[place]
    crop = read_crop(run, *place)
    mask = run.read_image(run.mask_path(FaceKey(*place))) if strongest else np.zeros(crop.shape[:2], np.uint8)
    return crop, mask, row[LANDMARK_COLUMNS].to_numpy(np.float32).reshape(5, 2)


def true_overlaps(run: Run) -> pd.DataFrame:
    """Score the sample's SSIM masks against its true masks.

    Returns:
        One row a mask: video_id, frame_index, face_index, iou (0–1); no row where the data are not the built-in sample.
    """
    rows = []
    for video_id in dict.fromkeys(run.read_table("masks.csv")["video_id"]):
        for crop in run.read_crops(video_id).crops:
            path = true_mask_path(run.root / "sample", video_id, crop.frame_index)
            if not path.exists():
                break
            truth = crops.cut(run.read_image(path), crop.area)
            if (truth < TRUTH_LEVEL).all():  # a real face of a video in which another one is forged
                continue
            mask = run.read_image(run.mask_path(FaceKey(video_id, crop.frame_index, crop.face_index)))
            rows.append((video_id, crop.frame_index, crop.face_index, masks.overlap(mask, truth)))
    return pd.DataFrame(rows, columns=["video_id", "frame_index", "face_index", "iou"])


def labelled_scores(run: Run, model: str) -> pd.DataFrame:
    """Read a model's scores with the labels of the videos (missing where nothing is known)."""
    labels = {item.video_id: item.label for item in run.read_videos()}
    scores = run.read_table(f"scores/{model}.parquet")
    return scores.assign(label=scores["video_id"].map(labels))


def extreme_faces(scores: pd.DataFrame, most: int) -> pd.DataFrame:
    """Choose the faces with the highest and the lowest scores, one of each video.

    Returns:
        Rows of `scores`, the highest first, with `caption`: video, frame, score and what it is.
    """
    ordered = scores.sort_values("score", ascending=False)
    highest = ordered.drop_duplicates("video_id").head(most)
    lowest = ordered.drop_duplicates("video_id", keep="last").tail(most)
    rows = pd.concat([highest, lowest]).drop_duplicates(["video_id", "frame_index", "face_index"])
    names = rows["label"].map({REAL: "real", FAKE: "fake"}).fillna("unknown")
    lines = zip(rows["video_id"], rows["frame_index"], rows["score"], names, strict=True)
    captions = [f"{video_id}\nframe {frame}\n{score:.2f}, {name}" for video_id, frame, score, name in lines]
    return rows.assign(caption=captions)


def scored_faces(run: Run, rows: pd.DataFrame) -> list[np.ndarray]:
    """Cut scored faces out of their videos, (H, W, 3) uint8 RGB each, without a margin."""
    paths = {item.video_id: item.path for item in run.read_videos()}
    images = []
    for row in rows.to_dict("records"):
        image = video.read_frames(paths[row["video_id"]], {row["frame_index"]})[0].image
        images.append(crops.cut(image, crops.crop_area(box_of(row), 0, *image.shape[:2])))
    return images


def scored_face(
    run: Run, scores: pd.DataFrame, video_id: str, frame_index: int, face_index: int
) -> tuple[np.ndarray, Box, float]:
    """Read a frame, (H, W, 3) uint8 RGB, and the box and score of one of its faces."""
    path = next(item.path for item in run.read_videos() if item.video_id == video_id)
    place = (
        (scores["video_id"] == video_id) & (scores["frame_index"] == frame_index) & (scores["face_index"] == face_index)
    )
    row = scores[place].iloc[0].to_dict()
    return video.read_frames(path, {frame_index})[0].image, box_of(row), float(row["score"])


def furthest_from_truth(scores: pd.DataFrame, video_scores: pd.Series) -> pd.DataFrame:
    """List the labelled videos by how far their video score is from the truth, the furthest first.

    Args:
        scores: of `labelled_scores`.
        video_scores: by video_id.
    Returns:
        Index: video_id; columns: label, frames, video score, off by.
    """
    labelled = scores.dropna(subset=["label"])
    table = (
        labelled.groupby("video_id")
        .agg(label=("label", "first"), frames=("frame_index", "nunique"))
        .join(video_scores.rename("video score"))
    )
    table["off by"] = (table["video score"] - table["label"]).abs()
    return table.sort_values("off by", ascending=False)
