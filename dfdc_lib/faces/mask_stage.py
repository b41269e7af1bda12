"""Stage 03: compare fake crops with their originals'. In: crops/. Out: masks/<video_id>/*.png, masks.csv."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from dfdc_lib.executors import choose_executor
from dfdc_lib.faces.alignment import matching_patch
from dfdc_lib.faces.crops import key_of
from dfdc_lib.faces.masks import WINDOW, compare_crops
from dfdc_lib.records import FAKE, Crop, FaceKey, Mask, Outcome, Transform, Video, VideoCrops, VideoMasks
from dfdc_lib.run_folder import Run
from dfdc_lib.staleness import code_fingerprint, fingerprint
from dfdc_lib.workers import Job, done_batches, result_outcome, run_jobs


def make_masks(run: Run, workers: int = 0, executor: str = "processes") -> list[Outcome]:
    """Compare every fake crop with the same part of its original; write masks/ and masks.csv.

    `workers` is the number of processes, 0 = one per core; `executor`: see `executors.choose_task_runner`. Returns one
    outcome per video: "not needed" for videos that are not fakes, "nothing" for fakes that cannot be compared with an
    original.
    """
    cropped = run.read_outcomes("02_crop_faces")
    code = code_fingerprint("dfdc_lib.faces.mask_stage")
    jobs, decided = [], []
    for video in run.read_videos():
        reason = _no_mask(run, video, cropped)
        if reason:
            decided.append(reason)
            continue
        assert video.original_id is not None
        name = video.video_id
        expected = fingerprint(code, cropped[name].fingerprint, cropped[video.original_id].fingerprint)
        make = partial(_make_masks, run, name, video.original_id, expected)
        jobs.append(Job(name, {run.masks_record_path(name): expected}, VideoMasks, make, _masks_outcome))
    jobs.sort(key=lambda job: -cropped[job.video_id].count)  # so that all processes end at about the same time
    outcomes = run_jobs(run, "03_ssim_masks", jobs, decided, choose_executor(run, executor, workers))
    write_mask_table(run, outcomes)
    return outcomes


def write_mask_table(run: Run, outcomes: Sequence[Outcome]) -> None:
    """Write masks.csv: a row for every mask of the videos that have masks."""
    run.write_table_in_parts("masks.csv", (_mask_rows(run, names) for names in done_batches(outcomes)))


def _mask_rows(run: Run, video_ids: Sequence[str]) -> pd.DataFrame:
    rows = [(name, *mask.model_dump().values()) for name in video_ids for mask in run.read_masks(name).masks]
    return pd.DataFrame(rows, columns=["video_id", *Mask.model_fields])


def crop_pair(run: Run, key: FaceKey) -> tuple[np.ndarray, np.ndarray]:
    """Return the crop of a fake's face and the same part of its original, as (original, fake), (H, W, 3) uint8 RGB.

    Both have the same shape, with one exception: `original` is empty, (0, 0, 3), if the original's stored crop covers
    too little of the fake's. Raises KeyError if the fake has no crop with this key or the original has no counterpart.
    """
    fakes = run.read_crops(key.video_id)
    fake = _by_place(fakes)[key[1:]]
    original = _by_place(run.read_crops(fakes.boxes_from))[fake.boxes_frame_index, fake.face_index]
    return _read_pair(run, fake, original, fakes.alignment.transform)


def _no_mask(run: Run, video: Video, cropped: Mapping[str, Outcome]) -> Outcome | None:
    """Return the outcome of a video that gets no masks; None if it can be compared with its original."""
    name, original_id = video.video_id, video.original_id
    if video.label != FAKE:
        return Outcome(video_id=name, status="not needed", note="only fakes have masks")
    if cropped[name].status in ("failed", "failed before"):
        return Outcome(video_id=name, status="failed before", note="no crops, see 02_crop_faces")
    if cropped[name].status == "nothing":
        return Outcome(video_id=name, status="nothing", note="it has no crops")
    crops = run.read_crops(name)
    if crops.alignment.problem:
        note = f"it does not fit its original {original_id}: {crops.alignment.problem}"
        return Outcome(video_id=name, status="nothing", note=note)
    if original_id is None or crops.boxes_from != original_id:
        return Outcome(video_id=name, status="nothing", note="no original to compare with frame by frame")
    if cropped[original_id].status != "done":
        return Outcome(video_id=name, status="failed before", note=f"its original {original_id} has no crops")
    return None


def _make_masks(run: Run, video_id: str, original_id: str, expected: str) -> VideoMasks:
    shutil.rmtree(run.masks_record_path(video_id).parent, ignore_errors=True)
    fakes, originals = run.read_crops(video_id), _by_place(run.read_crops(original_id))
    made, pixels = [], hashlib.sha256()
    for fake in fakes.crops:
        original = originals.get((fake.boxes_frame_index, fake.face_index))
        if original is None or min(fake.area[2] - fake.area[0], fake.area[3] - fake.area[1]) < WINDOW:
            continue
        original_crop, fake_crop = _read_pair(run, fake, original, fakes.alignment.transform)
        if not original_crop.size:  # the original does not show this place
            continue
        _, mask, ssim, changed_share = compare_crops(original_crop, fake_crop)
        run.write_image(run.mask_path(key_of(fake)), mask)
        pixels.update(mask.tobytes())
        place = {"frame_index": fake.frame_index, "face_index": fake.face_index}
        made.append(Mask(**place, ssim=ssim, changed_share=changed_share))
    record = VideoMasks(
        video_id=video_id,
        original_id=original_id,
        masks=tuple(made),
        pixels=pixels.hexdigest()[:16],
        crops_left_out=len(fakes.crops) - len(made),
        fingerprint=expected,
    )
    run.write_record(run.masks_record_path(video_id), record)
    return record


def _masks_outcome(record: VideoMasks) -> Outcome:
    reason = f"the original lacks the face's frame or place, or the crop is smaller than {WINDOW} pixels"
    notes = [f"{record.crops_left_out} crops without a mask: {reason}"] if record.crops_left_out else []
    return result_outcome(record, len(record.masks), notes)


def _by_place(record: VideoCrops) -> dict[tuple[int, int], Crop]:
    return {(crop.frame_index, crop.face_index): crop for crop in record.crops}


def _read_pair(run: Run, fake: Crop, original: Crop, transform: Transform) -> tuple[np.ndarray, np.ndarray]:
    original_crop, fake_crop = (run.read_image(run.crop_path(key_of(crop))) for crop in (original, fake))
    return matching_patch(original_crop, original.area, fake.area, transform), fake_crop
