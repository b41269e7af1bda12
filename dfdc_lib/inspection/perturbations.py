"""Make changed versions of a video: re-encoded, shrunk, blurred, noisy. Does an answer survive these changes?

Input: a video and the first frame of an excerpt. Output: one H.264 file for each of `VARIANTS`, written in one pass, so
that memory stays constant and a long video is decoded once.
Source: the changes that the slides' augmentation imitates (JPEG, blur, noise, downscaling), made with a real encoder.
"""

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm.std import tqdm

from dfdc_lib.data.video import VideoReader, video_writer

EXCERPT_FRAMES = 150  # five seconds at 30 frames per second: half a DFDC video
BLUR_SIGMA = 2.0  # pixels, in a frame whose shorter side is REFERENCE_SIDE
REFERENCE_SIDE = 720
NOISE_SIGMA = 8.0  # gray levels
LOSSLESS, FINE = 0, 18  # CRF: no loss; a loss that is hardly visible
DEFAULT_RATE = 25  # frames per second, if the file does not contain a rate


class Variant(NamedTuple):
    """One way of changing a video: a change of each frame, then H.264 encoding.

    `change`: function of a frame, (H, W, 3) uint8 RGB, and a random generator; `crf`: libx264's quality, 0 = lossless.
    """

    name: str  # of the file without its ending; also the video_id
    title: str
    crf: int  # libx264's constant rate factor: 0 is lossless, 23 the default, 51 the worst
    change: Callable[[np.ndarray, np.random.Generator], np.ndarray] = lambda frame, rng: frame


def halve(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Halve the height and width of an (H, W, 3) uint8 frame, by averaging pixels; `rng` is not used."""
    return cv2.resize(frame, (frame.shape[1] // 2, frame.shape[0] // 2), interpolation=cv2.INTER_AREA)


def blur(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur an (H, W, 3) uint8 frame; sigma is 2 pixels per 720 pixels of its shorter side. `rng` is not used."""
    return cv2.GaussianBlur(frame, (0, 0), BLUR_SIGMA * min(frame.shape[:2]) / REFERENCE_SIDE)


def add_noise(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise (sigma: 8 gray levels) from `rng` to every pixel and channel of an (H, W, 3) uint8 frame."""
    cv2.setRNGSeed(int(rng.integers(2**31)))
    noise = cv2.randn(np.empty(frame.shape, np.int16), np.zeros(3), np.full(3, NOISE_SIGMA))  # a tenth of NumPy's time
    return cv2.add(frame, noise, dtype=cv2.CV_8U)  # saturates at 0 and 255


VARIANTS = (
    Variant("unchanged", "unchanged excerpt", LOSSLESS),
    *(Variant(f"crf{crf}", f"H.264, CRF {crf}", crf) for crf in (23, 28, 33, 40)),
    Variant("half", "half size", FINE, halve),
    Variant("blurred", "blurred", FINE, blur),
    Variant("noisy", "noisy", FINE, add_noise),
)


def write_variants(path: Path, folder: Path, first_frame: int) -> list[Path]:
    """Cut an excerpt from video `path` and write one version of it per entry of `VARIANTS`; return the files.

    The excerpt begins at `first_frame` and has at most `EXCERPT_FRAMES` (150) frames. The files are
    `<folder>/<variant>.mkv`. Raise ValueError if the video cannot be read, or has no frame at or after `first_frame`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{variant.name}.mkv" for variant in VARIANTS]
    rng = np.random.default_rng(seed=0)
    writers: list[Callable[[np.ndarray], None]] = []
    progress = tqdm(desc="re-encode", unit="frame", mininterval=0.5)
    with VideoReader(path) as reader, ExitStack() as files, progress:
        rate = Fraction(reader.info.fps or DEFAULT_RATE).limit_denominator(1001)
        frames = reader.frames(lambda frame_index: frame_index >= first_frame)
        for frame in takewhile(lambda frame: frame.frame_index < first_frame + EXCERPT_FRAMES, frames):
            images = [_even(variant.change(frame.image, rng)) for variant in VARIANTS]
            if not writers:  # the sizes of the files are known only now
                for variant, file, image in zip(VARIANTS, paths, images, strict=True):
                    options = {"crf": str(variant.crf), "preset": "veryfast"}
                    writers.append(files.enter_context(video_writer(file, image.shape[:2], rate, options)))
            for write, image in zip(writers, images, strict=True):
                write(image)
            progress.update()
        progress.total = progress.n  # the number of frames was not known before
    if not writers:
        raise ValueError(f"{path.name} has no frame {first_frame}: choose an earlier start of the excerpt")
    return paths


def _even(image: np.ndarray) -> np.ndarray:
    """Cut off the last row and column if their number is odd: H.264 stores colour for blocks of 2 x 2 pixels."""
    return image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
