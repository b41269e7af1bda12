"""File names in data sets: which files are videos, and which ids they get. Files are not opened."""

import re
from pathlib import Path

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg"})
SAMPLE_MARKER = "sample.json"  # in the folder of the built-in sample
# Characters that Linux, macOS or Windows does not allow in a file name.
UNFIT_FOR_FILE_NAMES = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')


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
    """Join names to an id that is a valid file name."""
    return UNFIT_FOR_FILE_NAMES.sub("_", "-".join(names))


def match_name(pattern: str, path: Path, example: str) -> re.Match[str]:
    """Match a file's whole name, without its suffix, or raise a ValueError that shows the example of a valid name."""
    match = re.fullmatch(pattern, path.stem)
    if not match:
        raise ValueError(f"{path}: expected a name like {example}; rename or remove the file, or use kind 'folder'")
    return match
