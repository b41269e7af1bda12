"""Examples for notebooks, read from a small run of the built-in sample."""

import shutil
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from dfdc_lib import workers
from dfdc_lib.backends.choice import Engine
from dfdc_lib.data import video
from dfdc_lib.data.video_stage import find_videos
from dfdc_lib.faces import examples
from dfdc_lib.faces.crop_stage import crop_faces
from dfdc_lib.faces.detect_stage import detect_faces
from dfdc_lib.faces.mask_stage import make_masks
from dfdc_lib.records import FAKE, KEY_COLUMNS, REAL, DetectorSettings, FaceKey, Video
from dfdc_lib.run_folder import Run, open_run

NAMES = ("two_faces", "two_faces_fake_one_face", "plain", "plain_fake")  # of part 0; "two_faces" shows two people


@pytest.fixture(scope="module")
def run(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Two originals and two fakes of the sample after the stages 00 to 03, frames 0 and 20."""
    opened = open_run(tmp_path_factory.mktemp("examples") / "run")
    copy = opened.root / "sample"
    (copy / "dfdc_train_part_0").mkdir(parents=True)
    for name in (*(f"{name}.mp4" for name in NAMES), "metadata.json"):
        shutil.copy(sample_root / "dfdc_train_part_0" / name, copy / "dfdc_train_part_0")
    shutil.copytree(sample_root / "true_masks", copy / "true_masks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worker_pool", ThreadPoolExecutor)  # processes take seconds to start
        find_videos(opened, str(copy))
        detect_faces(opened, DetectorSettings(frame_stride=20), Engine())
        crop_faces(opened)
        make_masks(opened)
        yield opened


@pytest.mark.parametrize(
    ("rows", "most", "expected"),
    [
        *[([], 3, []), ([("a", 0, 0.5)], 3, [("a", 0, 0)])],  # the second is both the strongest and the weakest
        ([("a", 0, 0.5), ("a", 10, 0.1), ("b", 0, 0.3)], 1, [("a", 0, 0), ("a", 10, 0)]),
        ([("a", 0, 0.1), ("b", 0, 0.2), ("c", 0, 0.3), ("d", 0, 0.4)], 1, [("d", 0, 0), ("a", 0, 0)]),
        ([("a", 0, 0.1), ("b", 0, 0.2), ("007", 0, 0.4)], 2, [("007", 0, 0), ("b", 0, 0), ("a", 0, 0)]),
    ],
)
def test_strongest_and_weakest(rows: list, most: int, expected: list[tuple[str, int, int]]) -> None:
    table = pd.DataFrame(rows, columns=["video_id", "frame_index", "changed_share"]).assign(face_index=0)
    assert examples.strongest_and_weakest(table, most) == expected


def test_first_frames_and_frames_with_faces(run: Run) -> None:
    assert examples.first_frames([]) == []
    images = examples.first_frames([v for v in run.read_videos() if v.video_id in ("plain", "plain_fake")])
    assert [image.shape for image in images] == [(480, 640, 3)] * 2
    original, fake = (image.astype(int) for image in images)
    assert 0 < np.abs(original - fake).mean() < 5  # the same scene except for the face
    assert examples.frames_with_faces(run, []) == []
    places = [("two_faces", 20), ("plain", 0), ("two_faces", 0)]
    for (image, faces), (video_id, frame_index) in zip(examples.frames_with_faces(run, places), places, strict=True):
        path = next(record.path for record in run.read_videos() if record.video_id == video_id)
        np.testing.assert_array_equal(image, video.read_frames(path, {frame_index})[0].image)
        assert len(faces) == {"two_faces": 2, "plain": 1}[video_id]
        [frame] = [frame for frame in run.read_faces(video_id).frames if frame.frame_index == frame_index]
        assert faces == frame.faces


def test_a_video_is_decoded_once_for_all_pictures(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the last of its frames, and no frame of a video that is not shown."""
    opened: list[str] = []
    decoded: dict[str, int] = {}

    class CountingReader(video.VideoReader):
        def __init__(self, path: Path, threads: int = 0) -> None:
            super().__init__(path, threads)
            opened.append(path.stem)

        def frames_at(self, frame_indices: Collection[int]) -> Iterator[video.Frame]:
            yield from super().frames_at(frame_indices)
            decoded[self.path.stem] = self.frame_count

    monkeypatch.setattr(video, "VideoReader", CountingReader)
    places = [("plain", 8), ("two_faces", 0), ("plain", 2), ("plain", 8), ("plain", 5)]
    images = examples.frames_of(run, places)
    assert sorted(opened) == ["plain", "two_faces"]
    assert decoded["plain"] <= 9 and decoded["two_faces"] == 1
    assert images[0] is images[3]
    keys = [FaceKey("two_faces", frame_index, face) for frame_index in (0, 20) for face in (0, 1)]
    examples.crops_at_margins(run, keys, [0, 0.5])
    assert opened[2:] == ["two_faces"]
    with pytest.raises(ValueError, match="frame 999"):
        examples.frames_of(run, [("plain", 0), ("plain", 999)])


def test_the_first_frame_of_a_damaged_video_is_the_first_undamaged_one(tmp_path: Path) -> None:
    """Frame n has the grey level 20 n; key frames are 0, 5, 10; with the first packet overwritten, frame 5 is first."""
    path = tmp_path / "damaged.mp4"
    with video.video_writer(path, (64, 96), 25, {"g": "5", "bf": "0"}) as write:
        for grey in range(0, 220, 20):
            write(np.full((64, 96, 3), grey, np.uint8))
    with av.open(str(path)) as container:
        first_packet = bytes(next(container.demux(video=0)))
    path.write_bytes(path.read_bytes().replace(first_packet, b"\xff" * len(first_packet)))
    assert video.read_frames(path, {0}) == []
    [image] = examples.first_frames([Video(video_id="damaged", path=path)])
    assert (image.shape, image.mean()) == ((64, 96, 3), pytest.approx(100, abs=3))


def test_crops_grow_with_the_margin(run: Run) -> None:
    assert examples.crops_at_margins(run, [], [0.2]) == {"margin 0.20": []}
    rows = examples.crops_at_margins(run, [("two_faces", 0, 1), ("plain", 20, 0)], [0, 0.2, 1 / 3, 0.5])
    assert list(rows) == ["margin 0.00", "margin 0.20", "margin 0.33", "margin 0.50"]
    for place in range(2):
        sides = [row[place].shape[:2] for row in rows.values()]
        assert sides == sorted(sides)
        assert len({height for height, _ in sides}) == len({width for _, width in sides}) == 4
        assert sides[3][1] / sides[0][1] == pytest.approx(2, abs=0.03)  # half of the box on each side
    np.testing.assert_array_equal(rows["margin 0.20"][0], examples.read_crop(run, "two_faces", 0, 1))  # stage 02's crop


def test_the_images_of_a_mask_panel_have_one_shape(run: Run) -> None:
    for key in run.read_table("masks.csv")[KEY_COLUMNS].itertuples(index=False):
        original, fake, similarity, mask = examples.mask_panel(run, *key)
        assert original.shape == fake.shape == (*similarity.shape, 3) == (*mask.shape, 3)
        assert (original.dtype, fake.dtype, similarity.dtype, mask.dtype) == (np.uint8, np.uint8, np.float32, np.uint8)
        np.testing.assert_array_equal(mask, np.round(255 * np.clip(1 - similarity, 0, 1)))
    with pytest.raises(KeyError):
        examples.mask_panel(run, "plain_fake", 1, 0)


def test_true_overlaps_are_of_the_forged_faces_of_the_sample(run: Run, tmp_path: Path) -> None:
    overlaps = examples.true_overlaps(run)
    assert list(overlaps.columns) == [*KEY_COLUMNS, "iou"]
    frames = overlaps.groupby("video_id")["frame_index"].apply(list).to_dict()
    assert frames == {"plain_fake": [0, 20], "two_faces_fake_one_face": [0, 20]}
    assert overlaps["iou"].between(0.2, 1).all()
    shutil.copytree(run.root, tmp_path / "run", ignore=shutil.ignore_patterns("sample"))
    without_truth = examples.true_overlaps(open_run(tmp_path / "run"))
    assert (len(without_truth), list(without_truth.columns)) == (0, list(overlaps.columns))


def test_example_crop_is_the_one_that_differs_most_or_the_first(run: Run, tmp_path: Path) -> None:
    crop, mask, landmarks, label = examples.example_crop(run)
    assert label == FAKE
    row = run.read_table("masks.csv").sort_values("changed_share").iloc[-1]
    key = FaceKey(*row[KEY_COLUMNS])
    np.testing.assert_array_equal(crop, examples.read_crop(run, *key))
    np.testing.assert_array_equal(mask, run.read_image(run.mask_path(key)))
    stored = next(c for c in run.read_crops(key.video_id).crops if (c.frame_index, c.face_index) == key[1:])
    assert landmarks == pytest.approx(np.array(stored.landmarks), abs=0.01)
    assert ((landmarks > 0) & (landmarks < crop.shape[1::-1])).all()
    other = open_run(tmp_path / "run")
    for name in ("crops.parquet", "masks.csv"):
        other.write_table(name, run.read_table(name).iloc[:0])
    with pytest.raises(ValueError, match="no crops"):
        examples.example_crop(other)
    table = run.read_table("crops.parquet")
    other.write_table("crops.parquet", table)
    shutil.copytree(run.root / "crops", other.root / "crops")
    for label in (FAKE, REAL, None):  # without a mask, a fake's is unknown
        video_id = str(table.loc[0, "video_id"])
        other.write_videos([Video(video_id=video_id, path=Path("a.mp4"), label=label)], {})
        crop, mask, _, example_label = examples.example_crop(other)
        np.testing.assert_array_equal(crop, examples.read_crop(run, *table.loc[0, KEY_COLUMNS]))
        assert (mask.shape, mask.max(), example_label) == (crop.shape[:2], 0, label or REAL)
