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
    """Return a folder's absolute path; raise FileNotFoundError or NotADirectoryError if it is not a folder."""
    root = Path(root).resolve()
    if not root.exists():
        raise FileNotFoundError(f"the data set's folder {root} is missing: check the path")
    if not root.is_dir():
        raise NotADirectoryError(f"the data set's folder {root} is a file: use the folder that contains it")
    return root


def videos_in(folder: Path, pattern: str = "*") -> list[Path]:
    """List the videos directly in a folder, or with pattern "**/*" also those in its subfolders."""
    return [path for path in files_in(folder, pattern) if path.suffix.lower() in VIDEO_SUFFIXES]


def files_in(folder: Path, pattern: str) -> list[Path]:
    """List a folder's files except hidden ones and true masks; keep broken links, to report that they do not open."""
    paths = [path for path in folder.glob(pattern) if path.is_file() or (path.is_symlink() and not path.exists())]
    names = {path: path.relative_to(folder).parts for path in paths}
    return [path for path in paths if not any(name.startswith(".") or name == "true_masks" for name in names[path])]


def is_of_sample(path: Path) -> bool:
    """Return whether a video is in a folder written by `sample.make_sample`."""
    return (path.parent.parent / SAMPLE_MARKER).is_file()


def make_video_id(*names: str) -> str:
    """Join names to an id that is valid as the name of a file or folder on every system."""
    name = UNFIT_FOR_FILE_NAMES.sub("_", "-".join(names))
    name = UNFIT_AT_THE_END.sub(lambda end: "_" * len(end[0]), name)
    return f"_{name}" if not name or WINDOWS_DEVICES.fullmatch(name) else name


def match_name(pattern: str, path: Path, example: str) -> re.Match[str]:
    """Match a file's whole name, without its suffix, or raise a ValueError that shows the example of a valid name."""
    match = re.fullmatch(pattern, path.stem)
    if not match:
        raise ValueError(f"{path}: expected a name like {example}; rename or remove the file, or use kind 'folder'")
    return match


def read_text(path: Path) -> str:
    """Return the text of a list as UTF-8, UTF-16, UTF-32 or, if it is none of them, Windows-1252.

    Spreadsheets and Windows write the latter. Raise ValueError if it is in another encoding.
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
