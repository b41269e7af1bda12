"""The pool: every job has one outcome, the finished are left alone, one that fails or dies takes no other with it."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from pool_work import STAGE, folder_job, job

from dfdc_lib import workers
from dfdc_lib.records import Outcome
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.workers import WORKER_DIED, core_count, run_jobs, worker_pool, write_failures

PATIENCE_SECONDS = 60  # for a process to start or to end, on a busy machine


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "run")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads in place of processes, where a test is about the bookkeeping: a process takes seconds to start."""
    monkeypatch.setattr(workers, "worker_pool", ThreadPoolExecutor)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """One file per video, one line per call."""
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def call_counts(calls: Path) -> dict[str, int]:
    return {path.name: len(path.read_text().splitlines()) for path in sorted(calls.iterdir())}


def statuses(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.video_id: outcome.status for outcome in outcomes}


def failures(run: Run) -> list[tuple[str, ...]]:
    return list(run.read_table("failures.csv").itertuples(index=False, name=None))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_no_job_is_no_work(run: Run) -> None:
    assert run_jobs(run, STAGE, []) == []
    assert run.read_status(STAGE) == []
    assert failures(run) == []


def test_decided_outcomes_join_the_made_ones_in_order(run: Run, calls: Path) -> None:
    decided = [Outcome(video_id="d", status="not needed", note="why"), Outcome(video_id="b", status="failed before")]
    outcomes = run_jobs(run, STAGE, [job(run, calls, "cc"), job(run, calls, "a")], decided, workers=2)
    assert [(o.video_id, o.status, o.count, o.note, o.fingerprint) for o in outcomes] == [
        ("a", "done", 1, "", "f"),
        ("b", "failed before", 0, "", ""),
        ("cc", "done", 2, "", "f"),
        ("d", "not needed", 0, "why", ""),
    ]
    assert run.read_status(STAGE) == outcomes
    assert failures(run) == []
    assert names(run.root / "hashes") == ["a.json", "cc.json"]
    assert names(run.root / ".partial") == []


@pytest.mark.usefixtures("threads")
def test_the_finished_are_skipped_and_a_changed_fingerprint_is_done_again(run: Run, calls: Path) -> None:
    first = run_jobs(run, STAGE, [job(run, calls, video_id) for video_id in "ab"], workers=1)
    again = run_jobs(run, STAGE, [job(run, calls, video_id) for video_id in "ab"], workers=1)
    assert again == first
    assert call_counts(calls) == {"a": 1, "b": 1}
    changed = run_jobs(run, STAGE, [job(run, calls, "a"), job(run, calls, "b", fingerprint="g")], workers=1)
    assert call_counts(calls) == {"a": 1, "b": 2}
    assert [outcome.fingerprint for outcome in changed] == ["f", "g"]


@pytest.mark.usefixtures("threads")
def test_a_record_that_another_version_wrote_is_made_again(run: Run, calls: Path) -> None:
    run.write_bytes(run.hash_path("a"), b'{"video_id": "a", "fingerprint": "f", "a field of old": 1}')
    assert statuses(run_jobs(run, STAGE, [job(run, calls, "a")], workers=1)) == {"a": "done"}
    assert call_counts(calls) == {"a": 1}


def test_an_error_fails_its_own_job_only(run: Run, calls: Path) -> None:
    outcomes = run_jobs(
        run, STAGE, [job(run, calls, "a", deed="raise"), job(run, calls, "b"), job(run, calls, "c")], workers=1
    )
    assert statuses(outcomes) == {"a": "failed", "b": "done", "c": "done"}
    assert outcomes[0].note == "ValueError: no hash for a"  # on one line
    assert run.read_status(STAGE) == outcomes
    assert failures(run) == [(STAGE, "a", "ValueError: no hash for a")]


@pytest.mark.usefixtures("threads")
def test_a_failed_job_is_tried_again_and_its_line_goes(run: Run, calls: Path) -> None:
    run_jobs(run, STAGE, [job(run, calls, "a", deed="raise"), job(run, calls, "b")], workers=1)
    assert statuses(run_jobs(run, STAGE, [job(run, calls, "a"), job(run, calls, "b")], workers=1)) == {
        "a": "done",
        "b": "done",
    }
    assert call_counts(calls) == {"a": 2, "b": 1}
    assert failures(run) == []


