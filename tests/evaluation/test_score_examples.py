from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.data.video import read_frames
from dfdc_lib.evaluation import score_examples
from dfdc_lib.records import BOX_COLUMNS, Video
from dfdc_lib.run_folder import Run, open_run

LABELS = {"plain": 0, "two_faces": 0, "plain_fake": 1}
BOX, OTHER_BOX = (280, 100, 360, 210), (40.4, 60.0, 120.0, 160.0)
# video_id, frame_index, face_index, box, score
SCORED = [("plain", 0, 0, *BOX, 0.30), ("plain", 20, 0, *BOX, 0.20), ("two_faces", 0, 0, *BOX, 0.60)]
SCORED += [("two_faces", 0, 1, *OTHER_BOX, 0.05), ("plain_fake", 0, 0, *BOX, 0.90), ("plain_fake", 20, 0, *BOX, 0.10)]


@pytest.fixture(scope="module")
def run(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder with the scores of a model "m"."""
    opened = open_run(tmp_path_factory.mktemp("scores") / "run")
    folder = sample_root / "dfdc_train_part_0"
    videos = [Video(video_id=name, path=folder / f"{name}.mp4", label=label) for name, label in LABELS.items()]
    opened.write_videos(videos, {})
    columns = ["video_id", "frame_index", "face_index", *BOX_COLUMNS, "score"]
    opened.write_table("scores/m.parquet", pd.DataFrame(SCORED, columns=columns))
    return opened


@pytest.fixture(scope="module")
def scores(run: Run) -> pd.DataFrame:
    return score_examples.labelled_scores(run, "m")


def test_labelled_scores(scores: pd.DataFrame, run: Run) -> None:
    assert scores["label"].tolist() == [0, 0, 0, 0, 1, 1]
    assert scores["score"].tolist() == [row[-1] for row in SCORED]
    run.write_table("scores/none.parquet", scores.iloc[:0].drop(columns="label"))
    assert list(score_examples.labelled_scores(run, "none").columns) == list(scores.columns)
    with pytest.raises(FileNotFoundError, match="absent"):
        score_examples.labelled_scores(run, "absent")


def test_extreme_faces_are_the_highest_then_the_lowest_of_each_video(scores: pd.DataFrame) -> None:
    assert score_examples.extreme_faces(scores.iloc[:0], 2)["caption"].tolist() == []
    chosen = score_examples.extreme_faces(scores, 2)
    assert chosen["score"].tolist() == [0.90, 0.60, 0.10, 0.05]
    assert chosen["caption"].str.split(", ").str[-1].tolist() == ["fake", "real", "fake", "real"]
    assert len(score_examples.extreme_faces(scores, 10)) == 6  # every video's highest and lowest, each once
    assert len(score_examples.extreme_faces(scores.iloc[:1], 10)) == 1
    assert "unknown" in score_examples.extreme_faces(scores.assign(label=None), 1)["caption"].iloc[0]


def test_scored_frames_and_faces(scores: pd.DataFrame, run: Run, sample_root: Path) -> None:
    assert score_examples.scored_frames(run, scores, []) == []
    frame = read_frames(sample_root / "dfdc_train_part_0" / "two_faces.mp4", {0})[0].image
    shown = score_examples.scored_frames(run, scores, [("two_faces", 0, 1), ("plain", 20, 0), ("two_faces", 0, 0)])
    assert [(box, score) for _, box, score in shown] == [(OTHER_BOX, 0.05), (BOX, 0.20), (BOX, 0.60)]
    np.testing.assert_array_equal(shown[0][0], frame)
    assert shown[2][0] is shown[0][0]  # decoded once
    with pytest.raises(KeyError):
        score_examples.scored_frames(run, scores, [("plain", 0, 1)])
    assert score_examples.scored_faces(run, scores.iloc[:0]) == []
    images = score_examples.scored_faces(run, scores.iloc[[1, 3]])
    assert images[0].shape == (110, 80, 3)
    np.testing.assert_array_equal(images[1], frame[60:160, 40:120])


def test_furthest_from_truth_comes_first(scores: pd.DataFrame) -> None:
    video_scores = pd.Series({"plain": 0.25, "plain_fake": 0.5, "two_faces": 0.325}, name="score")
    table = score_examples.furthest_from_truth(scores, video_scores)
    assert list(table.index) == ["plain_fake", "two_faces", "plain"]
    assert table["off by"].tolist() == [0.5, 0.325, 0.25]
    assert (table["label"].tolist(), table["frames"].tolist()) == ([1, 0, 0], [2, 1, 2])
    unlabelled = score_examples.furthest_from_truth(scores.assign(label=None), video_scores)
    assert (len(unlabelled), list(unlabelled.columns)) == (0, ["label", "frames", "video score", "off by"])
