"""Small video files for tests, made without `video_writer`: their pictures encode the index of the frame."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.stream import Disposition
from av.video.stream import VideoStream

HEIGHT, WIDTH, FPS = 48, 64, 25
FRAME_COUNT, KEY_FRAME_EVERY = 30, 10
LEVEL_STEP = 7  # grey levels between two frames, far more than the codec's error
CODING = {"sc_threshold": "0", "crf": "10"}
FINE_MPEG = {"qmin": "1", "qmax": "2"}


class Film(NamedTuple):
    """A stream of a file."""

    frames: list[np.ndarray]
    codec: str = "libx264"
    b_frames: int = 0
    prepare: Callable[[VideoStream], object] = lambda stream: None
    disposition: Disposition = Disposition(0)
    options: Mapping[str, str] = {}


def picture(frame_index: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A grey picture whose level encodes its index, with a red patch in the top left corner."""
    image = np.full((*size, 3), 20 + LEVEL_STEP * frame_index, np.uint8)
    image[: size[0] // 3, : size[1] // 4] = (255, 0, 0)
    return image


def pictures(count: int = FRAME_COUNT, size: tuple[int, int] = (HEIGHT, WIDTH)) -> list[np.ndarray]:
    return [picture(frame_index, size) for frame_index in range(count)]


def indices_in(images: Iterable[np.ndarray]) -> list[int]:
    """The indices that pictures encode."""
    return [round((np.median(image) - 20) / LEVEL_STEP) for image in images]


def encode(path: Path, *films: Film) -> Path:
    """Write a file with one or more streams; the index of an MP4 is at the front, so a truncated file can be opened."""
    with ExitStack() as files:
        options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
        container = files.enter_context(av.open(str(path), "w", options=options))
        streams = []
        for film in films:
            coding = (FINE_MPEG if film.codec == "mpeg2video" else CODING) | {"bf": str(film.b_frames)} | film.options
            stream = container.add_stream(film.codec, rate=FPS, options=coding)
            stream.height, stream.width = film.frames[0].shape[:2]
            stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(film.codec, "yuv420p")
            stream.gop_size, stream.disposition = KEY_FRAME_EVERY, film.disposition
            film.prepare(stream)
            streams.append(stream)
        for film, stream in zip(films, streams, strict=True):
            for frame in film.frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    return path


def copy_packets(
    sources: Iterable[Path], target: Path, change: Callable[[av.Packet], av.Packet | None] = lambda packet: packet
) -> Path:
    """Copy the packets of files into one stream without decoding them; `change` returns None for those to leave out."""
    with av.open(str(target), "w") as output:
        copy = None
        for source in sources:
            with av.open(str(source)) as container:
                copy = copy or output.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(video=0):
                    if packet.dts is not None and (changed := change(packet)):
                        changed.stream = copy
                        output.mux(changed)
    return target
