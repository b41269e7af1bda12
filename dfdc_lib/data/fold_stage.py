"""Stage 04: assign every video to a fold and look for leaks. In: videos.csv. Out: folds.csv, leaks.csv, hashes/."""

from collections.abc import Sequence
from functools import partial

import pandas as pd

from dfdc_lib.data import folds, leak_audit, video
from dfdc_lib.records import FAKE, Outcome, Video, VideoHashes
from dfdc_lib.run_folder import Run
from dfdc_lib.staleness import code_fingerprint, fingerprint, input_fingerprint
from dfdc_lib.workers import Job, done_videos, in_processes, result_outcome, run_jobs


def make_folds(run: Run, scheme: str, fold_count: int, seed: int = 0, workers: int = 0) -> list[leak_audit.Leak]:
    """Assign every video to a fold and write folds.csv; return the leaks between folds and write leaks.csv.

    `scheme` is "leak-free" (no identity in two folds; needs `fold_count` and `seed`) or "winner" (by DFDC part, 16
    folds); `workers` is the number of processes, 0 = one per core. Raises ValueError for an unknown scheme, more folds
    than groups, or if no video has a label.
    """
    videos = run.read_videos()
    if all(source.label is None for source in videos):
        remedy = "stop after the crops with `dfdc run --to 02`, or score the videos with `dfdc predict`"
        raise ValueError(f"folds need labels, but none of the {len(videos)} videos has one: {remedy}")
    if scheme not in ("leak-free", "winner"):
        raise ValueError(f'SCHEME must be "leak-free" or "winner", got "{scheme}"')
    assigned = folds.winner_folds(videos) if scheme == "winner" else folds.leak_free_folds(videos, fold_count, seed)
    groups = folds.identity_groups(videos)
    rows = [(v.video_id, assigned[v.video_id], groups[v.video_id], v.label, v.method) for v in videos]
    table = pd.DataFrame(rows, columns=["video_id", "fold", "group", "label", "method"])
    leaks = leak_audit.audit(videos, assigned, _hash_videos(run, videos, workers))
    run.write_table("folds.csv", table.astype({"label": "Int64"}))
    leak_rows = [(leak.kind, *leak.folds, *leak.videos, leak.detail) for leak in leaks]
    columns = ["kind", "fold_a", "fold_b", "video_a", "video_b", "detail"]
    run.write_table("leaks.csv", pd.DataFrame(leak_rows, columns=columns))
    return leaks


def _hash_videos(run: Run, videos: Sequence[Video], workers: int) -> dict[str, tuple[int, ...]]:
    """Return the perceptual hashes of all readable videos except fakes, which look like their originals."""
    code = code_fingerprint("dfdc_lib.data.leak_audit", "dfdc_lib.data.video")
    infos, jobs, decided = run.read_infos(), [], []
    for source in videos:
        name = source.video_id
        if source.label == FAKE:
            decided.append(Outcome(video_id=name, status="not needed", note="a fake looks like its original"))
        elif name not in infos:
            decided.append(Outcome(video_id=name, status="failed before", note="unreadable, see 00_videos"))
        else:
            expected = fingerprint(code, input_fingerprint(source.path))
            make = partial(_hash_video, run, source, expected)
            jobs.append(Job(name, {run.hash_path(name): expected}, VideoHashes, make, _hash_outcome))
    outcomes = run_jobs(run, "04_folds", jobs, decided, in_processes(workers))
    return {name: run.read_record(run.hash_path(name), VideoHashes).hashes for name in done_videos(outcomes)}


def _hash_video(run: Run, source: Video, expected: str) -> VideoHashes:
    frames = video.read_frames(source.path, {0, 30}, threads=1)  # the first frame and one a second later
    hashes = tuple(leak_audit.perceptual_hash(frame.image) for frame in frames)
    record = VideoHashes(video_id=source.video_id, hashes=hashes, fingerprint=expected)
    run.write_record(run.hash_path(source.video_id), record)
    return record


def _hash_outcome(record: VideoHashes) -> Outcome:
    return result_outcome(record, len(record.hashes))
