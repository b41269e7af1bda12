"""Frames written as H.264: they come back as they were, upright, at their rate, and equal frames give equal bytes."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from dfdc_lib.data.encode import video_writer
from dfdc_lib.data.video import VideoReader, read_info

HEIGHT, WIDTH = 48, 64
OPTIONS = {"crf": "10", "threads": "1"}


def pictures(count: int) -> list[np.ndarray]:
    """A piece of a photograph that moves on by one column a frame."""
    photograph = skimage.data.astronaut()
    return [np.ascontiguousarray(photograph[100 : 100 + HEIGHT, 200 + n : 200 + n + WIDTH]) for n in range(count)]


def written(path: Path, frames: list[np.ndarray], rate: int = 25, rotation_degrees: int = 0) -> Path:
    with video_writer(path, (HEIGHT, WIDTH), rate, OPTIONS, rotation_degrees) as write:
        for frame in frames:
            write(frame)
    return path


def test_without_a_frame_there_is_no_file(tmp_path: Path) -> None:
    assert not written(tmp_path / "a.mkv", []).exists()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_frames_come_back_upright(tmp_path: Path, name: str, rotation: int) -> None:
    frames = pictures(5)
    path = written(tmp_path / name, frames, rotation_degrees=rotation)
    with VideoReader(path) as reader:
        seen = [frame.image for frame in reader.frames()]
    assert (reader.info.height, reader.info.width, reader.info.rotation_degrees) == (HEIGHT, WIDTH, rotation)
    assert len(seen) == len(frames)
    for image, frame in zip(seen, frames, strict=True):
        assert np.abs(image.astype(int) - frame).mean() < 6  # colour is stored for pairs of pixels


@pytest.mark.parametrize("rate", [10, 25, 60])
def test_rate(tmp_path: Path, rate: int) -> None:
    assert read_info(written(tmp_path / "a.mp4", pictures(rate), rate)).fps == rate


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    paths = [written(tmp_path / name, pictures(6)) for name in ("a.mp4", "b.mp4")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
