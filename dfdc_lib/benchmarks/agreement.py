"""Compare what the usual way and the kit have written. In: the run folders of both. Out: numbers by name."""

import json
from collections.abc import Iterator, Sequence

import numpy as np

from dfdc_lib.faces.tracks import iou
from dfdc_lib.records import FAKE, Box, FaceKey, VideoScores
from dfdc_lib.run_folder import Run

SAME_FACE = 0.9  # IoU of two boxes of one face
FACES, BOXES, MASKS = "share of faces that both find", "largest difference of a box (pixels)", "masks compared"
MASK_LEVELS, SCORED = "mean difference of the masks (of 255)", "share of scored faces that both find"
SCORES = "largest difference of a score"


def compare_preparation(usual: Run, kit: Run) -> dict[str, float]:
    """Compare boxes in the frames that the kit has examined, and masks of equal size.

    A face is found by both if its boxes have an IoU of more than `SAME_FACE`. Raises ValueError if neither way has
    found a face, or no mask of one has its counterpart.
    """
    shares, differences, videos = [], [], kit.read_videos()
    boxes = json.loads((usual.root / "boxes.json").read_bytes())
    for video in videos:
        if video.label == FAKE:
            continue
        for frame in kit.read_faces(video.video_id).frames:
            theirs, ours = boxes[video.video_id][str(frame.frame_index)], [face.box for face in frame.faces]
            matched = list(match(theirs, ours))
            shares.append((len(matched), max(len(theirs), len(ours))))
            differences += [np.abs(np.subtract(theirs[i], ours[k])).max() for i, k in matched]
    levels = []
    for video in videos:
        for mask in kit.read_masks(video.video_id).masks if video.label == FAKE else ():
            path = usual.mask_path(FaceKey(video.video_id, mask.frame_index, mask.face_index))
            ours_mask = kit.read_image(kit.mask_path(FaceKey(video.video_id, mask.frame_index, mask.face_index)))
            if path.exists() and (theirs_mask := usual.read_image(path)).shape == ours_mask.shape:
                levels.append(float(np.abs(ours_mask.astype(float) - theirs_mask).mean()))
    if not levels:
        raise ValueError(f"no mask in {kit.root} has a counterpart of its size in {usual.root}: choose other videos")
    agreed = {FACES: _share(shares), BOXES: round(float(max(differences)), 3)}
    return agreed | {MASKS: len(levels), MASK_LEVELS: round(float(np.mean(levels)), 3)}


def compare_scores(usual: Run, kit: Run, model: str) -> dict[str, float]:
    """Compare the scores of the faces that both ways find; `model`: the name under which the kit stores its scores.

    Raises ValueError if there is no such face.
    """
    shares, differences = [], []
    for video_id, rows in json.loads((usual.root / "scores.json").read_bytes()).items():
        faces = kit.read_record(kit.scores_record_path(model, video_id), VideoScores).faces
        for frame_index in {row[0] for row in rows} | {face.frame_index for face in faces}:
            theirs = [row for row in rows if row[0] == frame_index]
            ours = [face for face in faces if face.frame_index == frame_index]
            matched = list(match([row[1] for row in theirs], [face.box for face in ours]))
            shares.append((len(matched), max(len(theirs), len(ours))))
            differences += [abs(theirs[i][2] - ours[k].score) for i, k in matched]
    if not differences:
        raise ValueError(f"no face was scored both in {usual.root} and in {kit.root}: choose other videos")
    return {SCORED: _share(shares), SCORES: round(max(differences), 6)}


def match(theirs: Sequence[Sequence[float]], ours: Sequence[Box]) -> Iterator[tuple[int, int]]:
    """Yield the indices of boxes of one frame that show the same face: IoU > `SAME_FACE`, each box once."""
    free = set(range(len(ours)))
    for i, box in enumerate(theirs):
        x0, y0, x1, y1 = box
        k = max(free, key=lambda k: iou((x0, y0, x1, y1), ours[k]), default=None)
        if k is not None and iou((x0, y0, x1, y1), ours[k]) > SAME_FACE:
            free.discard(k)
            yield i, k


def _share(counts: Sequence[tuple[int, int]]) -> float:
    matched, found = np.sum(counts, axis=0)
    return round(float(matched / found), 4) if found else 0.0
