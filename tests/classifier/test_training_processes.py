"""Training processes: their loaders, the command that starts them, and the parts that they gather."""

import sys

import numpy as np
import pytest
import torch

from dfdc_lib.backends.choice import Engine
from dfdc_lib.classifier import training_processes
from dfdc_lib.classifier.training_processes import ALONE, Process, gather, torchrun_command

MEETING = ["--nnodes=2", "--rdzv_backend=c10d", "--rdzv_id=dfdc"]


@pytest.mark.parametrize(
    ("device", "here", "asked", "expected"),
    [
        ("cuda", 1, -1, 15),
        ("cuda", 4, -1, 3),
        ("cuda", 16, -1, 1),
        ("cpu", 1, -1, 0),
        ("cuda", 1, 0, 0),
        ("cpu", 2, 3, 3),
    ],
)
def test_loaders(device: str, here: int, asked: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_processes, "core_count", lambda: 16)
    monkeypatch.setattr(training_processes, "choose_engine", lambda backend: Engine("torch", device))
    assert Process(here=here).with_loaders(asked) == Process(here=here, loaders=expected)


def test_a_negative_number_of_loaders_is_refused() -> None:
    with pytest.raises(ValueError, match="-2"):
        ALONE.with_loaders(-2)


@pytest.mark.parametrize(
    ("gpus", "process", "expected"),
    [
        (True, ALONE, "cuda"),
        (True, Process(rank=5, count=8, gpu=1, here=4), "cuda:1"),
        (False, Process(rank=5, count=8, gpu=1, here=4), "cpu"),
    ],
)
def test_device(gpus: bool, process: Process, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_processes, "choose_engine", lambda _: Engine("torch", "cuda" if gpus else "cpu"))
    assert process.device == torch.device(expected)


def test_alone_a_process_has_the_whole_array() -> None:
    assert gather(np.arange(3), ALONE).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("nodes", "environment", "expected"),
    [
        (1, {"MASTER_ADDR": "node7", "SLURM_JOB_ID": "1"}, ["--standalone"]),
        (2, {}, [*MEETING, "--rdzv_endpoint=here:29400"]),
        (2, {"MASTER_ADDR": "node7", "MASTER_PORT": "555"}, [*MEETING, "--rdzv_endpoint=node7:555"]),
        (2, {"SLURM_JOB_ID": "1"}, [*MEETING, "--rdzv_endpoint=here:29400"]),
    ],
)
def test_torchrun_command(
    nodes: int, environment: dict[str, str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(training_processes.socket, "gethostname", lambda: "here")
    monkeypatch.setattr(training_processes.shutil, "which", lambda name: f"/usr/bin/{name}")
    command = torchrun_command(4, nodes)
    by_srun = nodes > 1 and "SLURM_JOB_ID" in environment
    assert command[: command.index(sys.executable)] == (
        ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1"] if by_srun else []
    )
    assert command[command.index(sys.executable) :] == [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=4"),
        *expected,
        "-m",
    ]
