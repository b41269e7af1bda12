"""What notebooks show: the right number of examples, of one shape, read from a small run of the built-in sample."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from dfdc_lib import workers
from dfdc_lib.data import video
from dfdc_lib.faces import examples, stages
from dfdc_lib.records import DetectorSettings, FaceKey, Video
from dfdc_lib.run_folder import Run, open_run

NAMES = (
    "two_faces",
    "two_faces_fake_one_face",
    "plain",
    "plain_fake",
)  # of part 0; the first is an original with two people


@pytest.fixture(scope="module")
def run(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Two originals and two fakes of the sample, through 00 to 03, frames 0 and 20."""
    opened = open_run(tmp_path_factory.mktemp("examples") / "run")
    for path in (f"dfdc_train_part_0/{name}.mp4" for name in NAMES):
        (opened.root / "sample" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sample_root / path, opened.root / "sample" / path)
    shutil.copy(sample_root / "dfdc_train_part_0" / "metadata.json", opened.root / "sample" / "dfdc_train_part_0")
    shutil.copytree(sample_root / "true_masks", opened.root / "sample" / "true_masks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worker_pool", ThreadPoolExecutor)  # a process takes seconds to start
        stages.find_videos(opened, str(opened.root / "sample"))
        stages.detect_faces(opened, DetectorSettings(frame_stride=20), "cpu")
        stages.crop_faces(opened)
        stages.make_masks(opened)
        yield opened


@pytest.mark.parametrize(
    ("items", "most", "expected"),
    [
        ("", 0, ""),
        ("", 3, ""),
        ("abc", 0, ""),
        ("abc", 1, "a"),
        ("abc", 2, "ac"),
        ("abc", 3, "abc"),
        ("abc", 4, "abc"),
        ("abcdefg", 3, "adg"),
        ("abcdefgh", 7, "abcefgh"),
    ],
)
def test_evenly(items: str, most: int, expected: str) -> None:
    assert examples.evenly(items, most) == list(expected)


@pytest.mark.parametrize(
    ("rows", "most", "expected"),
    [
        ([], 3, []),
        ([("a", 0, 0.5)], 3, [("a", 0, 0)]),  # strongest and weakest in one
        ([("a", 0, 0.5), ("a", 10, 0.1), ("b", 0, 0.3)], 1, [("a", 0, 0), ("a", 10, 0)]),
        ([("a", 0, 0.1), ("b", 0, 0.2), ("c", 0, 0.3), ("d", 0, 0.4)], 1, [("d", 0, 0), ("a", 0, 0)]),
        (
            [("a", 0, 0.1), ("b", 0, 0.2), ("c", 0, 0.3), ("007", 0, 0.4)],
            2,
            [("007", 0, 0), ("c", 0, 0), ("b", 0, 0), ("a", 0, 0)],
        ),
    ],
)
def test_strongest_and_weakest(
    rows: list[tuple[str, int, float]], most: int, expected: list[tuple[str, int, int]]
) -> None:
    table = pd.DataFrame(rows, columns=["video_id", "frame_index", "changed_share"]).assign(face_index=0)
    assert examples.strongest_and_weakest(table, most) == expected


def test_first_frames(run: Run) -> None:
    assert examples.first_frames([]) == []
    videos = {video.video_id: video for video in run.read_videos()}
    images = examples.first_frames([videos["plain"], videos["plain_fake"]])
    assert [image.shape for image in images] == [(480, 640, 3)] * 2
    original, fake = (image.astype(int) for image in images)
    assert 0 < np.abs(original - fake).mean() < 5  # the same scene but for the face


def test_the_first_frame_of_a_damaged_video_is_the_first_sound_one(tmp_path: Path) -> None:
    """Frame n has the grey level 20·n; key frames are 0, 5, 10; the first packet is overwritten, so frame 5 is the first to be had."""
    path = tmp_path / "damaged.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "5", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for grey in range(0, 220, 20):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.full((64, 96, 3), grey, np.uint8), format="rgb24"))
            )
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        packet = next(container.demux(video=0))
        start, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)
    assert video.read_frames(path, {0}) == []
    [image] = examples.first_frames([Video(video_id="damaged", path=path)])
    assert image.shape == (64, 96, 3)
    assert image.mean() == pytest.approx(100, abs=3)


