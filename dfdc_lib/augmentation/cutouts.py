"""The winner's "very hard" augmentation: black out a part of the face, so that the network cannot rely on that part alone.

A crop, its SSIM mask and its five landmarks in; the same with a region in black out. One of these is drawn per crop:

| cut-out    | what goes black                                                  | chance                                                |
| ---------- | ---------------------------------------------------------------- | ----------------------------------------------------- |
| eyes       | a band around the line between the eyes                          | .7 · ½ = 35 %                                         |
| mouth      | a band around the line between the mouth's corners               | .7 · ½ · ½ = 17.5 %                                   |
| nose       | a band from between the eyes to the tip of the nose              | .7 · ½ · ½ · ½ = 8.75 %                               |
| half face  | the upper, lower, left or right half of the face                 | .3 · .2 = 6 %                                         |
| quadrants  | half of the image or two opposite quadrants; forged pixels stay  | .3 · .8 · .1 = 2.4 %                                  |
| none       | nothing: three tosses that chose no landmark, or nothing drawn   | .7 · ½ · ½ · ½ + .3 · .8 · .9 = 30.35 %               |

What lies outside of the crop cannot be cut: with landmarks beyond its edge less goes black, or nothing.

Source: the winner's published solution (S. Seferbekov, 2020), known as facts. Departs from it:
half face: there the convex hull of 68 landmarks of a second detector (dlib), from the brows to the chin; here an ellipse of that extent,
laid through the five landmarks that are stored anyway; nothing more has to be installed or detected.
quadrants: there "forged pixels stay" counted every pixel whose mask was not 0, which is most of a compressed video; here those above
`FORGED_LEVEL`. There five shapes were tried by chance; here one is drawn among all that fit, and where none fits nothing is cut. There the
horizontal cut lay at half the width; here at half the height.
The mask goes black with the image (there only for quadrants): it keeps marking the forged pixels that can still be seen.
"""

import math

import cv2
import numpy as np

LANDMARK_CHANCE = 0.7  # winner: eyes, mouth or nose …
HULL_CHANCE = 0.2  # … otherwise half of the face …
QUADRANTS_CHANCE = 0.1  # … otherwise half of the image or two quadrants
TOSS = 0.5  # winner: eyes? else mouth? else nose?

SHARES = {
    "eyes": LANDMARK_CHANCE * TOSS,
    "mouth": LANDMARK_CHANCE * TOSS**2,
    "nose": LANDMARK_CHANCE * TOSS**3,
    "half face": (1 - LANDMARK_CHANCE) * HULL_CHANCE,
    "quadrants": (1 - LANDMARK_CHANCE) * (1 - HULL_CHANCE) * QUADRANTS_CHANCE,
    "none": LANDMARK_CHANCE * TOSS**3 + (1 - LANDMARK_CHANCE) * (1 - HULL_CHANCE) * (1 - QUADRANTS_CHANCE),
}

EYE_REACH, NOSE_REACH, MOUTH_REACH = (
    1 / 4,
    1 / 4,
    1 / 3,
)  # winner: of the eyes' distance (eyes, nose), of the mouth's width
LINE_THICKNESS = 2  # pixels; winner
FORGED_LEVEL = 102  # of 255; winner's 0.4
MIN_FORGED_PIXELS = 20  # winner: more than this many must stay

# The outline from the brows to the chin, in a face's own lengths (own estimate from the proportions of an adult's face).
FACE_TOP = -0.4  # of the way from the eyes to the mouth, from the eyes
FACE_BOTTOM = 1.75
FACE_WIDTH = 2.2  # of the eyes' distance; a turned head: of the way from the eyes to the mouth, whichever is longer


def draw_cutout(rng: np.random.Generator) -> str:
    """Draw the name of a cut-out with the chances of `SHARES`; "none" is one of them."""
    return str(rng.choice(list(SHARES), p=list(SHARES.values())))


