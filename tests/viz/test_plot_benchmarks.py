import pandas as pd
import pytest

from dfdc_lib.viz import plot_benchmarks

pytestmark = pytest.mark.filterwarnings("error")
COLUMNS = ["subject", "way", "start_seconds", "wall_seconds", "cpu_seconds", "peak_megabytes"]
ROWS = [("a", "usual way", 2.0, 9.0, 12.0, 800.0), ("a", "usual way", 2.0, 11.0, 12.0, 800.0)]
ROWS += [("a", "kit", 1.0, 3.0, 4.0, 300.0), ("a", "kit", 1.0, 4.0, 5.0, 300.0)]
ROWS += [("a", "decoding alone", 0.5, 1.5, 1.0, 50.0), ("a", "decoding alone", 0.5, 1.5, 1.0, 50.0)]


def test_speed_draws_medians_and_floors() -> None:
    figure = plot_benchmarks.speed(pd.DataFrame(ROWS, columns=COLUMNS))
    wall, _, memory = figure.axes
    ends = [bar.get_x() + bar.get_width() for bar in wall.patches]
    assert ends == [2, 10, 1, 3.5]  # imports and all, of both ways
    assert [1.5, 1.5] in [list(line.get_xdata()) for line in wall.lines]
    assert [bar.get_width() for bar in memory.patches] == [0, 800, 0, 300]


def test_speed_without_rows_and_without_columns() -> None:
    empty = pd.DataFrame(columns=COLUMNS)
    assert "nothing to show" in plot_benchmarks.speed(empty).axes[0].texts[0].get_text()
    with pytest.raises(ValueError, match="missing way"):
        plot_benchmarks.speed(empty.drop(columns="way"))
