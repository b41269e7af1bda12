import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest
from scored import write_scores

from dfdc_lib.evaluation import load_scores
from dfdc_lib.records import Video
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
    rows = [("a", 0, None), ("b", 1, "a"), ("c", 0, None), ("d", None, None)]
    run.write_videos([video(*row) for row in rows], {})
    run.write_table("folds.csv", pd.DataFrame({"video_id": list("abcd"), "fold": [0, 0, 1, 1], "group": [0, 0, 1, 2]}))
    return run


def video(name: str, label: int | None, original: str | None = None, *identities: str) -> Video:
    return Video(video_id=name, path=Path(name), label=label, original_id=original, identities=identities)


def predict(run: Run, models: dict[str, Sequence[str]], role: Mapping[str, str] | None = None) -> None:
    """Write three frame scores of each listed video for each model."""
    columns = ["video_id", "frame_index", "face_index", "track", "confidence", "score"]
    rows = {
        name: [(video, frame, 0, 0, 0.99, 0.5) for video in ids for frame in range(3)] for name, ids in models.items()
    }
    write_scores(run, {name: pd.DataFrame(table, columns=columns) for name, table in rows.items()}, role)


@pytest.mark.parametrize("name", ["detector.csv", "detector.csv.gz", "detector.parquet"])
def test_one_row_per_face(tmp_path: Path, name: str) -> None:
    table = load_scores.read_scores(written(tmp_path, FRAMES, name))
    assert table.title == "detector" and table.averages
    assert table.videos.to_dict("list") == {"label": [0, 1], "original_id": ["a", "a"], "group": [0, 0]}
    assert (table.coverage.expected, table.coverage.share) == (2, 1)
    frames = table.frames["detector"]
    assert frames["score"].tolist() == [0.1, 0.2, 0.9, 0.8] and set(frames["track"]) == {0}
    assert name in table.notes[0] and "4" in table.notes[0]


def test_whole_numbers_in_a_parquet_file_are_names(tmp_path: Path) -> None:
    """Parquet keeps the type of a column: the id 7 and the original 7.0 are one video."""
    ids = {"video_id": [7, 8, 9], "original_id": [None, 7, None], "label": [0, 1, 0], "m": [0.1, 0.9, 0.2]}
    pd.DataFrame(ids).to_parquet(tmp_path / "net.epoch10.parquet")
    table = load_scores.read_scores(tmp_path / "net.epoch10.parquet")
    assert table.videos["group"].to_dict() == {"7": 0, "8": 0, "9": 1} and table.title == "net.epoch10"


def test_one_row_per_video(tmp_path: Path) -> None:
    table = load_scores.read_scores(written(tmp_path, VIDEOS))
    assert list(table.frames) == ["m", "n"] and not table.averages
    assert table.videos["group"].to_dict() == {"a.mp4": 0, "b.mp4": 0}
    assert table.frames["n"]["score"].tolist() == [0, 1]
    named = load_scores.read_scores(written(tmp_path, FRAMES.replace({"a": "007", "b": "NA"})))
    assert named.videos.index.tolist() == ["007", "NA"]  # names stay text


@pytest.mark.parametrize("column", ["original_id", "original"])
def test_originals_named_by_numbers_keep_their_fakes(column: str, tmp_path: Path) -> None:
    """FaceForensics++ names its originals 000 to 999; an original and its fakes are one group of the bootstrap."""
    table = pd.DataFrame({"video_id": ["007", "007_fake"], "label": [0, 1], column: [None, "007"], "m": [0.1, 0.9]})
    assert load_scores.read_scores(written(tmp_path, table)).videos["group"].nunique() == 1
    run = open_run(tmp_path / "run")
    run.write_videos([video("007", 0), video("007_fake", 1, "007")], {})
    predict(run, {"m": ["007", "007_fake"]})
    assert load_scores.read_run_scores(run).videos["group"].nunique() == 1


