"""Heat maps from evidence: what each place of the last feature map adds to the logit, spread over the crop."""

import cv2
import numpy as np


def heat_of_evidence(evidence: np.ndarray, size: int) -> np.ndarray:
    """Return heat maps, (n, size, size) float32: 1 = the strongest evidence for "fake" in that image, 0 = none.

    `evidence` is (n, h, w) float32, positive where a place raises the logit. A map without positive evidence is 0
    everywhere. `size` is in pixels.
    """
    maps = np.zeros((len(evidence), size, size), np.float32)
    for coarse, heat in zip(evidence, maps, strict=True):
        fine = cv2.resize(np.maximum(coarse, 0), (size, size), interpolation=cv2.INTER_LINEAR)
        heat[:] = fine / max(float(fine.max()), float(np.finfo(np.float32).tiny))  # an all-zero map stays zero
    return maps
