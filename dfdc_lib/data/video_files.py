"""Files and their names: which files of a folder are videos, and which ids they get. No file is opened."""

import re
from collections.abc import Iterable
from pathlib import Path

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg"})
UNFIT_FOR_FILE_NAMES = re.compile(
    r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]'
)  # what any of Linux, macOS and Windows refuses
TRUE_MASKS = "true_masks"  # folder of the built-in sample: what was really forged


def existing_folder(root: Path) -> Path:
    """Make a folder's path absolute.

    Raises:
        FileNotFoundError, NotADirectoryError: if there is nothing, or a file.
    """
    root = Path(root).resolve()
    if not root.exists():
        raise FileNotFoundError(f"the data set's folder {root} is missing: check the path")
    if not root.is_dir():
        raise NotADirectoryError(f"the data set's folder {root} is a file: give the folder that holds it")
    return root


def videos_in(folder: Path) -> list[Path]:
    """List the videos directly in a folder, by their endings; hidden files are none."""
    return [
        path
        for path in _files(folder.glob("*"))
        if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".")
    ]


def files_below(root: Path) -> list[Path]:
    """List the files of a folder and the folders in it, except hidden ones and the sample's true masks."""
    paths = _files(root.rglob("*"))
    return [
        path
        for path in paths
        if not any(name.startswith(".") or name == TRUE_MASKS for name in path.relative_to(root).parts)
    ]


def _files(paths: Iterable[Path]) -> list[Path]:
    """Keep files, and broken links too: these are to fail with a reason where they are opened, not to disappear here."""
    return [path for path in paths if path.is_file() or (path.is_symlink() and not path.exists())]


def make_video_id(*names: str) -> str:
    """Join names to an id that is fit for a file name."""
    return UNFIT_FOR_FILE_NAMES.sub("_", "-".join(names))


def match_name(pattern: re.Pattern[str], path: Path, example: str) -> re.Match[str]:
    """Take a file's name apart.

    Args:
        pattern: that the name without its ending must have.
        path: of the file.
        example: of such a name, for the error message.
    Returns:
        The match.
    Raises:
        ValueError: if the name is not so.
    """
    match = pattern.fullmatch(path.stem)
    if not match:
        raise ValueError(
            f"{path}: the name must be such as {example} here; rename or remove the file, or use kind 'folder'"
        )
    return match
