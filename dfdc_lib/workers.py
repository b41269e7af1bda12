"""One job per video on a pool of worker processes.

A job writes one video's files, the record last. A record with the expected fingerprint therefore means that the video
is finished, and running the same jobs again after any interruption produces the same files. A failure is recorded with
its reason, and the other jobs go on.
"""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import ValidationError
from tqdm.std import tqdm

from dfdc_lib.processes import core_count, worker_pool
from dfdc_lib.records import Outcome, Record
from dfdc_lib.run_folder import VIDEO_FOLDERS, Run
from dfdc_lib.staleness import fingerprint, is_current

if TYPE_CHECKING:  # imported where used: the command line checks the name of an executor alone
    import pandas as pd

Result = TypeVar("Result")
VIDEOS_AT_ONCE = 500  # whose results are in memory when a table of all results is written
TASKS_PER_WORKER = 2  # in flight: one runs, and the next starts without waiting for the caller
WORKER_DIED = "the worker process died: out of memory, or a crash inside a library"


class Failure(NamedTuple):
    """The result of a task that raised an exception or whose worker process died."""

    reason: str  # one line


@dataclass(frozen=True)
class Job:
    """The work for one video. Jobs are pickled, so their functions must live in a module.

    `fingerprints`: record file -> fingerprint of everything it depends on.
    """

    video_id: str
    fingerprints: Mapping[Path, str]  # record file -> fingerprint of everything the record depends on
    record_type: type[Record]
    make: Callable[[], Any]  # writes the files, the record last, and returns the record
    outcome: Callable[..., Outcome]  # summarises the records, in the order of `fingerprints`

    def finished(self) -> list[Any]:
        """Return the job's records if all are up to date; [] if the work has to be done."""
        try:
            records = [self.record_type.model_validate_json(path.read_bytes()) for path in self.fingerprints]
        except (FileNotFoundError, ValidationError):  # not written yet, or by another version of the kit
            return []
        expected = zip(records, self.fingerprints.values(), strict=True)
        return records if all(is_current(vars(record)["fingerprint"], now) for record, now in expected) else []


Executor = Callable[[Sequence[Job]], Iterator[tuple[str, Outcome | Failure]]]
TaskRunner = Callable[[Mapping[str, Callable[[], Any]]], Iterator[tuple[str, Any]]]


def in_processes(workers: int = 0, group_of: Callable[[str], str] = str) -> Executor:
    """Return an executor for `run_jobs` that runs jobs in `workers` processes; 0 = one per core. See `in_groups`."""
    return in_groups(partial(each_result, workers=workers), group_of)


def in_groups(run_tasks: TaskRunner, group_of: Callable[[str], str] = str) -> Executor:
    """Return an executor for `run_jobs` that runs the jobs of a group one after another in one process.

    They can share its memory. Jobs of a group that fail, alone or with their process, run once more, each by itself, so
    that only the job that kills its process fails. `run_tasks`: calls the tasks, one per group; see `each_result`.
    `group_of` maps a video_id to the name of a group; by default every video is a group of its own.
    """

    def execute(jobs: Sequence[Job]) -> Iterator[tuple[str, Outcome | Failure]]:
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            groups.setdefault(group_of(job.video_id), []).append(job)
        alone = {job.video_id: partial(_run_job, job) for group in groups.values() if len(group) == 1 for job in group}
        together = {name: partial(_run_group, group) for name, group in groups.items() if len(group) > 1}
        for name, results in run_tasks(together):
            done = {} if isinstance(results, Failure) else results
            yield from done.items()
            alone |= {job.video_id: partial(_run_job, job) for job in groups[name] if job.video_id not in done}
        yield from run_tasks(alone)

    return execute


