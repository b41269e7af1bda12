"""Imports point one way: records ← pure ← files ← torch ← commands; figures stand aside and only notebooks import them.

The table says which module is what. A new module has to be put into it.
"""

import ast
import graphlib
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dfdc_lib"
LAYERS = {  # from the bottom up: a module imports from its own layer and those below
    "records": {"records"},
    "pure": {
        "averaging",
        "calibrate",
        "crops",
        "cutouts",
        "evaluate",
        "feed",
        "folds",
        "inspection_words",
        "paired",
        "presets",
        "quality",
        "simulate",
        "ssim",
        "strategies",
        "tracks",
        "verdict",
    },
    "files": {
        "datasets",
        "encode",
        "film",
        "inspection_pictures",
        "pool",
        "sample",
        "scores",
        "store",
        "variants",
        "video",
        "video_files",
        "video_list",
        "weights",
    },
    "torch": {
        "augment",
        "checkpoints",
        "crop_dataset",
        "detect",
        "explain",
        "found_faces",
        "inspection",
        "judge",
        "model",
        "objective",
        "predict",
        "preview",
        "scoring",
        "train",
        "training_state",
    },
    "commands": {"cli", "compare", "doctor", "due", "examples", "jobs", "parameters", "pipeline", "report", "stages"},
}
# Beside them: they draw what they are given, so they import records, pure modules and each other, and no module imports them.
FIGURES = {
    "augment_plots",
    "figures",
    "images",
    "plot",
    "plot_inspection",
    "plot_scores",
    "plot_training",
    "renderings",
    "sheets",
    "viewers",
}
MAY_IMPORT = {
    "torch": LAYERS["torch"],
    "torchvision": LAYERS["torch"],
    "timm": LAYERS["torch"],
    "facenet_pytorch": {"detect"},
    "albumentations": {"augment"},
    "captum": {"explain"},
    "matplotlib": FIGURES,
    "ipywidgets": {"viewers"},
}
WHO_MAY_IMPORT_TORCH = f"only {', '.join(sorted(LAYERS['torch']))} may"
MAY_IMPORT_IN_A_FUNCTION = {"torch": {"doctor", "jobs"}}  # seconds that only those who need it should wait
RANKS = {module: rank for rank, modules in enumerate(LAYERS.values()) for module in modules}
KNOWN = RANKS.keys() | FIGURES


class Import(NamedTuple):
    """One imported module, e.g. dfdc_lib.store or torch.nn."""

    name: str
    in_function: bool


