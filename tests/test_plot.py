import subprocess
import sys
import warnings

import cv2
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from nbclient import NotebookClient
from skimage.data import astronaut

from dfdc_lib import plot
from dfdc_lib.records import DetectorSettings, Face, FrameFaces, Video, VideoFaces

BLUE, VERMILLION, GRAY = "#0072b2", "#d55e00", "#999999"
FACE = Face(
    box=(175, 60, 275, 200), landmarks=((205, 110), (245, 108), (225, 135), (208, 155), (245, 153)), confidence=0.98
)  # the astronaut's


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return astronaut()


def video(name: str, **fields) -> Video:
    return Video(video_id=name, path=f"{name}.mp4", **fields)


def video_faces(name: str, counts: list[int], side: float = 100) -> VideoFaces:
    face = FACE.model_copy(update={"box": (0, 0, side, side / 2)})
    frames = tuple(FrameFaces(frame_index=10 * i, time_seconds=0.4 * i, faces=(face,) * n) for i, n in enumerate(counts))
    return VideoFaces(
        video_id=name,
        height=512,
        width=512,
        fps=25,
        frame_count=10 * len(counts),
        missing_frame_count=0,
        detector_scale=1,
        settings=DetectorSettings(),
        frames=frames,
        fingerprint="f",
    )


def words(figure: Figure) -> str:
    return figure.axes[0].texts[0].get_text()


def title(figure: Figure) -> str:
    return figure.get_suptitle()


