"""Reading and writing videos: indices, times and content of frames, rotation, damage, errors, memory, real files."""

import csv
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import skimage.data
from video_files import FPS, FRAME_COUNT, HEIGHT, WIDTH, Film, encode, indices_in, picture, pictures

from dfdc_lib.data import video
from dfdc_lib.data.decoding import stored_order
from dfdc_lib.data.video import Frame, VideoReader, count_frames, read_frames, read_info, video_writer


def write_video(path: Path, frame_count: int = FRAME_COUNT, b_frames: int = 0) -> Path:
    return encode(path, Film(pictures(frame_count), b_frames=b_frames))


def write_frames(path: Path, frames: list[np.ndarray], rate: int = FPS, rotation: int = 0) -> Path:
    with video_writer(path, frames[0].shape[:2], rate, {"crf": "10", "threads": "1"}, rotation) as write:
        for frame in frames:
            write(frame)
    return path


def photographs(count: int) -> list[np.ndarray]:
    """A part of a photograph that moves by one column per frame."""
    photograph = skimage.data.astronaut()
    return [np.ascontiguousarray(photograph[100 : 100 + HEIGHT, 200 + n : 200 + n + WIDTH]) for n in range(count)]


def packets(path: Path) -> list[tuple[int, int]]:
    """Position and size in bytes of every packet in the file, in decoding order."""
    content = path.read_bytes()
    with av.open(str(path)) as container:
        return [(content.index(bytes(packet)), packet.size) for packet in container.demux(video=0) if packet.size]


def overwrite_packet(path: Path, number: int, keep: int = 0) -> Path:
    """Destroy a packet except for its first `keep` bytes."""
    position, size = packets(path)[number]
    content = path.read_bytes()
    path.write_bytes(content[: position + keep] + b"\xff" * (size - keep) + content[position + size :])
    return path


def read_all(path: Path, threads: int = 1) -> tuple[list[Frame], VideoReader]:
    with VideoReader(path, threads) as reader:
        return list(reader.frames()), reader


