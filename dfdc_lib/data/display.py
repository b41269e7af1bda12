"""Show decoded frames as a player does: upright, with square pixels, all of one size, on a clock that starts at 0.

Input: frames as they are stored. Output: RGB arrays and times.
"""

from fractions import Fraction
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

# A pixel or a frame whose shape differs by less than this share is left alone: nobody sees the difference, but
# resampling blurs what a detector looks for. Departs from a player, which resamples always.
UNSEEN_STRETCH = 0.01
DEFAULT_RATE = 25  # frames per second, if the file does not contain a rate


class Screen(NamedTuple):
    """How a player shows a video's frames: all in the size of the first frame, upright and with square pixels.

    `rotation_degrees` is clockwise; `pixel_aspect`: width of a stored pixel divided by its height.
    """

    height: int
    width: int
    rotation_degrees: int  # clockwise: 0, 90, 180 or 270
    pixel_aspect: Fraction  # width of a stored pixel divided by its height


def screen_of(stream: VideoStream, first: av.VideoFrame, *, as_stored: bool = False) -> Screen:
    """Return how a stream's frames are shown, given its first frame.

    Frames whose pixels are not square are stretched in one direction, never shrunk. With `as_stored`, all pixels count
    as square, as in OpenCV.
    """
    pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
    if as_stored or abs(pixel_aspect - 1) < UNSEEN_STRETCH:
        pixel_aspect = Fraction(1)
    clockwise = round(-first.rotation / 90) * 90 % 360  # FFmpeg counts counter-clockwise
    height, width = _square_size(first, pixel_aspect)
    if clockwise % 180:
        height, width = width, height
    return Screen(height, width, clockwise, pixel_aspect)


def show(frame: av.VideoFrame, screen: Screen) -> np.ndarray:
    """Return a frame upright, as (H, W, 3) uint8 RGB of the screen's height and width.

    A frame stored in another size than the first is scaled to fit; if its proportions differ, it is centred on black.
    """
    size = (screen.height, screen.width) if screen.rotation_degrees % 180 == 0 else (screen.width, screen.height)
    if (frame.height, frame.width) == size:
        image = frame.to_ndarray(format="rgb24")
    else:
        height, width = _fit(_square_size(frame, screen.pixel_aspect), size)
        image = frame.to_ndarray(format="rgb24", height=height, width=width, interpolation="BICUBIC")
        if (height, width) != size:
            top, left = (size[0] - height) // 2, (size[1] - width) // 2
            centred = np.zeros((*size, 3), np.uint8)
            centred[top : top + height, left : left + width] = image
            image = centred
    return turn(image, -screen.rotation_degrees)


def show_small(frame: av.VideoFrame, screen: Screen, size: tuple[int, int]) -> np.ndarray:
    """Return a frame upright, as a uint8 gray image of `size` (height, width).

    It is faster than reducing the result of `show`: where possible, the stored gray levels are used directly.
    """
    stored = (screen.height, screen.width) if screen.rotation_degrees % 180 == 0 else (screen.width, screen.height)
    planar = frame.format.is_planar and not frame.format.is_rgb and frame.format.components[0].bits == 8
    if not planar or (frame.height, frame.width) != stored:
        return cv2.resize(
            cv2.cvtColor(show(frame, screen), cv2.COLOR_RGB2GRAY), size[::-1], interpolation=cv2.INTER_AREA
        )
    plane = frame.planes[0]  # gray levels, as they are stored
    gray = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
    width, height = size[::-1] if screen.rotation_degrees % 180 == 0 else size
    return turn(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), -screen.rotation_degrees)


def turn(image: np.ndarray, degrees: int) -> np.ndarray:
    """Turn an (H, W, ...) image counter-clockwise by a multiple of 90 degrees; negative values turn clockwise."""
    return np.ascontiguousarray(np.rot90(image, degrees // 90))


class Clock:
    """Converts a file's time stamps to seconds that start at 0 with frame 0 and strictly increase.

    `fps`: the frame rate, 0 = unknown. A file's time stamps may start later than 0, and start again where files were
    joined. Where a time stamp does not increase, or jumps by more than `longest_pause` seconds, the result advances by
    one frame interval instead.
    """

    def __init__(self, fps: float, longest_pause: float) -> None:
        self._step = 1 / (fps or DEFAULT_RATE)
        self._longest_pause = longest_pause
        self._shift = 0.0
        self._last: float | None = None

    def seconds(self, frame_index: int, time: float | None) -> float:
        """Return when a frame is shown, in seconds; call this for every frame in order.

        `time` is the frame's time stamp in seconds. If it is None, the result follows from the frame rate alone.
        """
        if time is None:
            return frame_index * self._step
        if self._last is None:
            self._shift = frame_index * self._step - time  # frames before it are missing
        elif not 0 < time + self._shift - self._last <= self._longest_pause:
            self._shift = self._last + self._step - time
        self._last = time + self._shift
        return self._last


def _square_size(frame: av.VideoFrame, pixel_aspect: Fraction) -> tuple[int, int]:
    """Return the (height, width) of a stored frame with square pixels."""
    if pixel_aspect >= 1:
        return frame.height, round(frame.width * pixel_aspect)
    return round(frame.height / pixel_aspect), frame.width


def _fit(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same shape within `into`, or `into` if the shapes are the same to the eye."""
    scale = min(into[0] / size[0], into[1] / size[1])
    height, width = round(size[0] * scale), round(size[1] * scale)
    alike = into[0] - height < UNSEEN_STRETCH * into[0] and into[1] - width < UNSEEN_STRETCH * into[1]
    return into if alike else (height, width)
