"""The built-in sample: short videos in DFDC's layout, made on the spot from one portrait.

No deepfake data set may be shipped, so a virtual hand-held camera films the one real portrait that lies inside scikit-image: it pans,
zooms, rolls, the light changes, the sensor is noisy. Every fake is made of its original's camera frames, before encoding: the inner face
is re-sampled, slightly warped, shifted in colour and feathered in. Goes in: a folder, a seed, a length. Comes out: 16 originals (15 with a
face) and 19 fakes as H.264 files with `metadata.json`, and for every frame of every fake the true mask of what was forged.

This is a smoke sample of ONE face with one simple kind of forgery. It shows that the kit runs; no number measured on it is evidence
about deepfakes.

Source: `skimage.data.astronaut()`, a portrait of Eileen Collins, NASA, public domain; `skimage.data.coffee()` (Rachel Michetti, CC0) is
the video without a face. Both come with scikit-image.
"""

import fcntl
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data
from tqdm.std import tqdm

from dfdc_lib import __version__
from dfdc_lib.store import file_fingerprint, fingerprint, project_path

FPS = 25
# Low loss: the sensor noise survives. B-frames: frames are stored out of order, as in most films. One thread: equal bytes.
ENCODER_OPTIONS = {"crf": "21", "preset": "ultrafast", "x264-params": "bframes=2:cabac=1:deblock=0,0", "threads": "1"}
MARKER = "sample.json"  # written last: a sample that has it is complete
FACE_CENTRE, FACE_RADII = (226.0, 124.0), (37.0, 45.0)  # the inner face in the portrait: brows to chin, cheek to cheek
FEATHER = 0.3  # outer share of the face's radius over which a forgery fades in
GRAY_CHROMA = 14.0  # CIELAB; below it a surface counts as gray, the more the less colour it has
AREA_RADIUS = 1.2  # of the face: pixels that a forgery reads
PAIR_SEAM, PAIR_SCALE, PAIR_OVERLAP = 352, 1.1, 24  # two people: portrait up to this column, then its mirror image, larger, cross-faded


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


GENTLE = Forgery("fake", 2.5, 0.07, (8, -3, -8))
SOFT = Forgery("fake", 3.0, 0.06, (-7, 2, 7))
PALE = Forgery("fake", 2.2, -0.07, (9, 7, 7))
DARK = Forgery("fake", 2.6, -0.06, (-9, -9, -5))
COARSE = Forgery("fake", 5.0, 0.06, (6, -3, -6))
SECOND = Forgery("fake_2", 3.2, -0.08, (-8, -4, 4))
BOTH = Forgery("fake_both", 2.4, 0.08, (7, -4, -7), (0, 1))
ONE_ONLY = Forgery("fake_one_face", 2.6, -0.08, (-8, -3, 6), (1,))

