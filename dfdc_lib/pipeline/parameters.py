"""The parameters of a notebook, read from its cell tagged `parameters` and checked before anything runs.

papermill only warns about unknown names and never checks types. Here both are errors that name the nearest parameter.
"""

import ast
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "list[float]": list[float],
    "list[str]": list[str],
}


@dataclass(frozen=True)
class Parameter:
    """One notebook parameter, written as `NAME: type = default  # help`."""

    name: str
    type_name: str
    default: Any
    help: str


def read_parameters(notebook: Path) -> dict[str, Parameter]:
    """Return a notebook's parameters, by name, as `papermill.inspect_notebook` does, which takes seconds to import.

    Raises:
        ValueError: if a parameter's type is not in `TYPES`.
    """
    cells = json.loads(notebook.read_bytes())["cells"]
    tagged = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    source = "".join(next(tagged, {"source": []})["source"])
    parameters = {}
    for line in ast.parse(source).body:
        if isinstance(line, ast.Assign | ast.AnnAssign) and line.value and line.end_lineno:
            target = line.target if isinstance(line, ast.AnnAssign) else line.targets[0]
            name, type_name = ast.unparse(target), ast.unparse(getattr(line, "annotation", ast.Constant(None)))
            if type_name not in TYPES:
                raise ValueError(f"{notebook.name}: {name} must have one of the types {sorted(TYPES)}, got {type_name}")
            rest = source.splitlines()[line.end_lineno - 1].encode()[line.end_col_offset :].decode()  # counted in bytes
            parameters[name] = Parameter(name, type_name, ast.literal_eval(line.value), rest.partition("#")[2].strip())
    return parameters


def parse_assignments(assignments: Sequence[str], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """Parse `NAME=VALUE` texts into values of the parameters' types.

    Args:
        assignments: e.g. ["MARGIN=0.3", "THRESHOLDS=[0.7, 0.8, 0.8]"].
        known: all parameters, by name.
    Returns:
        name → value.
    Raises:
        ValueError: for an unknown name, a value of another type, or a text without `=`.
    """
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"a parameter must have the form NAME=VALUE, got {assignment!r}")
        if name not in known:
            nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0)
            raise ValueError(
                f"there is no parameter {name!r}; the nearest name is {nearest[0]}; all are {', '.join(sorted(known))}"
            )
        values[name] = _parse(text, known[name])
    return values


def _parse(text: str, parameter: Parameter) -> Any:
    adapter = TypeAdapter(TYPES[parameter.type_name])
    try:
        if parameter.type_name.startswith("list"):
            return adapter.validate_json(text.replace("'", '"'))
        return adapter.validate_strings(text)
    except ValidationError:
        example = f"for example {parameter.name}={parameter.default}"
        raise ValueError(
            f"{parameter.name} must be {parameter.type_name} ({parameter.help}), got {text!r}; {example}"
        ) from None
