"""Simulated frame scores, for where there are too few real ones: a few numbers in, a `ScoreTable` out.

The model. An original o has an offset u(o) ~ N(0, 0.7). It and one fake of it are videos with a logit a = ∓separation + u(o) + N(0, 1.5);
a fake that the detector misses as a whole has a real's logit. A clear frame shows it: logit ~ N(a, 1.5). An unclear frame (blurred, turned
away, not forged) shows nothing: logit ~ N(0, 1.5). The score is the sigmoid. In one video of ten a second, real person stands beside the
first. The numbers are made up, in the size of what detectors do: what comes out shows how strategies behave under this model, and is no
evidence about deepfakes.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import brentq, minimize_scalar

from dfdc_lib.evaluation.metrics import bootstrap, intervals, losses
from dfdc_lib.evaluation.strategies import BASELINE, ScoreTable, confident, mean, sigmoid, video_scores

TITLE = "SIMULATED scores"
ORIGINAL_SIGMA, VIDEO_SIGMA, FRAME_SIGMA = 0.7, 1.5, 1.5  # logits
TWO_PEOPLE_SHARE = 0.1
FRAME_COUNT = 32  # slides: frames a video
UNCLEAR_SHARE = 0.15  # of the frames
MISSED_SHARE = 0.03  # of the fakes
CLAIMED_BEFORE, CLAIMED_AFTER = (
    0.25,
    0.22,
)  # slides: log loss of one B5 on the public leaderboard, plain mean and confident strategy
SEPARATIONS = (0.1, 10.0)  # logits; searched between them


def simulate(original_count: int, separation: float, missed_share: float = MISSED_SHARE, seed: int = 0) -> ScoreTable:
    """Draw the scores of originals and one fake of each.

    Args:
        original_count: of originals, and of fakes.
        separation: logits between a clear video and undecided.
        missed_share: of the fakes, 0–1.
        seed: of the draw; the same seed draws the same noise whatever the separation.
    Returns:
        Two videos an original, `FRAME_COUNT` frames each, under the title `TITLE`.
    Raises:
        ValueError: if the share lies outside 0–1.
    """
    if not 0 <= missed_share <= 1:
        raise ValueError(f"missed_share must lie in 0–1, got {missed_share}")
    generator = np.random.default_rng(seed)
    labels = np.tile([0, 1], original_count)
    groups = np.repeat([f"original_{i:03d}" for i in range(original_count)], 2)
    names = [f"{group}_fake" if label else str(group) for group, label in zip(groups, labels, strict=True)]
    offsets = np.repeat(generator.normal(0, ORIGINAL_SIGMA, original_count), 2) + generator.normal(
        0, VIDEO_SIGMA, len(labels)
    )
    second_logits = generator.normal(0, VIDEO_SIGMA, len(labels)) - separation
    missed = np.arange(original_count) < round(
        missed_share * original_count
    )  # exactly this share: the noise is independent of the order
    seen = (labels == 1) & ~np.repeat(missed, 2)
    first = _person(names, 0, offsets + np.where(seen, separation, -separation), generator)
    second = _person(names, 1, second_logits, generator)
    accompanied = np.repeat(generator.random(len(labels)) < TWO_PEOPLE_SHARE, FRAME_COUNT)
    videos = pd.DataFrame({"label": labels, "group": groups}, index=pd.Index(names, name="video_id"))
    return ScoreTable(TITLE, videos, {"simulated": pd.concat([first, second[accompanied]], ignore_index=True)})


def simulate_at(
    target: float, original_count: int, clip: float, missed_share: float = MISSED_SHARE, seed: int = 0
) -> ScoreTable:
    """Draw scores whose plain mean has a given log loss: the separation is searched for.

    Args:
        target: log loss of the mean, 0.02–0.7.
        original_count: as for `simulate`.
        clip: of the log loss.
        missed_share: as for `simulate`.
        seed: as for `simulate`.
    Returns:
        The table.
    Raises:
        ValueError: if no separation gives this log loss: with many missed fakes the mean cannot get low.
    """

    def excess(separation: float) -> float:
        table = simulate(original_count, separation, missed_share, seed)
        means = table.frames["simulated"].groupby("video_id")["score"].mean().reindex(table.videos.index)
        return float(losses(table.videos["label"].to_numpy(), means.to_numpy(), clip).mean()) - target

    # Beyond the best separation the loss rises again: missed fakes are then called real with ever more certainty.
    best = float(minimize_scalar(excess, bounds=SEPARATIONS, method="bounded").x)
    if excess(SEPARATIONS[0]) < 0 or excess(best) > 0:
        raise ValueError(
            f"no separation gives the mean a log loss of {target} with {missed_share:.0%} missed fakes: choose another target"
        )
    return simulate(original_count, float(brentq(excess, SEPARATIONS[0], best, xtol=1e-4)), missed_share, seed)


def claimed_gain(
    missed_shares: Sequence[float], original_count: int, clip: float, draws: int, seed: int
) -> pd.DataFrame:
    """Put the slides' claim to the test: where the mean scores 0.25, does the confident strategy score 0.22?

    Args:
        missed_shares: of the fakes, each simulated by itself.
        original_count: as for `simulate`.
        clip: of the log loss.
        draws: of the bootstrap.
        seed: of simulation and bootstrap.
    Returns:
        One row a share and strategy: missed_share, name ("mean", "confident"), value (log loss), low, high.
    Source:
        Slides, "0.25 -> 0.22 Solo B5".
    """
    rows = []
    for share in missed_shares:
        table = simulate_at(CLAIMED_BEFORE, original_count, clip, share, seed)
        frames = table.frames["simulated"]
        scores = pd.DataFrame(
            {BASELINE: video_scores(frames, mean), "confident": video_scores(frames, confident)},
            index=table.videos.index,
        )
        result = intervals(bootstrap(table.videos, scores, clip, draws, seed, ["log loss"]))
        rows.append(result.assign(missed_share=share))
    return pd.concat(rows, ignore_index=True)


def _person(names: list[str], track: int, logits: np.ndarray, generator: np.random.Generator) -> pd.DataFrame:
    """Draw the frames of one person in every video."""
    shape = (len(names), FRAME_COUNT)
    clear = generator.random(shape) >= UNCLEAR_SHARE
    frame_logits = np.where(clear, logits[:, None], 0.0) + generator.normal(0, FRAME_SIGMA, shape)
    return pd.DataFrame(
        {
            "video_id": np.repeat(names, FRAME_COUNT),
            "frame_index": np.tile(np.arange(FRAME_COUNT), len(names)),
            "track": track,
            "score": sigmoid(frame_logits).ravel(),
        }
    )
