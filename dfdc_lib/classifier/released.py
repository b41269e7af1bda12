"""The winner's seven released checkpoints: a table of them, and a cache folder they are fetched into and checked in.

A download goes to `<name>.part`, goes on where it was cut, and gets its name only once size and SHA-256 are those of the table.
Files put into the folder by hand are as good. Needs no torch; `checkpoints.load_released` reads the files.
Source: S. Seferbekov 2020, release 0.0.1 of his solution; sizes and hashes as published there.
"""

import hashlib
import http.client
import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tqdm.std import tqdm

from dfdc_lib.records import Record

RELEASE_URL = "https://github.com/selimsef/dfdc_deepfake_challenge/releases/download/0.0.1"
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 30  # of silence
PARTIAL_CONTENT = 206  # HTTP: the server goes on where it was asked to

State = Literal["ok", "missing", "wrong"]


class Released(Record):
    """One released checkpoint."""

    name: str
    sha256: str
    size_bytes: int
    url: str


_TABLE = (
    (
        "111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36",
        "9db77ab9318863e2f8ab287c8eb83c2232584b82dc2fb41f1d614ddd7900cccb",
        266910617,
    ),
    (
        "555_DeepFakeClassifier_tf_efficientnet_b7_ns_0_19",
        "e2f0066a8ff036add2f5b418d2eba1051c2d2788f84168f00a85207f3b666e04",
        266910618,
    ),
    (
        "777_DeepFakeClassifier_tf_efficientnet_b7_ns_0_29",
        "9fe4311d551a9cbaa1475dbcd6b15fccb31a1e17a8d63069e90a8899aef03b5c",
        266910617,
    ),
    (
        "777_DeepFakeClassifier_tf_efficientnet_b7_ns_0_31",
        "00dd6cd9466cddfd7da7c333d8fecae81593307827093deaf4d7cdf704bc8bfa",
        266910617,
    ),
    (
        "888_DeepFakeClassifier_tf_efficientnet_b7_ns_0_37",
        "d4a2bb4aefde59e045463ad469ed9660765beb086f65a09f9478ab060d403c7c",
        266910615,
    ),
    (
        "888_DeepFakeClassifier_tf_efficientnet_b7_ns_0_40",
        "c1d326a6651011390efe602e42cb8228232d6d18a15c404cf85d7233482f6d6d",
        266910613,
    ),
    (
        "999_DeepFakeClassifier_tf_efficientnet_b7_ns_0_23",
        "849036dc211387420412feb68c7451e98a948072b94e213e1104e2f2bf7791ad",
        266910615,
    ),
)
RELEASED = tuple(
    Released(name=f"final_{name}", sha256=sha256, size_bytes=size, url=f"{RELEASE_URL}/final_{name}")
    for name, sha256, size in _TABLE
)


def cache_folder() -> Path:
    """Give the folder of the released checkpoints: DFDC_WEIGHTS, or dfdc_lib in the user's cache folder (XDG_CACHE_HOME, ~/.cache)."""
    if chosen := os.environ.get("DFDC_WEIGHTS"):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dfdc_lib"


def choose(names: list[str]) -> list[Released]:
    """Pick checkpoints by name; no name is all of them.

    Raises:
        ValueError: if a name is not in the table.
    """
    known = {released.name: released for released in RELEASED}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no released checkpoint is called {', '.join(unknown)}; there are: {', '.join(known)}")
    return [known[name] for name in names] or list(RELEASED)


def describe_state(released: Released, folder: Path) -> str:
    """Say in a word or two what is there, by size only; `verify` reads the file."""
    path, part = folder / released.name, _part(released, folder)
    if path.is_file():
        size = path.stat().st_size
        return "there" if size == released.size_bytes else f"wrong size: {size:,} bytes"
    return f"begun, {part.stat().st_size / released.size_bytes:.0%}" if part.is_file() else "missing"


def verify(released: Released, folder: Path) -> State:
    """Compare a file's size and SHA-256 with the table's; changes nothing."""
    path = folder / released.name
    if not path.is_file():
        return "missing"
    return "ok" if _is_whole(path, released) else "wrong"


def download(released: Released, folder: Path) -> Path:
    """Fetch a checkpoint into the folder; one that is already there and whole is left alone.

    Args:
        released: what to fetch, and what it must be.
        folder: made if absent.
    Returns:
        The file, whole.
    Raises:
        ConnectionError: if the server cannot be reached, offers a file of another size, or stops early; what came is kept, and the next
            call goes on from there.
        ValueError: if what came is not the released file; it is removed.
    """
    path, part = folder / released.name, _part(released, folder)
    if verify(released, folder) == "ok":
        return path
    folder.mkdir(parents=True, exist_ok=True)
    if not part.exists() or part.stat().st_size < released.size_bytes:
        _fetch(released, part, path)
    size = part.stat().st_size
    if size < released.size_bytes:
        raise ConnectionError(
            f"{released.name} ended after {size:,} of {released.size_bytes:,} bytes: run the same command again, it goes on from there"
        )
    if not _is_whole(part, released):
        part.unlink()
        raise ValueError(
            f"{released.url} gave a file of {size:,} bytes that is not the released one ({released.size_bytes:,} bytes, SHA-256 "
            f"{released.sha256}): it was removed; run the same command again to fetch it anew"
        )
    part.replace(path)
    return path


def _fetch(released: Released, part: Path, path: Path) -> None:
    """Append to the partial file what it lacks, or begin anew where the server cannot go on in the middle."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(released.url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(
            f"cannot fetch {released.url}: {error}. Without a network, fetch it on another machine, put it there as {path}, "
            "then run `dfdc weights verify`"
        ) from error
    with answer:
        if _offered_bytes(answer) != released.size_bytes:
            raise ConnectionError(
                f"{released.url} offers {_offered_bytes(answer):,} bytes and not {released.size_bytes:,}: is a proxy or a log-in page "
                f"between? Nothing was kept of it; fetch the file by other means and put it there as {path}"
            )
        start = start if answer.status == PARTIAL_CONTENT else 0
        with (
            part.open("ab" if start else "wb") as file,
            tqdm(total=released.size_bytes, initial=start, unit="B", unit_scale=True, desc=released.name) as bar,
        ):
            for chunk in _chunks(answer):
                file.write(chunk)
                bar.update(len(chunk))


def _offered_bytes(answer: http.client.HTTPResponse) -> int:
    """Read the size of the whole file from the headers: `Content-Range: bytes 5-9/10`, else Content-Length; 0 where they do not say."""
    whole = re.search(r"/(\d+)$", answer.headers.get("Content-Range", ""))
    return int(whole[1] if whole else answer.headers.get("Content-Length", 0))


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Read until the end, or until the connection breaks: the caller counts the bytes."""
    while True:
        try:
            chunk = answer.read(CHUNK_BYTES)
        except (OSError, http.client.HTTPException):
            return
        if not chunk:
            return
        yield chunk


def _part(released: Released, folder: Path) -> Path:
    return folder / f"{released.name}.part"


def _is_whole(path: Path, released: Released) -> bool:
    if path.stat().st_size != released.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == released.sha256
