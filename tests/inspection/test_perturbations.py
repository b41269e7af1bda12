"""Changed versions of a short made video: which files, which frames, how large, and changed in the way they say."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import skimage.data

from dfdc_lib.data.encode import video_writer
from dfdc_lib.data.video import Frame, VideoReader, read_info
from dfdc_lib.inspection.inspect import perturbations
from dfdc_lib.inspection.perturbations import NOISE_SIGMA, VARIANTS, write_variants

HEIGHT, WIDTH = 96, 128
FRAME_COUNT, EXCERPT = 14, 5
NAMES = [variant.name for variant in VARIANTS]


def picture(frame_index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A piece of a photograph that moves on by three columns a frame, with a white corner at the top left."""
    image = skimage.data.astronaut()[60 : 60 + height, 150 + 3 * frame_index : 150 + 3 * frame_index + width].copy()
    image[:16, :16] = 255
    return image


def frames_of(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        return [frame.image for frame in reader.frames()]


def difference(image: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(image.astype(int) - other).mean())


def detail(image: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perturbations, "EXCERPT_FRAMES", EXCERPT)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("variants") / "source.mp4"
    with video_writer(path, (HEIGHT, WIDTH), 25, {"crf": "5", "threads": "1"}) as write:
        for frame_index in range(FRAME_COUNT):
            write(picture(frame_index))
    return path


@pytest.fixture(scope="module")
def made(source: Path) -> dict[str, Path]:
    """All variants of the first frames; do not write to them."""
    return dict(zip(NAMES, write_variants(source, source.parent / "made", 0), strict=True))


# Files ---------------------------------------------------------------------------------------------------------------------------------
def test_one_file_for_each_variant(made: dict[str, Path]) -> None:
    assert [path.name for path in made.values()] == [f"{name}.mkv" for name in NAMES]
    assert sorted(path.name for path in made["blurred"].parent.iterdir()) == sorted(f"{name}.mkv" for name in NAMES)
    assert len(made) == 8 == len({variant.title for variant in VARIANTS})


@pytest.mark.parametrize(
    ("first_frame", "count"), [(0, EXCERPT), (6, EXCERPT), (FRAME_COUNT - EXCERPT, EXCERPT), (12, 2), (13, 1)]
)
def test_an_excerpt_is_as_long_as_it_may_be_and_begins_where_it_should(
    source: Path, tmp_path: Path, first_frame: int, count: int
) -> None:
    paths = write_variants(source, tmp_path / "made", first_frame)
    assert [len(frames_of(path)) for path in paths] == [count] * len(VARIANTS)
    expected = frames_of(source)[first_frame : first_frame + count]
    assert all(difference(*pair) < 2 for pair in zip(frames_of(paths[0]), expected, strict=True))
    assert difference(expected[0], picture(first_frame + 1)) > 5  # the next one would be noticed


@pytest.mark.parametrize("first_frame", [FRAME_COUNT, 1000])
def test_an_excerpt_beyond_the_end_is_refused(source: Path, tmp_path: Path, first_frame: int) -> None:
    with pytest.raises(
        ValueError, match=rf"source\.mp4 has no frame {first_frame}: choose an earlier start of the excerpt"
    ):
        write_variants(source, tmp_path, first_frame)


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video\n" * 100)
    with pytest.raises(ValueError, match=r"broken\.mp4 is not readable as a video"):
        write_variants(tmp_path / "broken.mp4", tmp_path / "made", 0)


def test_an_excerpt_ends_where_its_last_frame_is_damaged(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Damaged(VideoReader):
        def frames(self, *arguments: Any) -> Iterator[Frame]:
            return (frame for frame in super().frames(*arguments) if frame.frame_index != EXCERPT - 1)

    monkeypatch.setattr(perturbations, "VideoReader", Damaged)
    assert [len(frames_of(path)) for path in write_variants(source, tmp_path, 0)] == [EXCERPT - 1] * len(VARIANTS)


# Sizes ---------------------------------------------------------------------------------------------------------------------------------
def sizes(paths: list[Path]) -> dict[str, tuple[int, int]]:
    infos = {path.stem: read_info(path) for path in paths}
    assert {info.rotation_degrees for info in infos.values()} == {0}
    return {name: (info.height, info.width) for name, info in infos.items()}


def test_sizes_and_rate(made: dict[str, Path]) -> None:
    assert sizes(list(made.values())) == dict.fromkeys(NAMES, (HEIGHT, WIDTH)) | {"half": (HEIGHT // 2, WIDTH // 2)}
    assert {read_info(path).fps for path in made.values()} == {25}


def test_odd_sizes_lose_a_row_and_a_column(tmp_path: Path) -> None:
    path = tmp_path / "odd.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 95, 127, "yuv444p"
        for frame_index in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(frame_index, 95, 127))))
        container.mux(stream.encode())
    paths = write_variants(path, tmp_path / "made", 0)
    assert sizes(paths) == dict.fromkeys(NAMES, (94, 126)) | {"half": (46, 62)}
    assert difference(frames_of(paths[0])[1], picture(1)[:94, :126]) < 6


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_comes_out_upright(tmp_path: Path, rotation: int) -> None:
    path = tmp_path / "turned.mp4"
    with video_writer(path, (HEIGHT, WIDTH), 25, {"crf": "5"}, rotation) as write:
        write(picture(0))
    paths = write_variants(path, tmp_path / "made", 0)
    assert sizes(paths) == dict.fromkeys(NAMES, (HEIGHT, WIDTH)) | {"half": (HEIGHT // 2, WIDTH // 2)}
    for variant in paths:
        [image] = frames_of(variant)
        assert (
            difference(image[:6, :6], np.full((6, 6, 3), 255))
            < 25
            < difference(image[-6:, -6:], np.full((6, 6, 3), 255))
        )


# What is changed -----------------------------------------------------------------------------------------------------------------------
def test_the_excerpt_as_it_is_loses_next_to_nothing(source: Path, made: dict[str, Path]) -> None:
    differences = [
        difference(*pair) for pair in zip(frames_of(made["as_it_is"]), frames_of(source)[:EXCERPT], strict=True)
    ]
    assert max(differences) < 2  # what two conversions of colour cost


def test_the_higher_the_crf_the_smaller_the_file_and_the_farther_from_the_source(
    source: Path, made: dict[str, Path]
) -> None:
    names = ["as_it_is", "crf23", "crf28", "crf33", "crf40"]
    assert [variant.crf for variant in VARIANTS if variant.name in names] == [0, 23, 28, 33, 40]
    bytes_used = [made[name].stat().st_size for name in names]
    assert bytes_used == sorted(set(bytes_used), reverse=True)
    expected = frames_of(source)[2]
    far = [difference(frames_of(made[name])[2], expected) for name in names]
    assert far == sorted(set(far))


def test_noisy_and_half_are_what_they_say(made: dict[str, Path]) -> None:
    plain, noisy, half = (frames_of(made[name])[2] for name in ("as_it_is", "noisy", "half"))
    assert detail(noisy) > 1.2 * detail(plain)
    assert difference(half, perturbations.halve(plain, np.random.default_rng(0))) < 4


@pytest.mark.parametrize("change", [perturbations.halve, perturbations.blur, perturbations.add_noise])
def test_a_change_leaves_its_input_alone(change: Callable) -> None:
    frame = picture(0, 360, 300)
    changed = change(frame, np.random.default_rng(0))
    assert np.array_equal(frame, picture(0, 360, 300))
    assert changed.dtype == np.uint8 and not np.array_equal(changed, frame[: changed.shape[0], : changed.shape[1]])


def test_blur_is_as_strong_in_every_size() -> None:
    """An edge of a frame of 720 rows is as soft as that of one of 360, shown twice as large."""
    soft = []
    for side in (360, 720):
        frame = np.zeros((side, side, 3), np.uint8)
        frame[:, side // 2 :] = 200
        row = perturbations.blur(frame, np.random.default_rng(0))[side // 2, :, 0]
        soft.append(np.count_nonzero((row > 20) & (row < 180)) / side)
    assert soft[0] == pytest.approx(soft[1], rel=0.2) and soft[0] > 0
    assert np.array_equal(
        perturbations.blur(np.full((90, 60, 3), 7, np.uint8), np.random.default_rng(0)), np.full((90, 60, 3), 7)
    )


def test_noise_has_its_strength_and_saturates() -> None:
    noise = perturbations.add_noise(np.full((200, 200, 3), 128, np.uint8), np.random.default_rng(0)).astype(int) - 128
    assert noise.std() == pytest.approx(NOISE_SIGMA, rel=0.03)
    assert noise.mean() == pytest.approx(0, abs=0.1)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03  # each channel has its own
    assert perturbations.add_noise(np.full((50, 50, 3), 252, np.uint8), np.random.default_rng(0)).min() > 200
    assert perturbations.add_noise(np.full((50, 50, 3), 3, np.uint8), np.random.default_rng(0)).max() < 60


def test_the_seed_decides_the_noise() -> None:
    frame = picture(0)
    first, again, other = (perturbations.add_noise(frame, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    rng = np.random.default_rng(0)
    assert not np.array_equal(
        perturbations.add_noise(frame, rng), perturbations.add_noise(frame, rng)
    )  # no two frames have the same
