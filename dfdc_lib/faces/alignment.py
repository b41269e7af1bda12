"""Align a fake with its original: which of its frames show which of the original's, and where in the picture.

Input: two videos, as small gray frames. Output: an `Alignment`, and with it the places of the original's boxes,
landmarks and crops in the fake. Time and place are measured in turn (`frame_matching`, `registration`), each with the
other's result. Departs from the winner's code: there frame i of a fake is frame i of its original, at the same pixels.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.faces.frame_matching import Frames, Match, chunks, match_frames, pixel_weights, segments_of
from dfdc_lib.faces.registration import covered, register, rescaled, warp
from dfdc_lib.faces.thumbnails import Thumbnails, read_thumbnails, read_thumbnails_once
from dfdc_lib.records import Alignment, Area, Box, Landmarks, Transform

ROUNDS = 3  # of time and place
SAMPLED, PLACED = 240, 24  # frames, evenly spaced, from which weights and place are measured
TEXTURED = 4.0  # gray levels: a frame with a smaller standard deviation is black or blank
NOISE = 0.5  # pixels: a frame whose corners are closer to those of a scaled or shifted one counts as that one
# Least values of a pair that fits. Those of FaceForensics++ and UADFV have more than .98, and .9.
MIN_SIMILARITY = 0.85  # correlation of two frames, median
MIN_COMMON_MOTION = 0.5  # correlation of what changes in the frames,
MOVING = 2.0  # if it changes by more than so many gray levels
MIN_SHARE = 0.5  # of the fake's frames that correspond
MIN_SHOWN = 0.75  # smallest share of a patch that the original's crop must cover; rounding costs a row or two


def align_videos(original: Path, fake: Path) -> Alignment:
    """Return the alignment of a fake with its original: which frames correspond, and the scale and shift between them.

    An original is decoded once for consecutive fakes of it in one process. Raises FileNotFoundError if a file is
    missing, ValueError if it is not readable as a video. Videos that do not fit raise nothing; see `problem`.
    """
    return align_thumbnails(read_thumbnails_once(original), read_thumbnails(fake))


def align_thumbnails(original: Thumbnails, fake: Thumbnails) -> Alignment:
    """Return the alignment of a fake with its original, measured on small gray frames of both.

    A measured transform is replaced by an exact one if both agree within `NOISE` (half a pixel). Exact ones are the
    scaling between the two frame sizes, and shifts by whole pixels, including none. If the fake is not made from this
    original, `problem` in the result says why; nothing is raised.
    """
    fakes = _frames_of(fake)
    blank = np.zeros(fakes.images.shape[1:], np.float32)
    transform, weights, added = _start(original, fake), blank + 1, blank
    offsets = np.full(len(fake.images), np.nan)
    for _ in range(ROUNDS):
        originals = _as_in_fake(original, transform, fake)
        shown = _halved(covered(original.small_size, transform, fake.small_size)[None])[0] == 255
        match = match_frames(originals, fakes, weights * shown, added)
        frames = _textured(original, fake, match)
        if not len(frames) or np.array_equal(match.offsets, offsets):
            break
        offsets = match.offsets
        counterparts = frames + offsets[frames]
        placed = evenly_spaced(len(frames), PLACED)
        transform = register(original.images[counterparts[placed]], fake.images[frames[placed]], transform)
        weights, added = pixel_weights(originals.pixels(counterparts), fakes.pixels(frames))
    frame_count = int(fake.intact.sum())
    if not len(frames) or not shown.any():
        return Alignment(
            frame_count=frame_count, similarity=0, problem="no frame of it shows the same, blank ones aside"
        )
    ones, others = originals.pixels(frames + match.offsets[frames])[:, shown], fakes.pixels(frames)[:, shown]
    enlarged = [np.divide(video.size, video.small_size) for video in (original, fake)]
    share, similarity = match.corresponds.sum() / frame_count, _similarity(ones, others)
    return Alignment(
        transform=_rounded(rescaled(transform, *enlarged), original.size, fake.size),
        segments=segments_of(match),
        frame_count=frame_count,
        similarity=round(similarity, 4),
        problem=_problem(share, similarity, _common_motion(ones, others)),
    )


def align_box(box: Box, transform: Transform) -> Box:
    """Convert a box from pixels of the original's frame to pixels of the fake's frame."""
    return *transform.apply(box[:2]), *transform.apply(box[2:])


def align_landmarks(landmarks: Landmarks, transform: Transform) -> Landmarks:
    """Convert landmarks from pixels of the original's frame to pixels of the fake's frame."""
    left_eye, right_eye, nose, left_mouth, right_mouth = map(transform.apply, landmarks)
    return left_eye, right_eye, nose, left_mouth, right_mouth


def matching_patch(original_crop: np.ndarray, original_area: Area, fake_area: Area, transform: Transform) -> np.ndarray:
    """Return the part of an original's crop that shows the same scene as a fake's crop, at the size of the fake's crop.

    `original_crop` is (H, W, 3) uint8. The areas say where the two crops lie, each in pixels of its own frame;
    `transform` maps the original's frame to the fake's. Returns (h, w, 3) uint8. A shift by whole pixels copies pixels
    unchanged; parts of the fake's crop that `original_crop` does not cover repeat its edge. If it covers less than
    `MIN_SHOWN` (75 %) of the fake's crop, the result is empty, (0, 0, 3).
    """
    x0, y0 = transform.scale_x * original_area[0], transform.scale_y * original_area[1]
    offset = transform.offset_x + x0 - fake_area[0], transform.offset_y + y0 - fake_area[1]
    local = Transform(transform.scale_x, transform.scale_y, *offset)  # from pixels of one crop to those of the other
    (height, width), size = original_crop.shape[:2], (fake_area[3] - fake_area[1], fake_area[2] - fake_area[0])
    across = min(size[1], local.scale_x * width + local.offset_x) - max(0, local.offset_x)
    down = min(size[0], local.scale_y * height + local.offset_y) - max(0, local.offset_y)
    if min(across, down) <= 0 or across * down < MIN_SHOWN * size[0] * size[1]:
        return original_crop[:0, :0]
    shrunk = min(width, round(width * local.scale_x)), min(height, round(height * local.scale_y))
    if shrunk != (width, height):  # interpolation alone would skip pixels
        original_crop = cv2.resize(original_crop, shrunk, interpolation=cv2.INTER_AREA)
        local = local._replace(scale_x=local.scale_x * width / shrunk[0], scale_y=local.scale_y * height / shrunk[1])
    return warp(original_crop, local, size)


def _start(original: Thumbnails, fake: Thumbnails) -> Transform:
    """Return the likeliest relation: the fake is its original scaled, or the original's centre, or another part of it.

    The other part is measured as if both videos showed the same moments; if they do not, it is unlikely.
    """
    (height, width), (fake_height, fake_width) = original.size, fake.size
    scaled = Transform(fake_width / width, fake_height / height)
    centre = Transform(offset_x=(fake_width - width) / 2, offset_y=(fake_height - height) / 2)
    reduced = [np.divide(video.small_size, video.size) for video in (original, fake)]
    starts = [rescaled(transform, *reduced) for transform in (scaled, centre)]
    if scaled == centre:
        return starts[0]
    likelier = min(starts, key=lambda start: _mismatch(original, start, fake))
    count = min(len(original.images), len(fake.images))
    frames = np.flatnonzero(original.intact[:count] & fake.intact[:count])
    if not len(frames):
        return likelier
    frames = frames[evenly_spaced(len(frames), PLACED)]
    measured = register(original.images[frames], fake.images[frames], likelier)
    return min((likelier, measured), key=lambda start: _mismatch(original, start, fake))


def _mismatch(original: Thumbnails, start: Transform, fake: Thumbnails) -> float:
    """Return the median distance of a few frames of the fake to the original's frame that is most like it."""
    originals, frames = _as_in_fake(original, start, fake), np.flatnonzero(fake.intact)
    few = _halved(fake.images[frames[evenly_spaced(len(frames), PLACED)]]).astype(np.float32)
    distances = []
    for chunk in chunks(np.arange(len(originals.images))):
        rows = originals.pixels(chunk).reshape(len(chunk), -1)
        distances.append([((rows - frame.ravel()) ** 2).mean(axis=1).min() for frame in few])
    return float(np.median(np.min(distances, axis=0)))


