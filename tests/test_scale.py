"""The bookkeeping of a data set as large as DFDC, without its pixels; everything but the jobs is the kit's own code.

A job writes the record of a video's crops, as stage 02 does. Source of the numbers: Dolhansky et al. 2020,
arXiv:2006.07397: 23,654 originals and 104,500 fakes in 50 parts. The test with 124,000 videos takes minutes; it runs if
DFDC_TEST_SCALE is set. `pytest -s` shows the times, which are recorded and not judged.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.data import fold_schemes, leak_audit, look_alikes
from dfdc_lib.evaluation import bootstrap, load_scores, strategy_study
from dfdc_lib.executors import choose_executor
from dfdc_lib.faces import crop_stage
from dfdc_lib.records import FAKE, REAL, Crop, Outcome, Resampling, Video, VideoCrops, VideoInfo
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.workers import Job, result_outcome, run_jobs

DFDC_VIDEOS, CROPS_EACH, DRAWS = 124_000, 30, 2000  # 3.72 million crops; notebook 08's number of draws
MOST_GIB = 2.0
PARTS, FAKES_PER_ORIGINAL, HASHES = 50, 4, 5
INFO = VideoInfo(height=1080, width=1920, fps=30.0, frame_count=300, duration_seconds=10.0, rotation_degrees=0)
LANDMARKS = ((60.1, 80.2), (140.3, 82.4), (100.5, 130.6), (70.7, 180.8), (133.9, 182.1))


@contextmanager
def measured(name: str) -> Iterator[None]:
    began, cpu = time.monotonic(), time.process_time()
    yield
    spent = f"{time.monotonic() - began:7.1f} s {time.process_time() - cpu:7.1f} s CPU"
    print(f"{name:20} {spent}  peak {peak_gib():.2f} GiB", flush=True)


def peak_gib() -> float:
    """Return the largest memory of this process so far; ru_maxrss would start with that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def make_videos(count: int) -> list[Video]:
    videos = []
    for number in range(count):
        original, fake = divmod(number, FAKES_PER_ORIGINAL + 1)
        name = f"original{original:06d}"
        video_id = f"{name}_fake{fake}" if fake else name
        part, source, label = original % PARTS, name if fake else None, FAKE if fake else REAL
        path = Path(f"/data/dfdc_train_part_{part}/{video_id}.mp4")
        videos.append(Video(video_id=video_id, path=path, part=part, original_id=source, label=label))
    return videos


def make_crops(run: Run, video_id: str, original_id: str, count: int) -> VideoCrops:
    """Do what a job of stage 02 does, without video and pictures."""
    place = {"box": (700.12, 300.5, 900.25, 560.75), "area": (660, 248, 941, 613), "landmarks": LANDMARKS}
    crops = tuple(
        Crop(
            video_id=video_id, frame_index=10 * index, face_index=0, boxes_frame_index=10 * index,
            time_seconds=index / 3, confidence=0.999, **place,
        )
        for index in range(count)
    )  # fmt: skip
    about = {"margin": 0.2, "frames_only_here": 0, "frames_only_in_original": 0, "fingerprint": "f"}
    record = VideoCrops(video_id=video_id, boxes_from=original_id, crops=crops, **about)
    run.write_record(run.crops_record_path(video_id), record)
    return record


def crops_outcome(record: VideoCrops) -> Outcome:
    return result_outcome(record, len(record.crops))


def crop_jobs(run: Run, videos: list[Video], count: int) -> list[Job]:
    jobs = []
    for video in videos:
        name = video.video_id
        make = partial(make_crops, run, name, video.original_id or name, count)
        jobs.append(Job(name, {run.crops_record_path(name): "f"}, VideoCrops, make, crops_outcome))
    return jobs


def index_videos(run: Run, count: int) -> list[Video]:
    videos = make_videos(count)
    run.write_videos(videos, {video.video_id: INFO for video in videos})
    assert run.read_infos() == {video.video_id: INFO for video in videos} and run.read_videos() == videos
    return videos


def deal_folds(videos: list[Video]) -> None:
    assignment = fold_schemes.assign(videos, [], "leak-free", 16, 0)
    assert len(assignment.folds) == len(videos) and set(assignment.folds.values()) == set(range(16))
    assert leak_audit.audit(videos, assignment.folds, []) == []


def compare_pictures(videos: list[Video]) -> None:
    originals = [video.video_id for video in videos if video.label == REAL]
    hashes = np.random.default_rng(0).integers(0, 2**64, (len(originals), HASHES), np.uint64)
    hashes[-1] = hashes[0]
    pairs = look_alikes.similar_pairs(dict(zip(originals, hashes.tolist(), strict=True)))
    assert (pairs[0].video_a, pairs[0].video_b, pairs[0].alike) == (originals[0], originals[-1], True)


