"""Black out part of a face, so that the network cannot rely on that part alone: the winner's "very hard" augmentation.

Input: a crop with its SSIM mask and landmarks. Output: the same with one region set to 0, drawn with the chances of
`SHARES`. Only pixels inside the crop can be cut; landmarks beyond its edge remove less, or nothing.
Source: the winner's published solution (S. Seferbekov, 2020). Departs from the winner's code:
- half face: there the convex hull of 68 landmarks of a second detector (dlib), from the brows to the chin; here an
  ellipse of that extent through the five stored landmarks, which needs no further detector.
- quadrants: there every pixel with a mask above 0 counted as forged, which is most of a compressed video; here pixels
  above `FORGED_LEVEL`. There five shapes were tried at random; here one of all suitable shapes is drawn, and nothing is
  cut if there is none. There the horizontal cut lay at half the width; here it lies at half the height. As
  there, nothing is cut of a fake without a mask.
- the mask is cut with the image (there only for quadrants), so that it shows the forged pixels that are still visible.
"""

import math

import cv2
import numpy as np

from dfdc_lib.records import FAKE, FaceExample

LANDMARK_CHANCE = 0.7  # winner: eyes, mouth or nose,
HULL_CHANCE = 0.2  # else half of the face,
QUADRANTS_CHANCE = 0.1  # else half of the image or two quadrants
TOSS = 0.5  # winner: eyes, else mouth, else nose, else nothing

SHARES = {
    "eyes": LANDMARK_CHANCE * TOSS,  # 35 %: a band around the line between the eyes
    "mouth": LANDMARK_CHANCE * TOSS**2,  # 17.5 %: a band around the line between the mouth corners
    "nose": LANDMARK_CHANCE * TOSS**3,  # 8.75 %: a band from between the eyes to the tip of the nose
    "half face": (1 - LANDMARK_CHANCE) * HULL_CHANCE,  # 6 %: the upper, lower, left or right half of the face
    # 2.4 %: half of the image or two opposite quadrants; some forged pixels remain
    "quadrants": (1 - LANDMARK_CHANCE) * (1 - HULL_CHANCE) * QUADRANTS_CHANCE,
    # 30.35 %: three tosses that chose no landmark, or no branch drawn
    "none": LANDMARK_CHANCE * TOSS**3 + (1 - LANDMARK_CHANCE) * (1 - HULL_CHANCE) * (1 - QUADRANTS_CHANCE),
}

NEED_MASK = {"quadrants"}  # the other regions do not depend on the mask

EYE_REACH, NOSE_REACH, MOUTH_REACH = 1 / 4, 1 / 4, 1 / 3  # winner: of the eyes' distance, of the mouth's width
LINE_THICKNESS = 2  # pixels; winner
FORGED_LEVEL = 102  # of 255; winner's 0.4
MIN_FORGED_PIXELS = 20  # winner: more than this many must remain

# The outline from the brows to the chin: an estimate from the proportions of an adult's face.
FACE_TOP, FACE_BOTTOM = -0.4, 1.75  # distance from the eyes; 1 = the mouth
FACE_WIDTH = 2.2  # of the distance between the eyes, or of eyes to mouth if that is longer (a turned head)


def draw_cutout(rng: np.random.Generator) -> str:
    """Return the name of a cut-out, drawn with the chances in `SHARES`; "none" cuts nothing."""
    return str(rng.choice(list(SHARES), p=list(SHARES.values())))


def apply_cutout(name: str, face: FaceExample, rng: np.random.Generator) -> FaceExample:
    """Return a copy of a face whose crop and mask are 0 in the region that `cutout_region` returns for `name`."""
    region = cutout_region(name, face, rng)
    crop, mask = face.crop.copy(), face.mask.copy()
    crop[region], mask[region] = 0, 0
    return face._replace(crop=crop, mask=mask)


def cut_out(face: FaceExample, rng: np.random.Generator) -> FaceExample:
    """Return a copy of a face with a cut-out drawn with the chances in `SHARES`; 30 % of the draws cut nothing."""
    return apply_cutout(draw_cutout(rng), face, rng)


