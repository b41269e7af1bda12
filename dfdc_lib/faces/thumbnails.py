"""Read a whole video as small gray frames, to compare it with another one.

Input: a video file. Output: an array of 16 KB a frame at most; reading costs little more than decoding.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dfdc_lib.data.video import VideoReader
from dfdc_lib.staleness import input_fingerprint

LONGER_SIDE = 128  # pixels


class Thumbnails(NamedTuple):
    """All frames of one video as gray images with a longer side of 128 pixels, in order of frame index.

    `size`: (height, width) of the video; `images`: (N, h, w) uint8; `intact`: (N,) bool, False = missing or damaged.
    """

    size: tuple[int, int]  # (height, width) of the video
    images: np.ndarray  # (N, h, w) uint8
    intact: np.ndarray  # (N,) bool; False = missing or damaged

    @property
    def small_size(self) -> tuple[int, int]:
        """Return the (height, width) of the small images."""
        return self.images.shape[1], self.images.shape[2]


def read_thumbnails(path: Path) -> Thumbnails:
    """Read all frames of a video as small gray images; missing and damaged frames are black.

    Raises FileNotFoundError if the file is missing, ValueError if it is not readable as a video.
    """
    with VideoReader(path, threads=1) as reader:
        height, width = size = reader.info.height, reader.info.width
        scale = LONGER_SIDE / max(size)
        small = max(1, round(scale * height)), max(1, round(scale * width))
        frames = {frame.frame_index: frame.image for frame in reader.thumbnails(small)}
    images = np.zeros((max(frames, default=-1) + 1, *small), np.uint8)
    for frame_index, image in frames.items():
        images[frame_index] = image
    return Thumbnails(size, images, np.isin(np.arange(len(images)), list(frames)))


def read_thumbnails_once(path: Path) -> Thumbnails:
    """Return `read_thumbnails` of a video; consecutive calls for the same unchanged file read it only once."""
    return _read_version(path, input_fingerprint(path))


@lru_cache(maxsize=1)
def _read_version(path: Path, fingerprint: str) -> Thumbnails:
    return read_thumbnails(path)
