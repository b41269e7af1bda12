import numpy as np
import pytest
from matplotlib.figure import Figure

from dfdc_lib.records import FAKE, FaceExample
from dfdc_lib.viz import plot_augmentation


def picture(height: int, width: int, value: int = 100) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def shown(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axis.images[0].get_array()) for axis in figure.axes]


MASK = np.full((20, 30), 255, np.uint8)
FACE = FaceExample(picture(20, 30), MASK, np.zeros((5, 2)), FAKE)


def test_empty_figures_name_the_reason() -> None:
    figures = [plot_augmentation.extreme_rows({}, (0.5, 0.5)), plot_augmentation.cutout_rows(FACE, {})]
    figures.append(plot_augmentation.cutout_chances({}, {"eyes": 1}))
    for figure, reason in zip(figures, ("no transforms", "no cut-outs", "no draws"), strict=True):
        assert reason in figure.axes[0].texts[0].get_text()


def test_extreme_rows_show_the_image_and_a_detail() -> None:
    images = picture(100, 80), picture(100, 80, 50), picture(200, 200)
    images[0][20:24, 36:44] = 255
    figure = plot_augmentation.extreme_rows({"ImageCompression": images, "ToGray": images}, (0.5, 0.22))
    assert [axis.get_ylabel() for axis in figure.axes[::6]] == ["Image\nCompression", "ToGray"]
    sizes = [(100, 80), (100, 80), (200, 200), (16, 16), (16, 16), (32, 32)]
    assert [image.shape[:2] for image in shown(figure)] == 2 * sizes
    assert np.array_equal(np.unique(np.nonzero(shown(figure)[3][..., 0] == 255)[0]), [6, 7, 8, 9])
    for centre in [(0.0, 0.0), (1.0, 1.0), (-2.0, 3.0)]:  # a detail at the edge is inside the image
        assert shown(plot_augmentation.extreme_rows({"a": (picture(50, 40),) * 3}, centre))[3].shape == (8, 8, 3)


def test_cutout_rows_show_crop_and_mask_before_and_after() -> None:
    figure = plot_augmentation.cutout_rows(FACE, {"eyes": FACE._replace(crop=picture(20, 30, 0), mask=0 * MASK)})
    assert [int(image.max()) for image in shown(figure)] == [100, 255, 0, 0, 0]
    assert figure.axes[1].images[0].get_clim() == (0, 255)


def test_cutout_chances_show_expected_and_drawn_shares() -> None:
    figure = plot_augmentation.cutout_chances({"eyes": 75, "none": 25}, {"eyes": 0.7, "mouth": 0.1, "none": 0.2})
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    assert bars == pytest.approx([0.7, 0.1, 0.2, 0.75, 0, 0.25])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["70.00%", "10.00%", "20.00%", "75.00%", "0.00%", "25.00%"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["eyes", "mouth", "none"]
