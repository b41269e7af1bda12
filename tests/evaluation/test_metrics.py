from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn import metrics as sklearn_metrics

from dfdc_lib.evaluation import load_scores, metrics


def random_scores(seed: int, size: int = 300, levels: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and scores; few levels make many ties."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(size) < 0.7).astype(int)
    values = np.clip(generator.normal(0.35 + 0.3 * labels, 0.25), 0, 1)
    return labels, np.round(values * levels) / levels


WRONG_SHAPES = [([], [], "shapes"), ([0, 1], [0.5], "shapes")]
WRONG_VALUES = [([0, 2], [0.5, 0.5], r"\[2\]"), ([0, 1], [0.5, 1.5], "1.5"), ([0, 1], [0.5, np.nan], "1 missing")]


@pytest.mark.parametrize(("labels", "values", "keyword"), WRONG_SHAPES + WRONG_VALUES)
def test_wrong_input_is_an_error(labels: list, values: list, keyword: str) -> None:
    for function in (lambda *arrays: metrics.measure(*arrays, 1e-4), metrics.two_thresholds):
        with pytest.raises(ValueError, match=keyword):
            function(np.array(labels), np.array(values))


@pytest.mark.parametrize(("seed", "levels"), [(0, 5), (1, 20), (2, 10**6), (3, 1)])
def test_metrics_equal_scikit_learn(seed: int, levels: int) -> None:
    labels, values = random_scores(seed, levels=levels)
    fpr, tpr, _ = sklearn_metrics.roc_curve(labels, values, drop_intermediate=False)
    expected = {
        "log loss": sklearn_metrics.log_loss(labels, np.clip(values, 1e-4, 1 - 1e-4)),
        "AUC": sklearn_metrics.roc_auc_score(labels, values),
        "EER": brentq(lambda x: 1 - x - np.interp(x, fpr, tpr), 0, 1),
        "average precision": sklearn_metrics.average_precision_score(labels, values),
        "FPR at 95 % TPR": fpr[np.argmax(tpr >= 0.95)],
        "accuracy 0.2/0.8": np.mean(np.where(labels == 1, values >= 0.8, values < 0.2)),
    }
    assert metrics.measure(labels, values, 1e-4) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("block_size", [1, 7, 4096])
@pytest.mark.parametrize("levels", [1, 5, 10**6])
def test_the_auc_alone_equals_the_auc_among_all_metrics(
    block_size: int, levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "BLOCK_SIZE", block_size)
    labels, values = random_scores(4, levels=levels)
    ranking = metrics.rank(labels, values, np.arange(len(labels)) % 20)
    weights = np.random.default_rng(0).integers(0, 3, (9, 20)).astype(float)
    sums = np.ones((20, 3))
    alone, among_all = (
        metrics.weighted_metrics(weights, sums, [ranking], names) for names in (["AUC"], metrics.RANKING)
    )
    np.testing.assert_array_equal(alone[..., 0], among_all[..., 0])
    fakes_only = metrics.rank(np.ones(300, int), values, np.arange(300) % 20)
    assert np.isnan(metrics.weighted_metrics(weights, sums, [fakes_only], ["AUC"])).all()


def test_perfect_scores_one_class_and_two_thresholds() -> None:
    perfect = metrics.measure(np.array([0, 0, 1]), np.array([0.1, 0.1, 0.9]), 1e-4)
    assert [perfect[name] for name in metrics.METRICS[1:]] == [1, 0, 1, 0, 1]
    alone = metrics.measure(np.array([1, 1]), np.array([0.5, 0.5]), 1e-4)
    assert alone["log loss"] == pytest.approx(np.log(2)) and np.isnan([alone[name] for name in metrics.RANKING]).all()
    counts = metrics.two_thresholds(np.array([1, 1, 1, 0, 0]), np.array([0.8, 0.9, 0.79, 0.2, 0.19]))
    expected = {"accuracy": 0.6, "recall": 2 / 3, "precision": 2 / 3, "F1": 2 / 3, "false-alarm share": 0.5}
    assert counts == pytest.approx(expected)
    assert np.isnan(metrics.two_thresholds(np.array([0]), np.array([0.1]))["recall"])


def test_known_values_of_the_dfdc_scores(test_videos: Path) -> None:
    table = load_scores.read_scores(test_videos / "scores" / "dfdc_video_scores.csv.gz")
    labels = table.videos["label"].to_numpy()
    b7 = table.frames["b7"].set_index("video_id")["score"].reindex(table.videos.index).to_numpy()
    measured = metrics.measure(labels, b7, 1e-7)
    assert (len(labels), round(measured["log loss"], 5), round(measured["AUC"], 5)) == (34815, 0.08602, 0.99325)
    published = {"accuracy": 0.9136579, "recall": 0.9348385, "precision": 0.9597062, "F1": 0.9471091}
    counts = metrics.two_thresholds(labels, b7)
    assert {name: round(counts[name], 7) for name in published} == published
    assert round(counts["false-alarm share"], 4) == 0.1876
