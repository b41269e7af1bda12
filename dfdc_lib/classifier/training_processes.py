"""The processes that share a training: how they start, on one machine or several, and how they exchange results.

Input: the number of processes and machines, or the environment that torchrun sets. Output: a command, and which of the
processes this one is. Source: the documentation of torchrun (rendezvous with the backend c10d) and of SLURM's srun.
"""

import os
import shutil
import socket
import sys
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist

from dfdc_lib.backends.choice import choose_engine
from dfdc_lib.processes import core_count

LONGEST_WAIT = timedelta(minutes=30)  # for the slowest process; NCCL's default is 10 minutes
MASTER_PORT = 29400  # torchrun's default


@dataclass(frozen=True)
class Process:
    """One of the `count` processes that share a training; `rank` counts from 0.

    `gpu`: number of its GPU, if there are several processes; `here`: how many of them run on this machine; `loaders`:
    number of processes that load crops for this one, 0 = it loads them itself.
    """

    rank: int = 0
    count: int = 1
    gpu: int = 0
    here: int = 1
    loaders: int = 0

    @property
    def device(self) -> torch.device:
        """Return the device of this process: its GPU if there are GPUs, else the CPU."""
        device = torch.device(choose_engine("torch").device)
        return torch.device("cuda", self.gpu) if device.type == "cuda" and self.count > 1 else device

    def with_loaders(self, loaders: int) -> "Process":
        """Return this process with a number of loaders; -1 = as many as the cores allow.

        For a GPU that is one per core that this process may use, except the one that it needs itself. On a CPU it is 0:
        the network uses all cores. Raises ValueError for a number below -1.
        """
        if loaders < -1:
            raise ValueError(f"LOADERS must be -1 (as many as the cores allow), 0 or more, got {loaders}")
        if loaders == -1:
            loaders = max(1, core_count() // self.here - 1) if self.device.type == "cuda" else 0
        return replace(self, loaders=loaders)


ALONE = Process()


def join_processes() -> Process:
    """Connect this process to the others that torchrun has started, and return which one it is."""
    process = Process(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
    device = process.device
    if device.type == "cuda":
        torch.cuda.set_device(device)  # otherwise every process would also open a context on the first GPU
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    return process


def gather(part: np.ndarray, process: Process) -> np.ndarray:
    """Return an array of which each process has a part, (n,); all processes must call this, and all get the array.

    `part`: the values at `process.rank`, `process.rank + process.count` ... of the array.
    """
    if process.count == 1:
        return part
    parts = [part] * process.count
    dist.all_gather_object(parts, part)
    whole = np.empty(sum(map(len, parts)), part.dtype)
    for rank, values in enumerate(parts):
        whole[rank :: process.count] = values
    return whole


def torchrun_command(processes: int, nodes: int) -> list[str]:
    """Return the command that starts a module, given after it, in `processes` processes on each of `nodes` machines.

    In a SLURM allocation, srun starts it on all machines. Elsewhere it starts the processes of this machine, which wait
    for those of the others, where the same command must be run. They meet at MASTER_ADDR:MASTER_PORT; by default, this
    machine and port 29400.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    if nodes == 1:
        return [*torchrun, "--standalone", "-m"]
    address = os.environ.get("MASTER_ADDR") or socket.gethostname()
    endpoint = f"{address}:{os.environ.get('MASTER_PORT') or MASTER_PORT}"
    meeting = [f"--nnodes={nodes}", "--rdzv_backend=c10d", "--rdzv_id=dfdc", f"--rdzv_endpoint={endpoint}"]
    srun = [f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    return [*(["srun", *srun] if by_srun(nodes) else []), *torchrun, *meeting, "-m"]


def by_srun(nodes: int) -> bool:
    """Return whether srun starts the processes of all machines: in a SLURM allocation, if there are several."""
    return nodes > 1 and "SLURM_JOB_ID" in os.environ and shutil.which("srun") is not None
