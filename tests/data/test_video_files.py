import re
from pathlib import Path

import pytest

from dfdc_lib.data.video_files import existing_folder, files_below, make_video_id, match_name, videos_in


def test_an_empty_folder(tmp_path: Path) -> None:
    assert (videos_in(tmp_path), files_below(tmp_path)) == ([], [])


def test_what_is_found(tmp_path: Path) -> None:
    for name in ("a.MP4", ".b.mp4", "notes.txt", "sub/c.mov", ".git/d.mp4", "true_masks/e.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert videos_in(tmp_path) == [tmp_path / "a.MP4"]
    assert sorted(files_below(tmp_path)) == [tmp_path / "a.MP4", tmp_path / "notes.txt", tmp_path / "sub" / "c.mov"]


def test_existing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert existing_folder(Path()) == tmp_path
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file: give the folder"):
        existing_folder(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="absent is missing: check the path"):
        existing_folder(tmp_path / "absent")


@pytest.mark.parametrize(
    ("names", "video_id"), [(["a"], "a"), (["a", "b c"], "a-b c"), (["what?", "a/b"], "what_-a_b")]
)
def test_make_video_id(names: list[str], video_id: str) -> None:
    assert make_video_id(*names) == video_id


def test_match_name() -> None:
    pattern = re.compile(r"(\d+)_(\d+)")
    assert match_name(pattern, Path("/v/183_253.mp4"), "183_253.mp4").groups() == ("183", "253")
    with pytest.raises(ValueError, match=r"/v/x\.mp4: the name must be such as 183_253\.mp4 here; rename or remove"):
        match_name(pattern, Path("/v/x.mp4"), "183_253.mp4")
