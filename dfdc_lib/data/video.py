"""Read and write video files.

Input: a video file. Output: the frames that a player shows, in order; only the requested ones become RGB arrays.
`decoding` chooses stream and frames, `display` makes them upright, with square pixels and of one size. `VideoReader`
reads a file from its start, because seeking is not always exact; packets that no wanted frame needs are not decoded.
Frames between a damaged packet and the next key frame show artefacts; they are dropped and counted as missing.
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from dfdc_lib.data.decoding import (
    Unwanted,
    clock_can_restart,
    count_visible,
    declared_frame_count,
    decode,
    film_stream,
    stamps_decoded_for,
    stored_order,
)
from dfdc_lib.data.display import Clock, screen_of, show, show_small, turn
from dfdc_lib.records import VideoInfo

LONGEST_PAUSE = 10.0  # seconds between two frames if the file's clock can restart; FFmpeg's `dts_delta_threshold`


class Frame(NamedTuple):
    """One decoded frame: its index, its time, and its picture both as a player shows it and as the file stores it."""

    frame_index: int
    time_seconds: float  # from the first frame
    image: np.ndarray  # (H, W, 3) uint8 RGB, upright, with square pixels
    stored: np.ndarray  # the same with the file's own pixels: `image` itself, unless they are not square


class VideoReader:
    """An open video file. Use it in a `with` statement and read it once.

    `threads`: how many threads decode; 0 = FFmpeg's default. One thread recovers the most frames of a damaged file.
    Raises FileNotFoundError if the file does not exist, ValueError if nothing in it decodes as video.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.path, self._threads = path, threads
        self.frame_count = 0  # intact frames decoded so far
        self.rescaled_frame_count = 0  # those of them that are stored in another size than the first
        self._lost = 0  # missing or damaged frames so far
        self._look: Callable[[int, av.VideoFrame], None] | None = None
        self._unwanted = Unwanted(set(), set())
        self._container = _open(path)
        try:
            stream = film_stream(self._container)
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
            frames = decode(self._container, self._unwanted)
            missing, first = _first_frame(frames)
        except ValueError as error:
            self._container.close()
            raise ValueError(f"{path.name} {error}") from None
        self._frames = chain(repeat(None, missing), [first], frames)
        self._stored_size = first.height, first.width
        self._screen, self._stored_screen = screen_of(stream, first), screen_of(stream, first, as_stored=True)
        self._longest_pause = LONGEST_PAUSE if clock_can_restart(self._container) else math.inf
        self._start = None if missing else first.pts
        self.info = self._read_info(stream)

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    @property
    def missing_frame_count(self) -> int:
        """Number of frames that the header declares, or the file stores, but that did not decode.

        It is valid only after `frames` has been read to the end.
        """
        return max(self._lost, self.info.frame_count - self.frame_count)

    def frames(self, wanted: Callable[[int], bool] = lambda frame_index: True) -> Iterator[Frame]:
        """Decode to the end and yield the frames whose index is wanted.

        Missing and damaged frames are skipped, but counted in the index. All frames have the height and width in
        `info`. Times are in seconds; they start at 0 with frame 0 and strictly increase.
        """
        return self._shown(wanted)

    def frames_at(self, frame_indices: Collection[int]) -> Iterator[Frame]:
        """Decode up to the last of the given frames and yield those that are intact, in order, as `frames` does.

        Two kinds of unwanted frames are not decoded: those to which no other frame refers, and those between the last
        wanted frame of a group and the next key frame. The first often saves half of the time in H.264; the second
        saves almost all of it in a long video with few wanted frames. Therefore `frame_count` and `missing_frame_count`
        are not valid afterwards, and damage in a skipped frame does not affect other frames. If a wanted frame is
        damaged, the file is read again, without skipping.
        """
        with _open(self.path) as container:
            stored = stored_order(container)
        order = sorted(stamp for stamp, _ in stored)
        awaited = deque(sorted({index for index in frame_indices if 0 <= index < (len(order) or math.inf)}))
        wanted, stop = set(awaited), max(awaited, default=-1) + 1
        wanted_stamps = {order[frame_index] for frame_index in wanted} if order else set()
        self._unwanted.skippable.update(set(order) - wanted_stamps)
        self._unwanted.unneeded.update(set(order) - stamps_decoded_for(wanted_stamps, stored))
        for frame in self._shown(wanted.__contains__, stop):
            if order and frame.frame_index != awaited[0]:
                break
            awaited.popleft()
            yield frame
        if order and awaited:  # after damage, which frames are intact also depends on those that were skipped
            with VideoReader(self.path, self._threads) as reader:
                yield from reader._shown(set(awaited).__contains__, stop)

    def watch(self, size: tuple[int, int], look: Callable[[int, np.ndarray], None]) -> None:
        """While frames are read, also call `look(frame_index, image)` with every intact one as a thumbnail.

        The image is upright, (h, w) uint8 gray, of `size` (h, w).
        """
        self._look = lambda frame_index, frame: look(frame_index, show_small(frame, self._screen, size))

    def _shown(self, wanted: Callable[[int], bool], stop: int | None = None) -> Iterator[Frame]:
        clock = Clock(self.info.fps, self._longest_pause)
        for frame_index, frame in enumerate(islice(self._frames, stop)):
            if frame is None:
                self._lost += 1
                continue
            self.frame_count += 1
            self.rescaled_frame_count += (frame.height, frame.width) != self._stored_size
            seconds = clock.seconds(frame_index, frame.time)
            if self._look:
                self._look(frame_index, frame)
            if wanted(frame_index):
                image = show(frame, self._screen)
                stored = image if self._screen.pixel_aspect == 1 else show(frame, self._stored_screen)
                yield Frame(frame_index, round(seconds, 4), image, stored)

    def _read_info(self, stream: VideoStream) -> VideoInfo:
        fps = round(float(stream.average_rate or stream.guessed_rate or 0), 3)
        frame_count, seconds = declared_frame_count(stream), (self._container.duration or 0) / av.time_base
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        if clock_can_restart(self._container) and fps:  # FFmpeg guesses the length from the first and last time stamp
            frame_count = self._count_frames()
            seconds = frame_count / fps
        times = {"fps": fps, "frame_count": frame_count, "duration_seconds": round(seconds, 3)}
        height, width, rotation, _ = self._screen
        return VideoInfo(height=height, width=width, rotation_degrees=rotation, **times)

    def _count_frames(self) -> int:
        with _open(self.path) as container:
            return count_visible(container, self._start)