# fmt: off
SCENES = (
    #      name             part size          aim              pan       zoom  roll     light       warmth wall     noise forgeries
    Scene("plain",            0, (480, 640),  (228, 128, 340), (14, 5),  0.04, (0, 2),  (1.0, .03),  .00, (0, 0),    4.5, (GENTLE, SECOND)),
    Scene("walk",             0, (480, 640),  (232, 140, 360), (42, 16), 0.10, (0, 4),  (1.0, .05),  .03, (-8, 10),  5.0, (SOFT,)),
    Scene("small_256x192",    0, (192, 256),  (226, 130, 240), (12, 6),  0.05, (0, 2),  (1.0, .03), -.01, (0, -12),  4.0, (PALE,)),
    Scene("two_faces",        0, (480, 640),  (368, 180, 500), (18, 8),  0.04, (0, 2),  (1.0, .03),  .02, (4, 8),    4.5, (BOTH, ONE_ONLY),
          world="pair"),
    Scene("upright_480x640",  1, (640, 480),  (228, 196, 290), (16, 8),  0.05, (0, 2),  (1.0, .03), -.03, (2, -16),  4.5, (DARK,)),
    Scene("mirrored",         1, (480, 640),  (284, 150, 400), (20, 8),  0.06, (0, 3),  (1.0, .04),  .00, (-14, 4),  4.5, (GENTLE,),
          mirror=True),
    Scene("wide_1920x1080",   1, (1080, 1920), (256, 140, 460), (14, 5), 0.04, (0, 1),  (1.0, .03),  .01, (0, 14),   3.5, (COARSE,)),
    Scene("dim_light",        1, (480, 640),  (232, 132, 320), (16, 6),  0.04, (-3, 2), (0.6, .12), -.04, (0, -6),   5.5, (PALE,)),
    Scene("hd_1280x720",      2, (720, 1280), (256, 140, 450), (14, 5),  0.04, (0, 2),  (1.0, .03),  .01, (10, 4),   3.5, (GENTLE, SECOND)),
    Scene("zoom",             2, (480, 640),  (284, 134, 330), (10, 5),  0.24, (0, 2),  (1.0, .03),  .04, (6, 16),   4.5, (DARK,),
          mirror=True),
    Scene("turned_by_player", 2, (640, 480),  (226, 180, 280), (14, 8),  0.05, (0, 2),  (1.0, .03),  .00, (-12, 12), 4.5, (GENTLE,),
          rotation=90),
    Scene("no_face",          2, (480, 640),  (300, 200, 440), (30, 14), 0.06, (0, 3),  (1.0, .04),  .00, (0, 0),    4.5, (),
          world="coffee"),
    Scene("warm_light",       3, (480, 640),  (244, 158, 410), (24, 8),  0.06, (2, 2),  (1.0, .06),  .14, (4, 10),   4.5, (SOFT,)),
    Scene("two_faces_848x480", 3, (480, 848), (372, 176, 600), (22, 8),  0.04, (0, 2),  (1.0, .03), -.03, (0, -10),  4.5, (BOTH,),
          world="pair", mirror=True),
    Scene("tilted",           3, (480, 640),  (284, 132, 320), (14, 6),  0.05, (9, 4),  (1.0, .04), -.02, (12, -10), 5.0, (DARK, SECOND),
          mirror=True),
    Scene("small_288x216",    3, (216, 288),  (284, 132, 270), (14, 6),  0.06, (-4, 2), (1.0, .04),  .05, (0, 6),    4.0, (GENTLE,),
          mirror=True),
)
# fmt: on


def make_sample(root: Path, seed: int = 0, seconds: float = 2.4, workers: int = 0) -> Path:
    """Make the sample, or find it complete and unchanged.

    Args:
        root: the sample's folder, to be made; a relative path starts at the project folder. An older sample there is replaced.
        seed: decides camera movement and noise; the same seed gives the same bytes.
        seconds: length of every video, at 25 frames a second.
        workers: processes; 0 = one per core.
    Returns:
        The absolute root: `dfdc_train_part_<0..3>/` with videos and `metadata.json`, `true_masks/<fake>/`, `sample.json`.
    Raises:
        ValueError: if `seconds` is less than one frame, or `seed` or `workers` is negative.
        FileExistsError: if root holds anything else than a sample: it would be lost.
    """
    if round(seconds * FPS) < 1 or seed < 0 or workers < 0:
        raise ValueError(f"expected seconds >= {1 / FPS}, seed >= 0, workers >= 0, got seconds {seconds}, seed {seed}, workers {workers}")
    root = project_path(root)
    recipe = {"seed": seed, "seconds": seconds, "version": __version__, "scenes": fingerprint(*SCENES)}
    with _only_maker(root):
        if _is_complete(root, recipe):
            return root
        _refuse_foreign_folder(root)
        workplace = root.with_name(f".{root.name}.partial")  # the sample becomes visible when it is whole
        shutil.rmtree(workplace, ignore_errors=True)
        made = workplace / "made"
        _make_videos(made, seed, round(seconds * FPS), workers or os.cpu_count() or 1)
        _write_metadata(made)
        (made / MARKER).write_text(json.dumps(recipe | {"content": _content(made)}, indent=1))
        if root.exists():
            root.rename(workplace / "older")
        made.rename(root)
        shutil.rmtree(workplace)
    return root


