"""Drawing on pixel arrays: an image in, a new image out.

For what has to stay in pixels: boxes and landmarks on a frame, a mask in colour over a crop. Images are (H, W, 3) uint8 RGB. OpenCV draws
them; no figure is involved. Colours: Okabe & Ito 2008, "Color Universal Design", safe for colour-blind eyes.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from dfdc_lib.records import Box, Face

FACE_COLOUR = (240, 228, 66)  # RGB, Okabe-Ito yellow: boxes and landmarks
REAL_COLOUR = (0, 114, 178)  # RGB, Okabe-Ito blue
CHANGED_COLOUR = (213, 94, 0)  # RGB, the fake's vermillion: changed pixels in an overlay
OVERLAY_COVER = 0.6  # share of a pixel that a full mask or the strongest heat covers


def fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink an image that is larger than (height, width), keeping its proportions; a smaller one stays as it is."""
    scale = min(height / image.shape[0], width / image.shape[1], 1.0)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def overlay_mask(fake: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Colour the changed pixels of a fake crop; the crop below is gray, so that skin does not compete with the colour.

    Args:
        fake: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8; 0 = unchanged.
    Returns:
        (H, W, 3) uint8 RGB; where the mask is 255 the colour covers `OVERLAY_COVER`.
    Raises:
        ValueError: if mask and crop differ in size.
    """
    if mask.shape != fake.shape[:2]:
        raise ValueError(
            f"the mask must have the size of its crop {fake.shape[:2]}, got {mask.shape}: cut both with the same box"
        )
    gray = np.asarray(cv2.cvtColor(fake, cv2.COLOR_RGB2GRAY), np.float32)[..., None]
    strength = np.float32(OVERLAY_COVER / 255) * mask[..., None]
    return np.rint(gray + (np.array(CHANGED_COLOUR, np.float32) - gray) * strength).astype(np.uint8)


def overlay_heat(crop: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay a heat map over a crop: nothing where there is no heat, and from dark red to yellow the more there is.

    Args:
        crop: (H, W, 3) uint8 RGB.
        heat: (H, W) in 0–1.
    Returns:
        (H, W, 3) uint8 RGB; a pixel without heat is the crop's, where the heat is 1 its colour covers `OVERLAY_COVER`.
    Raises:
        ValueError: if heat map and crop differ in size.
    Source:
        The colours are matplotlib's inferno (S. van der Walt, N. Smith 2015), in which equal steps look equal.
    """
    if heat.shape != crop.shape[:2]:
        raise ValueError(
            f"the heat map must have the size of its crop {crop.shape[:2]}, got {heat.shape}: make it of the same crop"
        )
    levels = np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB).astype(np.float32)
    strength = OVERLAY_COVER * np.clip(heat, 0, 1)[..., None].astype(np.float32)
    return np.rint(crop + (colours - crop) * strength).astype(np.uint8)


def draw_faces(image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """Draw boxes, landmarks and confidences so large that a shrunken frame still shows them.

    Args:
        image: (H, W, 3) uint8 RGB frame; it is not changed.
        faces: boxes and landmarks in pixels of this frame.
    Returns:
        (H, W, 3) uint8 RGB copy.
    """
    drawn = np.ascontiguousarray(image).copy()
    wider = max(image.shape[:2])
    line = max(1, round(wider / 200))
    scale = max(0.35, wider / 750)  # of OpenCV's font, whose capitals are 22 pixels high at 1
    for face in faces:
        x0, y0, x1, y1 = (round(value) for value in face.box)
        cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), FACE_COLOUR, line)
        radius = max(1, min(line, round((x1 - x0) / 15)))  # dots of a small face must not run together
        for x, y in face.landmarks:
            cv2.circle(drawn, (round(x), round(y)), radius + max(1, radius // 3), (0, 0, 0), -1)
            cv2.circle(drawn, (round(x), round(y)), radius, FACE_COLOUR, -1)
        _draw_confidence(drawn, f"{face.confidence:.2f}", (x0, y0, y1), scale, line)
    return drawn


def draw_score(image: np.ndarray, box: Box, score: float) -> np.ndarray:
    """Draw one face's box and its score, in the colour of fakes from ½ on, else of reals.

    Args:
        image: (H, W, 3) uint8 RGB frame; it is not changed.
        box: in pixels of this frame.
        score: P(fake), 0–1.
    Returns:
        (H, W, 3) uint8 RGB copy.
    """
    drawn = np.ascontiguousarray(image).copy()
    wider = max(image.shape[:2])
    line = max(1, round(wider / 200))
    x0, y0, x1, y1 = (round(value) for value in box)
    cv2.rectangle(drawn, (x0, y0), (x1 - 1, y1 - 1), CHANGED_COLOUR if score >= 0.5 else REAL_COLOUR, line)
    _draw_confidence(drawn, f"{score:.2f}", (x0, y0, y1), max(0.35, wider / 750), line)
    return drawn


def _draw_confidence(image: np.ndarray, text: str, place: tuple[int, int, int], scale: float, line: int) -> None:
    """Write yellow on black above a box, given as x0, y0, y1; below it where there is no room above."""
    stroke = max(1, round(line / 2))
    (text_width, text_height), descent = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)
    width, height = text_width + 2 * line, text_height + descent + line
    x0, y0, y1 = place
    left = min(max(0, x0), max(0, image.shape[1] - width))
    top = y0 - line - height if y0 - line >= height else y1 + line
    cv2.rectangle(image, (left, top), (left + width, top + height), (0, 0, 0), -1)
    cv2.putText(
        image,
        text,
        (left + line, top + height - descent),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        FACE_COLOUR,
        stroke,
        cv2.LINE_AA,
    )
