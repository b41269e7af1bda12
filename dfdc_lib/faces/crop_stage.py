"""Stage 02: cut faces out of frames. In: boxes/ and the videos. Out: crops/<video_id>/*.png, crops.parquet."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain

import numpy as np
import pandas as pd
from pydantic_core import from_json

from dfdc_lib.data.video import Frame, VideoReader
from dfdc_lib.executors import choose_executor
from dfdc_lib.faces import crops
from dfdc_lib.faces.align_stage import describe_alignment
from dfdc_lib.faces.alignment import align_box, align_landmarks
from dfdc_lib.faces.box_source import BoxSource, boxes_source
from dfdc_lib.records import BOX_COLUMNS, KEY_COLUMNS, Crop, FaceKey, FrameFaces, Outcome, Transform, Video, VideoCrops
from dfdc_lib.run_folder import LANDMARK_COLUMNS, Run
from dfdc_lib.staleness import code_fingerprint, fingerprint, input_fingerprint
from dfdc_lib.workers import Job, done_batches, result_outcome, run_jobs

FAILED = ("failed", "failed before")
AREA_COLUMNS = ["area_x0", "area_y0", "area_x1", "area_y1"]  # of the crop, like the box in pixels of the frame
MEASURES = ["boxes_frame_index", "time_seconds", "confidence"]
PLAIN = [*KEY_COLUMNS[1:], *MEASURES]  # columns that are a field of `Crop`, besides video_id
NUMBERS = [*PLAIN, *BOX_COLUMNS, *AREA_COLUMNS, *LANDMARK_COLUMNS]
WHOLE_NUMBERS = [*KEY_COLUMNS[1:], "boxes_frame_index", *AREA_COLUMNS]
CROP_COLUMNS = ["video_id", *NUMBERS]


def crop_faces(
    run: Run, margin: float = crops.DEFAULT_MARGIN, workers: int = 0, executor: str = "processes"
) -> list[Outcome]:
    """Cut every detected face out of the frames; write crops/ and crops.parquet, and return one outcome per video.

    Fakes that fit their original are cut with its boxes, in the corresponding frames. `margin` is the fraction of the
    box's side added on each side; `workers` the number of processes, 0 = one per core; `executor`: see
    `executors.choose_task_runner`.
    """
    infos, by_id = run.read_infos(), {video.video_id: video for video in run.read_videos()}
    detected = run.read_outcomes("01_detect_faces")
    code = code_fingerprint("dfdc_lib.faces.crop_stage")
    jobs, decided = [], []
    for name, video in by_id.items():
        has_boxes = detected[name].status not in FAILED
        source = boxes_source(run, video, infos) if has_boxes else BoxSource(name, "")
        boxes = detected[source.video_id]
        if boxes.status in FAILED:
            decided.append(Outcome(video_id=name, status="failed before", note=f"no boxes: {boxes.note}"))
            continue
        expected = fingerprint(code, input_fingerprint(video.path), boxes.fingerprint, source.alignment, margin)
        make = partial(_make_crops, run, video, source, margin, expected)
        jobs.append(Job(name, {run.crops_record_path(name): expected}, VideoCrops, make, _crops_outcome))
    jobs.sort(key=lambda job: -infos[job.video_id].frame_count)  # so that all processes end at about the same time
    outcomes = run_jobs(run, "02_crop_faces", jobs, decided, choose_executor(run, executor, workers))
    write_crop_table(run, outcomes)
    return outcomes


def write_crop_table(run: Run, outcomes: Sequence[Outcome]) -> None:
    """Write crops.parquet: a row for every crop of the videos that have crops."""
    run.write_table_in_parts("crops.parquet", (_crop_rows(run, names) for names in done_batches(outcomes)))


def _crop_rows(run: Run, video_ids: Sequence[str]) -> pd.DataFrame:
    parts = [np.empty((0, len(NUMBERS)))]
    for name in video_ids:
        made = from_json(run.crops_record_path(name).read_bytes())["crops"]  # `run_jobs` has validated it
        rows = [(*(c[n] for n in PLAIN), *c["box"], *c["area"], *chain(*c["landmarks"])) for c in made]
        parts.append(np.array(rows, float).reshape(-1, len(NUMBERS)))
    table = pd.DataFrame(np.concatenate(parts), columns=NUMBERS).astype(dict.fromkeys(WHOLE_NUMBERS, int))
    table.insert(0, "video_id", np.repeat(np.array(video_ids, object), [len(part) for part in parts[1:]]))
    return table


def _make_crops(run: Run, video: Video, source: BoxSource, margin: float, expected: str) -> VideoCrops:
    """Write a video's crops, cut with the boxes of `source`: of the video itself, or of its original."""
    shutil.rmtree(run.crops_record_path(video.video_id).parent, ignore_errors=True)
    faces = {frame.frame_index: frame for frame in run.read_faces(source.video_id).frames}
    with_original = source.video_id != video.video_id
    counterparts = source.alignment.original_frames() if with_original else {index: index for index in faces}
    shown = {frame_index: faces[other] for frame_index, other in counterparts.items() if other in faces}
    made: list[Crop] = []
    missing = {frame.frame_index for frame in faces.values()}  # examined frames of the source that are not shown
    pixels = hashlib.sha256()
    with VideoReader(video.path, threads=1) as reader:
        for frame in reader.frames_at(shown):
            found = shown[frame.frame_index]
            missing.discard(found.frame_index)
            for crop, image in _cut_frame(video.video_id, frame, found, source.alignment.transform, margin):
                run.write_image(run.crop_path(crops.key_of(crop)), image)
                pixels.update(image.tobytes())
                made.append(crop)
    record = VideoCrops(
        video_id=video.video_id,
        boxes_from=source.video_id,
        margin=margin,
        alignment=source.alignment,
        crops=tuple(made),
        pixels=pixels.hexdigest()[:16],
        frames_only_here=source.alignment.frame_count - len(counterparts) if with_original else 0,
        frames_only_in_original=len(missing),
        fingerprint=expected,
    )
    run.write_record(run.crops_record_path(video.video_id), record)
    return record


def _cut_frame(
    video_id: str, frame: Frame, found: FrameFaces, transform: Transform, margin: float
) -> Iterator[tuple[Crop, np.ndarray]]:
    """Yield every face that was found in a frame, or in its original's, and its pixels; not if it lies outside."""
    for face_index, face in enumerate(found.faces):
        key = FaceKey(video_id, frame.frame_index, face_index)
        box = align_box(face.box, transform)
        area = crops.crop_area(box, margin, *frame.image.shape[:2])
        if crops.is_empty(area):  # the fake shows a smaller part of the picture than its original
            continue
        landmarks = crops.landmarks_in_crop(align_landmarks(face.landmarks, transform), area)
        measured = dict(zip(MEASURES, (found.frame_index, frame.time_seconds, face.confidence), strict=True))
        yield Crop(**key._asdict(), **measured, box=box, area=area, landmarks=landmarks), crops.cut(frame.image, area)


def _crops_outcome(record: VideoCrops) -> Outcome:
    notes = [] if record.crops else [f"no face in the boxes of {record.boxes_from}"]
    if record.frames_only_here:
        frames = f"{record.frames_only_here} of {record.alignment.frame_count} frames"
        notes.append(f"{frames} correspond to none of {record.boxes_from} and are skipped")
    if record.frames_only_in_original:
        notes.append(f"{record.frames_only_in_original} examined frames that only {record.boxes_from} has are skipped")
    if record.boxes_from != record.video_id:
        notes += describe_alignment(record.alignment)
    return result_outcome(record, len(record.crops), notes)
