"""Pictures of one crop, mask, frame or score: arrays in, PNG bytes out, for a viewer to show at once.

Each picture of a kind has one size, so that nothing jumps when the next one comes. OpenCV draws them: matplotlib is too slow for a slider.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from dfdc_lib.records import Box, Face
from dfdc_lib.viz.draw import draw_faces, draw_score, fit, overlay_mask
from dfdc_lib.viz.style import LABEL_COLOURS, label_name

CROP_SIDE, PANEL_SIDE = 480, 280  # pixels
FRAME_SIZE = (720, 1280)  # height, width: no larger frame goes to the browser
CAPTION_HEIGHT, BORDER = 36, 8  # pixels


def render_crop(crop: np.ndarray, label: int | None, confidence: float) -> bytes:
    """Draw one crop with its label's colour around it and its confidence below.

    Args:
        crop: (H, W, 3) uint8 RGB.
        label: 0 real, 1 fake, None or NaN unknown.
        confidence: the detector's, 0–1.
    Returns:
        PNG of `CROP_SIDE` plus borders and caption, whatever the crop's size.
    """
    name = label_name(label)
    red, green, blue = (int(LABEL_COLOURS[name][start : start + 2], 16) for start in (1, 3, 5))
    square = _on_square(crop, CROP_SIDE)
    framed = cv2.copyMakeBorder(square, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_CONSTANT, value=(red, green, blue))
    return _png(_captioned(framed, f"{name}, confidence {confidence:.3f}"))


def render_masks(original: np.ndarray, fake: np.ndarray, ssim_map: np.ndarray, mask: np.ndarray) -> bytes:
    """Draw original | fake | SSIM map | mask | overlay in one strip.

    Args:
        original: (H, W, 3) uint8 RGB.
        fake: same shape.
        ssim_map: (H, W) in −1…1; dark violet −1, yellow 1.
        mask: (H, W) uint8; 0 = unchanged.
    Returns:
        PNG of five panels of `PANEL_SIDE` pixels with captions.
    """
    levels = np.rint((np.clip(ssim_map, -1, 1) + 1) * 127.5).astype(np.uint8)
    coloured = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    panels = {
        "original": original,
        "fake": fake,
        f"SSIM, mean {float(np.mean(ssim_map)):.2f}": coloured,
        "mask": cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB),
        "overlay": overlay_mask(fake, mask),
    }
    return _png(np.hstack([_captioned(_on_square(image, PANEL_SIDE), text) for text, image in panels.items()]))


def render_frame(image: np.ndarray, faces: Sequence[Face]) -> bytes:
    """Draw one frame with its faces.

    Args:
        image: (H, W, 3) uint8 RGB.
        faces: boxes and landmarks in pixels of this frame.
    Returns:
        PNG, no larger than `FRAME_SIZE`.
    """
    return _png(fit(draw_faces(image, faces), *FRAME_SIZE))


def render_prediction(image: np.ndarray, box: Box, score: float) -> bytes:
    """Draw one frame with one face's box and score.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: in pixels of this frame.
        score: P(fake), 0–1.
    Returns:
        PNG, no larger than `FRAME_SIZE`.
    """
    return _png(fit(draw_score(image, box, score), *FRAME_SIZE))


def render_augmentation(
    before: np.ndarray, before_mask: np.ndarray, after: np.ndarray, after_mask: np.ndarray
) -> bytes:
    """Draw a crop before | after and its mask before | after in one strip.

    Args:
        before: (H, W, 3) uint8 RGB.
        before_mask: (H, W) uint8; 0 = unchanged.
        after: as `before`, of any size.
        after_mask: as `before_mask`, of the size of `after`.
    Returns:
        PNG of four panels of `PANEL_SIDE` pixels with captions.
    """
    masks = (cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB) for mask in (before_mask, after_mask))
    captions = ("before", "after", "mask before", "mask after")
    panels = zip((before, after, *masks), captions, strict=True)
    return _png(np.hstack([_captioned(_on_square(image, PANEL_SIDE), text) for image, text in panels]))


# Parts -------------------------------------------------------------------------------------------------------------------------------
def _on_square(image: np.ndarray, side: int) -> np.ndarray:
    """Scale an image into a white square, in its own proportions."""
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square = np.full((side, side, 3), 255, np.uint8)
    square[top : top + size[1], left : left + size[0]] = scaled
    return square


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    below = np.full((CAPTION_HEIGHT, image.shape[1], 3), 255, np.uint8)
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.75, 1)
    start = (max(0, image.shape[1] - width) // 2, CAPTION_HEIGHT - 11)
    cv2.putText(below, text, start, cv2.FONT_HERSHEY_SIMPLEX, 0.75, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([image, below])


def _png(image: np.ndarray) -> bytes:
    encoded, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"OpenCV could not encode an image of shape {image.shape}, dtype {image.dtype}")
    return content.tobytes()
