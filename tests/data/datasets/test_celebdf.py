"""Celeb-DF: labels, originals, identities and the list of test videos."""

import pytest

from dfdc_lib.data.datasets import left_out_files, list_videos
from dfdc_lib.records import FAKE, REAL


@pytest.fixture
def root(make_files):
    fakes = ("Celeb-synthesis/id0_id1_0000.mp4", "Celeb-synthesis/id2_id3_0007.mp4")
    return make_files("Celeb-real/id0_0000.mp4", "YouTube-real/00170.mp4", *fakes)


@pytest.mark.parametrize(
    ("test_list", "splits"),
    [
        *[(None, ["", "", "", ""]), ("", ["train", "train", "train", "train"])],
        ("\ufeff1 Celeb-real/id0_0000.mp4", ["test", "train", "train", "train"]),  # with a byte order mark
        ("1 YouTube-real/00170.mp4\r\n0 Celeb-synthesis/id2_id3_0007.mp4\n\n", ["train", "train", "test", "test"]),
        ("1 Celeb-real/id9_0000.mp4\n", ["train", "train", "train", "train"]),  # an absent video
    ],
)
def test_tree(root, test_list, splits):
    if test_list is not None:
        (root / "List_of_testing_videos.txt").write_text(test_list, encoding="utf-8")
    videos = list_videos(root)
    assert [(video.video_id, video.label, video.original_id, video.identities) for video in videos] == [
        ("Celeb-real-id0_0000", REAL, None, ("celeb/id0",)),
        ("Celeb-synthesis-id0_id1_0000", FAKE, "Celeb-real-id0_0000", ("celeb/id0", "celeb/id1")),
        ("Celeb-synthesis-id2_id3_0007", FAKE, None, ("celeb/id2", "celeb/id3")),
        ("YouTube-real-00170", REAL, None, ("youtube/00170",)),
    ]
    assert [video.split for video in videos] == splits


@pytest.mark.parametrize(
    "line",
    [
        *["0 YouTube-real/00170.mp4", "1 Celeb-synthesis/id0_id1_0000.mp4"],  # the label contradicts the folder
        *["2 Celeb-real/id0_0000.mp4", "1 ../x.mp4", "1 Celeb-real/../x.mp4"],
    ],
)
def test_a_malformed_test_list(root, line):
    (root / "List_of_testing_videos.txt").write_text(f"1 Celeb-real/id0_0000.mp4\n{line}\n")
    with pytest.raises(ValueError, match=r"List_of_testing_videos\.txt, line 2"):
        list_videos(root)


def test_scenarios_and_methods(make_files):
    """The folders of Celeb-DF++; in the others, only the expected names are listed."""
    swaps = [f"Celeb-synthesis/FaceSwap/{method}/id0_id1_0000" for method in ("GHOST", "SimSwap")]
    others = ["Celeb-synthesis/FaceReenact/LIA/id0_id1_0002", "Celeb-synthesis/TalkingFace/FLOAT/id0_0000_audio7"]
    unnamed = ["Celeb-synthesis/TalkingFace/FLOAT/clip", "Celeb-real/deep/er/id0_0000"]
    names = ["Celeb-real/videos/id0_0000", *swaps, *others, *unnamed]
    root = make_files(*(f"{name}.mp4" for name in names))
    (root / "List_of_testing_videos.txt").write_text(f"0 {swaps[0]}.mp4\n", encoding="utf-16")
    videos = list_videos(root)
    pair, target = ("celeb/id0", "celeb/id1"), ("celeb/id0",)
    assert [(v.video_id, v.label, v.original_id, v.identities, v.method, v.split) for v in videos] == [
        ("Celeb-real-id0_0000", REAL, None, target, "", "train"),
        ("Celeb-synthesis-FaceReenact-LIA-id0_id1_0002", FAKE, None, pair, "LIA", "train"),
        ("Celeb-synthesis-FaceSwap-GHOST-id0_id1_0000", FAKE, "Celeb-real-id0_0000", pair, "GHOST", "test"),
        ("Celeb-synthesis-FaceSwap-SimSwap-id0_id1_0000", FAKE, "Celeb-real-id0_0000", pair, "SimSwap", "train"),
        ("Celeb-synthesis-TalkingFace-FLOAT-id0_0000_audio7", FAKE, None, target, "FLOAT", "train"),
    ]
    assert [path for path, _ in left_out_files(root, videos)] == sorted(root / f"{name}.mp4" for name in unnamed)
