"""Read a whole video as small gray frames, to compare it with another one.

Input: a video file. Output: 16 KB a frame at most, in a temporary file; reading costs little more than decoding.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from dfdc_lib.data.video import VideoReader
from dfdc_lib.staleness import input_fingerprint

LONGER_SIDE = 128  # pixels


class FrameFile:
    """Gray images, (N, h, w) uint8, in a temporary file: those of a 30-minute video take half a gigabyte."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size  # (h, w)
        self._file = TemporaryFile()  # noqa: SIM115 - deleted with this object
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, frames: np.ndarray | Sequence[int]) -> np.ndarray:
        """Return the images with the given indices, (K, h, w); those never written are black."""
        images = np.empty((len(frames), *self.size), np.uint8)
        for image, frame_index in zip(images, frames, strict=True):
            self._file.seek(int(frame_index) * image.size)
            self._file.readinto(image.data)
        return images

    def write(self, frame_index: int, image: np.ndarray) -> None:
        """Store one image, (h, w) uint8."""
        self._file.seek(frame_index * image.size)
        self._file.write(np.ascontiguousarray(image).data)
        self._length = max(self._length, frame_index + 1)


class Thumbnails:
    """All frames of one video as gray images with a longer side of 128 pixels, in order of frame index.

    `size`: (height, width) of the video; `small_size`: that of the images. `images[indices]` are (K, h, w) uint8.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        scale = LONGER_SIDE / max(size)
        self.size = size
        self.small_size = max(1, round(scale * size[0])), max(1, round(scale * size[1]))
        self.images = FrameFile(self.small_size)
        self._intact: list[int] = []

    @property
    def intact(self) -> np.ndarray:
        """Return which frames were added, (N,) bool; False = missing or damaged."""
        return np.isin(np.arange(len(self.images)), self._intact)

    def add(self, frame_index: int, image: np.ndarray) -> None:
        """Store an intact frame, (h, w) uint8 of `small_size`."""
        self.images.write(frame_index, image)
        self._intact.append(frame_index)


def watch(reader: VideoReader) -> Thumbnails:
    """Return thumbnails to which every intact frame is added while `reader` is read."""
    thumbnails = Thumbnails((reader.info.height, reader.info.width))
    reader.watch(thumbnails.small_size, thumbnails.add)
    return thumbnails


def read_thumbnails(path: Path) -> Thumbnails:
    """Read all frames of a video as small gray images; missing and damaged frames are black.

    Raises FileNotFoundError if the file is missing, ValueError if it is not readable as a video.
    """
    with VideoReader(path, threads=1) as reader:
        thumbnails = watch(reader)
        for _ in reader.frames(lambda frame_index: False):
            pass
    return thumbnails


_last: dict[tuple[Path, str], Thumbnails] = {}  # of the last original in this process: its fakes come next


def keep(path: Path, thumbnails: Thumbnails) -> None:
    """Keep the thumbnails of a whole video for the next calls of `read_thumbnails_once` in this process."""
    _last.clear()
    _last[path, input_fingerprint(path)] = thumbnails


def read_thumbnails_once(path: Path) -> Thumbnails:
    """Return `read_thumbnails` of a video; consecutive calls for the same unchanged file read it only once."""
    version = path, input_fingerprint(path)
    thumbnails = _last.get(version) or read_thumbnails(path)
    keep(path, thumbnails)
    return thumbnails
