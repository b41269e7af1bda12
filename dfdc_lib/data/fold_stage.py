"""Stage 04: assign every video to a fold and look for leaks. In: videos.csv. Out: folds.csv, leaks.csv, hashes/."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import pandas as pd

from dfdc_lib.data import fold_schemes, leak_audit, look_alikes
from dfdc_lib.data.folds import identity_groups
from dfdc_lib.data.leak_audit import Leak
from dfdc_lib.records import FAKE, Outcome, Video, VideoHashes
from dfdc_lib.run_folder import Run
from dfdc_lib.staleness import code_fingerprint, fingerprint, input_fingerprint
from dfdc_lib.workers import Job, done_videos, in_processes, result_outcome, run_jobs


class FoldReport(NamedTuple):
    """Leaks and notes about new folds; the folds themselves are in folds.csv."""

    leaks: list[Leak]  # as in leaks.csv
    notes: list[str]  # one sentence each


def make_folds(run: Run, scheme: str, fold_count: int, seed: int = 0, workers: int = 0) -> FoldReport:
    """Assign the videos to folds; write folds.csv and leaks.csv.

    Videos that look alike are found by hashes of a few frames, and schemes "leak-free" and "target" keep them in one
    fold. Returns the leaks and notes.

    Args:
        run: the run folder.
        scheme, fold_count, seed: the kind of split, the number of folds and the random seed; see `fold_schemes.assign`.
        workers: number of processes; 0 = one per core.
    Raises:
        ValueError: if no video has a label, or the scheme is unknown or does not work for these videos.
    """
    videos = run.read_videos()
    if all(source.label is None for source in videos):
        remedy = "stop after the crops with `dfdc run --to 02`, or score the videos with `dfdc predict`"
        raise ValueError(f"folds need labels, but none of the {len(videos)} videos has one: {remedy}")
    fold_schemes.assign(videos, (), scheme, fold_count, seed)  # fails before any video is read
    similar = look_alikes.similar_pairs(_hash_videos(run, videos, workers))
    alike = [(pair.video_a, pair.video_b) for pair in similar if pair.alike]
    folds, groups, notes = fold_schemes.assign(videos, alike, scheme, fold_count, seed)
    listed = [source for source in videos if source.video_id in folds]
    compared = [pair for pair in similar if pair.video_a in folds and pair.video_b in folds]
    leaks = leak_audit.audit(listed, folds, compared)
    rows = [(v.video_id, folds[v.video_id], groups[v.video_id], v.label, v.method) for v in listed]
    table = pd.DataFrame(rows, columns=["video_id", "fold", "group", "label", "method"])
    run.write_table("folds.csv", table.astype({"label": "Int64"}))
    leak_rows = [(leak.kind, *leak.folds, *leak.videos, leak.detail) for leak in leaks]
    columns = ["kind", "fold_a", "fold_b", "video_a", "video_b", "detail"]
    run.write_table("leaks.csv", pd.DataFrame(leak_rows, columns=columns))
    return FoldReport(leaks, notes + _alike_notes(videos, alike))


def _alike_notes(videos: Sequence[Video], alike: Sequence[tuple[str, str]]) -> list[str]:
    by_name = identity_groups(videos)
    new = [pair for pair in alike if by_name[pair[0]] != by_name[pair[1]]]
    return [f"{len(new)} pairs of look-alikes that names do not connect, e.g. {' and '.join(new[0])}"] if new else []


def _hash_videos(run: Run, videos: Sequence[Video], workers: int) -> dict[str, tuple[int, ...]]:
    """Return the hashes of all readable videos except fakes with a readable original, which look like it."""
    code = code_fingerprint("dfdc_lib.data.look_alikes")
    infos, jobs, decided = run.read_infos(), [], []
    for source in videos:
        name = source.video_id
        if source.label == FAKE and source.original_id in infos:
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
    hashes = look_alikes.hash_video(source.path)
    record = VideoHashes(video_id=source.video_id, hashes=hashes, fingerprint=expected)
    run.write_record(run.hash_path(source.video_id), record)
    return record


def _hash_outcome(record: VideoHashes) -> Outcome:
    return result_outcome(record, len(record.hashes))
