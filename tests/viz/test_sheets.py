import warnings

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from dfdc_lib.viz import draw, sheets, style

PORTRAIT = astronaut()


def test_empty_input_becomes_a_sentence_and_wrong_images_raise() -> None:
    figures = [sheets.contact_sheet([], []), sheets.image_rows({}, []), sheets.mask_rows({}), sheets.pair_rows([], "")]
    assert all("nothing to show" in figure.axes[0].texts[0].get_text() for figure in figures)
    with pytest.raises(ValueError, match="one title per image"):
        sheets.contact_sheet([PORTRAIT, PORTRAIT], ["a"])
    with pytest.raises(ValueError, match="margin 0"):
        sheets.image_rows({"margin 0": [PORTRAIT]}, ["a", "b"])
    with pytest.raises(ValueError, match="float64"):
        sheets.contact_sheet([PORTRAIT / 255], ["a"])


def test_a_contact_sheet_fits_images_of_any_size() -> None:
    images = [PORTRAIT[:100], PORTRAIT[:, :100], PORTRAIT[..., 0]]
    figure = sheets.contact_sheet(images, ["wide", "tall\nframe 3", "a$b" + "a" * 60], columns=2, heading="frames")
    assert figure.get_suptitle() == "frames (n = 3)"
    assert [axis.axison for axis in figure.axes] == [False] * 4  # no ticks
    *short, long, empty = [axis.get_title() for axis in figure.axes]
    assert (short, empty) == (["wide", "tall\nframe 3"], "")
    assert long.startswith(r"a\$b") and len(long) < 60  # no formula
    shapes = [axis.images[0].get_array().shape[:2] for axis in figure.axes[:3]]
    assert shapes == [(100, 512), (512, 100), (512, 512)]
    assert all(axis.get_aspect() == 1 for axis in figure.axes[:3])  # not distorted
    assert figure.axes[2].images[0].get_clim() == (0, 255)


def test_image_rows_have_row_and_column_labels() -> None:
    rows = {"margin 0": [PORTRAIT[:50], PORTRAIT], "margin 0.2": [PORTRAIT, PORTRAIT]}
    figure = sheets.image_rows(rows, ["video a", "video b"])
    assert [axis.get_ylabel() for axis in figure.axes] == ["margin 0", "", "margin 0.2", ""]
    assert [axis.get_title() for axis in figure.axes] == ["video a", "video b", "", ""]
    assert all(list(axis.get_xticks()) == list(axis.get_yticks()) == [] for axis in figure.axes)
    assert "n = 2" in figure.get_suptitle()


def test_mask_rows_have_fixed_ranges() -> None:
    fake = PORTRAIT[:40, :30]
    row = (fake, fake, np.full((40, 30), 0.8, np.float32), np.full((40, 30), 51, np.uint8))
    figure = sheets.mask_rows({"a\nframe 10": row, "b\nframe 0": row})
    axes = figure.axes
    assert len(axes) == 15  # two rows, and one for the colour bars
    assert [axis.get_title() for axis in axes[:5]] == ["original", "fake", "SSIM map", "mask", "overlay"]
    assert [axes[i].get_ylabel() for i in (0, 5)] == ["a\nframe 10", "b\nframe 0"]
    assert [axes[i].images[0].get_clim() for i in (2, 3, 7, 8)] == [(-1, 1), (0, 255)] * 2
    assert np.array_equal(axes[4].images[0].get_array(), draw.overlay_mask(fake, row[3]))
    assert [axes[i].get_xlim() for i in (12, 13)] == [(-1, 1), (0, 255)]
    assert all(axes[i].get_xlabel() for i in (12, 13))
    assert "n = 2" in figure.get_suptitle()


def test_pair_rows_join_two_images_of_any_size() -> None:
    figure = sheets.pair_rows([("a and b", PORTRAIT, PORTRAIT[:256]), ("c and d", PORTRAIT, PORTRAIT)], "similar")
    assert figure.get_suptitle() == "similar (n = 2 pairs)"
    assert [axis.get_title() for axis in figure.axes] == ["a and b", "c and d"]
    height, width = figure.axes[0].images[0].get_array().shape[:2]
    assert width / height == pytest.approx((300 + 12 + 600) / 300, rel=0.01)


def test_the_title_states_how_many_are_left_out() -> None:
    image = PORTRAIT[:9, :9]
    figures = [sheets.contact_sheet([image] * 50, ["x"] * 50), sheets.pair_rows([("x", image, image)] * 50, "similar")]
    figures.append(sheets.image_rows({str(row): [image] for row in range(15)}, ["a"]))
    assert [len(figure.axes) for figure in figures] == [48, 48, 12]
    for figure, count in zip(figures, ("48 of 50", "48 of 50 pairs", "12 of 15 rows"), strict=True):
        assert f"first {count}" in figure.get_suptitle()


def test_text_is_large_enough_and_nothing_warns() -> None:
    name = "manipulated_sequences_Deepfakes_c23_183_253"
    panels = (PORTRAIT, PORTRAIT, np.ones((512, 512), np.float32), np.zeros((512, 512), np.uint8))
    figures = [sheets.contact_sheet([PORTRAIT] * 7, [name] * 7), sheets.image_rows({name: [PORTRAIT] * 4}, [name] * 4)]
    figures += [sheets.mask_rows({name: panels}), sheets.pair_rows([(name, PORTRAIT, PORTRAIT)], name)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures:
            assert cv2.imdecode(np.frombuffer(style.jpeg(figure), np.uint8), cv2.IMREAD_COLOR).shape[1] == 1080
            texts = [text for axis in figure.axes for text in [axis.title, axis.yaxis.label, *axis.texts]]
            assert min(text.get_fontsize() for text in texts) >= 9
