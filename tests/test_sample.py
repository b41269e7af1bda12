"""The built-in sample: what it contains, that its bytes are its seed's, and that an interrupted making is mended."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from dfdc_lib import sample
from dfdc_lib.sample import SCENES, make_sample, true_mask_path

SHORT_SECONDS = 0.12  # three frames
FAKES = [(scene, forgery) for scene in SCENES for forgery in scene.forgeries]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("short") / "sample", seconds=SHORT_SECONDS)


@pytest.fixture
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the two quickest scenes: spawned workers get their scene as an argument, so they need no patch."""
    monkeypatch.setattr(sample, "SCENES", tuple(scene for scene in SCENES if scene.name.startswith("small")))


def video_path(root: Path, scene: sample.Scene, stem: str) -> Path:
    return root / f"dfdc_train_part_{scene.part}" / f"{stem}.mp4"


def upright_frames(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


def file_bytes(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_table_covers_what_the_issue_asks_for() -> None:
    wider_sides = [max(scene.size) for scene in SCENES]
    assert (len(SCENES), len(FAKES)) == (16, 19)  # the module docstring says these numbers
    assert [sum(low <= side <= high for side in wider_sides) for low, high in ((0, 299), (300, 1000), (1001, 1900), (1901, 9999))] == [
        2,
        12,
        1,
        1,
    ]
    assert [scene.name for scene in SCENES if not scene.forgeries] == ["no_face"]
    assert [scene.name for scene in SCENES if scene.rotation] == ["turned_by_player"]
    assert [scene.name for scene in SCENES if scene.world == "pair"] == ["two_faces", "two_faces_848x480"]
    assert {scene.part for scene in SCENES} == {0, 1, 2, 3}


def test_the_folder_holds_what_the_table_says(short: Path) -> None:
    stems = {f"part_{scene.part}/{scene.name}" for scene in SCENES} | {f"part_{s.part}/{s.name}_{f.suffix}" for s, f in FAKES}
    assert {f"part_{path.parent.name[-1]}/{path.stem}" for path in short.glob("*/*.mp4")} == stems
    assert {path.name for path in short.iterdir()} == {f"dfdc_train_part_{n}" for n in range(4)} | {"true_masks", "sample.json"}
    assert len(list((short / "true_masks").rglob("*.png"))) == 3 * len(FAKES)


def test_metadata_has_the_form_of_dfdc(short: Path) -> None:
    entries = json.loads((short / "dfdc_train_part_0" / "metadata.json").read_text())
    assert entries["two_faces.mp4"] == {"label": "REAL", "split": "train"}
    assert entries["two_faces_fake_one_face.mp4"] == {"label": "FAKE", "split": "train", "original": "two_faces.mp4"}
    for part in range(4):
        folder = short / f"dfdc_train_part_{part}"
        entries = json.loads((folder / "metadata.json").read_text())
        assert set(entries) == {path.name for path in folder.glob("*.mp4")}
        assert all(entry.get("original", name) in entries for name, entry in entries.items())


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_videos_have_their_size_rate_and_length(short: Path, scene: sample.Scene) -> None:
    with av.open(str(video_path(short, scene, scene.name))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate, stream.frames) == ("h264", 25, 3)
    assert [frame.shape for frame in upright_frames(video_path(short, scene, scene.name))] == 3 * [(*scene.size, 3)]


def test_rotation_metadata_turns_the_stored_frames_upright(short: Path) -> None:
    scene = next(scene for scene in SCENES if scene.rotation)
    with av.open(str(video_path(short, scene, scene.name))) as container:
        stored = next(container.decode(video=0))
    assert (stored.rotation, stored.height, stored.width) == (-90, 480, 640)  # PyAV counts counter-clockwise
    upright = next(upright_frames(video_path(short, scene, scene.name)))
    red, _, blue = upright.reshape(640, 480, 3).mean(axis=1).T.astype(float)
    assert (red - blue)[-200:].mean() > (red - blue)[:200].mean() + 30  # the orange suit is below


@pytest.mark.parametrize(("scene", "forgery"), FAKES, ids=[f"{scene.name}_{forgery.suffix}" for scene, forgery in FAKES])
def test_a_fake_departs_from_its_original_inside_the_true_mask(short: Path, scene: sample.Scene, forgery: sample.Forgery) -> None:
    stem = f"{scene.name}_{forgery.suffix}"
    original, fake = (next(upright_frames(video_path(short, scene, name))) for name in (scene.name, stem))
    mask = cv2.imread(str(true_mask_path(short, stem, 0)), cv2.IMREAD_UNCHANGED)
    assert (mask.shape, mask.dtype, mask.max(), mask.min()) == (scene.size, np.uint8, 255, 0)
    assert cv2.connectedComponents((mask > 0).astype(np.uint8))[0] - 1 == len(forgery.faces)
    similarity = structural_similarity(original, fake, channel_axis=2, full=True)[1].mean(axis=2)
    assert similarity[mask == 255].mean() < similarity[mask == 0].mean() - 0.2
    assert np.abs(original[mask == 0].astype(int) - fake[mask == 0]).mean() < 2  # only encoding differs there


def test_before_encoding_nothing_outside_the_mask_is_touched() -> None:
    scene = next(scene for scene in SCENES if scene.name == "two_faces")
    rng = np.random.default_rng(0)
    world, faces = sample._world(scene)
    cameras, lights = sample._camera(scene, rng, 1)
    frame = sample._photograph(world, scene, cameras[0], lights[0], rng)
    fake, alpha = sample._forge(frame, cameras[0], [faces[1]], sample.ONE_ONLY)
    assert np.array_equal(fake[alpha == 0], frame[alpha == 0])
    assert np.abs(fake[alpha == 255].astype(int) - frame[alpha == 255]).mean() > 4
    assert np.nonzero(alpha)[1].min() > 320  # the second face is the right one
    untouched, empty = sample._forge(frame, cameras[0], [], sample.ONE_ONLY)
    assert np.array_equal(untouched, frame) and empty.max() == 0


def test_one_seed_gives_the_same_bytes_and_another_does_not(short: Path, few_scenes: None, tmp_path: Path) -> None:
    again, other = (file_bytes(make_sample(tmp_path / str(seed), seed, SHORT_SECONDS, workers=1)) for seed in (0, 4))
    first = {name: content for name, content in file_bytes(short).items() if "small" in name}
    assert len(first) == 4 + 6  # videos and masks
    assert set(again) - set(first) == {"dfdc_train_part_0/metadata.json", "dfdc_train_part_3/metadata.json", "sample.json"}
    assert {name: again[name] for name in first} == first
    assert not [name for name in first if other[name] == first[name]]


def test_a_complete_sample_is_found_and_any_other_is_made_anew(few_scenes: None, tmp_path: Path) -> None:
    root = make_sample(tmp_path / "sample", 0, SHORT_SECONDS, 1)
    before, video = file_bytes(root), root / "dfdc_train_part_0" / "small_256x192.mp4"
    made = video.stat().st_mtime_ns
    assert make_sample(root, 0, SHORT_SECONDS, 1) == root
    assert video.stat().st_mtime_ns == made
    video.write_bytes(b"no video")
    assert file_bytes(make_sample(root, 0, SHORT_SECONDS, 1)) == before
    make_sample(root, 0, 0.04, 1)
    assert len(list(upright_frames(video))) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"sample", ".sample.lock"}


@pytest.mark.parametrize("change", ["none", "mask missing", "video changed", "file added", "marker broken", "marker missing", "other seed"])
def test_every_change_is_noticed(short: Path, tmp_path: Path, change: str) -> None:
    root = Path(shutil.copytree(short, tmp_path / "sample"))
    recipe = {name: value for name, value in json.loads((root / "sample.json").read_text()).items() if name != "content"}
    if change == "mask missing":
        true_mask_path(root, "zoom_fake", 2).unlink()
    elif change == "video changed":
        (root / "dfdc_train_part_2" / "zoom.mp4").write_bytes(b"no video")
    elif change == "file added":
        (root / "dfdc_train_part_2" / "mine.mp4").write_bytes(b"no video")
    elif change == "marker broken":
        (root / "sample.json").write_text("{")
    elif change == "marker missing":
        (root / "sample.json").unlink()
    elif change == "other seed":
        recipe["seed"] = 1
    assert sample._is_complete(root, recipe) == (change == "none")


def test_a_killed_making_leaves_nothing_half_and_is_mended(short: Path, tmp_path: Path) -> None:
    root, workplace = tmp_path / "sample", tmp_path / ".sample.partial"
    call = f"from pathlib import Path; from dfdc_lib.sample import make_sample; make_sample(Path({str(root)!r}), seconds={SHORT_SECONDS})"
    maker = subprocess.Popen([sys.executable, "-c", call], stderr=subprocess.DEVNULL)
    while not list(workplace.rglob("*.mp4")):
        assert maker.poll() is None, "the maker ended before it was killed"
        time.sleep(0.01)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    assert workplace.exists() and not root.exists()
    time.sleep(0.5)  # the orphaned workers notice and leave
    left = file_bytes(workplace)
    time.sleep(0.5)
    assert file_bytes(workplace) == left, "a worker outlived its parent"
    assert file_bytes(make_sample(root, seconds=SHORT_SECONDS)) == file_bytes(short)
    assert not workplace.exists()


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected seconds >= 0.04, .* got seconds 0.01, seed 0, workers 0"):
        make_sample(tmp_path / "a", seconds=0.01)
    with pytest.raises(ValueError, match=r"seed >= 0, .* seed -1"):
        make_sample(tmp_path / "a", seed=-1)


@pytest.mark.parametrize(
    ("names", "found"),
    [(["thesis.txt"], "thesis.txt"), (["sample.json", "thesis.txt"], "thesis.txt"), (["dfdc_train_part_0"], "dfdc_train_part_0")],
)
def test_a_folder_that_is_no_sample_is_left_alone(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        (tmp_path / "mine" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_text("{}")
    with pytest.raises(
        FileExistsError, match=f"expected a new or empty folder or an older sample, got .*mine with {found}: choose another"
    ):
        make_sample(tmp_path / "mine", seconds=SHORT_SECONDS)
    assert {path.name: path.read_text() for path in (tmp_path / "mine").iterdir()} == dict.fromkeys(names, "{}")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("film") / "sample", seconds=1.24)  # 31 frames: four examined


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_mtcnn_finds_every_face_and_none_else(film: Path, scene: sample.Scene) -> None:
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True, thresholds=[0.85, 0.95, 0.95], device="cpu")
    side = max(scene.size)
    scale = 2 if side < 300 else 1 if side <= 1000 else 0.5 if side <= 1900 else 0.33  # SPEC, section 2
    frames = list(upright_frames(video_path(film, scene, scene.name)))[::10]
    found = [detector.detect(cv2.resize(frame, None, fx=scale, fy=scale))[0] for frame in frames]
    boxes = [[] if frame_boxes is None else frame_boxes for frame_boxes in found]
    expected = {"coffee": 0, "portrait": 1, "pair": 2}[scene.world]
    assert sum(len(frame_boxes) == expected for frame_boxes in boxes) == len(frames) == 4
    assert all(x1 - x0 >= 65 for frame_boxes in boxes for x0, _, x1, _ in frame_boxes)
    assert expected == 0 or np.ptp([frame_boxes[0][0] for frame_boxes in boxes]) > 2  # it moves
