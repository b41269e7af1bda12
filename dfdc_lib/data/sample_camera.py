"""The virtual hand-held camera of the built-in sample: it films a still picture, and forges the faces in what it filmed.

The camera pans, zooms, rolls, the light changes, the sensor is noisy. A fake is made of its original's camera frames, before encoding: the
inner face is re-sampled, slightly warped, shifted in colour and feathered in. In: a scene and a seed. Out: the frames of the original and
of its fakes, the true share of forged pixels, and a writer that encodes frames as H.264.

Source: `skimage.data.astronaut()`, a portrait of Eileen Collins, NASA, public domain; `skimage.data.coffee()` (Rachel Michetti, CC0) is
the picture without a face. Both come with scikit-image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import skimage.data

FPS = 25
# Low loss: the sensor noise survives. B-frames: frames are stored out of order, as in most films. One thread: equal bytes.
ENCODER_OPTIONS = {"crf": "21", "preset": "ultrafast", "x264-params": "bframes=2:cabac=1:deblock=0,0", "threads": "1"}
FACE_CENTRE, FACE_RADII = (226.0, 124.0), (37.0, 45.0)  # the inner face in the portrait: brows to chin, cheek to cheek
FEATHER = 0.3  # outer share of the face's radius over which a forgery fades in
GRAY_CHROMA = 14.0  # CIELAB; below it a surface counts as gray, the more the less colour it has
AREA_RADIUS = 1.2  # of the face: pixels that a forgery reads
PAIR_SEAM, PAIR_SCALE, PAIR_OVERLAP = (
    352,
    1.1,
    24,
)  # two people: portrait up to this column, then its mirror image, larger, cross-faded


@dataclass(frozen=True)
class Forgery:
    """How a fake's face is made; `faces` numbers the forged ones in the world (0 = the left one before mirroring)."""

    suffix: str
    shrink: float  # the face is made this many times smaller, then full size again
    warp: float  # features move by up to this share of the face's radius
    colour: tuple[int, int, int]  # added to R, G, B
    faces: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Scene:
    """One original: what is filmed, and how. Lengths are pixels of the filmed picture, before the camera enlarges it."""

    name: str
    part: int
    size: tuple[int, int]  # (height, width) of the upright frame
    aim: tuple[int, int, int]  # the camera looks at x, y and sees this width
    pan: tuple[int, int]  # sway to either side, x and y
    zoom: float  # sway, as a share of the width seen
    roll: tuple[int, int]  # degrees, and their sway
    light: tuple[float, float]  # brightness, and its sway as a share
    warmth: float  # white balance: red times 1 + warmth, blue times 1 - warmth
    wall: tuple[int, int]  # colour of gray surfaces: shift of CIELAB a (green to red) and b (blue to yellow)
    noise: float  # of the sensor: standard deviation in grey levels
    forgeries: tuple[Forgery, ...]
    world: str = "portrait"  # or pair, coffee
    mirror: bool = False
    rotation: int = 0  # degrees clockwise that a player must turn the stored frames


def film_scene(
    scene: Scene, seed: int, frame_count: int
) -> Iterator[tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]]:
    """Film a scene and forge its fakes, frame by frame.

    Args:
        scene: what is filmed, and how.
        seed: decides camera movement and noise, differently in every scene.
        frame_count: frames, at 25 a second.
    Returns:
        For every frame the original, (H, W, 3) uint8 RGB, upright, and for each of the scene's forgeries the fake frame of the same shape
        with its true mask, (H, W) uint8: the share of forged pixels, 0 = untouched, 255 = all forged.
    """
    rng = np.random.default_rng([seed, *scene.name.encode()])
    world, faces = _world(scene)
    cameras, lights = _camera(scene, rng, frame_count)
    for camera, light in zip(cameras, lights, strict=True):
        frame = _photograph(world, scene, camera, light, rng)
        yield (
            frame,
            [
                _forge(frame, camera, [faces[number] for number in forgery.faces], forgery)
                for forgery in scene.forgeries
            ],
        )


# Filming ---------------------------------------------------------------------------------------------------------------------------
def _world(scene: Scene) -> tuple[np.ndarray, list[np.ndarray]]:
    """Lay out what is filmed: (H, W, 3) uint8 RGB, and for each inner face the (3, 3) matrix that brings the unit circle onto it."""
    faces = [np.array([[FACE_RADII[0], 0, FACE_CENTRE[0]], [0, FACE_RADII[1], FACE_CENTRE[1]], [0, 0, 1]])]
    if scene.world == "coffee":
        picture, faces = skimage.data.coffee(), []
    elif scene.world == "pair":
        picture, second_face = _beside_its_mirror_image(skimage.data.astronaut(), faces[0])
        faces.append(second_face)
    else:
        picture = skimage.data.astronaut()
    if scene.mirror:
        flip = np.array([[-1, 0, picture.shape[1] - 1], [0, 1, 0], [0, 0, 1]])
        picture, faces = np.ascontiguousarray(picture[:, ::-1]), [flip @ face for face in faces]
    return _paint(picture, scene.wall, scene.warmth), faces


