"""Stage 01: find faces. In: videos.csv and the videos. Out: alignments/<video_id>.json, boxes/<video_id>.json."""

from collections.abc import Iterator, Sequence
from functools import partial

from dfdc_lib.backends.choice import ON_CPU, Engine
from dfdc_lib.data.video import VideoReader
from dfdc_lib.executors import choose_executor
from dfdc_lib.faces import thumbnails
from dfdc_lib.faces.align_stage import align_fakes
from dfdc_lib.faces.box_source import boxes_source, compared_fakes, header_source
from dfdc_lib.faces.detect import detect_frames, load_detector
from dfdc_lib.faces.mtcnn_networks import engine_of_workers
from dfdc_lib.records import DetectorSettings, Outcome, Video, VideoFaces
from dfdc_lib.run_folder import Run
from dfdc_lib.staleness import code_fingerprint, fingerprint, input_fingerprint
from dfdc_lib.workers import Failure, Job, result_outcome, run_jobs


def detect_faces(
    run: Run, settings: DetectorSettings, engine: Engine = ON_CPU, workers: int = 0, executor: str = "processes"
) -> list[Outcome]:
    """Find the faces of every video, except fakes that can use their original's boxes; write boxes/.

    Fakes are first aligned with their originals. A fake that fits its original uses the original's boxes and has the
    status "not needed". `engine` runs the detector; `workers` is the number of processes, 0 = one per core; `executor`:
    see `executors.choose_task_runner`. Returns one outcome per video.
    """
    with engine_of_workers(engine, executor) as shared:
        return _detect_faces(run, settings, shared, workers, executor)


def _detect_faces(run: Run, settings: DetectorSettings, engine: Engine, workers: int, executor: str) -> list[Outcome]:
    videos, infos = run.read_videos(), run.read_infos()
    original_of = {fake.video_id: str(fake.original_id) for fake in compared_fakes(videos, infos)}
    execute = choose_executor(run, executor, workers, engine.device, lambda name: original_of.get(name, name))
    make_job = partial(_search_job, run, settings, engine, code_fingerprint("dfdc_lib.faces.detect"))
    originals = [video for video in videos if video.video_id in set(original_of.values()) - original_of.keys()]
    searches = {video.video_id: make_job(video, header_source(video, infos).reason, keep=True) for video in originals}
    searched: dict[str, Outcome | Failure] = {}

    def start_order(name: str) -> tuple[int, str]:  # long videos first: all processes end at about the same time
        return -infos[name].frame_count, name

    def align(jobs: Sequence[Job]) -> Iterator[tuple[str, Outcome | Failure]]:
        """Align fakes, and before that find the faces of their originals: both decode an original."""
        needed = sorted({original_of[job.video_id] for job in jobs} & searches.keys(), key=start_order)
        unfinished = [searches[name] for name in needed if not searches[name].finished()]
        for name, result in execute([*unfinished, *jobs]):
            if name in searches:
                searched[name] = result
            else:
                yield name, result

    def search(jobs: Sequence[Job]) -> Iterator[tuple[str, Outcome | Failure]]:
        yield from ((job.video_id, searched[job.video_id]) for job in jobs if job.video_id in searched)  # they failed
        others = [job for job in jobs if job.video_id not in searched]
        yield from execute(sorted(others, key=lambda job: start_order(job.video_id)))

    aligned = align_fakes(run, align)
    rest, decided = [], []
    for video in videos:
        name = video.video_id
        if name in searches:
            continue
        if name not in infos:
            decided.append(Outcome(video_id=name, status="failed before", note="unreadable, see 00_videos"))
            continue
        if aligned[name].status == "failed":
            decided.append(Outcome(video_id=name, status="failed before", note=f"not aligned: {aligned[name].note}"))
            continue
        source, reason, _ = boxes_source(run, video, infos)
        if source != name:
            decided.append(Outcome(video_id=name, status="not needed", note=f"uses the boxes of {source}"))
        else:
            rest.append(make_job(video, reason))
    return run_jobs(run, "01_detect_faces", [*searches.values(), *rest], decided, search)


def _search_job(
    run: Run, settings: DetectorSettings, engine: Engine, code: str, video: Video, reason: str, keep: bool = False
) -> Job:
    """Return the job that finds a video's faces and, with `keep`, keeps its thumbnails for its fakes."""
    path, expected = run.boxes_path(video.video_id), fingerprint(code, input_fingerprint(video.path), settings)
    make, outcome = partial(_find_faces, run, video, settings, engine, expected, keep), partial(_boxes_outcome, reason)
    return Job(video.video_id, {path: expected}, VideoFaces, make, outcome)


def _find_faces(
    run: Run, video: Video, settings: DetectorSettings, engine: Engine, expected: str, keep: bool
) -> VideoFaces:
    detector = load_detector(settings, engine)
    with VideoReader(video.path, threads=1) as reader:
        small = thumbnails.watch(reader) if keep else None
        faces = detect_frames(reader, video.video_id, detector, expected)
    if small:
        thumbnails.keep(video.path, small)
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
