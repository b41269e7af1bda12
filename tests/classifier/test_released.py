"""Released checkpoints: downloaded completely or not at all, from a server on this machine."""

import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dfdc_lib.classifier import released
from dfdc_lib.classifier.released import RELEASED, Released, cache_folder, choose, describe_state, download, verify
from dfdc_lib.cli import app

CONTENT = bytes(range(256)) * 20  # 5,120 bytes
NAME = "final_1_DeepFakeClassifier_resnet18_0_1"


class Server(ThreadingHTTPServer):
    """Serves `content` under any path; tests set how it misbehaves."""

    content = CONTENT
    can_resume = True
    cut_after: int | None = None  # bytes after which the connection breaks
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        requested = self.headers.get("Range")
        self.server.ranges.append(requested)
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested and self.server.can_resume else 0
        body, size = self.server.content[start:], len(self.server.content)
        self.send_response(206 if start else self.server.status)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def checkpoint(server: Server) -> Released:
    return make_released(f"http://127.0.0.1:{server.server_port}/{NAME}")


def make_released(url: str, name: str = NAME) -> Released:
    return Released(name=name, sha256=hashlib.sha256(CONTENT).hexdigest(), size_bytes=len(CONTENT), url=url)


def test_table_is_that_of_the_release() -> None:
    assert len(RELEASED) == 7
    assert len({checkpoint.sha256 for checkpoint in RELEASED}) == 7
    assert all(re.fullmatch("[0-9a-f]{64}", checkpoint.sha256) for checkpoint in RELEASED)
    assert sum(checkpoint.size_bytes for checkpoint in RELEASED) == 1_868_374_312
    first = RELEASED[0]
    assert first.name == "final_111_DeepFakeClassifier_tf_efficientnet_b7_ns_0_36"
    assert first.url == f"https://github.com/selimsef/dfdc_deepfake_challenge/releases/download/0.0.1/{first.name}"
    assert (first.sha256[:8], first.size_bytes) == ("9db77ab9", 266_910_617)
    assert RELEASED[-1].name == "final_999_DeepFakeClassifier_tf_efficientnet_b7_ns_0_23"
    assert RELEASED[-1].sha256[:8] == "849036dc"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"DFDC_WEIGHTS": "/a/b", "XDG_CACHE_HOME": "/c"}, Path("/a/b")),
        ({"XDG_CACHE_HOME": "/c"}, Path("/c/dfdc_lib")),
        ({}, Path.home() / ".cache" / "dfdc_lib"),
    ],
)
def test_cache_folder(environment: dict[str, str], expected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DFDC_WEIGHTS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == expected


def test_choose() -> None:
    assert choose([]) == list(RELEASED)
    assert choose([RELEASED[2].name]) == [RELEASED[2]]
    with pytest.raises(ValueError, match="b8, b9.*final_111_.*final_999_"):
        choose(["b8", RELEASED[0].name, "b9"])


def test_a_complete_file_is_not_downloaded_again(checkpoint: Released, server: Server, tmp_path: Path) -> None:
    states = verify(checkpoint, tmp_path / "cache"), describe_state(checkpoint, tmp_path / "cache")
    assert states == ("missing", "missing") and not (tmp_path / "cache").exists()
    path = download(checkpoint, tmp_path / "cache")
    assert path == tmp_path / "cache" / NAME
    assert path.read_bytes() == CONTENT
    assert (verify(checkpoint, path.parent), describe_state(checkpoint, path.parent)) == ("ok", "present")
    assert download(checkpoint, path.parent) == path
    assert server.ranges == [None]
    assert [file.name for file in path.parent.iterdir()] == [NAME]


def test_a_broken_download_resumes(checkpoint: Released, server: Server, tmp_path: Path) -> None:
    server.cut_after = 3000
    with pytest.raises(ConnectionError, match="3,000 of 5,120 bytes"):
        download(checkpoint, tmp_path)
    assert (verify(checkpoint, tmp_path), describe_state(checkpoint, tmp_path)) == ("missing", "incomplete, 59%")
    server.cut_after = None
    assert download(checkpoint, tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=3000-"]


def test_a_server_that_cannot_resume_and_a_complete_part(checkpoint: Released, server: Server, tmp_path: Path) -> None:
    part = tmp_path / f"{NAME}.part"
    part.write_bytes(CONTENT[:3000])
    server.can_resume = False
    assert download(checkpoint, tmp_path).read_bytes() == CONTENT  # sent again from the start
    assert server.ranges == ["bytes=3000-"]
    (tmp_path / NAME).rename(part)
    assert download(make_released("http://127.0.0.1:9/x"), tmp_path).read_bytes() == CONTENT  # needs no server


@pytest.mark.parametrize(
    "part", [b"", b"x" * 3000, b"x" * 5120, b"x" * 6000], ids=["fresh", "resumed", "complete", "too long"]
)
def test_wrong_content_is_deleted(part: bytes, checkpoint: Released, server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"x"
    if part:
        (tmp_path / f"{NAME}.part").write_bytes(part)
    with pytest.raises(ValueError, match=f"5,120 bytes, SHA-256 {checkpoint.sha256}"):
        download(checkpoint, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"x", CONTENT[:100]], ids=["changed", "truncated"])
def test_a_wrong_file_is_replaced(wrong: bytes, checkpoint: Released, tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(wrong)
    assert verify(checkpoint, tmp_path) == "wrong"
    expected = "present" if len(wrong) == len(CONTENT) else "wrong size: 100 bytes"
    assert describe_state(checkpoint, tmp_path) == expected
    assert download(checkpoint, tmp_path).read_bytes() == CONTENT


def test_a_file_of_another_size_is_not_downloaded(checkpoint: Released, server: Server, tmp_path: Path) -> None:
    server.content = b"<html>log in</html>"
    with pytest.raises(ConnectionError, match="19 bytes.*5,120"):
        download(checkpoint, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_server_the_error_names_the_remedy(server: Server, tmp_path: Path) -> None:
    checkpoint = make_released("http://127.0.0.1:9/x")  # the discard port: nobody listens
    with pytest.raises(ConnectionError, match=f"{checkpoint.url}.*{tmp_path / NAME}.*dfdc weights verify"):
        download(checkpoint, tmp_path)
    server.status = 404
    with pytest.raises(ConnectionError, match="404"):
        download(make_released(f"http://127.0.0.1:{server.server_port}/x"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_command_line(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tuple(make_released(f"http://127.0.0.1:{server.server_port}/{name}", name) for name in ("one", "two"))
    monkeypatch.setattr(released, "RELEASED", table)
    monkeypatch.setenv("DFDC_WEIGHTS", str(tmp_path))

    def call(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["weights", *words])
        return result.exit_code, result.output

    assert call("list") == (0, f"folder: {tmp_path}\none     0.0 MB  missing\ntwo     0.0 MB  missing\n")
    code, text = call("verify")
    assert code == 1 and "missing one\nmissing two\n" in text
    code, text = call("download", "three")
    assert code == 1 and "three" in text
    code, text = call("download", "two")
    assert code == 0 and f"ok  {tmp_path / 'two'}" in text
    assert call("list")[1].endswith("one     0.0 MB  missing\ntwo     0.0 MB  present\n")
    assert call("download")[0] == 0
    assert call("verify") == (0, "ok      one\nok      two\n")
    (tmp_path / "one").write_bytes(b"x")
    code, text = call("verify")
    assert code == 1 and "wrong   one\nok      two\n" in text
    server.shutdown()
    server.server_close()
    code, text = call("download", "one")
    assert code == 1 and "dfdc: cannot download http" in text


def test_needs_no_torch() -> None:
    code = "import dfdc_lib.cli, dfdc_lib.classifier.released, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
