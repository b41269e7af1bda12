"""Stage 00: list the videos of a data set and read their headers.

In: a folder. Out: videos.csv, info/, and left_out.csv with the files of the folder that are not listed.
"""

from functools import partial
from pathlib import Path

import pandas as pd

from dfdc_lib.data import sample, video
from dfdc_lib.data.datasets import left_out_files, list_videos
from dfdc_lib.records import Outcome, Video, VideoInfo
from dfdc_lib.run_folder import Run, project_path
from dfdc_lib.staleness import code_fingerprint, fingerprint, input_fingerprint
from dfdc_lib.workers import Job, done_videos, in_processes, run_jobs


def find_videos(run: Run, data: str, kind: str = "auto", seed: int = 0, workers: int = 0) -> list[Outcome]:
    """List the videos of a data set, read their headers, write videos.csv and left_out.csv (columns: path, reason).

    `data` is the data set's folder, or a .txt or .csv file that lists videos; "" creates the built-in sample with
    `seed` in the run folder. `kind` is one of `datasets.KINDS`; `workers` the number of processes, 0 = one per core.
    Returns one outcome per video; an unreadable file has the status "failed".
    """
    root = project_path(data) if data else sample.make_sample(run.root / "sample", seed=seed, workers=workers)
    videos = list_videos(root, kind)
    others = pd.DataFrame(left_out_files(root, videos, kind), columns=["path", "reason"])
    others["path"] = [_text(path.relative_to(root)) for path in others["path"]]
    run.write_table("left_out.csv", others)
    code = code_fingerprint("dfdc_lib.data.video")
    jobs = []
    for source in videos:
        content = input_fingerprint(source.path)
        expected = fingerprint(code, content)
        make, outcome = partial(_read_info, run, source, content, expected), partial(_info_outcome, source.video_id)
        jobs.append(Job(source.video_id, {run.info_path(source.video_id): expected}, VideoInfo, make, outcome))
    outcomes = run_jobs(run, "00_videos", jobs, (), in_processes(workers))
    infos = {video_id: run.read_record(run.info_path(video_id), VideoInfo) for video_id in done_videos(outcomes)}
    run.write_videos(videos, infos)
    return outcomes


def _text(path: Path) -> str:
    """Return a path with "?" for what is not valid UTF-8."""
    return str(path).encode(errors="replace").decode()


def _read_info(run: Run, source: Video, content: str, expected: str) -> VideoInfo:
    info = video.read_info(source.path).model_copy(update={"content": content, "fingerprint": expected})
    run.write_record(run.info_path(source.video_id), info)
    return info


def _info_outcome(video_id: str, info: VideoInfo) -> Outcome:
    return Outcome(video_id=video_id, status="done", count=info.frame_count, fingerprint=info.fingerprint)