def cutout_region(name: str, face: FaceExample, rng: np.random.Generator) -> np.ndarray:
    """Return where a cut-out sets pixels to 0: (H, W) bool; all False if nothing can be cut.

    `name` is a key of `SHARES`; `rng` chooses among the halves or quadrants. "quadrants" of a fake are cut only if more
    than `MIN_FORGED_PIXELS` forged pixels remain: never if its mask is unknown (all 0). Landmarks may be outside the
    crop. Raises ValueError for another name, a mask of another size than the crop, or landmarks that are not (5, 2).
    """
    shape, crop_shape = face.mask.shape, face.crop.shape[:2]
    points = np.asarray(face.landmarks, np.float64)
    if shape != crop_shape:
        raise ValueError(f"mask must have the crop's size {crop_shape}, got {shape}: use the same box for both")
    if points.shape != (5, 2):
        raise ValueError(f"landmarks must be (5, 2) x y (eyes, nose, mouth corners), got shape {points.shape}")
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    eye_distance = math.dist(left_eye, right_eye)
    match name:
        case "eyes":
            return _band(shape, left_eye, right_eye, EYE_REACH * eye_distance)
        case "mouth":
            return _band(shape, left_mouth, right_mouth, MOUTH_REACH * math.dist(left_mouth, right_mouth))
        case "nose":
            return _band(shape, (left_eye + right_eye) / 2, nose, NOSE_REACH * eye_distance)
        case "half face":
            return _half_face(face_region(shape, points), rng)
        case "quadrants":
            return _quadrants(face, rng)
        case "none":
            return np.zeros(shape, bool)
    raise ValueError(f"cut-out must be one of {', '.join(SHARES)}; got {name!r}")


def face_region(shape: tuple[int, ...], landmarks: np.ndarray) -> np.ndarray:
    """Return a bool array of `shape` (H, W), True in an ellipse from the brows to the chin.

    `landmarks`: (5, 2) in crop pixels.
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


def _band(shape: tuple[int, ...], start: np.ndarray, end: np.ndarray, reach: float) -> np.ndarray:
    """Return the pixels within `reach` of a line, in whole steps of city-block distance (the winner's dilation)."""
    background = np.ones(shape, np.uint8)
    cv2.line(background, (round(start[0]), round(start[1])), (round(end[0]), round(end[1])), 0, LINE_THICKNESS)
    if background.all():  # the line lies outside the crop
        return np.zeros(shape, bool)
    return cv2.distanceTransform(background, cv2.DIST_L1, 3) <= int(reach)


def _half_face(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one half of a region, divided at its centre of mass."""
    rows, columns = np.nonzero(region)
    if not len(rows):
        return region
    return region & _halves(region.shape, int(rows.mean()), int(columns.mean()))[rng.integers(4)]


def _quadrants(face: FaceExample, rng: np.random.Generator) -> np.ndarray:
    """Return half of the image or two opposite quadrants that do not cover all forged pixels of a fake."""
    shape, forged = face.mask.shape, face.mask > FORGED_LEVEL
    halves = _halves(shape, shape[0] // 2, shape[1] // 2)
    diagonal = halves[0] ^ halves[2]  # upper right and lower left
    regions = [*halves, diagonal, ~diagonal]
    if face.label == FAKE:
        regions = [region for region in regions if np.count_nonzero(forged & ~region) > MIN_FORGED_PIXELS]
    return regions[rng.integers(len(regions))] if regions else np.zeros(shape, bool)


def _halves(shape: tuple[int, ...], row: int, column: int) -> list[np.ndarray]:
    """Return the upper, lower, left and right part of an image, divided at a row and a column."""
    upper = np.broadcast_to(np.arange(shape[0])[:, None] < row, shape)
    left = np.broadcast_to(np.arange(shape[1]) < column, shape)
    return [upper, ~upper, left, ~left]
