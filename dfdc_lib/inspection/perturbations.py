"""The same video, treated as the world treats videos: re-encoded, shrunk, blurred, noisy. Does a verdict survive that?

In: a file and which of its frames; out: one H.264 file for each of `VARIANTS`, made in one pass, so that memory stays flat and a long
video is decoded once.
Source: what the deck's augmentation imitates (JPEG, blur, noise, downscaling), as files and with a real encoder.
"""

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm.std import tqdm

from dfdc_lib.data.encode import video_writer
from dfdc_lib.data.video import VideoReader

EXCERPT_FRAMES = 150  # five seconds at 30 a second: half a DFDC video
BLUR_SIGMA = 2.0  # pixels, in a frame whose shorter side has `REFERENCE_SIDE`
REFERENCE_SIDE = 720
NOISE_SIGMA = 8.0  # gray levels
LOSSLESS, FINE = 0, 18  # CRF: loses nothing; loses what few eyes see
DEFAULT_RATE = 25  # frames per second, where the file does not say


class Variant(NamedTuple):
    """One treatment of a video."""

    name: str  # of the file, and video_id
    title: str
    crf: int  # libx264's constant rate factor: 0 loses nothing, 23 is its default, 51 the worst
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray] = lambda frame, rng: frame


def halve(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Halve height and width."""
    return cv2.resize(frame, (frame.shape[1] // 2, frame.shape[0] // 2), interpolation=cv2.INTER_AREA)


def blur(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian that is as strong for every size of frame."""
    return cv2.GaussianBlur(frame, (0, 0), BLUR_SIGMA * min(frame.shape[:2]) / REFERENCE_SIDE)


def add_noise(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise to every pixel and channel."""
    cv2.setRNGSeed(int(rng.integers(2**31)))
    noise = cv2.randn(np.empty(frame.shape, np.int16), np.zeros(3), np.full(3, NOISE_SIGMA))  # a tenth of NumPy's time
    return cv2.add(frame, noise, dtype=cv2.CV_8U)  # saturates at 0 and 255


VARIANTS = (
    Variant("as_it_is", "excerpt as it is", LOSSLESS),
    Variant("crf23", "H.264, CRF 23", 23),
    Variant("crf28", "H.264, CRF 28", 28),
    Variant("crf33", "H.264, CRF 33", 33),
    Variant("crf40", "H.264, CRF 40", 40),
    Variant("half", "half the size", FINE, halve),
    Variant("blurred", "blurred", FINE, blur),
    Variant("noisy", "noisy", FINE, add_noise),
)


def write_variants(path: Path, folder: Path, first_frame: int, seed: int = 0) -> list[Path]:
    """Write every variant of an excerpt, `EXCERPT_FRAMES` long or up to the end of the video.

    Args:
        path: the video.
        folder: made if absent.
        first_frame: frame_index at which the excerpt begins.
        seed: of the noise.
    Returns:
        The files, in the order of `VARIANTS`.
    Raises:
        ValueError: if the video cannot be read, or has no frame at or after `first_frame`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{variant.name}.mkv" for variant in VARIANTS]
    rng = np.random.default_rng(seed)
    last_frame = first_frame + EXCERPT_FRAMES - 1
    write: list[Callable[[np.ndarray], None]] = []
    with (
        VideoReader(path) as reader,
        ExitStack() as files,
        tqdm(desc="re-encode", unit="frame", mininterval=0.5) as progress,
    ):
        rate = Fraction(reader.info.fps or DEFAULT_RATE).limit_denominator(1001)
        for frame in reader.frames(lambda frame_index: first_frame <= frame_index):
            if frame.frame_index > last_frame:
                break
            changed = [_even(variant.change(frame.image, rng)) for variant in VARIANTS]
            if not write:
                options = [{"crf": str(variant.crf), "preset": "veryfast"} for variant in VARIANTS]
                sizes = [image.shape[:2] for image in changed]
                write = [
                    files.enter_context(video_writer(*known))
                    for known in zip(paths, sizes, [rate] * len(paths), options, strict=True)
                ]
            for put, image in zip(write, changed, strict=True):
                put(image)
            progress.update()
        progress.total = progress.n  # how many there are was not known
    if not write:
        raise ValueError(f"{path.name} has no frame {first_frame}: choose an earlier start of the excerpt")
    return paths


def _even(image: np.ndarray) -> np.ndarray:
    """Cut the last row or column where their number is odd: H.264 stores colour for pairs of them."""
    return image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
