"""The built-in sample: short videos in DFDC's layout, generated from one portrait.

No deepfake data set may be redistributed, so a virtual hand-held camera (`sample_camera`) films the one real portrait
that scikit-image contains, and forges its face. Input: a folder, a seed, a length. Output: 16 originals (15 with a
face) and 19 fakes as H.264 files with metadata.json, and the true mask of every frame of every fake.
The sample has ONE face and one simple kind of forgery. It shows that the kit runs; no number measured on it is evidence
about deepfakes. Sources of the pictures: see `sample_camera`.
"""

import json
import shutil
from concurrent.futures import as_completed
from contextlib import ExitStack
from pathlib import Path

import cv2
from filelock import FileLock
from tqdm.std import tqdm

from dfdc_lib import __version__
from dfdc_lib.data.datasets.files import SAMPLE_MARKER
from dfdc_lib.data.sample_camera import ENCODER_OPTIONS, FPS, Forgery, Scene, film_scene
from dfdc_lib.data.video import video_writer
from dfdc_lib.processes import core_count, worker_pool
from dfdc_lib.run_folder import project_path
from dfdc_lib.staleness import file_fingerprint, fingerprint

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
    # name, part, size, aim, pan, zoom, roll, light, warmth, wall, noise, forgeries
    Scene("plain",             0, (480, 640), (228, 128, 340), (14, 5),  .04, (0, 2),  (1.0, .03),  .00, (0, 0),    4.5,
          (GENTLE, SECOND)),
    Scene("walk",              0, (480, 640), (232, 140, 360), (42, 16), .10, (0, 4),  (1.0, .05),  .03, (-8, 10),  5.0,
          (SOFT,)),
    Scene("small_256x192",     0, (192, 256), (226, 130, 240), (12, 6),  .05, (0, 2),  (1.0, .03), -.01, (0, -12),  4.0,
          (PALE,)),
    Scene("two_faces",         0, (480, 640), (368, 180, 500), (18, 8),  .04, (0, 2),  (1.0, .03),  .02, (4, 8),    4.5,
          (BOTH, ONE_ONLY), world="pair"),
    Scene("upright_480x640",   1, (640, 480), (228, 196, 290), (16, 8),  .05, (0, 2),  (1.0, .03), -.03, (2, -16),  4.5,
          (DARK,)),
    Scene("mirrored",          1, (480, 640), (284, 150, 400), (20, 8),  .06, (0, 3),  (1.0, .04),  .00, (-14, 4),  4.5,
          (GENTLE,), mirror=True),
    Scene("wide_1920x1080",    1, (1080, 1920), (256, 140, 460), (14, 5), .04, (0, 1),  (1.0, .03), .01, (0, 14),   3.5,
          (COARSE,)),
    Scene("dim_light",         1, (480, 640), (232, 132, 320), (16, 6),  .04, (-3, 2), (0.6, .12), -.04, (0, -6),   5.5,
          (PALE,)),
    Scene("hd_1280x720",       2, (720, 1280), (256, 140, 450), (14, 5), .04, (0, 2),  (1.0, .03),  .01, (10, 4),   3.5,
          (GENTLE, SECOND)),
    Scene("zoom",              2, (480, 640), (284, 134, 330), (10, 5),  .24, (0, 2),  (1.0, .03),  .04, (6, 16),   4.5,
          (DARK,), mirror=True),
    Scene("turned_by_player",  2, (640, 480), (226, 180, 280), (14, 8),  .05, (0, 2),  (1.0, .03),  .00, (-12, 12), 4.5,
          (GENTLE,), rotation=90),
    Scene("no_face",           2, (480, 640), (300, 200, 440), (30, 14), .06, (0, 3),  (1.0, .04),  .00, (0, 0),    4.5,
          (), world="coffee"),
    Scene("warm_light",        3, (480, 640), (244, 158, 410), (24, 8),  .06, (2, 2),  (1.0, .06),  .14, (4, 10),   4.5,
          (SOFT,)),
    Scene("two_faces_848x480", 3, (480, 848), (372, 176, 600), (22, 8),  .04, (0, 2),  (1.0, .03), -.03, (0, -10),  4.5,
          (BOTH,), world="pair", mirror=True),
    Scene("tilted",            3, (480, 640), (284, 132, 320), (14, 6),  .05, (9, 4),  (1.0, .04), -.02, (12, -10), 5.0,
          (DARK, SECOND), mirror=True),
    Scene("small_288x216",     3, (216, 288), (284, 132, 270), (14, 6),  .06, (-4, 2), (1.0, .04),  .05, (0, 6),    4.0,
          (GENTLE,), mirror=True),
)
# fmt: on


