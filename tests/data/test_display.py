"""Square pixels, one size for all frames, and a clock that starts at 0 and always goes on."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import FPS, FRAME_COUNT, HEIGHT, WIDTH, Film, copy_packets, encode, indices_in, pictures

from dfdc_lib.data.display import Clock
from dfdc_lib.data.video import VideoReader, count_frames, read_info

RADIUS = 12  # of the disc, in pixels of the frame as a player shows it


def disc(height: int, width: int) -> np.ndarray:
    """A white disc on grey, as it is stored: shown at HEIGHT x WIDTH, it is round."""
    y, x = np.mgrid[:height, :width]
    y, x = (y + 0.5) * HEIGHT / height - HEIGHT / 2, (x + 0.5) * WIDTH / width - WIDTH / 2
    image = np.full((height, width, 3), 60, np.uint8)
    image[np.hypot(y, x) < RADIUS] = 230
    return image


def sides_of_the_disc(image: np.ndarray) -> tuple[int, int]:
    bright = image[..., 0] > 145
    return int(bright.any(axis=1).sum()), int(bright.any(axis=0).sum())


@pytest.mark.parametrize("rotation", [0, 90])
@pytest.mark.parametrize(
    ("stored", "pixel_aspect"),
    [
        ((HEIGHT, WIDTH), Fraction(1)),
        ((HEIGHT, WIDTH), Fraction(1281, 1280)),  # 854 x 480 is often marked like this: not worth resampling
        ((HEIGHT, WIDTH // 2), Fraction(2, 1)),
        ((HEIGHT // 2, WIDTH), Fraction(1, 2)),
        ((HEIGHT, 48), Fraction(4, 3)),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_pixels_are_square(tmp_path, name, stored, pixel_aspect, rotation):
    def prepare(stream):
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(-rotation)

    path = encode(tmp_path / name, Film([disc(*stored)] * 3, prepare=prepare))
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    size = (HEIGHT, WIDTH) if rotation == 0 else (WIDTH, HEIGHT)
    assert (reader.info.height, reader.info.width) == size
    assert [frame.image.shape for frame in frames] == [(*size, 3)] * 3
    assert sides_of_the_disc(frames[0].image) == pytest.approx((2 * RADIUS, 2 * RADIUS), abs=1)
    assert (reader.frame_count, reader.rescaled_frame_count) == (3, 0)


def join(tmp_path: Path, *films: Film) -> Path:
    """Write films of any sizes as one VP8 stream, one after the other."""
    sources = [encode(tmp_path / f"{number}.webm", film) for number, film in enumerate(films)]
    starts = iter(range(sum(len(film.frames) for film in films)))

    def follow(packet: av.Packet) -> av.Packet:
        packet.pts = packet.dts = round(next(starts) / FPS / packet.time_base)
        return packet

    return copy_packets(sources, tmp_path / "joined.webm", follow)


@pytest.mark.parametrize(
    ("second", "area"),
    [
        ((24, 32), np.s_[:, :]),  # the same shape at half the size
        ((96, 128), np.s_[:, :]),
        ((23, 31), np.s_[:, :]),  # not quite the same shape
        ((48, 32), np.s_[:, 16:48]),  # upright: a black bar on the left and on the right
        ((16, 64), np.s_[16:32, :]),  # wide: black above and below
    ],
)
def test_frames_of_another_size_are_scaled_to_the_first(tmp_path, second, area):
    path = join(tmp_path, Film(pictures(4), "libvpx"), Film(pictures(10, second)[4:], "libvpx"))
    with VideoReader(path) as reader:
        images = [frame.image for frame in reader.frames()]
    assert {image.shape for image in images} == {(HEIGHT, WIDTH, 3)}
    assert indices_in(images[:4]) == [0, 1, 2, 3]
    assert indices_in(image[area] for image in images[4:]) == [4, 5, 6, 7, 8, 9]
    bars = images[9].copy()
    bars[area] = 0
    assert not bars.any()
    assert (reader.frame_count, reader.rescaled_frame_count) == (10, 6)


@pytest.mark.parametrize("start", [1.48, 36000])
@pytest.mark.parametrize("name", ["late.mkv", "late.mp4", "late.ts", "late.mpg"])
def test_a_clock_that_starts_late_starts_at_0(tmp_path, name, start):
    codec = "mpeg2video" if name == "late.mpg" else "libx264"

    def delay(packet: av.Packet) -> av.Packet:
        packet.pts, packet.dts = (stamp + round(start / packet.time_base) for stamp in (packet.pts, packet.dts))
        return packet

    suffix = ".mp4" if name == "late.mkv" else Path(name).suffix
    source = encode(tmp_path / f"at_0{suffix}", Film(pictures(), codec, b_frames=2))
    path = copy_packets([source], tmp_path / name, delay)
    with VideoReader(path) as reader:
        times = [frame.time_seconds for frame in reader.frames()]
    assert times == pytest.approx(np.arange(FRAME_COUNT) / FPS, abs=0.002)


@pytest.mark.parametrize("starts", [(0, 0, 0), (7, 1, 0), (0, 3600, 1)])
def test_no_second_of_joined_files_counts_twice(tmp_path, starts):
    pieces = []
    for number, start in enumerate(starts):
        source = encode(tmp_path / f"{number}_at_0.ts", Film(pictures()[10 * number :][:10], b_frames=2))

        def delay(packet: av.Packet, start: int = start) -> av.Packet:
            packet.pts, packet.dts = (stamp + round(start / packet.time_base) for stamp in (packet.pts, packet.dts))
            return packet

        pieces.append(copy_packets([source], tmp_path / f"{number}.ts", delay).read_bytes())
    (tmp_path / "joined.mpg").write_bytes(b"".join(pieces))
    info = read_info(tmp_path / "joined.mpg")
    assert (info.frame_count, info.duration_seconds, count_frames(tmp_path / "joined.mpg")) == (30, 1.2, 30)
    with VideoReader(tmp_path / "joined.mpg") as reader:
        frames = list(reader.frames())
    assert indices_in(frame.image for frame in frames) == list(range(30))
    assert [frame.time_seconds for frame in frames] == pytest.approx(np.arange(30) / FPS, abs=0.0001)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        ([0, 0.04, 0.08], [0, 0.04, 0.08]),
        ([1.47, 1.51, 1.63], [0, 0.04, 0.16]),  # late, with a variable rate
        ([1.47, 1.51, 1.47, 1.51], [0, 0.04, 0.08, 0.12]),  # again
        ([0, 0, 0], [0, 0.04, 0.08]),  # stands still
        ([0, 9, 21, 21.04], [0, 9, 9.04, 9.08]),  # a long pause, and a clock that was set
        ([None, None, None], [0, 0.04, 0.08]),  # none
    ],
)
def test_clock(times, expected):
    clock = Clock(25, longest_pause=10)
    assert [clock.seconds(index, time) for index, time in enumerate(times)] == pytest.approx(expected)


def test_the_clock_counts_the_frames_that_are_missing_at_the_beginning():
    assert Clock(25, 10).seconds(5, 7.3) == pytest.approx(0.2)
    assert Clock(0, 10).seconds(5, None) == pytest.approx(0.2)  # no rate either
