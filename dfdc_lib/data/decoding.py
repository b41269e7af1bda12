"""Choose what a player shows of a video file: its film among several streams, and the visible packets and frames.

Input: an open file. Output: decoded frames in order, with None for each that is missing or damaged.
A file may hold more than a player shows: cover pictures and previews, frames that an edit list hides, VP8 frames that
only other frames refer to, and leading frames whose references were cut off.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from itertools import repeat
from typing import NamedTuple

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails  # streams that are not films
STILL_CODECS = {"mjpeg", "png", "bmp", "gif", "tiff", "webp"}  # of covers that are not marked as such
CLOCK_JUMPS = 0x0200  # FFmpeg's AVFMT_TS_DISCONT
VP8_SHOW_FRAME = 0x10  # bit of the first byte; RFC 6386, section 9.1


def film_stream(container: InputContainer) -> VideoStream:
    """Return the video stream that a player shows.

    Cover pictures and thumbnails are skipped. Of the others, moving streams come before still ones, then the stream
    with the most pixels, then the default stream, then the first. Raises ValueError if no stream is left.
    """
    films = [stream for stream in container.streams.video if stream.codec_context and not _is_picture(stream)]
    if not films:
        kinds = ["picture" if stream.type == "video" else stream.type for stream in container.streams]
        raise ValueError(f"has no video stream, only {kinds}")
    return max(films, key=_suitability)


def clock_can_restart(container: InputContainer) -> bool:
    """Return whether the file's format allows time stamps to jump, as in MPEG streams that were joined end to end."""
    return bool(container.format.flags & CLOCK_JUMPS)


def declared_frame_count(stream: VideoStream) -> int:
    """Return the frame count in the file's header, minus frames that an edit list hides; 0 if it has no count."""
    entries = stream.index_entries
    if not stream.frames or len(entries) < stream.frames:
        return stream.frames
    return sum(not entry.is_discard for entry in entries)


def count_visible(container: InputContainer, start: int | None) -> int:
    """Count the packets, one per frame, that a player shows; nothing is decoded.

    `start` is the time stamp of the first frame that decodes, None if unknown. Packets at the beginning of the file
    with an earlier time stamp are not counted: they need frames that the file lacks, so no player shows them.
    """
    count, leading = 0, start is not None
    for packet in _packets(container):
        if start is None or packet.pts is None or packet.pts > start:
            leading = False
        count += _is_visible(packet) and (not leading or packet.pts == start)
    return count


def stored_order(container: InputContainer) -> list[tuple[int, bool]]:
    """Return the time stamp of each frame that a player shows, and whether it is a key frame, in the file's order.

    Nothing is decoded. The result is [] if the packets do not tell which frame is shown when: a time stamp is missing
    or occurs twice, the clock can restart, packets are hidden, or the first packet is no key frame, or not the first
    one to be shown.
    """
    if clock_can_restart(container):
        return []
    stored: list[tuple[int, bool]] = []
    for packet in _packets(container):
        if not packet.size:  # the end
            continue
        if packet.pts is None or not _is_visible(packet) or not (stored or packet.is_keyframe):
            return []
        stored.append((packet.pts, packet.is_keyframe))
    stamps = [stamp for stamp, _ in stored]
    known = bool(stamps) and len(set(stamps)) == len(stamps) and stamps[0] == min(stamps)
    return stored if known else []


def stamps_decoded_for(wanted: Collection[int], stored: Sequence[tuple[int, bool]]) -> set[int]:
    """Return the time stamps of the packets from which the wanted frames are decoded.

    Decoding a frame takes all packets from the last key frame up to its own. If the frame is shown before that key
    frame, it also takes the packets of the group before. `wanted`: time stamps; `stored`: see `stored_order`.
    """
    groups: list[list[int]] = []
    for stamp, is_key_frame in stored:
        if is_key_frame:
            groups.append([])
        groups[-1].append(stamp)
    needed, whole = set[int](), False
    for group in reversed(groups):
        places = [place for place, stamp in enumerate(group) if stamp in wanted]
        needed.update(group if whole else group[: max(places, default=-1) + 1])
        whole = any(group[place] < group[0] for place in places)
    return needed


class Unwanted(NamedTuple):
    """Time stamps of what need not be decoded; both sets may be filled while frames are read.

    `skippable`: unwanted frames, which are not decoded if no other frame refers to them. `unneeded`: packets that are
    never decoded.
    """

    skippable: set[int]
    unneeded: set[int]


def decode(container: InputContainer, unwanted: Unwanted) -> Iterator[av.VideoFrame | None]:
    """Yield the frames that a player shows, in order of display; yield None for each missing or damaged one.

    Frames that are not decoded because they are `unwanted` count as missing. After damage, a decoder can drop frames
    silently; from then on the packets' time stamps reveal how many are missing.
    """
    stream, skipping, interrupted = film_stream(container), False, False
    awaited: list[int] = []  # heap of the time stamps of packets whose frame has not been decoded yet
    failed = damaged = False
    failed_at: int | None = None  # time stamp; frames leave the decoder in another order than their packets enter
    for packet in _packets(container):
        if packet.pts is not None and _is_visible(packet):
            heappush(awaited, packet.pts)
        if packet.pts in unwanted.unneeded:
            interrupted = True
            continue
        if skipping != (packet.pts in unwanted.skippable):
            skipping = not skipping
            stream.codec_context.skip_frame = "NONREF" if skipping else "DEFAULT"
        resumed, interrupted = interrupted, False
        try:
            frames = [*_finish_before(packet, stream), *packet.decode()] if resumed else packet.decode()
        except av.error.FFmpegError:
            failed = damaged = True
            failed_at = packet.pts
            if packet.pts is None and packet.size:
                yield None
            continue
        for frame in frames:
            passed = 0
            while awaited and frame.pts is not None and awaited[0] <= frame.pts:
                heappop(awaited)
                passed += 1
            if (failed or unwanted.skippable) and frame.pts is not None:
                if not passed:  # the frame is late and has already been counted as missing
                    continue
                yield from repeat(None, passed - 1)
            if frame.key_frame and (failed_at is None or frame.pts is None or frame.pts > failed_at):
                damaged = False
            yield None if damaged or frame.is_corrupt else frame
    yield from repeat(None, len(awaited))


def _finish_before(packet: av.Packet, stream: VideoStream) -> list[av.VideoFrame]:
    """Return the frames that the decoder still holds, and prepare it for `packet`, a key frame."""
    end = av.Packet()
    end.stream, end.time_base = stream, packet.time_base  # without it the frames have no time
    try:
        return stream.decode(end)
    finally:
        stream.codec_context.flush_buffers()


def _is_picture(stream: VideoStream) -> bool:
    return bool(stream.disposition & PICTURES)


def _suitability(stream: VideoStream) -> tuple[bool, int, bool, int]:
    moving = stream.codec_context.name not in STILL_CODECS and not stream.disposition & Disposition.still_image
    return moving, stream.width * stream.height, bool(stream.disposition & Disposition.default), -stream.index


def _is_visible(packet: av.Packet) -> bool:
    if not packet.size or packet.is_discard:
        return False
    return packet.stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & VP8_SHOW_FRAME)


def _packets(container: InputContainer) -> Iterator[av.Packet]:
    with suppress(av.error.FFmpegError):  # the file ends inside a packet
        yield from container.demux(film_stream(container))