def run_stage(run: Run, videos: list[Video], count: int) -> None:
    """Run the jobs in processes, count the records as the next stages do, and write the table of all crops."""
    for part in ("jobs in processes", "resume scan"):
        with measured(part):
            jobs = crop_jobs(run, videos, count)
            outcomes = run_jobs(run, "02_crop_faces", jobs, (), choose_executor(run, "processes"))
            assert [(outcome.status, outcome.count) for outcome in outcomes] == [("done", count)] * len(videos)
    with measured("crops.parquet"):
        crop_stage.write_crop_table(run, outcomes)
    table = pd.read_parquet(run.root / "crops.parquet", columns=["video_id", "frame_index"])
    assert len(table) == count * len(videos) and table["video_id"].nunique() == len(videos)


def write_scores(run: Run, videos: list[Video], each: int) -> Path:
    """Write a table of random scores: real videos below fakes, and every frame around its video."""
    labels = np.array([video.label for video in videos])
    generator = np.random.default_rng(0)
    logits = np.repeat(generator.normal(3 * labels - 1.5, 1.5), each) + generator.normal(0, 1.5, each * len(videos))
    columns = {
        "video_id": np.repeat([video.video_id for video in videos], each),
        "frame_index": np.tile(np.arange(each), len(videos)),
        "score": 1 / (1 + np.exp(-logits)),
        "confidence": generator.uniform(0.95, 1, len(logits)),
        "label": np.repeat(labels, each),
        "original_id": np.repeat([video.original_id or video.video_id for video in videos], each),
    }
    pd.DataFrame(columns).to_parquet(run.root / "random.parquet")
    return run.root / "random.parquet"


def analyse_scores(path: Path, videos: int, draws: int) -> None:
    """Compute what notebook 08 shows of a file of scores."""
    resampling = Resampling(draws=draws)
    with measured("read scores"):
        table = load_scores.read_scores(path)
    assert (len(table.videos), table.videos["group"].nunique()) == (videos, videos // (FAKES_PER_ORIGINAL + 1))
    with measured("study"):
        [study] = strategy_study.study(table, resampling)
    with measured("figures"):
        gains = bootstrap.differences(study.result, "mean")
        counts = strategy_study.by_frame_count(table, resampling).set_index(["frame_count", "name"])
        strategy_study.by_group(table, study.scores, resampling)
        strategy_study.confident_against(table, study.tuned, resampling)
        strategy_study.wins_and_losses(table, study.scores, resampling.clip)
    all_frames = counts.xs("mean", level="name")["value"].iloc[-1]
    assert all_frames == pytest.approx(study.result.values.loc["mean", "log loss"])
    assert len(gains) == 7 * 6 and study.result.values.loc["mean", "AUC"] == pytest.approx(0.92, abs=0.02)


def simulate(folder: Path, count: int, crops_each: int, draws: int) -> None:
    run, began = open_run(folder), time.monotonic()
    with measured("index"):
        videos = index_videos(run, count)
    with measured("folds"):
        deal_folds(videos)
    with measured("look-alikes"):
        compare_pictures(videos)
    run_stage(run, videos, crops_each)
    scores = write_scores(run, videos, crops_each)
    del videos
    analyse_scores(scores, count, draws)
    print(f"{count:,} videos, {count * crops_each:,} crops: {time.monotonic() - began:.1f} s, {peak_gib():.2f} GiB")
    assert peak_gib() < MOST_GIB


def simulate_alone(folder: Path, count: int, crops_each: int, draws: int) -> None:
    """Simulate in a process of its own, whose memory is that of the simulation."""
    command = [sys.executable, __file__, str(folder), *map(str, (count, crops_each, draws))]
    paths = [Path(__file__).parents[1], Path(__file__).parent]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))})


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


@needs_proc
def test_a_thousand_videos(tmp_path: Path) -> None:
    simulate_alone(tmp_path, 1000, 5, 50)


@pytest.mark.slow
@needs_proc
@pytest.mark.skipif("DFDC_TEST_SCALE" not in os.environ, reason="takes minutes and 3 GB of disk: set DFDC_TEST_SCALE=1")
def test_all_videos_of_dfdc(tmp_path: Path) -> None:
    simulate_alone(tmp_path, DFDC_VIDEOS, CROPS_EACH, DRAWS)


if __name__ == "__main__":
    simulate(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