def table(columns: str, *rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


EMPTY = {
    "contact_sheet": (lambda: plot.contact_sheet([], []), "no images"),
    "video_counts": (lambda: plot.video_counts([]), "no videos"),
    "video_sizes": (lambda: plot.video_sizes(table("label height width duration_seconds fps")), "no videos"),
    "faces_per_frame": (lambda: plot.faces_per_frame({}), "no examined frames"),
    "faces_per_frame, no frames": (lambda: plot.faces_per_frame({"a": video_faces("a", [])}), "no examined frames"),
    "box_sizes": (lambda: plot.box_sizes({"a": video_faces("a", [0, 0])}), "no faces"),
    "image_rows": (lambda: plot.image_rows({}, []), "no images"),
    "mask_rows": (lambda: plot.mask_rows({}), "no masks"),
    "mask_strength": (lambda: plot.mask_strength(table("video_id method ssim changed_share")), "no masks"),
    "mask_iou": (lambda: plot.mask_iou(table("video_id iou")), "no masks"),
    "fold_counts": (lambda: plot.fold_counts(table("fold label method")), "no videos"),
    "pair_rows": (lambda: plot.pair_rows([], "look-alikes"), "no images"),
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_input_is_said_in_words(name: str) -> None:
    draw, text = EMPTY[name]
    assert words(draw()) == f"nothing to show: {text}"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (plot.video_sizes, r"video_sizes needs the columns .*; missing height, width, duration_seconds, fps in label"),
        (plot.mask_strength, "missing video_id, method, ssim, changed_share in label"),
        (plot.mask_iou, "missing video_id, iou in label"),
        (plot.fold_counts, "missing fold, method in label"),
    ],
)
def test_missing_columns_are_named(draw, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(pd.DataFrame({"label": [1]}))


def test_wrong_images_are_refused(portrait: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one title per image, got 1 titles for 2 images"):
        plot.contact_sheet([portrait, portrait], ["a"])
    with pytest.raises(ValueError, match="needs 2 images in every row, got 1 in row 'margin 0'"):
        plot.image_rows({"margin 0": [portrait]}, ["a", "b"])
    with pytest.raises(ValueError, match=r"must be \(H, W, 3\) or \(H, W\) uint8, got shape \(512, 512, 3\), dtype float64"):
        plot.contact_sheet([portrait / 255], ["a"])
    with pytest.raises(ValueError, match=r"size of its crop \(512, 512\), got \(9, 9\)"):
        plot.overlay_mask(portrait, np.zeros((9, 9), np.uint8))


@pytest.mark.parametrize(
    ("label", "name"),
    [(0, "real"), (1, "fake"), (np.int64(1), "fake"), (1.0, "fake"), (None, "unknown"), (float("nan"), "unknown"), (pd.NA, "unknown")],
)
def test_label_name(label: object, name: str) -> None:
    assert plot.label_name(label) == name


@pytest.mark.parametrize(
    ("text", "length", "short"), [("", 5, ""), ("abcde", 5, "abcde"), ("abcdefgh", 5, "ab…gh"), ("abcdefgh", 6, "abc…gh")]
)
def test_shorten(text: str, length: int, short: str) -> None:
    assert plot.shorten(text, length) == short


def test_fit_keeps_proportions_and_never_enlarges(portrait: np.ndarray) -> None:
    assert plot.fit(portrait[:256], 100, 100).shape == (50, 100, 3)
    assert plot.fit(portrait, 2000, 2000) is portrait


def test_overlay_is_gray_where_unchanged_and_vermillion_where_changed(portrait: np.ndarray) -> None:
    mask = np.zeros((512, 512), np.uint8)
    mask[:, 256:] = 255
    overlay = plot.overlay_mask(portrait, mask).astype(int)
    gray = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY).astype(float)
    assert np.array_equal(overlay[:, :256], np.repeat(gray[:, :256, None], 3, axis=2))
    expected = 0.4 * gray[:, 256:, None] + 0.6 * np.array(plot.CHANGED_COLOUR)
    assert np.abs(overlay[:, 256:] - expected).max() <= 0.51


# draw_faces --------------------------------------------------------------------------------------------------------------------------
def test_draw_faces_without_a_face_is_an_equal_copy(portrait: np.ndarray) -> None:
    drawn = plot.draw_faces(portrait, [])
    assert np.array_equal(drawn, portrait)
    assert not np.shares_memory(drawn, portrait)


def test_draw_faces_draws_box_landmarks_and_confidence(portrait: np.ndarray) -> None:
    before = portrait.copy()
    drawn = plot.draw_faces(portrait, [FACE])
    assert np.array_equal(portrait, before)
    for x, y in [(175, 130), (274, 130), (225, 60), (225, 199), *FACE.landmarks]:  # the middle of every side; x1, y1 are exclusive
        assert tuple(drawn[round(y), round(x)]) == plot.FACE_COLOUR
    assert np.array_equal(drawn[100:105, 215:235], portrait[100:105, 215:235])  # between the eyes
    above = drawn[38:56, 175:210].reshape(-1, 3)
    assert (above == 0).all(axis=1).mean() > 0.3  # black ground
    assert (above == plot.FACE_COLOUR).all(axis=1).any()  # yellow letters


@pytest.mark.parametrize("box", [(10, 0, 60, 70), (460, 2, 512, 60), (-5, -5, 30, 30)])
def test_confidence_never_covers_a_face_at_the_border(box: tuple) -> None:
    x0, y0, x1, y1 = box
    face = FACE.model_copy(update={"box": box, "landmarks": (((x0 + x1) / 2, (y0 + y1) / 2),) * 5})
    drawn = plot.draw_faces(np.full((512, 512, 3), 128, np.uint8), [face])
    inside = drawn[max(y0, 0) + 4 : y1 - 4, max(x0, 0) + 4 : x1 - 4]
    assert (inside == 128).all(axis=2).mean() > 0.8
    assert (drawn[y1:] == 0).all(axis=2).sum() > 100  # the text's ground lies below the box


def test_a_box_on_1080p_is_visible_at_300_pixels(portrait: np.ndarray) -> None:
    face = FACE.model_copy(update={"box": (656, 126, 1031, 420), "landmarks": ((760, 231),) * 5})
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    small = cv2.resize(plot.draw_faces(frame, [face]), (300, 169), interpolation=cv2.INTER_AREA).astype(int)
    row = small[43]  # y = 275 of 1080: through both upright sides
    for x in (656, 1030):
        near = row[round(x * 300 / 1920) - 2 : round(x * 300 / 1920) + 3]
        assert np.abs(near - plot.FACE_COLOUR).max(axis=1).min() < 60


# Figures of images -------------------------------------------------------------------------------------------------------------------
def test_contact_sheet_fits_images_of_any_size_without_ticks(portrait: np.ndarray) -> None:
    images = [portrait[:100], portrait[:, :100], portrait[..., 0]]
    figure = plot.contact_sheet(images, ["wide", "tall\nframe 3", "a" * 60], columns=2, heading="frames")
    assert title(figure) == "frames (n = 3)"
    assert len(figure.axes) == 4
    assert [axis.axison for axis in figure.axes] == [False] * 4
    assert [axis.get_title() for axis in figure.axes] == ["wide", "tall\nframe 3", "a" * 26 + "…" + "a" * 25, ""]
    shapes = [axis.images[0].get_array().shape[:2] for axis in figure.axes[:3]]
    assert shapes == [(100, 512), (512, 100), (512, 512)]
    assert all(axis.get_aspect() == 1 for axis in figure.axes[:3])  # not stretched
    assert figure.axes[2].images[0].get_clim() == (0, 255)


def test_contact_sheet_says_what_it_leaves_out(portrait: np.ndarray) -> None:
    figure = plot.contact_sheet([portrait[:9, :9]] * 50, ["x"] * 50)
    assert title(figure) == "first 48 of 50"
    assert len(figure.axes) == 48


def test_dollar_signs_are_text(portrait: np.ndarray) -> None:
    figure = plot.contact_sheet([portrait], ["a$b_1$c"])
    figure.canvas.draw()
    assert figure.axes[0].title._parse_math is True  # matplotlib's default: the escape does the work
    assert figure.axes[0].get_title() == r"a\$b_1\$c"


def test_image_rows_labels_rows_and_columns(portrait: np.ndarray) -> None:
    figure = plot.image_rows({"margin 0": [portrait[:50], portrait], "margin 0.2": [portrait, portrait]}, ["video a", "video b"])
    axes = figure.axes
    assert [axis.get_ylabel() for axis in axes] == ["margin 0", "", "margin 0.2", ""]
    assert [axis.get_title() for axis in axes] == ["video a", "video b", "", ""]
    assert all(list(axis.get_xticks()) == list(axis.get_yticks()) == [] for axis in axes)
    assert title(figure) == "n = 2 examples"
    many = plot.image_rows({str(row): [portrait[:9]] for row in range(15)}, ["a"])
    assert (len(many.axes), title(many)) == (12, "n = 1 examples, first 12 of 15 rows")


def test_mask_rows_have_fixed_ranges(portrait: np.ndarray) -> None:
    fake = portrait[:40, :30]
    mask = np.full((40, 30), 51, np.uint8)
    ssim_map = np.full((40, 30), 0.8, np.float32)
    figure = plot.mask_rows({"a\nframe 10": (fake, fake, ssim_map, mask), "b\nframe 0": (fake, fake, ssim_map, mask)})
    axes = figure.axes
    assert len(axes) == 15  # two rows and one for the colour bars
    assert [axis.get_title() for axis in axes[:5]] == ["original", "fake", "SSIM map", "mask", "overlay"]
    assert [axes[0].get_ylabel(), axes[5].get_ylabel()] == ["a\nframe 10", "b\nframe 0"]
    assert [axes[i].images[0].get_clim() for i in (2, 3, 7, 8)] == [(-1, 1), (0, 255)] * 2
    assert np.array_equal(axes[4].images[0].get_array(), plot.overlay_mask(fake, mask))
    assert [axes[12].get_xlabel(), axes[13].get_xlabel()] == ["SSIM", "0 = unchanged"]
    assert (axes[12].get_xlim(), axes[13].get_xlim()) == ((-1, 1), (0, 255))
    assert title(figure) == "n = 2 pairs"


def test_pair_rows_joins_two_images_of_any_size(portrait: np.ndarray) -> None:
    figure = plot.pair_rows([("a and b, distance 3", portrait, portrait[:256]), ("c and d", portrait, portrait)], "look-alikes")
    assert title(figure) == "look-alikes (n = 2 pairs)"
    assert [axis.get_title() for axis in figure.axes] == ["a and b, distance 3", "c and d"]
    height, width = figure.axes[0].images[0].get_array().shape[:2]
    assert width / height == pytest.approx((300 + 12 + 600) / 300, rel=0.01)


# Figures of tables -------------------------------------------------------------------------------------------------------------------
def bars(figure: Figure, axis: int = 0) -> list[tuple[str, float, float]]:
    return [(to_hex(bar.get_facecolor()), bar.get_width(), bar.get_height()) for bar in figure.axes[axis].patches]


def ticks(labels) -> list[str]:
    return [label.get_text() for label in labels]


def test_video_counts_by_part_in_the_order_of_numbers() -> None:
    videos = [video("a", label=0, part=10), video("b", label=1, part=2, method="x"), video("c", label=1, part=10), video("d", part=2)]
    figure = plot.video_counts(videos)
    assert ticks(figure.axes[0].get_yticklabels()) == ["part 2", "part 10"]
    assert [(colour, width) for colour, width, _ in bars(figure)] == [
        (BLUE, 0), (BLUE, 1), (VERMILLION, 1), (VERMILLION, 1), (GRAY, 1), (GRAY, 0)
    ]  # fmt: skip
    assert ticks(figure.axes[0].get_legend().get_texts()) == ["real", "fake", "unknown"]
    assert ticks(figure.axes[0].texts) == ["2", "2"]
    assert (title(figure), figure.axes[0].get_xlabel()) == ("videos (n = 4)", "videos")


def test_video_counts_by_method_and_compression() -> None:
    videos = [video("a", label=0, compression="c23"), video("b", label=1, method="Deepfakes", compression="c40"), video("c")]
    labels = ticks(plot.video_counts(videos).axes[0].get_yticklabels())
    assert labels == ["Deepfakes c40", "originals c23", "without label"]


def test_video_counts_limits_the_rows() -> None:
    figure = plot.video_counts([video(str(i), label=1, method=f"m{i:03d}") for i in range(100)])
    assert title(figure) == "videos (n = 100), first 60 of 100 groups"
    assert len(figure.axes[0].get_yticks()) == 60


def test_video_sizes_marks_the_resize_rule() -> None:
    infos = table(
        "label height width duration_seconds fps", (0, 1080, 1920, 10.0, 25.0), (1, 360, 640, 2.0, 29.97), (None, 360, 640, 2.0, 25.0)
    )
    figure = plot.video_sizes(infos)
    sizes, durations = figure.axes
    assert title(figure) == "frame sizes and durations (n = 3 videos)"
    assert (sizes.get_xlabel(), sizes.get_ylabel()) == ("width (pixels)", "height (pixels)")
    assert (durations.get_xlabel(), durations.get_ylabel()) == ("duration (seconds)", "videos")
    assert [line.get_xdata()[0] for line in sizes.lines] == [300, 1000, 1900]
    assert ticks(sizes.texts) == ["×2", "×1", "×0.5", "×0.33"]
    assert [(to_hex(dots.get_facecolor()[0]), dots.get_offsets().tolist()) for dots in sizes.collections] == [
        (BLUE, [[1920, 1080]]), (VERMILLION, [[640, 360]]), (GRAY, [[640, 360]])
    ]  # fmt: skip
    assert durations.get_title() == "duration; 25 to 29.97 frames per second"
    assert ticks(figure.legends[0].get_texts()) == ["real", "fake", "unknown"]


def test_faces_per_frame_counts_frames_and_shows_gaps_in_black() -> None:
    figure = plot.faces_per_frame({"a": video_faces("a", [1, 0, 1, 2]), "b": video_faces("b", [1, 5])})
    counts, strips = figure.axes
    assert title(figure) == "faces per frame (n = 6 frames)"
    assert [height for _, _, height in bars(figure)] == [1, 3, 1, 0, 0, 1]
    assert bars(figure)[0][0] == "#000000"
    grid = strips.images[0].get_array()
    assert grid.shape == (2, 300)
    assert [float(grid[0, i]) for i in (10, 85, 160, 290)] == [1, 0, 1, 2]  # 4 frames of 0.4 s over 1.6 s
    assert [float(grid[1, i]) for i in (10, 140)] == [1, 3]
    assert grid.mask[1, 160:].all()  # b is over after 0.8 s
    assert ticks(strips.get_yticklabels()) == ["a", "b"]
    assert strips.get_xlabel() == "time (seconds)"


def test_faces_per_frame_never_hides_a_frame_without_a_face() -> None:
    counts = [1] * 3000
    counts[1234] = 0
    grid = plot.faces_per_frame({"a": video_faces("a", counts)}).axes[1].images[0].get_array()
    assert (grid == 0).sum() == 1


def test_faces_per_frame_limits_the_strips() -> None:
    figure = plot.faces_per_frame({f"v{i}": video_faces(f"v{i}", [1]) for i in range(312)})
    assert title(figure) == "faces per frame (n = 312 frames), first 24 of 312 videos"
    assert len(figure.axes[1].get_yticks()) == 24


def test_box_sizes_takes_the_wider_side() -> None:
    figure = plot.box_sizes({"a": video_faces("a", [1, 2], side=100)})
    sides, confidences = figure.axes
    (bar,) = [patch for patch in sides.patches if patch.get_height()]
    assert bar.get_height() == 3
    assert bar.get_x() <= 100 <= bar.get_x() + bar.get_width()
    assert confidences.get_xlim() == (0, 1)
    assert (sides.get_xlabel(), confidences.get_xlabel()) == ("wider side of the box (pixels)", "confidence (probability)")
    assert title(figure) == "face boxes (n = 3)"


def test_mask_strength_per_method() -> None:
    masks = table("video_id method ssim changed_share", ("a", "FaceSwap", 0.9, 0.1), ("a", "FaceSwap", 0.7, 0.3), ("b", "", -0.2, 1.0))
    figure = plot.mask_strength(masks)
    assert title(figure) == "strength of the masks (n = 3 masks of 2 fakes)"
    assert ticks(figure.axes[0].get_yticklabels()) == ["FaceSwap\nn = 2", "all fakes\nn = 1"]
    assert [axis.get_xlim() for axis in figure.axes] == [(-1, 1), (0, 1)]
    medians = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linewidth() == 2]
    assert medians == pytest.approx([0.8, -0.2])


