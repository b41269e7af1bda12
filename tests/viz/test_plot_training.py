import pandas as pd
import pytest

from dfdc_lib.viz import plot_training, style

pytestmark = pytest.mark.filterwarnings("error")


def history_of(epochs: int) -> pd.DataFrame:
    rows = [(e, 0.7 / (e + 1), 0.8 / (e + 1), 1 - 0.4 / (e + 1), 0.9 / (e + 1), 0.5, 8.0) for e in range(epochs)]
    return pd.DataFrame(rows, columns=plot_training.HISTORY_COLUMNS)


def scores_of(videos: int, people: int = 1, label: object = 1) -> pd.DataFrame:
    places = [(v, t, p) for v in range(videos) for t in range(5) for p in range(people)]
    rows = [(f"v{v}", t / 3, p, (0.1 + 0.2 * p + 0.05 * t) % 1, label) for v, t, p in places]
    return pd.DataFrame(rows, columns=plot_training.SCORE_COLUMNS)


EMPTY = [(plot_training.history, history_of(0)), (plot_training.scores_over_time, scores_of(0))]


@pytest.mark.parametrize(("draw", "empty"), EMPTY)
def test_a_table_without_rows_gives_a_message_and_without_columns_an_error(draw, empty: pd.DataFrame) -> None:
    assert "nothing to show" in draw(empty).axes[0].texts[0].get_text()
    for column in empty.columns:
        with pytest.raises(ValueError, match=f"missing {column}"):
            draw(empty.drop(columns=column))


@pytest.mark.parametrize("epochs", [1, 3, 11, 40])
def test_history_draws_every_curve_and_the_chance_level(epochs: int) -> None:
    table = history_of(epochs)
    figure = plot_training.history(table)
    losses, areas = figure.axes
    curves = [list(line.get_ydata()) for line in losses.lines]
    for column in ("train loss", "log loss", "frame log loss"):
        assert table[column].tolist() in curves
    assert pytest.approx([0.6931, 0.6931], abs=1e-4) in curves
    assert [list(line.get_ydata()) for line in areas.lines] == [table["AUC"].tolist(), table["frame AUC"].tolist()]
    assert [(axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes] == [("epoch", "log loss"), ("epoch", "AUC")]
    assert (losses.get_ylim()[0], areas.get_ylim()) == (0, (0, 1.05))
    assert style.png(figure).startswith(b"\x89PNG")
    for axis in figure.axes:
        ticks = [tick for tick in axis.get_xticks() if 1 <= tick <= epochs]  # epochs are counted from 1
        assert 1 <= len(ticks) <= 14
        assert all(float(tick).is_integer() for tick in ticks)


def test_scores_over_time_has_axis_labels_a_fixed_range_and_the_first_videos() -> None:
    figure = plot_training.scores_over_time(scores_of(4).replace("v0", "a$b$\\c"))
    assert figure.get_supxlabel() and figure.get_supylabel()
    assert {panel.get_ylim() for panel in figure.axes} == {(-0.03, 1.03)}
    assert [panel.axison for panel in figure.axes] == [True] * 4 + [False] * 2
    assert r"a\$b\$\c" in figure.axes[0].get_title()  # not a formula
    assert style.png(figure).startswith(b"\x89PNG")
    many = plot_training.scores_over_time(scores_of(plot_training.MOST_PANELS + 3))
    assert "first 12 of 15" in many.get_suptitle()
    assert [panel.get_title().split()[0] for panel in many.axes] == [f"v{number}" for number in range(12)]


@pytest.mark.parametrize(("label", "name"), [(0, "real"), (1, "fake"), (None, "unknown")])
def test_scores_over_time_draws_one_line_per_person(label: object, name: str) -> None:
    table = scores_of(1, 2, label)
    (panel,) = plot_training.scores_over_time(table).axes
    assert name in panel.get_title()
    first, second, half = panel.lines
    assert list(first.get_ydata()) == table.loc[table["track"] == 0, "score"].tolist()
    assert list(second.get_xdata()) == table.loc[table["track"] == 1, "time_seconds"].tolist()
    assert first.get_linestyle() != second.get_linestyle()
    assert list(half.get_ydata()) == [0.5, 0.5]
