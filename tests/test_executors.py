"""The three executors make the same files, outcomes and failures; a cluster loses no job with a worker."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from worker_jobs import STAGE, job

from dfdc_lib import executors
from dfdc_lib.backends.choice import ON_CPU
from dfdc_lib.classifier.computation import Computation
from dfdc_lib.classifier.predict import predict
from dfdc_lib.data.video_stage import find_videos
from dfdc_lib.executors import TASKS_PER_THREAD, choose_executor, choose_task_runner, require_executor
from dfdc_lib.faces.crop_stage import crop_faces
from dfdc_lib.faces.detect_stage import detect_faces
from dfdc_lib.faces.mask_stage import make_masks
from dfdc_lib.records import DetectorSettings, ModelCard, Recipe
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.workers import run_jobs

TESTS = Path(__file__).parent
PATIENCE_SECONDS = 120
MADE = (
    "alignments/*",
    "boxes/*",
    "crops/*/*",
    "masks/*/*",
    "crops.parquet",
    "masks.csv",
    "status/0[0-3]*",
    "failures.csv",
)


class Cluster:
    """A Dask scheduler and its workers: processes with one thread each, on the loopback interface."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen]()
        self._start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.scheduler_file = folder / "scheduler.json"
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not self.scheduler_file.exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        self.address = json.loads(self.scheduler_file.read_bytes())["address"]

    def start_worker(self, *options: str) -> int:
        limits = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        return self._start("distributed.cli.dask_worker", *limits, *options)

    def _start(self, module: str, *options: str) -> int:
        command = [sys.executable, "-m", module, "--scheduler-file", str(self.folder / "scheduler.json"), *options]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
        with (self.folder / "log.txt").open("a") as log:
            self.processes.append(subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=log))
        return self.processes[-1].pid


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield started
    finally:
        for process in started.processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def gpu_worker(cluster: Cluster) -> int:
    return cluster.start_worker("--resources", "GPU=1")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "run")


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Folder with one file per video and one line, the number of the process, per call."""
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls"


def processes_of(calls: Path) -> dict[str, list[int]]:
    return {path.name: [int(line) for line in path.read_text(encoding="utf-8").split()] for path in calls.iterdir()}


def files(run: Run) -> dict[str, bytes]:
    paths = [path for pattern in MADE for path in run.root.glob(pattern)]
    return {str(path.relative_to(run.root)): path.read_bytes() for path in paths}


def add_small_model(run: Run) -> None:
    """Write an untrained model into a run folder."""
    import torch

    from dfdc_lib.classifier.checkpoints import save_model
    from dfdc_lib.classifier.model import create_model

    torch.manual_seed(0)
    card = ModelCard(name="small", encoder="resnet18", noise=True, recipe=Recipe(size=64))
    model = create_model(card.encoder, pretrained=False, drop_path=0, noise=True)
    save_model(run.root / "models" / "small", model, card)


def kill_when(reached: Callable[[], bool], process_id: int) -> threading.Thread:
    """Start a thread that kills a process as soon as `reached()` is true."""

    def wait_and_kill() -> None:
        while not reached():
            time.sleep(0.01)
        os.kill(process_id, signal.SIGKILL)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("executor", ["inline", "processes", "tcp://localhost:8786", "tls://10.0.0.1:8786"])
def test_executors(executor: str) -> None:
    require_executor(executor)


@pytest.mark.parametrize("executor", ["", "dask", "tcp://", "tcp://host", "host:8786", "http://host:8786"])
def test_what_is_no_executor(executor: str, run: Run) -> None:
    with pytest.raises(ValueError, match="executor"):
        choose_task_runner(run, executor)


@pytest.mark.slow
def test_stages_01_to_03_and_07_on_a_cluster_that_loses_a_worker(
    cluster: Cluster, gpu_worker: int, sample_root: Path, tmp_path: Path
) -> None:
    """The files of 01-03 are those of `inline`, byte by byte; so are the faces of 07. 02 loses a worker."""
    runs, settings = {}, DetectorSettings(frame_stride=11)
    victim = cluster.start_worker()
    for executor in ("inline", cluster.address):
        run = runs[executor] = open_run(tmp_path / f"run{len(runs)}")
        find_videos(run, str(sample_root / "dfdc_train_part_0"))
        if executor == cluster.address:
            crops = run.root / "crops"
            killing = kill_when(lambda folder=crops: len(list(folder.glob("*/crops.json"))) >= 4, victim)
        detect_faces(run, settings, ON_CPU, executor=executor)
        crop_faces(run, executor=executor)
        make_masks(run, executor=executor)
        add_small_model(run)
        predict(run, ["small"], "all", 3, "mean", Computation(ON_CPU, executor=executor))
    killing.join()
    expected, made = (files(run) for run in runs.values())
    assert sorted(made) == sorted(expected) and len(made) > 30
    assert [name for name, content in expected.items() if made[name] != content] == []
    tables = [run.read_table("scores/small.parquet") for run in runs.values()]
    assert set(tables[0]["video_id"]) == {video.video_id for video in run.read_videos()}
    pd.testing.assert_frame_equal(*(table.drop(columns=["logit", "score"]) for table in tables), check_exact=True)
    pd.testing.assert_frame_equal(*tables, atol=1e-4, rtol=0)  # videos are scored in the order in which they arrive


@pytest.mark.parametrize("kind", ["inline", "processes", "cluster"])
def test_outcomes_and_failures_are_the_same(kind: str, request: pytest.FixtureRequest, run: Run, calls: Path) -> None:
    if kind == "cluster":
        request.getfixturevalue("gpu_worker")
    executor = request.getfixturevalue("cluster").address if kind == "cluster" else kind
    jobs = [job(run, calls, name, action="raise" if name == "a2" else "") for name in ("a1", "a2", "a3", "b1")]
    outcomes = run_jobs(run, STAGE, jobs, (), choose_executor(run, executor, group_of=lambda name: name[0]))
    assert [(o.video_id, o.status) for o in outcomes] == [
        ("a1", "done"),
        ("a2", "failed"),
        ("a3", "done"),
        ("b1", "done"),
    ]
    assert outcomes[1].note == "ValueError: no hash for a2"
    attempts = {name: len(found) for name, found in processes_of(calls).items()}
    retries = executors.RETRIES if kind == "cluster" else 0
    assert attempts == {"a1": 1, "a2": 2 + retries, "a3": 1, "b1": 1}


def test_a_worker_that_dies_costs_its_jobs_in_flight(cluster: Cluster, gpu_worker: int, run: Run, calls: Path) -> None:
    """GPU jobs go to the worker with a GPU, the others to any; the job whose worker dies is repeated on another."""
    from distributed import Client

    cluster.start_worker()
    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(2)
    on_gpu = choose_executor(run, cluster.address, device="cuda:0")
    run_jobs(run, STAGE, [job(run, calls, name) for name in "uvwxyz"], (), on_gpu)
    assert processes_of(calls) == {name: [gpu_worker] for name in "uvwxyz"}
    jobs = [job(run, calls, name, action="die once" if name == "c" else "") for name in "abcdef"]
    outcomes = run_jobs(run, STAGE, jobs, (), choose_executor(run, cluster.address))
    assert [outcome.status for outcome in outcomes] == ["done"] * len(jobs)
    first, second = processes_of(calls)["c"]
    assert first != second


def test_results_that_are_lost_with_their_worker_are_computed_again(cluster: Cluster, run: Run) -> None:
    """The worker dies after its tasks, before their results are fetched."""
    from distributed import Client

    workers = {cluster.start_worker(), cluster.start_worker()}
    with Client(cluster.address, set_as_default=False) as client:
        while not workers <= set(client.run(os.getpid).values()):
            time.sleep(0.05)
        tasks = {str(number): os.getpid for number in range(TASKS_PER_THREAD * len(client.nthreads()))}
        results = choose_task_runner(run, cluster.address)(tasks)
        names = {next(results)[0]}
        while any(client.processing().values()):
            time.sleep(0.05)
        victim = workers.pop()
        os.kill(victim, signal.SIGKILL)
        while victim in client.run(os.getpid, on_error="ignore").values():
            time.sleep(0.05)
        made = dict(results)
    assert names | set(made) == set(tasks) and victim not in made.values()


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs Linux's /proc")
def test_a_run_folder_that_workers_do_not_see_is_refused(
    cluster: Cluster, gpu_worker: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run(Path("/proc/self/cwd"))  # another folder in every process
    with pytest.raises(RuntimeError, match="run folder"):
        dict(choose_task_runner(run, cluster.address)({"a": os.getpid}))
    assert list(tmp_path.iterdir()) == []


def test_workers_with_other_code_are_refused(
    cluster: Cluster, gpu_worker: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "PACKAGE", run.root)
    with pytest.raises(RuntimeError, match="version"):
        dict(choose_task_runner(run, cluster.address)({"a": os.getpid}))
