"""A list of video files in place of a folder: a text file with one path a line, or a CSV file with a column of paths.

In: the list. Out: the files it names. Relative paths start at the list's folder, so that a list can travel with its videos.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".txt", ".csv")
COLUMNS = ("path", "filename")  # of a CSV file; the first of these that it has
MOST_NAMED = 5  # files in an error message


def is_video_list(path: Path) -> bool:
    """Tell a list of videos from a folder, or from a video, by its ending."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read_video_list(path: Path) -> list[Path]:
    """Read which videos a list names.

    Args:
        path: .txt with one path a line, or .csv with a column `path` or `filename`; empty lines do not count.
    Returns:
        The files, absolute, in the list's order; at least one.
    Raises:
        FileNotFoundError: if files it names are not there; the message says which.
        ValueError: if the column is missing, a file stands twice, or the list is empty.
    """
    lines = list(_csv_lines(path) if path.suffix.lower() == ".csv" else _text_lines(path))
    if not lines:
        raise ValueError(f"the list {path} names no video: write one path a line")
    first_lines: dict[Path, int] = {}
    for number, name in lines:
        file = _place(path, name)
        if file in first_lines:
            raise ValueError(f"{path}: {name!r} stands in lines {first_lines[file]} and {number}: remove one")
        first_lines[file] = number
    absent = [f"{name!r} (line {number})" for number, name in lines if not _place(path, name).is_file()]
    if absent:
        more = f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
        raise FileNotFoundError(
            f"{path} names {len(absent)} of {len(lines)} files that are not there: {', '.join(absent[:MOST_NAMED])}{more}; "
            f"a relative path starts at {path.parent.absolute()}"
        )
    return list(first_lines)


def _place(path: Path, name: str) -> Path:
    """Make a listed path absolute; a link keeps its own name."""
    place = path.parent / name
    return place.parent.resolve() / place.name


def _text_lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def _csv_lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or [])
        column = next((name for name in COLUMNS if name in columns), None)
        if column is None:
            raise ValueError(
                f"the list {path} must have a column {' or '.join(COLUMNS)}, got {', '.join(columns) or 'an empty file'}"
            )
        for row in reader:
            if (row[column] or "").strip():
                yield reader.line_num, row[column].strip()