def true_mask_path(root: Path, video_id: str, frame_index: int) -> Path:
    """Say where the truth about one frame of a fake lies.

    Args:
        root: the sample's folder.
        video_id: of the fake: its file name without `.mp4`.
        frame_index: decoded frames from 0.
    Returns:
        Path of an (H, W) uint8 PNG, of the upright frame's size: the share of forged pixels, 0 = untouched, 255 = all forged.
    """
    return root / "true_masks" / video_id / f"{frame_index:05d}.png"


# Making ----------------------------------------------------------------------------------------------------------------------------
def _make_videos(folder: Path, seed: int, frame_count: int, workers: int) -> None:
    for scene in SCENES:
        (folder / f"dfdc_train_part_{scene.part}").mkdir(parents=True, exist_ok=True)
    largest_first = sorted(SCENES, key=lambda scene: scene.size[0] * scene.size[1] * (1 + len(scene.forgeries)), reverse=True)
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the locks of a notebook's threads
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker) as pool:
        jobs = [pool.submit(_film, scene, folder, seed, frame_count) for scene in largest_first]
        for job in tqdm(as_completed(jobs), total=len(jobs), desc="built-in sample", unit="scene"):
            job.result()


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this worker as soon as its parent is gone, also after a SIGKILL: nobody may write into a workplace that was left."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _film(scene: Scene, folder: Path, seed: int, frame_count: int) -> None:
    """Write one original, its fakes and their masks."""
    rng = np.random.default_rng([seed, *scene.name.encode()])
    world, faces = _world(scene)
    cameras, lights = _camera(scene, rng, frame_count)
    names = [scene.name] + [f"{scene.name}_{forgery.suffix}" for forgery in scene.forgeries]
    for name in names[1:]:
        true_mask_path(folder, name, 0).parent.mkdir(parents=True)
    with ExitStack() as stack:
        writers = [stack.enter_context(_video_writer(folder / f"dfdc_train_part_{scene.part}" / f"{name}.mp4", scene)) for name in names]
        for frame_index, (camera, light) in enumerate(zip(cameras, lights, strict=True)):
            frame = _photograph(world, scene, camera, light, rng)
            writers[0](frame)
            for name, write, forgery in zip(names[1:], writers[1:], scene.forgeries, strict=True):
                fake, alpha = _forge(frame, camera, [faces[number] for number in forgery.faces], forgery)
                write(fake)
                true_mask_path(folder, name, frame_index).write_bytes(cv2.imencode(".png", alpha)[1].tobytes())