def run_jobs(run: Run, stage: str, jobs: Sequence[Job], decided: Iterable[Outcome], execute: Executor) -> list[Outcome]:
    """Run the jobs whose records are missing or out of date, then write the stage's status file and failures.csv.

    Also delete the stage's files of videos that failed or have no job.

    Args:
        run: the run folder.
        stage: name of the notebook, e.g. "01_detect_faces".
        jobs: one for every video that the stage works on.
        decided: outcomes of all videos of the run that have no job.
        execute: runs the given jobs and yields (video_id, outcome or failure); see `in_processes`.
    Returns:
        One outcome per video, sorted by video_id.
    Raises:
        RuntimeError: if there are jobs and all fail, or if another process runs a stage in this run folder.
    """
    everything = record_jobs(run, stage, jobs, decided, execute)
    failures = [outcome for outcome in everything if outcome.status == "failed"]
    if jobs and len(failures) == len(jobs):
        raise RuntimeError(f"{stage}: all {len(jobs)} videos failed, the first with: {failures[0].note}")
    return everything


def record_jobs(
    run: Run, stage: str, jobs: Sequence[Job], decided: Iterable[Outcome], execute: Executor
) -> list[Outcome]:
    """Do what `run_jobs` does, but raise nothing if all jobs fail: for a stage whose results others can do without."""
    with run.lock("stage", f"notebook {stage}"):
        outcomes = {job.video_id: job.outcome(*records) for job in jobs if (records := job.finished())}
        unfinished = [job for job in jobs if job.video_id not in outcomes]
        with tqdm(total=len(jobs), initial=len(outcomes), desc=stage, unit="video", mininterval=0.5) as progress:
            for video_id, result in execute(unfinished):
                if isinstance(result, Failure):
                    result = Outcome(video_id=video_id, status="failed", note=result.reason)
                outcomes[video_id] = result
                progress.update()
        everything = sorted([*decided, *outcomes.values()], key=lambda outcome: outcome.video_id)
        _remove_leftovers(run, jobs, outcomes)
        write_status(run, stage, everything)
    return everything


def result_outcome(record: Any, count: int, notes: Sequence[str] = ()) -> Outcome:
    """Return the outcome of a video: "done", or "nothing" if `count` is 0.

    The outcome's fingerprint is a hash of the record's content, not of the inputs: a rerun with equal results leaves
    later stages up to date. `record`: the result that was written; `count`: number of results, e.g. of faces; `notes`:
    phrases about the result.
    """
    result = fingerprint(record.model_dump_json(exclude={"fingerprint"}))
    status = "done" if count else "nothing"
    return Outcome(video_id=record.video_id, status=status, count=count, note="; ".join(notes), fingerprint=result)


def write_status(run: Run, stage: str, outcomes: Sequence[Outcome]) -> None:
    """Write `status/<stage>.csv`, and rewrite failures.csv, which lists the failed videos of all stages.

    `stage`: name of the notebook; `outcomes`: one for every video of the run.
    """
    import pandas as pd

    table = pd.DataFrame([outcome.model_dump() for outcome in outcomes], columns=list(Outcome.model_fields))
    run.write_table(f"status/{stage}.csv", table)
    stages = sorted(path.stem for path in (run.root / "status").glob("*.csv"))
    rows = [(name, *row) for name in stages for row in _failures(run.read_table(f"status/{name}.csv"))]
    run.write_table("failures.csv", pd.DataFrame(rows, columns=["stage", "video_id", "reason"]))


def count_outcomes(outcomes: Sequence[Outcome]) -> "pd.DataFrame":
    """Count videos and results by status.

    Returns:
        Index: status, with a last row "all"; columns: videos (their number), made (the number of their results).
    """
    import pandas as pd

    table = pd.DataFrame([(o.status, 1, o.count) for o in outcomes], columns=["status", "videos", "made"])
    counts = table.groupby("status").sum()
    counts.loc["all"] = counts.sum()
    return counts


