import warnings
from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from dfdc_lib.evaluation import bootstrap, calibration, metrics, score_table, simulate, strategies, strategy_study
from dfdc_lib.records import Resampling
from dfdc_lib.viz import plot_scores, style

RESAMPLING = Resampling(1e-4, 40, 0)
HEADING = f"{simulate.TITLE}: 60 videos"


def empty(columns: str) -> pd.DataFrame:
    return pd.DataFrame(columns=columns.split())


EMPTY: dict[str, Callable[[], Figure]] = {
    "interval_chart": lambda: plot_scores.interval_chart(empty("name metric value low high"), "h"),
    "difference_chart": lambda: plot_scores.difference_chart(empty("name metric value low high p_holm"), "b7", "h"),
    "heat_map": lambda: plot_scores.heat_map(empty("threshold fraction first_half second_half"), "h"),
    "calibration_chart": lambda: plot_scores.calibration_chart({}, empty("a"), 1e-4, "h"),
    "frame_count_chart": lambda: plot_scores.frame_count_chart(empty("frame_count name value low high"), "h"),
    "group_chart": lambda: plot_scores.group_chart(empty("question group videos name value low high"), "h"),
    "ensemble_chart": lambda: plot_scores.ensemble_chart(empty("a"), empty("step value low high loss"), "h"),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    table = simulate.simulate(30, 2.5)
    scores = strategies.strategy_scores(table)
    result = bootstrap.bootstrap(table.videos, scores, RESAMPLING)
    labels = table.videos["label"].to_numpy()
    frames = {"a": table.frames["simulated"], "b": simulate.simulate(30, 2.0, seed=1).frames["simulated"]}
    two = score_table.ScoreTable("t", table.videos, frames)
    curves = {name: calibration.reliability(labels, scores[name]) for name in ("mean", "confident")}
    sweep = calibration.clip_sweep(labels, scores[["mean", "median"]])
    by_group = strategy_study.by_group(table, scores, RESAMPLING)
    gains = strategy_study.model_gains(two, RESAMPLING)
    claim = simulate.claimed_gain((0, 0.05), 30, RESAMPLING)
    return {
        "interval_chart": plot_scores.interval_chart(bootstrap.intervals(result), HEADING),
        "difference_chart": plot_scores.difference_chart(bootstrap.differences(result, "mean"), "mean", HEADING),
        "heat_map": plot_scores.heat_map(strategy_study.confident_grid(table, RESAMPLING), HEADING),
        "calibration_chart": plot_scores.calibration_chart(curves, sweep, 1e-4, HEADING),
        "frame_count_chart": plot_scores.frame_count_chart(strategy_study.by_frame_count(table, RESAMPLING), HEADING),
        "group_chart": plot_scores.group_chart(by_group, HEADING),
        "ensemble_chart": plot_scores.ensemble_chart(strategies.model_scores(two), gains, HEADING),
        "claim_chart": plot_scores.claim_chart(claim, 0.25, 0.22, HEADING),
    }


@pytest.mark.parametrize("name", EMPTY)
def test_empty_input_is_explained(name: str) -> None:
    assert EMPTY[name]().axes[0].texts[0].get_text()


@pytest.mark.parametrize("name", [*EMPTY, "claim_chart"])
def test_title_names_the_scores_and_nothing_warns(drawn: dict[str, Figure], name: str) -> None:
    assert drawn[name].get_suptitle().startswith(HEADING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert style.png(drawn[name])[:4] == b"\x89PNG"


def test_one_panel_per_metric_and_one_row_per_score(drawn: dict[str, Figure]) -> None:
    assert [axis.get_xlabel() for axis in drawn["interval_chart"].axes] == list(metrics.METRICS)
    assert [axis.get_xlabel().split(":")[0] for axis in drawn["difference_chart"].axes] == ["log loss", "AUC"]


def test_heat_map_marks_the_best_of_the_first_half_and_the_slides_pair() -> None:
    rows = [(t, f, t + f, 2.0) for t in (0.7, 0.8) for f in (0.3, 0.4)]
    grid = pd.DataFrame(rows, columns=["threshold", "fraction", "first_half", "second_half"])
    for axis in plot_scores.heat_map(grid, "h").axes[:2]:
        best, slides = (collection.get_offsets().tolist() for collection in axis.collections)
        assert best == [[0, 0]] and slides == [[1, 1]]


def test_interval_chart_hides_rounding_errors_and_needs_its_columns() -> None:
    rows = pd.DataFrame({"name": ["a", "b"], "metric": "AUC", "value": [1, 1 - 1e-16], "low": 1.0, "high": 1.0})
    assert plot_scores.interval_chart(rows, "h").axes[0].get_xlim() == pytest.approx((0.95, 1.05))
    with pytest.raises(ValueError, match="low"):
        plot_scores.interval_chart(empty("name metric value"), "h")