def imports_of(source: str) -> list[Import]:
    """List what a module's source imports, wherever in it."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = {node for function in functions for node in ast.walk(function)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node in inner) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = "dfdc_lib" if node.level else node.module or ""
            if node.level and node.module:
                origin = f"dfdc_lib.{node.module}"
            found += [Import(f"{origin}.{alias.name}" if origin == "dfdc_lib" else origin, node in inner) for alias in node.names]
    return found


def local_imports(source: str) -> set[str]:
    """Name the modules of this package that a source imports; the package itself (its version) is none."""
    parts = [item.name.split(".") for item in imports_of(source)]
    return {names[1] for names in parts if names[0] == "dfdc_lib" and len(names) > 1 and names[1] != "__version__"}


def layering_faults(module: str, source: str) -> list[str]:
    """Say what a module imports that it must not; [] where all is well."""
    if module not in KNOWN:
        return [f"{module} is in no layer: put it into the table of tests/test_imports.py"]
    faults = []
    for other in sorted(local_imports(source)):
        if other not in KNOWN:
            faults.append(f"{module} imports {other}, which is in no layer: put it into the table of tests/test_imports.py")
        elif other in FIGURES and module not in FIGURES:
            faults.append(f"{module} imports {other}: only notebooks import figures")
        elif module in FIGURES and other not in FIGURES | LAYERS["records"] | LAYERS["pure"]:
            faults.append(f"{module} imports {other}: figures import records and pure modules only")
        elif module not in FIGURES and RANKS[other] > RANKS[module]:
            faults.append(f"{module} imports {other}, which lies above it")
    for name, in_function in imports_of(source):
        package = name.split(".")[0]
        lazily = MAY_IMPORT_IN_A_FUNCTION.get(package, set()) if in_function else set()
        if package in MAY_IMPORT and module not in MAY_IMPORT[package] | lazily:
            faults.append(f"{module} imports {package}: only {', '.join(sorted(MAY_IMPORT[package]))} may")
    return faults


def find_cycle(sources: dict[str, str]) -> list[str]:
    """Give the modules of one circle of imports; [] where there is none."""
    try:
        graphlib.TopologicalSorter({module: local_imports(source) for module, source in sources.items()}).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(PACKAGE.glob("*.py")) if path.stem != "__init__"}


def test_the_modules_are_found(sources: dict[str, str]) -> None:
    assert {"records", "store", "detect", "cli", "plot"} <= sources.keys()
    assert "store" in local_imports(sources["cli"]) | local_imports(sources["pool"])


def test_imports_point_one_way(sources: dict[str, str]) -> None:
    faults = [fault for module, source in sources.items() for fault in layering_faults(module, source)]
    assert not faults, "\n".join(faults)


def test_no_imports_in_a_circle(sources: dict[str, str]) -> None:
    assert find_cycle(sources) == []


def test_the_package_itself_imports_nothing() -> None:
    assert imports_of((PACKAGE / "__init__.py").read_text()) == []


def test_a_module_has_one_place() -> None:
    assert sum(map(len, LAYERS.values())) + len(FIGURES) == len(KNOWN)


# That the checks can fail --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", []),
        ("import os\nimport dfdc_lib", [("os", False), ("dfdc_lib", False)]),
        ("import dfdc_lib.store as s, torch.nn", [("dfdc_lib.store", False), ("torch.nn", False)]),
        ("from dfdc_lib import plot, __version__", [("dfdc_lib.plot", False), ("dfdc_lib.__version__", False)]),
        ("from dfdc_lib.store import Run", [("dfdc_lib.store", False)]),
        ("from . import plot", [("dfdc_lib.plot", False)]),
        ("from .plot import draw", [("dfdc_lib.plot", False)]),
        ("def work():\n    if True:\n        import torch", [("torch", True)]),
        ("class Reader:\n    def read(self):\n        from torch import nn", [("torch", True)]),
        ("if TYPE_CHECKING:\n    import torch", [("torch", False)]),
    ],
)
def test_imports_of(source: str, expected: list[tuple[str, bool]]) -> None:
    assert imports_of(source) == expected


@pytest.mark.parametrize(
    ("module", "source", "faults"),
    [
        ("records", "", []),
        ("records", "from dfdc_lib import __version__", []),
        ("records", "from dfdc_lib.crops import cut", ["records imports crops, which lies above it"]),
        ("crops", "from dfdc_lib.records import Box\nfrom dfdc_lib import ssim", []),
        ("crops", "from dfdc_lib import store, ssim", ["crops imports store, which lies above it"]),
        ("store", "import dfdc_lib.detect", ["store imports detect, which lies above it"]),
        ("store", "def late():\n    from dfdc_lib.stages import find_videos", ["store imports stages, which lies above it"]),
        ("detect", "from dfdc_lib.jobs import make_boxes", ["detect imports jobs, which lies above it"]),
        ("jobs", "from .plot import draw", ["jobs imports plot: only notebooks import figures"]),
        ("examples", "def show():\n    from dfdc_lib import viewers", ["examples imports viewers: only notebooks import figures"]),
        ("plot", "from dfdc_lib import crops, figures, records", []),
        ("plot", "from dfdc_lib.store import Run", ["plot imports store: figures import records and pure modules only"]),
        ("viewers", "from dfdc_lib import examples", ["viewers imports examples: figures import records and pure modules only"]),
        ("detect", "import torch\nfrom facenet_pytorch import MTCNN", []),
        ("jobs", "def make():\n    import torch", []),
        (
            "jobs",
            "import torch",
            [f"jobs imports torch: {WHO_MAY_IMPORT_TORCH}"],
        ),
        (
            "stages",
            "def make():\n    import torch",
            [f"stages imports torch: {WHO_MAY_IMPORT_TORCH}"],
        ),
        ("jobs", "def make():\n    from facenet_pytorch import MTCNN", ["jobs imports facenet_pytorch: only detect may"]),
        ("crops", "import albumentations as A", ["crops imports albumentations: only augment may"]),
        ("predict", "from captum.attr import LayerGradCam", ["predict imports captum: only explain may"]),
        ("report", "import matplotlib.pyplot as plt", [f"report imports matplotlib: only {', '.join(sorted(FIGURES))} may"]),
        ("novelty", "", ["novelty is in no layer: put it into the table of tests/test_imports.py"]),
        (
            "cli",
            "from dfdc_lib import novelty",
            ["cli imports novelty, which is in no layer: put it into the table of tests/test_imports.py"],
        ),
    ],
)
def test_the_checker_can_fail(module: str, source: str, faults: list[str]) -> None:
    assert layering_faults(module, source) == faults


@pytest.mark.parametrize(
    ("imported", "circle"),
    [
        ({}, set()),
        ({"crops": "ssim", "ssim": "records", "records": ""}, set()),
        ({"crops": "ssim", "ssim": "crops"}, {"crops", "ssim"}),
        ({"crops": "ssim", "ssim": "folds", "folds": "crops"}, {"crops", "ssim", "folds"}),
    ],
)
def test_the_circle_finder_can_fail(imported: dict[str, str], circle: set[str]) -> None:
    assert set(find_cycle({module: f"from dfdc_lib import {other}" if other else "" for module, other in imported.items()})) == circle
