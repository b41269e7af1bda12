"""Prediction on a few short videos of the sample with small untrained models: every face scored, every video in the submission."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from dfdc_lib import workers
from dfdc_lib.classifier import predict
from dfdc_lib.classifier.checkpoints import save_model
from dfdc_lib.classifier.model import create_model
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.faces import stages, tracks
from dfdc_lib.inspection.verdict import MAX_TURN, MIN_SHARPNESS
from dfdc_lib.records import Calibration, DetectorSettings, ModelCard, Outcome, Recipe, Video
from dfdc_lib.run_folder import Run, open_run

FRAMES = 3  # of each video: 3 + 3 + 2 · 3 faces
FACES = {"small_256x192": 3, "small_256x192_fake": 3, "two_faces": 6}
SIDE = 64  # pixels
PARTS = {"small_256x192": 0, "small_256x192_fake": 0, "two_faces": 0, "no_face": 2}


def add_model(folder: Run, name: str, seed: int, margin: float = 0.2, **facts: Any) -> None:
    """Write an untrained model into a run folder; equal seeds give equal weights."""
    torch.manual_seed(seed)
    recipe = Recipe(size=SIDE, margin=margin, detector=facts.pop("detector", DetectorSettings()))
    card = ModelCard(name=name, encoder="resnet18", noise=True, recipe=recipe, **facts)
    save_model(folder.root / "models" / name, create_model("resnet18", pretrained=False, drop_path=0, noise=True), card)


def score(run: Run, *names: str, which: str = "all", strategy: str = "mean") -> dict[str, Outcome]:
    return {outcome.video_id: outcome for outcome in predict.predict(run, names, which, FRAMES, strategy, "cpu", 1)}


def only(run: Run, video_id: str) -> None:
    """Leave one video in a run."""
    run.write_videos([item for item in run.read_videos() if item.video_id == video_id], {})


def labels_of(run: Run) -> dict[str, float]:
    return run.read_table("submission.csv").set_index("filename")["label"].to_dict()


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    """Find faces in a thread of this process: another process takes seconds to start, and knows nothing of a patch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worker_pool", ThreadPoolExecutor)
        yield


