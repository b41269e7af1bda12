"""Make changed versions of a face in a video: re-encoded, shrunk, blurred, noisy. Does an answer survive these changes?

Input: a video, the first frame of an excerpt, and the part of the picture that the face needs. Output: one H.264 file
for each of `VARIANTS`, written in one pass, so that memory stays constant and a long video is decoded once.
Only that part is changed and encoded: the rest of the frame does not affect the face's score. All frames of the excerpt
are, because H.264 predicts a frame from its neighbours.
Source: the changes that the slides' augmentation imitates (JPEG, blur, noise, downscaling), made with a real encoder.
"""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm.std import tqdm

from dfdc_lib.data.video import VideoReader, video_writer
from dfdc_lib.faces.crops import cut
from dfdc_lib.records import Area

CONTEXT, BLOCK = 32, 16  # pixels around the crops; side of an encoder's block
EXCERPT_FRAMES = 150  # five seconds at 30 frames per second: half a DFDC video
BLUR_SIGMA = 2.0  # pixels, in a frame whose shorter side is REFERENCE_SIDE
REFERENCE_SIDE = 720
NOISE_SIGMA = 8.0  # gray levels
LOSSLESS, FINE = 0, 18  # CRF: no loss; a loss that is hardly visible
DEFAULT_RATE = 25  # frames per second, if the file does not contain a rate


class Variant(NamedTuple):
    """One way of changing a video: a change of each frame, then H.264 encoding.

    `change`: function of a part of a frame, (H, W, 3) uint8 RGB, a random generator, and the shorter side of the whole
    frame; `crf`: libx264's quality, 0 = lossless; `scale`: side of the result divided by that of the input.
    """

    name: str  # of the file without its ending; also the video_id
    title: str
    crf: int  # libx264's constant rate factor: 0 is lossless, 23 the default, 51 the worst
    change: Callable[[np.ndarray, np.random.Generator, int], np.ndarray] = lambda image, rng, side: image
    scale: float = 1.0


def halve(image: np.ndarray, rng: np.random.Generator, side: int) -> np.ndarray:
    """Halve the height and width of an (H, W, 3) uint8 image, by averaging pixels; nothing else is used."""
    return cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)


def blur(image: np.ndarray, rng: np.random.Generator, side: int) -> np.ndarray:
    """Blur an (H, W, 3) uint8 image; sigma is 2 pixels per 720 pixels of the frame's shorter `side`."""
    return cv2.GaussianBlur(image, (0, 0), BLUR_SIGMA * side / REFERENCE_SIDE)


def add_noise(image: np.ndarray, rng: np.random.Generator, side: int) -> np.ndarray:
    """Add Gaussian noise (sigma: 8 gray levels) from `rng` to every pixel and channel of an (H, W, 3) uint8 image."""
    cv2.setRNGSeed(int(rng.integers(2**31)))
    noise = cv2.randn(np.empty(image.shape, np.int16), np.zeros(3), np.full(3, NOISE_SIGMA))  # a tenth of NumPy's time
    return cv2.add(image, noise, dtype=cv2.CV_8U)  # saturates at 0 and 255


VARIANTS = (
    Variant("unchanged", "unchanged excerpt", LOSSLESS),
    *(Variant(f"crf{crf}", f"H.264, CRF {crf}", crf) for crf in (23, 28, 33, 40)),
    Variant("half", "half size", FINE, halve, scale=0.5),
    Variant("blurred", "blurred", FINE, blur),
    Variant("noisy", "noisy", FINE, add_noise),
)


def part_around(areas: Iterable[Area], frame_height: int, frame_width: int) -> Area:
    """Return the part of a frame that contains all `areas`, of crops, with `CONTEXT` pixels around them.

    Its left and upper edges are multiples of 16 pixels, so that the encoder's blocks lie as in the whole frame; its
    height and width are even, because H.264 stores colour for blocks of 2 x 2 pixels.
    """
    x0, y0, x1, y1 = (np.array(list(areas)).T + np.array([[-CONTEXT], [-CONTEXT], [CONTEXT], [CONTEXT]])).tolist()
    left, top = (max(0, min(edges) // BLOCK * BLOCK) for edges in (x0, y0))
    width, height = min(frame_width, max(x1)) - left, min(frame_height, max(y1)) - top
    return left, top, left + width // 2 * 2, top + height // 2 * 2


def write_variants(path: Path, folder: Path, first_frame: int, part: Area) -> list[Path]:
    """Cut an excerpt from video `path` and write one version of it per entry of `VARIANTS`; return the files.

    The excerpt begins at `first_frame`, has at most `EXCERPT_FRAMES` (150) frames, and shows `part` of the picture, of
    even height and width. The files are `<folder>/<variant>.mkv`. Raise ValueError if the video cannot be read, or has
    no frame at or after `first_frame`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{variant.name}.mkv" for variant in VARIANTS]
    indices = range(first_frame, first_frame + EXCERPT_FRAMES)
    rng, height, width = np.random.default_rng(seed=0), part[3] - part[1], part[2] - part[0]
    progress = tqdm(desc="re-encode", unit="frame", mininterval=0.5)
    with VideoReader(path) as reader, ExitStack() as files, ThreadPoolExecutor(len(VARIANTS)) as threads, progress:
        rate = Fraction(reader.info.fps or DEFAULT_RATE).limit_denominator(1001)
        side = min(reader.info.height, reader.info.width)
        writers = []
        for variant, file in zip(VARIANTS, paths, strict=True):
            size = (int(variant.scale * height) // 2 * 2, int(variant.scale * width) // 2 * 2)
            writers.append(files.enter_context(video_writer(file, size, rate, _options(variant))))

        def write(number: int, image: np.ndarray) -> None:
            writers[number](_even(VARIANTS[number].change(image, rng, side)))

        for frame in reader.frames_at(indices):
            changes = threads.map(partial(write, image=cut(frame.image, part)), range(len(VARIANTS)))
            deque(changes, maxlen=0)  # wait for all; encoders release the GIL
            progress.update()
        progress.total = progress.n  # the number of frames was not known before
    if not progress.n:
        raise ValueError(f"{path.name} has no frame {first_frame}: choose an earlier start of the excerpt")
    return paths


def _options(variant: Variant) -> dict[str, str]:
    """Return libx264's options: one thread each, because all variants are encoded at once."""
    return {"crf": str(variant.crf), "preset": "veryfast" if variant.crf else "ultrafast", "threads": "1"}


def _even(image: np.ndarray) -> np.ndarray:
    """Cut off the last row and column if their number is odd: H.264 stores colour for blocks of 2 x 2 pixels."""
    return image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
