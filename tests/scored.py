"""For tests of what reads the predictions of a run: predictions as notebook 07 writes them, without a model."""

from collections.abc import Mapping

import pandas as pd

from dfdc_lib.evaluation.scoring import write_tables
from dfdc_lib.evaluation.unseen import UNSEEN
from dfdc_lib.records import ModelCard, Recipe, ScoredModel, Scoring
from dfdc_lib.run_folder import Run


def write_scores(run: Run, tables: Mapping[str, pd.DataFrame], role: Mapping[str, str] | None = None) -> None:
    """Write the score tables of models; `role`: of videos that are not unseen."""
    roles = pd.Series(
        {video.video_id: (role or {}).get(video.video_id, UNSEEN) for video in run.read_videos()}, dtype=str
    )
    models = {}
    for name, table in write_tables(run, tables, roles).items():
        card = ModelCard(name=name, encoder="resnet18", recipe=Recipe(size=64))
        models[name] = ScoredModel(card=card, fingerprint="0", table=table)
    run.write_record(run.scoring_path, Scoring(models=models, videos="all", frames=3, strategy="mean"))
