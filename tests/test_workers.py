"""The job runner: every job has one outcome, finished jobs are skipped, and a failure stays alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from worker_jobs import STAGE, job

from dfdc_lib import workers
from dfdc_lib.records import Outcome
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.workers import WORKER_DIED, Job, in_processes, record_jobs, run_jobs, write_status

PATIENCE_SECONDS = 60  # for a process to start or to end, on a busy machine


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "run")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use threads instead of processes where a test is about bookkeeping: a process takes seconds to start."""
    monkeypatch.setattr(workers, "worker_pool", ThreadPoolExecutor)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Folder with one file per video and one line per call."""
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def work(run: Run, jobs: Sequence[Job], processes: int = 1, stage: str = STAGE) -> list[Outcome]:
    return run_jobs(run, stage, jobs, (), in_processes(processes))


def call_counts(calls: Path) -> dict[str, int]:
    return {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in sorted(calls.iterdir())}


def statuses(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.video_id: outcome.status for outcome in outcomes}


def failures(run: Run) -> list[tuple[str, ...]]:
    return list(run.read_table("failures.csv").itertuples(index=False, name=None))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_no_jobs(run: Run) -> None:
    assert work(run, []) == run.read_status(STAGE) == failures(run) == []


def test_decided_outcomes_are_merged_in_order(run: Run, calls: Path) -> None:
    decided = [Outcome(video_id="d", status="not needed", note="why"), Outcome(video_id="b", status="failed before")]
    outcomes = run_jobs(run, STAGE, [job(run, calls, "cc"), job(run, calls, "a")], decided, in_processes(2))
    assert [(o.video_id, o.status, o.count, o.note, o.fingerprint) for o in outcomes] == [
        ("a", "done", 1, "", "f"),
        ("b", "failed before", 0, "", ""),
        ("cc", "done", 2, "", "f"),
        ("d", "not needed", 0, "why", ""),
    ]
    assert run.read_status(STAGE) == outcomes
    assert failures(run) == [] == names(run.root / ".partial")
    assert names(run.root / "hashes") == ["a.json", "cc.json"]


def test_the_jobs_of_a_group_run_in_one_process(run: Run, calls: Path, threads: None) -> None:
    """And a failure in a group stays alone."""
    jobs = [job(run, calls, name, action="raise" if name == "a2" else "") for name in ("a1", "a2", "b1", "a3")]
    order = [name for name, _ in in_processes(1, lambda name: name[0])(jobs)]
    assert order == ["a1", "a3", "b1", "a2"]  # what fails in a group is tried once more, by itself
    outcomes = run_jobs(run, STAGE, jobs, (), in_processes(2, lambda name: name[0]))
    assert statuses(outcomes) == {"a1": "done", "a2": "failed", "a3": "done", "b1": "done"}


def test_a_process_that_dies_does_not_take_its_group_along(run: Run, calls: Path) -> None:
    jobs = [job(run, calls, name, action="die" if name == "a2" else "") for name in ("a1", "a2", "a3")]
    outcomes = run_jobs(run, STAGE, jobs, (), in_processes(1, lambda name: name[0]))
    assert statuses(outcomes) == {"a1": "done", "a2": "failed", "a3": "done"}


@pytest.mark.usefixtures("threads")
def test_stages_that_others_can_do_without_may_fail(run: Run, calls: Path) -> None:
    outcomes = record_jobs(run, STAGE, [job(run, calls, "a", action="raise")], (), in_processes(1))
    assert statuses(outcomes) == {"a": "failed"} and failures(run)


@pytest.mark.usefixtures("threads")
def test_finished_jobs_are_skipped_and_stale_ones_repeated(run: Run, calls: Path) -> None:
    first = work(run, [job(run, calls, name) for name in "ab"])
    assert work(run, [job(run, calls, name) for name in "ab"]) == first
    assert call_counts(calls) == {"a": 1, "b": 1}
    changed = work(run, [job(run, calls, "a"), job(run, calls, "b", fingerprint="g")])
    assert call_counts(calls) == {"a": 1, "b": 2}
    assert [outcome.fingerprint for outcome in changed] == ["f", "g"]


@pytest.mark.usefixtures("threads")
def test_a_record_of_another_version_is_replaced(run: Run, calls: Path) -> None:
    run.write_bytes(run.hash_path("a"), b'{"video_id": "a", "fingerprint": "f", "an old field": 1}')
    assert statuses(work(run, [job(run, calls, "a")])) == {"a": "done"}
    assert call_counts(calls) == {"a": 1}


def test_an_error_fails_its_own_job_only_and_is_tried_again(run: Run, calls: Path) -> None:
    outcomes = work(run, [job(run, calls, "a", action="raise"), job(run, calls, "b"), job(run, calls, "c")])
    assert statuses(outcomes) == {"a": "failed", "b": "done", "c": "done"}
    assert outcomes[0].note == "ValueError: no hash for a"  # on one line
    assert run.read_status(STAGE) == outcomes
    assert failures(run) == [(STAGE, "a", "ValueError: no hash for a")]
    assert statuses(work(run, [job(run, calls, "a"), job(run, calls, "b")])) == {"a": "done", "b": "done"}
    assert call_counts(calls) == {"a": 2, "b": 1, "c": 1}
    assert failures(run) == []


@pytest.mark.usefixtures("threads")
def test_a_stage_fails_if_all_of_its_jobs_fail(run: Run, calls: Path) -> None:
    jobs = [job(run, calls, name, action="raise") for name in "ba"]
    decided = [Outcome(video_id="c", status="not needed")]
    with pytest.raises(RuntimeError, match="no hash for"):
        run_jobs(run, STAGE, jobs, decided, in_processes(1))
    assert statuses(run.read_status(STAGE)) == {"a": "failed", "b": "failed", "c": "not needed"}
    assert [line[1] for line in failures(run)] == ["a", "b"]


def test_finished_results_are_kept_when_a_worker_dies(run: Run, calls: Path) -> None:
    jobs = [job(run, calls, name, action="die late" if name == "d" else "") for name in "abcde"]
    done = []
    for name, _ in in_processes(2)(jobs):
        if not done:
            time.sleep(1.5)  # meanwhile b and c finish, and the worker of d dies
        done.append(name)
    assert sorted(done) == list("abcde")
    assert call_counts(calls) == {"a": 1, "b": 1, "c": 1, "d": 2, "e": 1}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_that_dies_fails_its_own_job_only(processes: int, run: Run, calls: Path) -> None:
    outcomes = work(run, [job(run, calls, name, action="die" if name == "b" else "") for name in "abcd"], processes)
    assert statuses(outcomes) == {"a": "done", "b": "failed", "c": "done", "d": "done"}
    assert failures(run) == [(STAGE, "b", WORKER_DIED)]
    assert call_counts(calls)["b"] == 2  # once beside others, once alone
    assert names(run.root / "hashes") == ["a.json", "c.json", "d.json"]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("folder", "place"), [(False, "hashes"), (True, "crops")])
def test_files_of_absent_and_failing_videos_are_deleted(folder: bool, place: str, run: Run, calls: Path) -> None:
    work(run, [job(run, calls, name, folder=folder) for name in "abc"])
    failing = job(run, calls, "b", fingerprint="g", action="raise", folder=folder)
    work(run, [job(run, calls, "a", folder=folder), failing])
    assert names(run.root / place) == ["a" if folder else "a.json"]
    with pytest.raises(RuntimeError, match="all 1 videos failed"):
        work(run, [failing])
    assert names(run.root / place) == []


@pytest.mark.usefixtures("threads")
def test_a_video_may_be_named_like_a_folder_of_the_run(run: Run, calls: Path) -> None:
    run.write_bytes(run.root / "videos.csv", b"the list of videos")
    work(run, [job(run, calls, "hashes"), job(run, calls, "z")])
    work(run, [job(run, calls, "crops", folder=True), job(run, calls, "z", folder=True)], stage="02_crop_faces")
    assert names(run.root / "hashes") == ["hashes.json", "z.json"]
    assert names(run.root / "crops") == ["crops", "z"]
    assert names(run.root / "crops" / "crops") == ["00000_0.png", "crops.json"]
    assert (run.root / "videos.csv").read_bytes() == b"the list of videos"


def test_failures_of_all_stages_are_collected(run: Run) -> None:
    detection = [Outcome(video_id="007", status="failed", note="a, b"), Outcome(video_id="b", status="done")]
    run.write_table("status/01_detect_faces.csv", pd.DataFrame([outcome.model_dump() for outcome in detection]))
    videos = [Outcome(video_id="NA", status="failed", note="why"), Outcome(video_id="c", status="failed before")]
    write_status(run, "00_videos", videos)
    assert failures(run) == [("00_videos", "NA", "why"), ("01_detect_faces", "007", "a, b")]


def test_a_locked_run_folder_is_refused(run: Run, calls: Path) -> None:
    with run.lock("stage", "another"), pytest.raises(RuntimeError, match="04_folds"):
        work(run, [job(run, calls, "a")])
    assert call_counts(calls) == {}


def is_running(process_id: int) -> bool:
    """Return whether a process is alive; a zombie is not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_workers_end_when_their_parent_is_killed(run: Run, calls: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("worker_jobs.py")), str(run.root), str(calls)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as parent:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while sum(call_counts(calls).values()) < 2 and time.monotonic() < give_up:
            time.sleep(0.1)
        process_ids = [int(path.read_text(encoding="utf-8")) for path in calls.iterdir()]
        assert len(set(process_ids)) == 2 and all(map(is_running, process_ids))
        os.kill(parent.pid, signal.SIGKILL)
    while any(map(is_running, process_ids)) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not any(map(is_running, process_ids))
    with run.lock("stage", "the next"):  # the lock was released
        pass


