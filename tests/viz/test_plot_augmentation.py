import numpy as np
import pytest
from matplotlib.figure import Figure

from dfdc_lib.augmentation import cutouts
from dfdc_lib.viz import plot_augmentation


def picture(height: int, width: int, value: int = 100) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def shown(figure: Figure, axis: int) -> np.ndarray:
    return np.asarray(figure.axes[axis].images[0].get_array())


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (plot_augmentation.extreme_rows({}, (0.5, 0.5)), "no transforms"),
        (plot_augmentation.cutout_rows({}), "no cut-outs"),
        (plot_augmentation.cutout_chances({}, cutouts.SHARES), "no draws"),
    ],
)
def test_nothing_is_said_in_words(figure: Figure, words: str) -> None:
    assert words in figure.axes[0].texts[0].get_text()


def test_extreme_rows_show_the_whole_and_the_detail() -> None:
    images = picture(100, 80), picture(100, 80, 50), picture(200, 200)
    images[0][20:24, 36:44] = 255
    figure = plot_augmentation.extreme_rows({"ImageCompression": images, "ToGray": images}, (0.5, 0.22))
    assert figure.get_suptitle() == "each transform alone (n = 2)"
    assert [axis.get_ylabel() for axis in figure.axes[::6]] == ["Image\nCompression", "ToGray"]
    assert [shown(figure, axis).shape[:2] for axis in range(6)] == [
        (100, 80),
        (100, 80),
        (200, 200),
        (16, 16),
        (16, 16),
        (32, 32),
    ]
    assert np.array_equal(np.unique(np.nonzero(shown(figure, 3)[..., 0] == 255)[0]), [6, 7, 8, 9])


@pytest.mark.parametrize("centre", [(0.0, 0.0), (1.0, 1.0), (-2.0, 3.0)])
def test_a_detail_at_the_edge_stays_inside(centre: tuple[float, float]) -> None:
    figure = plot_augmentation.extreme_rows({"ToGray": (picture(50, 40),) * 3}, centre)
    assert shown(figure, 3).shape == (8, 8, 3)


def test_cutout_rows() -> None:
    mask = np.full((20, 30), 255, np.uint8)
    figure = plot_augmentation.cutout_rows({"eyes": (picture(20, 30), mask, picture(20, 30, 0), 0 * mask)})
    assert [axis.get_ylabel() for axis in figure.axes] == [
        "crop before",
        "mask before",
        "crop after",
        "mask after",
        "mask after, over it",
    ]
    assert [int(shown(figure, row).max()) for row in range(5)] == [100, 255, 0, 0, 0]
    assert figure.axes[1].images[0].get_clim() == (0, 255)


def test_cutout_chances_draws_what_is_due_beside_what_was_drawn() -> None:
    figure = plot_augmentation.cutout_chances({"eyes": 75, "none": 25}, {"eyes": 0.7, "mouth": 0.1, "none": 0.2})
    assert figure.get_suptitle() == "chance of each cut-out (n = 100 draws)"
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    assert bars == pytest.approx([0.7, 0.1, 0.2, 0.75, 0, 0.25])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["eyes", "mouth", "none"]