def _as_in_fake(original: Thumbnails, transform: Transform, fake: Thumbnails) -> Frames:
    def moved(images: np.ndarray) -> np.ndarray:
        return np.stack([warp(image, transform, fake.small_size) for image in images])

    return _frames_of(original, moved)


def _frames_of(video: Thumbnails, change: Callable[[np.ndarray], np.ndarray] = lambda images: images) -> Frames:
    """Return a video's frames at half their size; half the detail is enough to recognise a frame."""
    parts = [_halved(change(video.images[chunk])) for chunk in chunks(np.arange(len(video.images)))]
    return Frames(np.concatenate(parts), video.intact)


def _halved(images: np.ndarray) -> np.ndarray:
    """Return (N, h, w) uint8 images at half their size."""
    size = max(1, images.shape[2] // 2), max(1, images.shape[1] // 2)
    return np.stack([cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images])


def _textured(original: Thumbnails, fake: Thumbnails, match: Match) -> np.ndarray:
    """Return at most `SAMPLED` frames of the fake, evenly spaced, that correspond and are not blank."""
    frames = np.flatnonzero(match.corresponds)
    frames = frames[evenly_spaced(len(frames), SAMPLED)]
    counterparts = original.images[frames + match.offsets[frames]]
    deviations = np.minimum(*(images.std(axis=(1, 2)) for images in (fake.images[frames], counterparts)))
    return frames[deviations > TEXTURED]


def _similarity(originals: np.ndarray, fakes: np.ndarray) -> float:
    """Return the median correlation of frames, both (K, pixels)."""
    return float(np.median([_correlation(*pair) for pair in zip(originals, fakes, strict=True)]))


def _common_motion(originals: np.ndarray, fakes: np.ndarray) -> float:
    """Return the correlation of what changes from frame to frame, both (K, pixels); 1 if nothing does."""
    one, other = originals - originals.mean(axis=0), fakes - fakes.mean(axis=0)
    return _correlation(one, other) if min(one.std(), other.std()) > MOVING else 1.0


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation coefficient of all values; 0 if those of one array are equal."""
    one, other = one - one.mean(), other - other.mean()
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / size if size else 0.0


def _problem(share: float, similarity: float, common_motion: float) -> str:
    """Return why a fake does not fit its original; "" if it does."""
    if similarity < MIN_SIMILARITY:
        return f"it shows another picture (correlation {similarity:.2f})"
    if common_motion < MIN_COMMON_MOTION:
        return f"it moves differently (correlation {common_motion:.2f})"
    return f"only {share:.0%} of its frames correspond" if share < MIN_SHARE else ""


def _rounded(transform: Transform, size: tuple[int, int], fake_size: tuple[int, int]) -> Transform:
    """Return the exact scale, or shift by whole pixels, if it is within `NOISE` of the measured transform."""
    (height, width), (fake_height, fake_width) = size, fake_size
    scaled = Transform(fake_width / width, fake_height / height)
    centre = transform.apply((width / 2, height / 2))
    shifted = Transform(offset_x=round(centre[0] - width / 2), offset_y=round(centre[1] - height / 2))
    corners = np.array([[0, 0], [width, height]])

    def distance(other: Transform) -> float:
        places = (corners * t[:2] + t[2:] for t in (transform, other))
        return float(np.abs(np.subtract(*places)).max())

    nearest = min(scaled, shifted, key=distance)
    return nearest if distance(nearest) < NOISE else Transform(*(round(float(value), 5) for value in transform))
