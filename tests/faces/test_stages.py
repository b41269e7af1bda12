"""Stages 00 to 04 on the built-in sample, on damaged copies of it and on odd real files."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfdc_lib import workers
from dfdc_lib.backends.choice import Engine
from dfdc_lib.data.fold_stage import make_folds
from dfdc_lib.data.sample import SCENES
from dfdc_lib.data.video_stage import find_videos
from dfdc_lib.faces import crop_stage
from dfdc_lib.faces.box_source import header_source
from dfdc_lib.faces.crop_stage import crop_faces
from dfdc_lib.faces.crops import key_of
from dfdc_lib.faces.detect_stage import detect_faces
from dfdc_lib.faces.mask_stage import make_masks
from dfdc_lib.records import DetectorSettings, FaceKey, Outcome, Video, VideoInfo
from dfdc_lib.run_folder import LANDMARK_NAMES, VIDEO_FOLDERS, Run, open_run

WORKERS = 2
STRIDE = DetectorSettings(frame_stride=5)
EXAMINED = [0, 5, 10, 15, 20]  # of the 22 frames of 0.9 s
FAKES = {f"{scene.name}_{forgery.suffix}": scene.name for scene in SCENES for forgery in scene.forgeries}
ORIGINALS = {scene.name for scene in SCENES}
STAGES = ["00_videos", "01_align_fakes", "01_detect_faces", "02_crop_faces", "03_ssim_masks", "04_folds"]

Whole = tuple[Run, dict[str, list[Outcome]]]


def run_all(run: Run, data: Path, settings: DetectorSettings = STRIDE) -> dict[str, list[Outcome]]:
    """Run 00 to 03 and return each stage's outcomes."""
    return {
        "00_videos": find_videos(run, str(data), workers=WORKERS),
        "01_detect_faces": detect_faces(run, settings, Engine(), WORKERS),
        "01_align_fakes": run.read_status("01_align_fakes"),
        "02_crop_faces": crop_faces(run, workers=WORKERS),
        "03_ssim_masks": make_masks(run, WORKERS),
    }


def by_id(outcomes: list[Outcome]) -> dict[str, Outcome]:
    assert len({outcome.video_id for outcome in outcomes}) == len(outcomes)
    return {outcome.video_id: outcome for outcome in outcomes}


def status_counts(outcomes: list[Outcome]) -> dict[str, int]:
    return dict(Counter(outcome.status for outcome in outcomes))


