from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from dfdc_lib.evaluation import calibration
from dfdc_lib.evaluation.calibration import FEW_VIDEOS
from dfdc_lib.evaluation.metrics import losses
from dfdc_lib.evaluation.score_table import UNKNOWN_ROLE, UNSEEN_VIDEOS, ScoreTable
from dfdc_lib.records import Calibration, Resampling
from dfdc_lib.run_folder import Run, open_run


def calibrated(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels that are drawn with the probability of the score."""
    generator = np.random.default_rng(0)
    values = expit(generator.normal(0, 2, size))
    return (generator.random(size) < values).astype(int), values


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a", "b"], list("abcdefgh") * 3])
def test_halves_never_split_an_original(names: list[str]) -> None:
    groups = pd.Series(names, dtype=object)
    first = calibration.halves(groups, 0)
    assert set(groups[first]).isdisjoint(groups[~first])
    assert groups[first].nunique() == (groups.nunique() + 1) // 2


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_temperature_is_recovered(temperature: float) -> None:
    labels, values = calibrated(40_000)
    fitted = calibration.fit_temperature(labels, expit(logit(values) / temperature), 1e-9)
    assert fitted == pytest.approx(1 / temperature, rel=0.05)
    assert calibration.temper(np.array([0.8]), 1.0, 1e-6) == pytest.approx(0.8)


def test_crossed_temperatures_come_from_the_other_half() -> None:
    labels, values = calibrated(2000)
    videos = pd.DataFrame({"label": labels, "group": np.arange(2000)})
    first = calibration.halves(videos["group"], 0)
    crossed = calibration.crossed_temperatures(videos, pd.Series(values), 1e-6, 0)
    assert crossed[first].nunique() == 1
    assert crossed[first].iloc[0] == pytest.approx(calibration.fit_temperature(labels[~first], values[~first], 1e-6))
    one_class = calibration.crossed_temperatures(videos.assign(label=1), pd.Series(values), 1e-6, 0)
    assert one_class.tolist() == [1.0] * 2000


MANY = np.arange(2 * FEW_VIDEOS)
FIRST_HALF = calibration.halves(pd.Series(MANY), 0)
RIGHT = np.where(MANY % 2 == 1, 0.6, 0.4)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        *[(np.arange(count) % 2, np.full(count, 0.5)) for count in (0, 1, FEW_VIDEOS - 1)],
        *[(np.full(len(MANY), label), np.full(len(MANY), 0.5)) for label in (0, 1)],
        (MANY % 2, RIGHT),  # any sharpening helps, so the fit ends at its limit
        (MANY % 2, np.where(FIRST_HALF, RIGHT, 1 - RIGHT)),  # the halves contradict each other
    ],
)
def test_no_calibration(labels: np.ndarray, scores: np.ndarray) -> None:
    videos = pd.DataFrame({"label": labels, "group": np.arange(len(labels))})
    assert calibration.calibration_of(videos, pd.Series(scores), 1e-6, 0) is None


def test_calibration_of_too_sharp_scores() -> None:
    labels, values = calibrated(4000)
    videos = pd.DataFrame({"label": labels, "group": np.arange(4000) // 2}, index=[f"v{n}" for n in range(4000)])
    scores = pd.Series(expit(3 * logit(values)), index=videos.index)
    fitted = calibration.calibration_of(videos, scores, 1e-9, 0)
    assert fitted is not None
    assert fitted.temperature == calibration.fit_temperature(labels, scores.to_numpy(), 1e-9)
    assert fitted.temperature == pytest.approx(3, rel=0.1)
    assert (fitted.clip, fitted.videos, fitted.fakes) == (1e-9, 4000, labels.sum())
    assert fitted.log_loss_before == pytest.approx(losses(labels, scores.to_numpy(), 1e-9).mean())
    assert fitted.log_loss_after == pytest.approx(losses(labels, values, 1e-9).mean(), abs=0.002)
    assert fitted.log_loss_after < fitted.log_loss_before


def score_table(names: list[str], videos: int) -> ScoreTable:
    """Return two frames per video, with the mean 0.98 for fakes and 0.04 for reals, swapped for every fifth video."""
    label = np.arange(videos) % 2
    seems_fake = np.where(np.arange(videos) % 5 == 0, 1 - label, label)
    ids = [f"v{number:02d}" for number in range(videos)]
    table = pd.DataFrame({"label": label, "group": ids}, index=pd.Index(ids, name="video_id"))
    score = np.where(seems_fake == 1, 0.98, 0.04)
    frames = pd.DataFrame({"video_id": ids * 2, "track": 0, "score": [*(score - 0.01), *(score + 0.01)]})
    frames["frame_index"] = [0] * len(ids) + [1] * len(ids)
    return ScoreTable("r", table, {name: frames.sample(frac=1, random_state=0) for name in names}, role=UNSEEN_VIDEOS)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run with a trained model x."""
    run = open_run(tmp_path / "run")
    (run.root / "models" / "x").mkdir(parents=True)
    return run


def test_models_of_the_run_are_calibrated(run: Run) -> None:
    table = score_table(["x", "released"], 40)
    fitted = calibration.fit_calibrations(run, table, Resampling(1e-6))
    calibration.write_calibrations(run, fitted)
    means = table.frames["x"].groupby("video_id")["score"].mean()
    expected = calibration.calibration_of(table.videos, means, 1e-6, 0)
    assert expected is not None and fitted == {"x": expected}  # "released" was not trained in this run
    assert run.read_record(run.calibration_path("x"), Calibration) == expected
    assert (expected.videos, expected.fakes, expected.role) == (40, 20, "unseen") and expected.temperature > 1
    assert calibration.fit_calibrations(run, replace(table, role=UNKNOWN_ROLE), Resampling(1e-6)) == {"x": None}
    assert f"{expected.temperature:.2f}" in calibration.calibration_text("x", expected)


@pytest.mark.parametrize("videos", [0, 2, FEW_VIDEOS - 1])
def test_without_a_calibration_the_old_file_is_deleted(videos: int, run: Run) -> None:
    run.write_bytes(run.calibration_path("x"), b"of earlier scores")
    fitted = calibration.fit_calibrations(run, score_table(["x"], videos), Resampling(1e-6))
    calibration.write_calibrations(run, fitted)
    assert fitted == {"x": None} and not run.calibration_path("x").exists()
    assert str(FEW_VIDEOS) in calibration.calibration_text("x", None)


def test_reliability_its_error_and_the_clip_sweep() -> None:
    labels, scores = np.array([0, 1, 1, 1]), np.array([0.12, 0.18, 0.95, 1.0])
    table = calibration.reliability(labels, scores)
    assert table.to_dict("list") == {"score": pytest.approx([0.15, 0.975]), "fake_share": [0.5, 1.0], "videos": [2, 2]}
    assert calibration.calibration_error(labels, scores) == pytest.approx((0.35 + 0.025) / 2)
    assert calibration.calibration_error(*calibrated(100_000)) < 0.01
    sweep = calibration.clip_sweep(np.array([1, 0]), pd.DataFrame({"a": [0.0, 0.0]}), [0.1, 0.01])
    assert sweep["a"].tolist() == pytest.approx([-(np.log(clip) + np.log(1 - clip)) / 2 for clip in (0.1, 0.01)])


def test_weights_are_recovered_and_never_negative() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (60_000, 3))
    labels = (generator.random(60_000) < expit(logits @ [1.5, 0.5, -0.4] + 0.3)).astype(int)
    assert calibration.fit_weights(labels, expit(logits), 1e-9)[2] == 0
    labels = (generator.random(60_000) < expit(logits[:, :2] @ [1.5, 0.5] + 0.3)).astype(int)
    weights = calibration.fit_weights(labels, expit(logits[:, :2]), 1e-9)
    assert weights == pytest.approx([1.5, 0.5, 0.3], abs=0.06)
    assert calibration.weigh(np.array([[0.8, 0.3]]), np.array([1.0, 0.0, 0.0]), 1e-6) == pytest.approx([0.8])
