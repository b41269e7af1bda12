"""One short video of the sample, examined with an untrained model that scores everything as fake."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from dfdc_lib import workers
from dfdc_lib.classifier import networks, predict
from dfdc_lib.classifier.checkpoints import save_model
from dfdc_lib.classifier.computation import Computation
from dfdc_lib.classifier.model import create_model
from dfdc_lib.data.video import read_frames
from dfdc_lib.faces import crops
from dfdc_lib.faces.masks import compare_crops
from dfdc_lib.inspection import inspect, perturbations, verdict
from dfdc_lib.inspection.perturbations import VARIANTS
from dfdc_lib.inspection.pictures import VIDEO_ID, evidence_rows, frame_path, image_path
from dfdc_lib.records import Calibration, DetectorSettings, FaceKey, Inspection, ModelCard, Recipe, Video, box_of
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.staleness import file_fingerprint

EXAMINED, FEWER, EXCERPT, OF_EXCERPT = 8, 4, 10, 8  # frames, in place of 64, 16 and 32, 150, 32
MARGIN = 0.3
LOSSES = {"log_loss_before": 0.5, "log_loss_after": 0.4}
CALIBRATION = Calibration(temperature=2.0, clip=1e-6, videos=40, fakes=20, **LOSSES, role="unseen")


def add_model(run: Run, name: str, bias: float = 4.0, size: int = 64, **recipe: Any) -> None:
    """Write an untrained model whose every score is about sigmoid(bias)."""
    torch.manual_seed(0)
    model = create_model("resnet18", pretrained=False, drop_path=0, noise=True)
    torch.nn.init.constant_(model.fc.bias, bias)
    torch.nn.init.normal_(model.fc.weight, std=0.01)
    card = ModelCard(
        name=name, encoder="resnet18", noise=True, recipe=Recipe(**{"size": size, "margin": MARGIN} | recipe)
    )
    save_model(run.root / "models" / name, model, card)


def examine(run: Run, path: Path, original: Path | None = None, models: tuple[str, ...] = ("m",)) -> Inspection:
    return inspect.inspect_video(run, path, models, original, Computation(workers=1))


@pytest.fixture(scope="module", autouse=True)
def few_frames() -> Iterator[None]:
    """Examine few frames, and find faces in a thread: a process takes seconds to start and does not see the patches."""
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
def examined(fake: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Inspection]:
    """An examination without an original; do not write into it."""
    run = open_run(tmp_path_factory.mktemp("inspection") / "run")
    add_model(run, "m")
    return run, examine(run, fake)


@pytest.fixture
def copy(examined: tuple[Run, Inspection], tmp_path: Path) -> Run:
    """A writable copy of that run."""
    return Run(Path(shutil.copytree(examined[0].root, tmp_path / "run")))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def keys(table: pd.DataFrame) -> list[FaceKey]:
    return [FaceKey(VIDEO_ID, *place) for place in zip(table["frame_index"], table["face_index"], strict=True)]


def file_names(table: pd.DataFrame) -> list[str]:
    return [f"{key.name}.png" for key in keys(table)]


def test_record(examined: tuple[Run, Inspection], fake: Path) -> None:
    run, inspection = examined
    assert run.read_record(run.root / "inspection.json", Inspection) == inspection
    assert (inspection.video, inspection.models) == ("small_256x192_fake.mp4", ("m",))
    assert inspection.fingerprint == file_fingerprint(fake)
    assert (inspection.answer, inspection.doubts, inspection.probability) == ("fake", (), None)
    [person] = inspection.people
    assert (person.track, person.frames, person.models, person.doubts) == (0, EXAMINED, 1, ())
    assert inspection.judged_track == 0
    assert inspection.score == person.mean == pytest.approx(1 / (1 + np.exp(-4)), abs=0.02)
    assert person.forged_spans == ((0.0, 0.84),)  # all frames; the last of 22 at 25 per second
    assert person.side_pixels > 80 and person.sharpness > verdict.MIN_SHARPNESS and person.turn < 0.2


def test_faces_and_their_pictures(examined: tuple[Run, Inspection], fake: Path) -> None:
    run, inspection = examined
    faces = run.read_table("faces.csv")
    assert faces["frame_index"].tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert faces["score"].mean() == pytest.approx(inspection.score) and set(faces["models"]) == {1}
    assert {"track", "box_x0", "confidence", "sharpness", "turn"} < set(faces.columns) and "logit" not in faces
    assert names(run.root / "crops" / VIDEO_ID) == file_names(faces)
    frames = {frame.frame_index: frame.image for frame in read_frames(fake, set(faces["frame_index"]))}
    for key, row in zip(keys(faces), faces.to_dict("records"), strict=True):
        crop = crops.cut(frames[key.frame_index], crops.crop_area(box_of(row), MARGIN, 192, 256))
        assert np.array_equal(run.read_image(run.crop_path(key)), crop)
    assert names(run.root / "frames") == [f"{frame_index:05d}.jpg" for frame_index in frames]
    for frame_index, image in frames.items():
        assert cv2.absdiff(run.read_image(frame_path(run, frame_index)), image).mean() < 3

    rows = evidence_rows(faces, inspection.people[0])
    assert len(rows) == 4 and names(run.root / "heat") == file_names(rows)
    for key in keys(rows):
        heat = run.read_image(image_path(run, "heat", key))
        assert heat.shape == run.read_image(run.crop_path(key)).shape[:2]
        assert heat.max() in (0, *range(200, 256))  # no evidence for fake, or the strongest place is near 255


def test_trials(examined: tuple[Run, Inspection]) -> None:
    run, inspection = examined
    fewer, everything, unchanged, *changed = inspection.trials
    assert not (everything.changed or unchanged.changed) and all(trial.changed for trial in (fewer, *changed))
    assert [trial.title for trial in inspection.trials[2:]] == [variant.title for variant in VARIANTS]
    assert inspection.excerpt_seconds == (0, EXCERPT / 25)
    assert [trial.frames for trial in inspection.trials] == [FEWER, EXAMINED] + [OF_EXCERPT] * len(VARIANTS)
    assert fewer.answer == "inconclusive"  # four frames are too few
    assert {trial.answer for trial in inspection.trials[1:]} == {"fake"}
    assert everything.score == inspection.score
    [folder] = (run.root / "variants").iterdir()
    assert names(folder) == sorted(["faces.parquet", *(f"{variant.name}.mkv" for variant in VARIANTS)])
    scores = pd.read_parquet(run.root / "stability" / "scores" / "m.parquet").groupby("video_id")["score"]
    assert scores.size().to_dict() == {variant.name: OF_EXCERPT for variant in VARIANTS}
    expected = [scores.mean()[variant.name] for variant in VARIANTS]
    assert [trial.score for trial in inspection.trials[2:]] == pytest.approx(expected)


def test_second_call_computes_nothing_again(
    examined: tuple[Run, Inspection], copy: Run, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(networks.OpenVinoNetwork, "logits", fail)
    monkeypatch.setattr(perturbations, "write_variants", fail)
    for module, name in ((predict, "find_faces"), (predict, "cut_known_faces"), (inspect, "find_faces")):
        monkeypatch.setattr(module, name, fail)
    assert examine(copy, fake) == examined[1]
    copy.write_record(copy.calibration_path("m"), CALIBRATION)  # a later calibration needs no new scores
    inspection = examine(copy, fake)
    odds = inspection.score / (1 - inspection.score)
    assert inspection.probability == pytest.approx(np.sqrt(odds) / (1 + np.sqrt(odds)))  # half of the logit
    assert inspection.model_copy(update={"probability": None}) == examined[1]


def test_several_models_are_averaged_in_any_order(copy: Run, fake: Path, examined: tuple[Run, Inspection]) -> None:
    add_model(copy, "n", bias=1.0, size=96)
    expected = (1 / (1 + np.exp(-4)) + 1 / (1 + np.exp(-1))) / 2
    for order in (("m", "n"), ("n", "m")):
        inspection = examine(copy, fake, models=order)
        assert inspection.score == pytest.approx(expected, abs=0.02) and inspection.models == order
        assert (inspection.people[0].models, inspection.people[0].frames) == (2, EXAMINED)
        assert [trial.frames for trial in inspection.trials] == [trial.frames for trial in examined[1].trials]
    assert copy.read_table("faces.csv")["models"].tolist() == [2] * EXAMINED


def test_fake_against_its_original(copy: Run, fake: Path, examined: tuple[Run, Inspection]) -> None:
    original = fake.with_name("small_256x192.mp4")
    assert {"masks", "masks.csv", "originals"}.isdisjoint(names(copy.root))
    assert examine(copy, fake, original) == examined[1]
    faces, masks = copy.read_table("faces.csv"), copy.read_table("masks.csv")
    shared = ["frame_index", "time_seconds", "face_index", "track", "score"]
    pd.testing.assert_frame_equal(masks[shared], faces[shared])
    assert names(copy.root / "masks" / VIDEO_ID) == names(copy.root / "originals") == file_names(faces)
    frames = {frame.frame_index: frame.image for frame in read_frames(original, set(faces["frame_index"]))}
    for key, row, face in zip(keys(faces), masks.to_dict("records"), faces.to_dict("records"), strict=True):
        patch = crops.cut(frames[key.frame_index], crops.crop_area(box_of(face), MARGIN, 192, 256))
        comparison = compare_crops(patch, copy.read_image(copy.crop_path(key)))
        assert np.array_equal(copy.read_image(image_path(copy, "originals", key)), patch)
        assert np.array_equal(copy.read_image(copy.mask_path(key)), comparison.mask)
        assert (row["ssim"], row["changed_share"]) == (comparison.ssim, comparison.changed_share)
        assert row["changed_share"] > 0.01

    examine(copy, original)  # the pictures of the earlier examination are deleted
    assert {"masks", "masks.csv", "originals"}.isdisjoint(names(copy.root))
    assert names(copy.root / "crops" / VIDEO_ID) == file_names(copy.read_table("faces.csv"))
    assert copy.read_record(copy.root / "inspection.json", Inspection).fingerprint == file_fingerprint(original)
    examine(copy, original, original)
    masks = copy.read_table("masks.csv")
    assert set(masks["changed_share"]) == {0} and masks["ssim"].tolist() == pytest.approx([1] * EXAMINED)


def test_heat_maps_show_the_faces_of_the_model_they_explain(examined: tuple[Run, Inspection], fake: Path, copy: Run):
    """Of two models, the first finds no face: boxes, margin and heat maps are those of the second."""
    add_model(copy, "blind", margin=0.6, detector=DetectorSettings(thresholds=(0.85, 0.95, 1.0)))
    examine(copy, fake, models=("blind", "m"))
    for folder in ("crops", "heat"):
        pictures = sorted(path.relative_to(copy.root) for path in (copy.root / folder).rglob("*.png"))
        assert pictures
        assert all((copy.root / path).read_bytes() == (examined[0].root / path).read_bytes() for path in pictures)


@pytest.mark.parametrize(
    ("video_ids", "name"), [(["a", "b"], "crops/a/00000_0.png"), ([], "crops/other.txt"), ([], "variants/other.txt")]
)
def test_folder_of_other_files_is_refused_and_unchanged(
    video_ids: list[str], name: str, fake: Path, tmp_path: Path
) -> None:
    run = open_run(tmp_path / "run")
    if video_ids:  # the run folder of a data set
        run.write_videos([Video(video_id=video_id, path=fake) for video_id in video_ids], {})
    run.write_bytes(run.root / name, b"other")
    before = sorted(run.root.rglob("*"))
    with pytest.raises(ValueError, match="RUN"):
        examine(run, fake)
    assert sorted(run.root.rglob("*")) == before and (run.root / name).read_bytes() == b"other"


def test_video_without_a_face_is_refused(copy: Run, sample_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "EXAMINED_FRAMES", 2)
    with pytest.raises(ValueError, match="no face"):
        examine(copy, sample_root / "dfdc_train_part_2" / "no_face.mp4")
    assert not (copy.root / "inspection.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [("absent.mp4", None, FileNotFoundError), ("broken.mp4", b"no video\n" * 100, ValueError)],
)
@pytest.mark.parametrize("as_original", [False, True])
def test_unreadable_file_is_refused_before_anything_is_scored(
    name: str, content: bytes | None, error: type, as_original: bool, fake: Path, tmp_path: Path
) -> None:
    if content:
        (tmp_path / name).write_bytes(content)
    run = open_run(tmp_path / "run")
    with pytest.raises(error, match=name):
        examine(run, *((fake, tmp_path / name) if as_original else (tmp_path / name,)))
    assert names(run.root) == []
    with pytest.raises(FileNotFoundError, match="model"):
        examine(run, fake)


@pytest.mark.parametrize(
    ("calibrations", "people", "answer", "expected"),
    [
        ([CALIBRATION], 1, "fake", 0.9),
        ([None], 1, "fake", None),
        ([CALIBRATION.model_copy(update={"role": "unknown"})], 1, "fake", None),  # it may rest on training videos
        ([CALIBRATION, CALIBRATION], 1, "fake", None),  # fitted on the scores of one model
        ([CALIBRATION], 2, "fake", None),  # fitted on all faces of a video together
        ([CALIBRATION], 1, "inconclusive", None),
        ([CALIBRATION.model_copy(update={"temperature": 0.05})], 1, "fake", 41 / 42),  # 40 videos prove no certainty
    ],
)
def test_calibrated_probability(
    calibrations: list, people: int, answer: str, expected: float | None, examined: tuple[Run, Inspection]
) -> None:
    cards = [ModelCard(name="m", encoder="resnet18", recipe=Recipe(size=64), calibration=each) for each in calibrations]
    person = examined[1].people[0].model_copy(update={"mean": 81 / 82})  # odds of 81; temperature 2 gives odds of 9
    probability = inspect.calibrated_probability(cards, [person] * people, answer)
    assert probability == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("seen", "start"),
    [
        ([0, 6], 0),  # every excerpt contains one frame: the earliest
        ([0, 10, 12, 15], 10),
        ([30, 0, 33, 35, 34], 30),  # in any order
    ],
)
def test_excerpt_start(seen: list[int], start: int) -> None:
    assert inspect.excerpt_start(seen) == start