def test_mask_iou_puts_the_worst_video_on_top() -> None:
    figure = plot.mask_iou(table("video_id iou", ("good", 0.9), ("bad", 0.1), ("bad", 0.3), ("good", 0.8)))
    axis = figure.axes[0]
    assert ticks(axis.get_yticklabels()) == ["bad", "good"]
    assert axis.collections[0].get_offsets().tolist() == [[0.9, 1], [0.1, 0], [0.3, 0], [0.8, 1]]
    assert axis.collections[1].get_offsets()[:, 0].tolist() == pytest.approx([0.2, 0.85])
    assert (axis.get_xlim(), axis.get_ylim()) == ((0, 1), (1.5, -0.5))
    assert ticks(figure.legends[0].get_texts())[0] == "median of all, 0.55"
    assert title(figure) == "SSIM masks against the truth (n = 4 masks)"


def test_mask_iou_limits_the_rows() -> None:
    figure = plot.mask_iou(pd.DataFrame({"video_id": [f"v{i}" for i in range(100)], "iou": np.linspace(0, 1, 100)}))
    assert title(figure) == "SSIM masks against the truth (n = 100 masks), the lowest 60 of 100 videos"
    assert ticks(figure.axes[0].get_yticklabels())[-1] == "v59"


def test_fold_counts_stacks_real_and_fake() -> None:
    figure = plot.fold_counts(table("fold label method", (0, 0, ""), (0, 1, "x"), (0, 1, "y"), (3, 1, "x")))
    assert [(colour, height) for colour, _, height in bars(figure)] == [(BLUE, 1), (BLUE, 0), (VERMILLION, 2), (VERMILLION, 1)]
    assert [bar.get_y() for bar in figure.axes[0].patches] == [0, 0, 1, 0]
    assert ticks(figure.axes[0].get_xticklabels()) == ["0", "3"]
    assert (title(figure), figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("videos per fold (n = 4)", "fold", "videos")


# How a figure is shown ---------------------------------------------------------------------------------------------------------------
def test_text_is_large_enough_and_nothing_warns(portrait: np.ndarray) -> None:
    name = "manipulated_sequences_Deepfakes_c23_183_253"
    infos = table("label height width duration_seconds fps", (0, 1080, 1920, 10.0, 25.0))
    figures = [
        plot.contact_sheet([portrait] * 7, [name] * 7),
        plot.faces_per_frame({name: video_faces(name, [1, 0])}),
        plot.mask_iou(table("video_id iou", (name, 0.5))),
        plot.video_sizes(infos),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures:
            image = cv2.imdecode(np.frombuffer(plot.figure_png(figure), np.uint8), cv2.IMREAD_COLOR)
            assert image.shape[1] == 1080
            texts = [text for axis in figure.axes for text in [axis.title, *axis.texts, *axis.get_xticklabels(), *axis.get_yticklabels()]]
            assert min(text.get_fontsize() for text in texts) >= 9


@pytest.mark.notebooks
def test_a_bare_figure_shows_itself_once_in_a_notebook_without_magic() -> None:
    source = "from dfdc_lib import plot\nimport numpy as np\nplot.contact_sheet([np.zeros((9, 9, 3), np.uint8)], ['a'])"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    shown = [output for output in notebook.cells[0].outputs if output.output_type != "stream"]
    assert [output.output_type for output in shown] == ["execute_result"]
    assert shown[0].data["image/png"].startswith("iVBORw0KGgo")  # PNG in base64


def test_plot_leaves_pyplot_alone() -> None:
    code = "import sys; from dfdc_lib import plot; plot.video_counts([]); print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
