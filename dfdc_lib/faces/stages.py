"""The stages: what the one call of each notebook computes, for all videos of a run.

A stage reads the run folder, gives every video a job (see `jobs`) or says why it needs none, runs them on a pool of processes and gathers
what they wrote. Every video of the run has one line in the stage's status file, so the counts add up.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

import dfdc_lib
from dfdc_lib.data import folds, sample
from dfdc_lib.data.datasets import list_videos
from dfdc_lib.faces import crops, jobs
from dfdc_lib.records import BOX_COLUMNS, FAKE, DetectorSettings, Mask, Outcome, Video, VideoHashes, VideoInfo
from dfdc_lib.run_folder import LANDMARK_COLUMNS, Run, project_path
from dfdc_lib.staleness import file_fingerprint, fingerprint
from dfdc_lib.workers import Job, run_jobs

FPS_TOLERANCE = 0.01  # a fake's frames belong to its original's where the rates differ by less than this share
CROP_COLUMNS = [
    *("video_id", "frame_index", "face_index", "time_seconds", "confidence"),
    *BOX_COLUMNS,  # the face, in pixels of the frame
    *("area_x0", "area_y0", "area_x1", "area_y1"),  # what was cut, in pixels of the frame
    *LANDMARK_COLUMNS,  # in pixels of the crop
]


def find_videos(run: Run, data: str, kind: str = "auto", seed: int = 0, workers: int = 0) -> list[Outcome]:
    """List the videos of a data set and read their headers: writes videos.csv.

    Args:
        run: the run folder.
        data: folder of the data set; "" makes the built-in sample inside the run folder.
        kind: "auto", "dfdc", "ffpp", "celebdf" or "folder".
        seed: of the sample.
        workers: processes; 0 = one per core.
    Returns:
        One outcome per video; an unreadable file has failed.
    Raises:
        ValueError, FileNotFoundError: if the data set is not as its kind says.
    """
    root = project_path(data) if data else sample.make_sample(run.root / "sample", seed=seed, workers=workers)
    videos = list_videos(root, kind)
    work = []
    for item in videos:
        mark = _mark(item)
        path = run.info_path(item.video_id)
        make, read = partial(jobs.make_info, run, item, mark), partial(run.read_record, path, VideoInfo)
        work.append(Job(item.video_id, mark, path, make, read, partial(jobs.info_outcome, item.video_id)))
    outcomes = run_jobs(run, "00_videos", work, workers=workers)
    run.write_videos(
        videos, {video_id: run.read_record(run.info_path(video_id), VideoInfo) for video_id in _done(outcomes)}
    )
    return outcomes


def detect_faces(run: Run, settings: DetectorSettings, device: str = "auto", workers: int = 0) -> list[Outcome]:
    """Find the faces of every original, and of every fake that cannot use its original's boxes: writes boxes/.

    Args:
        run: the run folder, with videos.csv.
        settings: thresholds, smallest face, frame stride.
        device: "auto", "cpu" or "cuda".
        workers: processes; 0 = one per core.
    Returns:
        One outcome per video; "nothing" = no face.
    """
    infos, work, decided = run.read_infos(), [], []
    for item in run.read_videos():
        if item.video_id not in infos:
            decided.append(Outcome(video_id=item.video_id, status="failed before", note="unreadable, see 00_videos"))
            continue
        source, searched_because = boxes_source(item, infos)
        if source != item.video_id:
            decided.append(Outcome(video_id=item.video_id, status="not needed", note=f"uses the boxes of {source}"))
            continue
        mark = _mark(item, settings)
        make, read = partial(jobs.make_boxes, run, item, settings, device, mark), partial(run.read_faces, item.video_id)
        outcome = partial(jobs.boxes_outcome, searched_because)
        work.append(Job(item.video_id, mark, run.boxes_path(item.video_id), make, read, outcome))
    return run_jobs(run, "01_detect_faces", work, decided, workers)


def boxes_source(item: Video, infos: Mapping[str, VideoInfo]) -> tuple[str, str]:
    """Say whose boxes a video is cut with: a fake's are its original's, where their frames correspond.

    Args:
        item: a readable video.
        infos: of all readable videos, by video_id.
    Returns:
        The video_id to take the boxes of; for a fake that is searched itself also why, else "".
    """
    if item.original_id is None:
        return item.video_id, "its original is not in the data" if item.label == FAKE else ""
    if item.original_id not in infos:
        return item.video_id, f"its original {item.original_id} is unreadable"
    original, own = infos[item.original_id], infos[item.video_id]
    if abs(own.fps - original.fps) > FPS_TOLERANCE * original.fps:
        return item.video_id, f"it has {own.fps} frames per second, its original {original.fps}"
    if (own.height > own.width) != (original.height > original.width):
        return item.video_id, f"it is {own.width}x{own.height}, its original {original.width}x{original.height}"
    return item.original_id, ""


def crop_faces(run: Run, margin: float = crops.DEFAULT_MARGIN, workers: int = 0) -> list[Outcome]:
    """Cut every face out of every examined frame: writes crops/ and crops.parquet.

    Args:
        run: the run folder, with boxes/.
        margin: fraction of the box's side added on each side.
        workers: processes; 0 = one per core.
    Returns:
        One outcome per video.
    """
    infos, videos = run.read_infos(), run.read_videos()
    by_id = {item.video_id: item for item in videos}
    searched = _outcomes_of(run, "01_detect_faces")
    work, decided = [], []
    for item in videos:
        source = by_id[boxes_source(item, infos)[0]] if item.video_id in infos else item
        if searched[source.video_id].status in ("failed", "failed before"):
            decided.append(
                Outcome(
                    video_id=item.video_id, status="failed before", note=f"no boxes: {searched[source.video_id].note}"
                )
            )
            continue
        mark = _mark(item, searched[source.video_id].fingerprint, margin)
        make, read = partial(jobs.make_crops, run, item, source, margin, mark), partial(run.read_crops, item.video_id)
        work.append(Job(item.video_id, mark, run.crops_record_path(item.video_id), make, read, jobs.crops_outcome))
    outcomes = run_jobs(run, "02_crop_faces", work, decided, workers)
    run.write_table("crops.parquet", _crop_table(run, _done(outcomes)))
    return outcomes


def make_masks(run: Run, workers: int = 0) -> list[Outcome]:
    """Compare every fake crop with its original's: writes masks/ and masks.csv.

    Args:
        run: the run folder, with crops/.
        workers: processes; 0 = one per core.
    Returns:
        One outcome per video; "nothing" = a fake that cannot be compared frame by frame.
    """
    cropped = _outcomes_of(run, "02_crop_faces")
    work, decided = [], []
    for item in run.read_videos():
        own, original_id = cropped[item.video_id], item.original_id
        if item.label != FAKE:
            decided.append(Outcome(video_id=item.video_id, status="not needed", note="only a fake has a mask"))
        elif own.status in ("failed", "failed before"):
            decided.append(Outcome(video_id=item.video_id, status="failed before", note="no crops, see 02_crop_faces"))
        elif own.status == "nothing":
            decided.append(Outcome(video_id=item.video_id, status="nothing", note="it has no crops"))
        elif original_id is None or run.read_crops(item.video_id).boxes_from != original_id:
            decided.append(
                Outcome(video_id=item.video_id, status="nothing", note="no original to compare with frame by frame")
            )
        elif cropped[original_id].status != "done":
            decided.append(
                Outcome(video_id=item.video_id, status="failed before", note=f"its original {original_id} has no crops")
            )
        else:
            mark = fingerprint(dfdc_lib.__version__, own.fingerprint, cropped[original_id].fingerprint)
            make, read = (
                partial(jobs.make_masks, run, item.video_id, original_id, mark),
                partial(run.read_masks, item.video_id),
            )
            work.append(Job(item.video_id, mark, run.masks_record_path(item.video_id), make, read, jobs.masks_outcome))
    outcomes = run_jobs(run, "03_ssim_masks", work, decided, workers)
    run.write_table("masks.csv", _mask_table(run, _done(outcomes)))
    return outcomes


def make_folds(run: Run, scheme: str, fold_count: int, seed: int = 0, workers: int = 0) -> list[folds.Leak]:
    """Give every video a fold and look for leaks between the folds: writes folds.csv and leaks.csv.

    Args:
        run: the run folder, with videos.csv.
        scheme: "leak-free" (by identity) or "winner" (DFDC's parts, 16 folds).
        fold_count: of the leak-free scheme.
        seed: of the leak-free scheme.
        workers: processes; 0 = one per core.
    Returns:
        The leaks, [] where there are none.
    Raises:
        ValueError: for an unknown scheme, more folds than there are groups, or no video with a label.
    """
    videos = run.read_videos()
    if all(video.label is None for video in videos):
        raise ValueError(
            f"none of the {len(videos)} videos is known to be real or fake, and folds, training and what follows need labels: "
            "stop at their faces with `dfdc run --to 02`, or score them with `dfdc predict`"
        )
    if scheme == "winner":
        assigned = folds.winner_folds(videos)
    elif scheme == "leak-free":
        assigned = folds.leak_free_folds(videos, fold_count, seed)
    else:
        raise ValueError(f'SCHEME must be "leak-free" or "winner", got "{scheme}"')
    groups = folds.identity_groups(videos)
    leaks = folds.audit(videos, assigned, _hash_videos(run, videos, workers))
    rows = [(v.video_id, assigned[v.video_id], groups[v.video_id], v.label, v.method) for v in videos]
    table = pd.DataFrame(rows, columns=["video_id", "fold", "group", "label", "method"])
    run.write_table("folds.csv", table.astype({"label": "Int64"}))
    leak_rows = [(leak.kind, *leak.folds, *leak.videos, leak.detail) for leak in leaks]
    run.write_table(
        "leaks.csv", pd.DataFrame(leak_rows, columns=["kind", "fold_a", "fold_b", "video_a", "video_b", "detail"])
    )
    return leaks


def _hash_videos(run: Run, videos: Sequence[Video], workers: int) -> dict[str, tuple[int, ...]]:
    """Hash the videos that are not fakes (a fake looks like its original)."""
    infos, work, decided = run.read_infos(), [], []
    for item in videos:
        if item.label == FAKE:
            decided.append(Outcome(video_id=item.video_id, status="not needed", note="a fake looks like its original"))
        elif item.video_id not in infos:
            decided.append(Outcome(video_id=item.video_id, status="failed before", note="unreadable, see 00_videos"))
        else:
            mark, path = _mark(item), run.hash_path(item.video_id)
            make, read = partial(jobs.make_hashes, run, item, mark), partial(run.read_record, path, VideoHashes)
            work.append(Job(item.video_id, mark, path, make, read, jobs.hashes_outcome))
    outcomes = run_jobs(run, "04_folds", work, decided, workers)
    return {video_id: run.read_record(run.hash_path(video_id), VideoHashes).hashes for video_id in _done(outcomes)}


def count_outcomes(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Count the videos by what became of them, and what was made; the last row adds up.

    Returns:
        Index: status; columns: videos, made.
    """
    table = (
        pd.DataFrame([(o.status, 1, o.count) for o in outcomes], columns=["status", "videos", "made"])
        .groupby("status")
        .sum()
    )
    table.loc["all"] = table.sum()
    return table


def _mark(item: Video, *parts: object) -> str:
    """Fingerprint what a video's result depends on: this version, the file, and `parts`."""
    try:
        content = file_fingerprint(item.path)
    except OSError as error:  # the file has gone: its job will fail with the reason, the other videos go on
        content = str(error)
    return fingerprint(dfdc_lib.__version__, content, *parts)


def _done(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.video_id for outcome in outcomes if outcome.status == "done"]


def _outcomes_of(run: Run, stage: str) -> dict[str, Outcome]:
    """Read what an earlier stage did; it must have run."""
    outcomes = {outcome.video_id: outcome for outcome in run.read_status(stage)}
    missing = [item.video_id for item in run.read_videos() if item.video_id not in outcomes]
    if missing:
        number = stage[:2]
        remedy = f"run notebook {number} first, or `dfdc run --to {number}` with the same run folder"
        raise FileNotFoundError(f"{len(missing)} videos ({missing[0]}, …) have not been through {stage}: {remedy}")
    return outcomes


def _crop_table(run: Run, video_ids: Sequence[str]) -> pd.DataFrame:
    """Gather the crops of all videos, one row each, boxes and landmarks as plain columns."""
    values = [
        (c.video_id, c.frame_index, c.face_index, c.time_seconds, c.confidence, *c.box, *c.area, *np.ravel(c.landmarks))
        for video_id in video_ids
        for c in run.read_crops(video_id).crops
    ]
    return pd.DataFrame(values, columns=CROP_COLUMNS)


def _mask_table(run: Run, video_ids: Sequence[str]) -> pd.DataFrame:
    rows = [
        {"video_id": video_id} | mask.model_dump() for video_id in video_ids for mask in run.read_masks(video_id).masks
    ]
    return pd.DataFrame(rows, columns=["video_id", *Mask.model_fields])
