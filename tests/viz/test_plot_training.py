import warnings

import pandas as pd
import pytest
from matplotlib.figure import Figure

from dfdc_lib.viz import plot_training, style

HISTORY_COLUMNS = ["epoch", "train loss", "log loss", "AUC", "frame log loss", "frame AUC", "videos"]
SCORE_COLUMNS = ["video_id", "time_seconds", "track", "score", "label"]


def history_of(epochs: int) -> pd.DataFrame:
    rows = [
        (e, 0.7 / (e + 1), 0.8 / (e + 1), 1 - 0.4 / (e + 1), 0.9 / (e + 1), 1 - 0.5 / (e + 1), 8.0)
        for e in range(epochs)
    ]
    return pd.DataFrame(rows, columns=HISTORY_COLUMNS)


def scores_of(videos: int, people: int = 1, label: object = 1) -> pd.DataFrame:
    rows = [
        (f"v{v}", t / 3, p, (0.1 + 0.2 * p + 0.05 * t) % 1, label)
        for v in range(videos)
        for t in range(5)
        for p in range(people)
    ]
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def drawn_without_warning(paper: Figure) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return style.png(paper)


# history ---------------------------------------------------------------------------------------------------------------------------------
def test_no_epoch_is_said_in_words() -> None:
    assert "no epoch has ended" in plot_training.history(history_of(0)).axes[0].texts[0].get_text()


def test_history_names_its_axes_and_counts() -> None:
    paper = plot_training.history(history_of(3))
    assert paper.get_suptitle() == "training (n = 3 epochs; validation on 8 videos)"
    losses, areas = paper.axes
    assert [(axis.get_xlabel(), axis.get_ylabel()) for axis in paper.axes] == [("epoch", "log loss"), ("epoch", "AUC")]
    assert (losses.get_ylim()[0], areas.get_ylim()) == (0, (0, 1.05))
    assert losses.get_xticks().tolist() == areas.get_xticks().tolist() == [1, 2, 3]  # counted from 1
    assert drawn_without_warning(paper)[:4] == b"\x89PNG"


def test_history_draws_every_curve_and_the_loss_of_one_half() -> None:
    table = history_of(4)
    losses, areas = plot_training.history(table).axes
    curves = {line.get_label(): list(line.get_ydata()) for line in losses.lines}
    assert curves["training (batches, smoothed labels)"] == table["train loss"].tolist()
    assert curves["validation, per video"] == table["log loss"].tolist()
    assert curves["validation, per frame"] == table["frame log loss"].tolist()
    assert losses.lines[-1].get_ydata() == pytest.approx([0.6931, 0.6931], abs=1e-4)
    assert [list(line.get_ydata()) for line in areas.lines] == [table["AUC"].tolist(), table["frame AUC"].tolist()]


@pytest.mark.parametrize("epochs", [1, 11, 40])
def test_any_number_of_epochs_has_few_ticks_and_draws(epochs: int) -> None:
    paper = plot_training.history(history_of(epochs))
    assert 1 <= len(paper.axes[0].get_xticks()) <= 14
    assert drawn_without_warning(paper)


# scores_over_time ------------------------------------------------------------------------------------------------------------------------
def test_no_scored_face_is_said_in_words() -> None:
    assert "no scored face" in plot_training.scores_over_time(scores_of(0)).axes[0].texts[0].get_text()


def test_scores_name_axes_videos_and_range() -> None:
    paper = plot_training.scores_over_time(scores_of(2))
    assert (paper.get_suptitle(), paper.get_supxlabel()) == (
        "score of each person over time (n = 2 videos)",
        "time (seconds)",
    )
    assert paper.get_supylabel() == "score: P(fake)"
    assert [panel.get_title() for panel in paper.axes] == ["v0 (fake)", "v1 (fake)"]
    assert [panel.get_ylim() for panel in paper.axes] == [(-0.03, 1.03)] * 2
    assert drawn_without_warning(paper)[:4] == b"\x89PNG"


def test_every_person_has_a_line_of_its_own() -> None:
    table = scores_of(1, people=2)
    (panel,) = plot_training.scores_over_time(table).axes
    first, second, half = panel.lines
    assert list(first.get_ydata()) == table.loc[table["track"] == 0, "score"].tolist()
    assert list(second.get_xdata()) == table.loc[table["track"] == 1, "time_seconds"].tolist()
    assert first.get_linestyle() != second.get_linestyle()
    assert list(half.get_ydata()) == [0.5, 0.5]


@pytest.mark.parametrize(("label", "name"), [(0, "real"), (1, "fake"), (None, "unknown"), (float("nan"), "unknown")])
def test_the_colour_is_the_labels(label: object, name: str) -> None:
    (panel,) = plot_training.scores_over_time(scores_of(1, label=label)).axes
    assert panel.get_title() == f"v0 ({name})"
    assert panel.lines[0].get_color() == style.LABEL_COLOURS[name]


def test_of_many_videos_the_first_are_drawn_and_the_title_says_so() -> None:
    paper = plot_training.scores_over_time(scores_of(plot_training.MOST_PANELS + 3))
    assert paper.get_suptitle() == "score of each person over time (first 12 of 15 videos)"
    assert [panel.get_title() for panel in paper.axes] == [f"v{number} (fake)" for number in range(12)]


def test_a_panel_without_a_video_is_empty() -> None:
    paper = plot_training.scores_over_time(scores_of(4))
    assert [panel.axison for panel in paper.axes] == [True] * 4 + [False] * 2


def test_a_name_with_dollar_signs_is_no_formula() -> None:
    paper = plot_training.scores_over_time(scores_of(1).assign(video_id="a$b$\\c"))
    assert paper.axes[0].get_title() == r"a\$b\$\c (fake)"
    assert drawn_without_warning(paper)


@pytest.mark.parametrize(
    ("draw", "columns", "message"),
    [
        (
            plot_training.history,
            HISTORY_COLUMNS[:-2],
            "history needs the columns .*; missing frame AUC, videos in epoch",
        ),
        (
            plot_training.scores_over_time,
            SCORE_COLUMNS[1:],
            "scores_over_time needs the columns .*; missing video_id in time_seconds",
        ),
    ],
)
def test_missing_columns_are_named(draw, columns: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(pd.DataFrame(columns=columns))
