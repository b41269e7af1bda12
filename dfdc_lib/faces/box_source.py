"""Whose boxes a video is cropped with. In: a video and the headers of all videos. Out: a video_id and the reason."""

from collections.abc import Mapping
from typing import NamedTuple

from dfdc_lib.records import FAKE, Video, VideoInfo

FPS_TOLERANCE = 0.01  # frame rates that differ by less than this share count as equal


class BoxSource(NamedTuple):
    """The video whose boxes another video is cropped with: itself, or a fake's original."""

    video_id: str
    reason: str  # why a fake does not use its original's boxes; "" otherwise


def boxes_source(video: Video, infos: Mapping[str, VideoInfo]) -> BoxSource:
    """Return whose boxes a video is cropped with: a fake uses its original's if frame rate and orientation agree.

    `infos` are the headers of all readable videos, this one included, by video_id. Source: the winner's code. Departs:
    there the frames are not checked, and every fake uses its original's boxes.
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