def change_times(run: Run) -> dict[str, int]:
    """Return when each file that a job writes was last written."""
    files = [path for name in VIDEO_FOLDERS for path in (run.root / name).rglob("*") if path.is_file()]
    return {str(path): path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    """Use threads instead of processes, which take seconds to start; test_workers and test_runner use processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worker_pool", ThreadPoolExecutor)
        yield


@pytest.fixture(scope="module")
def whole(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The sample after all stages; do not write into it."""
    run = open_run(tmp_path_factory.mktemp("whole") / "run")
    outcomes = run_all(run, sample_root)
    make_folds(run, "leak-free", 4, workers=WORKERS)
    return run, outcomes | {"04_folds": run.read_status("04_folds")}


@pytest.fixture
def copy(whole: Whole, tmp_path: Path) -> Run:
    """A finished run that a test may change."""
    shutil.copytree(whole[0].root, tmp_path / "run")
    return open_run(tmp_path / "run")


@pytest.mark.slow
def test_the_counts_of_each_stage_add_up_and_are_of_what_lies_there(whole: Whole) -> None:
    run, outcomes = whole
    counts = [
        {"done": 35},
        {"done": 19, "not needed": 16},
        {"done": 15, "nothing": 1, "not needed": 19},
        {"done": 34, "nothing": 1},
    ]
    counts += [{"done": 19, "not needed": 16}, {"done": 16, "not needed": 19}]
    assert [status_counts(outcomes[stage]) for stage in STAGES] == counts
    for stage, found in outcomes.items():
        assert set(by_id(found)) == ORIGINALS | set(FAKES)
        assert run.read_status(stage) == found == sorted(found, key=lambda outcome: outcome.video_id)
    assert len(run.read_table("failures.csv")) == 0
    assert sorted(path.stem for path in (run.root / "status").iterdir()) == STAGES
    assert not any((run.root / ".partial").iterdir())
    detected = by_id(outcomes["01_detect_faces"])
    faces = {video_id: sum(len(frame.faces) for frame in run.read_faces(video_id).frames) for video_id in ORIGINALS}
    pictures = {kind: len(list((run.root / kind).rglob("*.png"))) for kind in ("crops", "masks")}
    assert {video_id: detected[video_id].count for video_id in ORIGINALS} == faces
    for scene in SCENES:
        people = {"portrait": 1, "pair": 2, "coffee": 0}[scene.world]
        assert [frame.frame_index for frame in run.read_faces(scene.name).frames] == EXAMINED
        assert (scene.name, detected[scene.name].count) == (scene.name, people * len(EXAMINED))
    assert detected["no_face"].note == "no face in 5 examined frames"
    assert by_id(outcomes["02_crop_faces"])["no_face"].note == "no face in the boxes of no_face"
    assert sum(o.count for o in outcomes["02_crop_faces"]) == len(run.read_table("crops.parquet")) == pictures["crops"]
    assert sum(o.count for o in outcomes["03_ssim_masks"]) == len(run.read_table("masks.csv")) == pictures["masks"]
    assert {o.count for o in outcomes["00_videos"]} == {22}  # frames in the header
    hashed = {o.count for o in outcomes["04_folds"] if o.status == "done"}
    assert hashed == {5}  # frames, also of a video of 22


@pytest.mark.slow
def test_a_fake_is_cut_where_its_original_is(whole: Whole) -> None:
    run, outcomes = whole
    assert sorted(path.stem for path in (run.root / "boxes").iterdir()) == sorted(ORIGINALS)
    for fake, original in FAKES.items():
        assert by_id(outcomes["01_detect_faces"])[fake].note == f"uses the boxes of {original}"
        cut, source = run.read_crops(fake), run.read_crops(original)
        assert (cut.boxes_from, cut.frames_only_here, cut.frames_only_in_original) == (original, 0, 0)
        places = [(crop.frame_index, crop.face_index, crop.area, crop.landmarks) for crop in cut.crops]
        assert places == [(crop.frame_index, crop.face_index, crop.area, crop.landmarks) for crop in source.crops]


@pytest.mark.slow
def test_the_table_of_crops(whole: Whole) -> None:
    run = whole[0]
    table = run.read_table("crops.parquet")
    assert list(table.columns) == crop_stage.CROP_COLUMNS
    assert list(table.columns[14:18]) == ["left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y"]
    width, height = table["area_x1"] - table["area_x0"], table["area_y1"] - table["area_y0"]
    for name in LANDMARK_NAMES:
        x, y = table[f"{name}_x"], table[f"{name}_y"]
        assert ((x > 0) & (x < width) & (y > 0) & (y < height)).all(), name
    assert (table["left_eye_x"] < table["right_eye_x"]).all()
    assert (table["left_eye_y"] < table["left_mouth_y"]).all()
    assert table["confidence"].between(0.95, 1).all()
    for row in table.iloc[:: len(table) // 10].itertuples():
        crop = run.read_image(run.crop_path(FaceKey(row.video_id, row.frame_index, row.face_index)))
        assert crop.shape == (row.area_y1 - row.area_y0, row.area_x1 - row.area_x0, 3)


@pytest.mark.slow
def test_every_fake_has_masks_of_its_crops_size(whole: Whole) -> None:
    run = whole[0]
    masks = run.read_table("masks.csv")
    assert list(masks.columns) == ["video_id", "frame_index", "face_index", "ssim", "changed_share"]
    assert set(masks["video_id"]) == set(FAKES)
    untouched = (masks["video_id"] == "two_faces_fake_one_face") & (masks["changed_share"] < 0.01)
    assert untouched.sum() == len(EXAMINED)  # the real one of the two people, in every frame
    assert masks.loc[~untouched, "ssim"].between(0.2, 0.99).all()
    assert masks.loc[~untouched, "changed_share"].between(0.01, 0.9).all()
    for fake, original in FAKES.items():
        record, crops = run.read_masks(fake), run.read_crops(fake).crops
        assert (record.original_id, record.crops_left_out, len(record.masks)) == (original, 0, len(crops))
        x0, y0, x1, y1 = crops[0].area
        mask = run.read_image(run.mask_path(key_of(crops[0])))
        assert mask.shape == (y1 - y0, x1 - x0) and mask.max() > 128


@pytest.mark.slow
def test_folds_hold_every_video_and_no_original_leaves_its_fakes(whole: Whole) -> None:
    run = whole[0]
    folds = run.read_table("folds.csv").set_index("video_id")
    assert set(folds.index) == ORIGINALS | set(FAKES)
    assert set(folds["fold"]) == {0, 1, 2, 3}
    assert folds["group"].nunique() == len(ORIGINALS)
    assert all(folds.loc[fake, "fold"] == folds.loc[original, "fold"] for fake, original in FAKES.items())
    assert "identity" not in set(run.read_table("leaks.csv")["kind"])


@pytest.mark.parametrize(("label", "scheme", "keyword"), [(None, "leak-free", "labels"), (0, "winners", "winners")])
def test_folds_that_are_refused(label: int | None, scheme: str, keyword: str, tmp_path: Path) -> None:
    run = open_run(tmp_path)
    run.write_videos([Video(video_id=n, path=Path(f"{n}.mp4"), label=label, identities=(n,)) for n in "abcdef"], {})
    with pytest.raises(ValueError, match=keyword):
        make_folds(run, scheme, 5)
    assert not (tmp_path / "folds.csv").exists()


@pytest.mark.slow
def test_doing_it_again_does_nothing(copy: Run, sample_root: Path, whole: Whole) -> None:
    before = change_times(copy)
    again = run_all(copy, sample_root)
    make_folds(copy, "leak-free", 4, workers=WORKERS)
    assert change_times(copy) == before
    assert again | {"04_folds": copy.read_status("04_folds")} == whole[1]


@pytest.mark.slow
def test_another_margin_cuts_the_crops_again_and_removes_the_old(copy: Run) -> None:
    copy.write_bytes(copy.crop_path(FaceKey("plain", 99999, 0)), b"a crop of an earlier run")
    before = copy.read_table("crops.parquet")
    outcomes = crop_faces(copy, margin=0.5, workers=WORKERS)
    after = copy.read_table("crops.parquet")
    assert status_counts(outcomes) == {"done": 34, "nothing": 1}
    assert not copy.crop_path(FaceKey("plain", 99999, 0)).exists()
    pd.testing.assert_frame_equal(before.filter(like="box_"), after.filter(like="box_"))
    box, area = after.filter(like="box_").to_numpy(), after.filter(like="area").to_numpy()
    unclamped = (area[:, 0] > 0) & (area[:, 1] > 0)
    assert unclamped.sum() > 20
    np.testing.assert_allclose((box - area)[unclamped, 0], 0.5 * (box[:, 2] - box[:, 0])[unclamped], atol=0.51)


@pytest.mark.slow
def test_absent_and_unreadable_files_fail_alone(copy: Run, sample_root: Path, tmp_path: Path) -> None:
    """Zoom is deleted, walk (an original) and mirrored_fake cut to 100 bytes; tilted is the same as before."""
    data = tmp_path / "data"
    shutil.copytree(sample_root, data)
    (data / "dfdc_train_part_2" / "zoom.mp4").unlink()
    for path in (data / "dfdc_train_part_0" / "walk.mp4", data / "dfdc_train_part_1" / "mirrored_fake.mp4"):
        path.write_bytes(path.read_bytes()[:100])
    before = change_times(copy)
    outcomes = {stage: by_id(found) for stage, found in run_all(copy, data).items()}
    make_folds(copy, "leak-free", 4, workers=WORKERS)
    outcomes["04_folds"] = by_id(copy.read_status("04_folds"))
    everything = (ORIGINALS | set(FAKES)) - {"zoom"}
    assert all(set(found) == everything for found in outcomes.values())
    expected = {  # in the order of STAGES
        "zoom_fake": ["done", "not needed", "done", "done", "nothing", "done"],
        "walk": ["failed", "not needed", "failed before", "failed before", "not needed", "failed before"],
        "walk_fake": ["done", "not needed", "done", "done", "nothing", "done"],
        "mirrored": ["done", "not needed", "done", "done", "not needed", "done"],
        "mirrored_fake": ["failed", "not needed", "failed before", "failed before", "failed before", "not needed"],
        "tilted": ["done", "not needed", "done", "done", "not needed", "done"],
        "tilted_fake": ["done", "done", "not needed", "done", "done", "not needed"],
    }
    assert {video_id: [outcomes[stage][video_id].status for stage in STAGES] for video_id in expected} == expected
    notes = {video_id: outcomes["01_detect_faces"][video_id].note for video_id in ("zoom_fake", "walk_fake", "walk")}
    assert notes == {
        "zoom_fake": "searched itself: its original is not in the data set",
        "walk_fake": "searched itself: its original walk is unreadable",
        "walk": "unreadable, see 00_videos",
    }
    assert outcomes["03_ssim_masks"]["zoom_fake"].note == "no original to compare with frame by frame"
    assert copy.read_crops("zoom_fake").boxes_from == "zoom_fake"
    failures = copy.read_table("failures.csv")
    assert list(failures["stage"] + " " + failures["video_id"]) == ["00_videos mirrored_fake", "00_videos walk"]
    assert failures["reason"].str.contains("is not readable as a video").all()
    left = {name: {path.stem for path in (copy.root / name).iterdir()} for name in VIDEO_FOLDERS}
    assert left["info"] == left["crops"] == everything - {"walk", "mirrored_fake"}
    assert left["boxes"] == (ORIGINALS - {"zoom", "walk"}) | {"zoom_fake", "walk_fake"}
    assert left["alignments"] == left["masks"]
    assert left["masks"] == set(FAKES) - {"zoom_fake", "walk_fake", "mirrored_fake"}
    assert left["hashes"] == left["boxes"]
    after = change_times(copy)
    assert all(after[path] == before[path] for path in after if "tilted" in path)


@pytest.mark.slow
def test_a_file_that_goes_between_two_stages_fails_with_its_name(copy: Run, sample_root: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(sample_root, data)
    find_videos(copy, str(data), workers=WORKERS)
    (data / "dfdc_train_part_2" / "zoom.mp4").unlink()
    outcomes = by_id(detect_faces(copy, STRIDE, Engine(), WORKERS))
    counts = {"done": 14, "nothing": 1, "not needed": 18, "failed": 1, "failed before": 1}
    assert status_counts(list(outcomes.values())) == counts
    assert by_id(copy.read_status("01_align_fakes"))["zoom_fake"].status == "failed"
    assert outcomes["zoom"].note.startswith("FileNotFoundError: no such video: ")
    assert by_id(crop_faces(copy, workers=WORKERS))["zoom_fake"].status == "failed before"


@pytest.mark.slow
def test_a_crop_too_small_for_ssim_has_no_mask(copy: Run) -> None:
    record = copy.read_crops("plain_fake")
    tiny = record.crops[0].model_copy(update={"area": (0, 0, 6, 80)})
    changed = record.model_copy(update={"crops": (tiny, *record.crops[1:])})
    copy.write_record(copy.crops_record_path("plain_fake"), changed)
    copy.masks_record_path("plain_fake").unlink()
    outcome = by_id(make_masks(copy, WORKERS))["plain_fake"]
    assert (outcome.count, copy.read_masks("plain_fake").crops_left_out) == (len(record.crops) - 1, 1)
    assert "smaller than 7 pixels" in outcome.note


@pytest.mark.slow
def test_changed_code_reaches_finished_videos(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fix in the library repeats the stage's videos; what it changes reaches the next stage, and only that."""
    before = change_times(copy)
    monkeypatch.setattr(crop_stage, "code_fingerprint", lambda *modules: "same pixels, other code")
    crop_faces(copy, workers=WORKERS)
    make_masks(copy, WORKERS)
    after = change_times(copy)
    changed = {Path(path).relative_to(copy.root).parts[0] for path in after if after[path] != before[path]}
    assert changed == {"crops"}


@pytest.mark.parametrize(
    ("stage", "finished", "number"),
    [
        (partial(detect_faces, settings=STRIDE), [], "00"),
        *[(crop_faces, [], "00"), (crop_faces, ["00_videos"], "01")],
        *[(make_masks, [], "00"), (make_masks, ["00_videos", "01_detect_faces"], "02")],
        (partial(make_folds, scheme="leak-free", fold_count=2), [], "00"),
    ],
)
def test_a_stage_names_the_notebook_to_run_first(stage: Callable, finished: list, number: str, tmp_path: Path) -> None:
    run = open_run(tmp_path)
    if finished:
        run.write_videos([Video(video_id="v", path=tmp_path / "v.mp4")], {"v": INFO})
    for name in finished:
        run.write_table(f"status/{name}.csv", pd.DataFrame([Outcome(video_id="v", status="nothing").model_dump()]))
    with pytest.raises(FileNotFoundError, match=f"run notebook {number}"):
        stage(run)


INFO = VideoInfo(height=480, width=640, fps=25.0, frame_count=60, duration_seconds=2.4, rotation_degrees=0)
FAKE = {"label": 1, "original_id": "o"}


@pytest.mark.parametrize(
    ("fields", "changes", "expected"),
    [
        *[({"label": 0}, {}, ("v", "")), ({"label": None}, {}, ("v", ""))],
        ({"label": 1}, {}, ("v", "its original is not in the data set")),
        ({"label": 1, "original_id": "gone"}, {}, ("v", "its original gone is unreadable")),
        *[(FAKE, {}, ("o", "")), (FAKE, {"height": 360, "width": 480, "frame_count": 9}, ("o", ""))],  # smaller
        (FAKE, {"fps": 24.8}, ("o", "")),  # within a hundredth
        *[(FAKE, {"fps": fps}, ("v", f"it has {fps} frames per second, its original 25.0")) for fps in (24.0, 30.0)],
        (FAKE, {"height": 640, "width": 480}, ("v", "it is 480x640, its original 640x480")),
    ],
)
def test_whose_boxes_a_video_is_cut_with(fields: dict, changes: dict, expected: tuple[str, str]) -> None:
    infos = {"v": INFO.model_copy(update=changes), "o": INFO}
    assert header_source(Video(video_id="v", path=Path("v.mp4"), **fields), infos)[:2] == expected


@pytest.mark.slow
def test_odd_real_files_have_one_outcome_each(test_videos: Path, tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    outcomes = run_all(run, test_videos / "odd", DetectorSettings(frame_stride=30))
    videos = sorted(video.video_id for video in run.read_videos())
    assert len(videos) == 10
    assert all([outcome.video_id for outcome in found] == videos for found in outcomes.values())
    failures = run.read_table("failures.csv")
    assert failures[["stage", "video_id"]].to_numpy().tolist() == [["00_videos", "no_moov_atom"]]
    assert "no_moov_atom.mp4 is not readable as a video" in failures["reason"][0]
    statuses = [by_id(outcomes[stage])["no_moov_atom"].status for stage in STAGES[:4]]
    assert statuses == ["failed", "not needed", "failed before", "failed before"]
    detected = by_id(outcomes["01_detect_faces"])
    assert "failed" not in {outcome.status for outcome in detected.values()}
    assert detected["no_face_1080p"].status == "nothing"
    assert detected["many_people"].count > 10
    assert "22 of 50 frames missing or damaged" in detected["corrupted_50_declared_28_decode"].note
    assert run.read_infos()["rotated_minus90_person"].rotation_degrees in (90, 270)
    assert status_counts(outcomes["03_ssim_masks"]) == {"not needed": 10}  # no labels, no fakes
    table = run.read_table("crops.parquet")
    assert (table["area_x0"] >= 0).all()
    assert len(table) == sum(outcome.count for outcome in detected.values())
    assert run.read_crops("many_people").margin == 0.2


def test_the_note_says_that_frames_were_rescaled(test_videos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{test_videos / 'odd2' / 'res_change.webm'}\n")
    run = open_run(tmp_path / "run")
    find_videos(run, str(tmp_path / "list.txt"), workers=1)
    [outcome] = detect_faces(run, DetectorSettings(frame_stride=5), workers=1)
    assert (outcome.status, outcome.count) == ("done", 12)
    assert "30 of 60 frames" in outcome.note
