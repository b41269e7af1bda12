"""Simulated frame scores, for runs with too few real ones: a few parameters in, a `ScoreTable` out.

The model: an original o has an offset u(o) ~ N(0, 0.7). The original and its one fake are videos with the logit
a = ∓separation + u(o) + N(0, 1.5); a fake that the detector misses entirely has the logit of a real video. A clear
frame has the logit N(a, 1.5); an unclear frame (blurred, turned away, not forged) has N(0, 1.5). The score is the
sigmoid. In one video of ten a second, real person stands beside the first. The parameters are invented, in the range of
real detectors: the results show how strategies behave under this model, and are no evidence about deepfakes.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy  # imports scipy.special when it is first used

from dfdc_lib.evaluation.bootstrap import bootstrap, intervals
from dfdc_lib.evaluation.metrics import losses
from dfdc_lib.evaluation.score_table import SIMULATED, ScoreTable
from dfdc_lib.evaluation.strategies import BASELINE, CONFIDENT, STRATEGIES, model_scores, over_models
from dfdc_lib.records import Resampling

TITLE = "SIMULATED scores"
ORIGINAL_SIGMA, VIDEO_SIGMA, FRAME_SIGMA = 0.7, 1.5, 1.5  # logits
FRAME_COUNT = 32  # slides: frames per video
TWO_PEOPLE_SHARE, UNCLEAR_SHARE, MISSED_SHARE = 0.1, 0.15, 0.03  # of the videos, of the frames, of the fakes
# Slides, "0.25 -> 0.22 Solo B5": log loss on the public leaderboard, with the mean and with the confident strategy.
CLAIMED_BEFORE, CLAIMED_AFTER = 0.25, 0.22
SEPARATIONS = (0.1, 10.0)  # logits; limits of the search


def simulate(original_count: int, separation: float, missed_share: float = MISSED_SHARE, seed: int = 0) -> ScoreTable:
    """Return simulated scores of originals and one fake of each; the same seed draws the same noise at any separation.

    `original_count`: number of originals. The mean logit is `separation` for detected fakes, and minus `separation` for
    real videos and missed fakes. `missed_share`: share of the fakes that are missed; ValueError if it is not in 0-1.
    """
    if not 0 <= missed_share <= 1:
        raise ValueError(f"missed_share must lie in 0-1, got {missed_share}")
    generator = np.random.default_rng(seed)
    labels = np.tile([0, 1], original_count)
    groups = np.repeat([f"original_{i:03d}" for i in range(original_count)], 2)
    names = [f"{group}_fake" if label else str(group) for group, label in zip(groups, labels, strict=True)]
    offsets = np.repeat(generator.normal(0, ORIGINAL_SIGMA, original_count), 2)
    offsets += generator.normal(0, VIDEO_SIGMA, len(labels))
    second_logits = generator.normal(0, VIDEO_SIGMA, len(labels)) - separation
    # Exactly this share is missed; the noise does not depend on the order, so the first originals will do.
    missed = np.arange(original_count) < round(missed_share * original_count)
    detected = (labels == 1) & ~np.repeat(missed, 2)
    first = _person(names, 0, offsets + np.where(detected, separation, -separation), generator)
    second = _person(names, 1, second_logits, generator)
    accompanied = np.repeat(generator.random(len(labels)) < TWO_PEOPLE_SHARE, FRAME_COUNT)
    videos = pd.DataFrame({"label": labels, "group": groups}, index=pd.Index(names, name="video_id"))
    frames = {"simulated": pd.concat([first, second[accompanied]], ignore_index=True)}
    return ScoreTable(TITLE, videos, frames, role=SIMULATED)


def simulate_at(
    target: float, original_count: int, clip: float, missed_share: float = MISSED_SHARE, seed: int = 0
) -> ScoreTable:
    """Return simulated scores; ValueError if no separation yields the log loss `target`.

    `target` is the log loss if a video's score is the mean of its frames, limited to clip ... 1 - clip.
    `original_count`: number of originals; `missed_share`: share of the fakes that the detector misses.
    """
    from scipy.optimize import brentq, minimize_scalar  # here: it takes 0.6 s

    def excess(separation: float) -> float:
        table = simulate(original_count, separation, missed_share, seed)
        means = model_scores(table)["simulated"].to_numpy()
        return float(losses(table.videos["label"].to_numpy(), means, clip).mean()) - target

    # Beyond the best separation the loss rises again: missed fakes get ever lower scores.
    best = float(minimize_scalar(excess, bounds=SEPARATIONS, method="bounded").x)
    if excess(SEPARATIONS[0]) < 0 or excess(best) > 0:
        raise ValueError(f"no mean has the log loss {target} with {missed_share:.0%} missed fakes: change the target")
    return simulate(original_count, float(brentq(excess, SEPARATIONS[0], best, xtol=1e-4)), missed_share, seed)


def claimed_gain(missed_shares: Sequence[float], original_count: int, resampling: Resampling) -> pd.DataFrame:
    """Return the log loss of the mean and of the confident strategy on simulated scores.

    The scores are simulated so that the mean has the slides' log loss, 0.25. `original_count`: number of simulated
    originals. `missed_shares`: shares of the fakes that the detector misses; each yields two rows, one per strategy.
    Columns: missed_share, name (strategy), metric, value, low, high (95 % interval).
    """
    parts = []
    for share in missed_shares:
        table = simulate_at(CLAIMED_BEFORE, original_count, resampling.clip, share, resampling.seed)
        scores = pd.DataFrame({name: over_models(table, STRATEGIES[name]) for name in (BASELINE, CONFIDENT)})
        result = bootstrap(table.videos, scores, resampling, ["log loss"])
        parts.append(intervals(result).assign(missed_share=share))
    return pd.concat(parts, ignore_index=True)


def _person(names: list[str], track: int, logits: np.ndarray, generator: np.random.Generator) -> pd.DataFrame:
    shape = (len(names), FRAME_COUNT)
    clear = generator.random(shape) >= UNCLEAR_SHARE
    frame_logits = np.where(clear, logits[:, None], 0.0) + generator.normal(0, FRAME_SIGMA, shape)
    index = pd.MultiIndex.from_product([names, range(FRAME_COUNT)], names=["video_id", "frame_index"])
    return pd.DataFrame({"track": track, "score": scipy.special.expit(frame_logits).ravel()}, index).reset_index()
