"""Reading videos: indices, times and content of frames made in the test, rotation, damage, refusals, memory, and the odd real files."""

import csv
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dfdc_lib.data.video import Frame, VideoReader, count_frames, read_frames, read_info

HEIGHT, WIDTH, FPS = 48, 64, 25
FRAME_COUNT = 30
KEY_FRAME_EVERY = 10
LEVEL_STEP = 7  # grey levels between two frames, far more than the codec's error
CORNER_LEVEL = 255  # the patch in the top left corner, by which a turn shows


def picture(frame_index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A grey picture whose level tells its index, with a white corner at the top left."""
    image = np.full((height, width, 3), 20 + LEVEL_STEP * frame_index, np.uint8)
    image[:16, :16] = CORNER_LEVEL
    return image


def index_seen(image: np.ndarray) -> int:
    return round((float(np.median(image)) - 20) / LEVEL_STEP)


def write_video(
    path: Path, frame_count: int = FRAME_COUNT, rotation: int = 0, b_frames: int = 0, codec: str = "libx264"
) -> Path:
    """Write a video of `picture`s; an MP4's index is at the front, so that a file cut short can still be opened."""
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=FPS, options={"bf": str(b_frames), "sc_threshold": "0", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", KEY_FRAME_EVERY
        if rotation:
            stream.set_display_rotation(-rotation)  # PyAV counts counter-clockwise
        for frame_index in range(frame_count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(frame_index))))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return path


def packets(path: Path) -> list[tuple[int, int]]:
    """Where each packet lies in the file: position and size in bytes, in decoding order."""
    content = path.read_bytes()
    with av.open(str(path)) as container:
        return [(content.index(bytes(packet)), packet.size) for packet in container.demux(video=0) if packet.size]


def overwrite_packet(path: Path, number: int, keep: int = 0) -> Path:
    """Destroy a packet but for its first `keep` bytes."""
    position, size = packets(path)[number]
    content = bytearray(path.read_bytes())
    content[position + keep : position + size] = b"\xff" * (size - keep)
    path.write_bytes(content)
    return path


def read_all(path: Path, threads: int = 1) -> tuple[list[Frame], VideoReader]:
    with VideoReader(path, threads) as reader:
        return list(reader.frames()), reader


