"""FaceForensics++ and its DeepFakeDetection part: originals and fakes by source or method, and by compression.

Input: the folder with `original_sequences/` and `manipulated_sequences/`, and the published split lists if they are
there. Output: `Video` records. Source: Rössler et al. 2019, arXiv:1901.08971.
"""

import json
from pathlib import Path

from dfdc_lib.data.datasets.files import make_video_id, match_name, read_text, videos_in
from dfdc_lib.records import FAKE, REAL, Video

NAME = "ffpp"
ORIGINALS, FAKES = "original_sequences", "manipulated_sequences"
SIGNS = (f"{ORIGINALS}/", f"{FAKES}/")
LOOKED_FOR = f"{ORIGINALS}/<source>[/<compression>][/videos]/* and {FAKES}/<method>[/<compression>][/videos]/*"
MASKS = "masks"  # in the place of a compression: videos of the changed area
ORIGINAL_NAME = r"(\d+)(__.+)?"  # 183, or actor and scene: 01__exit_phone_room
FAKE_NAME = r"(\d+)_(\d+)(?:(__.+)__[^_]+)?"  # target_donor: 183_253, 01_02__exit_phone_room__YVGY8LOK
SPLIT_LISTS = {"train.json": "train", "val.json": "validation", "test.json": "test"}  # in the root or in splits/


def list_videos(root: Path) -> list[Video]:
    """List the originals and fakes of FaceForensics++.

    A fake has two identities: its target (whose video it is), then its donor (who gave the face). A video's split comes
    from the published train.json, val.json and test.json; it is "" if they are missing, or if the video's identities
    are not all in the same one. Raises ValueError if a file name or a list is malformed.
    """
    videos = [_original(path, *place) for path, *place in _files(root / ORIGINALS)]
    videos += [_fake(path, *place) for path, *place in _files(root / FAKES)]
    split_of = _read_split_lists(root)
    splits = [{split_of.get(name, "") for name in video.identities} for video in videos]
    chosen = [split.pop() if len(split) == 1 else "" for split in splits]
    return [video.model_copy(update={"split": split}) for video, split in zip(videos, chosen, strict=True)]


def _files(sequences: Path) -> list[tuple[Path, str, str]]:
    """Return the videos with their source or method and their compression, which may be missing: ""."""
    files = []
    for path in videos_in(sequences, "**/*"):
        folders = list(path.relative_to(sequences).parts[:-1])
        if folders[-1:] == ["videos"]:
            folders.pop()
        if len(folders) in (1, 2) and MASKS not in folders:
            files.append((path, folders[0], "".join(folders[1:])))
    return files


def _original(path: Path, source: str, compression: str) -> Video:
    number = match_name(ORIGINAL_NAME, path, "183.mp4 or 01__exit_phone_room.mp4")[1]
    video_id = _id(source, compression, path.stem)
    return Video(video_id=video_id, path=path, label=REAL, identities=(f"{source}/{number}",), compression=compression)


def _fake(path: Path, method: str, compression: str) -> Video:
    match = match_name(FAKE_NAME, path, "183_253.mp4 or 01_02__exit_phone_room__YVGY8LOK.mp4")
    target, donor, scene = match.groups(default="")
    source = "actors" if scene else "youtube"
    return Video(
        video_id=_id(method, compression, path.stem),
        path=path,
        label=FAKE,
        original_id=_id(source, compression, target + scene),
        identities=(f"{source}/{target}", f"{source}/{donor}"),
        method=method,
        compression=compression,
    )


def _id(*names: str) -> str:
    return make_video_id(*filter(None, names))


def _read_split_lists(root: Path) -> dict[str, str]:
    """Return the split of every listed identity; {} without lists."""
    split_of: dict[str, str] = {}
    for name, split in SPLIT_LISTS.items():
        for path in (path for path in (root / name, root / "splits" / name) if path.exists()):
            for number in _read_pairs(path):
                other = split_of.setdefault(f"youtube/{number}", split)
                if other != split:
                    raise ValueError(f"{path}: {number!r} is also in the {other} list; download the lists again")
    return split_of


def _read_pairs(path: Path) -> list[str]:
    """Return the numbers in a list of pairs, e.g. `[["071", "054"], ...]`."""
    try:
        pairs = json.loads(read_text(path))
    except ValueError as error:  # invalid JSON or invalid UTF-8
        raise ValueError(f"{path} is not valid JSON ({error}): download it again") from error
    texts = [number for pair in pairs for number in pair] if isinstance(pairs, list) else [pairs]
    if not all(isinstance(number, str) and number.isdecimal() for number in texts):
        raise ValueError(f'{path} must be a list of pairs such as ["071", "054"]: download it again')
    return texts