def test_a_frame_comes_with_its_faces(run: Run) -> None:
    image, faces = examples.frame_with_faces(run, "two_faces", 20)
    assert image.shape == (480, 640, 3)
    assert len(faces) == 2
    assert faces == next(frame.faces for frame in run.read_faces("two_faces").frames if frame.frame_index == 20)


def test_crops_grow_with_the_margin(run: Run) -> None:
    assert examples.crops_at_margins(run, [], [0.2]) == {"margin 0.20": []}
    rows = examples.crops_at_margins(run, [("two_faces", 0, 1), ("plain", 20, 0)], [0, 0.2, 1 / 3, 0.5])
    assert list(rows) == ["margin 0.00", "margin 0.20", "margin 0.33", "margin 0.50"]
    for place in range(2):
        sides = [row[place].shape[:2] for row in rows.values()]
        assert sides == sorted(sides)
        assert len({height for height, _ in sides}) == len({width for _, width in sides}) == 4
        assert sides[3][1] / sides[0][1] == pytest.approx(2, abs=0.03)  # half of the box on each side
    np.testing.assert_array_equal(rows["margin 0.20"][0], examples.read_crop(run, "two_faces", 0, 1))  # what 02 cut


def test_a_mask_panel_has_one_shape(run: Run) -> None:
    masks = run.read_table("masks.csv")
    for video_id, frame_index, face_index in masks[["video_id", "frame_index", "face_index"]].itertuples(index=False):
        original, fake, similarity, mask = examples.mask_panel(run, video_id, frame_index, face_index)
        assert original.shape == fake.shape == (*similarity.shape, 3) == (*mask.shape, 3)
        assert (original.dtype, fake.dtype, similarity.dtype, mask.dtype) == (np.uint8, np.uint8, np.float32, np.uint8)
        np.testing.assert_array_equal(mask, np.round(255 * np.clip(1 - similarity, 0, 1)))
    with pytest.raises(KeyError):
        examples.mask_panel(run, "plain_fake", 1, 0)


def test_true_overlaps_score_the_forged_faces_only(run: Run) -> None:
    overlaps = examples.true_overlaps(run)
    assert list(overlaps.columns) == ["video_id", "frame_index", "face_index", "iou"]
    assert overlaps.groupby("video_id")["frame_index"].apply(list).to_dict() == {
        "plain_fake": [0, 20],
        "two_faces_fake_one_face": [0, 20],
    }
    assert overlaps["iou"].between(0.2, 1).all()


def test_without_the_truth_there_is_no_overlap(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.root, tmp_path / "run", ignore=shutil.ignore_patterns("sample"))
    overlaps = examples.true_overlaps(open_run(tmp_path / "run"))
    assert len(overlaps) == 0
    assert list(overlaps.columns) == ["video_id", "frame_index", "face_index", "iou"]


# A crop to try things on ----------------------------------------------------------------------------------------------------------------
def test_example_crop_is_the_one_that_differs_most(run: Run) -> None:
    crop, mask, landmarks = examples.example_crop(run)
    row = run.read_table("masks.csv").sort_values("changed_share").iloc[-1]
    place = (row["video_id"], row["frame_index"], row["face_index"])
    np.testing.assert_array_equal(crop, examples.read_crop(run, *place))
    np.testing.assert_array_equal(mask, run.read_image(run.mask_path(FaceKey(*place))))
    stored = next(c for c in run.read_crops(place[0]).crops if (c.frame_index, c.face_index) == place[1:])
    assert landmarks.shape == (5, 2)
    assert landmarks == pytest.approx(np.array(stored.landmarks), abs=0.01)
    assert ((landmarks > 0) & (landmarks < crop.shape[1::-1])).all()


def test_example_crop_without_masks_is_the_first_and_without_crops_an_error(run: Run, tmp_path: Path) -> None:
    other = open_run(tmp_path / "run")
    for name in ("crops.parquet", "masks.csv"):
        other.write_table(name, run.read_table(name).iloc[:0])
    with pytest.raises(ValueError, match="holds no crops: no face was found in its videos, look into 01_detect_faces"):
        examples.example_crop(other)
    table = run.read_table("crops.parquet")
    other.write_table("crops.parquet", table)
    shutil.copytree(run.root / "crops", other.root / "crops")
    crop, mask, _ = examples.example_crop(other)
    np.testing.assert_array_equal(
        crop, examples.read_crop(run, *table.loc[0, ["video_id", "frame_index", "face_index"]])
    )
    assert (mask.shape, mask.max()) == (crop.shape[:2], 0)


