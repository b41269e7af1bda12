"""Small gray frames show what full frames show."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from dfdc_lib.data.video import VideoReader, video_writer
from dfdc_lib.faces.thumbnails import Thumbnails, keep, read_thumbnails, read_thumbnails_once


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_thumbnails_are_the_frames_reduced(rotation: int, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with video_writer(path, (240, 320), 25, {"crf": "10"}, rotation) as write:
        for left in (0, 40, 80):
            write(np.ascontiguousarray(data.astronaut()[:240, left : left + 320]))
    thumbnails = read_thumbnails(path)
    assert (thumbnails.size, thumbnails.small_size, thumbnails.intact.tolist()) == ((240, 320), (96, 128), [True] * 3)
    with VideoReader(path) as reader:
        for frame, thumbnail in zip(reader.frames(), thumbnails.images[range(3)], strict=True):
            gray = cv2.resize(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), (128, 96), interpolation=cv2.INTER_AREA)
            assert np.corrcoef(gray.ravel(), thumbnail.ravel())[0, 1] > 0.999
    assert read_thumbnails_once(path) is read_thumbnails_once(path)
    keep(path, thumbnails)
    assert read_thumbnails_once(path) is thumbnails
    path.write_bytes(path.read_bytes() + b"changed")
    assert read_thumbnails_once(path) is not thumbnails


def test_frames_that_were_not_added_are_black_and_not_intact():
    thumbnails = Thumbnails((64, 128))
    for frame_index in (2, 0):
        thumbnails.add(frame_index, np.full((64, 128), 7 + frame_index, np.uint8))
    assert thumbnails.images[[2, 1, 0]][:, 5, 5].tolist() == [9, 0, 7]
    assert (len(thumbnails.images), thumbnails.intact.tolist()) == (3, [True, False, True])
