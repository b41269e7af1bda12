"""The virtual camera: frames, fakes and masks of every scene of the sample, before and after encoding."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from dfdc_lib.data.sample import ONE_ONLY, SCENES
from dfdc_lib.data.sample_camera import ENCODER_OPTIONS, FPS, Scene, film_scene
from dfdc_lib.data.video import video_writer
from dfdc_lib.records import DetectorSettings

FRAME_COUNT = 3
BY_NAME = {scene.name: scene for scene in SCENES}
Film = Callable[[Scene], tuple[Path, list[np.ndarray]]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Film a scene once for all tests: a folder of original.mp4 and <number>.mp4, and the masks of the first frame."""

    @cache
    def make(scene: Scene) -> tuple[Path, list[np.ndarray]]:
        folder = tmp_path_factory.mktemp(scene.name)
        filmed = list(film_scene(scene, 0, FRAME_COUNT))
        videos = {"original": [frame for frame, _ in filmed]}
        videos |= {str(n): [fakes[n][0] for _, fakes in filmed] for n in range(len(scene.forgeries))}
        for name, frames in videos.items():
            with video_writer(folder / f"{name}.mp4", scene.size, FPS, ENCODER_OPTIONS, scene.rotation) as write:
                for frame in frames:
                    write(frame)
        return folder, [mask for _, mask in filmed[0][1]]

    return make


def upright_frames(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


def test_seed_and_scene_determine_the_movement() -> None:
    scene = BY_NAME["small_256x192"]
    assert list(film_scene(scene, 0, 0)) == []
    arguments = ((scene, 0), (scene, 0), (scene, 4), (replace(scene, name="other"), 0))
    first, *others = (next(film_scene(*pair, 1))[0] for pair in arguments)
    assert [np.array_equal(first, other) for other in others] == [True, False, False]


def test_rotation_metadata_turns_the_stored_frames_upright(film: Film) -> None:
    path = film(BY_NAME["turned_by_player"])[0] / "original.mp4"
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0))
    assert (stored.rotation, stored.height, stored.width) == (-90, 480, 640)  # PyAV counts counter-clockwise
    red, _, blue = next(upright_frames(path)).reshape(640, 480, 3).mean(axis=1).T.astype(float)
    assert (red - blue)[-200:].mean() > (red - blue)[:200].mean() + 30  # the orange suit is at the bottom


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_size_rate_and_length_and_that_fakes_differ_inside_the_true_mask(film: Film, scene: Scene) -> None:
    folder, masks = film(scene)
    with av.open(str(folder / "original.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate, stream.frames) == ("h264", 25, FRAME_COUNT)
    original, *others = upright_frames(folder / "original.mp4")
    assert [frame.shape for frame in (original, *others)] == FRAME_COUNT * [(*scene.size, 3)]
    for number, (mask, forgery) in enumerate(zip(masks, scene.forgeries, strict=True)):
        fake = next(upright_frames(folder / f"{number}.mp4"))
        assert (mask.shape, mask.dtype, mask.max(), mask.min()) == (scene.size, np.uint8, 255, 0)
        assert cv2.connectedComponents((mask > 0).astype(np.uint8))[0] - 1 == len(forgery.faces)
        similarity = structural_similarity(original[..., 1], fake[..., 1], full=True)[1]  # green only, for speed
        assert similarity[mask == 255].mean() < similarity[mask == 0].mean() - 0.2
        assert np.abs(original[mask == 0].astype(int) - fake[mask == 0]).mean() < 2  # only encoding differs there


def test_before_encoding_only_the_selected_faces_are_changed() -> None:
    scene = replace(BY_NAME["two_faces"], forgeries=(replace(ONE_ONLY, faces=()), ONE_ONLY))
    frame, [(unchanged, empty), (fake, mask)] = next(film_scene(scene, 0, 1))
    assert np.array_equal(unchanged, frame) and empty.max() == 0
    assert np.array_equal(fake[mask == 0], frame[mask == 0])
    assert np.abs(fake[mask == 255].astype(int) - frame[mask == 255]).mean() > 4
    assert np.nonzero(mask)[1].min() > 320  # the second face is the right one


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_mtcnn_detects_all_faces_and_nothing_else(sample_root: Path, scene: Scene) -> None:
    from dfdc_lib.backends.choice import Engine
    from dfdc_lib.faces.detect import detector_scale, load_detector

    frames = list(upright_frames(sample_root / f"dfdc_train_part_{scene.part}" / f"{scene.name}.mp4"))[::7]
    faces = load_detector(DetectorSettings(), Engine()).find_faces(frames)
    expected = {"coffee": 0, "portrait": 1, "pair": 2}[scene.world]
    assert [len(faces_of_frame) for faces_of_frame in faces] == 4 * [expected]
    boxes = detector_scale(*scene.size) * np.array([face.box for row in faces for face in row]).reshape(4, -1, 4)
    assert (boxes[..., 2] - boxes[..., 0] >= 65).all()
    assert expected == 0 or np.ptp(boxes[:, 0, :2], axis=0).max() > 2  # it moves
