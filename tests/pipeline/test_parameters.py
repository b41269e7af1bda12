"""The parameters of a notebook: how they are read and how assignments are checked."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from dfdc_lib.pipeline.parameters import Parameter, parse_assignments, read_parameters

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
        (
            'A: str = "é # 1"  # has a # = sign\nprint(1)',
            ["parameters"],
            {"A": Parameter("A", "str", "é # 1", "has a # = sign")},
        ),
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
    with pytest.raises(ValueError, match=got):
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
    ("assignment", "keyword"),
    [
        ("margin=1", "MARGIN;"),  # the nearest name
        ("MARGINS=1", "MARGIN;"),
        ("frame-stride=1", "FRAME_STRIDE;"),
        ("TRESHOLDS=1", "THRESHOLDS;"),
        ("METHOD=1", "METHODS;"),
        (" MARGIN=1", "MARGIN;"),
        ("xyz=1", "FORCE, FRAME_STRIDE, MARGIN, METHODS, RUN, THRESHOLDS"),  # all names
        ("MARGIN=", "float"),
        ("MARGIN=wide", "fraction of the box's side"),  # the help
        ("MARGIN=0,3", "MARGIN=0.2"),  # an example
        ("FRAME_STRIDE=2.5", "int"),
        ("FRAME_STRIDE=ten", "int"),
        ("FORCE=maybe", "bool"),
        ("THRESHOLDS=0.7", "list"),
        ("THRESHOLDS=[0.7, x]", "list"),
        ('THRESHOLDS=["x"]', "list"),
        ("METHODS=[1]", "list"),
        ("METHODS=Deepfakes", "list"),
        ("", "NAME=VALUE"),
        ("MARGIN", "NAME=VALUE"),
        ("MARGIN 0.3", "NAME=VALUE"),
        ("MARGIN:0.3", "NAME=VALUE"),
    ],
)
def test_a_wrong_assignment_is_refused(assignment: str, keyword: str) -> None:
    with pytest.raises(ValueError, match=keyword):
        parse_assignments(["FRAME_STRIDE=5", assignment], KNOWN)