@pytest.mark.parametrize(
    ("table", "keyword"),
    [
        (FRAMES.drop(columns=["video_id", "label"]), "video_id, label"),
        (FRAMES.drop(columns="score"), "score"),
        (VIDEOS.drop(columns=["m", "n"]), "frame_index"),
        (FRAMES.assign(score=[0.1, 1.2, 0.9, -1]), "1.2 for video a and 1 more"),
        (FRAMES.assign(score=[None, None, 0.9, 0.8]), "got only 1"),
        (FRAMES.assign(score=["x", 0.1, 0.9, 0.8]), "x"),
        (VIDEOS.assign(m=[1, 7]), "m must .* 7 for video b.mp4"),
        (FRAMES.assign(label=1), "only 1"),
        (FRAMES.assign(label=[0, 0, 1, 2]), "got 2"),
        (FRAMES.assign(label=[0, 1, 1, 1]), "differ"),
        (FRAMES.assign(frame_index=0), "2 duplicate rows.*track"),
        (FRAMES.assign(track=[0, None, 0, 0]), "no track in 1 rows, .* video a;"),
        (pd.concat([VIDEOS, VIDEOS.assign(m=0.5)]), "2 duplicate videos.*frame_index"),
    ],
)
def test_wrong_file_is_an_error(tmp_path: Path, table: pd.DataFrame, keyword: str) -> None:
    with pytest.raises(ValueError, match=keyword):
        load_scores.read_scores(written(tmp_path, table))


def test_missing_and_duplicate_videos_are_counted_and_named(tmp_path: Path) -> None:
    rows = [(f"v{number:03d}", 0, number / 300, number % 2) for number in range(200)]
    frames = pd.DataFrame(rows, columns=["video_id", "frame_index", "score", "label"])
    frames.loc[[5, 9], "score"] = None  # exactly 99 %
    table = load_scores.read_scores(written(tmp_path, pd.concat([frames, frames[3:5]])))
    assert table.coverage == (200, ("v005", "v009"), ("v003", "v004")) and table.coverage.mark == ""
    assert len(table.videos) == len(table.frames["detector"]) == 198
    assert "2 of 200" in table.notes[1] and "v005, v009" in table.notes[1]
    assert "2 videos" in table.notes[2] and "v003, v004" in table.notes[2]
    wide = pd.DataFrame({"video_id": frames["video_id"], "label": frames["label"], "m": frames["score"], "n": 0.5})
    wide.loc[7, "n"] = None
    table = load_scores.read_scores(written(tmp_path, wide))
    assert table.coverage.missing == ("v005", "v007", "v009")  # scored by every model, or not at all
    assert "98.5 %" in table.coverage.mark and table.coverage.mark in table.heading
    assert {name: len(rows) for name, rows in table.frames.items()} == {"m": 197, "n": 197}


def test_a_file_is_compared_with_the_run_whose_videos_it_scores(run: Run, tmp_path: Path) -> None:
    run.write_table("folds.csv", run.read_table("folds.csv").assign(group=[7, 7, 7, 8]))
    own, foreign = FRAMES.drop(columns="original_id"), FRAMES.replace({"b": "elsewhere"})
    table = load_scores.load_scores(run, str(written(tmp_path, own)))
    assert table.coverage == (3, ("c",), ()) and table.videos["group"].tolist() == [0, 0]
    assert load_scores.load_scores(run, str(written(tmp_path, foreign))).coverage == (2, (), ())
    with pytest.raises(ValueError, match="label of video a"):
        load_scores.load_scores(run, str(written(tmp_path, own.assign(label=1 - own["label"]))))


def test_scores_of_other_videos_belong_in_a_folder_of_their_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_scores, "PROJECT", tmp_path)
    own, foreign = FRAMES, FRAMES.replace({"b": "elsewhere"})
    assert load_scores.run_of_scores(run) == run
    assert load_scores.run_of_scores(run, str(written(tmp_path, own))) == run
    separate = load_scores.run_of_scores(run, str(written(tmp_path, foreign, "other.csv.gz")))
    assert separate.root == tmp_path / "outputs" / "scores_other" and separate.root.is_dir()
    assert load_scores.run_of_scores(separate, str(tmp_path / "other.csv.gz")) == separate


