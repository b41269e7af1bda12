import numpy as np
import pandas as pd
import pytest

from dfdc_lib.evaluation import metrics
from dfdc_lib.evaluation.paired import CLIP, better, paired_differences, shared_videos
from dfdc_lib.evaluation.strategies import ScoreTable

FRAMES = 4
VIDEOS = [
    (f"{original:02d}{kind}", label, f"{original:02d}")
    for original in range(20)
    for kind, label in (("", 0), ("_fake", 1))
]


def score_table(wrong_by: float, videos: list[tuple[str, int, str]] = VIDEOS) -> ScoreTable:
    """Score every frame of every video `wrong_by` away from its label, a little more or less from video to video."""
    table = pd.DataFrame(videos, columns=["video_id", "label", "group"]).set_index("video_id")
    errors = wrong_by + 0.05 * np.random.default_rng(0).random(len(table))
    scores = np.abs(table["label"] - errors)
    rows = [(video, frame, 0, scores[video]) for video in table.index for frame in range(FRAMES)]
    return ScoreTable(
        "made", table, {"model": pd.DataFrame(rows, columns=["video_id", "frame_index", "track", "score"])}
    )


def test_nothing_shared_gives_no_rows() -> None:
    other = [(f"other_{video}", label, group) for video, label, group in VIDEOS]
    found = paired_differences(score_table(0.1), score_table(0.1, other))
    assert found.empty
    assert {"strategy", "metric", "value", "low", "high", "answer"} <= set(found.columns)


def test_a_video_with_another_label_is_not_shared() -> None:
    relabelled = [(video, 1 - label if video == "07" else label, group) for video, label, group in VIDEOS[2:]]
    assert list(shared_videos(score_table(0.1), score_table(0.1, relabelled)).index) == [
        video for video, *_ in VIDEOS[2:] if video != "07"
    ]


def test_equal_scores_do_not_differ() -> None:
    found = paired_differences(score_table(0.3), score_table(0.3))
    assert found["strategy"].unique().tolist() == ["mean", "mean of logits", "median", "confident"]
    assert (found[["value", "low", "high"]] == 0).all(axis=None)
    assert set(found["answer"]) == {"not settled"}


@pytest.mark.parametrize(("first", "second", "answer"), [(0.3, 0.1, "B is better"), (0.1, 0.3, "A is better")])
def test_better_scores_win(first: float, second: float, answer: str) -> None:
    a, b = score_table(first), score_table(second)
    loss = paired_differences(a, b).set_index(["strategy", "metric"]).loc[("mean", "log loss")]
    labels = a.videos["label"].to_numpy()
    expected = [
        metrics.measure(labels, t.frames["model"]["score"].to_numpy()[::FRAMES], CLIP)["log loss"] for t in (a, b)
    ]
    assert [loss["first"], loss["second"]] == pytest.approx(expected)
    assert loss["value"] == pytest.approx(expected[1] - expected[0])
    assert loss["low"] < loss["value"] < loss["high"]
    assert loss["answer"] == answer


def test_what_is_common_falls_out_of_the_difference() -> None:
    """Both intervals are wide, for some videos are hard; the difference is the same everywhere and its interval is narrow."""
    a, b = score_table(0.1), score_table(0.1)
    hard = np.repeat(np.tile([0.0, 0.0, 0.5, 0.5], 10), FRAMES)
    for table, more in ((a, 0.0), (b, 0.01)):
        scores, labels = table.frames["model"]["score"], np.repeat(table.videos["label"].to_numpy(), FRAMES)
        table.frames["model"]["score"] = np.where(labels == 1, scores - hard - more, scores + hard + more)
    loss = paired_differences(a, b).set_index(["strategy", "metric"]).loc[("mean", "log loss")]
    alone = metrics.intervals(
        metrics.bootstrap(a.videos, a.frames["model"].groupby("video_id")[["score"]].mean(), CLIP, 200, 0)
    )
    interval = alone.set_index("metric").loc["log loss"]
    assert loss["value"] < (interval["high"] - interval["low"]) / 10
    assert loss["low"] > 0
    assert loss["answer"] == "A is better"


@pytest.mark.parametrize(
    ("metric", "low", "high", "few", "answer"),
    [
        ("log loss", np.nan, np.nan, False, "not settled"),
        ("log loss", -0.1, 0.1, False, "not settled"),
        ("log loss", 0.0, 0.1, False, "not settled"),
        ("log loss", -0.2, -0.1, False, "B is better"),
        ("log loss", 0.1, 0.2, False, "A is better"),
        ("AUC", -0.2, -0.1, False, "A is better"),
        ("AUC", 0.1, 0.2, False, "B is better"),
        ("AUC", 0.1, 0.2, True, "too few videos to say"),
        ("AUC", -0.1, 0.2, True, "not settled"),
    ],
)
def test_better(metric: str, low: float, high: float, few: bool, answer: str) -> None:
    assert better(metric, low, high, few=few) == answer
