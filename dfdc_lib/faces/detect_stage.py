"""Stage 01: find faces. In: videos.csv and the videos. Out: alignments/<video_id>.json, boxes/<video_id>.json."""

from functools import partial

from dfdc_lib.executors import choose_executor
from dfdc_lib.faces.align_stage import align_fakes
from dfdc_lib.faces.box_source import boxes_source
from dfdc_lib.records import DetectorSettings, Outcome, Video, VideoFaces
from dfdc_lib.run_folder import Run
from dfdc_lib.staleness import code_fingerprint, fingerprint, input_fingerprint
from dfdc_lib.workers import Job, result_outcome, run_jobs


def detect_faces(
    run: Run, settings: DetectorSettings, device: str = "auto", workers: int = 0, executor: str = "processes"
) -> list[Outcome]:
    """Find the faces of every video, except fakes that can use their original's boxes; write boxes/.

    Fakes are first aligned with their originals. A fake that fits its original uses the original's boxes and has the
    status "not needed". `device` is "auto", "cpu" or "cuda"; `workers` the number of processes, 0 = one per core;
    `executor`: see `executors.choose_task_runner`. Returns one outcome per video.
    """
    aligned = align_fakes(run, workers, executor)
    code = code_fingerprint("dfdc_lib.faces.detect")
    infos, jobs, decided = run.read_infos(), [], []
    for video in run.read_videos():
        name = video.video_id
        if name not in infos:
            decided.append(Outcome(video_id=name, status="failed before", note="unreadable, see 00_videos"))
            continue
        if aligned[name].status == "failed":
            decided.append(Outcome(video_id=name, status="failed before", note=f"not aligned: {aligned[name].note}"))
            continue
        source, reason, _ = boxes_source(run, video, infos)
        if source != name:
            decided.append(Outcome(video_id=name, status="not needed", note=f"uses the boxes of {source}"))
            continue
        expected = fingerprint(code, input_fingerprint(video.path), settings)
        make, outcome = partial(_find_faces, run, video, settings, device, expected), partial(_boxes_outcome, reason)
        jobs.append(Job(name, {run.boxes_path(name): expected}, VideoFaces, make, outcome))
    return run_jobs(run, "01_detect_faces", jobs, decided, choose_executor(run, executor, workers, device))


def _find_faces(run: Run, video: Video, settings: DetectorSettings, device: str, expected: str) -> VideoFaces:
    from dfdc_lib.faces.detect import detect_video, load_detector  # here: only these workers should import torch

    faces = detect_video(video.path, video.video_id, load_detector(settings, device), expected, threads=1)
    run.write_record(run.boxes_path(video.video_id), faces)
    return faces


def _boxes_outcome(reason: str, faces: VideoFaces) -> Outcome:
    count = sum(len(frame.faces) for frame in faces.frames)
    notes = [f"searched itself: {reason}"] if reason else []
    if not count:
        notes.append(f"no face in {len(faces.frames)} examined frames")
    if faces.missing_frame_count:
        declared = faces.frame_count + faces.missing_frame_count
        notes.append(f"{faces.missing_frame_count} of {declared} frames missing or damaged")
    if faces.rescaled_frame_count:
        size = f"{faces.width} x {faces.height}"
        notes.append(f"{faces.rescaled_frame_count} of {faces.frame_count} frames had another size, scaled to {size}")
    return result_outcome(faces, count, notes)
