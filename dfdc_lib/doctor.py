"""Check this machine: Python, packages, OpenCV, FFmpeg, Jupyter kernel, GPU, disk.

Packages are imported inside the checks, because the doctor must also run where one of them is broken.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[1]  # not from `run_folder`, which imports OpenCV and pandas
MIN_PYTHON = (3, 11)
MIN_FREE_GIB = 5  # crops and masks of a few hundred videos
SETUP = "run `make setup` in the project folder"


class Finding(NamedTuple):
    """The result of one check of this machine: its subject, whether it passed, and what to do if not."""

    subject: str
    ok: bool
    text: str  # the state, and the remedy if it is not ok


def examine(lock: Path = PROJECT / "requirements.lock", outputs: Path = PROJECT / "outputs") -> list[Finding]:
    """Return the results of all checks; `lock`: versions to compare with, `outputs`: folder to check for free space."""
    imports = [_check_opencv(), _check_ffmpeg(), _check_kernel(), _check_gpu()]
    return [_check_python(), _check_packages(lock), *imports, *_check_outputs(outputs)]


def read_lock(lock: Path) -> dict[str, set[str]]:
    """Return the versions pinned in a lock file, package -> versions: several if they depend on the Python version."""
    versions, text = dict[str, set[str]](), lock.read_text(encoding="utf-8")
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, flags=re.MULTILINE):
        versions.setdefault(name.lower(), set()).add(version)
    return versions


def _check_python() -> Finding:
    ok = sys.version_info >= MIN_PYTHON
    remedy = "" if ok else f": install Python {'.'.join(map(str, MIN_PYTHON))} or newer"
    return Finding("Python", ok, f"{platform.python_version()} at {sys.executable}{remedy}")


def _check_packages(lock: Path) -> Finding:
    if not lock.exists():
        return Finding("packages", False, f"{lock.name} is missing: clone the project again")
    locked = read_lock(lock)
    distributions = [(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()]
    # The name of a half-removed package is None. Of two with one name (setuptools brings some), the first is imported.
    installed = {name.lower().replace("_", "-"): version for name, version in reversed(distributions) if name}
    requirements = [text for text in importlib.metadata.requires("dfdc_lib") or [] if "extra ==" not in text]
    missing = {re.split("[<>=;]", text)[0] for text in requirements} - installed.keys()
    if missing:
        return Finding("packages", False, f"missing: {', '.join(sorted(missing))}: {SETUP}")
    shared = sorted(installed.keys() & locked.keys())
    other = [f"{name} {installed[name]}" for name in shared if installed[name] not in locked[name]]
    if other:
        return Finding("packages", False, f"{len(other)} differ from {lock.name} ({', '.join(other[:5])}): {SETUP}")
    return Finding("packages", True, f"{len(shared)} as in {lock.name}")


def _check_opencv() -> Finding:
    """Check that OpenCV can be imported and that its two packages, which share the folder cv2/, have one version."""
    try:
        import cv2
    except ImportError as error:
        remedy = f"install the system packages libgl1 and libglib2.0-0, or {SETUP}"
        return Finding("OpenCV", False, f"cannot be imported ({error}): {remedy}")
    names = ("opencv-python", "opencv-python-headless")
    builds = {d.version for d in importlib.metadata.distributions() if d.metadata["Name"] in names}
    if len(builds) > 1:
        text = f"{' and '.join(names)} share a folder but differ: {', '.join(sorted(builds))}: {SETUP}"
        return Finding("OpenCV", False, text)
    return Finding("OpenCV", True, cv2.__version__)


def _check_ffmpeg() -> Finding:
    try:
        import av
    except ImportError as error:
        return Finding("FFmpeg", False, f"PyAV cannot be imported ({error}): {SETUP}")
    versions = {name: ".".join(map(str, numbers)) for name, numbers in av.library_versions.items()}
    text = ", ".join(f"{name} {versions[name]}" for name in versions if "codec" in name or "format" in name)
    ok = {"h264", "libx264"} <= av.codecs_available
    return Finding("FFmpeg", ok, f"{text}, with H.264" if ok else f"{text}, without H.264: {SETUP}")


def _check_kernel() -> Finding:
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    except ImportError as error:
        return Finding("Jupyter kernel", False, f"Jupyter cannot be imported ({error}): {SETUP}")
    try:
        python = Path(KernelSpecManager().get_kernel_spec("python3").argv[0])
    except NoSuchKernel:
        return Finding("Jupyter kernel", False, f"python3 is missing: {SETUP}")
    if python.is_absolute() and python.parent != Path(sys.executable).parent:  # a relative path means this Python
        return Finding("Jupyter kernel", False, f"python3 starts {python}, not {sys.executable}: {SETUP}")
    return Finding("Jupyter kernel", True, "python3 starts this Python")


def _check_gpu() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a CUDA library is missing
        return Finding("GPU", False, f"torch cannot be imported ({error}): {SETUP}")
    if not torch.cuda.is_available():
        return Finding("GPU", True, "none: everything runs on the CPU; training at full size would take weeks")
    free, total = (size / 2**30 for size in torch.cuda.mem_get_info())
    return Finding("GPU", True, f"{torch.cuda.get_device_name()}, {free:.0f} of {total:.0f} GiB free")


def _check_outputs(outputs: Path) -> list[Finding]:
    """Check the free space and the write access of a folder, or of its nearest parent that exists."""
    folder = next(parent for parent in (outputs, *outputs.parents) if parent.exists())
    free = shutil.disk_usage(folder).free / 2**30
    remedy = "" if free >= MIN_FREE_GIB else ": delete files, or use --run with a folder on another disk"
    disk = Finding("disk", free >= MIN_FREE_GIB, f"{free:.0f} GiB free for {outputs}{remedy}")
    if os.access(folder, os.W_OK):
        return [disk, Finding("write access", True, str(outputs))]
    return [disk, Finding("write access", False, f"{folder} is not writable: use --run with a folder that is")]
