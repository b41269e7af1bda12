"""FaceForensics++: labels, originals, identities and compressions, on a tree of empty files and on the real pairs."""

import csv
import json

import pytest

from dfdc_lib.data.datasets import left_out_files, list_videos

ACTORS = "01_02__exit_phone_room__YVGY8LOK"


def test_tree(make_files):
    originals = ("youtube/c23/videos/183", "youtube/c40/videos/183", "actors/c23/videos/01__exit_phone_room")
    fakes = [f"DeepFakeDetection/{compression}/videos/{ACTORS}" for compression in ("c23", "c40")]
    fakes += ["Deepfakes/c23/videos/183_253", "FaceSwap/c23/videos/183_253", "Deepfakes/c40/videos/253_183"]
    fakes += ["Deepfakes/masks/videos/183_253"]
    make_files(*(f"original_sequences/{name}.mp4" for name in originals))
    root = make_files(*(f"manipulated_sequences/{name}.mp4" for name in fakes))
    videos = list_videos(root)
    masks = root / "manipulated_sequences/Deepfakes/masks/videos/183_253.mp4"
    assert left_out_files(root, videos) == [(masks, "a video of the changed area")]
    original, actors, fake = "youtube-c23-183", ("actors/01", "actors/02"), ("youtube/183", "youtube/253")
    assert [(v.video_id, v.label, v.original_id, v.identities, v.method, v.compression) for v in videos] == [
        (f"DeepFakeDetection-c23-{ACTORS}", 1, "actors-c23-01__exit_phone_room", actors, "DeepFakeDetection", "c23"),
        (f"DeepFakeDetection-c40-{ACTORS}", 1, None, actors, "DeepFakeDetection", "c40"),
        ("Deepfakes-c23-183_253", 1, original, fake, "Deepfakes", "c23"),
        ("Deepfakes-c40-253_183", 1, None, fake[::-1], "Deepfakes", "c40"),
        ("FaceSwap-c23-183_253", 1, original, fake, "FaceSwap", "c23"),
        ("actors-c23-01__exit_phone_room", 0, None, ("actors/01",), "", "c23"),
        (original, 0, None, ("youtube/183",), "", "c23"),
        ("youtube-c40-183", 0, None, ("youtube/183",), "", "c40"),
    ]
    assert videos[2].path == root / "manipulated_sequences/Deepfakes/c23/videos/183_253.mp4"


def test_the_real_pairs(test_videos):
    with (test_videos / "INDEX.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "ffpp"]
    videos = list_videos(test_videos / "ffpp")
    paths = {video.video_id: video.path.relative_to(test_videos.resolve()).as_posix() for video in videos}
    listed = {paths[v.video_id]: (("real", "fake")[v.label], paths.get(v.original_id, "")) for v in videos}
    assert listed == {row["path"]: (row["label"], row["original"]) for row in rows}
    assert (len(videos), sum(video.label == 0 for video in videos)) == (68, 13)
    assert sum(video.original_id is not None for video in videos) == 55
    assert left_out_files(test_videos / "ffpp", videos) == []


LISTS = {"train.json": [["000", "003"]], "splits/val.json": [["071", "054"]], "splits/test.json": [["953", "974"]]}


def test_split_lists(make_files):
    names = ["original_sequences/youtube/c23/videos/000", "original_sequences/youtube/c23/videos/183"]
    names += [f"manipulated_sequences/Deepfakes/c23/videos/{n}" for n in ("003_000", "071_054", "953_974", "071_953")]
    names += [f"manipulated_sequences/DeepFakeDetection/c23/videos/{ACTORS}"]
    root = make_files(*(f"{name}.mp4" for name in names), "splits/val.json")
    for name, pairs in LISTS.items():
        (root / name).write_text(json.dumps(pairs))
    splits = {video.path.stem: video.split for video in list_videos(root)}
    in_a_split = {"000": "train", "003_000": "train", "071_054": "validation", "953_974": "test"}
    assert splits == in_a_split | {"183": "", "071_953": "", ACTORS: ""}  # unlisted, of two splits, without lists
    assert left_out_files(root, list_videos(root)) == []


@pytest.mark.parametrize(
    ("content", "keyword"),
    [('[["000", 3]]', "pairs"), ('{"a": 1}', "pairs"), ("[[", "JSON"), ('[["953", "1"]]', "953")],
)
def test_split_lists_that_are_refused(content, keyword, make_files):
    root = make_files("original_sequences/youtube/c23/videos/000.mp4")
    (root / "train.json").write_text('[["953", "974"]]')
    (root / "test.json").write_text(content)
    with pytest.raises(ValueError, match=keyword):
        list_videos(root)


def test_compression_and_the_folder_of_videos_may_be_missing(make_files):
    originals = ("youtube/c23/videos/183", "youtube/videos/183", "youtube/c40/253")
    fakes = ("Deepfakes/videos/183_253", "Face2Face/183_253", "FaceSwap/c40/253_183")
    make_files(*(f"original_sequences/{name}.mp4" for name in originals))
    root = make_files(*(f"manipulated_sequences/{name}.mp4" for name in (*fakes, "Deepfakes/c23/videos/old/183_253")))
    videos = list_videos(root)
    listed = [(v.video_id, v.original_id, v.method, v.compression) for v in videos if v.label]
    assert listed == [
        ("Deepfakes-183_253", "youtube-183", "Deepfakes", ""),
        ("Face2Face-183_253", "youtube-183", "Face2Face", ""),
        ("FaceSwap-c40-253_183", "youtube-c40-253", "FaceSwap", "c40"),
    ]
    assert [v.video_id for v in videos if not v.label] == ["youtube-183", "youtube-c23-183", "youtube-c40-253"]
    [(path, reason)] = left_out_files(root, videos)
    assert path == root / "manipulated_sequences/Deepfakes/c23/videos/old/183_253.mp4"
    assert "manipulated_sequences" in reason
