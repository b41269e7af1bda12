"""Prediction on a few short videos of the sample with small untrained models."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from dfdc_lib import workers
from dfdc_lib.backends.choice import Engine
from dfdc_lib.backends.remote import serve
from dfdc_lib.classifier import networks, predict
from dfdc_lib.classifier.checkpoints import load_model, save_model
from dfdc_lib.classifier.computation import Computation
from dfdc_lib.classifier.model import create_model
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.data.video_stage import find_videos
from dfdc_lib.evaluation import load_scores
from dfdc_lib.evaluation.scoring import read_run_scores
from dfdc_lib.faces import tracks
from dfdc_lib.faces.mtcnn_networks import torch_runner
from dfdc_lib.inspection.verdict import MAX_TURN, MIN_SHARPNESS
from dfdc_lib.records import (
    BOX_COLUMNS,
    Calibration,
    DetectorSettings,
    ModelCard,
    Outcome,
    Recipe,
    Seen,
    Video,
    VideoInfo,
)
from dfdc_lib.run_folder import Run, open_run

FRAMES = 3  # per video
INFO = VideoInfo(height=8, width=8, fps=25, frame_count=9, duration_seconds=1, rotation_degrees=0)
FACES = {"small_256x192": 3, "small_256x192_fake": 3, "two_faces": 6}
SIDE = 64  # pixels
ENCODER = "test_efficientnet"  # 0.4 million weights
TORCH = Engine("torch")  # a model for OpenVINO takes seconds to convert
PARTS = {"small_256x192": 0, "small_256x192_fake": 0, "two_faces": 0, "no_face": 2}

Scored = tuple[Run, dict[str, Outcome]]


def add_model(folder: Run, name: str, seed: int, margin: float = 0.2, **facts: Any) -> None:
    """Write an untrained model into a run folder; equal seeds give equal weights."""
    torch.manual_seed(seed)
    recipe = Recipe(size=SIDE, margin=margin, detector=facts.pop("detector", DetectorSettings()))
    card = ModelCard(name=name, encoder=ENCODER, noise=True, recipe=recipe, **facts)
    save_model(folder.root / "models" / name, create_model(ENCODER, pretrained=False, drop_path=0, noise=True), card)


def score(run: Run, *names: str, which: str = "all", strategy: str = "mean", precision: Any = "") -> dict[str, Outcome]:
    outcomes = predict.predict(run, names, which, FRAMES, strategy, Computation(TORCH, 1, precision))
    return {outcome.video_id: outcome for outcome in outcomes}


def only(run: Run, video_id: str) -> None:
    """Remove all other videos from a run."""
    run.write_videos([video for video in run.read_videos() if video.video_id == video_id], {})


def labels_of(run: Run) -> dict[str, float]:
    return run.read_table("submission.csv").set_index("filename")["label"].to_dict()


@pytest.fixture(scope="module", autouse=True)
def threads() -> Iterator[None]:
    """Find faces in threads: processes take seconds to start and do not see patches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worker_pool", ThreadPoolExecutor)
        yield


