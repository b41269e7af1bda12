import numpy as np
import pandas as pd
import pytest

from dfdc_lib.evaluation import calibration
from dfdc_lib.evaluation.metrics import FEW_VIDEOS, losses
from dfdc_lib.evaluation.strategies import logit, sigmoid


def calibrated(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn with the probability that the score says."""
    generator = np.random.default_rng(seed)
    values = sigmoid(generator.normal(0, 2, size))
    return (generator.random(size) < values).astype(int), values


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a", "b"], list("abcdefgh") * 3])
def test_halves_never_split_an_original(names: list[str]) -> None:
    groups = pd.Series(names, dtype=object)
    first = calibration.halves(groups, 0)
    assert set(groups[first]).isdisjoint(groups[~first])
    assert groups[first].nunique() == (groups.nunique() + 1) // 2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found_again(temperature: float) -> None:
    labels, values = calibrated(40_000)
    distorted = sigmoid(logit(values, 1e-9) / temperature)
    found = calibration.fit_temperature(labels, distorted, 1e-9)
    assert found == pytest.approx(1 / temperature, rel=0.05)
    assert calibration.temper(np.array([0.8]), 1.0, 1e-6) == pytest.approx(0.8)


def test_crossed_temperatures_come_from_the_other_half() -> None:
    labels, values = calibrated(2000)
    videos = pd.DataFrame({"label": labels, "group": np.arange(2000)})
    first = calibration.halves(videos["group"], 0)
    found = calibration.crossed_temperatures(videos, pd.Series(values), 1e-6, 0)
    assert found[first].nunique() == 1
    assert found[first].iloc[0] == pytest.approx(calibration.fit_temperature(labels[~first], values[~first], 1e-6))
    one_class = calibration.crossed_temperatures(videos.assign(label=1), pd.Series(values), 1e-6, 0)
    assert one_class.tolist() == [1.0] * 2000


@pytest.mark.parametrize("count", [0, 1, FEW_VIDEOS - 1])
def test_few_videos_are_not_calibrated(count: int) -> None:
    videos = pd.DataFrame({"label": np.arange(count) % 2, "group": np.arange(count)})
    assert calibration.calibration_of(videos, pd.Series(np.full(count, 0.5)), 1e-6, 0) is None


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_not_calibrated(label: int) -> None:
    videos = pd.DataFrame({"label": label, "group": np.arange(2 * FEW_VIDEOS)})
    assert calibration.calibration_of(videos, pd.Series(np.full(2 * FEW_VIDEOS, 0.5)), 1e-6, 0) is None


def test_calibration_of_scores_that_are_too_sure() -> None:
    labels, values = calibrated(4000)
    videos = pd.DataFrame({"label": labels, "group": np.arange(4000) // 2}, index=[f"v{n}" for n in range(4000)])
    scores = pd.Series(sigmoid(3 * logit(values, 1e-9)), index=videos.index)
    found = calibration.calibration_of(videos, scores, 1e-9, 0)
    assert found is not None
    assert (
        found.temperature == calibration.fit_temperature(labels, scores.to_numpy(), 1e-9) == pytest.approx(3, rel=0.1)
    )
    assert (found.clip, found.videos, found.fakes) == (1e-9, 4000, labels.sum())
    assert found.log_loss_before == pytest.approx(losses(labels, scores.to_numpy(), 1e-9).mean())
    assert (
        found.log_loss_after == pytest.approx(losses(labels, values, 1e-9).mean(), abs=0.002)
        and found.log_loss_after < found.log_loss_before
    )


def test_a_calibration_that_does_not_help_the_other_half_is_none() -> None:
    """Where the halves disagree, each is judged by what the other taught, and comes out worse than before."""
    groups = pd.Series(np.arange(2 * FEW_VIDEOS))
    first = calibration.halves(groups, 0)
    labels = np.arange(len(groups)) % 2
    right = np.where(labels == 1, 0.6, 0.4)
    scores = pd.Series(np.where(first, right, 1 - right))
    found = calibration.calibration_of(pd.DataFrame({"label": labels, "group": groups}), scores, 1e-6, 0)
    assert found is None


def test_scores_that_part_the_classes_have_no_calibration() -> None:
    """Every sharpening helps: the fit ends where the search ends, and 0.6 would be called 100 %."""
    labels = np.arange(2 * FEW_VIDEOS) % 2
    videos = pd.DataFrame({"label": labels, "group": np.arange(len(labels))})
    assert calibration.calibration_of(videos, pd.Series(np.where(labels == 1, 0.6, 0.4)), 1e-6, 0) is None


def test_reliability_and_its_error() -> None:
    table = calibration.reliability(np.array([0, 1, 1, 1]), np.array([0.12, 0.18, 0.95, 1.0]))
    assert table.to_dict("list") == {"score": pytest.approx([0.15, 0.975]), "fake_share": [0.5, 1.0], "videos": [2, 2]}
    assert calibration.calibration_error(np.array([0, 1, 1, 1]), np.array([0.12, 0.18, 0.95, 1.0])) == pytest.approx(
        (0.35 + 0.025) / 2
    )
    assert calibration.calibration_error(*calibrated(100_000)) < 0.01


def test_clip_sweep() -> None:
    sweep = calibration.clip_sweep(np.array([1, 0]), pd.DataFrame({"a": [0.0, 0.0]}), [0.1, 0.01])
    assert sweep["a"].tolist() == pytest.approx([-(np.log(0.1) + np.log(0.9)) / 2, -(np.log(0.01) + np.log(0.99)) / 2])


def test_weights_are_found_again_and_never_negative() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (60_000, 3))
    labels = (generator.random(60_000) < sigmoid(logits @ [1.5, 0.5, -0.4] + 0.3)).astype(int)
    weights = calibration.fit_weights(labels, sigmoid(logits), 1e-9)
    assert weights[2] == 0
    two = calibration.fit_weights(
        (generator.random(60_000) < sigmoid(logits[:, :2] @ [1.5, 0.5] + 0.3)).astype(int), sigmoid(logits[:, :2]), 1e-9
    )
    assert two == pytest.approx([1.5, 0.5, 0.3], abs=0.06)
    assert calibration.weigh(np.array([[0.8, 0.3]]), np.array([1.0, 0.0, 0.0]), 1e-6) == pytest.approx([0.8])
