import warnings

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from dfdc_lib.records import DetectorSettings, Face, FrameFaces, Video, VideoFaces
from dfdc_lib.viz import plot_data, style

BLUE, VERMILLION, GRAY = "#0072b2", "#d55e00", "#999999"
FACE = Face(
    box=(175, 60, 275, 200), landmarks=((205, 110), (245, 108), (225, 135), (208, 155), (245, 153)), confidence=0.98
)  # the astronaut's


def video(name: str, **fields) -> Video:
    return Video(video_id=name, path=f"{name}.mp4", **fields)


def video_faces(name: str, counts: list[int], side: float = 100) -> VideoFaces:
    face = FACE.model_copy(update={"box": (0, 0, side, side / 2)})
    frames = tuple(
        FrameFaces(frame_index=10 * i, time_seconds=0.4 * i, faces=(face,) * n) for i, n in enumerate(counts)
    )
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
    "video_counts": (lambda: plot_data.video_counts([]), "no videos"),
    "video_sizes": (lambda: plot_data.video_sizes(table("label height width duration_seconds fps")), "no videos"),
    "faces_per_frame": (lambda: plot_data.faces_per_frame({}), "no examined frames"),
    "faces_per_frame, no frames": (
        lambda: plot_data.faces_per_frame({"a": video_faces("a", [])}),
        "no examined frames",
    ),
    "box_sizes": (lambda: plot_data.box_sizes({"a": video_faces("a", [0, 0])}), "no faces"),
    "mask_strength": (lambda: plot_data.mask_strength(table("video_id method ssim changed_share")), "no masks"),
    "mask_iou": (lambda: plot_data.mask_iou(table("video_id iou")), "no masks"),
    "fold_counts": (lambda: plot_data.fold_counts(table("fold label method")), "no videos"),
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_input_is_said_in_words(name: str) -> None:
    draw, text = EMPTY[name]
    assert words(draw()) == f"nothing to show: {text}"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            plot_data.video_sizes,
            r"video_sizes needs the columns .*; missing height, width, duration_seconds, fps in label",
        ),
        (plot_data.mask_strength, "missing video_id, method, ssim, changed_share in label"),
        (plot_data.mask_iou, "missing video_id, iou in label"),
        (plot_data.fold_counts, "missing fold, method in label"),
    ],
)
def test_missing_columns_are_named(draw, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(pd.DataFrame({"label": [1]}))


def bars(figure: Figure, axis: int = 0) -> list[tuple[str, float, float]]:
    return [(to_hex(bar.get_facecolor()), bar.get_width(), bar.get_height()) for bar in figure.axes[axis].patches]


def ticks(labels) -> list[str]:
    return [label.get_text() for label in labels]


def test_video_counts_by_part_in_the_order_of_numbers() -> None:
    videos = [
        video("a", label=0, part=10),
        video("b", label=1, part=2, method="x"),
        video("c", label=1, part=10),
        video("d", part=2),
    ]
    figure = plot_data.video_counts(videos)
    assert ticks(figure.axes[0].get_yticklabels()) == ["part 2", "part 10"]
    assert [(colour, width) for colour, width, _ in bars(figure)] == [
        (BLUE, 0), (BLUE, 1), (VERMILLION, 1), (VERMILLION, 1), (GRAY, 1), (GRAY, 0)
    ]  # fmt: skip
    assert ticks(figure.axes[0].get_legend().get_texts()) == ["real", "fake", "unknown"]
    assert ticks(figure.axes[0].texts) == ["2", "2"]
    assert (title(figure), figure.axes[0].get_xlabel()) == ("videos (n = 4)", "videos")


def test_video_counts_by_method_and_compression() -> None:
    videos = [
        video("a", label=0, compression="c23"),
        video("b", label=1, method="Deepfakes", compression="c40"),
        video("c"),
    ]
    labels = ticks(plot_data.video_counts(videos).axes[0].get_yticklabels())
    assert labels == ["Deepfakes c40", "originals c23", "without label"]


def test_video_counts_limits_the_rows() -> None:
    figure = plot_data.video_counts([video(str(i), label=1, method=f"m{i:03d}") for i in range(100)])
    assert title(figure) == "videos (n = 100), first 60 of 100 groups"
    assert len(figure.axes[0].get_yticks()) == 60


def test_video_sizes_marks_the_resize_rule() -> None:
    infos = table(
        "label height width duration_seconds fps",
        (0, 1080, 1920, 10.0, 25.0),
        (1, 360, 640, 2.0, 29.97),
        (None, 360, 640, 2.0, 25.0),
    )
    figure = plot_data.video_sizes(infos)
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
    figure = plot_data.faces_per_frame({"a": video_faces("a", [1, 0, 1, 2]), "b": video_faces("b", [1, 5])})
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
    grid = plot_data.faces_per_frame({"a": video_faces("a", counts)}).axes[1].images[0].get_array()
    assert (grid == 0).sum() == 1


def test_faces_per_frame_limits_the_strips() -> None:
    figure = plot_data.faces_per_frame({f"v{i}": video_faces(f"v{i}", [1]) for i in range(312)})
    assert title(figure) == "faces per frame (n = 312 frames), first 24 of 312 videos"
    assert len(figure.axes[1].get_yticks()) == 24


def test_box_sizes_takes_the_wider_side() -> None:
    figure = plot_data.box_sizes({"a": video_faces("a", [1, 2], side=100)})
    sides, confidences = figure.axes
    (bar,) = [patch for patch in sides.patches if patch.get_height()]
    assert bar.get_height() == 3
    assert bar.get_x() <= 100 <= bar.get_x() + bar.get_width()
    assert confidences.get_xlim() == (0, 1)
    assert (sides.get_xlabel(), confidences.get_xlabel()) == (
        "wider side of the box (pixels)",
        "confidence (probability)",
    )
    assert title(figure) == "face boxes (n = 3)"


def test_mask_strength_per_method() -> None:
    masks = table(
        "video_id method ssim changed_share",
        ("a", "FaceSwap", 0.9, 0.1),
        ("a", "FaceSwap", 0.7, 0.3),
        ("b", "", -0.2, 1.0),
    )
    figure = plot_data.mask_strength(masks)
    assert title(figure) == "strength of the masks (n = 3 masks of 2 fakes)"
    assert ticks(figure.axes[0].get_yticklabels()) == ["FaceSwap\nn = 2", "all fakes\nn = 1"]
    assert [axis.get_xlim() for axis in figure.axes] == [(-1, 1), (0, 1)]
    medians = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_linewidth() == 2]
    assert medians == pytest.approx([0.8, -0.2])


