from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.evaluation import load_scores
from dfdc_lib.evaluation.calibration import calibration_of
from dfdc_lib.evaluation.metrics import FEW_VIDEOS
from dfdc_lib.evaluation.strategies import ScoreTable
from dfdc_lib.records import Calibration, ModelCard, Recipe
from dfdc_lib.run_folder import Run, open_run

FRAMES = pd.DataFrame(
    {
        "video_id": ["a", "a", "b", "b"],
        "frame_index": [0, 1, 0, 1],
        "score": [0.1, 0.2, 0.9, 0.8],
        "label": [0, 0, 1, 1],
        "original_id": ["a", "a", "a", "a"],
    }
)
VIDEOS = pd.DataFrame(
    {
        "filename": ["a.mp4", "b.mp4"],
        "part": [36, 36],
        "label": [0, 1],
        "original": [None, "a.mp4"],
        "m": [0.1, 0.9],
        "n": [0, 1],
    }
)


def written(folder: Path, table: pd.DataFrame, name: str = "detector.csv") -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = open_run(tmp_path / "run")
    videos = pd.DataFrame(
        {
            "video_id": ["a", "b", "c", "d"],
            "label": [0, 1, 0, None],
            "original_id": [None, "a", None, None],
            "height": 480,
            "width": 640,
        }
    )
    run.write_table("videos.csv", videos.astype({"label": "Int64"}))
    run.write_table("folds.csv", pd.DataFrame({"video_id": list("abcd"), "fold": [0, 0, 1, 1]}))
    return run


def predict(run: Run, model: str, video_ids: Iterable[str]) -> None:
    rows = [(video, frame, 0, 0, 0.99, 0.5) for video in video_ids for frame in range(3)]
    run.write_table(
        f"scores/{model}.parquet",
        pd.DataFrame(rows, columns=["video_id", "frame_index", "face_index", "track", "confidence", "score"]),
    )


def add_card(into: Run, name: str, **facts: Any) -> None:
    card = ModelCard(name=name, encoder="resnet18", recipe=Recipe(size=64), **facts)
    into.write_record(into.root / "models" / name / "model.json", card)


@pytest.mark.parametrize("name", ["detector.csv", "detector.csv.gz", "detector.parquet"])
def test_frame_by_frame(tmp_path: Path, name: str) -> None:
    table = load_scores.read_scores(written(tmp_path, FRAMES, name))
    assert table.title == "detector" and table.averages
    assert table.videos.to_dict("list") == {"label": [0, 1], "original_id": ["a", "a"], "group": ["a", "a"]}
    assert table.frames["detector"]["score"].tolist() == [0.1, 0.2, 0.9, 0.8] and set(
        table.frames["detector"]["track"]
    ) == {0}
    assert table.notes == (f"{name}: 4 frame scores",)


def test_video_by_video(tmp_path: Path) -> None:
    table = load_scores.read_scores(written(tmp_path, VIDEOS))
    assert list(table.frames) == ["m", "n"] and not table.averages
    assert table.videos["group"].to_dict() == {"a.mp4": "a.mp4", "b.mp4": "a.mp4"}
    assert table.frames["n"]["score"].tolist() == [0, 1]
    assert "one score a video of m, n" in table.notes[0]


