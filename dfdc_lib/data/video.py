"""A video file in, its frames out: decoded once, in order, only the wanted ones converted to RGB.

Seeking is not used: the videos of this field have a key frame every ten seconds or so, and reading on is as fast and always exact.
Rotation metadata is applied, so a frame is upright as a player shows it. A damaged file gives its sound frames and says how many are
missing: after a packet that does not decode, frames that build on it show smears no camera made, and are left out up to the next key frame.
"""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import av
import av.error
import cv2
import numpy as np

from dfdc_lib.records import VideoInfo

# Clockwise degrees → what OpenCV calls it.
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Frame(NamedTuple):
    """One decoded frame."""

    frame_index: int
    time_seconds: float
    image: np.ndarray  # (H, W, 3) uint8 RGB, upright


class VideoReader:
    """An open video file; use it in a `with` statement and read it once.

    Args:
        path: the file.
        threads: decoding threads; 0 = as many as FFmpeg likes. Of a damaged file one thread gives the most frames:
            with more, the damage is reported later, and the key frame from which on frames are sound again may be the next but one.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if nothing in it decodes as video.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.path = path
        self.frame_count = 0  # sound frames so far; all of them once `frames` has run out
        try:
            self._container = av.open(str(path))
        except FileNotFoundError:
            raise FileNotFoundError(f"no such video: {path}") from None
        except av.error.FFmpegError as error:
            raise ValueError(
                f"{path.name} is not readable as a video: {error.strerror}; does a player show it?"
            ) from error
        if not self._container.streams.video:
            kinds = [stream.type for stream in self._container.streams]
            self._container.close()
            raise ValueError(f"{path.name} has no video stream, only {kinds}")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = threads
        self._decoded = _decode(self._container)
        self._waiting = list(self._skip_to_first_sound_frame())
        self.info = self._read_info()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    @property
    def missing_frame_count(self) -> int:
        """Frames that the header declares and the file did not give; known once `frames` has run out."""
        return max(0, self.info.frame_count - self.frame_count)

    def frames(self, wanted: Callable[[int], bool] = lambda frame_index: True) -> Iterator[Frame]:
        """Read to the end, giving the frames whose index is wanted.

        Args:
            wanted: frame_index → whether to convert and give that frame; frame_index counts from 0, missing frames included.
        """
        for frame_index, frame in enumerate(self._all_frames()):
            if frame is None:
                continue
            self.frame_count += 1
            if wanted(frame_index):
                yield Frame(frame_index, self._time_seconds(frame, frame_index), self._upright(frame))

    def _skip_to_first_sound_frame(self) -> Iterator[av.VideoFrame | None]:
        for frame in self._decoded:
            yield frame
            if frame is not None:
                return
        self._container.close()
        raise ValueError(f"{self.path.name} holds a video stream of which no frame decodes; is the file whole?")

    def _all_frames(self) -> Iterator[av.VideoFrame | None]:
        yield from self._waiting
        self._waiting = []
        yield from self._decoded

    def _read_info(self) -> VideoInfo:
        first = self._waiting[-1]
        assert first is not None
        clockwise = round(-first.rotation / 90) * 90 % 360  # FFmpeg counts counter-clockwise
        size = (first.width, first.height) if clockwise in (90, 270) else (first.height, first.width)
        rate = self._stream.average_rate or self._stream.guessed_rate
        if self._stream.duration and self._stream.time_base:
            duration_seconds = float(self._stream.duration * self._stream.time_base)
        else:
            duration_seconds = (self._container.duration or 0) / av.time_base
        return VideoInfo(
            height=size[0],
            width=size[1],
            fps=round(float(rate), 3) if rate else 0.0,
            frame_count=self._stream.frames,
            duration_seconds=round(duration_seconds, 3),
            rotation_degrees=clockwise,
        )

    def _time_seconds(self, frame: av.VideoFrame, frame_index: int) -> float:
        if frame.time is not None:
            return round(frame.time, 4)
        return round(frame_index / self.info.fps, 4) if self.info.fps else 0.0

    def _upright(self, frame: av.VideoFrame) -> np.ndarray:
        image = frame.to_ndarray(format="rgb24")
        turn = TURNS.get(self.info.rotation_degrees)
        return image if turn is None else cv2.rotate(image, turn)


def read_info(path: Path) -> VideoInfo:
    """Read a file's header and its first frame; raises as `VideoReader` does."""
    with VideoReader(path, threads=1) as reader:
        return reader.info


def read_frames(path: Path, frame_indices: set[int], threads: int = 0) -> list[Frame]:
    """Read the named frames of a file; those it does not have are not in the list. Raises as `VideoReader` does."""
    last = max(frame_indices, default=-1)
    found: list[Frame] = []
    with VideoReader(path, threads) as reader:
        for frame in reader.frames(frame_indices.__contains__):
            found.append(frame)
            if frame.frame_index == last:
                break
    return found


def count_frames(path: Path) -> int:
    """Count the frames a file holds without decoding them; broken ones count too. Raises as `VideoReader` does."""
    with VideoReader(path, threads=1):  # says what is wrong with a file that is no video
        pass
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)


def _decode(container: "av.container.InputContainer") -> Iterator[av.VideoFrame | None]:
    """Give every frame in order, None in the place of one that is missing or damaged.

    A decoder that meets damage may drop frames without a word, so from then on the packets' time stamps tell how many are missing.
    """
    awaited: list[int] = []  # heap: time stamps of the packets whose frame has not come out
    failed = damaged = False
    failed_at: int | None = None  # time stamp: frames come out in another order than their packets go in
    for packet in _packets(container):
        if packet.pts is not None and not packet.is_discard:
            heappush(awaited, packet.pts)
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            failed = damaged = True
            failed_at = packet.pts
            if packet.pts is None:
                yield None
            continue
        for frame in frames:
            passed = _pop_until(awaited, frame.pts)
            if failed and frame.pts is not None:
                if not passed:  # it comes after its turn, and was counted as missing
                    continue
                yield from repeat(None, len(passed) - 1)
            if frame.key_frame and (failed_at is None or frame.pts is None or frame.pts > failed_at):
                damaged = False
            yield None if damaged or frame.is_corrupt else frame


def _packets(container: "av.container.InputContainer") -> Iterator[av.Packet]:
    try:
        yield from container.demux(container.streams.video[0])
    except av.error.FFmpegError:  # the file ends in the middle of a packet
        return


def _pop_until(awaited: list[int], time_stamp: int | None) -> list[int]:
    """Take the time stamps up to and with a frame's own off the heap."""
    passed = []
    while awaited and time_stamp is not None and awaited[0] <= time_stamp:
        passed.append(heappop(awaited))
    return passed
