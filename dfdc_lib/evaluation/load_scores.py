"""Score tables from files: a run's predictions, or a CSV or Parquet file of any detector, checked and with labels.

A file has one row per face (video_id, frame_index, score, label; optionally track or face_index, confidence) or one row
per video (video_id, label, one column of scores per model); both optionally have original_id, method, height, width. As
in DFDC's metadata, the columns `filename` and `original` are accepted for video_id and original_id.
"""

from pathlib import Path

import pandas as pd

from dfdc_lib.evaluation.strategies import ScoreTable
from dfdc_lib.evaluation.unseen import CHOSEN_BY, TRAINED_ON, UNKNOWN, UNSEEN, roles
from dfdc_lib.records import FAKE, REAL, ModelCard
from dfdc_lib.run_folder import Run, project_path

ALIASES = {"filename": "video_id", "original": "original_id"}
TEXT_COLUMNS = ("video_id", "original_id", *ALIASES)  # text even if the values look like numbers: 007 is not 7
VIDEO_COLUMNS = ("label", "original_id", "method", "height", "width")
FRAME_COLUMNS = ("frame_index", "time_seconds", "face_index", "track", "confidence", "logit", "score")
NOT_SCORES = ("video_id", "part", "fold", "split", "compression", *VIDEO_COLUMNS)  # every other number is a score


def load_scores(run: Run, file: str = "") -> ScoreTable:
    """Return the scores in `file` (a relative path starts at the project folder), or those of the run if it is ""."""
    return read_scores(project_path(file)) if file else read_run_scores(run)


def read_scores(path: Path) -> ScoreTable:
    """Read a detector's scores from a CSV (also .csv.gz) or Parquet file; its name becomes the title.

    Raises FileNotFoundError if the file does not exist, and ValueError if a column is missing, a row is duplicated, a
    label is not 0 or 1, a score is missing or outside 0-1, or there is only one class.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: set SCORES to a CSV or Parquet file, or leave it empty")
    name = path.name.split(".")[0]
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
    else:
        table = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=[""])
    table = table.rename(columns={alias: column for alias, column in ALIASES.items() if column not in table})
    _require(table, ("video_id", "label"), path.name)
    if "frame_index" in table:
        frames = {name: _checked_frames(table, path.name)}
        note = f"{path.name}: {len(table):,} frame scores"
    else:
        frames = _model_frames(table, path.name)
        note = f"{path.name}: one score per video of {', '.join(frames)}; the models are compared, not strategies"
    videos = _video_table(table, path.name)
    if videos["label"].nunique() < 2:
        raise ValueError(f"{path.name} must have labels 0 (real) and 1 (fake), got only {videos['label'].iloc[0]}")
    return ScoreTable(name, videos, frames, (note,))


def read_run_scores(run: Run) -> ScoreTable:
    """Read a run's predictions for the videos that are labelled, unseen in training, and scored by every model.

    Needs videos.csv and scores/<model>.parquet. The notes describe what was left out; without labelled videos the table
    has no rows. Raises FileNotFoundError if there are no predictions, and ValueError as `read_scores` does.
    """
    paths = sorted((run.root / "scores").glob("*.parquet"))
    if not paths:
        raise FileNotFoundError(f"{run.root}/scores has no predictions: run notebook 07, or set SCORES to a file")
    frames = {path.stem: _checked_frames(pd.read_parquet(path), path.name) for path in paths}
    listed = run.read_table("videos.csv")
    videos = _video_table(listed[listed["label"].notna()], "videos.csv")
    notes = [f"{len(videos)} of {len(listed)} videos are labelled"]
    paths = [run.root / "models" / name / "model.json" for name in frames]
    role = roles(run, [run.read_record(path, ModelCard) for path in paths if path.exists()])[videos.index]
    videos = videos[role == UNSEEN]
    scored = set.intersection(*(set(table["video_id"]) for table in frames.values()))
    missing = ~videos.index.isin(scored)
    if missing.any():
        notes.append(f"{missing.sum()} labelled videos without a score (no face, or unreadable) are left out")
    videos = videos[~missing]
    if videos["label"].nunique() == 1:
        notes.append("all remaining videos have the same label, so most metrics are undefined")
    frames = {name: table[table["video_id"].isin(videos.index)] for name, table in frames.items()}
    return ScoreTable(run.root.name, videos, frames, (*notes, *_role_notes(role)))


def _role_notes(role: pd.Series) -> list[str]:
    phrases = {TRAINED_ON: "a model was trained on", CHOSEN_BY: "chose a model's checkpoint", UNKNOWN: "have no fold"}
    counts = [f"{(role == name).sum()} that {text}" for name, text in phrases.items() if (role == name).any()]
    unseen = f"{(role == UNSEEN).sum()} labelled videos are unseen as far as the kit can tell"
    return [unseen, f"left out: {', '.join(counts)}"] if counts else [unseen]


def _video_table(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return one row per video: label, group and the other `VIDEO_COLUMNS`, which must agree in all rows of a video."""
    labels = pd.to_numeric(table["label"], errors="coerce")
    wrong = ~labels.isin((REAL, FAKE))
    if wrong.any():
        raise ValueError(f"{source}: a label must be 0 (real) or 1 (fake), got {table.loc[wrong, 'label'].iloc[0]}")
    columns = [column for column in VIDEO_COLUMNS if column in table]
    videos = table[["video_id", *columns]].assign(label=labels.astype(int)).drop_duplicates()
    differing = videos["video_id"].duplicated()
    if differing.any():
        first = videos.loc[differing, "video_id"].iloc[0]
        raise ValueError(f"{source}: the rows of video {first} differ in {', '.join(columns)}")
    videos = videos.sort_values("video_id").set_index("video_id")
    names = pd.Series(videos.index, index=videos.index)
    return videos.assign(group=videos["original_id"].fillna(names) if "original_id" in videos else names)


