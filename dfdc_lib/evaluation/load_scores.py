"""Score tables from files: a run's predictions, or a CSV or Parquet file of any detector; checked, and joined with what is known.

A file is either frame by frame (video_id, frame_index, score, label; also track or face_index, confidence, original_id, method, height,
width) or video by video (video_id, label, and one column of scores a model; also original_id, method, height, width). Video names may be
called `filename`, originals `original`, as in DFDC's metadata.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from dfdc_lib.evaluation.calibration import calibration_of
from dfdc_lib.evaluation.metrics import FEW_VIDEOS
from dfdc_lib.evaluation.strategies import BASELINE, STRATEGIES, ScoreTable, video_scores
from dfdc_lib.records import FAKE, REAL, ModelCard
from dfdc_lib.run_folder import Run, project_path

ALIASES = {"filename": "video_id", "original": "original_id"}
NAMES = ("video_id", "original_id", *ALIASES)  # text even where they look like numbers: 007 is not 7
ABOUT_VIDEOS = ("label", "original_id", "method", "height", "width")
ABOUT_FRAMES = ("frame_index", "time_seconds", "face_index", "track", "confidence", "logit", "score")
NO_SCORES = (
    "video_id",
    "part",
    "fold",
    "split",
    "compression",
    *ABOUT_VIDEOS,
)  # numbers of a video-by-video file that no model gave


def load_scores(run: Run, file: str = "") -> ScoreTable:
    """Read the scores to judge.

    Args:
        run: the run folder.
        file: CSV or Parquet of any detector, a relative path starts at the project folder; "" = the run's own predictions.
    Returns:
        The table.
    """
    return read_scores(project_path(file)) if file else read_run_scores(run)


def keep_calibrations(run: Run, table: ScoreTable, clip: float, seed: int) -> str:
    """Fit a calibration to each model of the run, for those who examine single videos, and write it beside the model.

    Args:
        run: whose models scored `table`.
        table: of `read_run_scores`: held-out videos.
        clip, seed: as for `calibrate.calibration_of`.
    Returns:
        What was written, or why not, in one sentence a model.
    """
    said = []
    for name, frames in table.frames.items():
        folder = run.root / "models" / name
        if not folder.is_dir():
            continue
        scores = video_scores(frames, STRATEGIES[BASELINE]).reindex(table.videos.index)
        found = calibration_of(table.videos, scores, clip, seed)
        if found is None:
            (folder / "calibration.json").unlink(missing_ok=True)
            known = f"{len(table.videos)}, of them {int(table.videos['label'].sum())} fakes"
            wanted = (
                f"{FEW_VIDEOS} held-out videos of both kinds, and a temperature that helps those it was not fitted on"
            )
            said.append(f"{name}: not calibrated, which takes {wanted}; got {known}")
        else:
            run.write_record(folder / "calibration.json", found)
            said.append(
                f"{name}: temperature {found.temperature:.2f}, log loss {found.log_loss_before:.3f} → {found.log_loss_after:.3f}"
            )
    return "\n".join(said)


def read_scores(path: Path) -> ScoreTable:
    """Read a detector's scores from a CSV (also .csv.gz) or Parquet file.

    Args:
        path: the file; its columns as the module says.
    Returns:
        The table; its title and, frame by frame, the model's name are the file's.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a missing column, a row that stands twice, a label
            other than 0 or 1, a score missing or outside 0–1, or one class only.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"the score file {path} does not exist: give SCORES a CSV or Parquet file, or leave it empty"
        )
    name = path.name.split(".")[0]
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
    else:
        table = pd.read_csv(path, dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=[""])
    table = table.rename(columns={alias: column for alias, column in ALIASES.items() if column not in table})
    _require(table, ("video_id", "label"), path.name)
    frame_by_frame = "frame_index" in table
    if frame_by_frame:
        _require(table, ("score",), path.name)
        frames = {name: _checked_frames(table, path.name)}
    else:
        frames = _model_frames(table, path.name)
    videos = _video_table(table, path.name)
    if videos["label"].nunique() < 2:
        only = "fakes" if (videos["label"] == FAKE).all() else "reals"
        raise ValueError(
            f"{path.name} must have reals (label 0) and fakes (label 1), got {len(videos)} {only}: add the other class"
        )
    if frame_by_frame:
        note = f"{path.name}: {len(table):,} frame scores"
    else:
        note = f"{path.name}: one score a video of {', '.join(frames)}: nothing to average, so the models are compared"
    return ScoreTable(name, videos, frames, (note,))


def read_run_scores(run: Run) -> ScoreTable:
    """Read a run's predictions for the videos that may be judged: labelled, scored by every model, and not trained on.

    Args:
        run: the run folder, with videos.csv and scores/<model>.parquet.
    Returns:
        The table; its notes say what was left out. Without labelled videos it has no rows.
    Raises:
        FileNotFoundError: if nothing was predicted yet.
        ValueError: as `read_scores`.
    """
    paths = sorted((run.root / "scores").glob("*.parquet"))
    if not paths:
        raise FileNotFoundError(
            f"{run.root / 'scores'} has no predictions: run notebook 07 first, or give SCORES a file"
        )
    frames = {path.stem: _checked_frames(pd.read_parquet(path), path.name) for path in paths}
    listed = run.read_table("videos.csv")
    videos, notes = _labelled(listed)
    videos, fold_note = _not_trained_on(run, videos, frames)
    scored = set.intersection(*(set(table["video_id"]) for table in frames.values()))
    missing = ~videos.index.isin(scored)
    if missing.any():
        notes.append(f"{missing.sum()} labelled videos without a score (no face, or unreadable) are left out")
    videos = videos[~missing]
    if videos["label"].nunique() == 1:
        notes.append("the labelled videos are all of one class: there is nothing to tell apart")
    kept = {name: table[table["video_id"].isin(videos.index)] for name, table in frames.items()}
    return ScoreTable(run.root.name, videos, kept, (*notes, fold_note))


