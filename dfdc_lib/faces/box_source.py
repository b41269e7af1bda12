"""Whose boxes a video is cropped with. In: videos, their headers and alignments. Out: a video_id and the reason."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dfdc_lib.records import FAKE, Alignment, Video, VideoInfo
from dfdc_lib.run_folder import Run

FPS_TOLERANCE = 0.01  # frame rates that differ by less than this share count as equal


class BoxSource(NamedTuple):
    """Which video provides the boxes for cropping a video: the video itself or its original.

    `video_id`: the video that provides the boxes. `reason`: why a fake uses its own boxes; "" in all other cases.
    `alignment`: between the fake and its original, if they were compared.
    """

    video_id: str
    reason: str  # why a fake does not use its original's boxes; "" otherwise
    alignment: Alignment = Alignment()  # with the original, if the two were compared


def header_source(video: Video, infos: Mapping[str, VideoInfo]) -> BoxSource:
    """Return which video provides the boxes for cropping `video`, judged by headers alone; `video` must be readable.

    A real video uses its own boxes. A fake uses its original's boxes, unless the original is missing or unreadable, or
    has another frame rate or orientation. `infos`: video_id -> header, of all readable videos. Source: the winner's
    code. Departs: there every fake uses its original's boxes, without any comparison.
    """
    if video.original_id is None:
        return BoxSource(video.video_id, "its original is not in the data set" if video.label == FAKE else "")
    if video.original_id not in infos:
        return BoxSource(video.video_id, f"its original {video.original_id} is unreadable")
    original, fake = infos[video.original_id], infos[video.video_id]
    if abs(fake.fps - original.fps) > FPS_TOLERANCE * original.fps:
        return BoxSource(video.video_id, f"it has {fake.fps} frames per second, its original {original.fps}")
    if (fake.height > fake.width) != (original.height > original.width):
        sizes = f"it is {fake.width}x{fake.height}, its original {original.width}x{original.height}"
        return BoxSource(video.video_id, sizes)
    return BoxSource(video.original_id, "")


def boxes_source(run: Run, video: Video, infos: Mapping[str, VideoInfo]) -> BoxSource:
    """Return which video provides the boxes for cropping `video`, judged by headers and the stored alignment.

    A fake that fits its original uses the original's boxes; every other video uses its own. `video` must be readable.
    `infos`: video_id -> header, of all readable videos. Raises FileNotFoundError if the headers fit but the alignment
    has not been measured.
    """
    source = header_source(video, infos)
    if source.video_id == video.video_id:
        return source
    alignment = run.read_alignment(video.video_id).alignment
    if alignment.problem:
        reason = f"it does not fit its original {source.video_id}: {alignment.problem}"
        return BoxSource(video.video_id, reason, alignment)
    return source._replace(alignment=alignment)


def compared_fakes(videos: Iterable[Video], infos: Mapping[str, VideoInfo]) -> list[Video]:
    """Return the readable videos whose original is readable and has a similar frame rate and the same orientation.

    `infos`: video_id -> header, of all readable videos.
    """
    readable = [video for video in videos if video.video_id in infos]
    return [video for video in readable if header_source(video, infos).video_id != video.video_id]