def opencv_frame_count(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    return count


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound video of 30 frames; do not write to it."""
    return write_video(tmp_path_factory.mktemp("video") / "whole.mp4")


# Frames -------------------------------------------------------------------------------------------------------------------------------


def test_no_frame_is_wanted(whole):
    with VideoReader(whole) as reader:
        assert list(reader.frames(lambda frame_index: False)) == []
        assert (reader.frame_count, reader.missing_frame_count) == (FRAME_COUNT, 0)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_every_frame_comes_in_order_with_index_time_and_content(tmp_path, name, b_frames):
    frames, reader = read_all(write_video(tmp_path / name, b_frames=b_frames))
    assert [frame.frame_index for frame in frames] == list(range(FRAME_COUNT))
    assert [index_seen(frame.image) for frame in frames] == list(range(FRAME_COUNT))
    assert [frame.time_seconds for frame in frames] == pytest.approx(
        [index / FPS for index in range(FRAME_COUNT)], abs=0.001
    )
    assert (reader.frame_count, reader.missing_frame_count) == (FRAME_COUNT, 0)


def test_a_frame_is_what_was_filmed(whole):
    frame = read_frames(whole, {5})[0]
    assert frame.image.shape == (HEIGHT, WIDTH, 3)
    assert frame.image.dtype == np.uint8
    assert np.abs(frame.image.astype(int) - picture(5)).mean() < 2


def test_colours_are_red_green_blue(tmp_path):
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[:, :, 0] = 200
    with av.open(str(tmp_path / "red.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode())
    image = read_frames(tmp_path / "red.mp4", {0})[0].image
    assert image.reshape(-1, 3).mean(axis=0) == pytest.approx((200, 0, 0), abs=6)


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_only_wanted_frames_come_and_all_are_counted(whole, threads):
    with VideoReader(whole, threads) as reader:
        frames = list(reader.frames(lambda frame_index: frame_index % 7 == 0))
        assert [frame.frame_index for frame in frames] == [0, 7, 14, 21, 28]
        assert [index_seen(frame.image) for frame in frames] == [0, 7, 14, 21, 28]
        assert reader.frame_count == FRAME_COUNT


@pytest.mark.parametrize(
    ("frame_indices", "given"),
    [(set(), []), ({-1}, []), ({FRAME_COUNT}, []), ({29, 30, 1000}, [29]), ({0}, [0]), ({12, 3, 29}, [3, 12, 29])],
)
def test_named_frames_that_the_file_has(whole, frame_indices, given):
    frames = read_frames(whole, frame_indices)
    assert [frame.frame_index for frame in frames] == given
    assert [index_seen(frame.image) for frame in frames] == given


def test_info_of_a_whole_file(whole):
    info = read_info(whole)
    assert (info.height, info.width, info.fps, info.frame_count) == (HEIGHT, WIDTH, FPS, FRAME_COUNT)
    assert (info.duration_seconds, info.rotation_degrees) == (FRAME_COUNT / FPS, 0)


def test_info_where_the_header_counts_no_frames(tmp_path):
    info = read_info(write_video(tmp_path / "a.mkv"))
    assert info.frame_count == 0
    assert info.duration_seconds == pytest.approx(FRAME_COUNT / FPS, abs=0.01)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])  # MKV's header does not say
@pytest.mark.parametrize("frame_count", [1, FRAME_COUNT])
def test_count_frames(tmp_path, frame_count, name, b_frames):
    assert count_frames(write_video(tmp_path / name, frame_count, b_frames=b_frames)) == frame_count


def test_count_frames_counts_the_broken_ones_too(tmp_path):
    path = overwrite_packet(write_video(tmp_path / "a.mp4"), 4)
    assert (len(read_all(path)[0]), count_frames(path)) == (24, FRAME_COUNT)


def test_count_frames_of_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text\.mp4 is not readable as a video"):
        count_frames(tmp_path / "text.mp4")
    with pytest.raises(FileNotFoundError, match="no such video"):
        count_frames(tmp_path / "nowhere.mp4")


# Rotation -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rotation", "size", "white_corner"),
    [
        (0, (HEIGHT, WIDTH), "top left"),
        (90, (WIDTH, HEIGHT), "top right"),
        (180, (HEIGHT, WIDTH), "bottom right"),
        (270, (WIDTH, HEIGHT), "bottom left"),
    ],
)
def test_frames_are_upright(tmp_path, rotation, size, white_corner):
    frames, reader = read_all(write_video(tmp_path / "turned.mp4", frame_count=2, rotation=rotation))
    image = frames[1].image
    corners = {
        "top left": image[:12, :12],
        "top right": image[:12, -12:],
        "bottom right": image[-12:, -12:],
        "bottom left": image[-12:, :12],
    }
    assert (reader.info.rotation_degrees, reader.info.height, reader.info.width) == (rotation, *size)
    assert image.shape[:2] == size
    assert [name for name, corner in corners.items() if corner.mean() > 200] == [white_corner]


# Damage -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames_left", [1, 7, 29])
def test_a_file_cut_short_gives_the_frames_it_has(tmp_path, frames_left):
    path = write_video(tmp_path / "short.mp4")
    position, size = packets(path)[frames_left]
    path.write_bytes(path.read_bytes()[: position + size // 2])
    frames, reader = read_all(path)
    assert [frame.frame_index for frame in frames] == list(range(frames_left))
    assert [index_seen(frame.image) for frame in frames] == list(range(frames_left))
    assert (reader.frame_count, reader.missing_frame_count) == (frames_left, FRAME_COUNT - frames_left)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize(
    ("packet", "sound"),
    [
        (0, range(10, 30)),  # no key frame, nothing up to the next one
        (4, [*range(4), *range(10, 30)]),
        (10, [*range(10), *range(20, 30)]),
        (29, range(29)),
    ],
)
def test_a_damaged_packet_costs_the_frames_up_to_the_next_key_frame(tmp_path, name, packet, sound):
    path = overwrite_packet(write_video(tmp_path / name), packet)
    frames, reader = read_all(path)
    assert [frame.frame_index for frame in frames] == list(sound)
    assert [index_seen(frame.image) for frame in frames] == list(sound)
    assert reader.frame_count == len(sound)
    assert reader.missing_frame_count == (
        FRAME_COUNT - len(sound) if name == "a.mp4" else 0
    )  # MKV declares no number of frames


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("packet", [0, 1, 2, 9, 10, 12, 20, 21, 27, 29])
def test_a_frame_after_damage_keeps_its_index_where_frames_come_out_of_order(tmp_path, packet, threads):
    path = overwrite_packet(write_video(tmp_path / "a.mp4", b_frames=2), packet)
    frames, reader = read_all(path, threads)
    assert [index_seen(frame.image) for frame in frames] == [frame.frame_index for frame in frames]
    assert 0 < reader.frame_count < FRAME_COUNT
    assert reader.frame_count + reader.missing_frame_count == FRAME_COUNT


@pytest.mark.parametrize(("packet", "sound"), [(4, [*range(4), *range(10, 30)]), (23, range(23))])
def test_a_frame_after_damage_keeps_its_index_without_time_stamps(tmp_path, packet, sound):
    path = overwrite_packet(
        write_video(tmp_path / "bare.h264"), packet, keep=8
    )  # the start code, by which packets are told apart
    frames, _ = read_all(path)
    assert [frame.frame_index for frame in frames] == list(sound)
    assert [index_seen(frame.image) for frame in frames] == list(sound)


# Refusals -----------------------------------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such video: .*nowhere\.mp4"):
        VideoReader(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize("content", [b"", b"not a video\n" * 100, bytes(range(256)) * 8])
def test_no_video_at_all(tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.mp4 is not readable as a video: .+; does a player show it\?"):
        VideoReader(path)


def test_a_folder_is_no_video(tmp_path):
    with pytest.raises(ValueError, match="is not readable as a video: Is a directory"):
        VideoReader(tmp_path)


def test_sound_only(tmp_path):
    with pytest.raises(ValueError, match=r"sound\.m4a has no video stream, only \['audio'\]"):
        VideoReader(write_sound(tmp_path / "sound.m4a"))


def test_no_frame_decodes(tmp_path):
    path = write_video(tmp_path / "dead.mp4", frame_count=3)
    for number in range(3):
        overwrite_packet(path, number)
    with pytest.raises(
        ValueError, match=r"dead\.mp4 holds a video stream of which no frame decodes; is the file whole\?"
    ):
        read_info(path)


# Memory -------------------------------------------------------------------------------------------------------------------------------

READ_AND_TELL_PEAK = """
import resource, sys
from pathlib import Path
from dfdc_lib.data.video import VideoReader
with VideoReader(Path(sys.argv[1]), threads=1) as reader:
    count = sum(1 for frame in reader.frames())
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_long_video(path: Path, seconds: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for frame_index in range(seconds * FPS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(frame_index % 30, 240, 320))))
        container.mux(stream.encode())
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path):
    peak_kib = {}
    for seconds in (3, 30):
        path = write_long_video(tmp_path / f"{seconds}.mp4", seconds)
        told = subprocess.run(
            [sys.executable, "-c", READ_AND_TELL_PEAK, path], capture_output=True, text=True, check=True
        ).stdout
        count, peak_kib[seconds] = map(int, told.split())
        assert count == seconds * FPS
    frames_kib = 27 * FPS * 320 * 240 * 3 // 1024  # what the other 27 seconds weigh: 152 MB
    assert peak_kib[30] - peak_kib[3] < frames_kib / 10