# Parts -------------------------------------------------------------------------------------------------------------------------------
def _labelled(listed: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    known = listed[listed["label"].notna()]
    notes = [f"{len(known)} of {len(listed)} videos are labelled"]
    return _video_table(known, "videos.csv"), notes


def _not_trained_on(run: Run, videos: pd.DataFrame, models: Iterable[str]) -> tuple[pd.DataFrame, str]:
    """Keep the videos of folds that neither trained nor chose one of the run's own models."""
    cards = [
        run.read_record(path, ModelCard)
        for name in models
        if (path := run.root / "models" / name / "model.json").exists()
    ]
    cards = [card for card in cards if card.run == run.root.name]  # the folds are this run's
    if not cards:
        return videos, "no model of this run scored them: all labelled videos are judged"
    used = {fold for card in cards for fold in (*card.train_folds, card.validation_fold)}
    folds = run.read_table("folds.csv").set_index("video_id")["fold"].reindex(videos.index)
    held_out = videos[~folds.isin(used) & folds.notna()]
    kept = ", ".join(str(int(fold)) for fold in sorted(folds[held_out.index].unique()))
    return held_out, f"only fold {kept or '–'} is judged, {len(held_out)} videos: the others were trained on"


def _video_table(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """One row a video: label, group and what else the rows say of it, which must be the same in each."""
    labels = pd.to_numeric(table["label"], errors="coerce")
    if not labels.isin((REAL, FAKE)).all():
        raise ValueError(
            f"{where}: a label must be 0 (real) or 1 (fake), got {table.loc[~labels.isin((REAL, FAKE)), 'label'].iloc[0]}"
        )
    about = table[["video_id", *(column for column in ABOUT_VIDEOS if column in table)]].assign(
        label=labels.astype(int)
    )
    videos = about.drop_duplicates()
    twice = videos["video_id"].duplicated()
    if twice.any():
        raise ValueError(
            f"{where}: the rows of video {videos.loc[twice, 'video_id'].iloc[0]} differ in {', '.join(about.columns[1:])}"
        )
    videos = videos.sort_values("video_id").set_index("video_id")
    own = pd.Series(videos.index, index=videos.index)
    return videos.assign(group=videos["original_id"].fillna(own) if "original_id" in videos else own)


def _checked_frames(table: pd.DataFrame, where: str) -> pd.DataFrame:
    _require(table, ("video_id", "frame_index", "score"), where)
    _check_scores(table["score"], "score", table["video_id"], where)
    keys = ["video_id", "frame_index", *(column for column in ("face_index", "track") if column in table)]
    twice = table.duplicated(keys)
    if twice.any():
        row = ", ".join(f"{key} {table.loc[twice, key].iloc[0]}" for key in keys)
        raise ValueError(
            f"{where}: {twice.sum()} rows stand twice, first {row}; two faces of a frame need a column track or face_index"
        )
    frames = table[["video_id", *(column for column in ABOUT_FRAMES if column in table)]]
    return frames if "track" in frames else frames.assign(track=0)


def _model_frames(table: pd.DataFrame, where: str) -> dict[str, pd.DataFrame]:
    """Take every numeric column that is none of `NO_SCORES` for a model's score of the whole video."""
    models = [str(column) for column in table.select_dtypes("number") if column not in NO_SCORES]
    if not models:
        raise ValueError(
            f"{where} needs frame_index and score, or a column of scores 0–1 a model; it has {', '.join(table.columns)}"
        )
    twice = table["video_id"].duplicated()
    if twice.any():
        first = table.loc[twice, "video_id"].iloc[0]
        raise ValueError(
            f"{where}: {twice.sum()} videos stand twice, first {first}; scores of frames need a column frame_index"
        )
    for model in models:
        _check_scores(table[model], model, table["video_id"], where)
    rows = table[["video_id"]].assign(frame_index=0, track=0)
    return {model: rows.assign(score=table[model].astype(float)) for model in models}


def _check_scores(scores: pd.Series, column: str, names: pd.Series, where: str) -> None:
    numbers = pd.to_numeric(scores, errors="coerce")
    wrong = ~numbers.between(0, 1)  # also true of NaN
    if wrong.any():
        got = f"{scores[wrong].iloc[0]} of video {names[wrong].iloc[0]}"
        raise ValueError(
            f"{where}: {column} must be a score, 0–1 and never missing, got {got} and {wrong.sum() - 1} more such rows"
        )


def _require(table: pd.DataFrame, columns: tuple[str, ...], where: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(f"{where} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}")
