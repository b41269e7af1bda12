"""A notebook's parameters: read from its tagged cell, refused with the nearest right name or the right type."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from dfdc_lib.pipeline.parameters import TYPES, Parameter, parse_assignments, read_parameters

CELL = """\
RUN: str = "outputs/sample"  # run folder
MARGIN: float = 0.2  # fraction of the box's side
FRAME_STRIDE: int = 10  # every n-th frame
FORCE: bool = False  # do it again
THRESHOLDS: list[float] = [0.85, 0.95, 0.95]  # of three networks
METHODS: list[str] = ["Deepfakes", "Face2Face"]  # to look at
"""
KNOWN = {
    "RUN": Parameter("RUN", "str", "outputs/sample", "run folder"),
    "MARGIN": Parameter("MARGIN", "float", 0.2, "fraction of the box's side"),
    "FRAME_STRIDE": Parameter("FRAME_STRIDE", "int", 10, "every n-th frame"),
    "FORCE": Parameter("FORCE", "bool", False, "do it again"),
    "THRESHOLDS": Parameter("THRESHOLDS", "list[float]", [0.85, 0.95, 0.95], "of three networks"),
    "METHODS": Parameter("METHODS", "list[str]", ["Deepfakes", "Face2Face"], "to look at"),
}


def notebook_with(folder: Path, source: str, tags: list[str]) -> Path:
    cells = [
        new_markdown_cell("# A story"),
        new_code_cell("import math"),
        new_code_cell(source, metadata={"tags": tags}),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "00_tiny.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


@pytest.mark.parametrize(
    ("source", "tags", "expected"),
    [
        ("", [], {}),
        ("", ["parameters"], {}),
        (CELL, [], {}),  # no cell is tagged
        (CELL, ["parameters"], KNOWN),
    ],
)
def test_parameters_are_read_from_the_tagged_cell(
    source: str, tags: list[str], expected: dict[str, Parameter], tmp_path: Path
) -> None:
    assert read_parameters(notebook_with(tmp_path, source, tags)) == expected


@pytest.mark.parametrize(
    ("line", "got"),
    [("SIZES: dict = {}  # odd", "dict"), ("SIZE = 3  # no type", "None"), ("N: complex = 1j", "complex")],
)
def test_a_type_that_cannot_be_checked_is_refused(line: str, got: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=rf"00_tiny\.ipynb: parameter \w+ must have a type of \['bool', .*'str'\], got {got}"
    ):
        read_parameters(notebook_with(tmp_path, line, ["parameters"]))


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        ([], {}),
        (["RUN="], {"RUN": ""}),
        (["RUN=007"], {"RUN": "007"}),  # papermill's own command line would make it 7
        (["RUN=a=b"], {"RUN": "a=b"}),
        (["FRAME_STRIDE=5"], {"FRAME_STRIDE": 5}),
        (["FRAME_STRIDE=-5"], {"FRAME_STRIDE": -5}),
        (["MARGIN=0.3"], {"MARGIN": 0.3}),
        (["MARGIN=1"], {"MARGIN": 1.0}),
        (["MARGIN=1e-3"], {"MARGIN": 0.001}),
        (["FORCE=true"], {"FORCE": True}),
        (["FORCE=False"], {"FORCE": False}),
        (["THRESHOLDS=[]"], {"THRESHOLDS": []}),
        (["THRESHOLDS=[0.7, 0.8, 1]"], {"THRESHOLDS": [0.7, 0.8, 1.0]}),
        (['METHODS=["a b"]'], {"METHODS": ["a b"]}),
        (["METHODS=['a', 'b']"], {"METHODS": ["a", "b"]}),
        (["MARGIN=0.3", "FRAME_STRIDE=5", "MARGIN=0.4"], {"MARGIN": 0.4, "FRAME_STRIDE": 5}),  # the last one counts
    ],
)
def test_assignments_get_the_type_of_their_parameter(assignments: list[str], expected: dict[str, Any]) -> None:
    values = parse_assignments(assignments, KNOWN)
    assert values == expected
    assert {name: type(value) for name, value in values.items()} == {
        name: type(value) for name, value in expected.items()
    }


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("margin", "MARGIN"),
        ("MARGINS", "MARGIN"),
        ("frame-stride", "FRAME_STRIDE"),
        ("TRESHOLDS", "THRESHOLDS"),
        ("METHOD", "METHODS"),
        (" MARGIN", "MARGIN"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    all_names = "FORCE, FRAME_STRIDE, MARGIN, METHODS, RUN, THRESHOLDS"
    with pytest.raises(
        ValueError, match=f"there is no parameter '{name}'; the nearest name is {nearest}; all are {all_names}$"
    ):
        parse_assignments([f"{name}=1"], KNOWN)


@pytest.mark.parametrize("name", ["", "xyz", "12"])
def test_a_name_near_to_none_is_refused_with_all_names(name: str) -> None:
    with pytest.raises(
        ValueError, match=f"there is no parameter '{name}'; the nearest name is [A-Z_]+; all are FORCE, FRAME_STRIDE"
    ):
        parse_assignments([f"{name}=1"], KNOWN)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("MARGIN=", r"MARGIN must be float \(fraction of the box's side\), got ''; for example MARGIN=0.2"),
        ("MARGIN=wide", r"MARGIN must be float \(fraction of the box's side\), got 'wide'; for example MARGIN=0.2"),
        ("MARGIN=0,3", r"MARGIN must be float .*, got '0,3'"),
        ("FRAME_STRIDE=2.5", r"FRAME_STRIDE must be int \(every n-th frame\), got '2.5'; for example FRAME_STRIDE=10"),
        ("FRAME_STRIDE=ten", r"FRAME_STRIDE must be int .*, got 'ten'"),
        ("FORCE=maybe", r"FORCE must be bool \(do it again\), got 'maybe'; for example FORCE=False"),
        (
            "THRESHOLDS=0.7",
            r"THRESHOLDS must be list\[float\] \(of three networks\), got '0.7'; for example THRESHOLDS=\[0.85, 0.95, 0.95\]",
        ),
        ("THRESHOLDS=[0.7, x]", r"THRESHOLDS must be list\[float\] .*, got '\[0.7, x\]'"),
        ('THRESHOLDS=["x"]', r"THRESHOLDS must be list\[float\] "),
        ("METHODS=[1]", r"METHODS must be list\[str\] \(to look at\), got '\[1\]'"),
        ("METHODS=Deepfakes", r"METHODS must be list\[str\] "),
    ],
)
def test_a_wrong_type_is_refused_with_an_example(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_assignments(["FRAME_STRIDE=5", assignment], KNOWN)


@pytest.mark.parametrize("assignment", ["", "MARGIN", "MARGIN 0.3", "MARGIN:0.3"])
def test_an_assignment_needs_its_sign(assignment: str) -> None:
    with pytest.raises(ValueError, match=f"a parameter must read NAME=VALUE, got '{assignment}'"):
        parse_assignments([assignment], KNOWN)


def test_the_types_are_those_the_notebooks_may_use() -> None:
    assert sorted(TYPES) == ["bool", "float", "int", "list[float]", "list[str]", "str"]
