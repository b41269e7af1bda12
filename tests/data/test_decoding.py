"""What a player shows of a file: the film among several streams, and the frames that are not hidden."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from video_files import FPS, FRAME_COUNT, KEY_FRAME_EVERY, Film, copy_packets, encode, indices_in, picture, pictures

from dfdc_lib.data.video import VideoReader, count_frames, read_frames

HIDDEN = 15


def shown_indices(path: Path) -> list[int]:
    """The indices in the pictures that are read; every way of counting frames must agree with their number."""
    for threads in (0, 1):
        with VideoReader(path, threads) as reader:
            frames = list(reader.frames())
        assert [frame.frame_index for frame in frames] == list(range(len(frames)))
        assert (reader.frame_count, reader.missing_frame_count) == (len(frames), 0)
        assert reader.info.frame_count in (0, len(frames))
        assert {frame.image.shape[:2] for frame in frames} == {(reader.info.height, reader.info.width)}
        times = [frame.time_seconds for frame in frames]
        assert times == pytest.approx(np.arange(len(frames)) / FPS, abs=0.002)
    assert count_frames(path) == len(frames) == len(read_frames(path, set(range(999))))
    return indices_in(frame.image for frame in frames)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("name", ["cut.mp4", "cut.mov"])
def test_frames_that_an_edit_list_hides_do_not_count(tmp_path, name, b_frames):
    """As a cut by stream copy: the packets start at a key frame, the edit list where the cut was wished for."""
    whole = encode(tmp_path / "whole.mp4", Film(pictures(), b_frames=b_frames))

    def cut(packet: av.Packet) -> av.Packet | None:
        tick = 1 / FPS / packet.time_base
        if packet.pts < KEY_FRAME_EVERY * tick:
            return None
        packet.pts, packet.dts = (int(stamp - HIDDEN * tick) for stamp in (packet.pts, packet.dts))
        return packet

    path = copy_packets([whole], tmp_path / name, cut)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == FRAME_COUNT - KEY_FRAME_EVERY  # as the header says
    assert shown_indices(path) == list(range(HIDDEN, FRAME_COUNT))


@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4", "cut.mpg"])
def test_leading_frames_whose_references_were_cut_off_do_not_count(tmp_path, name):
    whole = encode(tmp_path / "whole.mkv", Film(pictures(), "mpeg2video", b_frames=2))  # its groups are open
    key_frames = []

    def cut(packet: av.Packet) -> av.Packet | None:
        if packet.is_keyframe:
            key_frames.append(packet.pts)
        return packet if len(key_frames) > 1 else None

    path = copy_packets([whole], tmp_path / name, cut)
    with av.open(str(path)) as container:
        stored = [packet.pts for packet in container.demux(video=0) if packet.size]
    first = shown_indices(path)
    assert min(stored) < stored[0]
    assert first == list(range(first[0], FRAME_COUNT))
    assert len(first) < len(stored)


def test_vp8_frames_that_only_others_refer_to_do_not_count(tmp_path):
    hidden = (4, 17)

    def hide(packet: av.Packet) -> av.Packet:
        content = bytearray(bytes(packet))
        if round(packet.pts * packet.time_base * FPS) in hidden:
            content[0] &= ~0x10  # RFC 6386, section 9.1: show_frame
        changed = av.Packet(bytes(content))
        changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
        changed.is_keyframe = packet.is_keyframe
        return changed

    path = copy_packets([encode(tmp_path / "whole.webm", Film(pictures(), "libvpx"))], tmp_path / "hidden.webm", hide)
    with VideoReader(path, threads=1) as reader:
        shown = indices_in(frame.image for frame in reader.frames())
    assert shown == [index for index in range(FRAME_COUNT) if index not in hidden]
    assert (count_frames(path), reader.frame_count, reader.missing_frame_count) == (len(shown), len(shown), 0)


COVER, PREVIEW = [picture(25, size=(480, 640))], pictures(size=(24, 32))
DEFAULT, ATTACHED = Disposition.default, Disposition.attached_pic


@pytest.mark.parametrize(
    ("name", "others"),
    [
        *[("a.mkv", [Film(COVER, "mjpeg")]), ("a.mp4", [Film(COVER, "mjpeg")])],
        ("a.mp4", [Film(COVER, "png", disposition=ATTACHED)]),
        *[(name, [Film(PREVIEW, disposition=DEFAULT)]) for name in ("a.mkv", "a.mp4")],
        ("a.mkv", [Film(COVER, "mjpeg"), Film(PREVIEW), Film(PREVIEW)]),
    ],
)
@pytest.mark.parametrize("film_first", [True, False])
def test_the_film_is_read_and_not_a_cover_or_a_preview(tmp_path, name, others, film_first):
    films = [Film(pictures()), *others]
    assert shown_indices(encode(tmp_path / name, *(films if film_first else films[::-1]))) == list(range(FRAME_COUNT))


@pytest.mark.parametrize(("default", "expected"), [(0, 0), (1, 5)])
def test_of_two_equal_films_the_default_one_is_read(tmp_path, default, expected):
    films = [
        Film(pictures(20)[first:], disposition=DEFAULT if n == default else Disposition(0))
        for n, first in ((0, 0), (1, 5))
    ]
    assert shown_indices(encode(tmp_path / "a.mkv", *films))[0] == expected


def test_a_picture_alone_is_no_video(tmp_path):
    path = encode(tmp_path / "a.mp4", Film(COVER, "mjpeg", disposition=ATTACHED))
    with pytest.raises(ValueError, match="no video stream"):
        VideoReader(path)
