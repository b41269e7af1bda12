"""Are scores probabilities? Temperature, reliability, the clip of the log loss, and weights for several models: arrays in, numbers out.

Whatever is fitted here is fitted on one half of the originals and used on the other. Sources: Guo et al. 2017, arXiv:1706.04599
(temperature, expected calibration error); Niculescu-Mizil & Caruana 2005, doi:10.1145/1102351.1102430 (reliability diagrams).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar

from dfdc_lib.evaluation.metrics import FEW_VIDEOS, losses
from dfdc_lib.evaluation.strategies import logit, sigmoid
from dfdc_lib.records import Calibration

TEMPERATURES = (0.05, 20.0)  # what is searched: twenty times as sharp to twenty times as flat
BIN_COUNT = 10  # Guo et al. used 15 on thousands of pictures; small sets need fewer
SWEPT_CLIPS = tuple(10.0**-exponent for exponent in np.arange(1, 8.1, 0.5))


def halves(groups: pd.Series, seed: int) -> pd.Series:
    """Split videos by their originals into two halves.

    Args:
        groups: the original of every video.
        seed: of the draw.
    Returns:
        True for the videos of the first half; an original and its fakes are in one half.
    """
    names = pd.unique(groups)
    first = np.random.default_rng(seed).permutation(len(names))[: (len(names) + 1) // 2]
    return groups.isin(names[first])


def fit_temperature(labels: np.ndarray, scores: np.ndarray, clip: float) -> float:
    """Find the temperature with the least log loss.

    Args:
        labels: (n,) 0 real, 1 fake.
        scores: (n,) P(fake).
        clip: of the logits and of the log loss.
    Returns:
        Below 1 where the scores should be sharper, above 1 where they should be flatter; within `TEMPERATURES`.
    Source:
        Guo et al. 2017, temperature scaling.
    """

    def loss(exponent: float) -> float:
        return float(losses(labels, temper(scores, np.exp(exponent), clip), clip).mean())

    return float(
        np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-4}).x)
    )


def temper(scores: np.ndarray, temperature: float | np.ndarray, clip: float) -> np.ndarray:
    """Divide the logits of the scores, clipped, by a temperature, and turn them into scores again."""
    return sigmoid(logit(scores, clip) / temperature)


def crossed_temperatures(videos: pd.DataFrame, scores: pd.Series, clip: float, seed: int) -> pd.Series:
    """Give every video the temperature that was fitted on the other half of the originals.

    Args:
        videos: label, group.
        scores: P(fake), same index.
        clip: as for `fit_temperature`.
        seed: of the halves.
    Returns:
        One of two temperatures for every video; 1 where the other half has only one class, of which nothing can be learnt.
    """
    first = halves(videos["group"], seed)
    temperatures = pd.Series(1.0, index=videos.index)
    for half in (first, ~first):
        if videos.loc[~half, "label"].nunique() == 2:
            temperatures[half] = fit_temperature(videos.loc[~half, "label"].to_numpy(), scores[~half].to_numpy(), clip)
    return temperatures


def calibration_of(videos: pd.DataFrame, scores: pd.Series, clip: float, seed: int) -> Calibration | None:
    """Fit the temperature that makes a model's video scores probabilities, on all its held-out videos.

    Args:
        videos: label, group.
        scores: P(fake) by the mean of the frames, same index.
        clip: as for `fit_temperature`.
        seed: of the halves, by which it is judged.
    Returns:
        The calibration; None where there are fewer than `FEW_VIDEOS` videos or one class only, where the best temperature is none (the
        scores part the classes, and any sharpening helps), or where it does not help the half that it was not fitted on.
    """
    if len(videos) < FEW_VIDEOS or videos["label"].nunique() < 2:
        return None
    labels = videos["label"].to_numpy()
    crossed = temper(scores.to_numpy(), crossed_temperatures(videos, scores, clip, seed).to_numpy(), clip)
    found = Calibration(
        temperature=fit_temperature(labels, scores.to_numpy(), clip),
        clip=clip,
        videos=len(videos),
        fakes=int(labels.sum()),
        log_loss_before=float(losses(labels, scores.to_numpy(), clip).mean()),
        log_loss_after=float(losses(labels, crossed, clip).mean()),
    )
    inside = 1.01 * TEMPERATURES[0] < found.temperature < 0.99 * TEMPERATURES[1]
    return found if inside and found.log_loss_after < found.log_loss_before else None


def reliability(labels: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Compare what the scores say with what is true, in `BIN_COUNT` bins of equal width.

    Args:
        labels: (n,) 0 real, 1 fake.
        scores: (n,) P(fake), 0–1.
    Returns:
        One row a bin that has videos: score (mean), fake_share, videos.
    """
    bins = np.minimum((np.asarray(scores) * BIN_COUNT).astype(int), BIN_COUNT - 1)
    table = pd.DataFrame({"bin": bins, "score": scores, "fake_share": labels, "videos": 1})
    return table.groupby("bin").agg({"score": "mean", "fake_share": "mean", "videos": "sum"}).reset_index(drop=True)


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """Average the gap between score and share of fakes over the bins of `reliability`, weighted by their videos (ECE); 0 is best."""
    table = reliability(labels, scores)
    return float(np.average((table["score"] - table["fake_share"]).abs(), weights=table["videos"]))


def clip_sweep(labels: np.ndarray, scores: pd.DataFrame, clips: Sequence[float] = SWEPT_CLIPS) -> pd.DataFrame:
    """Compute the log loss of several scores for several clips.

    Args:
        labels: (n,) 0 real, 1 fake.
        scores: one column a score.
        clips: scores count as at least this and at most 1 − this.
    Returns:
        One row a clip (index), one column a score.
    """
    rows = [losses(labels, scores.to_numpy(float), clip).mean(axis=0) for clip in clips]
    return pd.DataFrame(rows, index=pd.Index(clips, name="clip"), columns=scores.columns)


def fit_weights(labels: np.ndarray, scores: np.ndarray, clip: float) -> np.ndarray:
    """Find non-negative weights of several models' logits, and an offset, with the least log loss.

    Args:
        labels: (n,) 0 real, 1 fake.
        scores: (n, k) P(fake), one column a model.
        clip: of the logits.
    Returns:
        (k + 1,) the weights, then the offset.
    """
    logits = np.column_stack([logit(scores, clip), np.ones(len(scores))])
    signs = np.where(np.asarray(labels) == 1, 1.0, -1.0)

    def loss_and_slope(weights: np.ndarray) -> tuple[float, np.ndarray]:
        agreement = signs * (logits @ weights)
        slopes = -signs * sigmoid(-agreement)
        return float(np.logaddexp(0, -agreement).mean()), logits.T @ slopes / len(signs)

    start = np.append(np.full(scores.shape[1], 1 / scores.shape[1]), 0.0)
    bounds = [(0, None)] * scores.shape[1] + [(None, None)]
    return minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", bounds=bounds).x


def weigh(scores: np.ndarray, weights: np.ndarray, clip: float) -> np.ndarray:
    """Combine (n, k) scores with the weights of `fit_weights`: (n,) scores."""
    return sigmoid(logit(scores, clip) @ weights[:-1] + weights[-1])
