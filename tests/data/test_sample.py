"""The built-in sample: its contents, its bytes for a seed, and its recovery after an interruption or a change."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from dfdc_lib.data import sample
from dfdc_lib.data.datasets import list_videos
from dfdc_lib.data.datasets.files import is_of_sample
from dfdc_lib.data.sample import SCENES, make_sample, true_mask_path
from dfdc_lib.data.sample_camera import film_scene
from dfdc_lib.data.video import read_info
from dfdc_lib.records import FAKE, REAL

SHORT_SECONDS = 0.08  # two frames
FAKES = [(scene, forgery) for scene in SCENES for forgery in scene.forgeries]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All scenes, written by threads, because processes take seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "worker_pool", ThreadPoolExecutor)
        return make_sample(tmp_path_factory.mktemp("short") / "sample", seconds=SHORT_SECONDS)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "worker_pool", ThreadPoolExecutor)


@pytest.fixture
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the two fastest scenes; a worker process receives its scene as an argument and needs no patch."""
    monkeypatch.setattr(sample, "SCENES", tuple(scene for scene in SCENES if scene.name.startswith("small")))


def file_bytes(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_scenes_cover_sizes_rotation_and_faces() -> None:
    wider_sides = [max(scene.size) for scene in SCENES]
    assert (len(SCENES), len(FAKES)) == (16, 19)  # as in the module's docstring
    size_classes = ((0, 299), (300, 1000), (1001, 1900), (1901, 9999))
    assert [sum(low <= side <= high for side in wider_sides) for low, high in size_classes] == [2, 12, 1, 1]
    assert [scene.name for scene in SCENES if not scene.forgeries] == ["no_face"]
    assert [scene.name for scene in SCENES if scene.rotation] == ["turned_by_player"]
    assert [scene.name for scene in SCENES if scene.world == "pair"] == ["two_faces", "two_faces_848x480"]


def test_the_folder_has_the_layout_of_dfdc_and_the_masks_of_the_forged_frames(short: Path) -> None:
    parts = {f"dfdc_train_part_{part}" for part in range(4)}
    assert {path.name for path in short.iterdir()} == {*parts, "true_masks", "sample.json"}
    expected = {(scene.name, REAL, None, scene.part, "train") for scene in SCENES}
    expected |= {(f"{scene.name}_{forgery.suffix}", FAKE, scene.name, scene.part, "train") for scene, forgery in FAKES}
    videos = list_videos(short, "dfdc")
    assert {(v.video_id, v.label, v.original_id, v.part, v.split) for v in videos} == expected
    assert (
        sum(len(json.loads(path.read_text(encoding="utf-8"))) for path in short.glob("*/metadata.json"))
        == len(videos)
        == 35
    )
    assert all(is_of_sample(video.path) for video in videos)
    assert not is_of_sample(short.parent / "other" / "part" / "plain.mp4")
    assert len(list((short / "true_masks").rglob("*.png"))) == 2 * len(FAKES)
    scene = next(scene for scene in SCENES if scene.name == "small_256x192")
    for frame_index, (_, [(_, mask)]) in enumerate(film_scene(scene, 0, 2)):
        stored = cv2.imread(str(true_mask_path(short, "small_256x192_fake", frame_index)), cv2.IMREAD_UNCHANGED)
        assert mask.max() == 255 and np.array_equal(stored, mask)


@pytest.mark.usefixtures("few_scenes")
def test_another_process_gives_the_same_bytes(short: Path, tmp_path: Path) -> None:
    first = {name: content for name, content in file_bytes(short).items() if "small" in name}
    again = file_bytes(make_sample(tmp_path / "again", 0, SHORT_SECONDS, workers=1))
    assert len(first) == 4 + 2 * 2  # videos and masks
    assert {name: again[name] for name in again if "small" in name} == first


@pytest.mark.usefixtures("few_scenes", "threads")
def test_another_seed_gives_other_bytes(short: Path, tmp_path: Path) -> None:
    first, other = file_bytes(short), file_bytes(make_sample(tmp_path / "other", 4, SHORT_SECONDS))
    assert [name for name in other if other[name] == first[name]] == []


@pytest.mark.usefixtures("few_scenes", "threads")
def test_a_complete_sample_is_reused_and_another_is_replaced(tmp_path: Path) -> None:
    root = make_sample(tmp_path / "sample", 0, SHORT_SECONDS, 1)
    before, video = file_bytes(root), root / "dfdc_train_part_0" / "small_256x192.mp4"
    modified = video.stat().st_mtime_ns
    assert make_sample(root, 0, SHORT_SECONDS, 1) == root
    assert video.stat().st_mtime_ns == modified
    make_sample(root, 0, 0.04, 1)
    assert read_info(video).frame_count == 1
    assert file_bytes(make_sample(root, 0, SHORT_SECONDS, 1)) == before
    assert {path.name for path in tmp_path.iterdir()} == {"sample", ".sample.lock"}


@pytest.mark.usefixtures("few_scenes", "threads")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        *[("true_masks/small_256x192_fake/00001.png", None), ("sample.json", b"{")],
        *[(f"dfdc_train_part_0/{name}.mp4", b"no video") for name in ("small_256x192", "added")],
    ],
)
def test_a_changed_sample_is_restored(tmp_path: Path, name: str, content: bytes | None) -> None:
    root = make_sample(tmp_path / "sample", 0, SHORT_SECONDS)
    before = file_bytes(root)
    (root / name).unlink(missing_ok=True)
    if content:
        (root / name).write_bytes(content)
    assert file_bytes(make_sample(root, 0, SHORT_SECONDS)) == before


@pytest.mark.usefixtures("threads")
def test_a_killed_process_leaves_no_incomplete_sample(short: Path, tmp_path: Path) -> None:
    root, partial = tmp_path / "sample", tmp_path / ".sample.partial"
    call = f"make_sample(Path({str(root)!r}), workers=1)"  # of full length: seconds of work for each scene
    code = f"from pathlib import Path; from dfdc_lib.data.sample import make_sample; {call}"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not list(partial.rglob("*.mp4")):
        assert process.poll() is None, "the process ended before it was killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert partial.exists() and not root.exists()
    time.sleep(0.5)  # until the orphaned worker ends itself
    left = file_bytes(partial)
    time.sleep(1)
    assert file_bytes(partial) == left, "the worker outlived its parent"
    assert file_bytes(make_sample(root, seconds=SHORT_SECONDS)) == file_bytes(short)
    assert not partial.exists()


@pytest.mark.parametrize(("arguments", "keyword"), [({"seconds": 0.01}, "seconds 0.01"), ({"seed": -1}, "seed -1")])
def test_arguments_that_are_refused(tmp_path: Path, arguments: dict, keyword: str) -> None:
    with pytest.raises(ValueError, match=keyword):
        make_sample(tmp_path / "a", **arguments)


@pytest.mark.parametrize("names", [["thesis.txt"], ["sample.json", "thesis.txt"], ["dfdc_train_part_0"]])
def test_another_folder_is_not_replaced(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "mine").mkdir()
    for name in names:
        (tmp_path / "mine" / name).write_text("{}")
    with pytest.raises(FileExistsError, match=names[-1]):
        make_sample(tmp_path / "mine", seconds=SHORT_SECONDS)
    assert {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "mine").iterdir()} == dict.fromkeys(
        names, "{}"
    )
