from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.evaluation import calibration, load_scores, metrics, simulate, strategies, strategy_study
from dfdc_lib.evaluation.strategies import ScoreTable

CLIP, DRAWS, SEED = 1e-4, 60, 0


@pytest.fixture(scope="module")
def table() -> ScoreTable:
    return simulate.simulate(40, 2.5)


@pytest.fixture(scope="module")
def columns(table: ScoreTable) -> pd.DataFrame:
    return strategies.strategy_scores(table)


@pytest.fixture(scope="module")
def models(table: ScoreTable) -> ScoreTable:
    """One score a video of a good model, a bad one and a copy of the good one."""
    labels = table.videos["label"].to_numpy()
    generator = np.random.default_rng(0)
    rows = pd.DataFrame({"video_id": table.videos.index, "frame_index": 0, "track": 0})
    good, bad = (
        strategies.sigmoid(generator.normal(0, 1, len(labels)) + slope * (2 * labels - 1)) for slope in (2, 0.5)
    )
    return ScoreTable(
        "models",
        table.videos,
        {name: rows.assign(score=score) for name, score in {"bad": bad, "good": good, "copy": good}.items()},
    )


def test_simulated_scores_join_where_there_are_few(table: ScoreTable) -> None:
    few = ScoreTable("few", table.videos.iloc[:6], table.frames)
    none = ScoreTable("none", table.videos.iloc[:0], table.frames)
    reals = ScoreTable("reals", table.videos[table.videos["label"] == 0], table.frames)
    assert [t.title for t in strategy_study.tables_to_judge(table, CLIP, SEED)] == [table.title]
    assert [t.title for t in strategy_study.tables_to_judge(few, CLIP, SEED)] == ["few", simulate.TITLE]
    assert [t.title for lone in (none, reals) for t in strategy_study.tables_to_judge(lone, CLIP, SEED)] == [
        simulate.TITLE
    ] * 2
    assert strategy_study.heading(few) == "few: 6 videos of 3 originals\n" + metrics.caution(few.videos)
    assert strategy_study.heading(none) == "none: no labelled videos, nothing to judge"


def test_sure_answers_are_counted_for_every_score(table: ScoreTable, columns: pd.DataFrame) -> None:
    found = strategy_study.sure_answers(table, columns)
    expected = metrics.two_thresholds(table.videos["label"].to_numpy(), columns["median"].to_numpy())
    assert found.index.tolist() == list(columns) and found.loc["median"].to_dict() == expected


def test_grid_holds_the_slides_pair(table: ScoreTable, columns: pd.DataFrame) -> None:
    grid = strategy_study.confident_grid(table, CLIP, SEED).set_index(["threshold", "fraction"])
    first = calibration.halves(table.videos["group"], SEED)
    loss = metrics.losses(table.videos["label"].to_numpy(), columns["confident"].to_numpy(), CLIP)
    assert grid.loc[(0.8, 0.4)].tolist() == pytest.approx([loss[first].mean(), loss[~first].mean()])
    assert len(grid) == len(strategy_study.THRESHOLDS) * len(strategy_study.FRACTIONS)


def test_each_half_is_tuned_on_the_other(table: ScoreTable, columns: pd.DataFrame) -> None:
    tuned = strategy_study.tuned_scores(table, columns, CLIP, SEED)
    assert list(tuned) == ["mean", "median", "confident", "mean at temperature", "confident, tuned"]
    first = calibration.halves(table.videos["group"], SEED)
    best = strategy_study.confident_grid(table, CLIP, SEED).sort_values("second_half", kind="stable").iloc[0]
    loss = metrics.losses(table.videos["label"].to_numpy(), tuned["confident, tuned"].to_numpy(), CLIP)
    assert loss[first].mean() == pytest.approx(best["first_half"])
    ratio = strategies.logit(tuned["mean"].to_numpy(), CLIP) / strategies.logit(
        tuned["mean at temperature"].to_numpy(), 1e-12
    )
    assert len(set(ratio[first].round(6))) == len(set(ratio[~first].round(6))) == 1


def test_confident_against_the_others(table: ScoreTable, columns: pd.DataFrame) -> None:
    answer = strategy_study.confident_against(table, columns[["mean", "median", "confident"]], CLIP, DRAWS, SEED)
    assert answer.index.tolist() == ["confident against mean", "confident against median"] * 2
    losses = metrics.losses(table.videos["label"].to_numpy(), columns[["confident", "mean"]].to_numpy(), CLIP).mean(
        axis=0
    )
    assert answer.iloc[0]["value"] == pytest.approx(losses[0] - losses[1])
    assert (answer["p_holm"] >= answer["p"]).all()


