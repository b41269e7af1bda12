"""Stage 02: cut faces out of frames. In: boxes/ and the videos. Out: crops/<video_id>/*.png, crops.parquet."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from dfdc_lib.data.video import Frame, VideoReader
from dfdc_lib.faces import crops
from dfdc_lib.faces.alignment import Alignment, align_box, align_landmarks, align_videos
from dfdc_lib.faces.box_source import boxes_source
from dfdc_lib.records import BOX_COLUMNS, KEY_COLUMNS, Crop, Face, FaceKey, Outcome, Video, VideoCrops
from dfdc_lib.run_folder import LANDMARK_COLUMNS, Run
from dfdc_lib.staleness import code_fingerprint, fingerprint, input_fingerprint
from dfdc_lib.workers import Job, done_videos, in_processes, result_outcome, run_jobs

AREA_COLUMNS = ["area_x0", "area_y0", "area_x1", "area_y1"]  # of the crop, like the box in pixels of the frame
CROP_COLUMNS = [*KEY_COLUMNS, "time_seconds", "confidence", *BOX_COLUMNS, *AREA_COLUMNS, *LANDMARK_COLUMNS]


def crop_faces(run: Run, margin: float = crops.DEFAULT_MARGIN, workers: int = 0) -> list[Outcome]:
    """Cut every face out of every examined frame, in `workers` processes (0 = one per core).

    `margin` is the fraction of the box's side added on each side.
    """
    infos, by_id = run.read_infos(), {video.video_id: video for video in run.read_videos()}
    detected = run.read_outcomes("01_detect_faces")
    code = code_fingerprint("dfdc_lib.faces.crop_stage")
    jobs, decided = [], []
    for name, video in by_id.items():
        source = by_id[boxes_source(video, infos).video_id] if name in infos else video
        boxes = detected[source.video_id]
        if boxes.status in ("failed", "failed before"):
            decided.append(Outcome(video_id=name, status="failed before", note=f"no boxes: {boxes.note}"))
            continue
        files = (input_fingerprint(video.path), input_fingerprint(source.path))
        expected = fingerprint(code, *files, boxes.fingerprint, margin)
        make = partial(_make_crops, run, video, source, margin, expected)
        jobs.append(Job(name, {run.crops_record_path(name): expected}, VideoCrops, make, _crops_outcome))
    outcomes = run_jobs(run, "02_crop_faces", jobs, decided, in_processes(workers))
    made = [crop for name in done_videos(outcomes) for crop in run.read_crops(name).crops]
    rows = [(*crops.key_of(c), c.time_seconds, c.confidence, *c.box, *c.area, *np.ravel(c.landmarks)) for c in made]
    run.write_table("crops.parquet", pd.DataFrame(rows, columns=CROP_COLUMNS))
    return outcomes


def _make_crops(run: Run, video: Video, source: Video, margin: float, expected: str) -> VideoCrops:
    """Write a video's crops, cut with the boxes of `source`: the video itself, or its original."""
    shutil.rmtree(run.crops_record_path(video.video_id).parent, ignore_errors=True)
    boxes = run.read_faces(source.video_id)
    faces = {frame.frame_index: frame.faces for frame in boxes.frames}
    alignment = Alignment() if source.video_id == video.video_id else align_videos(source.path, video.path)
    made: list[Crop] = []
    frame_indices: set[int] = set()
    pixels = hashlib.sha256()
    with VideoReader(video.path, threads=1) as reader:
        for frame in reader.frames(lambda frame_index: frame_index % boxes.settings.frame_stride == 0):
            frame_indices.add(frame.frame_index)
            for crop, image in _cut_frame(video.video_id, frame, faces.get(frame.frame_index, ()), alignment, margin):
                run.write_image(run.crop_path(crops.key_of(crop)), image)
                pixels.update(image.tobytes())
                made.append(crop)
    record = VideoCrops(
        video_id=video.video_id,
        boxes_from=source.video_id,
        margin=margin,
        alignment=alignment,
        crops=tuple(made),
        pixels=pixels.hexdigest()[:16],
        frames_only_here=len(frame_indices - set(faces)),
        frames_only_in_original=len(set(faces) - frame_indices),
        fingerprint=expected,
    )
    run.write_record(run.crops_record_path(video.video_id), record)
    return record


def _cut_frame(
    video_id: str, frame: Frame, faces: Sequence[Face], alignment: Alignment, margin: float
) -> Iterator[tuple[Crop, np.ndarray]]:
    """Yield every face of a frame and its pixels; a face outside the frame is skipped."""
    for face_index, face in enumerate(faces):
        key = FaceKey(video_id, frame.frame_index, face_index)
        box = align_box(face.box, alignment)
        area = crops.crop_area(box, margin, *frame.image.shape[:2])
        if crops.is_empty(area):  # the fake shows a smaller part of the picture than its original
            continue
        landmarks = crops.landmarks_in_crop(align_landmarks(face.landmarks, alignment), area)
        measured = {"time_seconds": frame.time_seconds, "confidence": face.confidence}
        yield Crop(**key._asdict(), **measured, box=box, area=area, landmarks=landmarks), crops.cut(frame.image, area)


def _crops_outcome(record: VideoCrops) -> Outcome:
    notes = [] if record.crops else [f"no face in the boxes of {record.boxes_from}"]
    if record.frames_only_here:
        notes.append(f"{record.frames_only_here} examined frames that {record.boxes_from} lacks are skipped")
    if record.frames_only_in_original:
        notes.append(f"{record.frames_only_in_original} examined frames that only {record.boxes_from} has are skipped")
    if record.alignment != Alignment():
        note = "frames of another size: scaled by {:.3f}, {:.3f} and moved by {:.0f}, {:.0f} pixels"
        notes.append(note.format(*record.alignment))
    return result_outcome(record, len(record.crops), notes)