def test_mask_iou_puts_the_worst_video_on_top() -> None:
    figure = plot_data.mask_iou(table("video_id iou", ("good", 0.9), ("bad", 0.1), ("bad", 0.3), ("good", 0.8)))
    axis = figure.axes[0]
    assert ticks(axis.get_yticklabels()) == ["bad", "good"]
    assert axis.collections[0].get_offsets().tolist() == [[0.9, 1], [0.1, 0], [0.3, 0], [0.8, 1]]
    assert axis.collections[1].get_offsets()[:, 0].tolist() == pytest.approx([0.2, 0.85])
    assert (axis.get_xlim(), axis.get_ylim()) == ((0, 1), (1.5, -0.5))
    assert ticks(figure.legends[0].get_texts())[0] == "median of all, 0.55"
    assert title(figure) == "SSIM masks against the truth (n = 4 masks)"


def test_mask_iou_limits_the_rows() -> None:
    figure = plot_data.mask_iou(
        pd.DataFrame({"video_id": [f"v{i}" for i in range(100)], "iou": np.linspace(0, 1, 100)})
    )
    assert title(figure) == "SSIM masks against the truth (n = 100 masks), the lowest 60 of 100 videos"
    assert ticks(figure.axes[0].get_yticklabels())[-1] == "v59"


def test_fold_counts_stacks_real_and_fake() -> None:
    figure = plot_data.fold_counts(table("fold label method", (0, 0, ""), (0, 1, "x"), (0, 1, "y"), (3, 1, "x")))
    assert [(colour, height) for colour, _, height in bars(figure)] == [
        (BLUE, 1),
        (BLUE, 0),
        (VERMILLION, 2),
        (VERMILLION, 1),
    ]
    assert [bar.get_y() for bar in figure.axes[0].patches] == [0, 0, 1, 0]
    assert ticks(figure.axes[0].get_xticklabels()) == ["0", "3"]
    assert (title(figure), figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == (
        "videos per fold (n = 4)",
        "fold",
        "videos",
    )


def test_text_is_large_enough_and_nothing_warns() -> None:
    name = "manipulated_sequences_Deepfakes_c23_183_253"
    infos = table("label height width duration_seconds fps", (0, 1080, 1920, 10.0, 25.0))
    drawn = [
        plot_data.faces_per_frame({name: video_faces(name, [1, 0])}),
        plot_data.mask_iou(table("video_id iou", (name, 0.5))),
        plot_data.video_sizes(infos),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in drawn:
            image = cv2.imdecode(np.frombuffer(style.png(figure), np.uint8), cv2.IMREAD_COLOR)
            assert image.shape[1] == 1080
            texts = [
                text
                for axis in figure.axes
                for text in [axis.title, *axis.texts, *axis.get_xticklabels(), *axis.get_yticklabels()]
            ]
            assert min(text.get_fontsize() for text in texts) >= 9
