"""Is this machine ready? Each finding is ok or says what to do."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]  # not from `store`, which imports the very packages that may be broken
MIN_PYTHON = (3, 11)
MIN_FREE_GIB = 5  # crops and masks of a few hundred videos
SETUP = "run `make setup` in the project folder"


class Finding(NamedTuple):
    """One line of the doctor's report."""

    subject: str
    ok: bool
    text: str


def examine(lock: Path = PROJECT / "requirements.lock", outputs: Path = PROJECT / "outputs") -> list[Finding]:
    """Look at everything the kit stands on."""
    return [
        _python(),
        _packages(lock),
        _opencv(),
        _ffmpeg(),
        _kernel(),
        _gpu(),
        _free_disk(outputs),
        _write_access(outputs),
    ]


def read_lock(lock: Path) -> dict[str, set[str]]:
    """Read the locked versions: package → versions (more than one where they depend on the Python version)."""
    versions: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), flags=re.MULTILINE):
        versions.setdefault(name.lower(), set()).add(version)
    return versions


def _python() -> Finding:
    text = f"{platform.python_version()} at {sys.executable}"
    wanted = ".".join(map(str, MIN_PYTHON))
    return Finding(
        "Python",
        sys.version_info >= MIN_PYTHON,
        text if sys.version_info >= MIN_PYTHON else f"{text}: install Python {wanted} or newer",
    )


def _packages(lock: Path) -> Finding:
    if not lock.exists():
        return Finding("packages", False, f"{lock.name} is missing: clone the project again")
    locked = read_lock(lock)
    found = [(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()]
    installed = {
        name.lower().replace("_", "-"): version for name, version in found if name
    }  # a half-removed package has no name
    required = {
        re.split("[<>=;]", line)[0] for line in importlib.metadata.requires("dfdc_lib") or [] if "extra ==" not in line
    }
    if required - installed.keys():
        return Finding("packages", False, f"missing: {', '.join(sorted(required - installed.keys()))}: {SETUP}")
    other = [
        f"{name} {installed[name]}"
        for name, versions in locked.items()
        if name in installed and installed[name] not in versions
    ]
    if other:
        return Finding(
            "packages", False, f"{len(other)} differ from {lock.name} ({', '.join(sorted(other)[:5])}): {SETUP}"
        )
    return Finding("packages", True, f"{len(installed.keys() & locked.keys())} as in {lock.name}")


def _opencv() -> Finding:
    """Two packages own the folder cv2/; with other versions of them, it holds a mixture."""
    try:
        import cv2
    except ImportError as error:
        return Finding(
            "OpenCV",
            False,
            f"cannot be imported ({error}): install the system packages libgl1 and libglib2.0-0, or {SETUP}",
        )
    builds = {
        d.version
        for d in importlib.metadata.distributions()
        if d.metadata["Name"] in ("opencv-python", "opencv-python-headless")
    }
    if len(builds) > 1:
        return Finding(
            "OpenCV",
            False,
            f"opencv-python and opencv-python-headless {' and '.join(sorted(builds))} share one folder: {SETUP}",
        )
    return Finding("OpenCV", True, cv2.__version__)


def _ffmpeg() -> Finding:
    try:
        import av
    except ImportError as error:
        return Finding("FFmpeg", False, f"PyAV cannot be imported ({error}): {SETUP}")
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, number))}"
        for name, number in av.library_versions.items()
        if "codec" in name or "format" in name
    )
    if "h264" not in av.codecs_available or "libx264" not in av.codecs_available:
        return Finding("FFmpeg", False, f"{libraries}: no H.264; {SETUP}")
    return Finding("FFmpeg", True, f"{libraries}, with H.264")


def _kernel() -> Finding:
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError as error:
        return Finding("Jupyter kernel", False, f"Jupyter cannot be imported ({error}): {SETUP}")
    try:
        python = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        return Finding("Jupyter kernel", False, f"python3 is missing: {SETUP}")
    if (
        Path(python).is_absolute() and Path(python).parent != Path(sys.executable).parent
    ):  # a bare "python" means this one
        return Finding("Jupyter kernel", False, f"python3 starts {python}, not this Python ({sys.executable}): {SETUP}")
    return Finding("Jupyter kernel", True, "python3 starts this Python")


def _gpu() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its CUDA libraries is missing
        return Finding("GPU", False, f"torch cannot be imported ({error}): {SETUP}")
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        return Finding(
            "GPU", True, f"{torch.cuda.get_device_name()}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
        )
    return Finding("GPU", True, "none: everything runs on the CPU, training at full size would take weeks")


def _free_disk(outputs: Path) -> Finding:
    free = shutil.disk_usage(_existing(outputs)).free / 2**30
    text = f"{free:.0f} GiB free for {outputs}"
    return Finding(
        "disk",
        free >= MIN_FREE_GIB,
        text if free >= MIN_FREE_GIB else f"{text}: make room, or use --run on another disk",
    )


def _write_access(outputs: Path) -> Finding:
    folder = _existing(outputs)
    if os.access(folder, os.W_OK):
        return Finding("write access", True, str(outputs))
    return Finding("write access", False, f"{folder} cannot be written: use --run with a folder of your own")


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
