import numpy as np
import pandas as pd
import pytest

from dfdc_lib.evaluation import results, simulate, strategies
from dfdc_lib.evaluation.bootstrap import bootstrap
from dfdc_lib.evaluation.metrics import measure
from dfdc_lib.evaluation.score_table import ScoreTable
from dfdc_lib.records import Resampling

RESAMPLING = Resampling(draws=60)
IDS = pd.Index(["r23", "r40", "s23", "s40", "f23", "n40"], name="video_id")
VIDEOS = pd.DataFrame({"label": [0, 0, 1, 1, 1, 1], "group": [0, 0, 0, 0, 1, 2]}, index=IDS)
METHODS = {"method": ["original", "original", "FaceSwap", "FaceSwap", "Face2Face", None]}
LEVELS = {"compression": ["c23", "c40", "c23", "c40", "c23", "c40"]}
REALS = ["r23", "r40"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, {}),
        ({"method": "", "compression": None}, {}),
        (
            METHODS,
            {
                "method Face2Face": [*REALS, "f23"],
                "method FaceSwap": [*REALS, "s23", "s40"],
                "method not named": [*REALS, "n40"],
            },
        ),
        (LEVELS, {"compression c23": ["r23", "s23", "f23"], "compression c40": ["r40", "s40", "n40"]}),
    ],
)
def test_subsets_by_method_and_compression(columns: dict, expected: dict[str, list[str]]) -> None:
    parts = results.subsets(VIDEOS.assign(**columns))
    assert {name: list(ids) for name, ids in parts.items()} == {results.ALL: list(IDS)} | expected


@pytest.fixture(scope="module")
def table() -> ScoreTable:
    """Return simulated scores of 40 originals; the first 15 fakes are swaps, the others warps."""
    simulated = simulate.simulate(40, 2.0)
    method = np.where(np.arange(80) < 30, "swap", "warp")
    return ScoreTable("real", simulated.videos.assign(method=method), simulated.frames)


def test_levels_are_named_and_measured(table: ScoreTable) -> None:
    scores = strategies.strategy_scores(table)
    rows = results.results(table, scores, RESAMPLING)
    names = [("video-level", "mean"), ("video-level", "confident"), ("frame-level", "simulated")]
    order = list(
        rows.drop_duplicates(["subset", "level", "name"])[["level", "name"]].itertuples(index=False, name=None)
    )
    assert order == names * 3 and rows["subset"].unique().tolist() == ["all videos", "method swap", "method warp"]
    values = rows.set_index(["subset", "level", "name", "metric"])["value"]
    frames = table.frames["simulated"]
    labels = table.videos["label"]
    by_frame = measure(labels[frames["video_id"]].to_numpy(), frames["score"].to_numpy(), RESAMPLING.clip)
    by_video = measure(labels.to_numpy(), scores["mean"].to_numpy(), RESAMPLING.clip)
    for metric in ("log loss", "AUC"):
        assert values["all videos", "frame-level", "simulated", metric] == pytest.approx(by_frame[metric])
        assert values["all videos", "video-level", "mean", metric] == pytest.approx(by_video[metric])
    swaps = rows[rows["subset"] == "method swap"].iloc[0]
    assert (swaps["videos"], swaps["fakes"], swaps["groups"], swaps["few"]) == (55, 15, 40, False)
    judged = (labels == 0) | (table.videos["method"] == "swap")
    expected = measure(labels[judged].to_numpy(), scores.loc[judged, "mean"].to_numpy(), RESAMPLING.clip)
    assert swaps["value"] == pytest.approx(expected["log loss"])


def test_one_score_per_video_has_no_frame_level_and_few_groups_are_marked() -> None:
    frames = pd.DataFrame({"video_id": IDS, "frame_index": 0, "track": 0})
    models = {name: frames.assign(score=VIDEOS["label"].to_numpy() * 0.8 + 0.1) for name in ("a", "b")}
    table = ScoreTable("models", VIDEOS.assign(**METHODS), models)
    scores = strategies.strategy_scores(table)
    rows = results.results(table, scores, RESAMPLING)
    assert set(rows["level"]) == {"video-level"} and set(rows["name"]) == {"a", "b"} and rows["few"].all()
    shown = results.result_table(rows)
    assert len(shown) == 8 and shown["groups"].tolist()[:2] == ["3 (few)"] * 2
    numbers = results.result_numbers(table, bootstrap(table.videos, scores, RESAMPLING), rows)
    assert numbers["video-level AUC, a"] == "1.000 [1.000,\u00a01.000] (6 videos in 3 groups: rough)"
    assert numbers["method FaceSwap: video-level AUC, b"] == "1.000 [no\u00a0interval] (4 videos in 1 group: rough)"