def _checked_frames(table: pd.DataFrame, source: str) -> pd.DataFrame:
    _require(table, ("video_id", "frame_index", "score"), source)
    _check_scores(table["score"], table["video_id"], source)
    keys = ["video_id", "frame_index", *(column for column in ("face_index", "track") if column in table)]
    duplicated = table.duplicated(keys)
    if duplicated.any():
        row = ", ".join(f"{key} {table.loc[duplicated, key].iloc[0]}" for key in keys)
        problem = f"{duplicated.sum()} duplicate rows, first {row}"
        raise ValueError(f"{source}: {problem}; several faces in a frame need a column track or face_index")
    frames = table[["video_id", *(column for column in FRAME_COLUMNS if column in table)]]
    return frames if "track" in frames else frames.assign(track=0)


def _model_frames(table: pd.DataFrame, source: str) -> dict[str, pd.DataFrame]:
    """Return each numeric column that is not one of `NOT_SCORES` as a model's table with one row per video."""
    models = [str(column) for column in table.select_dtypes("number") if column not in NOT_SCORES]
    if not models:
        needed = "the columns frame_index and score, or a column of scores 0-1 per model"
        raise ValueError(f"{source} needs {needed}; it has {', '.join(table.columns)}")
    duplicated = table["video_id"].duplicated()
    if duplicated.any():
        problem = f"{duplicated.sum()} duplicate videos, first {table.loc[duplicated, 'video_id'].iloc[0]}"
        raise ValueError(f"{source}: {problem}; scores of frames need a column frame_index")
    for model in models:
        _check_scores(table[model], table["video_id"], source)
    rows = table[["video_id"]].assign(frame_index=0, track=0)
    return {model: rows.assign(score=table[model].astype(float)) for model in models}


def _check_scores(scores: pd.Series, video_ids: pd.Series, source: str) -> None:
    wrong = ~pd.to_numeric(scores, errors="coerce").between(0, 1)  # also true for NaN
    if wrong.any():
        got = f"{scores[wrong].iloc[0]} for video {video_ids[wrong].iloc[0]} and {wrong.sum() - 1} more such rows"
        raise ValueError(f"{source}: {scores.name} must be a score in 0-1, not missing; got {got}")


def _require(table: pd.DataFrame, columns: tuple[str, ...], source: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{source} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}")
