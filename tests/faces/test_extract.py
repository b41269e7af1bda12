"""Faces of a video, found and cut out: which frames, how cut, and decoded once for all views."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dfdc_lib.backends.choice import Engine
from dfdc_lib.data import video
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.faces import extract, quality
from dfdc_lib.faces.extract import View, cut_known_faces, find_faces, view_of
from dfdc_lib.records import DetectorSettings, Recipe


@pytest.fixture(scope="module")
def one_face(sample_root: Path) -> Path:
    return sample_root / "dfdc_train_part_0" / "small_256x192.mp4"


def test_recipes_share_a_view_if_their_crops_are_equal() -> None:
    view = view_of(Recipe(size=64, detector=DetectorSettings(frame_stride=7)))
    assert view == View(DetectorSettings(frame_stride=1), 0.2)
    assert view == view_of(Recipe(size=380, interpolation_up="linear"))
    assert view != view_of(Recipe(size=64, margin=0.3))
    assert view != view_of(Recipe(size=64, detector=DetectorSettings(resize="winner")))


def test_two_views_share_one_decode_and_cut_differently(one_face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def frames(reader: video.VideoReader, wanted: set[int], read=video.VideoReader.frames_at) -> Iterator:
        for frame in read(reader, wanted):
            decoded.append(frame.frame_index)
            yield frame

    monkeypatch.setattr(video.VideoReader, "frames_at", frames)
    monkeypatch.setattr(extract, "FRAMES_AT_ONCE", 2)
    tight, wide = find_faces(one_face, [View(DetectorSettings(), 0), View(DetectorSettings(), 0.5)], 3, Engine())
    assert decoded == evenly_spaced(22, 3)  # more than FRAMES_AT_ONCE
    assert [face.frame_index for face in tight] == decoded
    assert [face[:-1] for face in tight] == [face[:-1] for face in wide]
    for narrow, broad in zip(tight, wide, strict=True):
        x0, y0, x1, y1 = narrow.box
        assert narrow.crop.shape[:2] == pytest.approx((y1 - y0, x1 - x0), abs=1)
        assert broad.crop.shape[1] == pytest.approx(2 * (x1 - x0), abs=3)  # half of the box on each side
        assert narrow.time_seconds == pytest.approx(narrow.frame_index / 25, abs=0.001)
        assert narrow.sharpness == broad.sharpness == pytest.approx(quality.sharpness(narrow.crop), abs=0.01)
        assert 0 <= narrow.turn < 0.2  # a frontal face


def test_known_faces_are_cut_as_if_they_had_been_found(one_face: Path) -> None:
    views = [View(DetectorSettings(), 0.1), View(DetectorSettings(), 0.4, "winner")]
    found = find_faces(one_face, views, 4, Engine(), range(5, 15))
    assert [face.frame_index for face in found[0]] == [5 + place for place in evenly_spaced(10, 4)]
    known = [face._replace(crop=face.crop[:0], sharpness=0.0, time_seconds=0.0) for face in found[0]]
    for cut, expected in zip(cut_known_faces(one_face, views, known), found, strict=True):
        assert [face[:-1] for face in cut] == [face[:-1] for face in expected]
        assert all(np.array_equal(one.crop, other.crop) for one, other in zip(cut, expected, strict=True))


@pytest.mark.parametrize("span", [range(20, 999), range(21, 22), range(30, 40)])
def test_frames_are_spaced_over_a_span(one_face: Path, span: range) -> None:
    [faces] = find_faces(one_face, [View(DetectorSettings(), 0.1)], 32, Engine(), span)
    assert [face.frame_index for face in faces] == [frame_index for frame_index in span if frame_index < 22]


def test_the_winners_frames_are_spaced_over_those_that_the_header_declares(test_videos: Path) -> None:
    """book.mkv has 109 frames and no number in its header; duration times frame rate is 110."""
    views = [View(DetectorSettings(), 0.2), View(DetectorSettings(), 0.2, frames="opencv")]
    counted, declared = find_faces(test_videos / "clips" / "book.mkv", views, 3, Engine())
    assert [face.frame_index for face in counted] == evenly_spaced(109, 3) == [0, 54, 108]
    assert [face.frame_index for face in declared] == [0, 54]  # and 109, which is not there


def test_the_winners_pixels_are_those_of_the_file(test_videos: Path) -> None:
    """A player shows this video at 193 x 144; boxes are in its pixels, crops have those of the file."""
    path, rules = test_videos / "odd" / "small_176x144.mp4", ("shown", "opencv")
    views = [View(DetectorSettings(), 0, frames=rule) for rule in rules]
    [shown], [stored] = find_faces(path, views, 1, Engine())
    (x0, y0, x1, y1), ratio = stored.box, 193 / 176
    assert stored.box == pytest.approx(shown.box, abs=4)
    assert stored.crop.shape[:2] == pytest.approx((y1 - y0, (x1 - x0) / ratio), abs=1)


def test_a_header_that_is_far_off_is_not_used(one_face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view, info = View(DetectorSettings(), 0.2, frames="opencv"), video.read_info(one_face)
    for declared, last in ((22, 21), (21, 20), (60, 21)):
        wrong = info.model_copy(update={"frame_count": declared})
        monkeypatch.setattr(video, "read_info", lambda path, wrong=wrong: wrong)
        [faces] = find_faces(one_face, [view], 2, Engine())
        assert [face.frame_index for face in faces] == [0, last]


def test_no_view_no_face_one_face_and_no_video(one_face: Path, sample_root: Path, tmp_path: Path) -> None:
    no_face, view = sample_root / "dfdc_train_part_2" / "no_face.mp4", View(DetectorSettings(), 0.2)
    assert (find_faces(no_face, [], 2, Engine()), find_faces(no_face, [view], 1, Engine())) == ([], [[]])
    [[face]] = find_faces(one_face, [view], 1, Engine())
    assert (face.frame_index, face.face_index, face.track) == (0, 0, 0)
    (tmp_path / "broken.mp4").write_bytes(b"no video\n" * 100)
    with pytest.raises(ValueError, match=r"broken\.mp4"):
        find_faces(tmp_path / "broken.mp4", [view], 2, Engine())