# Scores ----------------------------------------------------------------------------------------------------------------------------------
SCORED = [  # video_id, frame_index, face_index, score
    *[("plain", 0, 0, 0.30), ("plain", 20, 0, 0.20), ("two_faces", 0, 0, 0.60), ("two_faces", 0, 1, 0.05)],
    *[("plain_fake", 0, 0, 0.90), ("plain_fake", 20, 0, 0.10)],
]


@pytest.fixture(scope="module")
def scores(run: Run) -> pd.DataFrame:
    """Scores of a model "m" in the run, each of a face that was found."""
    rows = []
    for video_id, frame_index, face_index, score in SCORED:
        faces = run.read_faces(video_id.removesuffix("_fake")).frames  # the fake's own boxes are its original's
        box = next(frame.faces[face_index].box for frame in faces if frame.frame_index == frame_index)
        rows.append((video_id, frame_index, face_index, *box, score))
    columns = ["video_id", "frame_index", "face_index", "box_x0", "box_y0", "box_x1", "box_y1", "score"]
    run.write_table("scores/m.parquet", pd.DataFrame(rows, columns=columns))
    return examples.labelled_scores(run, "m")


def test_labelled_scores(scores: pd.DataFrame, run: Run) -> None:
    assert scores["label"].tolist() == [0, 0, 0, 0, 1, 1]
    assert scores["score"].tolist() == [score for *_, score in SCORED]
    run.write_table("scores/none.parquet", scores.iloc[:0].drop(columns="label"))
    assert list(examples.labelled_scores(run, "none").columns) == list(scores.columns)
    with pytest.raises(FileNotFoundError, match=r"absent\.parquet is missing: run notebook 07 first"):
        examples.labelled_scores(run, "absent")


def test_extreme_faces_are_the_highest_then_the_lowest_of_each_video(scores: pd.DataFrame) -> None:
    assert examples.extreme_faces(scores.iloc[:0], 2)["caption"].tolist() == []
    chosen = examples.extreme_faces(scores, 2)
    assert chosen["score"].tolist() == [0.90, 0.60, 0.10, 0.05]
    assert chosen["caption"].tolist()[0] == "plain_fake\nframe 0\n0.90, fake"
    assert chosen["caption"].tolist()[3] == "two_faces\nframe 0\n0.05, real"
    assert len(examples.extreme_faces(scores, 10)) == 6  # every video's highest and lowest, none twice
    assert len(examples.extreme_faces(scores.iloc[:1], 10)) == 1
    unknown = examples.extreme_faces(scores.assign(label=None), 1)
    assert unknown["caption"].tolist()[0] == "plain_fake\nframe 0\n0.90, unknown"


def test_scored_faces_are_cut_out_at_their_boxes(scores: pd.DataFrame, run: Run) -> None:
    assert examples.scored_faces(run, scores.iloc[:0]) == []
    images = examples.scored_faces(run, scores.iloc[[1, 3]])
    np.testing.assert_array_equal(images[0], examples.crops_at_margins(run, [("plain", 20, 0)], [0])["margin 0.00"][0])
    np.testing.assert_array_equal(
        images[1], examples.crops_at_margins(run, [("two_faces", 0, 1)], [0])["margin 0.00"][0]
    )


def test_scored_face_gives_frame_box_and_score(scores: pd.DataFrame, run: Run) -> None:
    image, box, score = examples.scored_face(run, scores, "two_faces", 0, 1)
    expected, faces = examples.frame_with_faces(run, "two_faces", 0)
    np.testing.assert_array_equal(image, expected)
    assert (box, score) == (pytest.approx(faces[1].box), 0.05)


def test_furthest_from_truth_comes_first(scores: pd.DataFrame) -> None:
    video_scores = pd.Series({"plain": 0.25, "plain_fake": 0.5, "two_faces": 0.325}, name="score")
    table = examples.furthest_from_truth(scores, video_scores)
    assert list(table.index) == ["plain_fake", "two_faces", "plain"]
    assert table["off by"].tolist() == [0.5, 0.325, 0.25]
    assert (table["label"].tolist(), table["frames"].tolist()) == ([1, 0, 0], [2, 1, 2])
    unlabelled = examples.furthest_from_truth(scores.assign(label=None), video_scores)
    assert (len(unlabelled), list(unlabelled.columns)) == (0, ["label", "frames", "video score", "off by"])