def read_info(path: Path) -> VideoInfo:
    """Return a video's size, rotation, frame rate, frame count and duration, from its header and first frame.

    Raises FileNotFoundError if the file is missing, ValueError if nothing in it decodes as video.
    """
    with VideoReader(path, threads=1) as reader:
        return reader.info


def read_frames(path: Path, frame_indices: Collection[int], threads: int = 0) -> list[Frame]:
    """Return the frames with the given indices, in order; frames that are missing or damaged are left out.

    `threads` decode; 0 = FFmpeg's default. Raises FileNotFoundError if the file is missing, ValueError if nothing in it
    decodes as video.
    """
    with VideoReader(path, threads) as reader:
        return list(reader.frames_at(frame_indices))


def decode_ahead(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    """Yield `size` frames at a time, and decode the next ones in a thread while the caller works on these."""
    with ThreadPoolExecutor(1) as decoder:
        coming = decoder.submit(list, islice(frames, size))
        while batch := coming.result():
            coming = decoder.submit(list, islice(frames, size))
            yield batch


def count_frames(path: Path) -> int:
    """Count the frames that a player would show, including damaged ones; only the first frame is decoded.

    Raises FileNotFoundError if the file is missing, ValueError if nothing in it decodes as video.
    """
    with VideoReader(path, threads=1) as reader:
        return reader._count_frames()


@contextmanager
def video_writer(
    path: Path, size: tuple[int, int], rate: Fraction | int, options: Mapping[str, str], rotation_degrees: int = 0
) -> Iterator[Callable[[np.ndarray], None]]:
    """Open an H.264 file (yuv420p) for writing; with the option "threads": "1", equal frames give equal bytes.

    Yields a function that writes one upright (H, W, 3) uint8 RGB frame; the file is complete when the context ends.
    The path's suffix selects the container. `size`: even (height, width) of the upright frames; `rate`: frames per
    second; `options`: those of libx264; `rotation_degrees`: clockwise turn (0, 90, 180 or 270) that a player has to
    apply to the stored frames.
    """
    with av.open(str(path), "w", options={"fflags": "bitexact"}) as container:  # bitexact: no encoder name, no date
        stream = container.add_stream("libx264", rate=rate, options=dict(options))
        stream.height, stream.width = size if rotation_degrees % 180 == 0 else size[::-1]
        stream.pix_fmt = "yuv420p"
        if rotation_degrees:
            stream.set_display_rotation(-rotation_degrees)  # PyAV counts counter-clockwise

        def write(frame: np.ndarray) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(turn(frame, rotation_degrees), format="rgb24")))

        yield write
        container.mux(stream.encode())


def _open(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"no such video: {path}") from None
    except av.error.FFmpegError as error:
        reason = f"{error.strerror}; does it play in a media player?"
        raise ValueError(f"{path.name} is not readable as a video: {reason}") from error


def _first_frame(frames: Iterator[av.VideoFrame | None]) -> tuple[int, av.VideoFrame]:
    """Return the first intact frame and how many before it are missing or damaged."""
    for missing, frame in enumerate(frames):
        if frame is not None:
            return missing, frame
    raise ValueError("has a video stream, but no frame decodes; is the file complete?")
