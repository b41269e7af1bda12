"""The virtual hand-held camera of the built-in sample: it films a still picture and forges the faces in it.

Input: a scene and a seed. Output: the frames of the original and of its fakes, and the true share of forged pixels.
The camera pans, zooms and rolls, the light changes, the sensor is noisy. A fake is made from its original's unencoded
frames: the inner face is resampled, slightly warped, shifted in colour and blended in with a soft edge.
Sources, in `skimage.data`: `astronaut()`, a portrait of Eileen Collins (NASA, public domain), and `coffee()`, the
picture without a face (Rachel Michetti, CC0).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import skimage.data

FPS = 25
# Low loss preserves the sensor noise; B-frames are stored out of order, as in most videos; one thread: equal bytes.
ENCODER_OPTIONS = {"crf": "21", "preset": "ultrafast", "x264-params": "bframes=2:cabac=1:deblock=0,0", "threads": "1"}
FACE_CENTRE, FACE_RADII = (226.0, 124.0), (37.0, 45.0)  # the inner face in the portrait: brows to chin, cheek to cheek
FEATHER = 0.3  # outer share of the face's radius over which a forgery fades in
GRAY_CHROMA = 14.0  # CIELAB; the further below it, the grayer a surface
AREA_RADIUS = 1.2  # radius, in face radii, of the area that a forgery reads
# Two people: the portrait up to this column, then its mirror image, enlarged, cross-faded over so many columns.
PAIR_SEAM, PAIR_SCALE, PAIR_OVERLAP = 352, 1.1, 24
Fake = tuple[np.ndarray, np.ndarray]  # frame (H, W, 3) uint8 RGB; true mask (H, W) uint8, the share of forged pixels


@dataclass(frozen=True)
class Forgery:
    """How a face is forged; `faces` are the indices of the forged faces (0 = the left one before mirroring).

    `shrink`: factor of reduction; `warp`: largest shift, as a share of the face's radius; `colour`: added to R, G, B.
    """

    suffix: str
    shrink: float  # factor by which the face is reduced, then enlarged again
    warp: float  # largest shift of a feature, as a share of the face's radius
    colour: tuple[int, int, int]  # added to R, G, B
    faces: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Scene:
    """One original: what is filmed, and how. Lengths are pixels of the filmed picture."""

    name: str
    part: int
    size: tuple[int, int]  # (height, width) of the upright frame
    aim: tuple[int, int, int]  # x and y of the view's centre, and its width
    pan: tuple[int, int]  # amplitude in x and y
    zoom: float  # amplitude, as a share of the view's width
    roll: tuple[int, int]  # degrees, and amplitude
    light: tuple[float, float]  # brightness, and amplitude as a share of it
    warmth: float  # white balance: red * (1 + warmth), blue * (1 - warmth)
    wall: tuple[int, int]  # shift of gray surfaces in CIELAB a (green to red) and b (blue to yellow)
    noise: float  # standard deviation of the sensor noise in grey levels
    forgeries: tuple[Forgery, ...]
    world: str = "portrait"  # or "pair", "coffee"
    mirror: bool = False
    rotation: int = 0  # clockwise degrees by which a player has to turn the stored frames


def film_scene(scene: Scene, seed: int, frame_count: int) -> Iterator[tuple[np.ndarray, list[Fake]]]:
    """Film `frame_count` frames of a scene at 25 frames per second and forge its fakes.

    The seed determines camera movement and noise, independently for each scene. Yields for each frame the original,
    (H, W, 3) uint8 RGB, upright, and for each forgery the fake of the same shape and its true mask, (H, W) uint8:
    0 = unchanged, 255 = entirely forged.
    """
    rng = np.random.default_rng([seed, *scene.name.encode()])
    world, faces = _world(scene)
    cameras, lights = _camera(scene, rng, frame_count)
    for camera, light in zip(cameras, lights, strict=True):
        frame = _photograph(world, scene, camera, light, rng)
        yield frame, [_forge(frame, camera, faces, forgery) for forgery in scene.forgeries]


def _world(scene: Scene) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the picture to film, and for each inner face the (3, 3) matrix that maps the unit circle to it."""
    picture = skimage.data.astronaut()
    faces = [np.array([[FACE_RADII[0], 0, FACE_CENTRE[0]], [0, FACE_RADII[1], FACE_CENTRE[1]], [0, 0, 1]])]
    if scene.world == "coffee":
        picture, faces = skimage.data.coffee(), []
    elif scene.world == "pair":
        picture, second_face = _add_second_person(picture, faces[0])
        faces.append(second_face)
    if scene.mirror:
        flip = np.array([[-1, 0, picture.shape[1] - 1], [0, 1, 0], [0, 0, 1]])
        picture, faces = np.ascontiguousarray(picture[:, ::-1]), [flip @ face for face in faces]
    return _paint(picture, scene.wall, scene.warmth), faces


