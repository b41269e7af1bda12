"""Faces of a video, found and cut out: which frames, how cut, decoded once whatever the number of models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfdc_lib.data import video
from dfdc_lib.faces import extract, quality
from dfdc_lib.faces.extract import View, find_faces, frame_indices, view_of
from dfdc_lib.records import DetectorSettings, Recipe


@pytest.fixture(scope="module")
def one_face(sample_root: Path) -> Path:
    return sample_root / "dfdc_train_part_0" / "small_256x192.mp4"


@pytest.fixture(scope="module")
def no_face(sample_root: Path) -> Path:
    return sample_root / "dfdc_train_part_2" / "no_face.mp4"


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [
        (0, 32, []),
        (1, 32, [0]),
        (5, 32, [0, 1, 2, 3, 4]),
        (32, 32, list(range(32))),
        (10, 4, [0, 3, 6, 9]),
        (300, 2, [0, 299]),
        (300, 1, [0]),
    ],
)
def test_frame_indices(count: int, most: int, expected: list[int]) -> None:
    assert frame_indices(count, most) == expected


def test_32_of_300_frames_are_even_with_the_first_and_the_last() -> None:
    chosen = frame_indices(300)
    assert (len(chosen), chosen[0], chosen[-1]) == (32, 0, 299)
    assert set(np.diff(chosen)) == {9, 10}


def test_models_whose_recipes_differ_in_what_follows_the_crop_share_it() -> None:
    recipe = Recipe(size=64, detector=DetectorSettings(frame_stride=7))
    assert (
        view_of(recipe)
        == view_of(Recipe(size=380, interpolation_up="linear"))
        == View(DetectorSettings(frame_stride=1), 0.2)
    )
    assert view_of(recipe) != view_of(Recipe(size=64, margin=0.3))
    assert view_of(recipe) != view_of(Recipe(size=64, detector=DetectorSettings(resize="half")))


def test_two_views_share_one_decode_and_cut_differently(one_face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Counted(video.VideoReader):
        def frames(self, *arguments: Any) -> Iterator[video.Frame]:
            for frame in super().frames(*arguments):
                read.append(frame.frame_index)
                yield frame

    monkeypatch.setattr(video, "VideoReader", Counted)
    monkeypatch.setattr(extract, "FRAMES_AT_ONCE", 2)
    tight, wide = find_faces(one_face, [View(DetectorSettings(), 0), View(DetectorSettings(), 0.5)], 3, "cpu")
    assert read == frame_indices(22, 3)  # more than are held at once
    assert [face.frame_index for face in tight] == [face.frame_index for face in wide] == read
    assert [face[:-1] for face in tight] == [face[:-1] for face in wide]
    for narrow, broad in zip(tight, wide, strict=True):
        x0, y0, x1, y1 = narrow.box
        assert narrow.crop.shape[:2] == pytest.approx((y1 - y0, x1 - x0), abs=2)
        assert broad.crop.shape[1] == pytest.approx(2 * (x1 - x0), abs=3)  # half of the box on each side
        assert narrow.time_seconds == pytest.approx(narrow.frame_index / 25, abs=0.001)
        assert (
            narrow.sharpness == broad.sharpness == pytest.approx(quality.sharpness(narrow.crop), abs=0.01)
        )  # the face alone
        assert 0 <= narrow.turn < 0.2  # she looks into the camera


def test_one_face_in_a_video_is_a_face(one_face: Path) -> None:
    [[face]] = find_faces(one_face, [View(DetectorSettings(), 0.2)], 1, "cpu")
    assert (face.frame_index, face.face_index, face.track) == (0, 0, 0)


def test_no_view_and_no_face_are_empty(no_face: Path) -> None:
    assert find_faces(no_face, [], 2, "cpu") == []
    assert find_faces(no_face, [View(DetectorSettings(), 0.2)], 1, "cpu") == [[]]


def test_a_file_that_is_no_video_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video\n" * 100)
    with pytest.raises(ValueError, match=r"broken\.mp4 is not readable as a video"):
        find_faces(tmp_path / "broken.mp4", [View(DetectorSettings(), 0.2)], 2, "cpu")