@pytest.fixture(scope="module")
def scored(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """A run in which two models with different margins have scored five videos; do not write into it."""
    root = tmp_path_factory.mktemp("predict")
    (root / "videos").mkdir()
    for name, part in PARTS.items():
        shutil.copy(sample_root / f"dfdc_train_part_{part}" / f"{name}.mp4", root / "videos")
    (root / "videos" / "broken.mp4").write_bytes(b"no video\n" * 100)
    run = open_run(root / "run")
    find_videos(run, str(root / "videos"), "folder")
    add_model(run, "a", seed=0)
    add_model(run, "b", seed=1, margin=0.5)
    return run, score(run, "a", "b")


@pytest.fixture
def copy(scored: Scored, tmp_path: Path) -> Run:
    """A copy of that run, to write into; the video files are shared."""
    return Run(Path(shutil.copytree(scored[0].root, tmp_path / "run")))


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of crops in each call of a model."""
    sizes: list[int] = []
    original = networks.TorchNetwork.logits

    def counted(network: networks.TorchNetwork, squares: np.ndarray) -> np.ndarray:
        sizes.append(len(squares))
        return original(network, squares)

    monkeypatch.setattr(networks.TorchNetwork, "logits", counted)
    return sizes


def test_every_video_has_its_outcome(scored: Scored) -> None:
    run, outcomes = scored
    expected = {"broken": ("failed", 0), "no_face": ("nothing", 0)} | {name: ("done", n) for name, n in FACES.items()}
    assert {name: (outcome.status, outcome.count) for name, outcome in outcomes.items()} == expected
    assert "broken.mp4" in outcomes["broken"].note and "0.5" in outcomes["no_face"].note
    assert {outcome.video_id: outcome for outcome in run.read_status("07_predict")} == outcomes
    failures = run.read_table("failures.csv")
    assert ("07_predict", "broken") in set(zip(failures["stage"], failures["video_id"], strict=True))


def test_a_score_that_rests_on_few_faces_is_flagged(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Video two_faces shows two faces in a single one of three frames; the others show theirs in all."""
    details = copy.read_table("submission_details.csv").set_index("video_id")
    assert details.loc["two_faces", ["faces", "frames with a face"]].tolist() == [6, 3]
    assert not details["note"].str.contains("few faces").any()
    find = predict.find_faces

    def find_few(path: Path, *rest: Any) -> list[list[Any]]:
        views = find(path, *rest)
        return [faces[:2] for faces in views] if path.stem == "two_faces" else views

    monkeypatch.setattr(predict, "find_faces", find_few)
    shutil.rmtree(copy.root / "scores")
    outcomes = score(copy, "a", "b")
    details = copy.read_table("submission_details.csv").set_index("video_id")
    assert details["label"].tolist() == copy.read_table("submission.csv")["label"].tolist()
    assert details.loc["two_faces", ["faces", "frames with a face"]].tolist() == [2, 1]
    flagged = {name for name, outcome in outcomes.items() if "few faces" in outcome.note}
    assert flagged == {"two_faces"} == set(details.index[details["note"].fillna("").str.contains("few faces")])
    assert details.loc[["no_face", "broken"], "faces"].tolist() == [0, 0]
    assert list(copy.read_table("submission.csv").columns) == ["filename", "label"]


def test_the_precision_is_part_of_a_scores_recipe(copy: Run, batches: list[int]) -> None:
    exact = copy.read_table("scores/a.parquet")
    score(copy, "a", precision="float32")  # as in the recipe
    assert batches == []
    score(copy, "a", precision="bfloat16")
    assert sum(batches) == sum(FACES.values())
    assert 0 < (copy.read_table("scores/a.parquet")["logit"] - exact["logit"]).abs().max() < 0.1
    with pytest.raises(ValueError, match="PRECISION"):
        score(copy, "a", precision="half")
    with pytest.raises(ValueError, match="int8"):  # of PyTorch
        score(copy, "a", precision="int8")


def test_every_face_has_a_logit_of_every_model(scored: Scored) -> None:
    a, b = (scored[0].read_table(f"scores/{name}.parquet") for name in "ab")
    assert list(a.columns) == list(b.columns) == predict.SCORE_COLUMNS
    assert a.groupby("video_id").size().to_dict() == FACES
    assert set(a["frame_index"]) == set(evenly_spaced(22, FRAMES)) == {0, 10, 21}
    model_columns = ["logit", "score"]
    pd.testing.assert_frame_equal(a.drop(columns=model_columns), b.drop(columns=model_columns))  # the same faces
    for table in (a, b):
        assert np.isfinite(table["logit"]).all()
        assert table["score"].to_numpy() == pytest.approx(expit(table["logit"]), abs=1e-5)
    assert (a["logit"] - b["logit"]).abs().min() > 1e-4


def test_sharpness_turn_and_people(scored: Scored) -> None:
    table = scored[0].read_table("scores/a.parquet")
    assert table["sharpness"].between(MIN_SHARPNESS, 5000).all() and table["turn"].between(0, MAX_TURN).all()
    means = table.groupby("video_id")["sharpness"].mean()
    assert means["small_256x192_fake"] < means["small_256x192"]  # the fake's face was made smaller and larger again
    people = {"small_256x192": 1, "small_256x192_fake": 1, "two_faces": 2}
    assert table.groupby("video_id")["track"].nunique().to_dict() == people
    for _, person in table[table["video_id"] == "two_faces"].groupby("track"):
        boxes = [tuple(box) for box in person[BOX_COLUMNS].to_numpy()]
        assert len(person) == FRAMES
        assert all(tracks.iou(*pair) > 0.3 for pair in zip(boxes, boxes[1:], strict=False))


def test_submission_has_every_video_once_with_the_mean_of_the_models(scored: Scored) -> None:
    run, _ = scored
    submission = run.read_table("submission.csv")
    assert list(submission.columns) == ["filename", "label"]
    assert sorted(submission["filename"]) == sorted(f"{name}.mp4" for name in [*PARTS, "broken"])
    a, b = (run.read_table(f"scores/{name}.parquet").groupby("video_id")["score"].mean() for name in "ab")
    expected = {f"{name}.mp4": (a[name] + b[name]) / 2 for name in FACES}
    assert labels_of(run) == pytest.approx(expected | {"no_face.mp4": 0.5, "broken.mp4": 0.5})


@pytest.mark.parametrize("name", ["a", "b"])
def test_one_model_gives_the_same_scores_in_batches_that_span_videos(
    name: str, scored: Scored, batches: list[int], tmp_path: Path
) -> None:
    run = open_run(tmp_path / "alone")
    shutil.copytree(scored[0].root / "models" / name, run.root / "models" / name)
    shutil.copy(scored[0].root / "videos.csv", run.root)
    score(run, name)
    assert batches == [8, 4] == [networks.CROPS_PER_BATCH, sum(FACES.values()) - networks.CROPS_PER_BATCH]
    tables = [each.read_table(f"scores/{name}.parquet") for each in (run, scored[0])]
    pd.testing.assert_frame_equal(*tables, atol=1e-4)


def assert_same_scores(engine: Engine, scored: Scored, folder: Path, tolerance: float) -> None:
    """Score the videos again with one of the models, by another engine."""
    run = open_run(folder)
    shutil.copytree(scored[0].root / "models" / "a", run.root / "models" / "a")
    shutil.copy(scored[0].root / "videos.csv", run.root)
    outcomes = predict.predict(run, ["a"], "all", FRAMES, "mean", Computation(engine, 3))
    assert {each.video_id: each.status for each in outcomes} == {n: each.status for n, each in scored[1].items()}
    tables = [each.read_table("scores/a.parquet")[[*BOX_COLUMNS, "score"]] for each in (run, scored[0])]
    pd.testing.assert_frame_equal(*tables, atol=tolerance)


def test_faces_found_with_the_networks_of_another_process_have_the_same_scores(scored: Scored, tmp_path: Path) -> None:
    names, run = list[str](), torch_runner("cpu")

    def served(name: str, images: np.ndarray) -> list[np.ndarray]:
        names.append(name)
        return run(name, images)

    with serve(served) as address:  # as on a GPU
        assert_same_scores(TORCH._replace(address=address), scored, tmp_path / "served", 1e-4)
    assert set(names) == {"PNet", "RNet", "ONet"}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_a_gpu_gives_the_scores_of_the_cpu(scored: Scored, tmp_path: Path) -> None:
    assert_same_scores(Engine("torch", "cuda"), scored, tmp_path / "gpu", 0.1)


@pytest.mark.parametrize("added", ["nothing", "calibration", "test metrics"])
def test_a_second_call_scores_nothing_again(added: str, scored: Scored, copy: Run, batches: list[int]) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.root.glob("scores/*/*.json")}
    assert len(before) == 2 * 4  # all but the broken one
    if added == "calibration":
        fit = Calibration(temperature=2, clip=1e-6, videos=40, fakes=20, log_loss_before=0.5, log_loss_after=0.4)
        copy.write_record(copy.calibration_path("a"), fit)
    if added == "test metrics":
        copy.write_json(copy.root / "models" / "a" / "test_metrics.json", {"test AUC": 0.5})
    assert score(copy, "a", "b") == scored[1]
    assert batches == []
    assert {path: path.stat().st_mtime_ns for path in copy.root.glob("scores/*/*.json")} == before
    assert labels_of(copy) == labels_of(scored[0])


