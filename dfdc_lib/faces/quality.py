"""Is a face fit to be judged? Its sharpness, and how far it is turned away: a crop or five landmarks in, one number out.

Source: variance of the Laplacian: Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548.
"""

import cv2
import numpy as np

from dfdc_lib.records import Landmarks

SHARPNESS_SIDE = (
    112  # pixels: every crop's longer side is brought to it, so that a large face is not sharper than a small one
)
MOST_TURN = 10.0  # what eyes at one point count as; JSON has no infinity


def sharpness(crop: np.ndarray) -> float:
    """Measure the fine detail of a crop.

    Args:
        crop: (H, W, 3) uint8 RGB, not empty.
    Returns:
        The variance of the Laplacian of its gray values, at `SHARPNESS_SIDE` pixels; 0 for one colour, over 100 for a sharp face.
    """
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    scale = SHARPNESS_SIDE / max(gray.shape)
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    resized = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return float(cv2.Laplacian(resized, cv2.CV_32F).var())


def turn(landmarks: Landmarks) -> float:
    """Measure how far a face is turned to the side.

    Args:
        landmarks: left eye, right eye, nose, mouth corners; x, y in pixels.
    Returns:
        How far the nose lies from the middle between the eyes, along the line through them, in distances between the eyes: 0 seen from the
        front, ½ where the nose is before one eye (about 40 degrees), more towards a profile, at most `MOST_TURN`.
    """
    left, right, nose = (np.array(point) for point in landmarks[:3])
    across = right - left
    distance = float(across @ across)
    return min(MOST_TURN, abs(float((nose - (left + right) / 2) @ across)) / distance) if distance else MOST_TURN
