"""The doctor reports every problem in one line with a remedy, even if a package cannot be imported."""

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
import torch
from jupyter_client import kernelspec

from dfdc_lib import doctor, run_folder
from dfdc_lib.doctor import Finding, examine, read_lock

LOCK = """\
numpy==2.4.0 ; python_full_version < '3.12' \\
    --hash=sha256:00 \\
    # via torch==9.9
numpy==2.5.1 ; python_full_version >= '3.12' \\
    --hash=sha256:22
Some_Package==1.0
"""
SUBJECTS = ["Python", "packages", "OpenCV", "FFmpeg", "Jupyter kernel", "GPU", "disk", "write access"]
Finder = Callable[[str], Finding]
Patch = pytest.MonkeyPatch


@pytest.fixture
def finding(tmp_path: Path) -> Finder:
    """Return a function that examines the machine and returns the finding about one subject."""
    (tmp_path / "requirements.lock").write_text(LOCK)

    def find(subject: str) -> Finding:
        findings = examine(tmp_path / "requirements.lock", tmp_path / "not" / "there")
        return next(found for found in findings if found.subject == subject)

    return find


def install(packages: list[tuple], monkeypatch: Patch) -> None:
    """Replace the list of installed packages."""
    distributions = [SimpleNamespace(metadata={"Name": name}, version=version) for name, version in packages]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: distributions)


def test_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    missing = examine(lock)[1]
    assert (missing.subject, missing.ok) == ("packages", False) and lock.name in missing.text
    lock.write_text(LOCK)
    assert read_lock(lock) == {"numpy": {"2.4.0", "2.5.1"}, "some_package": {"1.0"}}


def test_this_machine_passes(monkeypatch: Patch, tmp_path: Path) -> None:
    (tmp_path / "numpy-0.1.dist-info").mkdir()
    (tmp_path / "numpy-0.1.dist-info" / "METADATA").write_text("Name: numpy\nVersion: 0.1\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])  # a package of this name that is not imported
    findings = examine()
    assert run_folder.PROJECT == doctor.PROJECT
    assert [finding.subject for finding in findings] == SUBJECTS
    assert [finding for finding in findings if finding.subject != "disk" and not finding.ok] == []


@pytest.mark.parametrize(
    ("module", "name", "value", "subject", "ok", "keyword"),
    [
        (doctor, "MIN_PYTHON", (99, 1), "Python", False, "99.1"),
        (av, "codecs_available", {"vp9"}, "FFmpeg", False, "H.264"),
        (torch.cuda, "is_available", lambda: False, "GPU", True, "CPU"),
        (shutil, "disk_usage", lambda folder: SimpleNamespace(free=4.9 * 2**30), "disk", False, "--run"),
        (shutil, "disk_usage", lambda folder: SimpleNamespace(free=5 * 2**30), "disk", True, "5 GiB"),
        (doctor.os, "access", lambda folder, mode: True, "write access", True, "there"),
        (doctor.os, "access", lambda folder, mode: "pytest" not in str(folder), "write access", False, "--run"),
    ],
)
def test_state_of_the_machine(
    module: object, name: str, value: object, subject: str, ok: bool, keyword: str, finding: Finder, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(module, name, value)
    assert finding(subject).ok is ok
    assert keyword in finding(subject).text


@pytest.mark.parametrize(
    ("packages", "problem"),
    [
        ([("numpy", "2.4.0")], ""),
        ([("numpy", "2.5.1"), ("other", "1")], ""),
        ([("numpy", "2.4.0"), (None, "1")], ""),  # a half-removed package has no name
        ([("NumPy", "2.3")], "differ"),
        ([("torch", "2.4")], "missing: numpy"),
    ],
)
def test_packages(packages: list[tuple], problem: str, finding: Finder, monkeypatch: Patch) -> None:
    install(packages, monkeypatch)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy>=2", 'ruff>=0.8; extra == "dev"'])
    found = finding("packages")
    assert found.ok is (not problem) and problem in found.text
    assert found.ok or "make setup" in found.text


@pytest.mark.parametrize(
    ("versions", "ok"), [([], True), (["4.10"], True), (["4.10", "4.10"], True), (["4.10", "4.9"], False)]
)
def test_two_opencv_packages(versions: list[str], ok: bool, finding: Finder, monkeypatch: Patch) -> None:
    """Two packages of one version have the same files; those of different versions are mixed in one folder."""
    install(list(zip(["opencv-python", "opencv-python-headless"], versions, strict=False)), monkeypatch)
    found = finding("OpenCV")
    assert found.ok is ok
    assert ok or ("4.10" in found.text and "make setup" in found.text)


@pytest.mark.parametrize(
    ("module", "subject"),
    [("cv2", "OpenCV"), ("av", "FFmpeg"), ("torch", "GPU"), ("jupyter_client.kernelspec", "Jupyter kernel")],
)
def test_a_package_that_cannot_be_imported(module: str, subject: str, finding: Finder, monkeypatch: Patch) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # importing it raises ImportError
    found = finding(subject)
    assert not found.ok and "make setup" in found.text


@pytest.mark.parametrize(
    ("python", "ok"), [("python", True), (sys.executable, True), ("/somewhere/else/bin/python", False), (None, False)]
)
def test_kernel(python: str | None, ok: bool, finding: Finder, monkeypatch: Patch) -> None:
    def get_kernel_spec(self: object, name: str) -> SimpleNamespace:
        if python is None:
            raise kernelspec.NoSuchKernel(name)
        return SimpleNamespace(argv=[python, "-m", name])

    monkeypatch.setattr(kernelspec.KernelSpecManager, "get_kernel_spec", get_kernel_spec)
    found = finding("Jupyter kernel")
    assert found.ok is ok and (ok or "make setup" in found.text)


def test_the_command_runs_where_opencv_cannot_be_imported(tmp_path: Path) -> None:
    """As on a system without libGL; no other import of the command may need OpenCV."""
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['dfdc', 'doctor']"
    command = [sys.executable, "-c", f"{code}; from dfdc_lib.cli import app; app()"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert "LOOK  OpenCV: cannot be imported (libGL.so.1" in process.stdout
