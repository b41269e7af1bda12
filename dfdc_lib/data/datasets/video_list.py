"""Lists of video files: a text file with one path a line, or a CSV file with a column of paths.

Input: the list, in an encoding of `read_text` and with commas, semicolons or tabs. Output: the listed files. Relative
paths start at the list's folder, so a list can be moved together with its videos.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from dfdc_lib.data.datasets.files import read_text

COLUMNS = ("path", "filename")  # of a CSV file; the first one present is used
MOST_NAMED = 5  # files in an error message


def is_video_list(path: Path) -> bool:
    """Return whether a path is an existing .txt or .csv file; such a file is taken for a list of videos."""
    return path.is_file() and path.suffix.lower() in (".txt", ".csv")


def read_video_list(path: Path) -> list[Path]:
    """Return the absolute paths of the files in a list, at least one, in the order of the list.

    The list is a .txt file with one path a line, or a .csv file with a column `path` or `filename`; empty lines are
    ignored and relative paths start at the list's folder. Raises FileNotFoundError if listed files do not exist;
    ValueError if the column is missing, a file is listed twice, or the list is empty.
    """
    lines = _lines(path)
    if not lines:
        raise ValueError(f"the list {path} contains no video: write one path a line")
    first_lines: dict[Path, int] = {}
    absent = []
    for number, name in lines:
        listed = path.parent / name
        if not listed.is_file():
            listed = path.parent / name.replace("\\", "/")  # as Windows writes it
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
    if path.suffix.lower() == ".txt":
        rows = list(enumerate(read_text(path).splitlines(), start=1))
    else:
        rows = [(number, row[COLUMNS[0]]) for number, row in read_rows(path, [COLUMNS])]
    return [(number, name.strip()) for number, name in rows if name.strip()]


def read_rows(path: Path, columns: Sequence[Sequence[str]]) -> list[tuple[int, dict[str, str]]]:
    """Return a CSV file's rows with their line numbers, counted from 1.

    Each entry of `columns` lists the accepted names of one column. The returned rows contain only these columns, each
    under the first of its accepted names. Raises ValueError if none of a column's names is in the file.
    """
    text = read_text(path)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    given = reader.fieldnames or []
    chosen = {names[0]: next((name for name in names if name in given), None) for names in columns}
    for names in columns:
        if chosen[names[0]] is None:
            found = ", ".join(given) or "an empty file"
            raise ValueError(f"the list {path} must have a column {' or '.join(names)}, got {found}")
    return [(reader.line_num, {key: row[name] or "" for key, name in chosen.items()}) for row in reader]
