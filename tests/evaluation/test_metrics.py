from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from sklearn import metrics as sklearn_metrics

from dfdc_lib.evaluation import load_scores, metrics


def random_scores(seed: int, size: int = 300, levels: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores with many ties."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(size) < 0.7).astype(int)
    values = np.clip(generator.normal(0.35 + 0.3 * labels, 0.25), 0, 1)
    return labels, np.round(values * levels) / levels


def videos_of(labels: np.ndarray, group_count: int) -> pd.DataFrame:
    return pd.DataFrame({"label": labels, "group": np.arange(len(labels)) % group_count})


@pytest.mark.parametrize(
    ("labels", "values", "message"),
    [
        ([], [], "at least one; got shapes"),
        ([0, 1], [0.5], "of the same videos"),
        ([0, 2], [0.5, 0.5], r"0 \(real\) or 1 \(fake\), got \[2\]"),
        ([0, 1], [0.5, 1.5], "must lie in 0–1, got 0.5 to 1.5, 0 missing"),
        ([0, 1], [0.5, np.nan], "1 missing"),
    ],
)
def test_wrong_input_is_an_error(labels: list, values: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.measure(np.array(labels), np.array(values), 1e-4)


@pytest.mark.parametrize(("seed", "levels"), [(0, 5), (1, 20), (2, 10**6), (3, 1)])
def test_metrics_are_scikit_learns(seed: int, levels: int) -> None:
    labels, values = random_scores(seed, levels=levels)
    found = metrics.measure(labels, values, 1e-4)
    fpr, tpr, _ = sklearn_metrics.roc_curve(labels, values, drop_intermediate=False)
    expected = {
        "log loss": sklearn_metrics.log_loss(labels, np.clip(values, 1e-4, 1 - 1e-4)),
        "AUC": sklearn_metrics.roc_auc_score(labels, values),
        "EER": brentq(lambda x: 1 - x - np.interp(x, fpr, tpr), 0, 1),
        "average precision": sklearn_metrics.average_precision_score(labels, values),
        "FPR at 95 % TPR": fpr[np.argmax(tpr >= 0.95)],
        "accuracy 0.2/0.8": np.mean(np.where(labels == 1, values >= 0.8, values < 0.2)),
    }
    assert found == pytest.approx(expected, abs=1e-9)


def test_perfect_and_one_class() -> None:
    perfect = metrics.measure(np.array([0, 0, 1]), np.array([0.1, 0.1, 0.9]), 1e-4)
    assert [perfect[name] for name in metrics.METRICS[1:]] == [1, 0, 1, 0, 1]
    alone = metrics.measure(np.array([1, 1]), np.array([0.5, 0.5]), 1e-4)
    assert alone["log loss"] == pytest.approx(np.log(2)) and np.isnan(alone["AUC"])


def test_weights_equal_repeated_videos() -> None:
    labels, values = random_scores(4, 60)
    times = np.random.default_rng(0).integers(0, 4, 60)
    ranking = metrics._Ranking(labels, values, np.arange(60))
    repeated = metrics.measure(np.repeat(labels, times), np.repeat(values, times), 1e-4)
    assert ranking.measure(times.astype(float)) == pytest.approx([repeated[name] for name in metrics.RANKING])
    assert ranking.measure(np.ones(60))[0] == pytest.approx(
        sklearn_metrics.roc_auc_score(labels, values)
    )  # nothing was left behind


def test_two_thresholds() -> None:
    found = metrics.two_thresholds(np.array([1, 1, 1, 0, 0]), np.array([0.8, 0.9, 0.79, 0.2, 0.19]))
    assert found == pytest.approx(
        {"accuracy": 0.6, "recall": 2 / 3, "precision": 2 / 3, "F1": 2 / 3, "false-alarm share": 0.5}
    )


def test_interval_of_the_log_loss_is_the_normal_one() -> None:
    labels, values = random_scores(5, 2000, 10**6)
    videos = videos_of(labels, 2000)
    result = metrics.bootstrap(videos, pd.DataFrame({"a": values}), 1e-4, 2000, 0, ["log loss"])
    row = metrics.intervals(result).iloc[0]
    spread = metrics.losses(labels, values, 1e-4).std() / np.sqrt(2000)
    assert (row["high"] - row["low"]) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.08)
    assert row["low"] < row["value"] < row["high"]


def test_alike_videos_of_one_original_widen_the_interval() -> None:
    labels, values = random_scores(6, 200, 10**6)
    four_times = pd.DataFrame({"a": np.tile(values, 4)})
    widths = []
    for group_count in (200, 800):  # drawn with its copies | each by itself
        result = metrics.bootstrap(videos_of(np.tile(labels, 4), group_count), four_times, 1e-4, 500, 0)
        row = metrics.intervals(result).iloc[1]
        widths.append(row["high"] - row["low"])
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.2)


