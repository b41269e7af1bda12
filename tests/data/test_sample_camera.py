"""The virtual camera: frames, fakes and masks of every scene of the sample, before encoding and after."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from dfdc_lib.data.encode import video_writer
from dfdc_lib.data.sample import ONE_ONLY, SCENES
from dfdc_lib.data.sample_camera import ENCODER_OPTIONS, FPS, Forgery, Scene, film_scene

FRAME_COUNT = 3
BY_NAME = {scene.name: scene for scene in SCENES}
FAKES = [(scene, number) for scene in SCENES for number in range(len(scene.forgeries))]
Film = Callable[[Scene], tuple[Path, list[np.ndarray]]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Film a scene, once for all tests: a folder with original.mp4 and <number of the fake>.mp4, and the masks of the first frame."""

    @cache
    def make(scene: Scene) -> tuple[Path, list[np.ndarray]]:
        folder = tmp_path_factory.mktemp(scene.name)
        frames = list(film_scene(scene, 0, FRAME_COUNT))
        write_video(folder / "original.mp4", scene, [frame for frame, _ in frames])
        for number in range(len(scene.forgeries)):
            write_video(folder / f"{number}.mp4", scene, [fakes[number][0] for _, fakes in frames])
        return folder, [mask for _, mask in frames[0][1]]

    return make


def write_video(path: Path, scene: Scene, frames: list[np.ndarray]) -> None:
    with video_writer(path, scene.size, FPS, ENCODER_OPTIONS, scene.rotation) as write:
        for frame in frames:
            write(frame)


def upright_frames(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


def test_no_frames() -> None:
    assert list(film_scene(SCENES[0], 0, 0)) == []


def test_a_seed_and_a_scene_decide_the_movement() -> None:
    scene = BY_NAME["small_256x192"]
    first, again, other_seed, other_scene = (
        next(film_scene(*arguments, 1))[0]
        for arguments in ((scene, 0), (scene, 0), (scene, 4), (replace(scene, name="other"), 0))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other_seed)
    assert not np.array_equal(first, other_scene)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_videos_have_their_size_rate_and_length(film: Film, scene: Scene) -> None:
    path = film(scene)[0] / "original.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate, stream.frames) == ("h264", 25, FRAME_COUNT)
    assert [frame.shape for frame in upright_frames(path)] == FRAME_COUNT * [(*scene.size, 3)]


def test_rotation_metadata_turns_the_stored_frames_upright(film: Film) -> None:
    path = film(next(scene for scene in SCENES if scene.rotation))[0] / "original.mp4"
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0))
    assert (stored.rotation, stored.height, stored.width) == (-90, 480, 640)  # PyAV counts counter-clockwise
    red, _, blue = next(upright_frames(path)).reshape(640, 480, 3).mean(axis=1).T.astype(float)
    assert (red - blue)[-200:].mean() > (red - blue)[:200].mean() + 30  # the orange suit is below


@pytest.mark.parametrize(
    ("scene", "number"), FAKES, ids=[f"{scene.name}_{scene.forgeries[number].suffix}" for scene, number in FAKES]
)
def test_a_fake_departs_from_its_original_inside_the_true_mask(film: Film, scene: Scene, number: int) -> None:
    folder, masks = film(scene)
    original, fake = (next(upright_frames(folder / f"{name}.mp4")) for name in ("original", number))
    mask = masks[number]
    assert (mask.shape, mask.dtype, mask.max(), mask.min()) == (scene.size, np.uint8, 255, 0)
    assert cv2.connectedComponents((mask > 0).astype(np.uint8))[0] - 1 == len(scene.forgeries[number].faces)
    similarity = structural_similarity(original[..., 1], fake[..., 1], full=True)[1]  # of green: a third of the time
    assert similarity[mask == 255].mean() < similarity[mask == 0].mean() - 0.2
    assert np.abs(original[mask == 0].astype(int) - fake[mask == 0]).mean() < 2  # only encoding differs there


def first_fake(forgery: Forgery) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forge one frame of two people: the frame, its fake, the mask."""
    frame, [(fake, mask)] = next(film_scene(replace(BY_NAME["two_faces"], forgeries=(forgery,)), 0, 1))
    return frame, fake, mask


def test_before_encoding_a_forgery_of_no_face_changes_nothing() -> None:
    frame, fake, mask = first_fake(replace(ONE_ONLY, faces=()))
    assert np.array_equal(fake, frame)
    assert mask.max() == 0


def test_before_encoding_nothing_outside_the_mask_is_touched() -> None:
    frame, fake, mask = first_fake(ONE_ONLY)
    assert np.array_equal(fake[mask == 0], frame[mask == 0])
    assert np.abs(fake[mask == 255].astype(int) - frame[mask == 255]).mean() > 4
    assert np.nonzero(mask)[1].min() > 320  # the second face is the right one


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_mtcnn_finds_every_face_and_none_else(sample_root: Path, scene: Scene) -> None:
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True, thresholds=[0.85, 0.95, 0.95], device="cpu")
    side = max(scene.size)
    scale = 2 if side < 300 else 1 if side <= 1000 else 0.5 if side <= 1900 else 0.33  # SPEC, section 2
    frames = list(upright_frames(sample_root / f"dfdc_train_part_{scene.part}" / f"{scene.name}.mp4"))[::7]
    found = [detector.detect(cv2.resize(frame, None, fx=scale, fy=scale))[0] for frame in frames]
    boxes = [[] if frame_boxes is None else frame_boxes for frame_boxes in found]
    expected = {"coffee": 0, "portrait": 1, "pair": 2}[scene.world]
    assert sum(len(frame_boxes) == expected for frame_boxes in boxes) == len(frames) == 4
    assert all(x1 - x0 >= 65 for frame_boxes in boxes for x0, _, x1, _ in frame_boxes)
    assert expected == 0 or np.ptp([frame_boxes[0][:2] for frame_boxes in boxes], axis=0).max() > 2  # it moves
