import numpy as np
import pandas as pd
import pytest

from dfdc_lib.evaluation import bootstrap, metrics
from dfdc_lib.evaluation.paired import RESAMPLING, better, paired_differences, shared_videos
from dfdc_lib.evaluation.score_table import ScoreTable

FRAMES = 4
KINDS = (("", 0), ("_fake", 1))
VIDEOS = [(f"{original:02d}{kind}", label, f"{original:02d}") for original in range(20) for kind, label in KINDS]
SETTLED = ("mean", "log loss")


def score_table(wrong_by: float, videos: list[tuple[str, int, str]] = VIDEOS) -> ScoreTable:
    """Return scores that are `wrong_by` away from the label, plus up to 0.05 that depends on the video."""
    table = pd.DataFrame(videos, columns=["video_id", "label", "group"]).set_index("video_id")
    scores = np.abs(table["label"] - wrong_by - 0.05 * np.random.default_rng(0).random(len(table)))
    rows = [(video, frame, 0, scores[video]) for video in table.index for frame in range(FRAMES)]
    columns = ["video_id", "frame_index", "track", "score"]
    return ScoreTable("made", table, {"model": pd.DataFrame(rows, columns=columns)})


def test_shared_videos_and_equal_scores() -> None:
    first = score_table(0.1)
    relabelled = [(video, 1 - label if video == "07" else label, group) for video, label, group in VIDEOS[2:]]
    shared = shared_videos(first, score_table(0.1, relabelled))
    assert list(shared.index) == [video for video, *_ in VIDEOS[2:] if video != "07"]
    none = paired_differences(first, score_table(0.1, [(f"other_{video}", *rest) for video, *rest in VIDEOS]))
    assert none.empty and {"strategy", "metric", "value", "low", "high", "answer"} <= set(none.columns)
    table = paired_differences(score_table(0.3), score_table(0.3))
    assert table["strategy"].unique().tolist() == ["mean", "mean of logits", "median", "confident"]
    assert (table[["value", "low", "high"]] == 0).all(axis=None) and set(table["answer"]) == {"not settled"}


@pytest.mark.parametrize(("first", "second", "answer"), [(0.3, 0.1, "B is better"), (0.1, 0.3, "A is better")])
def test_better_scores_win(first: float, second: float, answer: str) -> None:
    a, b = score_table(first), score_table(second)
    row = paired_differences(a, b).set_index(["strategy", "metric"]).loc[SETTLED]
    scores = [table.frames["model"]["score"].to_numpy()[::FRAMES] for table in (a, b)]
    expected = [metrics.losses(a.videos["label"].to_numpy(), each, RESAMPLING.clip).mean() for each in scores]
    assert [row["first"], row["second"]] == pytest.approx(expected)
    assert row["value"] == pytest.approx(expected[1] - expected[0])
    assert row["low"] < row["value"] < row["high"] and row["answer"] == answer


def test_common_difficulty_cancels_out() -> None:
    """Some videos are hard, so both intervals are wide; the difference is the same everywhere, so its is narrow."""
    a, b = score_table(0.1), score_table(0.1)
    hard = np.repeat(np.tile([0.0, 0.0, 0.5, 0.5], 10), FRAMES)
    for table, more in ((a, 0.0), (b, 0.01)):
        scores, labels = table.frames["model"]["score"], np.repeat(table.videos["label"].to_numpy(), FRAMES)
        table.frames["model"]["score"] = np.where(labels == 1, scores - hard - more, scores + hard + more)
    row = paired_differences(a, b).set_index(["strategy", "metric"]).loc[SETTLED]
    means = a.frames["model"].groupby("video_id")[["score"]].mean()
    alone = bootstrap.intervals(bootstrap.bootstrap(a.videos, means, RESAMPLING, ["log loss"])).iloc[0]
    assert row["low"] > 0 and row["value"] < (alone["high"] - alone["low"]) / 10 and row["answer"] == "A is better"


def test_better() -> None:
    below, above, around = (-0.2, -0.1), (0.1, 0.2), (-0.1, 0.2)
    assert [better("log loss", *ends, few=False) for ends in (below, above)] == ["B is better", "A is better"]
    assert [better("AUC", *ends, few=False) for ends in (below, above)] == ["A is better", "B is better"]
    assert {better("AUC", *ends, few=True) for ends in (below, above)} == {"too few videos to say"}
    for ends in (around, (0.0, 0.1), (np.nan, np.nan)):
        assert [better("log loss", *ends, few=few) for few in (False, True)] == ["not settled"] * 2
