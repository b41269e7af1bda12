"""On the CPU, nothing but training and conversion imports PyTorch and its friends."""

import json
import subprocess
import sys

from dfdc_lib.pipeline.execution import code_cells
from dfdc_lib.pipeline.stage_table import BENCHMARK, INSPECT, STAGES

HEAVY = {"torch", "torchvision", "timm", "albumentations", "facenet_pytorch", "captum", "nncf", "distributed"}
TRAINING = {"05_augmentation_preview", "06_train"}


def imported_by(code: str) -> set[str]:
    """Return the packages that a new Python process has imported after running this code."""
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_imports_of_the_notebooks() -> None:
    """All in one process: none of them imports what all of them do not."""
    stages = [stage for stage in (*STAGES, INSPECT, BENCHMARK) if stage.name not in TRAINING]
    cells = [next(cell for cell in code_cells(stage.notebook) if "from dfdc_lib" in cell) for stage in stages]
    assert len(cells) == 9 and not imported_by("\n".join(cells)) & HEAVY


def test_the_imports_of_the_command_line() -> None:
    assert not imported_by("import dfdc_lib.cli, dfdc_lib.pipeline.runner, dfdc_lib.pipeline.source") & HEAVY


def test_finding_faces_and_scoring_import_no_pytorch() -> None:
    code = """
import numpy as np
from dfdc_lib.backends.choice import choose_engine
from dfdc_lib.classifier import networks, predict
from dfdc_lib.faces.detect import load_detector
from dfdc_lib.records import DetectorSettings
load_detector(DetectorSettings(), choose_engine("auto", "cpu")).find_faces([np.zeros((100, 100, 3), np.uint8)])
"""
    imported_by(code)  # converts the networks, if that has not been done
    assert not imported_by(code) & HEAVY
