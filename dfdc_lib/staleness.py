"""What makes a result out of date: its inputs, its parameters, or the code that computes it has changed.

The same rule holds for the result of one video (a fingerprint stored in its record) and for a notebook (`Dependencies`
stored in run.json). Code is the syntax tree of the modules that compute the result, without docstrings: a comment or a
reformatted line changes nothing.
"""

import ast
import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dfdc_lib.records import Record

PACKAGE = Path(__file__).resolve().parent
FINGERPRINT_BYTES = 65536  # read from a file's head and tail: headers and index of a video are in one of them
# Packages that compute results. A change in `viz`, the pipeline or a top-level module changes no result.
COMPUTING_PACKAGES = (
    "backends",
    "data",
    "faces",
    "augmentation",
    "evaluation",
    "classifier",
    "inspection",
    "benchmarks",
)


class Dependencies(Record):
    """Everything a result depends on, by name: parameter -> value as JSON, module or file -> hash."""

    parameters: dict[str, str] = {}
    code: dict[str, str] = {}
    inputs: dict[str, str] = {}


@dataclass(frozen=True)
class Changes:
    """What has changed since a result was stored; all empty if the result is up to date."""

    parameters: list[str]  # one phrase per parameter
    code: list[str]  # modules
    inputs: list[str]  # files

    @property
    def reasons(self) -> list[str]:
        """Phrases to print: one per changed parameter, one for all changed modules, one for all changed inputs."""
        lists = (("code", self.code), ("input", self.inputs))
        return self.parameters + [f"{kind} changed ({', '.join(names)})" for kind, names in lists if names]


def changes(stored: Dependencies, current: Dependencies) -> Changes:
    """Return what has changed since a result was stored.

    >>> changes(Dependencies(parameters={"MARGIN": "0.2"}), Dependencies(parameters={"MARGIN": "0.3"})).reasons
    ['MARGIN changed from 0.2 to 0.3']
    """
    before, now = stored.parameters, current.parameters
    phrases = [
        f"{name} changed from {before.get(name, 'unset')} to {now.get(name, 'unset')}"
        for name in _differing(before, now)
    ]
    return Changes(phrases, _differing(stored.code, current.code), _differing(stored.inputs, current.inputs))


def is_current(stored: str, expected: str) -> bool:
    """Return whether a result's `stored` fingerprint equals `expected`, computed from its current dependencies."""
    return stored == expected


def fingerprint(*parts: object) -> str:
    """Return 16 hex digits for anything with a stable `str` or JSON form; equal parts give equal fingerprints."""
    texts = [part.model_dump_json() if isinstance(part, Record) else str(part) for part in parts]
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:16]


def file_fingerprint(path: Path) -> str:
    """Return a fingerprint of a file's size and of its first and last 64 KiB: fast even for large videos."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(FINGERPRINT_BYTES))
        file.seek(max(0, size - FINGERPRINT_BYTES))
        digest.update(file.read(FINGERPRINT_BYTES))
    return digest.hexdigest()[:16]


def input_fingerprint(path: Path) -> str:
    """Return `file_fingerprint(path)`, or the text of the OSError if the file is unreadable."""
    try:
        return file_fingerprint(path)
    except OSError as error:
        return str(error)


def content_fingerprint(path: Path) -> str:
    """Return a fingerprint of all bytes of a file; unlike `file_fingerprint`, it reads the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def code_fingerprint(*modules: str) -> str:
    """Return one fingerprint of the code of modules and of everything they import from the computing packages."""
    return fingerprint(json.dumps(code_of(modules), sort_keys=True))


def code_of(modules: Sequence[str]) -> dict[str, str]:
    """Return the hash of every module that computes a result.

    Args:
        modules: dotted names, e.g. "dfdc_lib.faces.crops".
    Returns:
        Path in the package ("faces/crops.py") -> hash, for the modules and, recursively, what they import from
        `COMPUTING_PACKAGES`; imports inside functions count.
    """
    found: dict[Path, str] = {}
    waiting = _module_paths(modules)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path], imported = read_module(path)
            waiting += imported
    return {path.relative_to(PACKAGE).as_posix(): code for path, code in sorted(found.items())}


@cache
def source_fingerprint(source: str) -> str:
    """Return the hash of Python source as a syntax tree without docstrings."""
    return _tree_fingerprint(ast.parse(source))


def imported_modules(tree: ast.Module) -> list[str]:
    """Return the dotted names that a syntax tree imports from dfdc_lib; for `from m import n`, both `m` and `m.n`."""
    names = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return sorted({name for name in names if name.startswith("dfdc_lib.")})


@cache
def read_module(path: Path) -> tuple[str, list[Path]]:
    """Return a module's `source_fingerprint` and the computing modules it imports; cached for the process's life."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return _tree_fingerprint(tree), _module_paths(imported_modules(tree))


def _module_paths(names: Sequence[str]) -> list[Path]:
    return [path for path in map(_module_path, names) if path]


def _module_path(name: str) -> Path | None:
    """Return the file of a module in one of the computing packages; None for any other name."""
    parts = name.split(".")
    if len(parts) < 2 or parts[1] not in COMPUTING_PACKAGES:
        return None
    place = PACKAGE.joinpath(*parts[1:])
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _tree_fingerprint(tree: ast.Module) -> str:
    """Return the hash of a syntax tree without docstrings, which are deleted from the tree."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in _statements(tree):
        if isinstance(node, documented) and ast.get_docstring(node):
            del node.body[0]
    return fingerprint(ast.dump(tree))


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of a syntax tree outside expressions; this takes a quarter of the time of `ast.walk`."""
    waiting = deque[ast.AST]([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        waiting.extend(child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))


def _differing(first: dict[str, str], second: dict[str, str]) -> list[str]:
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