@pytest.fixture(scope="module")
def videos(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain folder of an original with one face, its fake, one with two faces, one without, and a file that is no video."""
    folder = tmp_path_factory.mktemp("predict") / "videos"
    folder.mkdir()
    for name, part in PARTS.items():
        shutil.copy(sample_root / f"dfdc_train_part_{part}" / f"{name}.mp4", folder)
    (folder / "broken.mp4").write_bytes(b"no video\n" * 100)
    return folder


@pytest.fixture(scope="module")
def scored(videos: Path) -> tuple[Run, dict[str, Outcome]]:
    """A run in which two models with different margins have scored all videos; do not write into it."""
    run = open_run(videos.parent / "run")
    stages.find_videos(run, str(videos), "folder")
    add_model(run, "a", seed=0)
    add_model(run, "b", seed=1, margin=0.5)
    return run, score(run, "a", "b")


@pytest.fixture
def copy(scored: tuple[Run, dict[str, Outcome]], tmp_path: Path) -> Run:
    """A copy of that run, to write into; the videos are the same files."""
    return Run(Path(shutil.copytree(scored[0].root, tmp_path / "run")))


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many crops each call of a model gets."""
    sizes: list[int] = []
    original = predict.logits_of

    def counted(model: Any, images: torch.Tensor, *rest: Any) -> np.ndarray:
        sizes.append(len(images))
        return original(model, images, *rest)

    monkeypatch.setattr(predict, "logits_of", counted)
    return sizes


# Scores ----------------------------------------------------------------------------------------------------------------------------------
def test_every_video_has_its_outcome_with_the_reason(scored: tuple[Run, dict[str, Outcome]]) -> None:
    run, outcomes = scored
    assert {name: (outcome.status, outcome.count) for name, outcome in outcomes.items()} == {
        "broken": ("failed", 0),
        "no_face": ("nothing", 0),
    } | {name: ("done", count) for name, count in FACES.items()}
    assert "broken.mp4 is not readable as a video" in outcomes["broken"].note
    assert outcomes["no_face"].note == "no face found: 0.5 in the submission"
    assert {outcome.video_id: outcome for outcome in run.read_status("07_predict")} == outcomes
    failures = run.read_table("failures.csv")
    assert ("07_predict", "broken") in set(zip(failures["stage"], failures["video_id"], strict=True))


def test_every_face_has_a_logit_of_every_model(scored: tuple[Run, dict[str, Outcome]]) -> None:
    a, b = (scored[0].read_table(f"scores/{name}.parquet") for name in "ab")
    assert list(a.columns) == list(b.columns) == predict.SCORE_COLUMNS
    assert a.groupby("video_id").size().to_dict() == FACES
    assert set(a["frame_index"]) == set(evenly_spaced(22, FRAMES)) == {0, 10, 21}
    pd.testing.assert_frame_equal(
        a.drop(columns=["logit", "score"]), b.drop(columns=["logit", "score"])
    )  # one search for both
    for table in (a, b):
        assert np.isfinite(table["logit"]).all()
        assert table["score"].to_numpy() == pytest.approx(expit(table["logit"]), abs=1e-5)
    assert (a["logit"] - b["logit"]).abs().min() > 1e-4


def test_every_face_has_its_sharpness_and_its_turn(scored: tuple[Run, dict[str, Outcome]]) -> None:
    table = scored[0].read_table("scores/a.parquet")
    assert table["sharpness"].between(MIN_SHARPNESS, 5000).all() and table["turn"].between(0, MAX_TURN).all()
    originals, fakes = (
        table.loc[table["video_id"] == name, "sharpness"].mean() for name in ("small_256x192", "small_256x192_fake")
    )
    assert fakes < originals  # its face was made smaller and large again


def test_people_are_told_apart(scored: tuple[Run, dict[str, Outcome]]) -> None:
    table = scored[0].read_table("scores/a.parquet")
    assert table.groupby("video_id")["track"].nunique().to_dict() == {
        "small_256x192": 1,
        "small_256x192_fake": 1,
        "two_faces": 2,
    }
    for _, person in table[table["video_id"] == "two_faces"].groupby("track"):
        boxes = person[["box_x0", "box_y0", "box_x1", "box_y1"]].to_numpy()
        assert len(person) == FRAMES
        assert all(
            tracks.iou(tuple(before), tuple(after)) > 0.3 for before, after in zip(boxes, boxes[1:], strict=False)
        )


def test_the_submission_has_every_video_once_with_the_models_mean(scored: tuple[Run, dict[str, Outcome]]) -> None:
    run, _ = scored
    submission = run.read_table("submission.csv")
    assert list(submission.columns) == ["filename", "label"]
    assert sorted(submission["filename"]) == sorted(f"{name}.mp4" for name in [*PARTS, "broken"])
    means = [run.read_table(f"scores/{name}.parquet").groupby("video_id")["score"].mean() for name in "ab"]
    expected = {f"{name}.mp4": (means[0][name] + means[1][name]) / 2 for name in FACES} | {
        "no_face.mp4": 0.5,
        "broken.mp4": 0.5,
    }
    assert labels_of(run) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_model_alone_says_the_same_in_batches_filled_across_videos(
    name: str, scored: tuple[Run, dict[str, Outcome]], batches: list[int], tmp_path: Path
) -> None:
    run = open_run(tmp_path / "alone")
    shutil.copytree(scored[0].root / "models" / name, run.root / "models" / name)
    shutil.copy(scored[0].root / "videos.csv", run.root)
    score(run, name)
    assert batches == [8, 4] == [predict.CROPS_PER_BATCH["cpu"], sum(FACES.values()) - predict.CROPS_PER_BATCH["cpu"]]
    tables = [each.read_table(f"scores/{name}.parquet") for each in (run, scored[0])]
    pd.testing.assert_frame_equal(*tables, atol=1e-4)


# Again -----------------------------------------------------------------------------------------------------------------------------------
def test_a_second_call_scores_nothing_again(
    scored: tuple[Run, dict[str, Outcome]], copy: Run, batches: list[int]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.root.glob("scores/*/*.json")}
    assert len(before) == 2 * 4  # all but the broken one
    assert score(copy, "a", "b") == scored[1]
    assert batches == []
    assert {path: path.stat().st_mtime_ns for path in copy.root.glob("scores/*/*.json")} == before
    assert labels_of(copy) == labels_of(scored[0])


def test_a_calibration_scores_nothing_again(
    scored: tuple[Run, dict[str, Outcome]], copy: Run, batches: list[int]
) -> None:
    known = Calibration(temperature=2, clip=1e-6, videos=40, fakes=20, log_loss_before=0.5, log_loss_after=0.4)
    copy.write_record(copy.root / "models" / "a" / "calibration.json", known)
    assert score(copy, "a", "b") == scored[1]
    assert batches == []
    assert labels_of(copy) == labels_of(scored[0])  # and changes no score


def test_another_strategy_scores_nothing_again(copy: Run, batches: list[int]) -> None:
    score(copy, "a", strategy="maximum")
    assert batches == []
    highest = copy.read_table("scores/a.parquet").groupby("video_id")["score"].max()
    assert labels_of(copy)["two_faces.mp4"] == pytest.approx(highest["two_faces"])


def test_a_changed_model_is_scored_again(copy: Run, batches: list[int]) -> None:
    only(copy, "small_256x192")
    score(copy, "a")
    before = copy.read_table("scores/a.parquet")
    assert batches == []
    add_model(copy, "a", seed=7)
    score(copy, "a")
    assert sum(batches) == len(before)
    after = copy.read_table("scores/a.parquet")
    assert (before["logit"] - after["logit"]).abs().min() > 1e-4
    assert before["box_x0"].tolist() == after["box_x0"].tolist()


def test_a_record_that_does_not_read_is_made_again(
    scored: tuple[Run, dict[str, Outcome]], copy: Run, batches: list[int]
) -> None:
    copy.scores_record_path("b", "small_256x192").write_text('{"of": "another version"}')
    assert list(score(copy, "b")) == list(scored[1])
    assert batches == [FACES["small_256x192"]]
    pd.testing.assert_frame_equal(
        copy.read_table("scores/b.parquet"), scored[0].read_table("scores/b.parquet"), atol=1e-4
    )


def test_a_video_in_which_only_one_models_recipe_finds_faces_is_scored(copy: Run) -> None:
    only(copy, "small_256x192")
    add_model(copy, "blind", seed=2, detector=DetectorSettings(thresholds=(0.85, 0.95, 1.0)))
    for names in (["a", "blind"], ["blind", "a"]):  # the second call scores nothing
        assert score(copy, *names)["small_256x192"].count == FACES["small_256x192"]
        assert labels_of(copy) == {
            "small_256x192.mp4": pytest.approx(copy.read_table("scores/a.parquet")["score"].mean())
        }
    assert len(copy.read_table("scores/blind.parquet")) == 0
    assert score(copy, "blind")["small_256x192"].status == "nothing"


# Which videos ----------------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def listed(tmp_path: Path) -> Run:
    """A run of four videos, two of them in the training folds of its model; the files have gone, so nothing is searched."""
    run = open_run(tmp_path / "listed")
    run.write_videos([Video(video_id=f"v{n}", path=tmp_path / f"v{n}.mp4") for n in range(4)], {})
    run.write_table("folds.csv", pd.DataFrame({"video_id": ["v0", "v1", "v2", "v3"], "fold": [0, 1, 2, 3]}))
    add_model(run, "own", seed=0, run="listed", train_folds=(0, 1), validation_fold=2, test_fold=3)
    add_model(run, "foreign", seed=0, run="another", train_folds=(0, 1, 2, 3))
    return run


@pytest.mark.parametrize(
    ("names", "which", "left_out"),
    [
        (["own"], "held-out", ["v0", "v1"]),
        (["own", "foreign"], "held-out", ["v0", "v1"]),
        (["foreign"], "held-out", []),  # its folds are another run's
        (["own"], "all", []),
    ],
)
def test_held_out_leaves_out_what_a_model_of_this_run_was_trained_on(
    names: list, which: str, left_out: list, listed: Run
) -> None:
    outcomes = score(listed, *names, which=which)
    assert list(outcomes) == ["v0", "v1", "v2", "v3"]
    assert [name for name, outcome in outcomes.items() if outcome.status == "not needed"] == left_out
    assert {outcomes[name].note for name in left_out} <= {"a model was trained on it"}
    assert list(labels_of(listed)) == [f"{name}.mp4" for name in outcomes if name not in left_out]


def test_without_folds_nothing_is_left_out(listed: Run) -> None:
    (listed.root / "folds.csv").unlink()
    assert {outcome.status for outcome in score(listed, "own", which="held-out").values()} == {"failed"}


def test_files_that_have_gone_fail_with_the_reason_and_get_one_half(listed: Run) -> None:
    outcomes = score(listed, "own")
    assert all(f"no such video: {listed.root.parent / name}.mp4" in outcome.note for name, outcome in outcomes.items())
    assert labels_of(listed) == {f"v{n}.mp4": 0.5 for n in range(4)}
    table = listed.read_table("scores/own.parquet")
    assert (list(table.columns), len(table)) == (predict.SCORE_COLUMNS, 0)


def test_two_files_of_one_name_are_told_apart(listed: Run) -> None:
    listed.write_videos([Video(video_id=f"{part}_x", path=Path(f"/nowhere/{part}/x.mp4")) for part in "ab"], {})
    score(listed, "own")
    assert labels_of(listed) == {"a_x": 0.5, "b_x": 0.5}


@pytest.mark.parametrize(
    ("names", "which", "strategy", "error", "message"),
    [
        ([], "all", "mean", ValueError, "MODELS is empty: name at least one model"),
        (["own"], "some", "mean", ValueError, 'VIDEOS must be "held-out" or "all", got \'some\''),
        (["own"], "all", "best", ValueError, "there is no strategy 'best': choose one of mean, mean of logits, "),
        (
            ["elsewhere/models/own"],
            "all",
            "mean",
            ValueError,
            "has a model own of its own: rename the folder of the other one, elsewhere",
        ),
        (
            ["own", "x/own"],
            "all",
            "mean",
            ValueError,
            "MODELS must differ in the last part of their names, .* got own, x/own",
        ),
        (
            ["absent"],
            "all",
            "mean",
            FileNotFoundError,
            "there is no model 'absent'; trained in .*: foreign, own; released",
        ),
    ],
)
def test_what_is_wrong_is_refused(
    names: list, which: str, strategy: str, error: type, message: str, listed: Run
) -> None:
    with pytest.raises(error, match=message):
        score(listed, *names, which=which, strategy=strategy)
    assert not (listed.root / "submission.csv").exists()


@pytest.mark.parametrize(
    ("name", "short"),
    [("b7", "b7"), ("outputs/x/models/b7", "b7"), ("/w/DeepFakeClassifier_0_29", "DeepFakeClassifier_0_29")],
)
def test_model_name(name: str, short: str) -> None:
    assert predict.model_name(name) == short
