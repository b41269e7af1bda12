"""Jobs for test_workers, in a module of their own because worker processes import them."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from dfdc_lib.records import FaceKey, Outcome, VideoHashes
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.workers import Job, in_processes, run_jobs

STAGE = "04_folds"  # any stage with one record file per video


def make(run: Run, record_path: Path, calls: Path, video_id: str, fingerprint: str, action: str) -> VideoHashes:
    """Append this process id to a file per video, act, and write the record."""
    with (calls / video_id).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if action == "raise":
        raise ValueError(f"no hash\n  for {video_id}")
    if action == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "die once" and len((calls / video_id).read_text(encoding="utf-8").splitlines()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "die late" and len((calls / video_id).read_text(encoding="utf-8").splitlines()) == 1:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "sleep":
        time.sleep(60)
    if record_path.stem == "crops":
        run.write_bytes(run.crop_path(FaceKey(video_id, 0, 0)), b"a crop")
    record = VideoHashes(video_id=video_id, hashes=(len(video_id),), fingerprint=fingerprint)
    run.write_record(record_path, record)
    return record


def outcome(record: VideoHashes) -> Outcome:
    return Outcome(video_id=record.video_id, status="done", count=record.hashes[0], fingerprint=record.fingerprint)


def job(run: Run, calls: Path, video_id: str, fingerprint: str = "f", action: str = "", *, folder: bool = False) -> Job:
    """Return a job whose record is a file of its own, or lies in a folder of its own as crops do."""
    path = run.crops_record_path(video_id) if folder else run.hash_path(video_id)
    work = partial(make, run, path, calls, video_id, fingerprint, action)
    return Job(video_id, {path: fingerprint}, VideoHashes, work, outcome)


if __name__ == "__main__":  # two sleeping workers, for the test that kills this process
    opened, notes = open_run(sys.argv[1]), Path(sys.argv[2])
    run_jobs(opened, STAGE, [job(opened, notes, name, action="sleep") for name in "ab"], (), in_processes(2))
