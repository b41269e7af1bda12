"""Jobs for test_pool: small functions in a module of their own, because a worker process has to import them."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from dfdc_lib.records import FaceKey, Outcome, VideoHashes
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.workers import Job, run_jobs

STAGE = "04_folds"  # any stage whose records are one file a video


def make(run: Run, calls: Path, video_id: str, fingerprint: str, deed: str) -> VideoHashes:
    """Note the call in a file, do the deed, write the record."""
    with (calls / video_id).open("a") as file:
        file.write(f"{os.getpid()}\n")
    if deed == "raise":
        raise ValueError(f"no hash\n  for {video_id}")
    if deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "sleep":
        time.sleep(60)
    record = VideoHashes(video_id=video_id, hashes=(len(video_id),), fingerprint=fingerprint)
    run.write_record(run.hash_path(video_id), record)
    return record


def make_in_folder(run: Run, video_id: str, fingerprint: str, deed: str) -> VideoHashes:
    """Write two files into a folder of the video's own, as crops and masks do."""
    if deed == "raise":
        raise ValueError(f"no crop for {video_id}")
    run.write_bytes(run.crop_path(FaceKey(video_id, 0, 0)), b"a crop")
    record = VideoHashes(video_id=video_id, hashes=(1,), fingerprint=fingerprint)
    run.write_record(run.crops_record_path(video_id), record)
    return record


def outcome(record: VideoHashes) -> Outcome:
    return Outcome(video_id=record.video_id, status="done", count=record.hashes[0], fingerprint=record.fingerprint)


def job(run: Run, calls: Path, video_id: str, fingerprint: str = "f", deed: str = "") -> Job:
    """Describe a job whose record is a file."""
    path = run.hash_path(video_id)
    work = partial(make, run, calls, video_id, fingerprint, deed)
    return Job(video_id, fingerprint, path, work, partial(run.read_record, path, VideoHashes), outcome)


def folder_job(run: Run, video_id: str, fingerprint: str = "f", deed: str = "") -> Job:
    """Describe a job whose record lies in a folder."""
    path = run.crops_record_path(video_id)
    work = partial(make_in_folder, run, video_id, fingerprint, deed)
    return Job(video_id, fingerprint, path, work, partial(run.read_record, path, VideoHashes), outcome)


if __name__ == "__main__":  # two workers that sleep, for the test that kills this process
    folder, notes = Path(sys.argv[1]), Path(sys.argv[2])
    opened = open_run(folder)
    run_jobs(opened, STAGE, [job(opened, notes, video_id, deed="sleep") for video_id in ("a", "b")], workers=2)
