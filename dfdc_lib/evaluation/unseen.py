"""Which videos of a run the models have not seen in training: model cards and folds in, one role per video out.

A model card names the run it was trained in, its training folds and the validation fold that chose its checkpoint.
Folds are numbered per run, so a card describes only the videos of its own run.
"""

from collections.abc import Iterable

import pandas as pd

from dfdc_lib.records import ModelCard
from dfdc_lib.run_folder import Run

UNSEEN, CHOSEN_BY, TRAINED_ON, UNKNOWN = "unseen", "chosen by", "trained on", "unknown"


def roles(run: Run, cards: Iterable[ModelCard]) -> pd.Series:
    """Return the role that each video of a run had in the training of the models; index: video_id, as in videos.csv.

    The role is "trained on" if any model was trained on the video's fold, else "chosen by" if its fold chose the
    checkpoint of any model, else "unseen"; "unknown" if the video has no fold or folds.csv is missing. If no card is
    of this run, every video is "unseen" as far as the kit can tell: other models may have been trained on them.
    """
    video_ids = pd.Index(run.read_table("videos.csv")["video_id"], name="video_id")
    result = pd.Series(UNSEEN, index=video_ids, name="role")
    run_cards = [card for card in cards if card.run == run.root.name]
    if not run_cards:
        return result
    folds = pd.Series(float("nan"), index=video_ids)
    if (run.root / "folds.csv").exists():
        folds = run.read_table("folds.csv").set_index("video_id")["fold"].reindex(video_ids)
    # Later assignments win: the strongest role over all cards comes last.
    result[folds.isin([card.validation_fold for card in run_cards])] = CHOSEN_BY
    result[folds.isin([fold for card in run_cards for fold in card.train_folds])] = TRAINED_ON
    result[folds.isna()] = UNKNOWN
    return result
