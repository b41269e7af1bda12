"""Lists of video files: a text file with one path a line, or a CSV file with a column of paths.

Input: the list. Output: the listed files. Relative paths start at the list's folder, so a list can be moved together
with its videos.
"""

import csv
from pathlib import Path

COLUMNS = ("path", "filename")  # of a CSV file; the first one present is used
MOST_NAMED = 5  # files in an error message


def is_video_list(path: Path) -> bool:
    """Return whether a path is a file with the suffix of a list."""
    return path.is_file() and path.suffix.lower() in (".txt", ".csv")


def read_video_list(path: Path) -> list[Path]:
    """Return the absolute paths of the files in a list, at least one, in its order; empty lines are ignored.

    Raises FileNotFoundError if listed files do not exist; ValueError if the column is missing, a file is listed twice,
    or the list is empty.
    """
    lines = _lines(path)
    if not lines:
        raise ValueError(f"the list {path} contains no video: write one path a line")
    first_lines: dict[Path, int] = {}
    absent = []
    for number, name in lines:
        listed = path.parent / name
        file = listed.parent.resolve() / listed.name  # the last part is not resolved: a linked video keeps its name
        if file in first_lines:
            raise ValueError(f"{path}: {name!r} is listed twice, in lines {first_lines[file]} and {number}; remove one")
        first_lines[file] = number
        if not file.is_file():
            absent.append(f"{name!r} (line {number})")
    if absent:
        more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
        raise FileNotFoundError(
            f"{path}: {len(absent)} of {len(lines)} files do not exist: {', '.join(absent[:MOST_NAMED])}{more}; "
            f"relative paths start at {path.parent.absolute()}"
        )
    return list(first_lines)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the numbers, counted from 1, of the lines that are not empty, and the paths in them."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        if path.suffix.lower() == ".txt":
            rows = list(enumerate(file.read().splitlines(), start=1))
        else:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            column = next((name for name in COLUMNS if name in columns), None)
            if column is None:
                header = ", ".join(columns) or "an empty file"
                raise ValueError(f"the list {path} must have a column {' or '.join(COLUMNS)}, got {header}")
            rows = [(reader.line_num, row[column] or "") for row in reader]
    return [(number, name.strip()) for number, name in rows if name.strip()]
