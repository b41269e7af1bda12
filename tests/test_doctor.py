"""The doctor: whatever is wrong, it says so in one line with a remedy, also where a package cannot even be imported."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dfdc_lib import doctor
from dfdc_lib.doctor import PROJECT, SETUP, Finding, examine, read_lock

LOCK = """\
numpy==2.4.0 ; python_full_version < '3.12' \\
    --hash=sha256:00 \\
    --hash=sha256:11
    # via torch==9.9
numpy==2.5.1 ; python_full_version >= '3.12' \\
    --hash=sha256:22
Some_Package==1.0
"""
SUBJECTS = ["Python", "packages", "OpenCV", "FFmpeg", "Jupyter kernel", "GPU", "disk", "write access"]


def installed(*packages: tuple[str | None, str]) -> Callable[[], list[SimpleNamespace]]:
    """Stand in for importlib.metadata.distributions."""
    return lambda: [SimpleNamespace(metadata={"Name": name}, version=version) for name, version in packages]


def import_error_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # an import of it raises ImportError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("numpy==2.4.0\n", {"numpy": {"2.4.0"}}),
        (LOCK, {"numpy": {"2.4.0", "2.5.1"}, "some_package": {"1.0"}}),
    ],
)
def test_read_lock(text: str, expected: dict[str, set[str]], tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(text)
    assert read_lock(tmp_path / "lock") == expected


def test_the_project_is_the_one_of_the_run_folder() -> None:
    from dfdc_lib import run_folder

    assert run_folder.PROJECT == PROJECT


def test_this_machine_is_examined_in_order() -> None:
    findings = examine()
    assert [finding.subject for finding in findings] == SUBJECTS
    broken = {finding.subject: finding.text for finding in findings if finding.subject != "disk" and not finding.ok}
    assert broken == {}, "the tests need a sound installation"


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._python().ok
    monkeypatch.setattr(sys, "version_info", (3, 10, 9))
    finding = doctor._python()
    assert (finding.ok, finding.text.endswith(": install Python 3.11 or newer")) == (False, True)


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ([("numpy", "2.4.0")], (True, "1 as in requirements.lock")),
        ([("numpy", "2.5.1"), ("other", "1")], (True, "1 as in requirements.lock")),
        ([("numpy", "2.4.0"), (None, "1")], (True, "1 as in requirements.lock")),  # half removed: no name
        ([("NumPy", "2.3")], (False, f"1 differ from requirements.lock (numpy 2.3): {SETUP}")),
        ([("torch", "2.4")], (False, f"missing: numpy: {SETUP}")),
    ],
)
def test_packages_against_the_lock(
    packages: list[tuple[str | None, str]], expected: tuple[bool, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.lock").write_text(LOCK)
    monkeypatch.setattr(importlib.metadata, "distributions", installed(*packages))
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy>=2", 'ruff>=0.8; extra == "dev"'])
    assert doctor._packages(tmp_path / "requirements.lock") == Finding("packages", *expected)


def test_without_a_lock(tmp_path: Path) -> None:
    assert doctor._packages(tmp_path / "requirements.lock") == Finding(
        "packages", False, "requirements.lock is missing: clone the project again"
    )


@pytest.mark.parametrize(
    ("packages", "ok"),
    [
        ([], True),
        ([("opencv-python", "4.10")], True),
        ([("opencv-python", "4.10"), ("opencv-python-headless", "4.10")], True),  # the same files twice
        ([("opencv-python", "4.10"), ("opencv-python-headless", "4.9")], False),
    ],
)
def test_two_opencv_packages(packages: list[tuple[str | None, str]], ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "distributions", installed(*packages))
    finding = doctor._opencv()
    assert finding.ok is ok
    assert ok or finding.text == f"opencv-python and opencv-python-headless 4.10 and 4.9 share one folder: {SETUP}"


@pytest.mark.parametrize(
    ("package", "examination", "message"),
    [
        (
            "cv2",
            doctor._opencv,
            r"cannot be imported \(.*\): install the system packages libgl1 and libglib2.0-0, or run `make setup`",
        ),
        ("av", doctor._ffmpeg, r"PyAV cannot be imported \(.*\): run `make setup`"),
        ("torch", doctor._gpu, r"torch cannot be imported \(.*\): run `make setup`"),
        ("jupyter_client.kernelspec", doctor._kernel, r"Jupyter cannot be imported \(.*\): run `make setup`"),
    ],
)
def test_a_package_that_cannot_be_imported(
    package: str, examination: Callable[[], Finding], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_error_for(package, monkeypatch)
    finding = examination()
    assert not finding.ok
    assert re.match(message, finding.text)


def test_ffmpeg_without_h264(monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    monkeypatch.setattr(av, "codecs_available", {"vp9"})
    finding = doctor._ffmpeg()
    assert not finding.ok
    assert finding.text.endswith(f": no H.264; {SETUP}")


def test_a_missing_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_client import kernelspec

    def no_kernel(self: object, name: str) -> None:
        raise kernelspec.NoSuchKernel(name)

    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", no_kernel)
    assert doctor._kernel() == Finding("Jupyter kernel", False, f"python3 is missing: {SETUP}")


@pytest.mark.parametrize(
    ("python", "ok"), [("python", True), (sys.executable, True), ("/somewhere/else/bin/python", False)]
)
def test_the_kernel_of_another_python(python: str, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_client import kernelspec

    monkeypatch.setattr(
        kernelspec.KernelSpecManager, "get_kernel_spec", lambda self, name: SimpleNamespace(argv=[python, "-m", name])
    )
    finding = doctor._kernel()
    assert finding.ok is ok
    assert ok or finding.text == f"python3 starts {python}, not this Python ({sys.executable}): {SETUP}"


def test_no_gpu_is_no_fault_but_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert doctor._gpu() == Finding(
        "GPU", True, "none: everything runs on the CPU, training at full size would take weeks"
    )


@pytest.mark.parametrize(("free_gib", "ok"), [(0, False), (4.9, False), (5, True), (500, True)])
def test_free_disk(free_gib: float, ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free_gib * 2**30))
    finding = doctor._free_disk(tmp_path / "not" / "there" / "yet")
    assert finding.ok is ok
    assert finding.text.endswith(
        str(tmp_path / "not" / "there" / "yet") + ("" if ok else ": make room, or use --run on another disk")
    )


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = tmp_path / "not" / "there" / "yet"
    assert doctor._write_access(outputs) == Finding("write access", True, str(outputs))
    asked = []
    monkeypatch.setattr(
        doctor.os, "access", lambda folder, mode: asked.append((folder, mode))
    )  # root may write anywhere
    finding = doctor._write_access(outputs)
    assert finding == Finding(
        "write access", False, f"{tmp_path} cannot be written: use --run with a folder of your own"
    )
    assert asked == [(tmp_path, doctor.os.W_OK)]  # the folder that exists


def test_the_doctor_comes_where_opencv_cannot_be_imported(tmp_path: Path) -> None:
    """As on a system without libGL; the whole command, because any of its imports could need OpenCV."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['dfdc', 'doctor']; from dfdc_lib.cli import app; app()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert (
        "LOOK  OpenCV: cannot be imported (libGL.so.1: cannot open shared object file): install the system packages"
        in done.stdout
    )