def test_missing_file_is_an_error(tmp_path: Path, run: Run) -> None:
    with pytest.raises(FileNotFoundError, match="SCORES"):
        load_scores.load_scores(run, str(tmp_path / "none.csv"))
    with pytest.raises(FileNotFoundError, match="07"):
        load_scores.load_scores(run)


def test_labelled_and_scored_videos_are_judged(run: Run) -> None:
    predict(run, {"x": "abd", "y": "ab"})
    table = load_scores.load_scores(run)
    assert table.videos[["label", "group"]].to_dict("list") == {"label": [0, 1], "group": [0, 0]}
    assert {name: len(frames) for name, frames in table.frames.items()} == {"x": 6, "y": 6}
    assert table.coverage.missing == ("c",) and table.coverage.mark in table.heading
    for note, counts in zip(table.notes, ("3 of 4", "1 of 3", "3 unseen"), strict=True):
        assert counts in note


@pytest.mark.parametrize(
    ("role", "judged", "note"),
    [
        ({"c": "chosen by"}, ["a", "b"], "2 unseen, 1 chosen by"),
        ({"a": "trained on"}, ["c"], "1 unseen, 2 trained on"),  # a and b are one identity group
        ({"c": "unknown"}, ["a", "b"], "2 unseen, 1 unknown"),
        ({"a": "unknown", "b": "unknown", "c": "trained on"}, ["a", "b"], "2 unknown, 1 trained on"),
        (dict.fromkeys("abc", "trained on"), [], "3 trained on"),
    ],
)
def test_only_unseen_videos_are_judged_or_else_unknown_ones(
    role: dict[str, str], judged: list[str], note: str, run: Run
) -> None:
    predict(run, {"x": "abcd", "y": "abcd"}, role)
    table = load_scores.read_run_scores(run)
    assert table.videos.index.tolist() == judged and set(table.frames["x"]["video_id"]) == set(judged)
    assert max(map(len, table.notes)) <= 100
    assert any(text.endswith(note) for text in table.notes)
    assert any("same label" in text for text in table.notes) == (judged == ["c"])
    assert any("MAY HAVE TRAINED" in text for text in table.notes) == ("unseen" not in note and judged != [])


def test_videos_dealt_into_other_groups_since_the_prediction(run: Run) -> None:
    predict(run, {"x": "abcd"}, {"a": "trained on", "b": "trained on"})
    run.write_table("folds.csv", run.read_table("folds.csv").assign(group=0))
    assert load_scores.read_run_scores(run).videos.empty


def test_only_the_models_that_notebook_07_used_last_are_judged(run: Run) -> None:
    predict(run, {"old": "abcd", "x": "abcd"})
    predict(run, {"x": "abcd"})
    table = load_scores.read_run_scores(run)
    assert list(table.frames) == ["x"] and any("old" in note for note in table.notes)
    shutil.copy(run.root / "scores" / "old.parquet", run.root / "scores" / "x.parquet")
    assert load_scores.read_run_scores(run).frames.keys() == {"x"}  # the same scores
    run.write_table("scores/x.parquet", pd.read_parquet(run.root / "scores" / "x.parquet").assign(score=0.6))
    with pytest.raises(ValueError, match="07"):
        load_scores.read_run_scores(run)
    predict(run, {})
    run.scoring_path.unlink()  # scores of kit 0.1, or a prediction that was killed
    with pytest.raises(FileNotFoundError, match="07"):
        load_scores.read_run_scores(run)


def test_the_protocol_of_a_run_names_frames_recipe_and_role(run: Run) -> None:
    predict(run, {"x": "abcd"})
    protocol = load_scores.read_run_scores(run).protocol
    assert "3 frames" in protocol["frames"] and "unseen" in protocol["role of the videos"]
    assert all(text in protocol["recipes"] for text in ("at most 3 ", "x: MTCNN", "margin 0.2", "64 pixels", "float32"))


def test_run_without_labels_has_no_rows(run: Run) -> None:
    predict(run, {"x": "abcd"})
    run.write_table("videos.csv", run.read_table("videos.csv").assign(label=None))
    table = load_scores.read_run_scores(run)
    assert len(table.videos) == 0 and "0 of 4" in table.notes[0]
