import numpy as np
import pytest

from dfdc_lib.evaluation import simulate, strategies
from dfdc_lib.evaluation.metrics import losses
from dfdc_lib.records import Resampling


def test_wrong_parameters_are_errors() -> None:
    with pytest.raises(ValueError, match="missed_share"):
        simulate.simulate(2, 1.0, 1.5)
    with pytest.raises(ValueError, match="target"):
        simulate.simulate_at(0.25, 50, 1e-4, 0.5)


def test_model_is_the_documented_one() -> None:
    table = simulate.simulate(1000, 3.0, 0.1)
    frames = table.frames["simulated"]
    assert "SIMULATED" in table.title and len(table.videos) == 2000 and table.videos["group"].nunique() == 1000
    assert table.videos["label"].mean() == 0.5
    first = frames[frames["track"] == 0]
    assert (first.groupby("video_id").size() == simulate.FRAME_COUNT).all()
    assert 0.08 < (strategies.people_counts(table) == 2).mean() < 0.12
    logits = strategies.clipped_logit(first["score"].to_numpy(), 1e-12)
    labels = table.videos["label"].reindex(first["video_id"]).to_numpy()
    clear = 1 - simulate.UNCLEAR_SHARE
    assert logits[labels == 0].mean() == pytest.approx(-3 * clear, abs=0.2)
    assert logits[labels == 1].mean() == pytest.approx(0.8 * 3 * clear, abs=0.2)  # one fake in ten is missed


def test_same_seed_same_scores_and_the_mean_has_the_requested_log_loss() -> None:
    first, again, other = (simulate.simulate(5, 2.0, seed=seed).frames["simulated"] for seed in (0, 0, 1))
    assert first.equals(again) and not np.allclose(first["score"].iloc[:100], other["score"].iloc[:100])
    table = simulate.simulate_at(0.25, 60, 1e-4, seed=3)
    means = strategies.model_scores(table)["simulated"].to_numpy()
    assert losses(table.videos["label"].to_numpy(), means, 1e-4).mean() == pytest.approx(0.25, abs=1e-3)


def test_claimed_gain() -> None:
    claim = simulate.claimed_gain((0, 0.08), 100, Resampling(draws=50))
    assert claim["missed_share"].tolist() == [0, 0, 0.08, 0.08] and claim["name"].tolist() == ["mean", "confident"] * 2
    assert claim.loc[claim["name"] == "mean", "value"].tolist() == pytest.approx([0.25, 0.25], abs=1e-3)
    assert (claim["low"] <= claim["value"]).all() and claim["value"].iloc[1] < 0.25
