"""Plain folders: ids from paths, ignored files, and the real folders."""

import pytest

from dfdc_lib.data.datasets import list_videos


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        *[(["a.mp4"], ["a"]), (["b.mov", "A.MP4", "sub/deep/a.mkv"], ["A", "b", "sub-deep-a"])],
        (["a.mp4", "a.mov", "b.mp4"], ["a.mov", "a.mp4", "b"]),
        (["a.b.mp4", "what is this?.mp4"], ["a.b", "what is this_"]),
        (["a.mp4", ".hidden.mp4", ".cache/b.mp4", "true_masks/c.mp4", "notes.txt"], ["a"]),
        (["a.AVI", "b.M4V", "c.MKV", "d.MOV", "e.MP4", "f.MPEG", "g.MPG", "h.WEBM"], list("abcdefgh")),
    ],
)
def test_folder(make_files, names, ids):
    videos = list_videos(make_files(*names))
    assert [video.video_id for video in videos] == ids
    assert all(video.label is None and video.identities == (video.video_id,) for video in videos)


@pytest.mark.parametrize(("name", "count"), [("clips", 20), ("odd", 10)])
def test_the_real_folders(test_videos, name, count):
    videos = list_videos(test_videos / name)
    assert [video.video_id for video in videos] == sorted(path.stem for path in (test_videos / name).iterdir())
    assert (len(videos), {video.label for video in videos}) == (count, {None})