def test_another_strategy_scores_nothing_again(copy: Run, batches: list[int]) -> None:
    score(copy, "a", strategy="maximum")
    assert batches == []
    highest = copy.read_table("scores/a.parquet").groupby("video_id")["score"].max()
    assert labels_of(copy)["two_faces.mp4"] == pytest.approx(highest["two_faces"])


@pytest.mark.parametrize("change", ["weights", "code"])
def test_another_model_or_other_code_scores_again(
    change: str, copy: Run, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    only(copy, "small_256x192")
    score(copy, "a")
    before = copy.read_table("scores/a.parquet")
    assert batches == []
    if change == "weights":
        add_model(copy, "a", seed=7)
    else:
        monkeypatch.setattr(predict, "code_fingerprint", lambda *modules: "other")
    score(copy, "a")
    assert sum(batches) == len(before)
    after = copy.read_table("scores/a.parquet")
    assert ((before["logit"] - after["logit"]).abs().min() > 1e-4) == (change == "weights")
    assert before["box_x0"].tolist() == after["box_x0"].tolist()


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_a_logit_that_is_no_number_fails_its_video_only(
    logit: float, copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copy.root / "scores")
    logits_of, broken = networks.TorchNetwork.logits, iter([True])

    def damaged(*args: Any) -> np.ndarray:
        logits = logits_of(*args)
        logits[0] = logit if next(broken, False) else logits[0]  # the first face of the first video
        return logits

    monkeypatch.setattr(networks.TorchNetwork, "logits", damaged)
    outcomes = score(copy, "a", "b")
    [failed] = [outcome for outcome in outcomes.values() if outcome.status == "failed" and "model a" in outcome.note]
    done = set(FACES) - {failed.video_id}
    assert {name for name, outcome in outcomes.items() if outcome.status == "done"} == done
    assert not copy.scores_record_path("a", failed.video_id).exists()
    assert set(copy.read_table("scores/b.parquet")["video_id"]) == done
    assert labels_of(copy)[f"{failed.video_id}.mp4"] == 0.5


def test_a_model_with_broken_weights_scores_no_video(copy: Run) -> None:
    only(copy, "small_256x192")
    folder = copy.root / "models" / "a"
    model, card = load_model(folder)
    torch.nn.init.constant_(model.fc.bias, float("nan"))
    save_model(folder, model, card)
    with pytest.raises(RuntimeError, match="weights"):
        score(copy, "a")


def test_an_invalid_record_is_written_again(scored: Scored, copy: Run, batches: list[int]) -> None:
    copy.scores_record_path("b", "small_256x192").write_text('{"of": "another version"}')
    assert list(score(copy, "b")) == list(scored[1])
    assert batches == [FACES["small_256x192"]]
    tables = [run.read_table("scores/b.parquet") for run in (copy, scored[0])]
    pd.testing.assert_frame_equal(*tables, atol=1e-4)


def test_a_video_with_faces_for_only_one_recipe_is_scored(copy: Run) -> None:
    only(copy, "small_256x192")
    add_model(copy, "blind", seed=2, detector=DetectorSettings(thresholds=(0.85, 0.95, 1.0)))
    for names in (["a", "blind"], ["blind", "a"]):  # the second call scores nothing
        assert score(copy, *names)["small_256x192"].count == FACES["small_256x192"]
        mean = copy.read_table("scores/a.parquet")["score"].mean()
        assert labels_of(copy) == {"small_256x192.mp4": pytest.approx(mean)}
    assert len(copy.read_table("scores/blind.parquet")) == 0
    assert score(copy, "blind")["small_256x192"].status == "nothing"


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of five videos without faces, and models that have seen some of them."""
    run, infos = open_run(tmp_path / "listed"), {}
    for n in range(5):
        (tmp_path / f"v{n}.mp4").touch()
        infos[f"v{n}"] = INFO.model_copy(update={"content": f"content {n}"})
    run.write_videos([Video(video_id=f"v{n}", path=tmp_path / f"v{n}.mp4") for n in range(5)], infos)
    for name, trained_on, chosen_by in (("local", "01", "2"), ("other", "2", "3"), ("all", "01234", "")):
        lists = [Seen(contents=tuple(f"content {n}" for n in numbers)) for numbers in (trained_on, chosen_by)]
        add_model(run, name, seed=0, run="another", trained_on=lists[0], chosen_by=lists[1])
    add_model(run, "old", seed=0, run="listed", train_folds=(0, 1))
    monkeypatch.setattr(predict, "find_faces", lambda path, views, *_: [[] for _ in views])
    return run


LOCAL = {"v0": "trained on", "v1": "trained on", "v2": "chosen by"}


@pytest.mark.parametrize(
    ("names", "which", "left_out"),
    [
        (["local"], "held-out", LOCAL),
        (["other", "local"], "held-out", LOCAL | {"v2": "trained on", "v3": "chosen by"}),
        (["old"], "held-out", {}),  # unknown
        (["old", "local"], "held-out", LOCAL),
        (["all"], "held-out", {f"v{n}": "trained on" for n in range(5)}),
        (["local"], "all", {}),
    ],
)
def test_held_out_skips_videos_that_trained_or_chose_a_model(
    names: list, which: str, left_out: dict, listed: Run
) -> None:
    outcomes = score(listed, *names, which=which)
    assert list(outcomes) == [f"v{n}" for n in range(5)]
    assert [name for name, outcome in outcomes.items() if outcome.status == "not needed"] == list(left_out)
    assert all(role in outcomes[name].note for name, role in left_out.items())
    assert labels_of(listed) == {f"{name}.mp4": 0.5 for name in outcomes if name not in left_out}
    table = listed.read_table(f"scores/{names[0]}.parquet")
    assert (list(table.columns), len(table)) == (predict.SCORE_COLUMNS, 0)
    role, unlisted = listed.read_table("scores/roles.csv").set_index("video_id")["role"], "unseen"
    expected = (LOCAL if which == "all" else left_out), "unknown" if "old" in names else unlisted
    assert role.to_dict() == {name: expected[0].get(name, expected[1]) for name in outcomes}


def deal(run: Run, *folds: int) -> None:
    names = [f"v{n}" for n in range(5)]
    run.write_table("folds.csv", pd.DataFrame({"video_id": names, "fold": folds, "group": range(5)}))


def renamed(run: Run) -> tuple[Run, str]:
    return Run(run.root.rename(run.root.parent / "renamed")), "local"


def refolded(run: Run) -> tuple[Run, str]:
    deal(run, 3, 2, 1, 0, 0)  # v0 and v1, which were trained on, are in the folds of validation and test
    return run, "local"


def foreign_model(run: Run) -> tuple[Run, str]:
    """A run of copies of the videos under other names, and the model of the first run."""
    other = open_run(run.root.parent / "other")
    videos = [video.model_copy(update={"video_id": f"x_{video.video_id}"}) for video in run.read_videos()]
    other.write_videos(videos, {f"x_{name}": info for name, info in run.read_infos().items()})
    return other, str(run.root / "models" / "local")


@pytest.mark.parametrize("change", [renamed, refolded, foreign_model])
def test_a_model_never_meets_its_training_videos_as_held_out(change: Any, listed: Run) -> None:
    labelled = [video.model_copy(update={"label": n % 2}) for n, video in enumerate(listed.read_videos())]
    listed.write_videos(labelled, listed.read_infos())
    deal(listed, 2, 2, 0, 1, 1)
    run, model = change(listed)
    outcomes = score(run, model, which="held-out")
    skipped = {name.removeprefix("x_") for name, outcome in outcomes.items() if outcome.status == "not needed"}
    assert skipped == set(LOCAL)
    score(run, model, which="all")
    table = load_scores.read_run_scores(run)
    assert set(table.coverage.missing) <= {"v3", "v4", "x_v3", "x_v4"} and table.coverage.expected == 2
    assert any("2 unseen, 1 chosen by, 2 trained on" in note for note in table.notes)


def test_the_record_names_the_models_that_scored_last(listed: Run) -> None:
    score(listed, "old", "local")
    score(listed, "local", which="held-out", strategy="confident")
    scoring, tables, role, ignored = read_run_scores(listed)
    assert (list(scoring.models), list(tables), ignored) == (["local"], ["local"], ["old"])
    assert (scoring.videos, scoring.frames, scoring.strategy) == ("held-out", FRAMES, "confident")
    [model] = scoring.models.values()
    assert (model.card.run, model.card.recipe.size, model.card.trained_on) == ("another", SIDE, None)
    assert role.value_counts().to_dict() == {"trained on": 2, "unseen": 2, "chosen by": 1}
    weights = {name: scored.fingerprint for name, scored in scoring.models.items()}
    add_model(listed, "local", seed=1)
    score(listed, "local")
    assert read_run_scores(listed).scoring.models["local"].fingerprint != weights["local"]


def test_a_killed_prediction_leaves_no_record(listed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    score(listed, "local")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "Scoring", Mock(model_validate=stop))  # after the tables have been written
    with pytest.raises(KeyboardInterrupt):
        score(listed, "old")
    with pytest.raises(FileNotFoundError, match="07"):
        read_run_scores(listed)


def test_missing_files_fail(listed: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="all 5 videos"):
        score(listed, "local")
    assert {outcome.status for outcome in listed.read_status("07_predict")} == {"failed"}


def test_files_of_the_same_name_are_listed_by_video_id(listed: Run) -> None:
    listed.write_videos([Video(video_id=f"{part}_x", path=Path(f"/nowhere/{part}/x.mp4")) for part in "ab"], {})
    score(listed, "local")
    assert labels_of(listed) == {"a_x": 0.5, "b_x": 0.5}


@pytest.mark.parametrize(
    ("names", "which", "strategy", "error", "keyword"),
    [
        ([], "all", "mean", ValueError, "MODELS"),
        (["local"], "some", "mean", ValueError, "held-out"),
        (["local"], "all", "best", ValueError, "mean, mean of logits, "),
        (["elsewhere/models/local"], "all", "mean", ValueError, "rename"),
        (["local", "x/local"], "all", "mean", ValueError, "differ"),
        (["absent"], "all", "mean", FileNotFoundError, "all, local, old, other"),
    ],
)
def test_invalid_arguments(names: list, which: str, strategy: str, error: type, keyword: str, listed: Run) -> None:
    with pytest.raises(error, match=keyword):
        score(listed, *names, which=which, strategy=strategy)
    assert not (listed.root / "submission.csv").exists()


def test_model_name() -> None:
    names = "b7", "outputs/x/models/b7", "/w/DeepFakeClassifier_0_29"
    assert [predict.model_name(name) for name in names] == ["b7", "b7", "DeepFakeClassifier_0_29"]
    for name in ("", "..", "models/.."):
        with pytest.raises(ValueError, match="name"):
            predict.model_name(name)