def done_videos(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the video_ids whose status is "done"."""
    return [outcome.video_id for outcome in outcomes if outcome.status == "done"]


def done_batches(outcomes: Sequence[Outcome]) -> Iterator[list[str]]:
    """Yield the video_ids whose status is "done", a few hundred at a time; one empty list if there are none.

    A table that is written in such parts needs little memory, however many rows it has.
    """
    names = done_videos(outcomes)
    for start in range(0, max(1, len(names)), VIDEOS_AT_ONCE):
        yield names[start : start + VIDEOS_AT_ONCE]


def each_result(tasks: Mapping[str, Callable[[], Result]], workers: int = 0) -> Iterator[tuple[str, Result | Failure]]:
    """Call every task in a worker process and yield its name and result as it completes.

    If a task raises, its result is a `Failure` and the others go on. If a worker process dies (out of memory, a crash
    in a decoder), the tasks in flight are repeated one at a time; a task whose worker dies again yields a `Failure`.
    One extra task per worker is queued, so that workers do not wait while the caller works on a result.

    Args:
        tasks: name -> picklable function without arguments.
        workers: processes; 0 = one per core.
    """
    waiting, suspects = deque(tasks), deque[str]()
    while waiting or suspects:
        queue, at_once = (suspects, 1) if suspects else (waiting, min(workers or core_count(), len(waiting)))
        most = 1 if queue is suspects else at_once * TASKS_PER_WORKER
        in_flight: dict[Future[Result | Failure], str] = {}
        with worker_pool(at_once) as pool:
            try:
                while queue or in_flight:
                    while queue and len(in_flight) < most:
                        in_flight[pool.submit(attempt, tasks[queue[0]])] = queue[0]
                        queue.popleft()
                    finished = wait(in_flight, return_when=FIRST_COMPLETED).done
                    for future in [future for future in in_flight if future in finished]:
                        result = future.result()
                        yield in_flight.pop(future), result
            except BrokenProcessPool:
                for future in [future for future in in_flight if future.done() and not future.exception()]:
                    yield in_flight.pop(future), future.result()
                if queue is suspects:
                    yield from ((name, Failure(WORKER_DIED)) for name in in_flight.values())
                else:
                    suspects.extend(in_flight.values())


def results_here(tasks: Mapping[str, Callable[[], Result]]) -> Iterator[tuple[str, Result | Failure]]:
    """Call the tasks one after another in this process; yield the name and the result of each.

    If a task raises, its result is a `Failure`. `tasks`: name -> function without arguments.
    """
    for name, task in tasks.items():
        yield name, attempt(task)


def attempt(task: Callable[[], Result]) -> Result | Failure:
    """Return the task's result, or a `Failure` if it raises."""
    try:
        return task()
    except Exception as error:  # noqa: BLE001 - the boundary: every error is recorded with its reason
        return Failure(" ".join(f"{type(error).__name__}: {error}".split()))


def _run_group(jobs: Sequence[Job]) -> dict[str, Outcome]:
    """Run jobs one after another; return the outcomes of those that succeed, by video_id."""
    outcomes = {job.video_id: attempt(partial(_run_job, job)) for job in jobs}
    return {video_id: outcome for video_id, outcome in outcomes.items() if not isinstance(outcome, Failure)}


def _run_job(job: Job) -> Outcome:
    return job.outcome(job.make())


def _failures(statuses: "pd.DataFrame") -> Iterable[tuple[str, str]]:
    """Return the video_id and the reason of each failure in a status file."""
    return statuses.loc[statuses["status"] == "failed", ["video_id", "note"]].itertuples(index=False, name=None)


def _remove_leftovers(run: Run, jobs: Sequence[Job], outcomes: Mapping[str, Outcome]) -> None:
    """Delete files of videos that have no job any more, or whose job fails now."""
    kept = {video_id for video_id, outcome in outcomes.items() if outcome.status != "failed"}
    folders = {path.relative_to(run.root).parts[0] for job in jobs for path in job.fingerprints}
    for place in (run.root / name for name in folders & VIDEO_FOLDERS if (run.root / name).is_dir()):
        with os.scandir(place) as entries:
            left = [entry.path for entry in entries if entry.name.removesuffix(".json") not in kept]
        for path in map(Path, left):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
