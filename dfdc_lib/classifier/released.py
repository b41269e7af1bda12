"""The winner's seven released checkpoints: their table, and a cache folder into which they are downloaded.

A download is written to `<name>.part`, resumes after an interruption, and is renamed once its size and SHA-256 match
the table. Files copied into the folder by hand work too. Needs no torch; `checkpoints.load_released` reads the files.
Source: S. Seferbekov 2020, release 0.0.1 of his solution; sizes and hashes as published there.
"""

import hashlib
import http.client
import os
import re
import urllib.request
from pathlib import Path
from typing import Literal

from tqdm.std import tqdm

from dfdc_lib.records import Record

RELEASE_URL = "https://github.com/selimsef/dfdc_deepfake_challenge/releases/download/0.0.1"
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30  # without any data
PARTIAL_CONTENT = 206  # HTTP status of a resumed download

State = Literal["ok", "missing", "wrong"]


class Released(Record):
    """A checkpoint that the winner released: its file name, SHA-256, size in bytes and URL."""

    name: str
    sha256: str
    size_bytes: int
    url: str


_TABLE = (  # seed, epoch, SHA-256, bytes
    (111, 36, "9db77ab9318863e2f8ab287c8eb83c2232584b82dc2fb41f1d614ddd7900cccb", 266910617),
    (555, 19, "e2f0066a8ff036add2f5b418d2eba1051c2d2788f84168f00a85207f3b666e04", 266910618),
    (777, 29, "9fe4311d551a9cbaa1475dbcd6b15fccb31a1e17a8d63069e90a8899aef03b5c", 266910617),
    (777, 31, "00dd6cd9466cddfd7da7c333d8fecae81593307827093deaf4d7cdf704bc8bfa", 266910617),
    (888, 37, "d4a2bb4aefde59e045463ad469ed9660765beb086f65a09f9478ab060d403c7c", 266910615),
    (888, 40, "c1d326a6651011390efe602e42cb8228232d6d18a15c404cf85d7233482f6d6d", 266910613),
    (999, 23, "849036dc211387420412feb68c7451e98a948072b94e213e1104e2f2bf7791ad", 266910615),
)
_NAMES = [f"final_{seed}_DeepFakeClassifier_tf_efficientnet_b7_ns_0_{epoch}" for seed, epoch, _, _ in _TABLE]
RELEASED = tuple(
    Released(name=name, sha256=sha256, size_bytes=size, url=f"{RELEASE_URL}/{name}")
    for name, (_, _, sha256, size) in zip(_NAMES, _TABLE, strict=True)
)


def cache_folder() -> Path:
    """Return the folder of released checkpoints: $DFDC_WEIGHTS, or dfdc_lib/ in $XDG_CACHE_HOME (default ~/.cache)."""
    if chosen := os.environ.get("DFDC_WEIGHTS"):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dfdc_lib"


def choose(names: list[str]) -> list[Released]:
    """Return checkpoints by name, all of them for []; raise ValueError for an unknown name."""
    by_name = {released.name: released for released in RELEASED}
    if unknown := [name for name in names if name not in by_name]:
        raise ValueError(f"unknown checkpoints {', '.join(unknown)}: choose from {', '.join(by_name)}")
    return [by_name[name] for name in names] or list(RELEASED)


def describe_state(released: Released, folder: Path) -> str:
    """Return "present", "missing", "incomplete, <percent>" or "wrong size: <bytes>" for a checkpoint in a folder.

    Only the size is checked; `verify` also compares the hash.
    """
    path, part = folder / released.name, _part(released, folder)
    if path.is_file():
        size = path.stat().st_size
        return "present" if size == released.size_bytes else f"wrong size: {size:,} bytes"
    return f"incomplete, {part.stat().st_size / released.size_bytes:.0%}" if part.is_file() else "missing"


def verify(released: Released, folder: Path) -> State:
    """Return "missing" if a folder lacks the checkpoint, "ok" if its size and SHA-256 are right, else "wrong"."""
    path = folder / released.name
    if not path.is_file():
        return "missing"
    return "ok" if _matches(path, released) else "wrong"


def download(released: Released, folder: Path) -> Path:
    """Download a checkpoint into the folder, unless it is there already, and return its path.

    Raises ConnectionError if the server cannot be reached, offers a file of another size, or stops early; the next call
    resumes. Raises ValueError, and deletes the download, if it is not the released file.
    """
    path, part = folder / released.name, _part(released, folder)
    if verify(released, folder) == "ok":
        return path
    folder.mkdir(parents=True, exist_ok=True)
    if not part.exists() or part.stat().st_size < released.size_bytes:
        _fetch(released, part, path)
    size = part.stat().st_size
    if size < released.size_bytes:
        progress = f"{size:,} of {released.size_bytes:,} bytes"
        raise ConnectionError(f"{released.name} stopped after {progress}: run the same command again to resume")
    if not _matches(part, released):
        part.unlink()
        expected = f"{released.size_bytes:,} bytes, SHA-256 {released.sha256}"
        raise ValueError(f"{released.url} is not the released file ({expected}); it was deleted, download it again")
    part.replace(path)
    return path


def _fetch(released: Released, part: Path, path: Path) -> None:
    """Append the missing bytes to the partial file, or start again if the server cannot resume."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(released.url, headers={"Range": f"bytes={start}-"} if start else {})
    remedy = f"download it by other means, store it as {path} and run `dfdc weights verify`"
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"cannot download {released.url}: {error}; {remedy}") from error
    with response:
        # The whole file's size, from "Content-Range: bytes 5-9/10" or Content-Length; 0 = unknown.
        whole = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
        offered = int(whole[1] if whole else response.headers.get("Content-Length", 0))
        if offered != released.size_bytes:
            sizes = f"{offered:,} bytes instead of {released.size_bytes:,}, perhaps from a proxy or a log-in page"
            raise ConnectionError(f"{released.url} offers {sizes}: {remedy}")
        start = start if response.status == PARTIAL_CONTENT else 0
        bar = tqdm(total=released.size_bytes, initial=start, unit="B", unit_scale=True, desc=released.name)
        with part.open("ab" if start else "wb") as file, bar:
            while chunk := _read_chunk(response):
                file.write(chunk)
                bar.update(len(chunk))


def _read_chunk(response: http.client.HTTPResponse) -> bytes:
    """Return the next bytes; b"" at the end and if the connection breaks, as the caller compares the size."""
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException):
        return b""


def _part(released: Released, folder: Path) -> Path:
    return folder / f"{released.name}.part"


def _matches(path: Path, released: Released) -> bool:
    if path.stat().st_size != released.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == released.sha256