def test_an_error_in_this_process_is_a_result() -> None:
    def refuse() -> int:
        raise ValueError("no\nnumber")

    results = dict(workers.results_here({"a": os.getpid, "b": refuse}))
    assert results == {"a": os.getpid(), "b": workers.Failure("ValueError: no number")}


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], {"all": [0, 0]}),
        ([("done", 3)], {"done": [1, 3], "all": [1, 3]}),
        ([("done", 3), ("failed", 0), ("done", 4)], {"done": [2, 7], "failed": [1, 0], "all": [3, 7]}),
    ],
)
def test_count_outcomes(outcomes: list[tuple], expected: dict[str, list[int]]) -> None:
    table = workers.count_outcomes(
        [Outcome(video_id=str(i), status=status, count=n) for i, (status, n) in enumerate(outcomes)]
    )
    assert table.columns.tolist() == ["videos", "made"]
    assert {status: row.tolist() for status, row in table.iterrows()} == expected
    assert table.index[-1] == "all"


def test_workers_go_on_while_the_caller_works_but_not_far(threads: None) -> None:
    started: list[int] = []
    tasks = {str(number): partial(started.append, number) for number in range(10)}
    results = workers.each_result(tasks, 2)
    first, _ = next(results)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(started) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(started) == [0, 1, 2, 3]  # two for each worker
    assert {first, *(name for name, _ in results)} == set(tasks)
