"""What makes a result out of date: inputs, parameters and code, but not comments, docstrings or formatting."""

import ast
import os
from pathlib import Path

import pytest

from dfdc_lib import staleness
from dfdc_lib.records import DetectorSettings
from dfdc_lib.staleness import (
    FINGERPRINT_BYTES,
    Dependencies,
    changes,
    code_fingerprint,
    code_of,
    content_fingerprint,
    file_fingerprint,
    fingerprint,
    input_fingerprint,
    source_fingerprint,
)

STORED = Dependencies(parameters={"A": "1"}, code={"faces/crops.py": "x"}, inputs={"videos.csv": "y"})


@pytest.mark.parametrize(
    ("update", "reasons"),
    [
        ({}, []),
        ({"parameters": {"A": "2"}}, ["A changed from 1 to 2"]),
        ({"parameters": {}}, ["A changed from 1 to unset"]),
        ({"code": {"faces/crops.py": "z"}}, ["code changed (faces/crops.py)"]),
        ({"code": {"faces/crops.py": "x", "new.py": "z"}}, ["code changed (new.py)"]),
        ({"inputs": {}}, ["input changed (videos.csv)"]),
        ({"code": {}, "inputs": {}}, ["code changed (faces/crops.py)", "input changed (videos.csv)"]),
    ],
)
def test_changes(update: dict, reasons: list[str]) -> None:
    assert changes(STORED, STORED.model_copy(update=update)).reasons == reasons


SOURCE = '''"""Module."""
import os

def area(box):
    """Return the area."""
    return box[2] * box[3]  # pixels
'''


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("# pixels", "# square pixels", True),
        ('"""Return the area."""', '"""Return width times height."""', True),
        ('    """Return the area."""\n', "", True),
        ('"""Module."""\n', "", True),
        ("box[2] * box[3]", "(box[2]\n        * box[3])", True),
        ("box[2] * box[3]", "box[2] + box[3]", False),
        ("def area(box)", "def area(box, margin=0)", False),
    ],
)
def test_source_fingerprint(before: str, after: str, same: bool) -> None:
    changed = SOURCE.replace(before, after)
    assert changed != SOURCE
    ast.parse(changed)
    assert (source_fingerprint(changed) == source_fingerprint(SOURCE)) is same


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package like this one: two stages, their modules, and modules whose code does not count."""
    files = {
        "records.py": "",
        "workers.py": "from dfdc_lib.faces import crops",
        "data/__init__.py": "",
        "data/video.py": "",
        "data/datasets/__init__.py": "from dfdc_lib.data.datasets.dfdc import read\n",
        "data/datasets/dfdc.py": "",
        "faces/crops.py": "from dfdc_lib.records import Box\nfrom dfdc_lib.viz import style\n",
        "faces/detect.py": "from dfdc_lib.data.video import VideoReader\n",
        "faces/detect_stage.py": "def late():\n    from dfdc_lib.faces.detect import find\n",
        "faces/crop_stage.py": "import dfdc_lib.data.datasets\nfrom dfdc_lib import workers\n"
        "from dfdc_lib.faces import crops\n",
        "viz/style.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(staleness, "PACKAGE", tmp_path)
    staleness.read_module.cache_clear()
    return tmp_path


@pytest.mark.parametrize(
    ("module", "files"),
    [
        ("dfdc_lib.data.video", ["data/video.py"]),
        ("dfdc_lib.faces.detect_stage", ["data/video.py", "faces/detect.py", "faces/detect_stage.py"]),
        (
            "dfdc_lib.faces.crop_stage",
            ["data/datasets/__init__.py", "data/datasets/dfdc.py", "faces/crop_stage.py", "faces/crops.py"],
        ),
        ("dfdc_lib.workers", []),
        ("dfdc_lib.viz.style", []),
    ],
)
def test_code_is_what_computes_a_result(module: str, files: list[str], package: Path) -> None:
    assert [name for name in code_of([module]) if name not in ("data/__init__.py", "faces/__init__.py")] == files


def test_code_fingerprint_follows_imports(package: Path) -> None:
    modules = ("dfdc_lib.faces.detect_stage", "dfdc_lib.faces.crop_stage")
    before = [code_fingerprint(module) for module in modules]
    (package / "faces" / "crops.py").write_text("MARGIN = 0.3\n")
    staleness.read_module.cache_clear()
    after = [code_fingerprint(module) for module in modules]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]


def test_fingerprint() -> None:
    assert fingerprint() == fingerprint()
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert (
        fingerprint(DetectorSettings())
        == fingerprint(DetectorSettings())
        != fingerprint(DetectorSettings(frame_stride=3))
    )
    assert len(fingerprint(1)) == 16


def test_file_fingerprints(tmp_path: Path) -> None:
    path, size = tmp_path / "a.mp4", 3 * FINGERPRINT_BYTES
    path.write_bytes(bytes(size))
    before = file_fingerprint(path), content_fingerprint(path)
    os.utime(path, (0, 0))
    assert (file_fingerprint(path), content_fingerprint(path)) == before  # not a matter of time
    path.write_bytes(bytes(size // 2) + b"1" + bytes(size - size // 2 - 1))
    assert file_fingerprint(path) == before[0]  # head and tail are the same
    assert content_fingerprint(path) != before[1]
    for content in (b"1" + bytes(size - 1), bytes(size - 1) + b"1", bytes(size + 1)):
        path.write_bytes(content)
        assert file_fingerprint(path) not in before
    assert input_fingerprint(path) == file_fingerprint(path)
    assert "No such file" in input_fingerprint(tmp_path / "absent")
