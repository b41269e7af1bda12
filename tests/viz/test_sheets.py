import warnings

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from skimage.data import astronaut

from dfdc_lib.viz import draw, sheets, style


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return astronaut()


def title(figure: Figure) -> str:
    return figure.get_suptitle()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sheets.contact_sheet([], []), "no images"),
        (lambda: sheets.image_rows({}, []), "no images"),
        (lambda: sheets.mask_rows({}), "no masks"),
        (lambda: sheets.pair_rows([], "look-alikes"), "no images"),
    ],
)
def test_empty_input_is_said_in_words(make, text: str) -> None:
    assert make().axes[0].texts[0].get_text() == f"nothing to show: {text}"


def test_wrong_images_are_refused(portrait: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one title per image, got 1 titles for 2 images"):
        sheets.contact_sheet([portrait, portrait], ["a"])
    with pytest.raises(ValueError, match="needs 2 images in every row, got 1 in row 'margin 0'"):
        sheets.image_rows({"margin 0": [portrait]}, ["a", "b"])
    with pytest.raises(
        ValueError, match=r"must be \(H, W, 3\) or \(H, W\) uint8, got shape \(512, 512, 3\), dtype float64"
    ):
        sheets.contact_sheet([portrait / 255], ["a"])


def test_contact_sheet_fits_images_of_any_size_without_ticks(portrait: np.ndarray) -> None:
    images = [portrait[:100], portrait[:, :100], portrait[..., 0]]
    figure = sheets.contact_sheet(images, ["wide", "tall\nframe 3", "a" * 60], columns=2, heading="frames")
    assert title(figure) == "frames (n = 3)"
    assert len(figure.axes) == 4
    assert [axis.axison for axis in figure.axes] == [False] * 4
    assert [axis.get_title() for axis in figure.axes] == ["wide", "tall\nframe 3", "a" * 26 + "…" + "a" * 25, ""]
    shapes = [axis.images[0].get_array().shape[:2] for axis in figure.axes[:3]]
    assert shapes == [(100, 512), (512, 100), (512, 512)]
    assert all(axis.get_aspect() == 1 for axis in figure.axes[:3])  # not stretched
    assert figure.axes[2].images[0].get_clim() == (0, 255)


def test_contact_sheet_says_what_it_leaves_out(portrait: np.ndarray) -> None:
    figure = sheets.contact_sheet([portrait[:9, :9]] * 50, ["x"] * 50)
    assert title(figure) == "first 48 of 50"
    assert len(figure.axes) == 48


def test_dollar_signs_are_text(portrait: np.ndarray) -> None:
    figure = sheets.contact_sheet([portrait], ["a$b_1$c"])
    figure.canvas.draw()
    assert figure.axes[0].title._parse_math is True  # matplotlib's default: the escape does the work
    assert figure.axes[0].get_title() == r"a\$b_1\$c"


def test_image_rows_labels_rows_and_columns(portrait: np.ndarray) -> None:
    figure = sheets.image_rows(
        {"margin 0": [portrait[:50], portrait], "margin 0.2": [portrait, portrait]}, ["video a", "video b"]
    )
    axes = figure.axes
    assert [axis.get_ylabel() for axis in axes] == ["margin 0", "", "margin 0.2", ""]
    assert [axis.get_title() for axis in axes] == ["video a", "video b", "", ""]
    assert all(list(axis.get_xticks()) == list(axis.get_yticks()) == [] for axis in axes)
    assert title(figure) == "n = 2 examples"
    many = sheets.image_rows({str(row): [portrait[:9]] for row in range(15)}, ["a"])
    assert (len(many.axes), title(many)) == (12, "n = 1 examples, first 12 of 15 rows")


def test_mask_rows_have_fixed_ranges(portrait: np.ndarray) -> None:
    fake = portrait[:40, :30]
    mask = np.full((40, 30), 51, np.uint8)
    ssim_map = np.full((40, 30), 0.8, np.float32)
    figure = sheets.mask_rows({"a\nframe 10": (fake, fake, ssim_map, mask), "b\nframe 0": (fake, fake, ssim_map, mask)})
    axes = figure.axes
    assert len(axes) == 15  # two rows and one for the colour bars
    assert [axis.get_title() for axis in axes[:5]] == ["original", "fake", "SSIM map", "mask", "overlay"]
    assert [axes[0].get_ylabel(), axes[5].get_ylabel()] == ["a\nframe 10", "b\nframe 0"]
    assert [axes[i].images[0].get_clim() for i in (2, 3, 7, 8)] == [(-1, 1), (0, 255)] * 2
    assert np.array_equal(axes[4].images[0].get_array(), draw.overlay_mask(fake, mask))
    assert [axes[12].get_xlabel(), axes[13].get_xlabel()] == ["SSIM", "0 = unchanged"]
    assert (axes[12].get_xlim(), axes[13].get_xlim()) == ((-1, 1), (0, 255))
    assert title(figure) == "n = 2 pairs"


def test_pair_rows_joins_two_images_of_any_size(portrait: np.ndarray) -> None:
    figure = sheets.pair_rows(
        [("a and b, distance 3", portrait, portrait[:256]), ("c and d", portrait, portrait)], "look-alikes"
    )
    assert title(figure) == "look-alikes (n = 2 pairs)"
    assert [axis.get_title() for axis in figure.axes] == ["a and b, distance 3", "c and d"]
    height, width = figure.axes[0].images[0].get_array().shape[:2]
    assert width / height == pytest.approx((300 + 12 + 600) / 300, rel=0.01)


def test_text_is_large_enough_and_nothing_warns(portrait: np.ndarray) -> None:
    name = "manipulated_sequences_Deepfakes_c23_183_253"
    panels = (portrait, portrait, np.ones((512, 512), np.float32), np.zeros((512, 512), np.uint8))
    drawn = [
        sheets.contact_sheet([portrait] * 7, [name] * 7),
        sheets.image_rows({name: [portrait] * 4}, [name] * 4),
        sheets.mask_rows({name: panels}),
        sheets.pair_rows([(name, portrait, portrait)], name),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in drawn:
            image = cv2.imdecode(np.frombuffer(style.jpeg(figure), np.uint8), cv2.IMREAD_COLOR)
            assert image.shape[1] == 1080
            texts = [text for axis in figure.axes for text in [axis.title, axis.yaxis.label, *axis.texts]]
            assert min(text.get_fontsize() for text in texts) >= 9
