"""Work for test_mtcnn_networks, in a module without PyTorch because worker processes import it."""

import sys

import numpy as np
from skimage.data import astronaut

from dfdc_lib.backends.choice import Engine
from dfdc_lib.faces.detect import load_detector
from dfdc_lib.records import DetectorSettings, Face

PORTRAIT = astronaut()  # (512, 512, 3) uint8 RGB, one face


def find(engine: Engine) -> tuple[list[tuple[Face, ...]], bool]:
    """Return the faces of two images, and whether this process has imported PyTorch."""
    faces = load_detector(DetectorSettings(), engine).find_faces([PORTRAIT, np.zeros_like(PORTRAIT)])
    return faces, "torch" in sys.modules