@pytest.mark.usefixtures("threads")
def test_a_stage_fails_only_when_all_of_its_work_failed(run: Run, calls: Path) -> None:
    jobs = [job(run, calls, "b", deed="raise"), job(run, calls, "a", deed="raise")]
    with pytest.raises(RuntimeError, match=r"04_folds: all 2 videos failed, the first with: ValueError: no hash for"):
        run_jobs(run, STAGE, jobs, [Outcome(video_id="c", status="not needed")], workers=1)
    assert statuses(run.read_status(STAGE)) == {"a": "failed", "b": "failed", "c": "not needed"}
    assert [line[1] for line in failures(run)] == ["a", "b"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_fails_its_own_job_only(workers: int, run: Run, calls: Path) -> None:
    jobs = [job(run, calls, video_id, deed="die" if video_id == "b" else "") for video_id in "abcd"]
    outcomes = run_jobs(run, STAGE, jobs, workers=workers)
    assert statuses(outcomes) == {"a": "done", "b": "failed", "c": "done", "d": "done"}
    assert outcomes[1].note == WORKER_DIED
    assert failures(run) == [(STAGE, "b", WORKER_DIED)]
    assert call_counts(calls)["b"] == 2  # once beside others, once alone: so it is the one to blame
    assert names(run.root / "hashes") == ["a.json", "c.json", "d.json"]


@pytest.mark.usefixtures("threads")
def test_what_is_left_of_absent_and_of_failing_videos_goes(run: Run, calls: Path) -> None:
    run_jobs(run, STAGE, [job(run, calls, video_id) for video_id in "abc"], workers=1)
    run_jobs(run, STAGE, [job(run, calls, "a"), job(run, calls, "b", fingerprint="g", deed="raise")], workers=1)
    assert names(run.root / "hashes") == ["a.json"]
    with pytest.raises(RuntimeError, match="all 1 videos failed"):
        run_jobs(run, STAGE, [job(run, calls, "a", fingerprint="g", deed="raise")], workers=1)
    assert names(run.root / "hashes") == []


@pytest.mark.usefixtures("threads")
def test_folders_of_absent_and_of_failing_videos_go(run: Run) -> None:
    run_jobs(run, "02_crop_faces", [folder_job(run, video_id) for video_id in "abc"], workers=1)
    run_jobs(
        run, "02_crop_faces", [folder_job(run, "a"), folder_job(run, "b", fingerprint="g", deed="raise")], workers=1
    )
    assert names(run.root / "crops") == ["a"]
    assert names(run.root / "crops" / "a") == ["00000_0.png", "crops.json"]


@pytest.mark.usefixtures("threads")
def test_a_video_may_be_called_like_a_folder_of_the_run(run: Run, calls: Path) -> None:
    run.write_bytes(run.root / "videos.csv", b"the list of videos")
    run_jobs(run, STAGE, [job(run, calls, "hashes"), job(run, calls, "z")], workers=1)
    run_jobs(run, "02_crop_faces", [folder_job(run, "crops"), folder_job(run, "z")], workers=1)
    assert names(run.root / "hashes") == ["hashes.json", "z.json"]
    assert names(run.root / "crops") == ["crops", "z"]
    assert names(run.root / "crops" / "crops") == ["00000_0.png", "crops.json"]
    assert (run.root / "videos.csv").read_bytes() == b"the list of videos"


def test_failures_are_gathered_from_all_stages(run: Run) -> None:
    write_failures(run)
    assert failures(run) == []
    stages = {
        "01_detect_faces": [
            Outcome(video_id="007", status="failed", note="a, b"),
            Outcome(video_id="b", status="done"),
        ],
        "00_videos": [
            Outcome(video_id="NA", status="failed", note="why"),
            Outcome(video_id="c", status="failed before", note="no"),
        ],
    }
    for stage, outcomes in stages.items():
        run.write_table(f"status/{stage}.csv", pd.DataFrame([outcome.model_dump() for outcome in outcomes]))
    write_failures(run)
    assert failures(run) == [("00_videos", "NA", "why"), ("01_detect_faces", "007", "a, b")]


def test_a_run_folder_at_work_is_refused(run: Run, calls: Path) -> None:
    with (
        run.lock("stage", "another"),
        pytest.raises(RuntimeError, match="notebook 04_folds: another process is at work"),
    ):
        run_jobs(run, STAGE, [job(run, calls, "a")])
    assert call_counts(calls) == {}


def test_the_cores_are_shared_among_the_workers() -> None:
    with worker_pool(core_count()) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    with worker_pool(1) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == str(core_count())


def is_running(process_id: int) -> bool:
    """Tell whether a process lives; one that has ended but that nobody has waited for does not."""
    stat = Path(f"/proc/{process_id}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux's /proc which processes live")
def test_workers_end_when_their_parent_is_killed(run: Run, calls: Path) -> None:
    script = Path(__file__).with_name("pool_work.py")
    with subprocess.Popen(
        [sys.executable, str(script), str(run.root), str(calls)], stderr=subprocess.DEVNULL
    ) as parent:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while sum(call_counts(calls).values()) < 2 and time.monotonic() < give_up:
            time.sleep(0.1)
        workers = [int(path.read_text()) for path in calls.iterdir()]
        assert len(set(workers)) == 2
        assert all(is_running(worker) for worker in workers)
        os.kill(parent.pid, signal.SIGKILL)
    while any(is_running(worker) for worker in workers) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert [worker for worker in workers if is_running(worker)] == []
    with run.lock("stage", "the next"):  # nobody holds the folder any more
        pass


def test_a_few_tasks_are_done_here_and_an_error_is_a_result() -> None:
    def refuse() -> int:
        raise ValueError("no\nnumber")

    done = dict(workers.results_here({"a": os.getpid, "b": refuse, "c": lambda: 3}))
    assert done == {"a": os.getpid(), "b": workers.Failure("ValueError: no number"), "c": 3}
