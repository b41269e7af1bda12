"""Frames → an H.264 file: for the built-in sample, and for the re-encoded versions of a video under examination."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


@contextmanager
def video_writer(
    path: Path, size: tuple[int, int], rate: Fraction | int, options: Mapping[str, str], rotation_degrees: int = 0
) -> Iterator[Callable[[np.ndarray], None]]:
    """Open an H.264 file (yuv420p); with one encoder thread equal frames give equal bytes.

    Args:
        path: of the file, in a folder that is there; its ending chooses the container.
        size: even (height, width) of the upright frames.
        rate: frames per second.
        options: of libx264.
        rotation_degrees: clockwise, that a player must turn the stored frames: 0, 90, 180 or 270.
    Returns:
        A context whose value writes one upright (H, W, 3) uint8 RGB frame; the file is whole when the context ends.
    """
    with av.open(str(path), "w", options={"fflags": "bitexact"}) as container:  # bitexact: no encoder name, no time
        stream = container.add_stream("libx264", rate=rate, options=dict(options))
        stored_size = size if rotation_degrees % 180 == 0 else size[::-1]
        stream.height, stream.width, stream.pix_fmt = *stored_size, "yuv420p"
        if rotation_degrees:
            stream.set_display_rotation(-rotation_degrees)  # PyAV counts counter-clockwise

        def write(frame: np.ndarray) -> None:
            stored = np.ascontiguousarray(np.rot90(frame, rotation_degrees // 90))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))

        yield write
        container.mux(stream.encode())