def test_frame_counts(table: ScoreTable, columns: pd.DataFrame) -> None:
    found = strategy_study.by_frame_count(table, CLIP, DRAWS, SEED)
    assert sorted(found["frame_count"].unique()) == [1, 2, 4, 8, 16, 32]
    losses = metrics.losses(table.videos["label"].to_numpy(), columns["mean"].to_numpy(), CLIP)
    last = found[(found["frame_count"] == 32) & (found["name"] == "mean")]
    assert last["value"].tolist() == pytest.approx([losses.mean()])


def test_groups_of_videos(table: ScoreTable, columns: pd.DataFrame) -> None:
    sized = ScoreTable("t", table.videos.assign(height=[479] * 40 + [1080] * 40, width=1920), table.frames)
    found = strategy_study.by_group(sized, columns, CLIP, DRAWS, SEED).drop_duplicates(["question", "group"])
    sides = found[found["question"] == "shorter side (pixels)"]
    assert sides["group"].tolist() == ["< 480", "≥ 1080"] and sides["videos"].tolist() == [40, 40]
    people = found[found["question"] == "people"]
    assert people["group"].tolist() == ["1", "2"] and people["videos"].sum() == 80


def test_wins_and_losses_by_name(table: ScoreTable, columns: pd.DataFrame) -> None:
    found = strategy_study.wins_and_losses(table, columns[["mean", "median"]], CLIP, 2)
    gains = metrics.losses(table.videos["label"].to_numpy(), columns[["mean", "median"]].to_numpy(), CLIP) @ [1, -1]
    assert found["gain"].tolist() == pytest.approx([*sorted(gains)[-1:-3:-1], *sorted(gains)[1::-1]])
    assert found["video_id"].iloc[0] == table.videos.index[np.argmax(gains)]
    assert strategy_study.wins_and_losses(table, columns[["mean"]], CLIP).empty


def test_gain_of_each_further_model(models: ScoreTable) -> None:
    found = strategy_study.model_gains(models, CLIP, DRAWS, SEED)
    assert found["step"].tolist()[:3] == ["good", "+ copy", "+ bad"]
    assert found["value"].tolist()[:2] == [0, 0]  # a copy changes nothing
    assert found.loc[2, "low"] > 0  # a bad model harms a plain mean …
    assert found.loc[3, "high"] < 0  # … and fitted weights mend it
    assert found.loc[3, "loss"] == pytest.approx(found.loc[2, "loss"] + found.loc[3, "value"])


def test_one_score_a_video_leaves_frames_out(models: ScoreTable) -> None:
    columns = strategies.strategy_scores(models)
    assert (
        strategy_study.confident_grid(models, CLIP, SEED).empty
        and strategy_study.by_frame_count(models, CLIP, DRAWS, SEED).empty
    )
    assert list(strategy_study.tuned_scores(models, columns, CLIP, SEED)) == ["bad", "bad at temperature"]


def test_one_model_or_one_original_is_no_ensemble(table: ScoreTable, models: ScoreTable) -> None:
    assert strategy_study.model_gains(table, CLIP, DRAWS, SEED).empty
    one = ScoreTable("one", models.videos.assign(group="o"), models.frames)
    assert strategy_study.model_gains(one, CLIP, DRAWS, SEED).empty
    assert strategy_study.confident_grid(
        ScoreTable("one", table.videos.assign(group="o"), table.frames), CLIP, SEED
    ).empty


def test_known_values_of_the_frame_scores(test_videos: Path) -> None:
    table = load_scores.read_scores(test_videos / "scores" / "ffpp_frame_scores.csv.gz")
    columns = strategies.strategy_scores(table)
    found = {
        name: metrics.measure(table.videos["label"].to_numpy(), columns[name].to_numpy(), 1e-4) for name in columns
    }
    losses = {name: round(found[name]["log loss"], 4) for name in ("mean", "median", "confident")}
    assert losses == {"mean": 0.1112, "median": 0.0948, "confident": 0.1013}
    assert round(found["mean"]["AUC"], 4) == 0.9920
    tuned = strategy_study.tuned_scores(table, columns, 1e-4, 0)
    answer = strategy_study.confident_against(table, tuned, 1e-4, 300, 0).query("metric == 'log loss'")
    assert answer.loc["confident against mean", "high"] < 0  # it beats the mean …
    assert (
        answer.loc["confident against mean at temperature", "low"] > 0
    )  # … but not the mean made as sharp as it should be
