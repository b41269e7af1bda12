"""Draw boxes and landmarks on a frame, masks and heat maps over a crop.

Images are (H, W, 3) uint8 RGB; the input is not changed. An overlay of another size than its crop raises ValueError.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from dfdc_lib.records import Box, Face
from dfdc_lib.viz import style

FACE_COLOUR = style.rgb(style.YELLOW)  # boxes, landmarks, text
REAL_COLOUR = style.rgb(style.REAL_COLOUR)
CHANGED_COLOUR = style.rgb(style.FAKE_COLOUR)  # changed pixels in an overlay
OVERLAY_COVER = 0.6  # opacity where the mask is 255 or the heat is 1
FAKE_SCORE = 0.5  # a score from here on has the colour of fakes
FONT = cv2.FONT_HERSHEY_SIMPLEX


def fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image shrunk, without distortion, to at most (height, width); a smaller one is returned as it is.

    `image`: (H, W) or (H, W, 3) uint8.
    """
    scale = min(height / image.shape[0], width / image.shape[1], 1.0)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def colour_ssim(ssim_map: np.ndarray) -> np.ndarray:
    """Return an SSIM map, (H, W) in -1..1, as (H, W, 3) uint8 RGB: -1 is dark violet, 1 is yellow."""
    # Source of the colours: matplotlib's viridis (S. van der Walt, N. Smith 2015), which is perceptually uniform.
    levels = np.rint((np.clip(ssim_map, -1, 1) + 1) * 127.5).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def overlay_mask(fake: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the crop in gray with its changed pixels in colour; mask: (H, W) uint8, 0 = unchanged.

    `fake`: the crop, (H, W, 3) uint8 RGB.
    """
    gray = np.asarray(cv2.cvtColor(fake, cv2.COLOR_RGB2GRAY), np.float32)[..., None]
    return _blend(gray, np.array(CHANGED_COLOUR, np.float32), np.float32(OVERLAY_COVER / 255) * mask)


def overlay_heat(crop: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return the crop with a heat map (H, W) in 0-1 over it, from transparent (0) through dark red to yellow (1).

    `crop`: (H, W, 3) uint8 RGB.
    """
    # Source of the colours: matplotlib's inferno (S. van der Walt, N. Smith 2015), which is perceptually uniform.
    heat = np.clip(heat, 0, 1)
    colours = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    colours = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB).astype(np.float32)
    return _blend(crop, colours, OVERLAY_COVER * heat.astype(np.float32))


def draw_faces(image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """Return a copy of a frame with boxes, landmarks and confidences; lines are thicker in larger frames.

    `image`: the frame, (H, W, 3) uint8 RGB; boxes and landmarks are in its pixels.
    """
    drawn = np.ascontiguousarray(image).copy()
    for face in faces:
        _draw_box(drawn, face.box, FACE_COLOUR, f"{face.confidence:.2f}")
        width = round(face.box[2]) - round(face.box[0])
        radius = max(1, min(_line_width(drawn), round(width / 15)))  # dots of a small face must not touch
        for x, y in face.landmarks:
            cv2.circle(drawn, (round(x), round(y)), radius + max(1, radius // 3), (0, 0, 0), -1)
            cv2.circle(drawn, (round(x), round(y)), radius, FACE_COLOUR, -1)
    return drawn


def draw_score(image: np.ndarray, box: Box, score: float) -> np.ndarray:
    """Return a copy of a frame with one box and its score; from `FAKE_SCORE` on, the box has the colour of fakes.

    `image`: the frame, (H, W, 3) uint8 RGB. `box` is in its pixels; the score is 0-1.
    """
    drawn = np.ascontiguousarray(image).copy()
    _draw_box(drawn, box, CHANGED_COLOUR if score >= FAKE_SCORE else REAL_COLOUR, f"{score:.2f}")
    return drawn


def _blend(base: np.ndarray, colour: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    if opacity.shape != base.shape[:2]:
        raise ValueError(f"the overlay must have the size of its crop, {base.shape[:2]}, got {opacity.shape}")
    return np.rint(base + (colour - base) * opacity[..., None]).astype(np.uint8)


def _line_width(image: np.ndarray) -> int:
    return max(1, round(max(image.shape[:2]) / 200))


def _draw_box(image: np.ndarray, box: Box, colour: Sequence[int], text: str) -> None:
    """Draw a box, and yellow text on black above it, or below it if there is no space above."""
    line = _line_width(image)
    stroke = max(1, round(line / 2))
    scale = max(0.35, max(image.shape[:2]) / 750)  # at 1, capitals are 22 pixels high
    x0, y0, x1, y1 = (round(value) for value in box)
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), colour, line)
    (text_width, text_height), descent = cv2.getTextSize(text, FONT, scale, stroke)
    width, height = text_width + 2 * line, text_height + descent + line
    left = min(max(0, x0), max(0, image.shape[1] - width))
    top = y0 - line - height if y0 - line >= height else y1 + line
    cv2.rectangle(image, (left, top), (left + width, top + height), (0, 0, 0), -1)
    cv2.putText(image, text, (left + line, top + height - descent), FONT, scale, FACE_COLOUR, stroke, cv2.LINE_AA)
