from pathlib import Path

import pandas as pd
import pytest

from dfdc_lib.evaluation import load_scores
from dfdc_lib.records import ModelCard, Recipe
from dfdc_lib.run_folder import Run, open_run

ROWS = [("a", 0, 0.1, 0, "a"), ("a", 1, 0.2, 0, "a"), ("b", 0, 0.9, 1, "a"), ("b", 1, 0.8, 1, "a")]
FRAMES = pd.DataFrame(ROWS, columns=["video_id", "frame_index", "score", "label", "original_id"])
VIDEOS = pd.DataFrame({"filename": ["a.mp4", "b.mp4"], "part": 36, "label": [0, 1], "original": [None, "a.mp4"]})
VIDEOS = VIDEOS.assign(m=[0.1, 0.9], n=[0, 1])


def written(folder: Path, table: pd.DataFrame, name: str = "detector.csv") -> Path:
    write = table.to_parquet if name.endswith(".parquet") else table.to_csv
    write(folder / name, index=False)
    return folder / name


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run with the videos a (real), b (its fake), c (real), d (no label), in the folds 0, 0, 1, 1."""
    run = open_run(tmp_path / "run")
    labels = pd.array([0, 1, 0, None], "Int64")
    videos = pd.DataFrame({"video_id": list("abcd"), "label": labels, "original_id": [None, "a", None, None]})
    run.write_table("videos.csv", videos.assign(height=480, width=640))
    run.write_table("folds.csv", pd.DataFrame({"video_id": list("abcd"), "fold": [0, 0, 1, 1]}))
    return run


def predict(run: Run, model: str, *video_ids: str) -> None:
    rows = [(video, frame, 0, 0, 0.99, 0.5) for video in video_ids for frame in range(3)]
    columns = ["video_id", "frame_index", "face_index", "track", "confidence", "score"]
    run.write_table(f"scores/{model}.parquet", pd.DataFrame(rows, columns=columns))


@pytest.mark.parametrize("name", ["detector.csv", "detector.csv.gz", "detector.parquet"])
def test_one_row_per_face(tmp_path: Path, name: str) -> None:
    table = load_scores.read_scores(written(tmp_path, FRAMES, name))
    assert table.title == "detector" and table.averages
    assert table.videos.to_dict("list") == {"label": [0, 1], "original_id": ["a", "a"], "group": ["a", "a"]}
    frames = table.frames["detector"]
    assert frames["score"].tolist() == [0.1, 0.2, 0.9, 0.8] and set(frames["track"]) == {0}
    assert name in table.notes[0] and "4" in table.notes[0]


def test_one_row_per_video(tmp_path: Path) -> None:
    table = load_scores.read_scores(written(tmp_path, VIDEOS))
    assert list(table.frames) == ["m", "n"] and not table.averages
    assert table.videos["group"].to_dict() == {"a.mp4": "a.mp4", "b.mp4": "a.mp4"}
    assert table.frames["n"]["score"].tolist() == [0, 1]
    named = load_scores.read_scores(written(tmp_path, FRAMES.replace({"a": "007", "b": "NA"})))
    assert named.videos.index.tolist() == ["007", "NA"]  # names stay text


@pytest.mark.parametrize("column", ["original_id", "original"])
def test_originals_named_by_numbers_keep_their_fakes(column: str, tmp_path: Path) -> None:
    """FaceForensics++ names its originals 000 to 999; an original and its fakes are one group of the bootstrap."""
    table = pd.DataFrame({"video_id": ["007", "007_123"], "label": [0, 1], column: [None, "007"], "m": [0.1, 0.9]})
    assert load_scores.read_scores(written(tmp_path, table)).videos["group"].tolist() == ["007", "007"]
    run = open_run(tmp_path / "run")
    run.write_table("videos.csv", table.rename(columns={column: "original_id"}))
    predict(run, "m", "007", "007_123")
    assert load_scores.read_run_scores(run).videos["group"].tolist() == ["007", "007"]


@pytest.mark.parametrize(
    ("table", "keyword"),
    [
        (FRAMES.drop(columns=["video_id", "label"]), "video_id, label"),
        (FRAMES.drop(columns="score"), "score"),
        (VIDEOS.drop(columns=["m", "n"]), "frame_index"),
        (FRAMES.assign(score=[0.1, 1.2, 0.9, -1]), "1.2 for video a and 1 more"),
        (FRAMES.assign(score=[0.1, None, 0.9, 0.8]), "nan"),
        (FRAMES.assign(score=["x", 0.1, 0.9, 0.8]), "x"),
        (VIDEOS.assign(m=[1, 7]), "m must .* 7 for video b.mp4"),
        (FRAMES.assign(label=1), "only 1"),
        (FRAMES.assign(label=[0, 0, 1, 2]), "got 2"),
        (FRAMES.assign(label=[0, 1, 1, 1]), "differ"),
        (FRAMES.assign(frame_index=0), "2 duplicate rows.*track"),
        (pd.concat([VIDEOS, VIDEOS]), "2 duplicate videos.*frame_index"),
    ],
)
def test_wrong_file_is_an_error(tmp_path: Path, table: pd.DataFrame, keyword: str) -> None:
    with pytest.raises(ValueError, match=keyword):
        load_scores.read_scores(written(tmp_path, table))


def test_missing_file_is_an_error(tmp_path: Path, run: Run) -> None:
    with pytest.raises(FileNotFoundError, match="SCORES"):
        load_scores.load_scores(run, str(tmp_path / "none.csv"))
    with pytest.raises(FileNotFoundError, match="07"):
        load_scores.load_scores(run)


def test_labelled_and_scored_videos_are_judged(run: Run) -> None:
    predict(run, "x", "a", "b", "d")
    predict(run, "y", "a", "b")
    table = load_scores.load_scores(run)
    columns = table.videos[["label", "group", "height"]].to_dict("list")
    assert columns == {"label": [0, 1], "group": ["a", "a"], "height": [480, 480]}
    assert {name: len(frames) for name, frames in table.frames.items()} == {"x": 6, "y": 6}
    for note, counts in zip(table.notes, ("3 of 4", "1 labelled", "3 labelled"), strict=True):
        assert counts in note


@pytest.mark.parametrize(
    ("cards", "judged", "note"),
    [
        ({"x": {"train_folds": (2,), "validation_fold": 0}}, ["c"], "left out: 2 that chose"),
        ({"x": {"run": "other", "train_folds": (0,), "validation_fold": 1}}, ["a", "b", "c"], "3 labelled"),
        ({"x": {"train_folds": (0,)}, "y": {"train_folds": (1,)}}, [], "left out: 3 that a model was trained on"),
    ],
)
def test_only_unseen_videos_are_judged(run: Run, cards: dict[str, dict], judged: list[str], note: str) -> None:
    for name, fields in cards.items():
        predict(run, name, *"abcd")
        card = ModelCard(name=name, encoder="resnet18", recipe=Recipe(size=64), **{"run": "run", **fields})
        run.write_record(run.root / "models" / name / "model.json", card)
    table = load_scores.read_run_scores(run)
    assert table.videos.index.tolist() == judged and set(table.frames["x"]["video_id"]) == set(judged)
    assert max(map(len, table.notes)) <= 100
    assert note in table.notes[-1] and any("same label" in text for text in table.notes) == (judged == ["c"])


def test_run_without_labels_has_no_rows(run: Run) -> None:
    predict(run, "x", *"abcd")
    run.write_table("videos.csv", run.read_table("videos.csv").assign(label=None))
    table = load_scores.read_run_scores(run)
    assert len(table.videos) == 0 and "0 of 4" in table.notes[0]