def test_names_stay_text(tmp_path: Path) -> None:
    table = load_scores.read_scores(written(tmp_path, FRAMES.replace({"a": "007", "b": "NA"})))
    assert table.videos.index.tolist() == ["007", "NA"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            FRAMES.drop(columns="label"),
            "detector.csv lacks the columns label; it has video_id, frame_index, score, original_id",
        ),
        (FRAMES.drop(columns=["video_id"]), "lacks the columns video_id"),
        (FRAMES.drop(columns="score"), "lacks the columns score"),
        (VIDEOS.drop(columns=["m", "n"]), "needs frame_index and score, or a column of scores 0–1 a model"),
        (
            FRAMES.assign(score=[0.1, 1.2, 0.9, -1]),
            "score must be a score, 0–1 and never missing, got 1.2 of video a and 1 more",
        ),
        (FRAMES.assign(score=[0.1, None, 0.9, 0.8]), "got nan of video a and 0 more"),
        (FRAMES.assign(score=["x", 0.1, 0.9, 0.8]), "got x of video a"),
        (VIDEOS.assign(m=[1, 7]), "m must be a score, 0–1 and never missing, got 7 of video b.mp4"),
        (FRAMES.assign(label=0), r"reals \(label 0\) and fakes \(label 1\), got 2 reals: add the other class"),
        (FRAMES.assign(label=1), "got 2 fakes"),
        (FRAMES.assign(label=[0, 0, 1, 2]), r"a label must be 0 \(real\) or 1 \(fake\), got 2"),
        (FRAMES.assign(label=[0, 1, 1, 1]), "the rows of video a differ in"),
        (
            FRAMES.assign(frame_index=0),
            "2 rows stand twice, first video_id a, frame_index 0; two faces of a frame need a column track",
        ),
        (pd.concat([VIDEOS, VIDEOS]), "2 videos stand twice, first a.mp4; scores of frames need a column frame_index"),
    ],
)
def test_wrong_file_is_an_error(tmp_path: Path, table: pd.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_scores.read_scores(written(tmp_path, table))


def test_missing_file_is_an_error(tmp_path: Path, run: Run) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist: give SCORES a CSV or Parquet file"):
        load_scores.load_scores(run, str(tmp_path / "none.csv"))
    with pytest.raises(FileNotFoundError, match="has no predictions: run notebook 07 first"):
        load_scores.load_scores(run)


def test_run_judges_what_is_labelled_and_scored(run: Run) -> None:
    predict(run, "x", "abd")
    predict(run, "y", "ab")
    table = load_scores.load_scores(run)
    assert table.videos[["label", "group", "height"]].to_dict("list") == {
        "label": [0, 1],
        "group": ["a", "a"],
        "height": [480, 480],
    }
    assert {name: len(frames) for name, frames in table.frames.items()} == {"x": 6, "y": 6}
    assert "3 of 4 videos are labelled" in table.notes
    assert "1 labelled videos without a score (no face, or unreadable) are left out" in table.notes
    assert "all labelled videos are judged" in table.notes[-1]


def test_run_judges_the_test_fold_only(run: Run) -> None:
    predict(run, "x", "abcd")
    add_card(run, "x", run=run.root.name, train_folds=(2,), validation_fold=0, test_fold=1)
    table = load_scores.read_run_scores(run)
    assert table.videos.index.tolist() == ["c"] and set(table.frames["x"]["video_id"]) == {"c"}
    assert "only fold 1 is judged, 1 videos: the others were trained on" in table.notes
    assert any("all of one class" in note for note in table.notes)


def test_folds_of_another_run_say_nothing(run: Run) -> None:
    predict(run, "x", "abcd")
    add_card(run, "x", run="other", train_folds=(0,), validation_fold=1)
    assert load_scores.read_run_scores(run).videos.index.tolist() == ["a", "b", "c"]


def test_of_several_models_all_that_any_was_trained_on_is_left_out(run: Run) -> None:
    for name, fold in (("x", 0), ("y", 1)):
        predict(run, name, "abcd")
        add_card(run, name, run=run.root.name, train_folds=(fold,), validation_fold=2)
    table = load_scores.read_run_scores(run)
    assert len(table.videos) == 0 and "only fold – is judged, 0 videos: the others were trained on" in table.notes


def test_run_without_labels_has_no_rows(run: Run) -> None:
    predict(run, "x", "abcd")
    run.write_table("videos.csv", run.read_table("videos.csv").assign(label=None))
    table = load_scores.read_run_scores(run)
    assert len(table.videos) == 0 and "0 of 4 videos are labelled" in table.notes


@pytest.mark.parametrize("column", ["original_id", "original"])
def test_originals_called_by_numbers_keep_their_fakes(column: str, tmp_path: Path) -> None:
    """FaceForensics++ calls its originals 000 to 999: an original and its fakes are one group of the bootstrap."""
    table = pd.DataFrame({"video_id": ["007", "007_123"], "label": [0, 1], column: [None, "007"], "m": [0.1, 0.9]})
    assert load_scores.read_scores(written(tmp_path, table)).videos["group"].tolist() == ["007", "007"]


def test_a_run_with_originals_called_by_numbers(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run")
    run.write_table(
        "videos.csv", pd.DataFrame({"video_id": ["007", "x"], "label": [0, 1], "original_id": [None, "007"]})
    )
    predict(run, "m", ["007", "x"])
    assert load_scores.read_run_scores(run).videos["group"].tolist() == ["007", "007"]


# Calibrations --------------------------------------------------------------------------------------------------------------------------
def score_table(names: list[str], videos: int) -> ScoreTable:
    """Half of the videos fakes; two frames each, whose mean is 0.98 for fakes and 0.04 for reals, but every fifth video the other way."""
    label = np.arange(videos) % 2
    seems_fake = np.where(np.arange(videos) % 5 == 0, 1 - label, label)
    ids = [f"v{number:02d}" for number in range(videos)]
    about = pd.DataFrame({"label": label, "group": ids}, index=pd.Index(ids, name="video_id"))
    score = np.where(seems_fake == 1, 0.98, 0.04)
    frames = pd.DataFrame({"video_id": ids * 2, "track": 0, "score": [*(score - 0.01), *(score + 0.01)]})
    return ScoreTable("r", about, {name: frames.sample(frac=1, random_state=0) for name in names})


def test_every_model_of_the_run_gets_its_calibration(run: Run) -> None:
    (run.root / "models" / "x").mkdir(parents=True)
    table = score_table(["x", "released"], 40)
    said = load_scores.keep_calibrations(run, table, 1e-6, 0)
    video_scores = table.frames["x"].groupby("video_id")["score"].mean()
    expected = calibration_of(table.videos, video_scores, 1e-6, 0)
    assert expected is not None
    assert run.read_record(run.root / "models" / "x" / "calibration.json", Calibration) == expected
    assert (expected.videos, expected.fakes) == (
        40,
        20,
    ) and expected.temperature > 1  # one in five is wrong: 0.98 is too sure
    before, after = expected.log_loss_before, expected.log_loss_after
    assert said == f"x: temperature {expected.temperature:.2f}, log loss {before:.3f} → {after:.3f}"
    assert not (run.root / "models" / "released").exists()  # another's model is left alone


@pytest.mark.parametrize("videos", [0, 2, FEW_VIDEOS - 1])
def test_too_few_videos_are_said_and_nothing_is_written(videos: int, run: Run) -> None:
    (run.root / "models" / "x").mkdir(parents=True)
    (run.root / "models" / "x" / "calibration.json").write_bytes(b"of an earlier prediction")
    said = load_scores.keep_calibrations(run, score_table(["x"], videos), 1e-6, 0)
    wanted = f"{FEW_VIDEOS} held-out videos of both kinds, and a temperature that helps those it was not fitted on"
    assert said == f"x: not calibrated, which takes {wanted}; got {videos}, of them {videos // 2} fakes"
    assert list((run.root / "models" / "x").iterdir()) == []


def test_without_a_model_of_its_own_a_run_keeps_nothing(run: Run) -> None:
    assert load_scores.keep_calibrations(run, score_table(["released"], 40), 1e-6, 0) == ""
