"""Score tables from files: a run's predictions, or a CSV or Parquet file of any detector, checked and with labels.

A file has one row per face (video_id, frame_index, score, label; optionally track or face_index, confidence) or one row
per video (video_id, label, one column of scores per model); both optionally have original_id, identities or group (see
`score_groups`), method, compression, height, width. As in DFDC's metadata, the columns `filename` and `original` are
accepted for video_id and original_id. An empty score means that the video, or the frame, has none.

Coverage compares the videos with a score with the labelled videos of the file, with those of the run if all videos of
the file are its videos, or, for a run's predictions, with its unseen labelled videos.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from dfdc_lib.evaluation import scoring
from dfdc_lib.evaluation.coverage import Coverage
from dfdc_lib.evaluation.score_groups import groups_of_file, groups_of_run
from dfdc_lib.evaluation.score_table import UNKNOWN_ROLE, UNSEEN_VIDEOS, ScoreTable
from dfdc_lib.evaluation.unseen import UNKNOWN, UNSEEN, role_notes
from dfdc_lib.records import FAKE, REAL, Recipe
from dfdc_lib.run_folder import PROJECT, Run, open_run, project_path

ALIASES = {"filename": "video_id", "original": "original_id"}
TEXT_COLUMNS = ("video_id", "original_id", "group", *ALIASES)  # text even if they look like numbers: 007 is not 7
CONDITIONS = ("method", "compression")
VIDEO_COLUMNS = ("label", "original_id", "identities", "group", *CONDITIONS, "height", "width")
FRAME_COLUMNS = ("frame_index", "time_seconds", "face_index", "track", "confidence", "logit", "score")
NOT_SCORES = ("video_id", "part", "fold", "split", *VIDEO_COLUMNS)  # every other column of numbers is a score


def run_of_scores(run: Run, file: str = "") -> Run:
    """Return the run folder in which results for the scores in `file` are stored; "" means the predictions of `run`.

    It is `run` if `file` is "", if `run` has no videos.csv, or if all videos of the file are videos of `run`. Otherwise
    it is outputs/scores_<name of the file>/, so that numbers about other videos do not replace those of `run`.
    """
    if not file or not (run.root / "videos.csv").exists() or are_of_run(project_path(file), run):
        return run
    return open_run(scores_folder(project_path(file)))


def are_of_run(path: Path, run: Run) -> bool:
    """Return whether all videos in a score file are videos of a run; False if the run has no videos.csv."""
    return _are_videos_of(run, _read_file(path)["video_id"])


def scores_folder(path: Path) -> Path:
    """Return outputs/scores_<name of the file>/, the run folder for scores in a file that belong to no other run."""
    return PROJECT / "outputs" / f"scores_{_title(path)}"


def load_scores(run: Run, file: str = "") -> ScoreTable:
    """Return the scores in `file` (a relative path starts at the project folder), or those of the run if it is ""."""
    return read_scores(project_path(file), run) if file else read_run_scores(run)


def read_scores(path: Path, run: Run | None = None) -> ScoreTable:
    """Read a detector's scores from a CSV (also .csv.gz) or Parquet file; its name becomes the title.

    If all its videos are videos of `run`, groups, methods and compressions are taken from the run. Videos without a
    score, and repetitions of a row, are left out and named in the notes. Raises FileNotFoundError if the file does
    not exist, and ValueError if a column is missing, duplicate rows differ, a label is not 0 or 1 or not that of the
    run, a score is outside 0-1, or there is only one class.
    """
    table = _read_file(path)
    repeated = table.duplicated()
    duplicates = tuple(sorted(set(table.loc[repeated, "video_id"])))
    table = table[~repeated] if duplicates else table
    by_frame = "frame_index" in table
    frames = {_title(path): _checked_frames(table, path.name)} if by_frame else _model_frames(table, path.name)
    listed = _listed_videos(run, table, path.name)
    scored = listed.index[_has_every_score(listed.index, frames)]
    videos = listed.loc[scored]
    if videos["label"].nunique() < 2:
        got = ", ".join(map(str, videos["label"].unique())) or "no scored video"
        raise ValueError(f"{path.name} must have scores for the labels 0 (real) and 1 (fake), got only {got}")
    coverage = Coverage(len(listed), tuple(listed.index.drop(scored)), duplicates)
    frames = {name: rows[rows["video_id"].isin(scored)] for name, rows in frames.items()}
    note = f"one score per video from {', '.join(frames)}; models are compared instead of strategies"
    if by_frame:
        note = f"{len(frames[_title(path)]):,} frame scores"
    return ScoreTable(_title(path), videos, frames, (f"{path.name}: {note}", *coverage.notes), coverage)


def read_run_scores(run: Run) -> ScoreTable:
    """Read a run's predictions for the videos that are labelled, unseen in training, and scored by every model.

    The models are those that notebook 07 used last. If no video is unseen, those of unknown role are judged. The notes
    describe what was left out; without labelled videos the table has no rows. Raises FileNotFoundError if there are no
    predictions, and ValueError as `read_scores` does, or if a table is not the one that notebook 07 wrote.
    """
    record, tables, role, ignored = scoring.read_run_scores(run)
    frames = {name: _checked_frames(table, f"{name}.parquet") for name, table in tables.items()}
    listed = run.read_table("videos.csv")
    videos = _video_table(listed[listed["label"].notna()], "videos.csv")
    videos = videos.assign(group=groups_of_run(run, videos.index))
    notes = [f"{len(videos)} of {len(listed)} videos are labelled"]
    role = role.reindex(videos.index, fill_value=UNKNOWN)
    judged = UNSEEN if (role == UNSEEN).any() else UNKNOWN
    videos = videos[role == judged]
    scored = _has_every_score(videos.index, frames)
    coverage = Coverage(len(videos), tuple(videos.index[~scored]))
    videos = videos[scored]
    if judged == UNKNOWN and len(videos):
        notes.append("no video is known to be unseen: THE VIDEOS JUDGED HERE MAY HAVE TRAINED THE MODELS")
    if ignored:
        notes.append(f"ignored: the scores of {', '.join(ignored)}, because notebook 07 last used other models")
    if videos["label"].nunique() == 1:
        notes.append("all remaining videos have the same label, so most metrics are undefined")
    frames = {name: table[table["video_id"].isin(videos.index)] for name, table in frames.items()}
    notes += [*coverage.notes, *role_notes(role)]
    asked = f"at most {record.frames} evenly spaced frames per video"
    recipes = (asked, *(_recipe_text(name, model.card.recipe) for name, model in record.models.items()))
    role_text = UNSEEN_VIDEOS if judged == UNSEEN else UNKNOWN_ROLE
    if shared := sum(model.shared_names for model in record.models.values()):
        role_text += f", but {shared} people of the training videos are in test videos too (see SCHEME in 04_folds)"
    return ScoreTable(run.root.name, videos, frames, tuple(notes), coverage, role_text, recipes)


def _recipe_text(name: str, recipe: Recipe) -> str:
    detector = recipe.detector
    thresholds = "/".join(f"{threshold:g}" for threshold in detector.thresholds)
    detection = f"MTCNN {thresholds} after the {detector.resize} resizing"
    scaling = f"{recipe.size} pixels by {recipe.interpolation_down} or {recipe.interpolation_up}"
    return f"{name}: {detection}, margin {recipe.margin:g}, {recipe.edges} edges, {scaling}, {recipe.precision}"


def _title(path: Path) -> str:
    return re.sub(r"\.(csv|csv\.gz|parquet)$", "", path.name)


def _as_text(column: pd.Series) -> pd.Series:
    """Return names as text: 7 and 7.0 (whole numbers with gaps) are "7", missing names stay missing."""
    if isinstance(column.dtype, pd.StringDtype):
        return column
    if pd.api.types.is_float_dtype(column):
        column = column.astype("Int64")
    return column.map(str, na_action="ignore").astype(object).where(column.notna(), None)


def _read_file(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: set SCORES to a CSV or Parquet file, or leave it empty")
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        table = table.assign(**{name: _as_text(table[name]) for name in TEXT_COLUMNS if name in table})
    else:
        table = pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=[""])
    table = table.rename(columns={alias: column for alias, column in ALIASES.items() if column not in table})
    _require(table, ("video_id", "label"), path.name)
    return table


def _are_videos_of(run: Run, video_ids: pd.Series) -> bool:
    if not (run.root / "videos.csv").exists():
        return False
    return set(video_ids.unique()) <= set(run.read_table("videos.csv")["video_id"])


def _listed_videos(run: Run | None, table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the videos that should have a score: those of the file, and all labelled ones of the run if it is its."""
    videos = _video_table(table, source)
    if run is None or not _are_videos_of(run, table["video_id"]):
        return videos.assign(group=groups_of_file(videos))
    known = run.read_table("videos.csv").set_index("video_id")
    labels = known["label"].reindex(videos.index)
    differing = labels.notna() & (labels != videos["label"])
    if differing.any():
        first = videos.index[differing][0]
        raise ValueError(f"{source}: the label of video {first} differs from that in videos.csv; correct the file")
    known["label"] = videos["label"].reindex(known.index).fillna(known["label"])
    labelled = _video_table(known[known["label"].notna()].reset_index(), "videos.csv")
    return labelled.assign(group=groups_of_run(run, labelled.index))