# Real files ---------------------------------------------------------------------------------------------------------------------------

# What decodes of each file, where that is not what its header declares.
DECODED = {"odd/corrupted_50_declared_28_decode.mp4": 28}


def odd_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "INDEX.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["path"].startswith("odd/")]


def test_every_odd_file_gives_its_frames_or_says_why_not(test_videos):
    rows = odd_rows(test_videos)
    assert len(rows) == 10
    for row in rows:
        path = test_videos / row["path"]
        if not row["frames"]:
            with pytest.raises(ValueError, match=f"{path.name} is not readable as a video: Invalid data"):
                VideoReader(path)
            continue
        with VideoReader(path) as reader:
            indices = [frame.frame_index for frame in reader.frames(lambda frame_index: frame_index % 10 == 0)]
        decoded = DECODED.get(row["path"], int(row["frames"]))
        assert reader.frame_count == decoded, row["path"]
        assert indices == list(range(0, decoded, 10)), row["path"]
        declared = 0 if path.suffix == ".webm" else int(row["frames"])
        assert (reader.info.frame_count, reader.missing_frame_count) == (declared, max(0, declared - decoded)), row[
            "path"
        ]
        turned = row["rotation"] == "-90"
        size = (int(row["height"]), int(row["width"]))
        assert (reader.info.height, reader.info.width) == (size[::-1] if turned else size), row["path"]
        assert reader.info.fps == pytest.approx(float(row["fps"]), abs=0.001), row["path"]
        assert reader.info.rotation_degrees == (90 if turned else 0), row["path"]


def test_a_corrupted_file_gives_its_28_sound_frames_as_opencv_does(test_videos):
    path = test_videos / "odd" / "corrupted_50_declared_28_decode.mp4"
    frames, reader = read_all(path)
    assert [frame.frame_index for frame in frames] == list(range(28))
    assert (reader.info.frame_count, reader.frame_count, reader.missing_frame_count) == (50, 28, 22)
    assert opencv_frame_count(path) == 28


@pytest.mark.parametrize(
    ("name", "size"), [("rotated_minus90_person.mp4", (1024, 576)), ("rotated_90_3frames.mov", (568, 320))]
)
def test_a_turned_file_is_upright_as_opencv_shows_it(test_videos, name, size):
    path = test_videos / "odd" / name
    assert (read_info(path).height, read_info(path).width) == size
    image = read_frames(path, {0})[0].image
    read, opencv_image = cv2.VideoCapture(str(path)).read()
    assert read
    assert image.shape == (*size, 3)
    assert np.abs(image.astype(int) - opencv_image[:, :, ::-1]).mean() < 1


def test_variable_rate_gives_the_files_own_times(test_videos):
    with VideoReader(test_videos / "odd" / "variable_fps.mp4") as reader:
        times = [frame.time_seconds for frame in reader.frames()]
    steps = np.diff(times)
    assert (times[0], len(times)) == (0, 300)
    assert (steps.min(), steps.max()) == pytest.approx((1 / 30, 16 / 30), abs=0.0002)