def cutout_region(name: str, mask: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give the pixels that a cut-out makes black.

    Args:
        name: a key of `SHARES`.
        mask: (H, W) uint8 SSIM mask; all 0 for a real face, of which any half or quadrants may go.
        landmarks: (5, 2) x, y in pixels of the crop; they may lie outside of it.
        rng: which half, which quadrants.
    Returns:
        (H, W) bool; all False for "none", and where nothing can be cut.
    Raises:
        ValueError: for an unknown name, or landmarks that are not five points.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2):
        raise ValueError(f"landmarks must be (5, 2) x y (eyes, nose, corners of the mouth), got shape {points.shape}")
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    eye_distance = math.dist(left_eye, right_eye)
    match name:
        case "eyes":
            return _band(mask.shape, left_eye, right_eye, int(EYE_REACH * eye_distance))
        case "mouth":
            return _band(mask.shape, left_mouth, right_mouth, int(MOUTH_REACH * math.dist(left_mouth, right_mouth)))
        case "nose":
            return _band(mask.shape, (left_eye + right_eye) / 2, nose, int(NOSE_REACH * eye_distance))
        case "half face":
            return _half(face_region(mask.shape, points), rng)
        case "quadrants":
            return _quadrants(mask, rng)
        case "none":
            return np.zeros(mask.shape, bool)
    raise ValueError(f"a cut-out is one of {', '.join(SHARES)}; got {name!r}")


def apply_cutout(
    name: str, image: np.ndarray, mask: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Black out one region of a crop and of its mask.

    Args:
        name: a key of `SHARES`.
        image: (H, W, 3) uint8 RGB; it is not changed.
        mask: (H, W) uint8; it is not changed.
        landmarks: (5, 2) x, y in pixels of the crop.
        rng: which half, which quadrants.
    Returns:
        Image and mask, copies of the same shapes and dtypes.
    Raises:
        ValueError: if the mask has not the crop's size, and as `cutout_region`.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(
            f"the mask must have the size of its crop {image.shape[:2]}, got {mask.shape}: cut both with the same box"
        )
    region = cutout_region(name, mask, landmarks, rng)
    return np.where(region[..., None], np.uint8(0), image), np.where(region, np.uint8(0), mask)


def cut_out(image: np.ndarray, mask: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a cut-out and apply it: `draw_cutout`, then the image of `apply_cutout`."""
    return apply_cutout(draw_cutout(rng), image, mask, landmarks, rng)[0]


def face_region(shape: tuple[int, ...], landmarks: np.ndarray) -> np.ndarray:
    """Give the face from the brows to the chin: an ellipse through what five landmarks tell.

    Args:
        shape: (H, W) of the crop.
        landmarks: (5, 2) x, y in pixels of the crop.
    Returns:
        (H, W) bool.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    across, down = landmarks[1] - landmarks[0], mouth - eyes
    length = float(np.hypot(*down))
    half_width = FACE_WIDTH / 2 * max(float(np.hypot(*across)), length)
    half_height = (FACE_BOTTOM - FACE_TOP) / 2 * length
    x, y = eyes + (FACE_TOP + FACE_BOTTOM) / 2 * down
    tilt = math.degrees(math.atan2(across[1], across[0]))
    canvas = np.zeros(shape, np.uint8)
    cv2.ellipse(canvas, (round(x), round(y)), (round(half_width), round(half_height)), tilt, 0, 360, 1, -1)
    return canvas == 1


def _band(shape: tuple[int, ...], start: np.ndarray, end: np.ndarray, reach: int) -> np.ndarray:
    """Grow the line between two points by `reach` pixels, up and down and sideways (city-block distance, as the winner's dilation)."""
    background = np.ones(shape, np.uint8)
    cv2.line(background, (round(start[0]), round(start[1])), (round(end[0]), round(end[1])), 0, LINE_THICKNESS)
    if background.all():  # the line lies outside of the crop
        return np.zeros(shape, bool)
    return cv2.distanceTransform(background, cv2.DIST_L1, 3) <= reach


def _half(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Keep the upper, lower, left or right half of a region, cut through its centre of mass."""
    rows, columns = np.nonzero(region)
    if not len(rows):
        return region
    upper = np.arange(region.shape[0])[:, None] < int(rows.mean())
    left = np.arange(region.shape[1])[None, :] < int(columns.mean())
    return region & (upper, ~upper, left, ~left)[rng.integers(4)]


def _quadrants(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose a half of the image or two opposite quadrants, so that forged pixels stay where there are any."""
    height, width = mask.shape
    upper = np.arange(height)[:, None] < height // 2
    left = np.arange(width)[None, :] < width // 2
    regions = [np.broadcast_to(half, mask.shape) for half in (upper, ~upper, left, ~left)] + [
        upper ^ left,
        ~(upper ^ left),
    ]
    forged = mask > FORGED_LEVEL
    if forged.any():
        regions = [region for region in regions if np.count_nonzero(forged & ~region) > MIN_FORGED_PIXELS]
    return regions[rng.integers(len(regions))] if regions else np.zeros(mask.shape, bool)