def _has_every_score(video_ids: pd.Index, frames: dict[str, pd.DataFrame]) -> np.ndarray:
    """Return whether every model has scored a video, one value per id."""
    return video_ids.isin(set.intersection(*(set(rows["video_id"].unique()) for rows in frames.values())))


def _video_table(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return one row per video with the given `VIDEO_COLUMNS`, which must agree in all rows of a video."""
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
    return videos.sort_values("video_id").set_index("video_id")


def _checked_frames(table: pd.DataFrame, source: str) -> pd.DataFrame:
    _require(table, ("video_id", "frame_index", "score"), source)
    table = table[table["score"].notna()]
    _check_scores(table["score"], table["video_id"], source)
    if "track" in table and table["track"].isna().any():
        video_id = table.loc[table["track"].isna(), "video_id"].iloc[0]
        problem = f"no track in {table['track'].isna().sum()} rows, the first of video {video_id}"
        raise ValueError(f"{source}: {problem}; number the people in all rows, or leave the column out")
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
    frames = {}
    for model in models:
        rows = table[table[model].notna()]
        _check_scores(rows[model], rows["video_id"], source)
        frames[model] = rows[["video_id"]].assign(frame_index=0, track=0, score=rows[model].astype(float))
    return frames


def _check_scores(scores: pd.Series, video_ids: pd.Series, source: str) -> None:
    wrong = ~pd.to_numeric(scores, errors="coerce").between(0, 1)  # also true for NaN
    if wrong.any():
        got = f"{scores[wrong].iloc[0]} for video {video_ids[wrong].iloc[0]} and {wrong.sum() - 1} more such rows"
        raise ValueError(f"{source}: {scores.name} must be a score in 0-1, or empty; got {got}")


def _require(table: pd.DataFrame, columns: tuple[str, ...], source: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{source} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}")
