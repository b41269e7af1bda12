"""Lists of videos: text and CSV files, and lists that are refused."""

from pathlib import Path

import pytest

from dfdc_lib.data.datasets.video_list import is_video_list, read_video_list


@pytest.fixture
def folder(make_files, monkeypatch):
    root = make_files("lists/a.mp4", "lists/with, comma.mp4", "lists/b.mov", "outside.mp4")
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(
    ("name", "content", "files"),
    [
        ("l.txt", "a.mp4", ["lists/a.mp4"]),
        ("l.txt", "\ufeffb.mov\r\n\r\n  a.mp4  \r\n", ["lists/b.mov", "lists/a.mp4"]),
        ("l.txt", "../outside.mp4\nwith, comma.mp4\n", ["outside.mp4", "lists/with, comma.mp4"]),
        ("L.TXT", "{folder}/outside.mp4\n", ["outside.mp4"]),
        ("l.csv", "path\na.mp4\n\nb.mov\n", ["lists/a.mp4", "lists/b.mov"]),
        ("l.csv", '\ufefflabel,filename\n1,"with, comma.mp4"\n0,a.mp4\n', ["lists/with, comma.mp4", "lists/a.mp4"]),
        ("l.csv", "filename,path\nx.mp4,a.mp4\n", ["lists/a.mp4"]),
        ("l.csv", 'label;path\r\n1;"with, comma.mp4"\r\n0;a.mp4\r\n', ["lists/with, comma.mp4", "lists/a.mp4"]),
        ("l.csv", "label\tpath\n1\ta.mp4\n", ["lists/a.mp4"]),
        ("l.txt", "..\\outside.mp4\r\n", ["outside.mp4"]),
    ],
)
def test_lists(name, content, files, folder):
    path = Path("lists") / name
    path.write_text(content.format(folder=folder))
    assert is_video_list(path)
    assert read_video_list(path) == [folder / file for file in files]


@pytest.mark.parametrize(
    ("name", "content", "error", "keyword"),
    [
        *[("l.txt", "\n \n", ValueError, "no video"), ("l.csv", "path\n", ValueError, "no video")],
        ("l.csv", "", ValueError, "an empty file"),
        ("l.csv", "name,label\na.mp4,1\n", ValueError, "name, label"),
        ("l.txt", "a.mp4\nb.mov\n./a.mp4\n", ValueError, "lines 1 and 3"),
        ("l.csv", "path\na.mp4\nno.mp4\n", FileNotFoundError, r"1 of 2 .*'no.mp4' \(line 3\)"),
        ("l.txt", ".", FileNotFoundError, r"'\.' \(line 1\)"),
        ("l.txt", "\n".join(f"{n}.mp4" for n in range(7)), FileNotFoundError, r"7 of 7 .*'4.mp4' \(line 5\) and 2"),
    ],
)
def test_lists_that_are_refused(name, content, error, keyword, folder):
    path = Path("lists") / name
    path.write_text(content)
    with pytest.raises(error, match=keyword):
        read_video_list(path)


def test_other_files_are_not_lists(folder):
    assert not any(is_video_list(folder / name) for name in ("lists", "lists/a.mp4", "absent.txt"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(("name", "content"), [("l.txt", "Grüße.mp4\r\n"), ("l.csv", "path;label\r\nGrüße.mp4;1\r\n")])
def test_lists_as_spreadsheets_and_windows_write_them(name, content, encoding, folder):
    (folder / "lists" / "Grüße.mp4").touch()
    (folder / "lists" / name).write_bytes(content.encode(encoding))
    assert read_video_list(Path("lists") / name) == [folder / "lists" / "Grüße.mp4"]
