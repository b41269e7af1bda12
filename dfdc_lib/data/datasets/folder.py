"""A plain folder or list of videos without labels. Input: a folder or paths. Output: `Video` records."""

from collections import Counter
from pathlib import Path

from dfdc_lib.data.datasets.files import make_video_id, videos_in
from dfdc_lib.records import Video

NAME = "folder"
SIGNS = ()  # the kind of every folder that is not another data set
LOOKED_FOR = "videos in the folder and its subfolders"


def list_videos(root: Path) -> list[Video]:
    """List the videos in a folder and its subfolders, without labels."""
    return name_videos(videos_in(root, "**/*"), root)


def name_videos(files: list[Path], root: Path) -> list[Video]:
    """Return a video without a label for each file; its id is its path below `root`, joined with `-`.

    The id has no suffix, unless two files would otherwise have the same id.
    """
    short_ids = [make_video_id(*path.relative_to(root).with_suffix("").parts) for path in files]
    uses = Counter(short_ids)
    ids = [name if uses[name] == 1 else name + path.suffix for name, path in zip(short_ids, files, strict=True)]
    return [Video(video_id=name, path=path, identities=(name,)) for name, path in zip(ids, files, strict=True)]
