from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from dfdc_lib.evaluation import (
    bootstrap,
    calibration,
    load_scores,
    metrics,
    results,
    simulate,
    strategies,
    strategy_study,
)
from dfdc_lib.evaluation.score_table import ScoreTable
from dfdc_lib.records import Resampling

RESAMPLING = Resampling(1e-4, 60, 0)
TABLE = simulate.simulate(40, 2.5)
COLUMNS = strategies.strategy_scores(TABLE)
GRID = strategy_study.confident_grid(TABLE, RESAMPLING)
FIRST_HALF = calibration.halves(TABLE.videos["group"], RESAMPLING.seed)


def losses_of(table: ScoreTable, scores: pd.DataFrame | pd.Series) -> np.ndarray:
    return metrics.losses(table.videos["label"].to_numpy(), scores.to_numpy(), RESAMPLING.clip)


@pytest.fixture(scope="module")
def models() -> ScoreTable:
    """Return one score per video of a good model, a bad one and a copy of the good one."""
    signs = 2 * TABLE.videos["label"].to_numpy() - 1
    generator = np.random.default_rng(0)
    rows = pd.DataFrame({"video_id": TABLE.videos.index, "frame_index": 0, "track": 0})
    good, bad = (expit(generator.normal(0, 1, len(signs)) + slope * signs) for slope in (2, 0.5))
    scores = {"bad": bad, "good": good, "copy": good}
    return ScoreTable("models", TABLE.videos, {name: rows.assign(score=score) for name, score in scores.items()})


@pytest.mark.parametrize(
    ("rows", "titles"),
    [
        (slice(None), ["real"]),
        (slice(6), ["real", simulate.TITLE]),
        (slice(0), [simulate.TITLE]),
        (slice(None, None, 2), [simulate.TITLE]),  # only reals
    ],
)
def test_simulated_scores_join_few_videos(rows: slice, titles: list[str]) -> None:
    part = ScoreTable("real", TABLE.videos.iloc[rows], TABLE.frames)
    studies = strategy_study.study(part, RESAMPLING)
    assert [study.table.title for study in studies] == titles
    for study in studies:
        texts = strategy_study.metric_table(study.result)
        row = bootstrap.intervals(study.result).query("name == 'median' and metric == 'EER'")
        assert texts.loc["median", "EER"] == bootstrap.interval_texts(row).item()
        numbers = results.result_numbers(study.table, study.result, study.parts)
        prefix = f"{simulate.TITLE}: " if study.table.title == simulate.TITLE else ""
        for name in ("mean", "maximum"):
            assert numbers[f"{prefix}video-level AUC, {name}"].startswith(texts.loc[name, "AUC"])
        assert numbers[f"{prefix}video-level AUC, mean"].endswith("rough)") == (len(study.table.videos) == 6)


def test_sure_answers_are_counted_for_every_score() -> None:
    counts = strategy_study.sure_answers(TABLE, COLUMNS)
    expected = metrics.two_thresholds(TABLE.videos["label"].to_numpy(), COLUMNS["median"].to_numpy())
    assert counts.index.tolist() == list(COLUMNS) and counts.loc["median"].to_dict() == expected


def test_grid_contains_the_slides_pair() -> None:
    grid = GRID.set_index(["threshold", "fraction"])
    loss = losses_of(TABLE, COLUMNS["confident"])
    assert grid.loc[(0.8, 0.4)].tolist() == pytest.approx([loss[FIRST_HALF].mean(), loss[~FIRST_HALF].mean()])
    assert len(grid) == len(strategy_study.THRESHOLDS) * len(strategy_study.FRACTIONS)


def test_each_half_is_tuned_on_the_other() -> None:
    tuned = strategy_study.tuned_scores(TABLE, COLUMNS, GRID, RESAMPLING)
    assert list(tuned) == ["mean", "median", "confident", "mean at temperature", "confident, tuned"]
    best = GRID.sort_values("second_half", kind="stable").iloc[0]
    assert losses_of(TABLE, tuned["confident, tuned"])[FIRST_HALF].mean() == pytest.approx(best["first_half"])
    clipped = strategies.clipped_logit(tuned["mean"].to_numpy(), RESAMPLING.clip)
    temperatures = (clipped / logit(tuned["mean at temperature"])).round(6)
    assert temperatures[FIRST_HALF].nunique() == temperatures[~FIRST_HALF].nunique() == 1