def test_differences_are_paired() -> None:
    labels, values = random_scores(7, 400, 10**6)
    better = np.clip(values + 0.02 * (2 * labels - 1), 0, 1)
    table = pd.DataFrame({"mean": values, "same": values, "better": better})
    result = metrics.bootstrap(videos_of(labels, 100), table, 1e-4, 300, 0)
    rows = metrics.differences(result, "mean").set_index(["name", "metric"])
    assert rows.loc[("same", "AUC"), ["value", "low", "high", "p"]].tolist() == [0, 0, 0, 1]
    gain = rows.loc[("better", "log loss")]
    assert gain["high"] < 0 and gain["p"] == pytest.approx(2 / 301) and gain["p_holm"] == pytest.approx(4 / 301)
    with pytest.raises(KeyError, match="'none' is none of the scores mean, same, better"):
        metrics.differences(result, "none")


def test_same_seed_same_draws_and_other_index_is_an_error() -> None:
    labels, values = random_scores(8, 50)
    videos, table = videos_of(labels, 10), pd.DataFrame({"a": values})
    first, again, other = (metrics.bootstrap(videos, table, 1e-4, 20, seed).draws for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    with pytest.raises(ValueError, match="same index, got 50 and 49 rows"):
        metrics.bootstrap(videos, table.iloc[1:], 1e-4, 20, 0)


def test_draws_of_one_class_are_left_out() -> None:
    result = metrics.bootstrap(videos_of(np.array([0, 1, 1]), 3), pd.DataFrame({"a": [0.1, 0.8, 0.7]}), 1e-4, 200, 0)
    assert np.isnan(result.draws[:, 0, 1]).any()
    assert metrics.intervals(result).set_index("metric").loc["AUC", ["low", "high"]].tolist() == [1, 1]


def test_holm() -> None:
    assert metrics.holm(np.array([0.01, 0.04, 0.03, 0.005])).tolist() == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )  # Wikipedia's example
    assert metrics.holm(np.array([])).tolist() == []


def test_caution_below_thirty_videos() -> None:
    assert "only 29 labelled videos of 5 originals" in metrics.caution(videos_of(np.ones(29), 5))
    assert metrics.caution(videos_of(np.ones(30), 5)) == ""


def test_known_values_of_the_dfdc_scores(test_videos: Path) -> None:
    table = load_scores.read_scores(test_videos / "scores" / "dfdc_video_scores.csv.gz")
    labels = table.videos["label"].to_numpy()
    b7 = table.frames["b7"].set_index("video_id")["score"].reindex(table.videos.index).to_numpy()
    found = metrics.measure(labels, b7, 1e-7)
    assert (len(labels), round(found["log loss"], 5), round(found["AUC"], 5)) == (34815, 0.08602, 0.99325)
    published = {"accuracy": 0.9136579, "recall": 0.9348385, "precision": 0.9597062, "F1": 0.9471091}
    counted = metrics.two_thresholds(labels, b7)
    assert {name: round(counted[name], 7) for name in published} == published
    assert round(counted["false-alarm share"], 4) == 0.1876
