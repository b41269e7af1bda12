"""Calibration of scores: temperature, reliability, the clip of the log loss, and weights for several models.

A fit is judged by applying what was fitted on one half of the identity groups to the other half. Sources: Guo et al.
2017, arXiv:1706.04599 (temperature, calibration error); Niculescu-Mizil & Caruana 2005, doi:10.1145/1102351.1102430.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy  # imports scipy.special when it is first used

from dfdc_lib.evaluation.metrics import losses
from dfdc_lib.evaluation.score_table import UNSEEN_VIDEOS, ScoreTable
from dfdc_lib.evaluation.strategies import BASELINE, STRATEGIES, clipped_logit, video_scores
from dfdc_lib.evaluation.unseen import UNSEEN
from dfdc_lib.records import Calibration, Resampling
from dfdc_lib.run_folder import Run

FEW_VIDEOS = 30  # with fewer, a model is not calibrated
TEMPERATURES = (0.05, 20.0)  # limits of the fit: from twenty times as sharp to twenty times as flat
BIN_COUNT = 10  # Guo et al. used 15 on thousands of images; small sets need fewer
SWEPT_CLIPS = tuple(10.0**-exponent for exponent in np.arange(1, 8.1, 0.5))


def halves(groups: pd.Series, seed: int) -> pd.Series:
    """Split videos at random into two halves; no identity group is in both. Return True for those in the first half.

    `groups` has each video's identity group; the result has the same index. `seed` determines the split.
    """
    names = pd.unique(groups)
    first = np.random.default_rng(seed).permutation(len(names))[: (len(names) + 1) // 2]
    return groups.isin(names[first])


def fit_temperature(labels: np.ndarray, scores: np.ndarray, clip: float) -> float:
    """Return the temperature (see `temper`) with the lowest log loss; below 1, it makes the scores sharper.

    `labels` and `scores` are (n,) for n videos: 0 or 1, and 0-1. Scores are limited to clip ... 1 - clip.
    """
    from scipy.optimize import minimize_scalar  # here: it takes 0.6 s

    def loss(exponent: float) -> float:
        return float(losses(labels, temper(scores, np.exp(exponent), clip), clip).mean())

    fit = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(fit.x))


def temper(scores: np.ndarray, temperature: float | np.ndarray, clip: float) -> np.ndarray:
    """Limit scores to clip ... 1 - clip, divide their logits by the temperature, and return the new scores, 0-1.

    `scores`, (n,), are 0-1; `temperature` is one number or one per score, (n,).
    """
    return scipy.special.expit(clipped_logit(scores, clip) / temperature)


def crossed_temperatures(videos: pd.DataFrame, scores: pd.Series, clip: float, seed: int) -> pd.Series:
    """Return a temperature for each video, fitted on the half of the identity groups that the video is not in.

    It is 1 if that half has only one class. `videos` has the columns label and group, and the index of `scores`.
    `scores` are 0-1 and limited to clip ... 1 - clip; `seed` splits the groups.
    """
    first = halves(videos["group"], seed)
    temperatures = pd.Series(1.0, index=videos.index)
    for half in (first, ~first):
        if videos.loc[~half, "label"].nunique() == 2:
            temperatures[half] = fit_temperature(videos.loc[~half, "label"].to_numpy(), scores[~half].to_numpy(), clip)
    return temperatures


def calibration_of(videos: pd.DataFrame, scores: pd.Series, clip: float, seed: int) -> Calibration | None:
    """Fit the temperature that turns a model's video scores (means of the frames) into probabilities.

    `videos` has a row per video with its label (0, 1) and identity group (column group); `scores`, with the same index,
    are 0-1. Scores are limited to clip ... 1 - clip; `seed` splits the groups. Returns None in three cases:

    - There are fewer than `FEW_VIDEOS` videos, or only one class.
    - The best temperature is at a limit of the fit, e.g. because the scores separate the classes.
    - Temperatures fitted on one half of the groups do not lower the log loss of the other half.
    """
    if len(videos) < FEW_VIDEOS or videos["label"].nunique() < 2:
        return None
    labels, values = videos["label"].to_numpy(), scores.to_numpy()
    crossed = temper(values, crossed_temperatures(videos, scores, clip, seed).to_numpy(), clip)
    before, after = (float(losses(labels, each, clip).mean()) for each in (values, crossed))
    fitted = fit_temperature(labels, values, clip)
    if not (after < before and 1.01 * TEMPERATURES[0] < fitted < 0.99 * TEMPERATURES[1]):
        return None
    counts = {"videos": len(videos), "fakes": int(labels.sum()), "role": UNSEEN}
    return Calibration(temperature=fitted, clip=clip, log_loss_before=before, log_loss_after=after, **counts)


def fit_calibrations(run: Run, table: ScoreTable, resampling: Resampling) -> dict[str, Calibration | None]:
    """Fit a calibration for each model in the run's `models/` with scores in `table` (from `read_run_scores`).

    Returns model -> calibration. It is None where `calibration_of` returns None, and for all models if the videos are
    not known to be unseen.
    """
    calibrations: dict[str, Calibration | None] = {}
    for name in [name for name in table.frames if (run.root / "models" / name).is_dir()]:
        scores = video_scores(table.frames[name], STRATEGIES[BASELINE]).reindex(table.videos.index)
        fitted = calibration_of(table.videos, scores, resampling.clip, resampling.seed)
        calibrations[name] = fitted if table.role.startswith(UNSEEN_VIDEOS) else None
    return calibrations


def write_calibrations(run: Run, calibrations: Mapping[str, Calibration | None]) -> None:
    """Write `calibrations/<model>.json` for each model; if its calibration is None, delete an earlier file instead.

    `calibrations`: model -> calibration or None, from `fit_calibrations`.
    """
    for name, calibration in calibrations.items():
        if calibration is None:
            run.calibration_path(name).unlink(missing_ok=True)
        else:
            run.write_record(run.calibration_path(name), calibration)


def calibration_text(name: str, calibration: Calibration | None) -> str:
    """Return a sentence with a model's temperature and its effect on the log loss, or what a calibration would need."""
    if calibration is None:
        needed = f"{FEW_VIDEOS} unseen videos of both classes and a temperature that helps videos it was not fitted on"
        return f"{name}: not calibrated; this needs {needed}"
    change = f"{calibration.log_loss_before:.3f} → {calibration.log_loss_after:.3f}"
    videos = f"{calibration.videos} {calibration.role} videos"
    return f"{name}: temperature {calibration.temperature:.2f}, log loss {change} on {videos}"


