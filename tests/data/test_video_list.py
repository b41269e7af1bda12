from pathlib import Path

import pytest

from dfdc_lib.data.video_list import is_video_list, read_video_list


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lists").mkdir()
    for name in ("a.mp4", "with, comma.mp4", "b.mov"):
        (tmp_path / "lists" / name).touch()
    (tmp_path / "outside.mp4").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("l.txt", "a.mp4", ["lists/a.mp4"]),
        ("l.txt", "\ufeffb.mov\r\n\r\n  a.mp4  \r\n", ["lists/b.mov", "lists/a.mp4"]),
        ("l.txt", "../outside.mp4\nwith, comma.mp4\n", ["outside.mp4", "lists/with, comma.mp4"]),
        ("L.TXT", "{folder}/outside.mp4\n", ["outside.mp4"]),
        ("l.csv", "path\na.mp4\n\nb.mov\n", ["lists/a.mp4", "lists/b.mov"]),
        ("l.csv", '\ufefflabel,filename\n1,"with, comma.mp4"\n0,a.mp4\n', ["lists/with, comma.mp4", "lists/a.mp4"]),
        ("l.csv", "filename,path\nx.mp4,a.mp4\n", ["lists/a.mp4"]),
    ],
)
def test_lists(name: str, content: str, found: list[str], folder: Path) -> None:
    path = Path("lists") / name
    path.write_text(content.format(folder=folder))
    assert is_video_list(path)
    assert read_video_list(path) == [folder / place for place in found]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("l.txt", "\n \n", ValueError, r"lists/l\.txt names no video: write one path a line"),
        ("l.csv", "", ValueError, "must have a column path or filename, got an empty file"),
        ("l.csv", "path\n", ValueError, "names no video"),
        ("l.csv", "name,label\na.mp4,1\n", ValueError, "must have a column path or filename, got name, label"),
        ("l.txt", "a.mp4\nb.mov\n./a.mp4\n", ValueError, "'./a.mp4' stands in lines 1 and 3: remove one"),
        (
            "l.csv",
            "path\na.mp4\nno.mp4\n",
            FileNotFoundError,
            r"names 1 of 2 files that are not there: 'no.mp4' \(line 3\); a relative path ",
        ),
        ("l.txt", ".", FileNotFoundError, r"'\.' \(line 1\)"),
        (
            "l.txt",
            "\n".join(f"{n}.mp4" for n in range(7)),
            FileNotFoundError,
            r"7 of 7 .*'4.mp4' \(line 5\) and 2 more; .* starts at /",
        ),
    ],
)
def test_lists_that_are_refused(name: str, content: str, error: type[Exception], message: str, folder: Path) -> None:
    path = Path("lists") / name
    path.write_text(content)
    with pytest.raises(error, match=message):
        read_video_list(path)


@pytest.mark.parametrize("name", ["lists", "lists/a.mp4", "absent.txt"])
def test_no_list(name: str, folder: Path) -> None:
    assert not is_video_list(folder / name)
