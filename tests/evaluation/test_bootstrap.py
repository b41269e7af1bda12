import re

import numpy as np
import pandas as pd
import pytest
from test_metrics import random_scores

from dfdc_lib.evaluation import bootstrap, metrics
from dfdc_lib.records import Resampling


def videos_of(labels: np.ndarray, group_count: int) -> pd.DataFrame:
    return pd.DataFrame({"label": labels, "group": np.arange(len(labels)) % group_count})


def test_draws_equal_repeated_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw has the metrics of a table in which the drawn groups are repeated, whatever the size of a chunk."""
    labels, values = random_scores(0, 40)
    videos, table = videos_of(labels, 12), pd.DataFrame({"a": values, "b": 1 - values})
    result = bootstrap.bootstrap(videos, table, Resampling(draws=20, seed=3))
    generator = np.random.default_rng(3)
    for draw in result.draws:
        rows = np.concatenate([np.flatnonzero(videos["group"] == group) for group in generator.integers(0, 12, 12)])
        for row, column in zip(draw, (values, 1 - values), strict=True):
            assert row == pytest.approx(list(metrics.measure(labels[rows], column[rows], 1e-4).values()), nan_ok=True)
    monkeypatch.setattr(bootstrap, "CHUNK_SIZE", 40 * 7)
    chunked = bootstrap.bootstrap(videos, table, Resampling(draws=20, seed=3))
    np.testing.assert_allclose(chunked.draws, result.draws, rtol=1e-12)


def test_interval_of_the_log_loss_is_the_normal_one() -> None:
    labels, values = random_scores(5, 2000, 10**6)
    result = bootstrap.bootstrap(videos_of(labels, 2000), pd.DataFrame({"a": values}), Resampling(), ["log loss"])
    row = bootstrap.intervals(result).iloc[0]
    spread = metrics.losses(labels, values, 1e-4).std() / np.sqrt(2000)
    assert (row["high"] - row["low"]) / (2 * 1.96 * spread) == pytest.approx(1, abs=0.08)
    assert row["low"] < row["value"] < row["high"]


def test_differences_are_paired() -> None:
    labels, values = random_scores(7, 400, 10**6)
    better = np.clip(values + 0.02 * (2 * labels - 1), 0, 1)
    table = pd.DataFrame({"mean": values, "same": values, "better": better})
    result = bootstrap.bootstrap(videos_of(labels, 100), table, Resampling(draws=300))
    rows = bootstrap.differences(result, "mean").set_index(["name", "metric"])
    assert rows.loc[("same", "AUC"), ["value", "low", "high", "p"]].tolist() == [0, 0, 0, 1]
    gain = rows.loc[("better", "log loss")]
    assert gain["high"] < 0 and gain["p"] == pytest.approx(2 / 301) and gain["p_holm"] == pytest.approx(4 / 301)
    with pytest.raises(KeyError, match="none"):
        bootstrap.differences(result, "none")


def test_same_seed_same_draws() -> None:
    labels, values = random_scores(8, 50)
    videos, table = videos_of(labels, 10), pd.DataFrame({"a": values})
    first, again, other = (bootstrap.bootstrap(videos, table, Resampling(1e-4, 20, seed)).draws for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    with pytest.raises(ValueError, match="index"):
        bootstrap.bootstrap(videos, table.iloc[1:], Resampling(draws=20))


@pytest.mark.parametrize(("draws", "ends"), [(200, [1, 1]), (0, [np.nan, np.nan])])
def test_draws_of_one_class_are_left_out(draws: int, ends: list[float]) -> None:
    videos, table = videos_of(np.array([0, 1, 1]), 3), pd.DataFrame({"a": [0.1, 0.8, 0.7]})
    result = bootstrap.bootstrap(videos, table, Resampling(draws=draws))
    assert np.isnan(result.draws[:, 0, 1]).any() == bool(draws)
    rows = bootstrap.intervals(result).set_index("metric")
    assert rows.loc["AUC", ["low", "high"]].tolist() == pytest.approx(ends, nan_ok=True)


def test_holm_and_texts() -> None:
    example = np.array([0.01, 0.04, 0.03, 0.005])  # Wikipedia, "Holm-Bonferroni method"
    assert bootstrap.holm(example).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bootstrap.holm(np.array([])).tolist() == []
    table = pd.DataFrame({"value": [0.12345, -1e-9], "low": [0.1, np.nan], "high": [0.2, 1.0]})
    assert bootstrap.interval_texts(table).tolist() == ["0.123 [0.100,\u00a00.200]", "0.000 [no\u00a0interval]"]


@pytest.mark.parametrize(
    ("groups", "warning"),
    [
        ([], "only 0"),
        ([0] * 40, "only 1 "),
        (list(range(9)) * 4, "only 9 "),
        (list(range(10)), ""),
        ([0] * 100 + list(range(1, 40)), "40 identity groups, .* worth 2 "),
    ],
)
def test_groups_are_counted_not_videos(groups: list[int], warning: str) -> None:
    text = bootstrap.caution(pd.DataFrame({"group": groups}))
    assert re.match(warning, text) if warning else text == ""


def test_one_group_has_no_interval() -> None:
    labels, values = random_scores(0, 40)
    result = bootstrap.bootstrap(videos_of(labels, 1), pd.DataFrame({"a": values, "b": values}), Resampling(draws=20))
    assert result.values.notna().all(axis=None) and bootstrap.intervals(result)[["low", "high"]].isna().all(axis=None)
    assert (bootstrap.differences(result, "a")["p"] == 1).all()
