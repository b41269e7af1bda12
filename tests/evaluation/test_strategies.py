import numpy as np
import pandas as pd
import pytest
from scipy.stats import trim_mean

from dfdc_lib.evaluation import strategies
from dfdc_lib.evaluation.face_groups import group_faces
from dfdc_lib.evaluation.score_table import ScoreTable
from dfdc_lib.evaluation.strategies import STRATEGIES


def slides_confident_strategy(pred, t=0.8):
    """Verbatim from the slides."""
    pred = np.array(pred)
    sz = len(pred)
    fakes = np.count_nonzero(pred > t)
    # 11 frames are detected as fakes with high probability
    if fakes > sz // 2.5 and fakes > 11:  # noqa: RET505
        return np.mean(pred[pred > t])
    if np.count_nonzero(pred < 0.2) > 0.9 * sz:
        return np.mean(pred[pred < 0.2])
    return np.mean(pred)


def frames_of(scores: dict[str, list[float]], **columns: list) -> pd.DataFrame:
    rows = [(video, index, 0, score) for video, values in scores.items() for index, score in enumerate(values)]
    return pd.DataFrame(rows, columns=["video_id", "frame_index", "track", "score"]).assign(**columns)


def table_of(*frames: pd.DataFrame) -> ScoreTable:
    names = sorted(frames[0]["video_id"].unique())
    videos = pd.DataFrame({"label": 0, "group": names}, index=pd.Index(names, name="video_id"))
    return ScoreTable("t", videos, {f"m{i}": each for i, each in enumerate(frames)})


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_scores_are_an_error_and_constant_scores_are_unchanged(name: str) -> None:
    with pytest.raises(ValueError, match="shape"):
        STRATEGIES[name](np.array([]), np.array([]))
    with pytest.raises(ValueError, match="confidence"):
        STRATEGIES[name](np.array([0.5]), np.array([]))
    assert STRATEGIES[name](np.full(32, 0.7), np.ones(32)) == pytest.approx(0.7, abs=1e-12)


@pytest.mark.parametrize("share", [0, 0.1, 0.3])
@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 32, 33])
def test_trimmed_mean_is_scipys(count: int, share: float) -> None:
    scores = np.random.default_rng(count).random(count)
    assert strategies.trimmed_mean(scores, share) == trim_mean(scores, share)


def test_confident_strategy_is_the_slides() -> None:
    generator = np.random.default_rng(0)
    branches = set()
    for _ in range(10_000):
        size = int(generator.integers(1, 201))
        low, high = sorted(generator.beta(0.4, 0.4, 2))
        # Rounded, so that 0.8 and 0.2 occur.
        scores = generator.uniform(low, high, size).round(int(generator.integers(1, 4)))
        t = float(generator.choice([0.8, 0.5, 0.9]))
        expected = slides_confident_strategy(scores, t)
        assert strategies.confident_strategy(scores, t) == expected
        if t == 0.8:
            assert STRATEGIES["confident"](scores, np.ones(size)) == expected
        branches.add((expected == scores.mean(), bool(expected > t)))
    assert {(False, True), (False, False), (True, False)} <= branches  # sure fakes, sure reals, all


@pytest.mark.parametrize(
    ("name", "scores", "expected"),
    [
        ("mean", [0.1, 0.2, 0.6], 0.3),
        ("median", [0.1, 0.2, 0.6, 0.9], 0.4),
        ("maximum", [0.1, 0.2, 0.6], 0.6),
        ("mean of logits", [0.9, 0.1], 0.5),
        ("mean of logits", [1.0, 0.5], 1000 / 1001),  # clipped to 1 - 1e-6: half of its logit is ln 1000
        ("mean of the top 8", [0.0] * 5 + [0.4] * 4 + [0.8] * 4, 0.6),
        ("mean of the top 8", [0.2, 0.4], 0.3),
        ("confident", [0.9] * 13 + [0.0] * 19, 0.9),  # 13 > 32 // 2.5
        ("confident", [0.9] * 12 + [0.0] * 20, 0.3375),  # 12 is not more than 12
        *[("trimmed mean", list(np.sqrt(range(n))), trim_mean(np.sqrt(range(n)), 0.1)) for n in (1, 9, 10, 19, 20, 64)],
    ],
)
def test_strategy(name: str, scores: list[float], expected: float) -> None:
    assert STRATEGIES[name](np.array(scores), np.ones(len(scores))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("count", [1, 11, 30, 64])
def test_many_videos_at_once_are_scored_as_one_by_one(strategy: strategies.Strategy, count: int) -> None:
    generator = np.random.default_rng(count)
    scores, confidences = generator.beta(0.2, 0.2, (50, count)), generator.random((50, count))
    assert strategy(scores, confidences).tolist() == [
        float(strategy(*row)) for row in zip(scores, confidences, strict=True)
    ]


def test_confidences_are_weights() -> None:
    scores = np.array([0.2, 0.8])
    assert STRATEGIES["confidence-weighted"](scores, np.array([1.0, 3.0])) == pytest.approx(0.65)
    with pytest.raises(ValueError, match="sum"):
        STRATEGIES["confidence-weighted"](scores, np.zeros(2))


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_video_scores_equal_one_call_per_video(strategy: strategies.Strategy) -> None:
    generator = np.random.default_rng(0)
    frames = frames_of({f"v{i}": generator.random(int(generator.integers(1, 40))).tolist() for i in range(30)})
    scores = strategies.video_scores(frames.sample(frac=1, random_state=1), strategy)
    expected = {v: strategy(rows["score"], np.ones(len(rows))) for v, rows in frames.groupby("video_id")}
    assert scores.index.name == "video_id" and scores.to_dict() == pytest.approx(expected)


def test_highest_person_score_counts() -> None:
    frames = frames_of({"a": [0.1, 0.9, 0.2, 0.8], "b": [0.4]}, track=[0, 1, 0, 1, 0])
    assert strategies.video_scores(frames, STRATEGIES["mean"]).to_dict() == pytest.approx({"a": 0.5, "b": 0.4})
    people = group_faces(frames, ["video_id", "track"])
    assert strategies.person_scores(people, STRATEGIES["mean"]).to_dict() == pytest.approx({"a": 0.85, "b": 0.4})
    assert strategies.people_counts(table_of(frames)).to_dict() == {"a": 2, "b": 1}


def test_models_are_averaged_after_the_strategy_and_columns_depend_on_the_table() -> None:
    scores = strategies.strategy_scores(table_of(frames_of({"a": [0.0, 0.0, 0.9]}), frames_of({"a": [0.5, 0.5, 0.8]})))
    assert scores.loc["a", ["median", "mean"]].tolist() == pytest.approx([0.25, 0.45])
    frames = frames_of({"a": [0.1, 0.9]})
    assert "confidence-weighted" not in strategies.strategy_scores(table_of(frames))
    both = strategies.strategy_scores(table_of(frames.assign(confidence=[1.0, 3.0], track=[0, 1])))
    assert both.loc["a", ["confidence-weighted", "mean, per person"]].tolist() == pytest.approx([0.7, 0.9])
    single = table_of(frames_of({"a": [0.1]}), frames_of({"a": [0.3]}))
    assert strategies.strategy_scores(single).to_dict("list") == {"m0": [0.1], "m1": [0.3]}


def test_heading_counts_and_warns() -> None:
    table = table_of(frames_of({"a": [0.1]}))
    assert "1 videos in 1 identity groups" in table.heading and len(table.heading.splitlines()) == 3
    assert "no labelled videos" in ScoreTable("none", table.videos.iloc[:0], table.frames).heading
