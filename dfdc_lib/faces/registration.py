"""Find where a fake shows its original's picture: scale and shift, to a fraction of a pixel.

Input: small gray frames of both videos that show the same moments. Output: a `Transform` between them.
Source: least-squares image registration (Lucas and Kanade 1981), with the biweight of Beaton and Tukey 1974, which
ignores what differs: the face. Departs from the winner's code: there frames of different sizes are not aligned.
"""

import cv2
import numpy as np

from dfdc_lib.records import Transform

BIWEIGHT = 4.685  # standard deviations at which a pixel's weight becomes 0 (95 % efficiency for normal noise)
TO_DEVIATION = 1.4826  # median absolute deviation -> standard deviation of normal noise
NOISE = 0.3  # gray levels: least deviation, of rounding to whole levels
LEVELS = (4, 2, 1)  # the frames are first compared at a quarter of their size, to find large shifts
STEPS = 15  # at each level, at most
CONVERGED = 1e-3  # pixels


def warp(image: np.ndarray, transform: Transform, size: tuple[int, int]) -> np.ndarray:
    """Scale and shift an original's frame, (H, W, ...), to a fake's frame of `size` (h, w); return (h, w, ...).

    Parts of the fake's frame that the original does not show repeat the original's edge. A shift by whole pixels copies
    pixels exactly; if nothing changes, the result is `image` itself.
    """
    if transform == Transform() and image.shape[:2] == size:
        return image
    flags, border = cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
    return cv2.warpAffine(image, _matrix(transform), size[::-1], flags=flags, borderMode=border)


def covered(shape: tuple[int, int], transform: Transform, size: tuple[int, int]) -> np.ndarray:
    """Return which pixels of a fake's frame its original also shows: (h, w) uint8, 255 = shown, 0 = not.

    `shape` is the original's (height, width), `size` the fake's. Pixels at the border of either frame are 0, because
    interpolation lacks neighbours there.
    """
    inside = np.zeros(shape, np.uint8)
    inside[1:-1, 1:-1] = 255
    mask = np.where(cv2.warpAffine(inside, _matrix(transform), size[::-1]) == 255, np.uint8(255), np.uint8(0))
    mask[[0, -1]] = mask[:, [0, -1]] = 0
    return mask


def register(originals: np.ndarray, fakes: np.ndarray, start: Transform) -> Transform:
    """Return the transform that makes the original's frames most like the fake's, found by refining `start`.

    `originals` is (K, H, W) and `fakes` (K, h, w), both gray; frame k of both shows the same moment.
    """
    transform = start
    for level in LEVELS:
        ones, others = _reduced(originals, level), _reduced(fakes, level)
        sizes = [np.array(images.shape[1:]) for images in (ones, originals, others, fakes)]
        transform = rescaled(transform, sizes[0] / sizes[1], sizes[2] / sizes[3])
        for _ in range(STEPS):
            transform, moved = _step(ones, others, transform)
            if moved < CONVERGED:
                break
        transform = rescaled(transform, sizes[1] / sizes[0], sizes[3] / sizes[2])
    return transform


def rescaled(transform: Transform, original: np.ndarray, fake: np.ndarray) -> Transform:
    """Return the transform from original to fake that applies after both frames are resized.

    `transform` applies before. `original` and `fake` are the resize factors of the two frames, each (2,): y, x.
    """
    (y, x), (fake_y, fake_x) = original.tolist(), fake.tolist()
    scales = transform.scale_x * fake_x / x, transform.scale_y * fake_y / y
    return Transform(*scales, transform.offset_x * fake_x, transform.offset_y * fake_y)


def _reduced(images: np.ndarray, level: int) -> np.ndarray:
    height, width = (max(1, round(side / level)) for side in images.shape[1:])
    if level == 1:
        return images.astype(np.float32)
    return np.stack(
        [cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA) for image in images]
    )


def _step(originals: np.ndarray, fakes: np.ndarray, transform: Transform) -> tuple[Transform, float]:
    """Return the transform after one Gauss-Newton step, and by how many pixels a corner moved."""
    height, width = fakes.shape[1:]
    right, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))  # from the centre
    mask = covered(originals.shape[1:], transform, (height, width)) > 0
    matrix, vector = 1e-6 * np.eye(4), np.zeros(4)
    for original, fake in zip(originals, fakes, strict=True):
        moved, residual, weights = _compare(warp(original, transform, fake.shape), fake, mask)
        slope_y, slope_x = np.gradient(moved)
        columns = -np.stack([slope_x * right, slope_x, slope_y * down, slope_y]).reshape(4, -1)
        weighted = columns * weights.ravel()
        matrix += weighted @ columns.T
        vector += weighted @ residual.ravel()
    grow_x, move_x, grow_y, move_y = np.linalg.solve(matrix, vector)  # pixels; grow: at the edges
    scale_x, scale_y = 1 + 2 * grow_x / width, 1 + 2 * grow_y / height
    x, y = scale_x * transform.offset_x + move_x - grow_x, scale_y * transform.offset_y + move_y - grow_y
    refined = Transform(scale_x * transform.scale_x, scale_y * transform.scale_y, float(x), float(y))
    return refined, float(max(abs(grow_x) + abs(move_x), abs(grow_y) + abs(move_y)))


def _compare(moved: np.ndarray, fake: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the original's frame with the fake's brightness and contrast, what still differs, and the weights."""
    contrast, brightness = _line(moved[mask].astype(float), fake[mask].astype(float)) if mask.any() else (1.0, 0.0)
    moved = contrast * moved + brightness
    residual = fake - moved
    deviation = NOISE + (TO_DEVIATION * np.median(np.abs(residual[mask])) if mask.any() else 0)
    weights = np.clip(1 - (residual / (BIWEIGHT * deviation)) ** 2, 0, None) ** 2 / deviation**2
    return moved, residual, np.where(mask, weights, 0)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line; slope 1 if all x are equal. A tenth of polyfit's time."""
    mean_x, mean_y = x.mean(), y.mean()
    x, y = x - mean_x, y - mean_y
    variance = x @ x
    slope = (x @ y) / variance if variance else 1.0
    return slope, mean_y - slope * mean_x


def _matrix(transform: Transform) -> np.ndarray:
    """Return OpenCV's matrix: it places a pixel's centre at whole numbers, the kit at halves."""
    scale_x, scale_y, x, y = transform
    return np.array([[scale_x, 0, x + (scale_x - 1) / 2], [0, scale_y, y + (scale_y - 1) / 2]])
