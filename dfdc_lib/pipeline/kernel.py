"""The kernels that notebooks run in: this Python's, not the one that is installed as "python3".

A kernel is forked from the server of `processes`, which has imported what notebooks need, so that it starts in a tenth
of the time; its worker processes come from the same server. Where a system has no such server, a kernel is a new
Python.
"""

import asyncio
import atexit
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning import LocalProvisioner

from dfdc_lib.pipeline.execution import kernel_server
from dfdc_lib.processes import HAS_SERVER, adopt_server, end_after

POLL_SECONDS = 0.01


class ThisPython(AsyncKernelManager):
    """Starts kernels of this Python; kernelspecs on JUPYTER_PATH are ignored."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if HAS_SERVER:
            self.provisioner = ForkedKernel(parent=self, kernel_spec=self.kernel_spec)

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return the kernel specification that starts ipykernel with `sys.executable`."""
        return KernelSpec(**get_kernel_dict())


class ForkedKernel(LocalProvisioner):
    """Starts, watches and ends one kernel that is forked from the server."""

    process: BaseProcess | None = None  # type: ignore[assignment]

    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:
        """Fork the kernel, and return how to connect to it.

        `cmd`: what would start it as a new Python; `options`: its environment `env` and perhaps its folder `cwd`.
        """
        arguments = cmd[cmd.index("-f") :]
        folder, server = options.get("cwd") or Path.cwd(), cast(Any, kernel_server())
        self.process = server.Process(target=run_kernel, args=(arguments, folder, options["env"]))
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")  # or the kernel would run the program up to its main guard
        try:
            self.process.start()
        except (EOFError, OSError) as error:
            raise RuntimeError(f"the server that forks kernels has died ({type(error).__name__})") from error
        finally:
            sys.modules["__main__"] = program
        atexit.register(self.process.kill)  # or this process would wait for a kernel that has not been shut down
        self.pid = self.pgid = self.process.pid
        return self.connection_info

    async def poll(self) -> int | None:
        """Return the exit status of the kernel; None while it runs."""
        return self.process.exitcode if self.process else 0

    async def wait(self) -> int | None:
        """Wait until the kernel has ended, and return its exit status."""
        while (status := await self.poll()) is None:
            await asyncio.sleep(POLL_SECONDS)
        self.process = None
        return status

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel and to the processes it has started, unless it has ended."""
        if await self.poll() is not None:
            return
        assert self.pid
        for send in (os.killpg, os.kill):  # a kernel that has just been forked has no process group yet
            try:
                send(self.pid, signum)
                return
            except ProcessLookupError:
                continue


def run_kernel(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Be a notebook's kernel, until the kernel is shut down or the process that asked for it has ended.

    `arguments`: of ipykernel; `folder`: where it works; `environment`: its environment variables.
    """
    from ipykernel.kernelapp import IPKernelApp

    parent = multiprocessing.parent_process()
    assert parent is not None
    end_after(parent.join)
    adopt_server()
    os.setsid()  # Ctrl-C is for the command, which decides what becomes of its kernels
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.modules.setdefault("debugpy", None)  # type: ignore[arg-type] # a front end's debugger: 0.3 s
    kernel = IPKernelApp.instance(parent_handle=os.getppid())  # the server; without it ipykernel prints advice
    kernel.initialize(list(arguments))
    kernel.start()
