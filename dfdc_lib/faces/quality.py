"""Measure whether a face can be judged: how sharp it is, and how far it is turned to the side.

Input: a crop, or five landmarks. Output: one number.
Source: variance of the Laplacian, Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548.
"""

import cv2
import numpy as np

from dfdc_lib.records import Landmarks

SHARPNESS_SIDE = 112  # pixels: crops are resized to this longer side, so that sharpness does not depend on their size
MOST_TURN = 10.0  # returned if both eyes are at one point; JSON has no infinity


def sharpness(crop: np.ndarray) -> float:
    """Return the variance of the Laplacian of an (H, W, 3) uint8 RGB crop: 0 for one colour, over 100 for a sharp face.

    The crop must not be empty. Its longer side is first resized to `SHARPNESS_SIDE` (112) pixels.
    """
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    scale = SHARPNESS_SIDE / max(gray.shape)
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    resized = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return float(cv2.Laplacian(resized, cv2.CV_32F).var())


def turn(landmarks: Landmarks) -> float:
    """Return how far a face is turned to the side.

    The value is the distance of the nose from the midpoint between the eyes, measured along the line through the eyes,
    in units of the distance between the eyes: 0 for a frontal face, 0.5 if the nose is in front of one eye (about 40
    degrees), larger towards a profile, at most `MOST_TURN`.
    """
    left, right, nose = (np.array(point) for point in landmarks[:3])
    across = right - left
    distance = float(across @ across)
    return min(MOST_TURN, abs(float((nose - (left + right) / 2) @ across)) / distance) if distance else MOST_TURN