def assert_indices(frames: list[Frame], expected: Iterable[int]) -> None:
    """Compare both the reported indices and those encoded in the pictures."""
    assert [frame.frame_index for frame in frames] == list(expected)
    assert indices_in(frame.image for frame in frames) == list(expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An intact video of 30 frames, read-only."""
    return write_video(tmp_path_factory.mktemp("video") / "whole.mp4")


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_every_frame_is_read_in_order_with_index_time_and_content(tmp_path, name, b_frames):
    frames, reader = read_all(write_video(tmp_path / name, b_frames=b_frames))
    assert_indices(frames, range(FRAME_COUNT))
    times = [index / FPS for index in range(FRAME_COUNT)]
    assert [frame.time_seconds for frame in frames] == pytest.approx(times, abs=0.001)
    assert (reader.frame_count, reader.missing_frame_count) == (FRAME_COUNT, 0)
    assert (frames[5].image.shape, frames[5].image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert np.abs(frames[5].image.astype(int) - picture(5)).mean() < 2


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize("wanted", [set(), {0, 7, 14, 21, 28}])
def test_only_wanted_frames_are_converted_and_all_are_counted(whole, threads, wanted):
    with VideoReader(whole, threads) as reader:
        assert_indices(list(reader.frames(wanted.__contains__)), sorted(wanted))
        assert (reader.frame_count, reader.missing_frame_count) == (FRAME_COUNT, 0)


@pytest.mark.parametrize(
    ("frame_indices", "expected"),
    [(set(), []), ({-1}, []), ({FRAME_COUNT}, []), ({29, 30, 1000}, [29]), ({0}, [0]), ({12, 3, 29}, [3, 12, 29])],
)
def test_read_frames(whole, frame_indices, expected):
    assert_indices(read_frames(whole, frame_indices), expected)


@pytest.mark.parametrize("threads", [0, 1, 4])
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.mkv", "mpeg2video")])
@pytest.mark.parametrize(
    "wanted", [set(), {0}, {0, 7, 14, 21, 28}, {11, 12, 13}, {29}, {5, 30, -1}, {2, 19, 21}, {18, 28}]
)
def test_frames_at_skips_what_nothing_refers_to(tmp_path, name, codec, wanted, threads):
    path = encode(tmp_path / name, Film(pictures(), codec, b_frames=2))
    everything = {frame.frame_index: frame for frame in read_all(path)[0]}
    with VideoReader(path, threads) as reader:
        frames = list(reader.frames_at(wanted))
    assert_indices(frames, sorted(wanted & everything.keys()))
    for frame in frames:
        assert frame.time_seconds == everything[frame.frame_index].time_seconds
        assert np.array_equal(frame.image, everything[frame.frame_index].image)
    assert reader.frame_count < FRAME_COUNT  # some were not decoded


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("wanted", [{10}, {21}, {10, 28}, {0, 29}])
def test_frames_shown_before_their_key_frame(tmp_path, monkeypatch, wanted, threads):
    options = {"x264-params": "open-gop=1:keyint=11:b-adapt=0"}
    path = encode(tmp_path / "a.mkv", Film(pictures(), b_frames=2, options=options))
    with av.open(str(path)) as container:
        stored = stored_order(container)
    key_frames = [place for place, (_, is_key_frame) in enumerate(stored) if is_key_frame]
    assert any(stored[place + 1][0] < stored[place][0] for place in key_frames[1:])  # the groups are open
    with VideoReader(path, threads) as reader:
        monkeypatch.setattr(video, "VideoReader", None)  # a second reading would hide an error
        assert_indices(list(reader.frames_at(wanted)), sorted(wanted))


@pytest.mark.parametrize(("wanted", "most"), [({0, 29}, 12), ({3, 20}, 6), ({21}, 4)])
def test_frames_at_passes_over_groups_without_wanted_frames(whole, wanted, most):
    with VideoReader(whole, threads=1) as reader:
        assert_indices(list(reader.frames_at(wanted)), sorted(wanted))
    assert reader.frame_count <= most


@pytest.mark.parametrize("packet", [0, 1, 2, 9, 10, 12, 20, 21, 27, 29])
def test_frames_at_after_damage_with_reordered_frames(tmp_path, packet):
    """No frame is lost, or has another index, than if all are decoded; damage in a skipped frame costs no other."""
    path = overwrite_packet(write_video(tmp_path / "a.mp4", b_frames=2), packet)
    intact = {frame.frame_index: frame.image for frame in read_all(path)[0]}
    for wanted in (range(0, 30, 3), range(1, 30, 3), range(2, 30, 3)):
        shown = {frame.frame_index: frame.image for frame in read_frames(path, wanted, threads=1)}
        assert shown.keys() <= set(wanted) and shown.keys() >= intact.keys() & set(wanted)
        assert all(np.array_equal(shown[frame_index], intact[frame_index]) for frame_index in shown.keys() & intact)
        assert indices_in(shown.values()) == list(shown)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize(("name", "declares_count"), [("a.mp4", True), ("a.mkv", False)])
@pytest.mark.parametrize("frame_count", [1, FRAME_COUNT])
def test_info_and_count_frames(tmp_path, frame_count, name, declares_count, b_frames):
    path = write_video(tmp_path / name, frame_count, b_frames)
    info = read_info(path)
    assert (info.height, info.width, info.fps, info.rotation_degrees) == (HEIGHT, WIDTH, FPS, 0)
    assert info.frame_count == (frame_count if declares_count else 0)
    assert info.duration_seconds == pytest.approx(frame_count / FPS, abs=0.01)
    assert count_frames(path) == frame_count


@pytest.mark.parametrize(
    ("rotation", "size", "patch"),
    [
        *[(0, (HEIGHT, WIDTH), np.s_[:12, :12]), (90, (WIDTH, HEIGHT), np.s_[:12, -12:])],
        *[(180, (HEIGHT, WIDTH), np.s_[-12:, -12:]), (270, (WIDTH, HEIGHT), np.s_[-12:, :12])],
    ],
)
def test_frames_are_rgb_and_turned_upright(tmp_path, rotation, size, patch):
    film = Film(pictures(2), prepare=lambda stream: stream.set_display_rotation(-rotation) if rotation else None)
    [_, frame], reader = read_all(encode(tmp_path / "turned.mp4", film))
    assert (reader.info.rotation_degrees, reader.info.height, reader.info.width) == (rotation, *size)
    assert frame.image.shape[:2] == size
    assert frame.image[patch].reshape(-1, 3).mean(axis=0) == pytest.approx((255, 0, 0), abs=6)
    assert (frame.image > 200).mean() < 0.1  # the patch of 16 x 16 and nothing else


@pytest.mark.parametrize("frames_left", [1, 7, 29])
def test_a_truncated_file_has_the_frames_before_the_end(tmp_path, frames_left):
    path = write_video(tmp_path / "short.mp4")
    position, size = packets(path)[frames_left]
    path.write_bytes(path.read_bytes()[: position + size // 2])
    frames, reader = read_all(path)
    assert_indices(frames, range(frames_left))
    assert (reader.frame_count, reader.missing_frame_count) == (frames_left, FRAME_COUNT - frames_left)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize(
    ("packet", "intact"),
    [(0, range(10, 30)), (4, [*range(4), *range(10, 30)]), (10, [*range(10), *range(20, 30)]), (29, range(29))],
)
def test_a_damaged_packet_costs_the_frames_up_to_the_next_key_frame(tmp_path, name, packet, intact):
    path = overwrite_packet(write_video(tmp_path / name), packet)
    frames, reader = read_all(path)
    assert_indices(frames, intact)
    assert count_frames(path) == FRAME_COUNT  # damaged ones included
    assert (reader.frame_count, reader.missing_frame_count) == (len(intact), FRAME_COUNT - len(intact))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("packet", [0, 1, 2, 9, 10, 12, 20, 21, 27, 29])
def test_indices_after_damage_with_reordered_frames(tmp_path, packet, threads):
    frames, reader = read_all(overwrite_packet(write_video(tmp_path / "a.mp4", b_frames=2), packet), threads)
    assert_indices(frames, [frame.frame_index for frame in frames])
    assert 0 < reader.frame_count < FRAME_COUNT
    assert reader.frame_count + reader.missing_frame_count == FRAME_COUNT


@pytest.mark.parametrize(("packet", "intact"), [(4, [*range(4), *range(10, 30)]), (23, range(23))])
def test_indices_after_damage_without_time_stamps(tmp_path, packet, intact):
    path = overwrite_packet(write_video(tmp_path / "bare.h264"), packet, keep=8)  # the start code separates packets
    assert_indices(read_all(path)[0], intact)


@pytest.mark.parametrize("function", [VideoReader, count_frames])
def test_paths_that_are_not_a_video(tmp_path, function):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        function(tmp_path / "nowhere.mp4")
    with pytest.raises(ValueError, match="Is a directory"):
        function(tmp_path)
    for content in (b"", b"not a video\n" * 100, bytes(range(256)) * 8):
        (tmp_path / "broken.mp4").write_bytes(content)
        with pytest.raises(ValueError, match=r"broken\.mp4"):
            function(tmp_path / "broken.mp4")


def test_videos_without_a_frame(tmp_path):
    with av.open(str(tmp_path / "audio.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match="no video stream"):
        VideoReader(tmp_path / "audio.m4a")
    path = overwrite_packet(write_video(tmp_path / "dead.mp4", frame_count=1), 0)
    with pytest.raises(ValueError, match="no frame decodes"):
        read_info(path)


@pytest.mark.parametrize(("rotation", "rate"), [(0, 25), (90, 10), (180, 25), (270, 60)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_written_frames_are_read_back_upright(tmp_path, name, rotation, rate):
    frames = photographs(5)
    read, reader = read_all(write_frames(tmp_path / name, frames, rate, rotation))
    assert (reader.info.height, reader.info.width, reader.info.rotation_degrees) == (HEIGHT, WIDTH, rotation)
    assert reader.info.fps == rate
    for shown, frame in zip(read, frames, strict=True):
        assert np.abs(shown.image.astype(int) - frame).mean() < 6  # colour is stored for pairs of pixels


def test_equal_frames_give_equal_bytes_and_no_frames_no_file(tmp_path):
    first, second = (write_frames(tmp_path / name, photographs(6)).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert first == second
    with video_writer(tmp_path / "empty.mkv", (HEIGHT, WIDTH), FPS, {}):
        pass
    assert not (tmp_path / "empty.mkv").exists()


PRINT_PEAK_MEMORY = """
import resource, sys
from pathlib import Path
from dfdc_lib.data.video import VideoReader
with VideoReader(Path(sys.argv[1]), threads=1) as reader:
    count = sum(1 for frame in reader.frames())
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path):
    peak_kib = {}
    for seconds in (3, 30):
        path = tmp_path / f"{seconds}.mp4"
        frames = [cv2.resize(picture(n % 30), (320, 240)) for n in range(30)]
        write_frames(path, frames * (seconds * FPS // 30) + frames[: seconds * FPS % 30])
        command = [sys.executable, "-c", PRINT_PEAK_MEMORY, path]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        count, peak_kib[seconds] = map(int, printed.split())
        assert count == seconds * FPS
    frames_kib = 27 * FPS * 320 * 240 * 3 // 1024  # size of the other 27 seconds: 152 MB
    assert peak_kib[30] - peak_kib[3] < frames_kib / 10


def test_every_odd_file_is_read_or_refused(test_videos):
    with (test_videos / "INDEX.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("odd/")]
    assert len(rows) == 10
    for row in rows:
        path = test_videos / row["path"]
        if not row["frames"]:
            with pytest.raises(ValueError, match="Invalid data"):
                VideoReader(path)
            continue
        with VideoReader(path) as reader:
            indices = [frame.frame_index for frame in reader.frames(lambda frame_index: frame_index % 10 == 0)]
        decoded = 28 if path.stem == "corrupted_50_declared_28_decode" else int(row["frames"])
        declared = 0 if path.suffix == ".webm" else int(row["frames"])
        assert indices == list(range(0, decoded, 10)), path
        counts = (reader.frame_count, reader.info.frame_count, reader.missing_frame_count)
        assert counts == (decoded, declared, max(0, declared - decoded)), path
        rotation = 90 if row["rotation"] == "-90" else 0
        width = 193 if path.stem == "small_176x144" else int(row["width"])  # its pixels are 128:117
        size = (int(row["height"]), width)[:: -1 if rotation else 1]
        assert (reader.info.height, reader.info.width, reader.info.rotation_degrees) == (*size, rotation), path
        assert reader.info.fps == pytest.approx(float(row["fps"]), abs=0.001), path
    path = test_videos / "odd" / "corrupted_50_declared_28_decode.mp4"
    intact_in_opencv = sum(1 for _ in iter(cv2.VideoCapture(str(path)).grab, False))
    assert [frame.frame_index for frame in read_all(path)[0]] == list(range(intact_in_opencv))


def test_a_rotated_file_is_upright_as_in_opencv(test_videos):
    for name, size in (("rotated_minus90_person.mp4", (1024, 576)), ("rotated_90_3frames.mov", (568, 320))):
        path = test_videos / "odd" / name
        assert (read_info(path).height, read_info(path).width) == size
        image = read_frames(path, {0})[0].image
        _, opencv_image = cv2.VideoCapture(str(path)).read()
        assert image.shape == opencv_image.shape == (*size, 3)
        assert np.abs(image.astype(int) - opencv_image[:, :, ::-1]).mean() < 1


@pytest.mark.parametrize("folder", ["odd", "odd2"])
def test_frames_at_agrees_with_frames_on_every_odd_file(test_videos, folder):
    with (test_videos / "INDEX.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith(f"{folder}/") and row["frames"]]
    for row in rows:
        path, wanted = test_videos / row["path"], set(range(3, 60, 19))
        with VideoReader(path, threads=1) as reader, VideoReader(path, threads=1) as all_reader:
            frames, expected = list(reader.frames_at(wanted)), list(all_reader.frames(wanted.__contains__))
        assert [frame[:2] for frame in frames] == [frame[:2] for frame in expected], path
        assert all(np.array_equal(one.image, other.image) for one, other in zip(frames, expected, strict=True)), path


def test_times_with_a_variable_frame_rate(test_videos):
    with VideoReader(test_videos / "odd" / "variable_fps.mp4") as reader:
        times = [frame.time_seconds for frame in reader.frames()]
    assert (times[0], len(times)) == (0, 300)
    assert (min(np.diff(times)), max(np.diff(times))) == pytest.approx((1 / 30, 16 / 30), abs=0.0002)


def test_every_odd2_file_is_read_as_a_player_shows_it(test_videos):
    with (test_videos / "INDEX.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("odd2/")]
    assert len(rows) == 5
    declared = {"cut_copy_2s": 62, "sar_squeezed": 60, "clock_starts_at_1_47": 60}  # WebM and MKV declare no number
    rescaled = {"res_change": 30}
    for row in rows:
        path, count, fps = test_videos / row["path"], int(row["frames"]), float(row["fps"])
        with VideoReader(path) as reader:
            frames = list(reader.frames())
        width = 856 if path.stem == "sar_squeezed" else int(row["width"])  # INDEX has the stored one
        assert {frame.image.shape for frame in frames} == {(int(row["height"]), width, 3)}, path
        assert (reader.info.height, reader.info.width, reader.info.fps) == (int(row["height"]), width, fps), path
        counts = (count_frames(path), reader.frame_count, reader.missing_frame_count, reader.info.frame_count)
        assert counts == (count, count, 0, declared.get(path.stem, 0)), path
        assert reader.rescaled_frame_count == rescaled.get(path.stem, 0), path
        times = [frame.time_seconds for frame in frames]
        last = 63 if path.stem == "cut_copy_2s" else count - 1  # two frames are cut out near its end
        assert (times[0], times[-1]) == pytest.approx((0, last / fps), abs=0.001), path
        assert min(np.diff(times)) > 0.03, path
    for name, seconds in (("cut_copy_2s.mp4", 2.133), ("cover_first.mkv", 3), ("clock_starts_at_1_47.mpg", 2)):
        assert read_info(test_videos / "odd2" / name).duration_seconds == seconds
