import warnings
from collections.abc import Callable

import pandas as pd
import pytest
from matplotlib.figure import Figure

from dfdc_lib.evaluation import calibration, metrics, simulate, strategies, strategy_study
from dfdc_lib.viz import plot_scores, style

CLIP, DRAWS, SEED = 1e-4, 40, 0
HEADING = f"{simulate.TITLE}: 60 videos"


def table(columns: str) -> pd.DataFrame:
    return pd.DataFrame(columns=columns.split())


EMPTY: dict[str, tuple[Callable[[], Figure], str]] = {
    "interval_chart": (lambda: plot_scores.interval_chart(table("name metric value low high"), "h"), "no scores"),
    "difference_chart": (
        lambda: plot_scores.difference_chart(table("name metric value low high p_holm"), "b7", "h"),
        "nothing to compare with b7",
    ),
    "heat_map": (
        lambda: plot_scores.heat_map(table("threshold fraction first_half second_half"), "h"),
        "needs several frames",
    ),
    "calibration_chart": (lambda: plot_scores.calibration_chart({}, table("a"), CLIP, "h"), "no scores"),
    "frame_count_chart": (
        lambda: plot_scores.frame_count_chart(table("frame_count name value low high"), "h"),
        "one score a video",
    ),
    "group_chart": (
        lambda: plot_scores.group_chart(table("question group videos name value low high"), "h"),
        "no videos",
    ),
    "ensemble_chart": (
        lambda: plot_scores.ensemble_chart(table("a"), table("step value low high loss"), "h"),
        "no ensemble",
    ),
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    scores = simulate.simulate(30, 2.5)
    columns = strategies.strategy_scores(scores)
    result = metrics.bootstrap(scores.videos, columns, CLIP, DRAWS, SEED)
    labels = scores.videos["label"].to_numpy()
    two = strategies.ScoreTable(
        "t",
        scores.videos,
        {"a": scores.frames["simulated"], "b": simulate.simulate(30, 2.0, seed=1).frames["simulated"]},
    )
    curves = {name: calibration.reliability(labels, columns[name]) for name in ("mean", "confident")}
    return {
        "interval_chart": plot_scores.interval_chart(metrics.intervals(result), HEADING),
        "difference_chart": plot_scores.difference_chart(metrics.differences(result, "mean"), "mean", HEADING),
        "heat_map": plot_scores.heat_map(strategy_study.confident_grid(scores, CLIP, SEED), HEADING),
        "calibration_chart": plot_scores.calibration_chart(
            curves, calibration.clip_sweep(labels, columns[["mean", "median"]]), CLIP, HEADING
        ),
        "frame_count_chart": plot_scores.frame_count_chart(
            strategy_study.by_frame_count(scores, CLIP, DRAWS, SEED), HEADING
        ),
        "group_chart": plot_scores.group_chart(strategy_study.by_group(scores, columns, CLIP, DRAWS, SEED), HEADING),
        "ensemble_chart": plot_scores.ensemble_chart(
            strategies.model_scores(two), strategy_study.model_gains(two, CLIP, DRAWS, SEED), HEADING
        ),
        "claim_chart": plot_scores.claim_chart(
            simulate.claimed_gain((0, 0.05), 30, CLIP, DRAWS, SEED), 0.25, 0.22, HEADING
        ),
    }


@pytest.mark.parametrize("name", EMPTY)
def test_empty_input_is_said_in_words(name: str) -> None:
    draw, text = EMPTY[name]
    assert text in draw().axes[0].texts[0].get_text()


@pytest.mark.parametrize("name", [*EMPTY, "claim_chart"])
def test_title_says_whose_scores_and_nothing_warns(drawn: dict[str, Figure], name: str) -> None:
    assert drawn[name].get_suptitle().startswith(HEADING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert style.png(drawn[name])[:4] == b"\x89PNG"


def test_axes_say_what_they_show(drawn: dict[str, Figure]) -> None:
    assert [axis.get_xlabel() for axis in drawn["interval_chart"].axes] == list(metrics.METRICS)
    assert [axis.get_xlabel() for axis in drawn["difference_chart"].axes] == [
        "log loss: difference (left of 0 is better)",
        "AUC: difference (right of 0 is better)",
    ]
    assert drawn["frame_count_chart"].axes[0].get_ylabel() == "log loss"


def test_heat_map_marks_the_best_of_the_first_half_and_the_slides_pair() -> None:
    grid = pd.DataFrame(
        [(t, f, t + f, 2.0) for t in (0.7, 0.8) for f in (0.3, 0.4)],
        columns=["threshold", "fraction", "first_half", "second_half"],
    )
    for axis in plot_scores.heat_map(grid, "h").axes[:2]:
        best, slides = (collection.get_offsets().tolist() for collection in axis.collections)
        assert best == [[0, 0]] and slides == [[1, 1]]


def test_equal_values_do_not_fill_the_axis_with_rounding_errors() -> None:
    rows = pd.DataFrame({"name": ["a", "b"], "metric": "AUC", "value": [1, 1 - 1e-16], "low": 1.0, "high": 1.0})
    assert plot_scores.interval_chart(rows, "h").axes[0].get_xlim() == pytest.approx((0.95, 1.05))


def test_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="interval_chart needs the columns .* missing low, high"):
        plot_scores.interval_chart(table("name metric value"), "h")
