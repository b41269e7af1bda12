import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from dfdc_lib.records import DetectorSettings, Face, FrameFaces, Video, VideoFaces
from dfdc_lib.viz import plot_data, style

pytestmark = pytest.mark.filterwarnings("error")

REAL, FAKE, UNKNOWN = (colour.lower() for colour in style.LABEL_COLOURS.values())
SIZE_COLUMNS = "label height width duration_seconds fps"
LONG_NAME = "manipulated_sequences_Deepfakes_c23_183_253"
MASK_COLUMNS = "video_id method ssim changed_share"


def video(name: str, **fields) -> Video:
    return Video(video_id=name, path=f"{name}.mp4", **fields)


def video_faces(name: str, counts: list[int]) -> VideoFaces:
    face = Face(box=(0, 0, 100, 50), landmarks=((20, 20),) * 5, confidence=0.98)
    frames = [FrameFaces(frame_index=10 * i, time_seconds=0.4 * i, faces=(face,) * n) for i, n in enumerate(counts)]
    size = {"height": 512, "width": 512, "fps": 25, "frame_count": 10 * len(counts), "missing_frame_count": 0}
    made = {"detector_scale": 1, "settings": DetectorSettings(), "fingerprint": "f"}
    return VideoFaces(video_id=name, frames=tuple(frames), **size, **made)


def faces_of(**counts: list[int]) -> dict[str, VideoFaces]:
    return {name: video_faces(name, numbers) for name, numbers in counts.items()}


