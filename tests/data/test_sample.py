"""The built-in sample: what it contains, that its bytes are its seed's, and that an interrupted making is mended."""

import json
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dfdc_lib.data import sample
from dfdc_lib.data.sample import SCENES, is_of_sample, make_sample, true_mask_path
from dfdc_lib.data.sample_camera import film_scene

SHORT_SECONDS = 0.08  # two frames
FAKES = [(scene, forgery) for scene in SCENES for forgery in scene.forgeries]


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All scenes, made by threads: processes take seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "worker_pool", ThreadPoolExecutor)
        return make_sample(tmp_path_factory.mktemp("short") / "sample", seconds=SHORT_SECONDS)


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "worker_pool", ThreadPoolExecutor)


@pytest.fixture
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the two quickest scenes: a worker process gets its scene as an argument, so it needs no patch."""
    monkeypatch.setattr(sample, "SCENES", tuple(scene for scene in SCENES if scene.name.startswith("small")))


def file_bytes(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_table_covers_what_the_issue_asks_for() -> None:
    wider_sides = [max(scene.size) for scene in SCENES]
    assert (len(SCENES), len(FAKES)) == (16, 19)  # the module docstring says these numbers
    size_classes = ((0, 299), (300, 1000), (1001, 1900), (1901, 9999))
    assert [sum(low <= side <= high for side in wider_sides) for low, high in size_classes] == [2, 12, 1, 1]
    assert [scene.name for scene in SCENES if not scene.forgeries] == ["no_face"]
    assert [scene.name for scene in SCENES if scene.rotation] == ["turned_by_player"]
    assert [scene.name for scene in SCENES if scene.world == "pair"] == ["two_faces", "two_faces_848x480"]
    assert {scene.part for scene in SCENES} == {0, 1, 2, 3}


def test_the_folder_holds_what_the_table_says(short: Path) -> None:
    stems = {f"part_{scene.part}/{scene.name}" for scene in SCENES} | {
        f"part_{s.part}/{s.name}_{f.suffix}" for s, f in FAKES
    }
    assert {f"part_{path.parent.name[-1]}/{path.stem}" for path in short.glob("*/*.mp4")} == stems
    assert {path.name for path in short.iterdir()} == {f"dfdc_train_part_{n}" for n in range(4)} | {
        "true_masks",
        "sample.json",
    }
    assert len(list((short / "true_masks").rglob("*.png"))) == 2 * len(FAKES)


def test_metadata_has_the_form_of_dfdc(short: Path) -> None:
    entries = json.loads((short / "dfdc_train_part_0" / "metadata.json").read_text())
    assert entries["two_faces.mp4"] == {"label": "REAL", "split": "train"}
    assert entries["two_faces_fake_one_face.mp4"] == {"label": "FAKE", "split": "train", "original": "two_faces.mp4"}
    for part in range(4):
        folder = short / f"dfdc_train_part_{part}"
        entries = json.loads((folder / "metadata.json").read_text())
        assert set(entries) == {path.name for path in folder.glob("*.mp4")}
        assert all(entry.get("original", name) in entries for name, entry in entries.items())


def test_masks_on_disk_are_those_of_the_forged_frames(short: Path) -> None:
    scene = next(scene for scene in SCENES if scene.name == "small_256x192")
    for frame_index, (_, [(_, mask)]) in enumerate(film_scene(scene, 0, 2)):
        found = cv2.imread(str(true_mask_path(short, "small_256x192_fake", frame_index)), cv2.IMREAD_UNCHANGED)
        assert mask.max() == 255 and np.array_equal(found, mask)


@pytest.mark.usefixtures("few_scenes")
def test_another_process_gives_the_same_bytes(short: Path, tmp_path: Path) -> None:
    first = {name: content for name, content in file_bytes(short).items() if "small" in name}
    again = file_bytes(make_sample(tmp_path / "again", 0, SHORT_SECONDS, workers=1))
    assert len(first) == 4 + 2 * 2  # videos and masks
    assert set(again) - set(first) == {
        "dfdc_train_part_0/metadata.json",
        "dfdc_train_part_3/metadata.json",
        "sample.json",
    }
    assert {name: again[name] for name in first} == first


def test_a_video_of_the_sample_is_known_by_its_folder(short: Path, tmp_path: Path) -> None:
    videos = sorted(short.glob("dfdc_train_part_*/*.mp4"))
    assert videos and all(map(is_of_sample, videos))
    assert not is_of_sample(tmp_path / "part" / videos[0].name)


@pytest.mark.usefixtures("few_scenes", "threads")
def test_another_seed_gives_other_bytes(short: Path, tmp_path: Path) -> None:
    first, other = file_bytes(short), file_bytes(make_sample(tmp_path / "other", 4, SHORT_SECONDS))
    assert [name for name in other if other[name] == first[name]] == []


@pytest.mark.usefixtures("few_scenes", "threads")
def test_a_complete_sample_is_found_and_any_other_is_made_anew(tmp_path: Path) -> None:
    root = make_sample(tmp_path / "sample", 0, SHORT_SECONDS, 1)
    before, video = file_bytes(root), root / "dfdc_train_part_0" / "small_256x192.mp4"
    made = video.stat().st_mtime_ns
    assert make_sample(root, 0, SHORT_SECONDS, 1) == root
    assert video.stat().st_mtime_ns == made
    video.write_bytes(b"no video")
    assert file_bytes(make_sample(root, 0, SHORT_SECONDS, 1)) == before
    make_sample(root, 0, 0.04, 1)
    with av.open(str(video)) as container:
        assert container.streams.video[0].frames == 1
    assert {path.name for path in tmp_path.iterdir()} == {"sample", ".sample.lock"}


@pytest.mark.parametrize(
    "change", ["none", "mask missing", "video changed", "file added", "marker broken", "marker missing", "other seed"]
)
def test_every_change_is_noticed(short: Path, tmp_path: Path, change: str) -> None:
    root = Path(shutil.copytree(short, tmp_path / "sample"))
    recipe = {
        name: value for name, value in json.loads((root / "sample.json").read_text()).items() if name != "content"
    }
    if change == "mask missing":
        true_mask_path(root, "zoom_fake", 1).unlink()
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


@pytest.mark.usefixtures("threads")
def test_a_killed_making_leaves_nothing_half_and_is_mended(short: Path, tmp_path: Path) -> None:
    root, workplace = tmp_path / "sample", tmp_path / ".sample.partial"
    call = f"make_sample(Path({str(root)!r}), workers=1)"  # of full length: seconds of work for each scene
    code = f"from pathlib import Path; from dfdc_lib.data.sample import make_sample; {call}"
    maker = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not list(workplace.rglob("*.mp4")):
        assert maker.poll() is None, "the maker ended before it was killed"
        time.sleep(0.01)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    assert workplace.exists() and not root.exists()
    time.sleep(0.5)  # the orphaned worker notices and leaves
    left = file_bytes(workplace)
    time.sleep(1)
    assert file_bytes(workplace) == left, "the worker outlived its parent"
    assert file_bytes(make_sample(root, seconds=SHORT_SECONDS)) == file_bytes(short)
    assert not workplace.exists()


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected seconds >= 0.04, .* got seconds 0.01, seed 0, workers 0"):
        make_sample(tmp_path / "a", seconds=0.01)
    with pytest.raises(ValueError, match=r"seed >= 0, .* seed -1"):
        make_sample(tmp_path / "a", seed=-1)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["thesis.txt"], "thesis.txt"),
        (["sample.json", "thesis.txt"], "thesis.txt"),
        (["dfdc_train_part_0"], "dfdc_train_part_0"),
    ],
)
def test_a_folder_that_is_no_sample_is_left_alone(tmp_path: Path, names: list[str], found: str) -> None:
    for name in names:
        (tmp_path / "mine" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_text("{}")
    with pytest.raises(
        FileExistsError,
        match=f"expected a new or empty folder or an older sample, got .*mine with {found}: choose another",
    ):
        make_sample(tmp_path / "mine", seconds=SHORT_SECONDS)
    assert {path.name: path.read_text() for path in (tmp_path / "mine").iterdir()} == dict.fromkeys(names, "{}")
