import warnings

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import FigureImage
from skimage.data import astronaut

from dfdc_lib.viz import draw, sheets, style

PORTRAIT = astronaut()


def texts_of(figure: Figure) -> list[str]:
    """The title, then the other texts in order."""
    return sorted((text.get_text() for text in figure.texts), key=lambda text: text != figure.get_suptitle())


def shapes_of(figure: Figure) -> list[tuple[int, int]]:
    return [image.get_array().shape[:2] for image in figure.images]


def box_of(image: FigureImage) -> tuple[float, float, float, float]:
    height, width = image.get_array().shape[:2]
    return image.ox, image.oy, image.ox + width, image.oy + height


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
    *short, long = texts_of(figure)[1:]
    assert short == ["wide", "tall\nframe 3"]
    assert long.startswith(r"a\$b") and len(long) < 60  # no formula
    assert shapes_of(figure) == [(104, 530), (954, 186), (530, 530)]  # not distorted, at most 1.8 times as high as wide
    gray = figure.images[2].get_array()
    assert np.array_equal(gray[..., 0], gray[..., 1])
    assert np.abs(gray[..., 0] - cv2.resize(PORTRAIT[..., 0], (530, 530)).astype(float)).mean() < 2  # 0-255


def test_images_and_texts_do_not_overlap() -> None:
    """In the pixels of the page: each image lies below its title and right of its label."""
    images = [PORTRAIT, PORTRAIT[:, :300], PORTRAIT[:200]] * 2
    row = (PORTRAIT, PORTRAIT, np.zeros((512, 512), np.float32), PORTRAIT[..., 0])
    for figure in (
        sheets.contact_sheet(images, ["a\nb\nc"] * 6, columns=4, heading="crops"),
        sheets.image_rows({"margin 0": images, "margin 0.2": images}, ["a"] * 6),
        sheets.mask_rows({"a\nframe 10": row, "b": row}),
    ):
        page = cv2.imdecode(np.frombuffer(style.png(figure), np.uint8), cv2.IMREAD_COLOR_RGB)
        places = [box_of(image) for image in figure.images]
        places += [text.get_window_extent().extents for text in figure.texts]
        for x0, y0, x1, y1 in places:
            assert x0 >= 0 and y0 >= 0 and x1 <= page.shape[1] and y1 <= page.shape[0] + 1
        for index, (x0, y0, x1, y1) in enumerate(places):
            for other in places[:index]:
                assert min(x1, other[2]) - max(x0, other[0]) <= 1 or min(y1, other[3]) - max(y0, other[1]) <= 1


def test_image_rows_have_row_and_column_labels() -> None:
    rows = {"margin 0": [PORTRAIT[:50], PORTRAIT], "margin 0.2": [PORTRAIT, PORTRAIT]}
    figure = sheets.image_rows(rows, ["video a", "video b"])
    assert texts_of(figure)[1:] == ["margin 0", "video a", "video b", "margin 0.2"]
    assert len(figure.images) == 4
    assert "n = 2" in figure.get_suptitle()


def test_mask_rows_have_fixed_ranges() -> None:
    fake = PORTRAIT[:40, :30]
    row = (fake, fake, np.full((40, 30), 0.8, np.float32), np.full((40, 30), 51, np.uint8))
    figure = sheets.mask_rows({"a\nframe 10": row, "b\nframe 0": row})
    assert texts_of(figure)[1:7] == ["a\nframe 10", "original", "fake", "SSIM map", "mask", "overlay"]
    assert texts_of(figure)[7] == "b\nframe 0"
    assert texts_of(figure)[8:] == ["-1", "0", "1", "SSIM", "0", "128", "255", "0 = unchanged"]
    images = [image.get_array() for image in figure.images]
    assert len(images) == 12  # two rows of five, and the colour bars
    similar, mask, overlay, ssim_bar, mask_bar = images[2], images[3], images[4], *images[10:]
    assert np.ptp(similar.reshape(-1, 3), axis=0).tolist() == [0, 0, 0]
    place = round(0.9 * (ssim_bar.shape[1] - 1))  # of 0.8 in -1..1
    assert similar[0, 0].tolist() == pytest.approx(ssim_bar[0, place].tolist(), abs=5)
    assert (mask == 51).all()
    assert [mask_bar[0, place].tolist() for place in (0, -1)] == [[0] * 3, [255] * 3]
    expected = draw.overlay_mask(fake, row[3])
    assert np.abs(cv2.resize(overlay, (30, 40), interpolation=cv2.INTER_AREA) - expected.astype(float)).mean() < 4
    assert "n = 2" in figure.get_suptitle()


def test_pair_rows_join_two_images_of_any_size() -> None:
    figure = sheets.pair_rows([("a and b", PORTRAIT, PORTRAIT[:256]), ("c and d", PORTRAIT, PORTRAIT)], "similar")
    assert figure.get_suptitle() == "similar (n = 2 pairs)"
    assert texts_of(figure)[1:] == ["a and b", "c and d"]
    height, width = shapes_of(figure)[0]
    assert width / height == pytest.approx((300 + 4 + 600) / 300, rel=0.01)


def test_the_title_states_how_many_are_left_out() -> None:
    image = PORTRAIT[:9, :9]
    figures = [sheets.contact_sheet([image] * 50, ["x"] * 50), sheets.pair_rows([("x", image, image)] * 50, "similar")]
    figures.append(sheets.image_rows({str(row): [image] for row in range(15)}, ["a"]))
    panels = (image, image, np.ones((9, 9), np.float32), image[..., 0])
    figures.append(sheets.mask_rows({str(row): panels for row in range(13)}, "masks"))
    assert [len(figure.images) for figure in figures] == [48, 48, 12, 62]
    for figure, count in zip(figures, ("48 of 50", "48 of 50 pairs", "12 of 15 rows", "12 of 13"), strict=True):
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
            assert min(text.get_fontsize() for text in figure.texts) >= 9