def table(columns: str, *rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def bars(figure: Figure) -> list[tuple[str, float, float]]:
    return [(to_hex(bar.get_facecolor()), bar.get_width(), bar.get_height()) for bar in figure.axes[0].patches]


def texts(labels) -> list[str]:
    return [label.get_text() for label in labels]


NO_RECORDS = [(plot_data.video_counts([]), "no videos"), (plot_data.box_sizes(faces_of(a=[0, 0])), "no faces")]
NO_RECORDS += [(plot_data.faces_per_frame(faces), "no examined frames") for faces in ({}, faces_of(a=[]))]


@pytest.mark.parametrize(("figure", "reason"), NO_RECORDS)
def test_no_records_give_a_message(figure: Figure, reason: str) -> None:
    assert reason in figure.axes[0].texts[0].get_text()


TABLES = [(plot_data.video_sizes, SIZE_COLUMNS, "no videos"), (plot_data.mask_strength, MASK_COLUMNS, "no masks")]
TABLES += [
    (plot_data.mask_iou, "video_id iou", "built-in sample"),
    (plot_data.fold_counts, "fold label method", "no videos"),
]


@pytest.mark.parametrize(("draw", "columns", "reason"), TABLES)
def test_a_table_without_rows_gives_a_message_and_without_columns_an_error(draw, columns: str, reason: str) -> None:
    assert reason in draw(table(columns)).axes[0].texts[0].get_text()
    for column in columns.split():
        with pytest.raises(ValueError, match=f"missing {column}"):
            draw(table(columns).drop(columns=column))


def test_video_counts_by_part_or_method() -> None:
    videos = [video("a", label=0, part=10), video("b", label=1, part=2, method="x")]
    figure = plot_data.video_counts([*videos, video("c", label=1, part=10), video("d", part=2)])
    [axis] = figure.axes
    assert texts(axis.get_yticklabels()) == ["part 2", "part 10"]
    widths = [(colour, width) for colour, width, _ in bars(figure)]
    assert widths == [(REAL, 0), (REAL, 1), (FAKE, 1), (FAKE, 1), (UNKNOWN, 1), (UNKNOWN, 0)]
    assert texts(axis.get_legend().get_texts()) == ["real", "fake", "unknown"]
    assert texts(axis.texts) == ["2", "2"]
    assert "n = 4" in figure.get_suptitle()
    # Without parts: by method and compression.
    videos = [video("a", label=0, compression="c23"), video("b", label=1, method="Deepfakes", compression="c40")]
    labels = texts(plot_data.video_counts([*videos, video("c")]).axes[0].get_yticklabels())
    assert labels == ["Deepfakes c40", "originals c23", "without label"]


def test_video_sizes_draws_the_resize_rule() -> None:
    videos = [(0, 1080, 1920, 10.0, 25.0), (1, 360, 640, 2.0, 29.97), (None, 360, 640, 2.0, 25.0)]
    figure = plot_data.video_sizes(table(SIZE_COLUMNS, *videos))
    sizes, durations = figure.axes
    assert [line.get_xdata()[0] for line in sizes.lines] == [300, 1000, 1900]
    assert texts(sizes.texts) == ["×2", "×1", "×0.5", "×0.33"]
    dots = [(to_hex(dots.get_facecolor()[0]), dots.get_offsets().tolist()) for dots in sizes.collections]
    assert dots == [(REAL, [[1920, 1080]]), (FAKE, [[640, 360]]), (UNKNOWN, [[640, 360]])]
    assert "25 to 29.97" in durations.get_title()
    assert texts(figure.legends[0].get_texts()) == ["real", "fake", "unknown"]


def test_faces_per_frame_counts_frames_and_shows_when() -> None:
    figure = plot_data.faces_per_frame(faces_of(a=[1, 0, 1, 2], b=[1, 5]))
    strips = figure.axes[1]
    assert [height for _, _, height in bars(figure)] == [1, 3, 1, 0, 0, 1]
    grid = strips.images[0].get_array()
    assert grid.shape == (2, 300)
    assert grid[0, [10, 85, 160, 290]].tolist() == [1, 0, 1, 2]  # 4 frames of 0.4 s over 1.6 s
    assert grid[1, [10, 140]].tolist() == [1, 3]
    assert grid.mask[1, 160:].all()  # b ends after 0.8 s
    assert texts(strips.get_yticklabels()) == ["a", "b"]
    long = plot_data.faces_per_frame(faces_of(a=[1] * 1234 + [0] + [1] * 1765))
    assert (long.axes[1].images[0].get_array() == 0).sum() == 1  # a single frame without a face is visible


def test_box_sizes_uses_the_longer_side() -> None:
    sides, confidences = plot_data.box_sizes(faces_of(a=[1, 2])).axes
    [bar] = [patch for patch in sides.patches if patch.get_height()]
    assert bar.get_height() == 3
    assert bar.get_x() <= 100 <= bar.get_x() + bar.get_width()
    assert confidences.get_xlim() == (0, 1)


def test_mask_strength_per_method() -> None:
    masks = table(MASK_COLUMNS, ("a", "FaceSwap", 0.9, 0.1), ("a", "FaceSwap", 0.7, 0.3), ("b", "", -0.2, 1.0))
    figure = plot_data.mask_strength(masks)
    assert "3 masks of 2 fakes" in figure.get_suptitle()
    assert texts(figure.axes[0].get_yticklabels()) == ["FaceSwap\nn = 2", "all fakes\nn = 1"]
    assert [axis.get_xlim() for axis in figure.axes] == [(-1, 1), (0, 1)]
    for axis, expected in zip(figure.axes, ([0.8, -0.2], [0.2, 1.0]), strict=True):
        assert [line.get_xdata()[0] for line in axis.lines if line.get_linewidth() == 2] == pytest.approx(expected)


def test_mask_iou_shows_the_lowest_video_first() -> None:
    figure = plot_data.mask_iou(table("video_id iou", ("good", 0.9), ("bad", 0.1), ("bad", 0.3), ("good", 0.8)))
    [axis] = figure.axes
    assert texts(axis.get_yticklabels()) == ["bad", "good"]
    assert axis.collections[0].get_offsets().tolist() == [[0.9, 1], [0.1, 0], [0.3, 0], [0.8, 1]]
    assert axis.collections[1].get_offsets()[:, 0].tolist() == pytest.approx([0.2, 0.85])
    assert axis.lines[0].get_xdata()[0] == pytest.approx(0.55)
    assert (axis.get_xlim(), axis.get_ylim()) == ((0, 1), (1.5, -0.5))
    assert "n = 4 masks" in figure.get_suptitle()


def test_the_number_of_rows_is_limited() -> None:
    names = [f"v{number}" for number in range(312)]
    counts = plot_data.video_counts([video(name, label=1, method=name) for name in names])
    strips = plot_data.faces_per_frame({name: video_faces(name, [1]) for name in names})
    iou = plot_data.mask_iou(pd.DataFrame({"video_id": names, "iou": np.linspace(0, 1, 312)}))
    for figure, rows, title in ((counts, 60, "first 60"), (strips, 24, "first 24"), (iou, 60, "lowest 60")):
        assert f"{title} of 312" in figure.get_suptitle()
        assert len(figure.axes[-1].get_yticks()) == rows
    assert texts(iou.axes[0].get_yticklabels())[-1] == "v59"


def test_fold_counts_stacks_real_and_fake() -> None:
    figure = plot_data.fold_counts(table("fold label method", (0, 0, ""), (0, 1, "x"), (0, 1, "y"), (3, 1, "x")))
    [axis] = figure.axes
    assert [(colour, height) for colour, _, height in bars(figure)] == [(REAL, 1), (REAL, 0), (FAKE, 2), (FAKE, 1)]
    assert [bar.get_y() for bar in axis.patches] == [0, 0, 1, 0]
    assert texts(axis.get_xticklabels()) == ["0", "3"]


CHARTS = {
    "videos": plot_data.video_counts([video(LONG_NAME, method=LONG_NAME)]),
    "pixels seconds": plot_data.video_sizes(table(SIZE_COLUMNS, (0, 1080, 1920, 10.0, 25.0))),
    "faces seconds": plot_data.faces_per_frame({LONG_NAME: video_faces(LONG_NAME, [1, 0])}),
    "pixels confidence": plot_data.box_sizes(faces_of(a=[1])),
    "SSIM share": plot_data.mask_strength(table(MASK_COLUMNS, ("a", LONG_NAME, 0.9, 0.1))),
    "intersection": plot_data.mask_iou(table("video_id iou", (LONG_NAME, 0.5))),
    "fold": plot_data.fold_counts(table("fold label method", (0, 0, ""))),
}


@pytest.mark.parametrize("words", CHARTS)
def test_axes_are_labelled_in_large_text_and_nothing_warns(words: str) -> None:
    figure = CHARTS[words]
    assert style.png(figure)
    for axis, word in zip(figure.axes, words.split(), strict=True):
        assert word in axis.get_xlabel()
        labels = [axis.title, *axis.texts, *axis.get_xticklabels(), *axis.get_yticklabels()]
        assert min(label.get_fontsize() for label in labels) >= 9
