"""Measure a classifier on crops that it was not trained on: log loss and AUC, per frame and per video.

Source: the winner's validation: plain mean per video, and the mean of the fakes' and the reals' log loss.
"""

import numpy as np
import pandas as pd
from scipy.special import expit

from dfdc_lib.classifier.crop_dataset import PlainCrops, crop_loader
from dfdc_lib.classifier.inference import logits_of
from dfdc_lib.classifier.model import Classifier
from dfdc_lib.classifier.training_processes import ALONE, Process, gather
from dfdc_lib.evaluation.metrics import losses, measure
from dfdc_lib.records import Recipe
from dfdc_lib.run_folder import Run

LOG_LOSS_CLIP = 1e-7  # scores are limited to 1e-7 ... 1 - 1e-7
JUDGE_BATCH = 32  # crops


def judge(
    model: Classifier, run: Run, crops: pd.DataFrame, recipe: Recipe, process: Process = ALONE
) -> dict[str, float]:
    """Set a model to eval mode and return its metrics on crops, name -> value.

    `crops`: rows of the table from `crop_dataset.read_index`. "log loss" and "AUC" measure video scores, each the mean
    over the video's crops; "frame log loss" and "frame AUC" measure single crops; "videos" is the number of videos. Log
    losses are the mean of the fakes' and the reals' log loss; the AUC of a single class is NaN. Several processes share
    the crops: `process` is this one, each must call this with the same crops, and each gets the metrics of all crops.
    Raise RuntimeError if a logit is not finite.
    """
    rows = list(range(process.rank, len(crops), process.count))
    loader = crop_loader(PlainCrops(run, crops, recipe), rows, JUDGE_BATCH, process)
    model.eval()
    parts = [logits_of(model, images, recipe) for images, _, _ in loader]
    logits = gather(np.concatenate([np.empty(0, np.float32), *parts]), process)
    if broken := crops["video_id"][~np.isfinite(logits)].unique().tolist():
        reason = f"the model returned logits that are not finite numbers for {len(broken)} videos, first {broken[0]}"
        remedy = "see LEARNING_RATE and PRECISION"
        raise RuntimeError(f"{reason}: its weights are damaged, or {recipe.precision} overflows; {remedy}")
    frames = crops[["video_id", "label"]].assign(score=expit(logits))
    frames["score"] = frames["score"].clip(LOG_LOSS_CLIP, 1 - LOG_LOSS_CLIP)
    videos = frames.groupby("video_id", observed=True).mean()
    by_frame = {f"frame {name}": value for name, value in _metrics(frames).items()}
    return _metrics(videos) | by_frame | {"videos": float(len(videos))}


def _metrics(table: pd.DataFrame) -> dict[str, float]:
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    balanced = pd.Series(losses(labels, scores, LOG_LOSS_CLIP)).groupby(labels).mean().mean()
    return {"log loss": float(balanced), "AUC": measure(labels, scores, LOG_LOSS_CLIP)["AUC"]}
