"""One short video of the sample, examined with an untrained model that calls everything forged: the record, the files, the pictures."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch

from dfdc_lib import workers
from dfdc_lib.classifier import predict
from dfdc_lib.classifier.checkpoints import save_model
from dfdc_lib.classifier.model import create_model
from dfdc_lib.data.encode import video_writer
from dfdc_lib.data.video import read_frames
from dfdc_lib.faces import crops
from dfdc_lib.faces.masks import changed_share, difference_mask
from dfdc_lib.inspection import inspect, perturbations, verdict
from dfdc_lib.inspection.perturbations import VARIANTS
from dfdc_lib.inspection.pictures import VIDEO_ID, frame_path, heat_path, original_path
from dfdc_lib.records import Calibration, FaceKey, Inspection, ModelCard, Recipe, Video
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.staleness import file_fingerprint

EXAMINED, FEWER, EXCERPT, OF_EXCERPT = 8, 4, 6, 2  # frames, in place of 64, 16 and 32, 150, 32
MARGIN = 0.3
CALIBRATION = Calibration(temperature=2.0, clip=1e-6, videos=40, fakes=20, log_loss_before=0.5, log_loss_after=0.4)


def add_model(run: Run, name: str, bias: float = 4.0, size: int = 64) -> None:
    """Write an untrained model whose every score is about sigmoid(bias)."""
    torch.manual_seed(0)
    model = create_model("resnet18", pretrained=False, drop_path=0, noise=True)
    torch.nn.init.constant_(model.fc.bias, bias)
    torch.nn.init.normal_(model.fc.weight, std=0.01)
    save_model(
        run.root / "models" / name,
        model,
        ModelCard(name=name, encoder="resnet18", noise=True, recipe=Recipe(size=size, margin=MARGIN)),
    )


def examine(run: Run, path: Path, original: Path | None = None) -> Inspection:
    return inspect.inspect_video(run, path, ["m"], original, "cpu", 1)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Few frames, and faces found in a thread of this process: another process takes seconds to start, and knows nothing of a patch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worker_pool", ThreadPoolExecutor)
        patch.setattr(inspect, "EXAMINED_FRAMES", EXAMINED)
        patch.setattr(inspect, "FEWER_FRAMES", (FEWER, 1000))
        patch.setattr(inspect, "FRAMES_PER_VIDEO", OF_EXCERPT)
        patch.setattr(perturbations, "EXCERPT_FRAMES", EXCERPT)
        yield


@pytest.fixture(scope="module")
def fake(sample_root: Path) -> Path:
    return sample_root / "dfdc_train_part_0" / "small_256x192_fake.mp4"


@pytest.fixture(scope="module")
def original(sample_root: Path) -> Path:
    return sample_root / "dfdc_train_part_0" / "small_256x192.mp4"


@pytest.fixture(scope="module")
def examined(fake: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Inspection]:
    """An examination without an original; do not write into it."""
    run = open_run(tmp_path_factory.mktemp("inspection") / "run")
    add_model(run, "m")
    return run, examine(run, fake)


@pytest.fixture
def copy(examined: tuple[Run, Inspection], tmp_path: Path) -> Run:
    """A copy of that run, to write into; the video is the same file."""
    return Run(Path(shutil.copytree(examined[0].root, tmp_path / "run")))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def places(table: pd.DataFrame) -> list[str]:
    return [f"{frame:05d}_{face}.png" for frame, face in zip(table["frame_index"], table["face_index"], strict=True)]


# An examination ------------------------------------------------------------------------------------------------------------------------
def test_the_record(examined: tuple[Run, Inspection], fake: Path) -> None:
    run, found = examined
    assert run.read_record(run.root / "inspection.json", Inspection) == found
    assert (found.video, found.models, found.fingerprint) == ("small_256x192_fake.mp4", ("m",), file_fingerprint(fake))
    assert (found.answer, found.doubts, found.probability, found.judged_track) == ("fake", (), None, 0)
    [person] = found.people
    assert (person.frames, person.models, person.doubts) == (EXAMINED, 1, ())
    assert found.score == person.mean == pytest.approx(1 / (1 + np.exp(-4)), abs=0.02)
    assert person.forged_spans == ((0.0, 0.84),)  # all frames, the last of 22 at 25 a second
    assert person.side_pixels > 80 and person.sharpness > verdict.MIN_SHARPNESS and person.turn < 0.2


def test_every_face_has_its_row_and_its_crop(examined: tuple[Run, Inspection], fake: Path) -> None:
    run, found = examined
    faces = run.read_table("faces.csv")
    assert faces["frame_index"].tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert faces["score"].mean() == pytest.approx(found.score) and set(faces["models"]) == {1}
    assert {"track", "box_x0", "confidence", "sharpness", "turn"} < set(faces.columns) and "logit" not in faces
    assert names(run.root / "crops" / VIDEO_ID) == places(faces)
    frames = {frame.frame_index: frame.image for frame in read_frames(fake, set(faces["frame_index"]))}
    for row in faces.to_dict("records"):
        area = crops.crop_area((row["box_x0"], row["box_y0"], row["box_x1"], row["box_y1"]), MARGIN, 192, 256)
        crop = run.read_image(run.crop_path(FaceKey(VIDEO_ID, row["frame_index"], row["face_index"])))
        assert np.array_equal(crop, crops.cut(frames[row["frame_index"]], area))
    assert names(run.root / "frames") == [f"{frame_index:05d}.jpg" for frame_index in frames]
    for frame_index, image in frames.items():
        difference = cv2.absdiff(run.read_image(frame_path(run, frame_index)), image)
        assert difference.mean() < 3


def test_the_frames_that_carry_the_answer_have_a_map(examined: tuple[Run, Inspection]) -> None:
    run, found = examined
    rows = inspect.evidence_rows(run.read_table("faces.csv"), found.people[0])
    assert len(rows) == 4
    assert names(run.root / "heat") == places(rows)
    for frame_index in rows["frame_index"]:
        heat, crop = (
            run.read_image(heat_path(run, frame_index, 0)),
            run.read_image(run.crop_path(FaceKey(VIDEO_ID, frame_index, 0))),
        )
        assert heat.shape == crop.shape[:2]
        assert heat.max() in (0, *range(200, 256))  # nothing speaks for "fake", or the strongest place is near 255


def test_every_version_is_tried(examined: tuple[Run, Inspection]) -> None:
    run, found = examined
    titles = [f"{FEWER} frames", f"all {EXAMINED} frames", *(variant.title for variant in VARIANTS)]
    assert [trial.title for trial in found.trials] == titles
    assert [trial.title for trial in found.trials if not trial.changed] == [titles[1], "excerpt as it is"]
    assert found.excerpt_seconds == (0, EXCERPT / 25)
    assert [trial.frames for trial in found.trials] == [FEWER, EXAMINED] + [OF_EXCERPT] * len(VARIANTS)
    assert not any(trial.flips for trial in found.trials)
    assert found.trials[1].score == found.score  # all of the frames
    [folder] = (run.root / "variants").iterdir()
    assert names(folder) == sorted(f"{variant.name}.mkv" for variant in VARIANTS)
    scored = pd.read_parquet(run.root / "stability" / "scores" / "m.parquet")
    assert scored.groupby("video_id").size().to_dict() == {variant.name: OF_EXCERPT for variant in VARIANTS}
    by_title = dict(zip(titles[2:], (variant.name for variant in VARIANTS), strict=True))
    for trial in found.trials[2:]:
        assert trial.score == pytest.approx(scored.loc[scored["video_id"] == by_title[trial.title], "score"].mean())


def test_without_an_original_there_is_nothing_of_one(examined: tuple[Run, Inspection]) -> None:
    left = names(examined[0].root)
    assert {"crops", "faces.csv", "frames", "heat", "inspection.json", "scores", "stability", "variants"} < set(left)
    assert {"masks", "masks.csv", "originals"}.isdisjoint(left)


def test_a_second_call_scores_and_encodes_nothing_again(
    examined: tuple[Run, Inspection], copy: Run, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("this was done already")

    monkeypatch.setattr(predict, "logits_of", refuse)
    monkeypatch.setattr(predict, "find_faces", refuse)
    monkeypatch.setattr(perturbations, "write_variants", refuse)
    assert examine(copy, fake) == examined[1]


def test_a_calibration_that_came_later_is_used_and_scores_nothing_again(
    examined: tuple[Run, Inspection], copy: Run, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "logits_of", None)
    copy.write_record(copy.root / "models" / "m" / "calibration.json", CALIBRATION)
    found = examine(copy, fake)
    odds = found.score / (1 - found.score)
    assert found.probability == pytest.approx(np.sqrt(odds) / (1 + np.sqrt(odds)))  # temperature 2 halves the logit
    assert found.model_copy(update={"probability": None}) == examined[1]


def test_several_models_are_averaged_whatever_their_order(
    copy: Run, fake: Path, examined: tuple[Run, Inspection]
) -> None:
    add_model(copy, "n", bias=1.0, size=96)
    found = {order: inspect.inspect_video(copy, fake, order, None, "cpu", 1) for order in (("m", "n"), ("n", "m"))}
    expected = (1 / (1 + np.exp(-4)) + 1 / (1 + np.exp(-1))) / 2
    assert [each.score for each in found.values()] == pytest.approx([expected] * 2, abs=0.02)
    for order, each in found.items():
        assert each.models == order and each.people[0].models == 2 and each.people[0].frames == EXAMINED
        assert [trial.frames for trial in each.trials] == [trial.frames for trial in examined[1].trials]
    assert copy.read_table("faces.csv")["models"].tolist() == [2] * EXAMINED


def test_the_pictures_of_an_earlier_examination_are_gone(copy: Run, fake: Path, original: Path) -> None:
    examine(copy, fake, original)
    examine(copy, original)
    assert {"masks", "masks.csv", "originals"}.isdisjoint(names(copy.root))
    assert names(copy.root / "crops" / VIDEO_ID) == places(copy.read_table("faces.csv"))
    assert copy.read_record(copy.root / "inspection.json", Inspection).fingerprint == file_fingerprint(original)


def test_the_run_folder_of_a_data_set_is_refused_and_left_alone(fake: Path, tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    run.write_videos([Video(video_id="a", path=fake), Video(video_id="b", path=fake)], {})
    run.write_bytes(run.root / "crops" / "a" / "00000_0.png", b"")
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    with pytest.raises(
        ValueError, match=r"is the run folder of 2 videos: an examination needs one of its own, name another RUN"
    ):
        examine(run, fake)
    assert {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["crops", "variants"])
def test_folders_that_no_examination_made_are_left_alone(name: str, fake: Path, tmp_path: Path) -> None:
    own = tmp_path / name / "of_mine.txt"
    own.parent.mkdir()
    own.write_text("kept")
    with pytest.raises(ValueError, match=rf"holds {name} that no examination made: name another RUN"):
        examine(open_run(tmp_path), fake)
    assert own.read_text() == "kept"


# A probability -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("calibrations", "people", "answer", "expected"),
    [
        ([CALIBRATION], 1, "fake", 0.9 / (0.9 + 0.1)),
        ([None], 1, "fake", None),
        ([CALIBRATION, CALIBRATION], 1, "fake", None),  # fitted on the scores of one model alone
        ([CALIBRATION], 2, "fake", None),  # and on all faces of a video together
        ([CALIBRATION], 1, "inconclusive", None),
        ([CALIBRATION.model_copy(update={"temperature": 0.05})], 1, "fake", 41 / 42),  # 40 videos show no certainty
    ],
)
def test_probability(calibrations: list, people: int, answer: str, expected: float | None) -> None:
    cards = [ModelCard(name="m", encoder="resnet18", recipe=Recipe(size=64), calibration=each) for each in calibrations]
    score = 81 / 82  # odds of 81, of which temperature 2 makes 9
    faces = [table(*((index, BOX) for index in range(8))).assign(track=track, score=score) for track in range(people)]
    described = verdict.describe_people(pd.concat(faces).assign(sharpness=99.0, turn=0.0, models=1))
    assert inspect._probability(cards, described, answer) == (expected if expected is None else pytest.approx(expected))


# Against the original ------------------------------------------------------------------------------------------------------------------
def test_a_fake_against_its_original(copy: Run, fake: Path, original: Path, examined: tuple[Run, Inspection]) -> None:
    assert examine(copy, fake, original) == examined[1]
    faces, masks = copy.read_table("faces.csv"), copy.read_table("masks.csv")
    known = ["frame_index", "time_seconds", "face_index", "track", "score"]
    pd.testing.assert_frame_equal(masks[known], faces[known])
    assert names(copy.root / "masks" / VIDEO_ID) == names(copy.root / "originals") == places(faces)
    frames = {frame.frame_index: frame.image for frame in read_frames(original, set(faces["frame_index"]))}
    for row, box in zip(
        masks.to_dict("records"), faces[predict.BOX_COLUMNS].itertuples(index=False, name=None), strict=True
    ):
        place = (row["frame_index"], row["face_index"])
        patch = crops.cut(frames[place[0]], crops.crop_area(box, MARGIN, 192, 256))
        assert np.array_equal(copy.read_image(original_path(copy, *place)), patch)
        mask = difference_mask(patch, copy.read_image(copy.crop_path(FaceKey(VIDEO_ID, *place))))
        assert np.array_equal(copy.read_image(copy.mask_path(FaceKey(VIDEO_ID, *place))), mask)
        assert row["changed_share"] == pytest.approx(changed_share(mask)) and row["changed_share"] > 0.01


def test_a_video_against_itself_has_not_changed(copy: Run, fake: Path) -> None:
    examine(copy, fake, fake)
    masks = copy.read_table("masks.csv")
    assert set(masks["changed_share"]) == {0} and masks["ssim"].tolist() == pytest.approx([1] * EXAMINED)


def textured(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[:height, :width])


def written(path: Path, frames: list[np.ndarray]) -> Path:
    with video_writer(path, frames[0].shape[:2], 25, {"crf": "5", "threads": "1"}) as write:
        for frame in frames:
            write(frame)
    return path


def table(*boxes: tuple[int, tuple]) -> pd.DataFrame:
    """Faces as in faces.csv: frame_index, box."""
    rows = [(index, index / 25, place, place, 0.5, *box) for place, (index, box) in enumerate(boxes)]
    return pd.DataFrame(
        rows, columns=["frame_index", "time_seconds", "face_index", "track", "score", *predict.BOX_COLUMNS]
    )


BOX = (60.0, 40.0, 140.0, 150.0)


@pytest.mark.parametrize(
    ("fake_frame", "original_frame"),
    [
        (textured(200, 240), textured(200, 240)),
        (textured(400, 480)[::2, ::2], textured(400, 480)),  # the fake is half as large
        (textured(200, 280)[:, 20:260], textured(200, 280)),  # the fake is the original's middle
    ],
    ids=["one size", "scaled", "centred"],
)
def test_masks_compare_the_same_part_of_frames_of_other_sizes(
    fake_frame: np.ndarray, original_frame: np.ndarray, tmp_path: Path
) -> None:
    run, faces = open_run(tmp_path / "run"), table((1, BOX))
    paths = [
        written(tmp_path / f"{n}.mp4", [np.ascontiguousarray(frame)] * 2)
        for n, frame in enumerate((fake_frame, original_frame))
    ]
    inspect.write_crops(run, paths[0], faces, MARGIN)
    [row] = inspect.write_masks(run, *paths, faces, MARGIN).to_dict("records")
    assert (
        run.read_image(original_path(run, 1, 0)).shape
        == run.read_image(run.crop_path(FaceKey(VIDEO_ID, 1, 0))).shape
        == (176, 128, 3)
    )
    assert row["ssim"] > 0.8 and row["changed_share"] < 0.05


def test_a_face_too_small_to_compare_is_left_out(tmp_path: Path) -> None:
    run, faces = open_run(tmp_path / "run"), table((0, BOX), (0, (0.0, 50.0, 4.0, 60.0)))
    path = written(tmp_path / "a.mp4", [textured(200, 240)])
    inspect.write_crops(run, path, faces, MARGIN)
    assert inspect.write_masks(run, path, path, faces, MARGIN)["face_index"].tolist() == [0]


def test_a_face_that_the_original_does_not_show_is_left_out(tmp_path: Path) -> None:
    """The original is the middle of the video; one face lies beside it."""
    run, faces = open_run(tmp_path / "run"), table((0, (100.0, 40.0, 180.0, 150.0)), (0, (0.0, 60.0, 19.0, 120.0)))
    whole = textured(200, 280)
    fake, original = (
        written(tmp_path / "a.mp4", [whole]),
        written(tmp_path / "b.mp4", [np.ascontiguousarray(whole[:, 40:240])]),
    )
    inspect.write_crops(run, fake, faces, 0.0)
    [row] = inspect.write_masks(run, fake, original, faces, 0.0).to_dict("records")
    assert row["face_index"] == 0 and row["ssim"] > 0.8


def test_an_original_without_these_frames_is_refused(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / f"{name}.mp4", [textured(200, 240)] * count) for name, count in (("fake", 9), ("short", 2))
    ]
    run, faces = open_run(tmp_path / "run"), table((5, BOX), (8, BOX))
    inspect.write_crops(run, paths[0], faces, MARGIN)
    with pytest.raises(
        ValueError,
        match=r"the original short\.mp4 has none of the frames that were examined in fake\.mp4: is it the right",
    ):
        inspect.write_masks(run, *paths, faces, MARGIN)


# What cannot be examined ---------------------------------------------------------------------------------------------------------------
def test_a_video_without_a_face_is_refused(copy: Run, sample_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "EXAMINED_FRAMES", 2)
    (copy.root / "inspection.json").unlink()
    message = r"no face was found in the 2 examined frames of no_face\.mp4: there is nothing to judge"
    with pytest.raises(ValueError, match=message):
        examine(copy, sample_root / "dfdc_train_part_2" / "no_face.mp4")
    assert not (copy.root / "inspection.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("absent.mp4", None, FileNotFoundError, r"there is no video .*absent\.mp4"),
        ("broken.mp4", b"no video\n" * 100, ValueError, r"broken\.mp4 is not readable as a video"),
    ],
)
@pytest.mark.parametrize("as_original", [False, True])
def test_what_is_no_video_is_refused_before_anything_is_scored(
    name: str, content: bytes | None, error: type, message: str, as_original: bool, fake: Path, tmp_path: Path
) -> None:
    if content:
        (tmp_path / name).write_bytes(content)
    run = open_run(tmp_path / "run")
    with pytest.raises(error, match=message):
        examine(run, *((fake, tmp_path / name) if as_original else (tmp_path / name,)))
    assert names(run.root) == []


def test_a_model_that_is_not_there_is_refused(fake: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no model 'm'"):
        examine(open_run(tmp_path / "run"), fake)


# Choosing ------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("seen", "start"),
    [
        ([0], 0),
        ([17], 17),
        ([0, 5], 0),
        ([0, 6], 0),  # each excerpt holds one: the earliest
        ([0, 10, 12, 15], 10),
        ([30, 0, 33, 35, 34], 30),  # in any order
        (list(range(0, 60, 2)), 0),
        ([0, 1, 20, 21, 22, 40, 41], 20),
    ],
)
def test_excerpt_start(seen: list[int], start: int) -> None:
    assert inspect.excerpt_start(seen) == start


def scored(scores: list[float], track: int = 0) -> pd.DataFrame:
    index = np.arange(len(scores))
    box = dict(zip(predict.BOX_COLUMNS, (0.0, 0.0, 90.0, 120.0), strict=True))
    facts = {"face_index": track, "track": track, "sharpness": 200.0, "turn": 0.0, "models": 1}
    return pd.DataFrame({"frame_index": 10 * index, "time_seconds": index / 3, "score": scores}).assign(**box, **facts)


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ([0.9], [0]),
        ([0.9, 0.8, 0.7], [0, 1, 2]),
        ([0.7, 0.8, 0.9, 0.6, 0.6, 0.7, 0.9, 0.95], [1, 2, 5, 7]),  # the highest of each quarter
        ([0.1, 0.2, 0.4, 0.3, 0.3, 0.2, 0.6, 0.05], [0, 3, 5, 7]),  # the lowest
        ([0.6] * 8, [0, 2, 4, 6]),
    ],
)
def test_evidence_is_the_strongest_of_each_quarter(scores: list[float], chosen: list[int]) -> None:
    others = scored([0.99] * 5 if scores[0] < 0.5 else [0.01] * 5, track=1)
    faces = pd.concat([others, scored(scores)]).sample(frac=1, random_state=0).reset_index(drop=True)
    [person] = [found for found in verdict.describe_people(faces) if found.track == 0]
    rows = inspect.evidence_rows(faces, person)
    assert set(rows["track"]) == {0}
    assert (rows["frame_index"] // 10).tolist() == chosen