def make_sample(root: Path, seed: int = 0, seconds: float = 2.4, workers: int = 0) -> Path:
    """Generate the built-in sample in folder `root`, unless it is there already, complete and unchanged.

    A relative root starts at the project folder; a different sample there is replaced. Equal seeds give equal bytes.
    `seconds` is the length of every video, at 25 frames per second; `workers` the number of processes, 0 = one a core.
    Returns the absolute root, with `dfdc_train_part_<0..3>/`, `true_masks/<fake>/` and `sample.json`.
    Raises ValueError if `seconds` is less than one frame, or `seed` or `workers` is negative; FileExistsError if root
    contains anything but a sample, which would be lost.
    """
    if round(seconds * FPS) < 1 or seed < 0 or workers < 0:
        expected = f"seconds >= {1 / FPS}, seed >= 0, workers >= 0"
        raise ValueError(f"expected {expected}, got seconds {seconds}, seed {seed}, workers {workers}")
    root = project_path(root)
    settings = {"seed": seed, "seconds": seconds, "version": __version__, "scenes": fingerprint(*SCENES)}
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_name(f".{root.name}.lock")):  # one process generates; others wait, then return its sample
        if _is_complete(root, settings):
            return root
        _refuse_other_folder(root)
        partial = root.with_name(f".{root.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        new = partial / "new"
        _write_metadata(new)
        _write_scenes(new, seed, round(seconds * FPS), workers)
        # Written last, so a sample that has it is complete.
        (new / SAMPLE_MARKER).write_text(json.dumps(settings | {"content": _content(new)}, indent=1))
        if root.exists():
            root.rename(partial / "old")
        new.rename(root)
        shutil.rmtree(partial)
    return root


def true_mask_path(root: Path, video_id: str, frame_index: int) -> Path:
    """Return the path of the true mask of a fake's frame: (H, W) uint8, how much of a pixel is forged, 255 = all."""
    return root / "true_masks" / video_id / f"{frame_index:05d}.png"


def _write_scenes(folder: Path, seed: int, frame_count: int, workers: int) -> None:
    largest_first = sorted(SCENES, key=lambda scene: -scene.size[0] * scene.size[1] * (1 + len(scene.forgeries)))
    with worker_pool(min(workers or core_count(), len(SCENES))) as pool:
        jobs = [pool.submit(_write_scene, scene, folder, seed, frame_count) for scene in largest_first]
        for job in tqdm(as_completed(jobs), total=len(jobs), desc="built-in sample", unit="scene"):
            job.result()


def _write_scene(scene: Scene, folder: Path, seed: int, frame_count: int) -> None:
    """Write one original, its fakes and their true masks."""
    fakes = [f"{scene.name}_{forgery.suffix}" for forgery in scene.forgeries]
    for fake in fakes:
        true_mask_path(folder, fake, 0).parent.mkdir(parents=True)
    with ExitStack() as stack:
        write_original, *write_fakes = [
            stack.enter_context(video_writer(path, scene.size, FPS, ENCODER_OPTIONS, scene.rotation))
            for path in (folder / f"dfdc_train_part_{scene.part}" / f"{name}.mp4" for name in (scene.name, *fakes))
        ]
        for frame_index, (frame, forged) in enumerate(film_scene(scene, seed, frame_count)):
            write_original(frame)
            for fake, write, (fake_frame, mask) in zip(fakes, write_fakes, forged, strict=True):
                write(fake_frame)
                true_mask_path(folder, fake, frame_index).write_bytes(cv2.imencode(".png", mask)[1].tobytes())


def _write_metadata(folder: Path) -> None:
    """Write a metadata.json into the folder of every part."""
    parts: dict[Path, dict[str, dict[str, str]]] = {}
    for scene in SCENES:
        entries = parts.setdefault(folder / f"dfdc_train_part_{scene.part}", {})
        entries[f"{scene.name}.mp4"] = {"label": "REAL", "split": "train"}
        fake = {"label": "FAKE", "split": "train", "original": f"{scene.name}.mp4"}
        entries |= {f"{scene.name}_{forgery.suffix}.mp4": fake for forgery in scene.forgeries}
    for part, entries in parts.items():
        part.mkdir(parents=True)
        (part / "metadata.json").write_text(json.dumps(entries, indent=1))


def _refuse_other_folder(root: Path) -> None:
    """Raise FileExistsError unless the folder is new, empty or a sample."""
    names = {path.name for path in root.iterdir()} if root.is_dir() else {root.name} if root.exists() else set()
    other = names - {SAMPLE_MARKER, "true_masks"} - {f"dfdc_train_part_{scene.part}" for scene in SCENES}
    if names and (other or SAMPLE_MARKER not in names):
        contents = ", ".join(sorted(other or names)[:5])
        expected = "a new or empty folder or an older sample"
        raise FileExistsError(f"expected {expected}, got {root} with {contents}: choose another folder")


def _is_complete(root: Path, settings: dict) -> bool:
    """Return whether the folder has a sample with these settings and all its files are unchanged."""
    try:
        return json.loads((root / SAMPLE_MARKER).read_text()) == settings | {"content": _content(root)}
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False


def _content(root: Path) -> str:
    """Return a fingerprint of the names and contents of the sample's files."""
    files = sorted([*root.glob("dfdc_train_part_*/**/*.*"), *root.glob("true_masks/**/*.*")])
    return fingerprint(*(f"{path.relative_to(root)} {file_fingerprint(path)}" for path in files))
