from pathlib import Path

import pandas as pd
import pytest

from dfdc_lib.evaluation.unseen import roles
from dfdc_lib.records import ModelCard, Recipe
from dfdc_lib.run_folder import Run, open_run


def card(run: str, train_folds: tuple[int, ...], validation_fold: int | None) -> ModelCard:
    folds = {"train_folds": train_folds, "validation_fold": validation_fold}
    return ModelCard(name="m", encoder="resnet18", recipe=Recipe(size=64), run=run, **folds)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Video v<n> is in fold n; "007" is in none."""
    run = open_run(tmp_path / "run")
    run.write_table("videos.csv", pd.DataFrame({"video_id": ["v0", "v1", "v2", "007"]}))
    run.write_table("folds.csv", pd.DataFrame({"video_id": ["v2", "v1", "v0"], "fold": [2, 1, 0]}))
    return run


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([], ["unseen"] * 4),
        ([card("other", (0,), 1), card("", (), 2)], ["unseen"] * 4),
        ([card("run", (0,), 1)], ["trained on", "chosen by", "unseen", "unknown"]),
        ([card("run", (0,), None), card("other", (1, 2), None)], ["trained on", "unseen", "unseen", "unknown"]),
        ([card("run", (0,), 1), card("run", (1,), 2)], ["trained on", "trained on", "chosen by", "unknown"]),
        ([card("run", (1,), 2), card("run", (0,), 1)], ["trained on", "trained on", "chosen by", "unknown"]),
    ],
)
def test_the_strongest_role_over_the_cards_of_this_run(run: Run, cards: list[ModelCard], expected: list[str]) -> None:
    result = roles(run, cards)
    assert result.index.tolist() == ["v0", "v1", "v2", "007"] and result.index.name == "video_id"
    assert result.tolist() == expected


def test_without_folds_or_videos(run: Run) -> None:
    (run.root / "folds.csv").unlink()
    assert set(roles(run, [card("run", (0,), 1)])) == {"unknown"} and set(roles(run, [])) == {"unseen"}
    run.write_table("videos.csv", pd.DataFrame({"video_id": []}))
    assert roles(run, [card("run", (0,), 1)]).empty
