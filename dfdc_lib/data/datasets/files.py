"""Files of data sets: which are videos, which ids they get, and the text of lists. Videos are not opened."""

import codecs
import re
from pathlib import Path

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg"})
SAMPLE_MARKER = "sample.json"  # in the folder of the built-in sample
# Characters that Linux, macOS or Windows does not allow in a file name.
UNFIT_FOR_FILE_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')
UNFIT_AT_THE_END = re.compile(r"[. ]+$")  # Windows drops them; `.` and `..` are folders everywhere
WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", re.IGNORECASE)
# By the bytes with which a file begins; UTF-32 first, because UTF-16's are the beginning of its bytes.
ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def existing_folder(root: Path) -> Path:
    """Return a folder's absolute path; raise FileNotFoundError if it is missing, NotADirectoryError if it is a file."""
    root = Path(root).resolve()
    if not root.exists():
        raise FileNotFoundError(f"the data set's folder {root} is missing: check the path")
    if not root.is_dir():
        raise NotADirectoryError(f"the data set's folder {root} is a file: use the folder that contains it")
    return root


def videos_in(folder: Path, pattern: str = "*") -> list[Path]:
    """List the files with a video's suffix directly in a folder; with pattern "**/*" also those in its subfolders."""
    return [path for path in files_in(folder, pattern) if path.suffix.lower() in VIDEO_SUFFIXES]


def files_in(folder: Path, pattern: str) -> list[Path]:
    """List the files in a folder that match a glob pattern, except hidden ones and the sample's true masks.

    Links whose target is missing are included, so that they are reported as unreadable.
    """
    paths = [path for path in folder.glob(pattern) if path.is_file() or (path.is_symlink() and not path.exists())]
    names = {path: path.relative_to(folder).parts for path in paths}
    return [path for path in paths if not any(name.startswith(".") or name == "true_masks" for name in names[path])]


def is_of_sample(path: Path) -> bool:
    """Return whether a video belongs to the built-in sample: the parent of its folder contains sample.json."""
    return (path.parent.parent / SAMPLE_MARKER).is_file()


def make_video_id(*names: str) -> str:
    """Join names with `-` to an id; `_` replaces what a file name on Linux, macOS or Windows must not contain."""
    name = UNFIT_FOR_FILE_NAMES.sub("_", "-".join(names))
    name = UNFIT_AT_THE_END.sub(lambda end: "_" * len(end[0]), name)
    return f"_{name}" if not name or WINDOWS_DEVICES.fullmatch(name) else name


def match_name(pattern: str, path: Path, example: str) -> re.Match[str]:
    """Match a file's name without its suffix against a regular expression; the whole name must match.

    Raises ValueError if it does not; the message shows `example` as a valid name.
    """
    match = re.fullmatch(pattern, path.stem)
    if not match:
        raise ValueError(f"{path}: expected a name like {example}; rename or remove the file, or use kind 'folder'")
    return match


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, in UTF-16 or UTF-32 with a byte order mark, or else in Windows-1252.

    Spreadsheets and Windows write the last of these. Raises ValueError if the file is in another encoding.
    """
    content = path.read_bytes()
    encodings = [encoding for start, encoding in ENCODINGS.items() if content.startswith(start)][:1]
    for encoding in encodings or ("utf-8", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:  # of UTF-16 without a byte order mark
            return text
    expected = "UTF-8, UTF-16 with a byte order mark or Windows-1252"
    raise ValueError(f"{path}: expected text in the encoding {expected}; save it again as UTF-8")
