"""Ids that are safe as names of files and folders, and the encodings of lists."""

import pytest

from dfdc_lib.data.datasets.files import make_video_id, read_text


@pytest.mark.parametrize(
    ("names", "video_id"),
    [
        *[(("a",), "a"), (("part", "b.c"), "part-b.c"), (("what?",), "what_"), ((".hidden",), ".hidden")],
        *[((".",), "_"), (("..",), "__"), (("...",), "___"), (("",), "_"), ((" ",), "_"), (("a. ",), "a__")],
        *[(("CON",), "_CON"), (("nul.txt",), "_nul.txt"), (("com1",), "_com1"), (("console",), "console")],
        *[(("..", "..", "x"), "..-..-x"), (("a/../b",), "a_.._b")],
    ],
)
def test_ids_are_names_of_files_on_every_system(names, video_id):
    assert make_video_id(*names) == video_id


TEXT = "path;label\r\nGrüße/Zoë.mp4;1\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings_of_lists(tmp_path, encoding):
    (tmp_path / "l.csv").write_bytes(TEXT.encode(encoding))
    assert read_text(tmp_path / "l.csv") == TEXT


def test_utf_16_of_both_byte_orders(tmp_path):
    for encoding, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        (tmp_path / "l.txt").write_bytes(mark + TEXT.encode(encoding))
        assert read_text(tmp_path / "l.txt") == TEXT


@pytest.mark.parametrize("content", [b"a\x81.mp4", TEXT.encode("utf-16-le"), "caf\xe9".encode("utf-16-be"), b"a\0b"])
def test_other_encodings_are_refused_by_name(tmp_path, content):
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"l\.txt.*encoding UTF-8"):
        read_text(tmp_path / "l.txt")