def test_confident_against_the_others() -> None:
    answer = strategy_study.confident_against(TABLE, COLUMNS[["mean", "median", "confident"]], RESAMPLING)
    assert answer.index.tolist() == ["confident against mean", "confident against median"] * 2
    expected = losses_of(TABLE, COLUMNS["confident"]).mean() - losses_of(TABLE, COLUMNS["mean"]).mean()
    assert answer.iloc[0]["value"] == pytest.approx(expected) and (answer["p_holm"] >= answer["p"]).all()
    text = bootstrap.interval_texts(answer).iloc[0]
    assert text in strategy_study.readable(answer).iloc[0].tolist()


def test_frame_counts() -> None:
    rows = strategy_study.by_frame_count(TABLE, RESAMPLING).set_index(["frame_count", "name"])
    assert sorted(rows.index.unique("frame_count")) == [1, 2, 4, 8, 16, 32]
    assert rows.loc[(32, "mean"), "value"] == pytest.approx(losses_of(TABLE, COLUMNS["mean"]).mean())


def test_groups_of_videos() -> None:
    sized = ScoreTable("t", TABLE.videos.assign(height=[479] * 40 + [1080] * 40, width=1920), TABLE.frames)
    rows = strategy_study.by_group(sized, COLUMNS, RESAMPLING)
    rows = rows[rows["name"] == "mean"].set_index(["question", "group"])
    sides = rows.loc["shorter side (pixels)"]
    assert sides["videos"].to_dict() == {"< 480": 40, "≥ 1080": 40}
    assert sides["value"].mean() == pytest.approx(losses_of(TABLE, COLUMNS["mean"]).mean())
    people = rows.loc["people", "videos"]
    assert people.index.tolist() == ["1", "2"] and people.sum() == 80


def test_wins_and_losses() -> None:
    pair = COLUMNS[["mean", "median"]]
    rows = strategy_study.wins_and_losses(TABLE, pair, RESAMPLING.clip, 2)
    gains = losses_of(TABLE, pair) @ [1, -1]
    assert rows["gain"].tolist() == pytest.approx([*sorted(gains)[-1:-3:-1], *sorted(gains)[1::-1]])
    assert rows["video_id"].iloc[0] == TABLE.videos.index[np.argmax(gains)]
    assert strategy_study.wins_and_losses(TABLE, COLUMNS[["mean"]], RESAMPLING.clip).empty


def test_gain_of_each_model(models: ScoreTable) -> None:
    rows = strategy_study.model_gains(models, RESAMPLING)
    assert rows["step"].tolist()[:3] == ["good", "+ copy", "+ bad"]
    assert rows["value"].tolist()[:2] == [0, 0]  # a copy changes nothing
    assert rows.loc[2, "low"] > 0 > rows.loc[3, "high"]  # a bad model harms a plain mean, fitted weights repair it
    assert rows.loc[3, "loss"] == pytest.approx(rows.loc[2, "loss"] + rows.loc[3, "value"])


def test_missing_frames_models_or_originals_give_empty_tables(models: ScoreTable) -> None:
    one_original = [ScoreTable("one", each.videos.assign(group="o"), each.frames) for each in (TABLE, models)]
    assert strategy_study.by_frame_count(models, RESAMPLING).empty
    assert all(strategy_study.confident_grid(each, RESAMPLING).empty for each in (models, one_original[0]))
    assert all(strategy_study.model_gains(each, RESAMPLING).empty for each in (TABLE, one_original[1]))
    none = strategy_study.confident_grid(models, RESAMPLING)
    tuned = strategy_study.tuned_scores(models, strategies.strategy_scores(models), none, RESAMPLING)
    assert list(tuned) == ["bad", "bad at temperature"]


def test_known_values_of_the_frame_scores(test_videos: Path) -> None:
    table = load_scores.read_scores(test_videos / "scores" / "ffpp_frame_scores.csv.gz")
    columns = strategies.strategy_scores(table)
    losses = {name: round(losses_of(table, columns[name]).mean(), 4) for name in ("mean", "median", "confident")}
    assert losses == {"mean": 0.1112, "median": 0.0948, "confident": 0.1013}
    measured = metrics.measure(table.videos["label"].to_numpy(), columns["mean"].to_numpy(), 1e-4)
    assert round(measured["AUC"], 4) == 0.9920
    resampling = Resampling(draws=300)
    tuned = strategy_study.tuned_scores(table, columns, strategy_study.confident_grid(table, resampling), resampling)
    answer = strategy_study.confident_against(table, tuned, resampling).query("metric == 'log loss'")
    assert answer.loc["confident against mean", "high"] < 0  # better than the mean ...
    assert answer.loc["confident against mean at temperature", "low"] > 0  # ... but not than the sharpened mean
