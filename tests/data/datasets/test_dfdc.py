"""DFDC: parts, labels, absent originals, and metadata that is malformed or points outside its folder."""

import json
from pathlib import Path

import pytest

from dfdc_lib.data.datasets import left_out_files, list_videos
from dfdc_lib.records import FAKE, REAL, Video

REAL_ENTRY = {"label": "REAL", "split": "train"}


def fake_of(original: str) -> dict[str, str]:
    return {"label": "FAKE", "split": "train", "original": original}


def make_part(folder: Path, metadata: object, absent: tuple[str, ...] = ()) -> None:
    """Write metadata.json (as it is if it is bytes) and an empty file for each entry that is not absent."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.json").write_bytes(metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode())
    for name in metadata if isinstance(metadata, dict) else ():
        if name not in absent:
            (folder / name).touch()


def test_parts(tmp_path):
    first, last = tmp_path / "dfdc_train_part_0", tmp_path / "dfdc_train_part_12"
    make_part(first, {"real.mp4": REAL_ENTRY, "fake.mp4": fake_of("real.mp4")})
    make_part(last, {"other.mp4": REAL_ENTRY})
    common = {"dataset": "dfdc", "identities": ("real",), "part": 0, "split": "train"}
    expected = [
        Video(video_id="fake", path=first / "fake.mp4", label=FAKE, original_id="real", **common),
        Video(video_id="other", path=last / "other.mp4", label=REAL, **common | {"identities": ("other",), "part": 12}),
        Video(video_id="real", path=first / "real.mp4", label=REAL, **common),
    ]
    assert list_videos(tmp_path) == expected
    assert list_videos(first) == [expected[0], expected[2]]  # the part's number is known without its parent folder
    make_part(tmp_path, {"beside.mp4": REAL_ENTRY})
    assert [video.part for video in list_videos(tmp_path)] == [None, 0, 12, 0]  # beside, fake, other, real


def test_absent_and_unnamed_files(tmp_path):
    entries = {"real.mp4": REAL_ENTRY, "fake.mp4": fake_of("real.mp4"), "gone.mp4": fake_of("real.mp4")}
    make_part(tmp_path, entries, absent=("real.mp4", "gone.mp4"))
    for name in ("unnamed.MP4", "notes.txt", "._fake.mp4"):
        (tmp_path / name).touch()
    videos = [(v.video_id, v.label, v.original_id, v.part, v.identities) for v in list_videos(tmp_path)]
    assert videos == [("fake", FAKE, None, None, ("real",)), ("unnamed", None, None, None, ("unnamed",))]


def test_a_test_set_has_no_labels(tmp_path):
    make_part(tmp_path, {"a.mp4": {}, "b.mp4": {"label": None, "original": None, "split": None}})
    assert list_videos(tmp_path) == [
        Video(video_id=n, path=tmp_path / f"{n}.mp4", dataset="dfdc", identities=(n,)) for n in "ab"
    ]


@pytest.mark.parametrize(
    ("metadata", "keyword"),
    [
        *[(b"{", "JSON"), (b'{"\x81": {}}', "JSON")],  # the second is in no encoding
        *[([1], "map each file name"), ({"a.mp4": 3}, "map each file name")],
        *[({"a.mp4": {"label": "FAUX"}}, "'FAUX'"), ({"a.mp4": {"label": ["FAKE"]}}, r"\['FAKE'\]")],
        *[({"a.mp4": {"label": "REAL", "original": 3}}, "same folder"), (b'{"": {"label": "REAL"}}', "same folder")],
        ({"a.mp4": fake_of("a.mp4")}, "is a fake"),
    ],
)
def test_malformed_metadata(tmp_path, metadata, keyword):
    make_part(tmp_path, metadata)
    with pytest.raises(ValueError, match=keyword):
        list_videos(tmp_path)


@pytest.mark.parametrize("outside", ["../../x.mp4", "/etc/x.mp4", "..", ".", "sub/x.mp4", r"..\x.mp4"])
@pytest.mark.parametrize("place", ["name", "original"])
def test_names_that_point_outside_are_refused(tmp_path, outside, place):
    make_part(tmp_path, {outside: REAL_ENTRY} if place == "name" else {"a.mp4": fake_of(outside)}, absent=(outside,))
    with pytest.raises(ValueError, match="same folder"):
        list_videos(tmp_path)


def test_a_part_without_metadata_and_one_name_in_two_parts(tmp_path):
    make_part(tmp_path / "dfdc_train_part_0", {"a.mp4": REAL_ENTRY})
    (tmp_path / "dfdc_train_part_1").mkdir()
    with pytest.raises(FileNotFoundError, match=r"dfdc_train_part_1/metadata\.json"):
        list_videos(tmp_path)
    make_part(tmp_path / "dfdc_train_part_1", {"a.mp4": REAL_ENTRY})
    with pytest.raises(ValueError, match=r"part_0/a\.mp4 and .*part_1/a\.mp4"):
        list_videos(tmp_path)


LABELLED = [("a", REAL), ("b", FAKE), ("c", None)]


@pytest.mark.parametrize(
    ("metadata", "labels"),
    [
        ({"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE"}}, None),
        ({"a.mp4": {"is_fake": 0}, "b.mp4": {"is_fake": 1}, "c.mp4": {"is_fake": None}}, None),
        ({"a.mp4": {"is_fake": False}, "b.mp4": {"is_fake": True}}, None),
        ({"a.mp4": {"is_fake": 0.0}}, "filename,label\nb.mp4,1.0\nc.mp4,\n"),
        (None, "filename,label\na.mp4,0\nb.mp4,1\n"),
        (None, "label;filename\r\nREAL;a.mp4\r\nFAKE;b.mp4\r\n;c.mp4\r\n"),
        ({"a.mp4": {"augmentations": {}}, "c.mp4": {}}, "filename,label\na.mp4,0\nb.mp4,1\ngone.mp4,1\n"),
        ({"a.mp4": {"label": "REAL"}}, "filename,label\na.mp4,0\nb.mp4,1\n"),
    ],
)
def test_labels_come_from_every_list(tmp_path, metadata, labels):
    for name in "abc":
        (tmp_path / f"{name}.mp4").touch()
    if metadata is not None:
        make_part(tmp_path, metadata)
    if labels is not None:
        (tmp_path / "labels.csv").write_text(labels)
    assert [(video.video_id, video.label) for video in list_videos(tmp_path)] == LABELLED


@pytest.mark.parametrize(
    ("labels", "keyword"),
    [
        ("name,value\na.mp4,0\n", "filename"),
        ("filename,label\na.mp4,2\n", "'2'"),
        ("filename,label\n../a.mp4,1\n", "line 2"),
        ("filename,label\na.mp4,1\n", "different labels"),
    ],
)
def test_label_lists_that_are_refused(tmp_path, labels, keyword):
    make_part(tmp_path, {"a.mp4": REAL_ENTRY})
    (tmp_path / "labels.csv").write_text(labels)
    with pytest.raises(ValueError, match=keyword):
        list_videos(tmp_path)


def test_the_root_of_kaggle(tmp_path):
    make_part(tmp_path / "train_sample_videos", {"real.mp4": REAL_ENTRY, "fake.mp4": fake_of("real.mp4")})
    for name in ("test_videos/x.mp4", "test_videos/y.mp4", "sample_submission.csv", "notes/z.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    videos = list_videos(tmp_path)
    listed = [(video.video_id, video.label, video.original_id) for video in videos]
    assert listed == [("fake", FAKE, "real"), ("real", REAL, None), ("x", None, None), ("y", None, None)]
    left_out = {path.name: reason for path, reason in left_out_files(tmp_path, videos)}
    assert list(left_out) == ["z.mp4", "sample_submission.csv"]
    assert "metadata.json" in left_out["z.mp4"]
    (tmp_path / "train_sample_videos" / "metadata.json").unlink()
    with pytest.raises(FileNotFoundError, match="metadata"):
        list_videos(tmp_path)
