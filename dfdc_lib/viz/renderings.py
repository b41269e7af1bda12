"""Pictures for the viewers: arrays of one crop, mask, frame or score in, PNG bytes out.

All pictures of one kind have the same size, so that the page does not move when a slider does; only frames have the
size of their video. OpenCV draws them because matplotlib is too slow for a slider.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from dfdc_lib.records import Box, Face
from dfdc_lib.viz import style
from dfdc_lib.viz.draw import colour_ssim, draw_faces, draw_score, fit, overlay_mask

CROP_SIDE, PANEL_SIDE = 480, 280  # pixels
FRAME_SIZE = (720, 1280)  # height, width: larger frames are shrunk before they are sent to the browser
CAPTION_HEIGHT, BORDER = 36, 8  # pixels
WHITE = (255, 255, 255)
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.75


def render_crop(crop: np.ndarray, label: int | None, confidence: float) -> bytes:
    """Return a crop, (H, W, 3) uint8 RGB, as PNG with its label (0, 1; None, NaN: unknown) and its confidence, 0-1."""
    name = style.label_name(label)
    square, colour = _on_square(crop, CROP_SIDE), style.rgb(style.LABEL_COLOURS[name])
    framed = cv2.copyMakeBorder(square, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_CONSTANT, value=colour)
    return _png(_captioned(framed, f"{name}, confidence {confidence:.3f}"))


def render_masks(original: np.ndarray, fake: np.ndarray, ssim_map: np.ndarray, mask: np.ndarray) -> bytes:
    """Return original, fake, SSIM map, mask and overlay side by side as PNG.

    Images: (H, W, 3) uint8 RGB; SSIM map: (H, W), -1 (dark violet) to 1 (yellow); mask: (H, W) uint8, 0 = unchanged.
    """
    panels = {"original": original, "fake": fake}
    panels[f"SSIM, mean {np.mean(ssim_map):.2f}"] = colour_ssim(ssim_map)
    panels |= {"mask": cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), "overlay": overlay_mask(fake, mask)}
    return _strip(panels)


def render_frame(image: np.ndarray, faces: Sequence[Face]) -> bytes:
    """Return a frame, (H, W, 3) uint8 RGB, with its faces as PNG, at most `FRAME_SIZE`."""
    return _png(fit(draw_faces(image, faces), *FRAME_SIZE))


def render_prediction(image: np.ndarray, box: Box, score: float) -> bytes:
    """Return a frame, (H, W, 3) uint8 RGB, with one box and its score as PNG, at most `FRAME_SIZE`."""
    return _png(fit(draw_score(image, box, score), *FRAME_SIZE))


def render_augmentation(
    before: np.ndarray, before_mask: np.ndarray, after: np.ndarray, after_mask: np.ndarray
) -> bytes:
    """Return a crop, (H, W, 3) uint8 RGB, and its mask of that size, uint8, before and after augmentation as PNG."""
    masks = [cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB) for mask in (before_mask, after_mask)]
    return _strip({"before": before, "after": after, "mask before": masks[0], "mask after": masks[1]})


def _strip(panels: Mapping[str, np.ndarray]) -> bytes:
    return _png(np.hstack([_captioned(_on_square(image, PANEL_SIDE), text) for text, image in panels.items()]))


def _on_square(image: np.ndarray, side: int) -> np.ndarray:
    """Return an image scaled to a white square without distortion."""
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    bottom, right = side - size[1] - top, side - size[0] - left
    return cv2.copyMakeBorder(scaled, top, bottom, left, right, cv2.BORDER_CONSTANT, value=WHITE)


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    (width, _), _ = cv2.getTextSize(text, FONT, FONT_SCALE, 1)
    start = (max(0, image.shape[1] - width) // 2, image.shape[0] + CAPTION_HEIGHT - 11)
    page = cv2.copyMakeBorder(image, 0, CAPTION_HEIGHT, 0, 0, cv2.BORDER_CONSTANT, value=WHITE)
    return cv2.putText(page, text, start, FONT, FONT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)


def _png(image: np.ndarray) -> bytes:
    _, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return content.tobytes()
