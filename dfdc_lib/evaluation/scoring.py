"""What the scores of a run come from: the record of notebook 07 beside its score tables.

Notebook 07 writes scores/<model>.parquet, then scores/roles.csv (the role of every video in the training of the
models, when they scored it), then scores/scoring.json. Tables that the record does not name belong to models that
scored the run earlier; they are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dfdc_lib.data.datasets.files import is_of_sample
from dfdc_lib.records import BUILT_IN_SAMPLE, ModelCard, Scoring
from dfdc_lib.run_folder import Run
from dfdc_lib.staleness import content_fingerprint

if TYPE_CHECKING:
    import pandas as pd

ROLES_TABLE = "scores/roles.csv"
SAMPLE_WARNING = (
    "Demonstration only. The model {} was trained on the built-in sample: one face, forged in one way. "
    "It shows how the kit works. Its score for any other video is meaningless."
)


class RunScores(NamedTuple):
    """The last scoring of a run, read from what notebook 07 wrote.

    `scoring`: its record; `tables`: model -> the rows of `scores/<model>.parquet`; `role`: video_id -> role; `ignored`:
    models that only have scores of an earlier scoring.
    """

    scoring: Scoring
    tables: dict[str, pd.DataFrame]  # model -> one row per face
    role: pd.Series  # of every video (index: video_id); the strongest of its identity group and over the models
    ignored: list[str]  # models with a table of earlier scores


def write_tables(run: Run, tables: Mapping[str, pd.DataFrame], role: pd.Series) -> dict[str, str]:
    """Write the score tables and the roles; return model -> fingerprint of its table.

    `tables`: model -> its score table, one row per face; `role`: video_id -> role, from `unseen.roles`. Deletes
    scores/scoring.json first. Write this file after the call, so that it exists only beside complete tables.
    """
    run.scoring_path.unlink(missing_ok=True)
    for name, table in tables.items():
        run.write_table(f"scores/{name}.parquet", table)
    run.write_table(ROLES_TABLE, role.rename_axis("video_id").reset_index(name="role"))
    return {name: content_fingerprint(run.root / "scores" / f"{name}.parquet") for name in tables}


def read_run_scores(run: Run) -> RunScores:
    """Read the scores of the models that scored a run last.

    Raises FileNotFoundError if notebook 07 has not finished, and ValueError if a table is not the one that it wrote.
    """
    from dfdc_lib.evaluation.unseen import strongest_in_group  # here: the command line reads warnings alone

    scoring = run.read_record(run.scoring_path, Scoring)
    paths = {name: run.root / "scores" / f"{name}.parquet" for name in scoring.models}
    for name, path in paths.items():
        if not path.exists() or content_fingerprint(path) != scoring.models[name].table:
            raise ValueError(f"{path} is not the table that notebook 07 wrote: run it again")
    role = run.read_table(ROLES_TABLE).set_index("video_id")["role"]
    present = {path.stem for path in (run.root / "scores").glob("*.parquet")}
    tables = {name: run.read_table(f"scores/{name}.parquet") for name in paths}
    return RunScores(scoring, tables, strongest_in_group(role, run), sorted(present - set(paths)))


def sample_warnings(cards: Sequence[ModelCard]) -> list[str]:
    """Return a warning for every model that was trained on the built-in sample."""
    return [SAMPLE_WARNING.format(card.name) for card in cards if card.data == BUILT_IN_SAMPLE]


def run_warnings(run: Run) -> list[str]:
    """Return a warning for every model in a run's last scoring that was trained on the built-in sample.

    The result is [] if all videos of the run are of the sample, too.
    """
    if all(is_of_sample(video.path) for video in run.read_videos()):
        return []
    return sample_warnings([model.card for model in run.read_record(run.scoring_path, Scoring).models.values()])