def reliability(labels: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Sort videos into `BIN_COUNT` bins of equal width by score; return one row per bin that is not empty.

    Columns: score (mean), fake_share, videos (their number). `labels` and `scores` are (n,) for n videos: 0 or 1, and
    0-1.
    """
    bins = np.minimum((np.asarray(scores) * BIN_COUNT).astype(int), BIN_COUNT - 1)
    table = pd.DataFrame({"bin": bins, "score": scores, "fake_share": labels, "videos": 1})
    return table.groupby("bin").agg({"score": "mean", "fake_share": "mean", "videos": "sum"}).reset_index(drop=True)


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the expected calibration error; 0 is best.

    It is the mean distance between score and share of fakes over the bins of `reliability`, weighted by their videos.
    `labels` and `scores` are (n,) for n videos: 0 or 1, and 0-1.
    """
    table = reliability(labels, scores)
    return float(np.average((table["score"] - table["fake_share"]).abs(), weights=table["videos"]))


def clip_sweep(labels: np.ndarray, scores: pd.DataFrame, clips: Sequence[float] = SWEPT_CLIPS) -> pd.DataFrame:
    """Return the log loss (rows: clips, columns: scores) if scores are limited to clip ... 1 - clip.

    `labels`, (n,), are 0 or 1; `scores` has a row per video (in the same order) and a column per score, 0-1.
    """
    rows = [losses(labels, scores.to_numpy(float), clip).mean(axis=0) for clip in clips]
    return pd.DataFrame(rows, index=pd.Index(clips, name="clip"), columns=scores.columns)


def fit_weights(labels: np.ndarray, scores: np.ndarray, clip: float) -> np.ndarray:
    """Fit weights for combining the scores of k models for n videos, (n, k), so that the log loss is lowest.

    `labels`, (n,), are 0 or 1; scores are limited to clip ... 1 - clip. Returns (k + 1,): a weight of at least 0 for
    each model's logit, then an offset.
    """
    from scipy.optimize import minimize  # here: it takes 0.6 s

    logits = np.column_stack([clipped_logit(scores, clip), np.ones(len(scores))])
    signs = np.where(np.asarray(labels) == 1, 1.0, -1.0)

    def loss_and_slope(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (logits @ weights)
        slope = logits.T @ (-signs * scipy.special.expit(-margins)) / len(signs)
        return float(-scipy.special.log_expit(margins).mean()), slope

    start = np.append(np.full(scores.shape[1], 1 / scores.shape[1]), 0.0)
    bounds = [(0, None)] * scores.shape[1] + [(None, None)]
    return minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", bounds=bounds).x


def weigh(scores: np.ndarray, weights: np.ndarray, clip: float) -> np.ndarray:
    """Combine the scores of k models for n videos, (n, k), with weights from `fit_weights`; return (n,) scores.

    Scores are limited to clip ... 1 - clip.
    """
    return scipy.special.expit(clipped_logit(scores, clip) @ weights[:-1] + weights[-1])
