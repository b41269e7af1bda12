"""The results of a score table by name: video level and frame level, each manipulation method and compression.

A video-level metric has one score per video, made by a strategy. A frame-level metric has one score per face of a
frame, each with the label of its video. The fakes of one method are measured against all real videos; a compression has
its own fakes and real videos.
"""

from collections.abc import Iterator

import pandas as pd

from dfdc_lib.evaluation.bootstrap import Bootstrap, bootstrap, caution, interval_texts, intervals
from dfdc_lib.evaluation.score_table import SIMULATED, ScoreTable
from dfdc_lib.evaluation.strategies import BASELINE, CONFIDENT
from dfdc_lib.records import FAKE, REAL, Resampling

VIDEO_LEVEL, FRAME_LEVEL = "video-level", "frame-level"
REPORTED = ("log loss", "AUC")
SHOWN = (BASELINE, CONFIDENT)  # of the strategies; if every video has one score, all models are shown
ALL, NOT_NAMED = "all videos", "not named"


def results(table: ScoreTable, scores: pd.DataFrame, resampling: Resampling) -> pd.DataFrame:
    """Return the `REPORTED` metrics and their 95 % intervals for all `subsets`, of frame scores and of video scores.

    `scores`: the table from `strategy_scores`. Columns: subset, level, name (strategy, or model on the frame level),
    metric, value, low, high, videos, fakes, groups (their numbers), few (True if the groups are too few for reliable
    intervals). There is no frame level if every video has one score. NaN if a metric needs both classes.
    """
    columns = scores[[name for name in SHOWN if name in scores] or list(scores.columns)]
    parts = []
    for subset, index in subsets(table.videos).items():
        videos = table.videos.loc[index]
        for level, result in _measure(table, videos, columns.loc[index], resampling):
            parts.append(_described(result, subset, level, videos))
    return pd.concat(parts, ignore_index=True)


def subsets(videos: pd.DataFrame) -> dict[str, pd.Index]:
    """Return name -> video_ids: all videos, those of each method (plus all real videos) and of each compression.

    `videos`: from a `ScoreTable` (index video_id; columns label and, if known, method and compression). The keys are
    "all videos", "method FaceSwap", "compression c23" ... Fakes without a method are in "method not named", unless no
    method is known; likewise videos without a compression.
    """
    parts = {ALL: videos.index}
    fakes = videos["label"] == FAKE
    for question, asked in (("method", fakes), ("compression", fakes | True)):
        answers = videos[question].fillna("")[asked] if question in videos else pd.Series(dtype=str)
        for answer in sorted(set(answers)) if answers.any() else ():
            chosen = videos.index.isin(answers.index[answers == answer])
            chosen |= (question == "method") & (videos["label"] == REAL).to_numpy()
            parts[f"{question} {answer or NOT_NAMED}"] = videos.index[chosen]
    return parts


def result_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `results` for display: a row for each score of each subset, and its metrics as "value [low, high]".

    `rows`: the table from `results`.
    """
    groups = rows["groups"].map("{:,}".format) + rows["few"].map({True: " (few)", False: ""})
    texts = rows.assign(score=rows["level"] + " " + rows["name"], groups=groups, text=interval_texts(rows))
    keys = ["subset", "score", "videos", "fakes", "groups"]
    table = texts.drop_duplicates(["subset", "score"]).set_index(["subset", "score"])[keys[2:]]
    metrics = texts.pivot(index=["subset", "score"], columns="metric", values="text")[list(REPORTED)]
    return table.join(metrics).reset_index("score").rename_axis(None)


def result_numbers(table: ScoreTable, result: Bootstrap, parts: pd.DataFrame) -> dict[str, str]:
    """Return the metrics of all strategies and subsets as texts to store, by name.

    `result`: bootstrap of the strategies; `parts`: the table from `results`. An example: "method FaceSwap: frame-level
    AUC, b7" -> "0.912 [0.871, 0.950] (40 videos in 12 groups)".
    """
    everything = _described(result, ALL, VIDEO_LEVEL, table.videos)
    rows = pd.concat([everything[everything["metric"].isin(REPORTED)], parts], ignore_index=True)
    subset = rows["subset"].where(rows["subset"] != ALL, "").map(lambda name: f"{name}: " if name else "")
    names = subset + rows["level"] + " " + rows["metric"] + ", " + rows["name"]
    if table.role == SIMULATED:
        names = f"{table.title}: " + names
    groups = rows["groups"].map(lambda count: " in 1 group" if count == 1 else f" in {count:,} groups")
    basis = " (" + rows["videos"].map("{:,} videos".format) + groups + rows["few"].map({True: ": rough)", False: ")"})
    return dict(zip(names, interval_texts(rows) + basis.where(rows["few"] | (rows["subset"] != ALL), ""), strict=True))


def _described(result: Bootstrap, subset: str, level: str, videos: pd.DataFrame) -> pd.DataFrame:
    counts = {"videos": len(videos), "fakes": int(videos["label"].sum()), "groups": videos["group"].nunique()}
    rows = intervals(result).assign(**counts, few=bool(caution(videos)))
    rows.insert(0, "level", level)
    rows.insert(0, "subset", subset)
    return rows


def _measure(
    table: ScoreTable, videos: pd.DataFrame, scores: pd.DataFrame, resampling: Resampling
) -> Iterator[tuple[str, Bootstrap]]:
    """Yield the level and the metrics of the video scores, then of each model's frame scores if there are several."""
    yield VIDEO_LEVEL, bootstrap(videos, scores, resampling, REPORTED)
    for name, frames in table.frames.items() if table.averages else ():
        rows = videos.index.get_indexer(pd.Index(frames["video_id"]))
        described = videos[["label"]].assign(group=pd.factorize(videos["group"])[0]).iloc[rows[rows >= 0]]
        scores = frames[["score"]][rows >= 0].set_axis([name], axis=1).set_axis(described.index)
        yield FRAME_LEVEL, bootstrap(described, scores, resampling, REPORTED)
