"""Where the jobs of a stage run: in this process, in worker processes, or on the workers of a Dask cluster.

In: the name of an executor, as in `--executor`. Out: an executor for `run_jobs`. The jobs, their results and their
failures are the same in all three; the run folder and the videos must have the same paths on every machine.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from dfdc_lib.run_folder import Run
from dfdc_lib.staleness import PACKAGE, fingerprint, read_module
from dfdc_lib.workers import WORKER_DIED, Executor, Failure, TaskRunner, attempt, each_result, in_groups, results_here

RETRIES = 2  # of a task that fails on a cluster, where a machine or its connection to the storage may be at fault
TASKS_PER_THREAD = 4  # sent to the cluster at once: none of its threads waits for the next, and few results pile up
WORKERS_TIMEOUT_SECONDS = 600  # a queue of a cluster may take minutes to start the first worker


def require_executor(executor: str) -> None:
    """Raise ValueError unless `executor` is "inline", "processes" or the address of a Dask scheduler."""
    if executor not in ("inline", "processes") and not re.fullmatch(r"(tcp|tls)://[^\s/]+:\d+", executor):
        raise ValueError(f"the executor must be inline, processes or tcp://<scheduler>:<port>, got {executor!r}")


def choose_executor(
    run: Run, executor: str, workers: int = 0, device: str = "cpu", group_of: Callable[[str], str] = str
) -> Executor:
    """Return an executor for `run_jobs`; see `choose_task_runner` for the arguments, `in_groups` for `group_of`."""
    return in_groups(choose_task_runner(run, executor, workers, device), group_of)


def choose_task_runner(run: Run, executor: str, workers: int = 0, device: str = "cpu") -> TaskRunner:
    """Return a function that calls tasks and yields the name and the result of each as it completes.

    A task that raises, or whose process dies, has a `Failure` as its result; the others go on.

    Args:
        run: the run folder that the tasks use.
        executor: "inline" (in this process, one after another), "processes", or "tcp://<scheduler>:<port>".
        workers: number of processes, 0 = one per core; a cluster has its own.
        device: if it is "cuda", a task on a cluster needs a worker with a resource GPU=1.
    Raises:
        ValueError: if `executor` is none of the three.
    """
    require_executor(executor)
    if executor == "inline":
        return results_here
    if executor == "processes":
        return partial(each_result, workers=workers)
    return partial(_cluster_results, address=executor, root=run.root, device=device)


def _cluster_results(
    tasks: Mapping[str, Callable[[], Any]], address: str, root: Path, device: str
) -> Iterator[tuple[str, Any]]:
    """Call tasks on the workers of a Dask cluster; yield the name and the result of each as it completes.

    A task that fails is repeated `RETRIES` times. The tasks of a worker that is lost go to other workers.
    Raises OSError if there is no scheduler, RuntimeError if it is lost, has no workers, or they cannot do the work.
    """
    if not tasks:
        return
    from dask.distributed import Client, as_completed  # here: it takes seconds, and only clusters need it

    resources = {"GPU": 1} if device.startswith("cuda") else None
    waiting = iter(tasks.items())
    with Client(address, set_as_default=False) as client:
        _require_workers(client, root)
        names: dict[str, str] = {}  # of the futures in flight
        completed = as_completed(loop=client.loop)
        while True:
            places = TASKS_PER_THREAD * max(1, sum(client.nthreads().values())) - len(names)
            for name, task in islice(waiting, max(0, places)):
                future = client.submit(_call, task, pure=False, retries=RETRIES, resources=resources)
                names[future.key] = name
                completed.add(future)
            if not names:
                return
            for future in completed.next_batch():
                yield names.pop(future.key), _result_of(future, address)
                future.release()


def _result_of(future: Any, address: str) -> Any:
    from dask.distributed import KilledWorker

    if future.cancelled():
        raise RuntimeError(f"lost the scheduler {address}: start it again, then repeat the command")
    error = future.exception()  # if the result was lost with its worker, this waits until it is computed again
    return future.result() if error is None else Failure(WORKER_DIED if isinstance(error, KilledWorker) else str(error))


def _call(task: Callable[[], Any]) -> Any:
    """Call a task on a cluster; raise its failure as one line, so that Dask repeats it."""
    result = attempt(task)
    if isinstance(result, Failure):
        raise RuntimeError(result.reason)
    return result


def _require_workers(client: Any, root: Path) -> None:
    """Raise RuntimeError unless every worker of a cluster sees this run folder and has the same code."""
    client.wait_for_workers(1, timeout=WORKERS_TIMEOUT_SECONDS)
    token, content = root / f".{uuid.uuid4().hex}.token", uuid.uuid4().hex
    token.write_text(content, encoding="utf-8")
    try:
        answers = client.run(_look, token, on_error="return")
    finally:
        token.unlink()
    wrong = {worker: answer for worker, answer in answers.items() if answer != (content, _code())}
    if not wrong:
        return
    worker, answer = next(iter(wrong.items()))
    problem = f"{len(wrong)} of {len(answers)} workers cannot do the work, for example {worker}"
    if isinstance(answer, OSError) or (isinstance(answer, tuple) and answer[0] != content):
        remedy = "put it on storage that all machines mount at the same path (--run), or use --executor processes"
        raise RuntimeError(f"{problem}: it does not see the run folder {root}: {remedy}")
    reason = "it has another version of dfdc_lib" if isinstance(answer, tuple) else f"{type(answer).__name__}: {answer}"
    raise RuntimeError(f"{problem}: {reason}: start all workers from the same installation as this process")


def _look(token: Path) -> tuple[str, str]:
    """Return what a worker reads in a file of the run folder, and the fingerprint of its code."""
    return token.read_text(encoding="utf-8"), _code()


def _code() -> str:
    """Return a fingerprint of the code that makes results."""
    modules = sorted(path for package in ("data", "faces") for path in (PACKAGE / package).glob("*.py"))
    return fingerprint(*(read_module(path)[0] for path in modules))
