"""FaceForensics++ and its DeepFakeDetection part: originals and fakes by source or method, and by compression.

Input: the folder with `original_sequences/` and `manipulated_sequences/`. Output: `Video` records.
Source: Rössler et al. 2019, arXiv:1901.08971.
"""

from pathlib import Path

from dfdc_lib.data.datasets.files import make_video_id, match_name, videos_in
from dfdc_lib.records import FAKE, REAL, Video

NAME = "ffpp"
ORIGINALS, FAKES = "original_sequences", "manipulated_sequences"
SIGNS = (f"{ORIGINALS}/", f"{FAKES}/")
LOOKED_FOR = f"{ORIGINALS}/<source>/<compression>/videos/* and {FAKES}/<method>/<compression>/videos/*"
ORIGINAL_NAME = r"(\d+)(__.+)?"  # 183, or actor and scene: 01__exit_phone_room
FAKE_NAME = r"(\d+)_(\d+)(?:(__.+)__[^_]+)?"  # target_donor: 183_253, 01_02__exit_phone_room__YVGY8LOK


def list_videos(root: Path) -> list[Video]:
    """List originals and fakes; the identities of a fake are its target and its donor."""
    return [_original(path) for path in _files(root / ORIGINALS)] + [_fake(path) for path in _files(root / FAKES)]


def _files(sequences: Path) -> list[Path]:
    folders = [folder for folder in sequences.glob("*/*/videos") if folder.parent.name != "masks"]  # no compression
    return [path for folder in folders for path in videos_in(folder)]


def _original(path: Path) -> Video:
    number = match_name(ORIGINAL_NAME, path, "183.mp4 or 01__exit_phone_room.mp4")[1]
    source, compression = path.parts[-4:-2]
    video_id = make_video_id(source, compression, path.stem)
    return Video(video_id=video_id, path=path, label=REAL, identities=(f"{source}/{number}",), compression=compression)


def _fake(path: Path) -> Video:
    match = match_name(FAKE_NAME, path, "183_253.mp4 or 01_02__exit_phone_room__YVGY8LOK.mp4")
    target, donor, scene = match.groups(default="")
    method, compression = path.parts[-4:-2]
    source = "actors" if scene else "youtube"
    return Video(
        video_id=make_video_id(method, compression, path.stem),
        path=path,
        label=FAKE,
        original_id=make_video_id(source, compression, target + scene),
        identities=(f"{source}/{target}", f"{source}/{donor}"),
        method=method,
        compression=compression,
    )
