"""Choice of the layout, checks that hold for every data set, and the files left out."""

import os
from functools import partial
from pathlib import Path

import pytest

from dfdc_lib.data.datasets import detect_kind, left_out_files, list_videos

LONG_NAME, NOT_UTF8 = f"{'x' * 200}/{'y' * 200}.mp4", os.fsdecode(b"\xff.mp4")


@pytest.mark.parametrize("kind", ["auto", "ffpp", "celebdf"])
def test_a_folder_without_videos_is_an_error(make_files, kind):
    with pytest.raises(FileNotFoundError, match="no video"):
        list_videos(make_files("notes.txt"), kind)


@pytest.mark.parametrize("function", [list_videos, detect_kind, partial(left_out_files, videos=[])])
def test_root_must_be_an_existing_folder(make_files, function):
    root = make_files("a.mp4")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        function(root / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"a\.mp4"):
        function(root / "a.mp4")


def test_an_unknown_kind_is_an_error_that_suggests_the_nearest(tmp_path):
    for kind, nearest in (("dfcd", "dfdc"), ("celeb-df", "celebdf"), ("FFPP", "ffpp"), ("folders", "folder")):
        with pytest.raises(ValueError, match=f"'{nearest}'"):
            list_videos(tmp_path, kind)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        *[([], "folder"), (["a.mp4"], "folder"), (["dfdc_train_part_00.zip"], "folder")],
        *[(["metadata.json"], "dfdc"), (["dfdc_train_part_0/a.mp4"], "dfdc")],
        (["original_sequences/youtube/c23/videos/000.mp4"], "ffpp"),
        (["manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"], "ffpp"),
        *[(["Celeb-real/id0_0000.mp4"], "celebdf"), (["Celeb-synthesis/id0_id1_0000.mp4"], "celebdf")],
    ],
)
def test_detect_kind(make_files, names, kind):
    assert detect_kind(make_files(*names)) == kind


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[("celebdf", f"{name}.mp4") for name in ("Celeb-real/id0_id1_0000", "YouTube-real/id0_0000")],
        ("celebdf", "Celeb-synthesis/id0_0000.mp4"),
        *[("ffpp", f"original_sequences/youtube/c23/videos/{name}.mp4") for name in ("183_253", "holiday")],
        ("ffpp", "manipulated_sequences/Deepfakes/c23/videos/183.mp4"),
        ("ffpp", "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__exit_phone_room.mp4"),
    ],
)
def test_names_that_are_refused(make_files, kind, name):
    with pytest.raises(ValueError, match=name):
        list_videos(make_files(name), kind)


@pytest.mark.parametrize(
    ("names", "keyword"),
    [(["a-b.mp4", "a/b.mp4"], r"same id 'a-b\.mp4'"), ([LONG_NAME], "240 bytes, got 401"), ([NOT_UTF8], "UTF-8")],
)
def test_ids_that_are_refused(make_files, names, keyword):
    with pytest.raises(ValueError, match=keyword):
        list_videos(make_files(*names))


def test_paths_are_absolute_links_keep_their_names_and_broken_ones_are_listed(make_files, monkeypatch):
    root = make_files("real.mp4", "folder.mp4/notes.txt")
    (root / "link.mp4").symlink_to(root / "real.mp4")
    (root / "broken.mp4").symlink_to(root / "gone.mp4")
    expected = [(name, root / f"{name}.mp4") for name in ("broken", "link", "real")]
    monkeypatch.chdir(root)
    for same in (root, Path("folder.mp4/..")):
        assert [(video.video_id, video.path) for video in list_videos(same)] == expected


def test_a_list_of_videos(make_files):
    root = make_files("a/x.mp4", "b/x.mp4", "b/unlisted.mp4", "b/notes.txt")
    (root / "list.txt").write_text("b/x.mp4\na/../a/x.mp4\n")
    videos = [(video.video_id, video.path, video.label) for video in list_videos(root / "list.txt")]
    assert videos == [("a-x", root / "a" / "x.mp4", None), ("b-x", root / "b" / "x.mp4", None)]
    assert left_out_files(root / "list.txt", []) == []
    with pytest.raises(NotADirectoryError, match=r"list\.txt"):
        list_videos(root / "list.txt", "dfdc")


@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        *[([], []), (["a.mp4", "B.MOV"], [])],
        (["a.mp4", "notes.txt", "sub/b.jpg", "mp4"], ["mp4", "notes.txt", "sub/b.jpg"]),
        (["metadata.json", "List_of_testing_videos.txt", "labels.csv", "sample.json", "part/metadata.json"], []),
        ([".DS_Store", ".git/config", "true_masks/a/00000.png", "part/true_masks/a.png"], []),
    ],
)
def test_left_out_files(make_files, names, left_out):
    root = make_files(*names)
    videos = list_videos(root, "folder") if any(name.lower().endswith(("mp4", "mov")) for name in names[:1]) else []
    found = left_out_files(root, videos, "folder")
    assert [path for path, _ in found] == [root / name for name in left_out]
    assert all("suffix" in reason for _, reason in found)


def test_a_file_named_by_dots_alone_has_an_id_that_stays_in_the_run_folder(make_files):
    root = make_files("...mp4", "..mp4", "a.mp4")
    (root / "list.txt").write_text("...mp4\na.mp4\n..mp4\n")
    assert [video.video_id for video in list_videos(root / "list.txt")] == ["_", "__", "a"]
