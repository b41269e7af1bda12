"""How good is a classifier on crops that were not trained on? Log loss and AUC, per frame and per video.

Source: the winner's validation: plain mean per video, and the mean of the fakes' and the reals' log loss.
"""

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from torch.utils.data import DataLoader

from dfdc_lib.classifier.crop_dataset import PlainCrops
from dfdc_lib.classifier.inference import logits_of
from dfdc_lib.classifier.model import Classifier
from dfdc_lib.evaluation.metrics import losses, measure
from dfdc_lib.records import Recipe
from dfdc_lib.run_folder import Run

LOG_LOSS_CLIP = 1e-7  # scores are kept this far from 0 and 1 in validation
JUDGE_BATCH = 32  # crops


def judge(
    model: Classifier, run: Run, index: pd.DataFrame, rows: np.ndarray, recipe: Recipe, workers: int, dtype: torch.dtype
) -> dict[str, float]:
    """Measure a model on crops: log loss and AUC, per frame and per video (plain mean of its frames).

    Returns:
        "log loss" as in SPEC: the mean of the fakes' and the reals', per video; AUC is NaN where only one kind is there.
    """
    loader = DataLoader(PlainCrops(run, index, rows, recipe), JUDGE_BATCH, num_workers=workers)
    model.eval()
    logits = np.concatenate([logits_of(model, images, recipe, dtype) for images, _, _ in loader])
    frames = index.iloc[rows][["video_id", "label"]].assign(score=expit(logits))
    frames["score"] = frames["score"].clip(LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    videos = frames.groupby("video_id", observed=True).mean()
    return {
        "log loss": _balanced_log_loss(videos),
        "AUC": _auc(videos),
        "frame log loss": _balanced_log_loss(frames),
        "frame AUC": _auc(frames),
        "videos": float(len(videos)),
    }


def _balanced_log_loss(table: pd.DataFrame) -> float:
    """Mean of the fakes' and the reals' log loss; of the one kind where only one is there."""
    each = losses(table["label"].to_numpy(), table["score"].to_numpy(), LOG_LOSS_CLIP)
    return float(pd.Series(each).groupby(table["label"].to_numpy()).mean().mean())


def _auc(table: pd.DataFrame) -> float:
    return measure(table["label"].to_numpy(), table["score"].to_numpy(), LOG_LOSS_CLIP)["AUC"]
