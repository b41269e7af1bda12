"""Read and write video files.

Input: a video file. Output: its frames, upright and in order; only the requested ones become RGB arrays. `VideoReader`
decodes without seeking: key frames are about ten seconds apart, so seeking is not faster, and it is not always exact.
Frames between a damaged packet and the next key frame show artefacts; they are dropped and counted as missing.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from heapq import heappop, heappush
from itertools import chain, islice, repeat
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np

from dfdc_lib.records import VideoInfo


class Frame(NamedTuple):
    """One decoded frame."""

    frame_index: int
    time_seconds: float
    image: np.ndarray  # (H, W, 3) uint8 RGB, upright


class VideoReader:
    """An open video file. Use it in a `with` statement and read it once.

    `threads`: how many threads decode; 0 = FFmpeg's default. One thread recovers the most frames of a damaged file.
    Raises FileNotFoundError if the file does not exist, ValueError if nothing in it decodes as video.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.path = path
        self.frame_count = 0  # intact frames decoded so far
        try:
            self._container = av.open(str(path))
        except FileNotFoundError:
            raise FileNotFoundError(f"no such video: {path}") from None
        except av.error.FFmpegError as error:
            reason = f"{error.strerror}; does it play in a media player?"
            raise ValueError(f"{path.name} is not readable as a video: {reason}") from error
        try:
            self._frames, self.info = self._open_stream(threads)
        except ValueError:
            self._container.close()
            raise

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    @property
    def missing_frame_count(self) -> int:
        """Frames declared in the header but not decoded; valid once `frames` is exhausted."""
        return max(0, self.info.frame_count - self.frame_count)

    def frames(self, wanted: Callable[[int], bool] = lambda frame_index: True) -> Iterator[Frame]:
        """Decode to the end and yield the frames whose index is wanted; indices include missing frames."""
        for frame_index, frame in enumerate(self._frames):
            if frame is None:
                continue
            self.frame_count += 1
            if wanted(frame_index):
                seconds = frame.time if frame.time is not None else frame_index / (self.info.fps or math.inf)
                image = _turn(frame.to_ndarray(format="rgb24"), -self.info.rotation_degrees)
                yield Frame(frame_index, round(seconds, 4), image)

    def _open_stream(self, threads: int) -> tuple[Iterator[av.VideoFrame | None], VideoInfo]:
        if not self._container.streams.video:
            kinds = [stream.type for stream in self._container.streams]
            raise ValueError(f"{self.path.name} has no video stream, only {kinds}")
        stream = self._container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        frames = _decode(self._container)
        for missing, frame in enumerate(frames):
            if frame is not None:
                return chain(repeat(None, missing), [frame], frames), self._read_info(stream, frame)
        raise ValueError(f"{self.path.name} has a video stream, but no frame decodes; is the file complete?")

    def _read_info(self, stream: "av.video.VideoStream", first: av.VideoFrame) -> VideoInfo:
        clockwise = round(-first.rotation / 90) * 90 % 360  # FFmpeg counts counter-clockwise
        height, width = (first.height, first.width) if clockwise % 180 == 0 else (first.width, first.height)
        seconds = round((self._container.duration or 0) / av.time_base, 3)
        if stream.duration and stream.time_base:
            seconds = round(float(stream.duration * stream.time_base), 3)
        fps = round(float(stream.average_rate or stream.guessed_rate or 0), 3)
        times = {"fps": fps, "frame_count": stream.frames, "duration_seconds": seconds}
        return VideoInfo(height=height, width=width, rotation_degrees=clockwise, **times)


def read_info(path: Path) -> VideoInfo:
    """Read a file's header and first frame; raises like `VideoReader`."""
    with VideoReader(path, threads=1) as reader:
        return reader.info


def read_frames(path: Path, frame_indices: set[int], threads: int = 0) -> list[Frame]:
    """Read the frames with the given indices, without those that the file lacks; raises like `VideoReader`."""
    with VideoReader(path, threads) as reader:
        return list(islice(reader.frames(frame_indices.__contains__), len(frame_indices)))


def count_frames(path: Path) -> int:
    """Count a file's frames without decoding them, damaged ones included; raises like `VideoReader`."""
    read_info(path)  # raises a clear error if the file is not a video
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)


@contextmanager
def video_writer(
    path: Path, size: tuple[int, int], rate: Fraction | int, options: Mapping[str, str], rotation_degrees: int = 0
) -> Iterator[Callable[[np.ndarray], None]]:
    """Open an H.264 file (yuv420p) for writing; with one encoder thread, equal frames give equal bytes.

    The path's suffix selects the container; `size` is the even (height, width) of the upright frames, `rate` frames per
    second, `options` those of libx264, `rotation_degrees` the clockwise turn (0, 90, 180 or 270) that a player has to
    apply to the stored frames.
    Yields a function that writes one upright (H, W, 3) uint8 RGB frame; the file is complete when the context ends.
    """
    with av.open(str(path), "w", options={"fflags": "bitexact"}) as container:  # bitexact: no encoder name, no date
        stream = container.add_stream("libx264", rate=rate, options=dict(options))
        stream.height, stream.width = size if rotation_degrees % 180 == 0 else size[::-1]
        stream.pix_fmt = "yuv420p"
        if rotation_degrees:
            stream.set_display_rotation(-rotation_degrees)  # PyAV counts counter-clockwise

        def write(frame: np.ndarray) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_turn(frame, rotation_degrees), format="rgb24")))

        yield write
        container.mux(stream.encode())


def _turn(image: np.ndarray, degrees: int) -> np.ndarray:
    """Turn an image counter-clockwise."""
    return np.ascontiguousarray(np.rot90(image, degrees // 90))


def _decode(container: "av.container.InputContainer") -> Iterator[av.VideoFrame | None]:
    """Yield every frame in order, and None for each missing or damaged one.

    After damage, a decoder can drop frames silently; from then on the packets' time stamps reveal how many are missing.
    """
    awaited: list[int] = []  # heap of the time stamps of packets whose frame has not been decoded yet
    failed = damaged = False
    failed_at: int | None = None  # time stamp; frames leave the decoder in another order than their packets enter
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
            passed = 0
            while awaited and frame.pts is not None and awaited[0] <= frame.pts:
                heappop(awaited)
                passed += 1
            if failed and frame.pts is not None:
                if not passed:  # the frame is late and has already been counted as missing
                    continue
                yield from repeat(None, passed - 1)
            if frame.key_frame and (failed_at is None or frame.pts is None or frame.pts > failed_at):
                damaged = False
            yield None if damaged or frame.is_corrupt else frame


def _packets(container: "av.container.InputContainer") -> Iterator[av.Packet]:
    with suppress(av.error.FFmpegError):  # the file ends inside a packet
        yield from container.demux(container.streams.video[0])
