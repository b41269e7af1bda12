"""Data sets: trees of empty files in every known layout, each kind of bad input, and the real FaceForensics++ pairs."""

import csv
import json
import os
from pathlib import Path

import pytest

from dfdc_lib.data.datasets import KINDS, detect_kind, left_out_files, list_videos
from dfdc_lib.data.video_files import VIDEO_SUFFIXES
from dfdc_lib.records import FAKE, REAL, Video


def make_files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def make_part(folder: Path, metadata: dict | str, *absent: str) -> Path:
    """Write a DFDC folder: metadata.json and an empty file for each of its entries but the absent ones."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_text(metadata if isinstance(metadata, str) else json.dumps(metadata))
    return (
        make_files(folder, *(name for name in metadata if name not in absent)) if isinstance(metadata, dict) else folder
    )


def by_id(videos: list[Video]) -> dict[str, Video]:
    return {video.video_id: video for video in videos}


REAL_ENTRY = {"label": "REAL", "split": "train"}


def fake_of(original: str) -> dict[str, str]:
    return {"label": "FAKE", "split": "train", "original": original}


# Root and kind ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "looked_for"), [("auto", "the folders in it"), ("ffpp", "original_sequences"), ("celebdf", "Celeb-real")]
)
def test_a_folder_without_videos_is_an_error_that_says_what_was_looked_for(tmp_path, kind, looked_for):
    make_files(tmp_path, "notes.txt")
    with pytest.raises(
        FileNotFoundError, match=rf"no video in {tmp_path}.*{looked_for}.*\.mp4.*auto, dfdc, ffpp, celebdf, folder"
    ):
        list_videos(tmp_path, kind)


@pytest.mark.parametrize("function", [list_videos, detect_kind, left_out_files])
def test_root_must_be_a_folder_that_is_there(tmp_path, function):
    with pytest.raises(FileNotFoundError, match="nowhere is missing: check the path"):
        function(tmp_path / "nowhere")
    make_files(tmp_path, "a.mp4")
    with pytest.raises(NotADirectoryError, match=r"a\.mp4 is a file: give the folder"):
        function(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("kind", "nearest"), [("dfcd", "dfdc"), ("celeb-df", "celebdf"), ("FFPP", "ffpp"), ("folders", "folder")]
)
def test_unknown_kind_gets_the_nearest_right_name(tmp_path, kind, nearest):
    with pytest.raises(ValueError, match=f"one of {', '.join(KINDS)}, got '{kind}'; the nearest is '{nearest}'"):
        list_videos(tmp_path, kind)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([], "folder"),
        (["a.mp4"], "folder"),
        (["metadata.json"], "dfdc"),
        (["dfdc_train_part_0/a.mp4"], "dfdc"),
        (["dfdc_train_part_00.zip"], "folder"),
        (["original_sequences/youtube/c23/videos/000.mp4"], "ffpp"),
        (["manipulated_sequences/Deepfakes/c23/videos/000_003.mp4"], "ffpp"),
        (["Celeb-real/id0_0000.mp4"], "celebdf"),
        (["Celeb-synthesis/id0_id1_0000.mp4"], "celebdf"),
    ],
)
def test_detect_kind(tmp_path, names, kind):
    assert detect_kind(make_files(tmp_path, *names)) == kind


# DFDC ------------------------------------------------------------------------------------------------------------------------------
def test_dfdc_parts(tmp_path):
    make_part(tmp_path / "dfdc_train_part_0", {"real.mp4": REAL_ENTRY, "fake.mp4": fake_of("real.mp4")})
    make_part(tmp_path / "dfdc_train_part_12", {"other.mp4": REAL_ENTRY})
    first, last = tmp_path / "dfdc_train_part_0", tmp_path / "dfdc_train_part_12"
    expected = [
        Video(
            video_id="fake",
            path=first / "fake.mp4",
            label=FAKE,
            original_id="real",
            identities=("real",),
            part=0,
            split="train",
        ),
        Video(video_id="other", path=last / "other.mp4", label=REAL, identities=("other",), part=12, split="train"),
        Video(video_id="real", path=first / "real.mp4", label=REAL, identities=("real",), part=0, split="train"),
    ]
    assert list_videos(tmp_path) == expected
    assert list_videos(first) == [expected[0], expected[2]]  # one part alone, and it still knows its number
    make_part(tmp_path, {"beside.mp4": REAL_ENTRY})
    assert [(video.video_id, video.part) for video in list_videos(tmp_path)] == [
        ("beside", None),
        ("fake", 0),
        ("other", 12),
        ("real", 0),
    ]


def test_dfdc_holds_what_is_there(tmp_path):
    """The original is absent, one fake is absent, one file is not named, one is no video."""
    make_part(
        tmp_path,
        {"real.mp4": REAL_ENTRY, "fake.mp4": fake_of("real.mp4"), "gone.mp4": fake_of("real.mp4")},
        "real.mp4",
        "gone.mp4",
    )
    make_files(tmp_path, "unnamed.MP4", "notes.txt", "._fake.mp4")
    videos = by_id(list_videos(tmp_path))
    assert set(videos) == {"fake", "unnamed"}
    assert (videos["fake"].label, videos["fake"].original_id, videos["fake"].identities) == (FAKE, None, ("real",))
    assert (videos["unnamed"].label, videos["unnamed"].part, videos["unnamed"].identities) == (None, None, ("unnamed",))


def test_dfdc_test_set_has_no_labels(tmp_path):
    make_part(tmp_path, {"a.mp4": {}, "b.mp4": {"label": None, "original": None, "split": None}})
    assert [(video.video_id, video.label, video.original_id, video.split) for video in list_videos(tmp_path)] == [
        ("a", None, None, ""),
        ("b", None, None, ""),
    ]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{", r"metadata\.json is no valid JSON .*unpack the part again"),
        ("[1]", r"metadata\.json must map each file name to its label"),
        ({"a.mp4": 3}, r"metadata\.json must map each file name to its label"),
        ({"a.mp4": {"label": "FAUX"}}, r"metadata\.json: label must be REAL or FAKE, got 'FAUX' for 'a\.mp4'"),
        ({"a.mp4": {"label": ["FAKE"]}}, r"label must be REAL or FAKE, got \['FAKE'\]"),
        ({"a.mp4": {"label": "REAL", "original": 3}}, r"in the same folder, got 3 in the entry 'a\.mp4'"),
        ({"": REAL_ENTRY}, r"in the same folder, got ''"),
        ({"a.mp4": fake_of("a.mp4")}, r"a\.mp4: its original must be a real video, but .*a\.mp4 is a fake"),
    ],
)
def test_dfdc_metadata_is_checked(tmp_path, metadata, message):
    make_part(tmp_path, metadata)
    with pytest.raises(ValueError, match=message):
        list_videos(tmp_path)


@pytest.mark.parametrize("outside", ["../../x.mp4", "/etc/x.mp4", "..", "sub/x.mp4", r"..\x.mp4"])
@pytest.mark.parametrize("place", ["name", "original"])
def test_dfdc_names_that_point_outside_are_refused(tmp_path, outside, place):
    metadata = {outside: REAL_ENTRY} if place == "name" else {"a.mp4": fake_of(outside)}
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    make_files(tmp_path, "a.mp4")
    with pytest.raises(ValueError, match=r"metadata\.json: expected names of files in the same folder, got"):
        list_videos(tmp_path)


def test_dfdc_metadata_that_is_no_text(tmp_path):
    (tmp_path / "metadata.json").write_bytes(b'{"\xff": {}}')
    with pytest.raises(ValueError, match=r"metadata\.json is no valid JSON"):
        list_videos(tmp_path)


def test_dfdc_part_without_metadata(tmp_path):
    make_part(tmp_path / "dfdc_train_part_0", {"a.mp4": REAL_ENTRY})
    make_files(tmp_path, "dfdc_train_part_1/b.mp4")
    with pytest.raises(FileNotFoundError, match=r"dfdc_train_part_1/metadata\.json is missing: unpack the part again"):
        list_videos(tmp_path)


def test_one_name_in_two_dfdc_parts(tmp_path):
    for number in (0, 1):
        make_part(tmp_path / f"dfdc_train_part_{number}", {"a.mp4": REAL_ENTRY})
    with pytest.raises(
        ValueError, match=r"part_0/a\.mp4 and .*part_1/a\.mp4 both get the id 'a'; rename or remove one"
    ):
        list_videos(tmp_path)


# FaceForensics++ -------------------------------------------------------------------------------------------------------------------
def ffpp_tree(root: Path) -> Path:
    return make_files(
        root,
        "original_sequences/youtube/c23/videos/183.mp4",
        "original_sequences/youtube/c40/videos/183.mp4",
        "original_sequences/actors/c23/videos/01__exit_phone_room.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/183_253.mp4",
        "manipulated_sequences/FaceSwap/c23/videos/183_253.mp4",
        "manipulated_sequences/Deepfakes/c40/videos/253_183.mp4",
        "manipulated_sequences/Deepfakes/masks/videos/183_253.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__exit_phone_room__YVGY8LOK.mp4",
        "manipulated_sequences/DeepFakeDetection/c40/videos/01_02__exit_phone_room__YVGY8LOK.mp4",
    )


def test_ffpp(tmp_path):
    videos = list_videos(ffpp_tree(tmp_path))
    described = [
        (video.video_id, video.label, video.original_id, video.identities, video.method, video.compression)
        for video in videos
    ]
    actors = "01_02__exit_phone_room__YVGY8LOK"
    assert described == [
        (
            f"DeepFakeDetection-c23-{actors}",
            1,
            "actors-c23-01__exit_phone_room",
            ("actors/01", "actors/02"),
            "DeepFakeDetection",
            "c23",
        ),
        (f"DeepFakeDetection-c40-{actors}", 1, None, ("actors/01", "actors/02"), "DeepFakeDetection", "c40"),
        ("Deepfakes-c23-183_253", 1, "youtube-c23-183", ("youtube/183", "youtube/253"), "Deepfakes", "c23"),
        ("Deepfakes-c40-253_183", 1, None, ("youtube/253", "youtube/183"), "Deepfakes", "c40"),
        ("FaceSwap-c23-183_253", 1, "youtube-c23-183", ("youtube/183", "youtube/253"), "FaceSwap", "c23"),
        ("actors-c23-01__exit_phone_room", 0, None, ("actors/01",), "", "c23"),
        ("youtube-c23-183", 0, None, ("youtube/183",), "", "c23"),
        ("youtube-c40-183", 0, None, ("youtube/183",), "", "c40"),
    ]
    assert videos[2].path == tmp_path / "manipulated_sequences/Deepfakes/c23/videos/183_253.mp4"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("original_sequences/youtube", "183_253"),
        ("original_sequences/youtube", "holiday"),
        ("manipulated_sequences/Deepfakes", "183"),
        ("manipulated_sequences/DeepFakeDetection", "01_02__exit_phone_room"),
    ],
)
def test_ffpp_name_that_fits_no_pattern(tmp_path, folder, name):
    make_files(tmp_path, f"{folder}/c23/videos/{name}.mp4")
    with pytest.raises(
        ValueError, match=rf"{folder}/c23/videos/{name}\.mp4: the name must be such as .*; rename or remove"
    ):
        list_videos(tmp_path)


def test_the_real_ffpp_pairs(test_videos):
    with (test_videos / "INDEX.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "ffpp"]
    listed = list_videos(test_videos / "ffpp")
    videos = by_id(listed)
    paths = {video.video_id: video.path.relative_to(test_videos.resolve()).as_posix() for video in listed}
    originals = {paths[video.video_id]: paths[video.original_id] if video.original_id else "" for video in listed}
    assert originals == {row["path"]: row["original"] for row in rows}
    assert {paths[video_id]: ("real", "fake")[video.label] for video_id, video in videos.items()} == {
        row["path"]: row["label"] for row in rows
    }
    assert (
        len(videos),
        sum(video.label == REAL for video in listed),
        sum(video.original_id is not None for video in listed),
    ) == (68, 13, 55)
    assert left_out_files(test_videos / "ffpp") == []


@pytest.mark.parametrize(("name", "count"), [("clips", 20), ("odd", 10)])
def test_the_real_folders(test_videos, name, count):
    videos = list_videos(test_videos / name)
    assert [video.video_id for video in videos] == sorted(path.stem for path in (test_videos / name).iterdir())
    assert (len(videos), {video.label for video in videos}) == (count, {None})


# Celeb-DF --------------------------------------------------------------------------------------------------------------------------
def celebdf_tree(root: Path, test_list: str | None) -> Path:
    if test_list is not None:
        (root / "List_of_testing_videos.txt").write_text(test_list, encoding="utf-8")
    return make_files(
        root,
        "Celeb-real/id0_0000.mp4",
        "YouTube-real/00170.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
        "Celeb-synthesis/id2_id3_0007.mp4",
    )


@pytest.mark.parametrize(
    ("test_list", "splits"),
    [
        (None, ("", "", "", "")),
        ("", ("train", "train", "train", "train")),
        ("\ufeff1 Celeb-real/id0_0000.mp4", ("test", "train", "train", "train")),  # with a byte order mark
        (
            "1 YouTube-real/00170.mp4\r\n0 Celeb-synthesis/id2_id3_0007.mp4\n\n1 Celeb-real/id9_0000.mp4\n",
            ("train", "train", "test", "test"),
        ),
    ],
)
def test_celebdf(tmp_path, test_list, splits):
    videos = list_videos(celebdf_tree(tmp_path, test_list))
    assert [(video.video_id, video.label, video.original_id, video.identities) for video in videos] == [
        ("Celeb-real-id0_0000", REAL, None, ("celeb/id0",)),
        ("Celeb-synthesis-id0_id1_0000", FAKE, "Celeb-real-id0_0000", ("celeb/id0", "celeb/id1")),
        ("Celeb-synthesis-id2_id3_0007", FAKE, None, ("celeb/id2", "celeb/id3")),
        ("YouTube-real-00170", REAL, None, ("youtube/00170",)),
    ]
    assert tuple(video.split for video in videos) == splits


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 YouTube-real/00170.mp4", r"line 2: .* contradicts its folder \(1 is real, 0 is fake\)"),
        ("1 Celeb-synthesis/id0_id1_0000.mp4", r"line 2: .* contradicts its folder"),
        ("2 Celeb-real/id0_0000.mp4", r"line 2: expected such as '1 YouTube-real/00170\.mp4', got"),
        ("1 ../x.mp4", r"line 2: expected such as"),
        ("1 Celeb-real/../x.mp4", r"line 2: expected such as"),
    ],
)
def test_celebdf_test_list_is_checked(tmp_path, line, message):
    celebdf_tree(tmp_path, f"1 Celeb-real/id0_0000.mp4\n{line}\n")
    with pytest.raises(ValueError, match=r"List_of_testing_videos\.txt, " + message):
        list_videos(tmp_path)


@pytest.mark.parametrize(
    "name", ["Celeb-real/id0_id1_0000.mp4", "YouTube-real/id0_0000.mp4", "Celeb-synthesis/id0_0000.mp4"]
)
def test_celebdf_name_that_fits_no_pattern(tmp_path, name):
    make_files(tmp_path, name)
    with pytest.raises(ValueError, match=rf"{name}: the name must be such as id0_0000\.mp4"):
        list_videos(tmp_path, "celebdf")


# A plain folder --------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a.mp4"], ["a"]),
        (["b.mov", "A.MP4", "sub/deep/a.mkv"], ["A", "b", "sub-deep-a"]),
        (["a.mp4", "a.mov", "b.mp4"], ["a.mov", "a.mp4", "b"]),
        (["a.b.mp4", "what is this?.mp4"], ["a.b", "what is this_"]),
        (["a.mp4", ".hidden.mp4", ".cache/b.mp4", "true_masks/c.mp4", "notes.txt"], ["a"]),
        (
            [f"{suffix[1:]}{suffix.upper()}" for suffix in VIDEO_SUFFIXES],
            ["avi", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "webm"],
        ),
    ],
)
def test_folder(tmp_path, names, ids):
    videos = list_videos(make_files(tmp_path, *names))
    assert [video.video_id for video in videos] == ids
    assert all(video.label is None and video.identities == (video.video_id,) for video in videos)


def test_folder_with_two_files_of_one_id(tmp_path):
    make_files(tmp_path, "a-b.mp4", "a/b.mp4")
    with pytest.raises(ValueError, match=r"a/b\.mp4 and .*a-b\.mp4 both get the id 'a-b\.mp4'; rename or remove one"):
        list_videos(tmp_path)


def test_id_that_is_too_long(tmp_path):
    make_files(tmp_path, f"{'x' * 200}/{'y' * 200}.mp4")
    with pytest.raises(ValueError, match="at most 240 bytes, got 401; shorten the name"):
        list_videos(tmp_path)


def test_name_that_is_not_utf8(tmp_path):
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff.mp4")).touch()
    with pytest.raises(ValueError, match="the path must be UTF-8; rename it"):
        list_videos(tmp_path)


def test_links_keep_their_names_and_broken_ones_do_not_disappear(tmp_path):
    make_files(tmp_path, "real.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    (tmp_path / "broken.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert [(video.video_id, video.path) for video in list_videos(tmp_path)] == [
        (name, tmp_path / f"{name}.mp4") for name in ("broken", "link", "real")
    ]


def test_a_relative_root_gives_absolute_paths(tmp_path, monkeypatch):
    make_files(tmp_path, "set/a.mp4")
    monkeypatch.chdir(tmp_path)
    assert [video.path for video in list_videos(Path("set/../set"))] == [tmp_path / "set/a.mp4"]


def test_a_list_gives_what_it_names_and_leaves_nothing_out(tmp_path):
    make_files(tmp_path, "a/x.mp4", "b/x.mp4", "b/unlisted.mp4", "b/notes.txt")
    (tmp_path / "list.txt").write_text("b/x.mp4\na/../a/x.mp4\n")
    videos = list_videos(tmp_path / "list.txt")
    assert [(video.video_id, video.path, video.label) for video in videos] == [
        ("a-x", tmp_path / "a" / "x.mp4", None),
        ("b-x", tmp_path / "b" / "x.mp4", None),
    ]
    assert left_out_files(tmp_path / "list.txt") == []
    with pytest.raises(NotADirectoryError, match=r"list\.txt is a file"):
        list_videos(tmp_path / "list.txt", "dfdc")


# Left out --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        ([], []),
        (["a.mp4", "B.MOV"], []),
        (["a.mp4", "notes.txt", "sub/b.jpg", "mp4"], ["mp4", "notes.txt", "sub/b.jpg"]),
        (["metadata.json", "part/metadata.json", "List_of_testing_videos.txt", "labels.csv", "sample.json"], []),
        ([".DS_Store", ".git/config", "true_masks/a/00000.png", "part/true_masks/a.png"], []),
    ],
)
def test_left_out_files(tmp_path, names, left_out):
    assert left_out_files(make_files(tmp_path, *names)) == [tmp_path / name for name in left_out]