def _add_second_person(portrait: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add the enlarged mirror image on the right; return the picture and the matrix of the second face."""
    height, seam = portrait.shape[0], PAIR_SEAM - PAIR_OVERLAP
    right_end = seam + PAIR_SCALE * PAIR_SEAM
    size = (int(right_end), height)
    mirror = np.array([[-PAIR_SCALE, 0, right_end], [0, PAIR_SCALE, 0], [0, 0, 1]])
    first = cv2.copyMakeBorder(portrait, 0, 0, 0, max(0, size[0] - portrait.shape[1]), cv2.BORDER_REPLICATE)
    second = cv2.warpAffine(portrait, mirror[:2], size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    share = np.clip((np.arange(size[0]) - seam) / PAIR_OVERLAP, 0, 1)[:, None]  # of the second person, by column
    return (first * (1 - share) + second * share).astype(np.uint8), mirror @ face


def _paint(picture: np.ndarray, wall: tuple[int, int], warmth: float) -> np.ndarray:
    """Colour the gray surfaces, mostly walls, then set the white balance."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    grayness = cv2.GaussianBlur(np.clip((GRAY_CHROMA - chroma) / GRAY_CHROMA, 0, 1), (0, 0), 3)
    for channel, shift in enumerate(wall, start=1):
        lab[..., channel] = lab[..., channel] + shift * grayness
    painted = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * (1 + warmth, 1, 1 - warmth)
    return np.clip(255 * painted + 0.5, 0, 255).astype(np.uint8)


def _camera(scene: Scene, rng: np.random.Generator, frame_count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Return for every frame the (3, 3) matrix from the picture to the frame, and the brightness."""
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
    """Return the smooth movement of a hand, -1 to 1: a slow swing and a slight tremor."""
    seconds = np.arange(frame_count) / FPS
    slow, quick = rng.uniform(0.25, 0.45), rng.uniform(1.2, 1.9)  # Hz
    phases = rng.uniform(0, 2 * np.pi, 2)
    swing, tremor = np.sin(2 * np.pi * slow * seconds + phases[0]), np.sin(2 * np.pi * quick * seconds + phases[1])
    return 0.85 * swing + 0.15 * tremor


def _photograph(
    world: np.ndarray, scene: Scene, camera: np.ndarray, light: float, rng: np.random.Generator
) -> np.ndarray:
    height, width = scene.size
    lit = cv2.convertScaleAbs(world, alpha=light)
    seen = cv2.warpAffine(lit, camera[:2], (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    noise = np.rint(scene.noise * rng.standard_normal((height, width), dtype=np.float32)).astype(np.int16)
    return cv2.add(seen, cv2.merge([noise, noise, noise]), dtype=cv2.CV_8U)  # saturates at 0 and 255


def _forge(frame: np.ndarray, camera: np.ndarray, faces: list[np.ndarray], forgery: Forgery) -> Fake:
    fake, alpha = frame.copy(), np.zeros(frame.shape[:2], np.uint8)
    for number in forgery.faces:
        to_frame = camera @ faces[number]
        x, y = _apply(to_frame, *(AREA_RADIUS * np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]])))
        rows = slice(max(0, int(y.min())), min(frame.shape[0], int(y.max()) + 1))
        columns = slice(max(0, int(x.min())), min(frame.shape[1], int(x.max()) + 1))
        patch = frame[rows, columns]
        y, x = np.mgrid[rows, columns].astype(np.float32)
        u, v = _apply(np.linalg.inv(to_frame), x, y)  # coordinates in which the face's edge is the unit circle
        warped_u, warped_v = u * (1 - forgery.warp * v), v + forgery.warp * np.cos(np.pi / 2 * u)
        map_x, map_y = _apply(to_frame, warped_u, warped_v)
        small = cv2.resize(patch, None, fx=1 / forgery.shrink, fy=1 / forgery.shrink, interpolation=cv2.INTER_AREA)
        soft = cv2.resize(small, patch.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        offset_x, offset_y = map_x - columns.start, map_y - rows.start
        warped = cv2.remap(soft, offset_x, offset_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        fade = np.clip((1 - np.hypot(u, v)) / FEATHER, 0, 1)
        alpha[rows, columns] = np.round(255 * fade * fade * (3 - 2 * fade))  # smooth at both ends
        share = alpha[rows, columns, None] / np.float32(255)
        blend = patch + share * (warped.astype(np.float32) + np.array(forgery.colour, np.float32) - patch)
        fake[rows, columns] = np.clip(blend + 0.5, 0, 255).astype(np.uint8)
    return fake, alpha


def _apply(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transform points by a (3, 3) affine matrix."""
    m = matrix.astype(np.float32)
    return m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2]