@contextmanager
def _video_writer(path: Path, scene: Scene) -> Iterator[Callable[[np.ndarray], None]]:
    with av.open(str(path), "w", options={"fflags": "bitexact"}) as container:  # bitexact: no encoder name, no time
        stream = container.add_stream("libx264", rate=FPS, options=ENCODER_OPTIONS)
        stored_size = scene.size if scene.rotation % 180 == 0 else scene.size[::-1]
        stream.height, stream.width, stream.pix_fmt = *stored_size, "yuv420p"
        if scene.rotation:
            stream.set_display_rotation(-scene.rotation)  # PyAV counts counter-clockwise

        def write(frame: np.ndarray) -> None:
            stored = np.ascontiguousarray(np.rot90(frame, scene.rotation // 90))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))

        yield write
        container.mux(stream.encode())


def _write_metadata(folder: Path) -> None:
    for part in {scene.part for scene in SCENES}:
        entries = {}
        for scene in SCENES:
            if scene.part == part:
                entries[f"{scene.name}.mp4"] = {"label": "REAL", "split": "train"}
                fake = {"label": "FAKE", "split": "train", "original": f"{scene.name}.mp4"}
                entries |= {f"{scene.name}_{forgery.suffix}.mp4": fake for forgery in scene.forgeries}
        (folder / f"dfdc_train_part_{part}" / "metadata.json").write_text(json.dumps(entries, indent=1))


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
    height, left_end = portrait.shape[0], PAIR_SEAM - PAIR_OVERLAP  # the second person comes in from here, in full from PAIR_SEAM
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
    return 0.85 * np.sin(2 * np.pi * slow * seconds + phases[0]) + 0.15 * np.sin(2 * np.pi * quick * seconds + phases[1])


def _photograph(world: np.ndarray, scene: Scene, camera: np.ndarray, light: float, rng: np.random.Generator) -> np.ndarray:
    height, width = scene.size
    lit = cv2.convertScaleAbs(world, alpha=light)
    seen = cv2.warpAffine(lit, camera[:2], (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    noise = np.rint(scene.noise * rng.standard_normal((height, width), dtype=np.float32)).astype(np.int16)
    return cv2.add(seen, cv2.merge([noise, noise, noise]), dtype=cv2.CV_8U)  # saturates at 0 and 255


# Forging ---------------------------------------------------------------------------------------------------------------------------
def _forge(frame: np.ndarray, camera: np.ndarray, faces: list[np.ndarray], forgery: Forgery) -> tuple[np.ndarray, np.ndarray]:
    """Replace inner faces in a frame; return the fake frame and the (H, W) uint8 share of forged pixels."""
    fake, alpha = frame.copy(), np.zeros(frame.shape[:2], np.uint8)
    for face in faces:
        frame_from_face = camera @ face
        rows, columns = _face_area(frame_from_face, frame.shape[:2])
        patch = frame[rows, columns]
        y, x = np.mgrid[rows, columns].astype(np.float32)
        u, v = _apply(np.linalg.inv(frame_from_face), x, y)  # the face's own coordinates: its edge is the unit circle
        source_x, source_y = _apply(frame_from_face, u * (1 - forgery.warp * v), v + forgery.warp * np.cos(np.pi / 2 * u))
        small = cv2.resize(patch, None, fx=1 / forgery.shrink, fy=1 / forgery.shrink, interpolation=cv2.INTER_AREA)
        soft = cv2.resize(small, patch.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        warped = cv2.remap(soft, source_x - columns.start, source_y - rows.start, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
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


# One maker, one whole sample ---------------------------------------------------------------------------------------------------------
@contextmanager
def _only_maker(root: Path) -> Iterator[None]:
    """Let others who want the same sample wait until this process has made it; the system lets go when the process ends."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_name(f".{root.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _refuse_foreign_folder(root: Path) -> None:
    """Let nothing be replaced but a sample."""
    names = {path.name for path in root.iterdir()} if root.is_dir() else {root.name} if root.exists() else set()
    own = {MARKER, "true_masks"} | {f"dfdc_train_part_{scene.part}" for scene in SCENES}
    if names and (MARKER not in names or names - own):
        found = ", ".join(sorted(names - own or names)[:5])
        raise FileExistsError(f"expected a new or empty folder or an older sample, got {root} with {found}: choose another folder")


def _is_complete(root: Path, recipe: dict) -> bool:
    """Tell whether this very sample is there with every file as it was made."""
    if not (root / MARKER).is_file():
        return False
    try:
        found = json.loads((root / MARKER).read_text())
    except json.JSONDecodeError:
        return False  # spoilt from outside: made anew
    return found == recipe | {"content": _content(root)}


def _content(root: Path) -> str:
    """Hash names, sizes, heads and tails of the sample's files."""
    files = sorted(path for folder in ("dfdc_train_part_*", "true_masks") for top in root.glob(folder) for path in top.rglob("*.*"))
    return fingerprint(*(f"{path.relative_to(root)} {file_fingerprint(path)}" for path in files))