def _beside_its_mirror_image(portrait: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put a second, mirrored and larger person to the right; return the picture and the second face."""
    height, left_end = (
        portrait.shape[0],
        PAIR_SEAM - PAIR_OVERLAP,
    )  # the second person comes in from here, in full from PAIR_SEAM
    right_end = left_end + PAIR_SCALE * PAIR_SEAM
    size = (int(right_end), height)
    second = np.array([[-PAIR_SCALE, 0, right_end], [0, PAIR_SCALE, 0], [0, 0, 1]])
    first_picture = cv2.copyMakeBorder(portrait, 0, 0, 0, max(0, size[0] - portrait.shape[1]), cv2.BORDER_REPLICATE)
    second_picture = cv2.warpAffine(portrait, second[:2], size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    share = np.clip((np.arange(size[0]) - left_end) / PAIR_OVERLAP, 0, 1)[:, None]  # of the second picture, by column
    return (first_picture * (1 - share) + second_picture * share).astype(np.uint8), second @ face


def _paint(picture: np.ndarray, wall: tuple[int, int], warmth: float) -> np.ndarray:
    """Colour the gray surfaces, which are mostly wall, then set the white balance."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    grayness = cv2.GaussianBlur(np.clip((GRAY_CHROMA - chroma) / GRAY_CHROMA, 0, 1), (0, 0), 3)
    for channel, shift in enumerate(wall, start=1):
        lab[..., channel] = lab[..., channel] + shift * grayness
    painted = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * (1 + warmth, 1, 1 - warmth)
    return np.clip(255 * painted + 0.5, 0, 255).astype(np.uint8)


def _camera(scene: Scene, rng: np.random.Generator, frame_count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Move the camera: for every frame the (3, 3) matrix from the world to the frame, and the brightness."""
    sway_x, sway_y, sway_zoom, sway_roll, sway_light = (_sway(rng, frame_count) for _ in range(5))
    height, width = scene.size
    x, y = scene.aim[0] + scene.pan[0] * sway_x, scene.aim[1] + scene.pan[1] * sway_y
    scale = width / (scene.aim[2] * (1 + scene.zoom * sway_zoom))
    angle = np.radians(scene.roll[0] + scene.roll[1] * sway_roll)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    cameras = [
        np.array([[c, -s, width / 2 - c * px + s * py], [s, c, height / 2 - s * px - c * py], [0, 0, 1]])
        for c, s, px, py in zip(cos, sin, x, y, strict=True)
    ]
    return cameras, scene.light[0] * (1 + scene.light[1] * sway_light)


def _sway(rng: np.random.Generator, frame_count: int) -> np.ndarray:
    """Make a hand's smooth movement, -1 to 1: a slow swing and a little tremor."""
    seconds = np.arange(frame_count) / FPS
    slow, quick = rng.uniform(0.25, 0.45), rng.uniform(1.2, 1.9)  # Hz
    phases = rng.uniform(0, 2 * np.pi, 2)
    return 0.85 * np.sin(2 * np.pi * slow * seconds + phases[0]) + 0.15 * np.sin(
        2 * np.pi * quick * seconds + phases[1]
    )


def _photograph(
    world: np.ndarray, scene: Scene, camera: np.ndarray, light: float, rng: np.random.Generator
) -> np.ndarray:
    height, width = scene.size
    lit = cv2.convertScaleAbs(world, alpha=light)
    seen = cv2.warpAffine(lit, camera[:2], (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    noise = np.rint(scene.noise * rng.standard_normal((height, width), dtype=np.float32)).astype(np.int16)
    return cv2.add(seen, cv2.merge([noise, noise, noise]), dtype=cv2.CV_8U)  # saturates at 0 and 255


# Forging ---------------------------------------------------------------------------------------------------------------------------
def _forge(
    frame: np.ndarray, camera: np.ndarray, faces: list[np.ndarray], forgery: Forgery
) -> tuple[np.ndarray, np.ndarray]:
    """Replace inner faces in a frame; return the fake frame and the (H, W) uint8 share of forged pixels."""
    fake, alpha = frame.copy(), np.zeros(frame.shape[:2], np.uint8)
    for face in faces:
        frame_from_face = camera @ face
        rows, columns = _face_area(frame_from_face, frame.shape[:2])
        patch = frame[rows, columns]
        y, x = np.mgrid[rows, columns].astype(np.float32)
        u, v = _apply(np.linalg.inv(frame_from_face), x, y)  # the face's own coordinates: its edge is the unit circle
        source_x, source_y = _apply(
            frame_from_face, u * (1 - forgery.warp * v), v + forgery.warp * np.cos(np.pi / 2 * u)
        )
        small = cv2.resize(patch, None, fx=1 / forgery.shrink, fy=1 / forgery.shrink, interpolation=cv2.INTER_AREA)
        soft = cv2.resize(small, patch.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        warped = cv2.remap(
            soft, source_x - columns.start, source_y - rows.start, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        fade = np.clip((1 - np.hypot(u, v)) / FEATHER, 0, 1)
        alpha[rows, columns] = np.round(255 * fade * fade * (3 - 2 * fade))  # smooth at both ends
        share = alpha[rows, columns, None] / np.float32(255)
        blend = patch + share * (warped.astype(np.float32) + np.array(forgery.colour, np.float32) - patch)
        fake[rows, columns] = np.clip(blend + 0.5, 0, 255).astype(np.uint8)
    return fake, alpha


def _face_area(frame_from_face: np.ndarray, size: tuple[int, int]) -> tuple[slice, slice]:
    """Bound the face, with room for the warp, in rows and columns of the frame."""
    corners = AREA_RADIUS * np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]])
    x, y = _apply(frame_from_face, *corners)
    height, width = size
    return (
        slice(max(0, int(y.min())), min(height, int(y.max()) + 1)),
        slice(max(0, int(x.min())), min(width, int(x.max()) + 1)),
    )


def _apply(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring points through a (3, 3) affine matrix."""
    m = matrix.astype(np.float32)
    return m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2]
