"""One job per video on a pool of processes: finished ones skipped, failures counted, nothing lost.

A job makes one video's files and writes their record last, so a record that is there, with the fingerprint expected of it, means that
the video is finished. Whatever is killed when, running the same jobs again gives the same files.
"""

import multiprocessing
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import pandas as pd
from pydantic import ValidationError
from tqdm.std import tqdm

from dfdc_lib.records import Outcome
from dfdc_lib.run_folder import Run

Result = TypeVar("Result")
WORKER_DIED = "the worker process died: out of memory, or a crash inside a library"


class Failure(NamedTuple):
    """What a task gives that did not succeed."""

    reason: str  # one line


@dataclass(frozen=True)
class Job:
    """The work for one video; it travels to another process, so its functions must live in a module."""

    video_id: str
    fingerprint: str  # of all that the result depends on
    record_path: Path
    make: Callable[[], Any]  # writes the files, their record last, and returns the record
    read: Callable[[], Any]  # reads that record back
    outcome: Callable[[Any], Outcome]  # says what a record holds


def run_jobs(
    run: Run, stage: str, jobs: Sequence[Job], decided: Iterable[Outcome] = (), workers: int = 0
) -> list[Outcome]:
    """Do a stage's jobs, then write its status file and the failures of all stages.

    Args:
        run: the run folder.
        stage: name of the notebook, e.g. "01_detect_faces".
        jobs: one for every video that the stage works on.
        decided: the outcomes of the videos it has no work for; with the jobs', every video of the run has one.
        workers: processes; 0 = one per core.
    Returns:
        One outcome per video, by video_id.
    Raises:
        RuntimeError: if there was work and all of it failed, or another process works in this run folder.
    """
    with run.lock("stage", f"notebook {stage}"):
        made = {job.video_id: job.outcome(job.read()) for job in jobs if _is_finished(job)}
        waiting = [job for job in jobs if job.video_id not in made]
        with tqdm(total=len(jobs), initial=len(made), desc=stage, unit="video", mininterval=0.5) as progress:
            for video_id, result in each_result({job.video_id: partial(_do, job) for job in waiting}, workers):
                if isinstance(result, Failure):
                    result = Outcome(video_id=video_id, status="failed", note=result.reason)
                made[video_id] = result
                progress.update()
        outcomes = sorted([*decided, *made.values()], key=lambda outcome: outcome.video_id)
        _remove_strays(run, jobs, made)
        write_status(run, stage, outcomes)
    failures = [outcome for outcome in made.values() if outcome.status == "failed"]
    if jobs and len(failures) == len(jobs):
        raise RuntimeError(f"{stage}: all {len(jobs)} videos failed, the first with: {failures[0].note}")
    return outcomes


def write_status(run: Run, stage: str, outcomes: Sequence[Outcome]) -> None:
    """Write what a stage did with each video, and the failures of all stages."""
    run.write_table(
        f"status/{stage}.csv", pd.DataFrame([o.model_dump() for o in outcomes], columns=list(Outcome.model_fields))
    )
    write_failures(run)


def write_failures(run: Run) -> None:
    """Gather the failed videos of all stages that have run into failures.csv."""
    stages = sorted(path.stem for path in (run.root / "status").glob("*.csv"))
    rows = [(stage, o.video_id, o.note) for stage in stages for o in run.read_status(stage) if o.status == "failed"]
    run.write_table("failures.csv", pd.DataFrame(rows, columns=["stage", "video_id", "reason"]))


def core_count() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_finished(job: Job) -> bool:
    try:
        return job.record_path.exists() and job.read().fingerprint == job.fingerprint
    except ValidationError:  # another version of the kit wrote it
        return False


def each_result(tasks: Mapping[str, Callable[[], Result]], workers: int) -> Iterator[tuple[str, Result | Failure]]:
    """Call every task in a worker process and give its name and result as it comes.

    An error in a task is its result, so that one bad video does not stop the others. Where a worker process dies (out of memory, a crash
    inside a decoder), the tasks that were being worked on are done again one at a time, so that only the one to blame fails.

    Args:
        tasks: name → what to call; it travels to another process, so its functions must live in a module.
        workers: processes; 0 = one per core.
    """
    waiting, suspects = deque(tasks), deque[str]()
    while waiting or suspects:
        queue, at_once = (suspects, 1) if suspects else (waiting, min(workers or core_count(), len(waiting)))
        in_flight: dict[Future[Result | Failure], str] = {}
        with worker_pool(at_once) as pool:
            try:
                while queue or in_flight:
                    while queue and len(in_flight) < at_once:
                        in_flight[pool.submit(_attempt, tasks[queue[0]])] = queue[0]
                        queue.popleft()
                    for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        yield in_flight.pop(future), result
            except BrokenProcessPool:
                if queue is suspects:
                    yield from ((name, Failure(WORKER_DIED)) for name in in_flight.values())
                else:
                    suspects.extend(in_flight.values())


def results_here(tasks: Mapping[str, Callable[[], Result]]) -> Iterator[tuple[str, Result | Failure]]:
    """Call every task in this process, and give what `each_result` gives: for so few that workers would take longer to start.

    An error in a task is its result here too; a crash inside a library ends this process.
    """
    for name, task in tasks.items():
        yield name, _attempt(task)


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Make a pool whose workers share the cores fairly and end with this process, however it ends.

    They start afresh: a forked one would inherit a notebook kernel's threads and locks in whatever state they are.
    """
    threads = max(1, core_count() // workers)
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_begin_worker, initargs=(threads,)
    )


def _begin_worker(threads: int) -> None:
    """Share the cores fairly, and end with the parent, at once: a worker that outlives it would go on writing beside its successor."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by torch when it is first imported
    cv2.setNumThreads(threads)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _attempt(task: Callable[[], Result]) -> Result | Failure:
    try:
        return task()
    except Exception as error:  # noqa: BLE001 - the boundary: whatever went wrong is recorded with its reason
        return Failure(" ".join(f"{type(error).__name__}: {error}".split()))


def _do(job: Job) -> Outcome:
    return job.outcome(job.make())


def _remove_strays(run: Run, jobs: Sequence[Job], made: dict[str, Outcome]) -> None:
    """Drop what earlier runs left of videos that are no longer in the data, or that fail now."""
    # What is one video's alone lies right below the stage's folder: boxes/<video_id>.json, crops/<video_id>/
    places = {job.video_id: run.root.joinpath(*job.record_path.relative_to(run.root).parts[:2]) for job in jobs}
    kept = {place for video_id, place in places.items() if made[video_id].status != "failed"}
    for folder in {place.parent for place in places.values()}:
        for path in set(folder.glob("*")) - kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
