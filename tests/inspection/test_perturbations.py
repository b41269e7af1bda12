"""Changed versions of a short made video: the files, their frames, their sizes, and what was changed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import skimage.data

from dfdc_lib.data.video import Frame, VideoReader, read_info, video_writer
from dfdc_lib.inspection import perturbations
from dfdc_lib.inspection.perturbations import NOISE_SIGMA, VARIANTS, add_noise, blur, halve, part_around, write_variants
from dfdc_lib.records import Area

HEIGHT, WIDTH = 96, 128
FRAME_COUNT, EXCERPT = 14, 5
WHOLE = (0, 0, WIDTH, HEIGHT)
NAMES = [variant.name for variant in VARIANTS]


def picture(frame_index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A part of a photograph that moves by three columns per frame, with a white corner at the top left."""
    image = skimage.data.astronaut()[60 : 60 + height, 150 + 3 * frame_index : 150 + 3 * frame_index + width].copy()
    image[:16, :16] = 255
    return image


def frames_of(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        return [frame.image for frame in reader.frames()]


def difference(image: np.ndarray, other: np.ndarray | int) -> float:
    return float(np.abs(image.astype(int) - other).mean())


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


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
def variants(source: Path) -> dict[str, Path]:
    """All variants of the first frames; do not write to them."""
    return dict(zip(NAMES, write_variants(source, source.parent / "made", 0, WHOLE), strict=True))


@pytest.mark.parametrize(
    ("first_frame", "count"), [(0, EXCERPT), (6, EXCERPT), (FRAME_COUNT - EXCERPT, EXCERPT), (12, 2), (13, 1)]
)
def test_start_and_length_of_the_excerpt(source: Path, tmp_path: Path, first_frame: int, count: int) -> None:
    paths = write_variants(source, tmp_path / "made", first_frame, WHOLE)
    assert [len(frames_of(path)) for path in paths] == [count] * len(VARIANTS)
    expected = frames_of(source)[first_frame : first_frame + count]
    assert all(difference(*pair) < 2 for pair in zip(frames_of(paths[0]), expected, strict=True))  # nearly lossless
    assert difference(expected[0], picture(first_frame + 1)) > 5  # a shift by one frame would be noticed


def test_excerpt_ends_before_a_damaged_last_frame(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Damaged(VideoReader):
        def frames_at(self, *arguments: Any) -> Iterator[Frame]:
            return (frame for frame in super().frames_at(*arguments) if frame.frame_index != EXCERPT - 1)

    monkeypatch.setattr(perturbations, "VideoReader", Damaged)
    assert [len(frames_of(path)) for path in write_variants(source, tmp_path, 0, WHOLE)] == [EXCERPT - 1] * len(
        VARIANTS
    )


def test_excerpt_beyond_the_end_and_broken_file_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{FRAME_COUNT}"):
        write_variants(source, tmp_path, FRAME_COUNT, WHOLE)
    (tmp_path / "broken.mp4").write_bytes(b"no video\n" * 100)
    with pytest.raises(ValueError, match=r"broken\.mp4"):
        write_variants(tmp_path / "broken.mp4", tmp_path / "made", 0, WHOLE)


FULL, HALF = (HEIGHT, WIDTH), {"half": (HEIGHT // 2, WIDTH // 2)}


def sizes(paths: list[Path]) -> dict[str, tuple[int, int]]:
    infos = {path.stem: read_info(path) for path in paths}
    assert {(info.rotation_degrees, info.fps) for info in infos.values()} == {(0, 25)}
    return {name: (info.height, info.width) for name, info in infos.items()}


def test_one_file_per_variant(variants: dict[str, Path]) -> None:
    assert len(list(variants["blurred"].parent.iterdir())) == len({variant.title for variant in VARIANTS}) == 8
    assert sizes(list(variants.values())) == dict.fromkeys(NAMES, FULL) | HALF


def test_odd_sizes_lose_a_row_and_a_column(tmp_path: Path) -> None:
    path = tmp_path / "odd.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 95, 127, "yuv444p"
        for frame_index in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(frame_index, 95, 127))))
        container.mux(stream.encode())
    part = part_around([(10, 0, 127, 95)], 95, 127)
    paths = write_variants(path, tmp_path / "made", 0, part)
    assert sizes(paths) == dict.fromkeys(NAMES, (94, 126)) | {"half": (46, 62)}
    assert difference(frames_of(paths[0])[1], picture(1)[:94, :126]) < 6


def test_part_of_the_picture(source: Path, tmp_path: Path, variants: dict[str, Path]) -> None:
    part = (16, 32, 90, 94)
    paths = dict(zip(NAMES, write_variants(source, tmp_path / "made", 0, part), strict=True))
    assert sizes(list(paths.values())) == dict.fromkeys(NAMES, (62, 74)) | {"half": (30, 36)}
    for name in ("unchanged", "crf23", "blurred"):
        shown, whole = (frames_of(files[name])[2] for files in (paths, variants))
        assert difference(shown, whole[32:94, 16:90]) < {"unchanged": 1, "crf23": 4, "blurred": 4}[name]


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ([(100, 80, 140, 130)], (64, 48, 172, 162)),
        ([(100, 80, 140, 130), (300, 50, 341, 90)], (64, 16, 372, 162)),
        ([(5, 0, 400, 470)], (0, 0, 432, 480)),  # within the frame
        ([(100, 80, 640, 481)], (64, 48, 640, 480)),
    ],
)
def test_part_around(areas: list[Area], expected: Area) -> None:
    part = part_around(areas, 481, 641)
    assert part == expected
    assert not any(np.array(part[:2]) % 16) and not any(np.array(part) % 2)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_video_becomes_upright(tmp_path: Path, rotation: int) -> None:
    path = tmp_path / "turned.mp4"
    with video_writer(path, (HEIGHT, WIDTH), 25, {"crf": "5"}, rotation) as write:
        write(picture(0))
    paths = write_variants(path, tmp_path / "made", 0, WHOLE)
    assert sizes(paths) == dict.fromkeys(NAMES, FULL) | HALF
    for variant in paths:
        [image] = frames_of(variant)
        assert difference(image[:6, :6], 255) < 25 < difference(image[-6:, -6:], 255)


def test_higher_crf_means_smaller_file_and_larger_difference(source: Path, variants: dict[str, Path]) -> None:
    names = [variant.name for variant in sorted(VARIANTS, key=lambda variant: variant.crf) if variant.crf != 18]
    assert names == ["unchanged", "crf23", "crf28", "crf33", "crf40"]
    file_sizes = [variants[name].stat().st_size for name in names]
    assert file_sizes == sorted(set(file_sizes), reverse=True)
    expected = frames_of(source)[2]
    differences = [difference(frames_of(variants[name])[2], expected) for name in names]
    assert differences == sorted(set(differences))


def test_noisy_and_half_size(variants: dict[str, Path]) -> None:
    plain, noisy, half = (frames_of(variants[name])[2] for name in ("unchanged", "noisy", "half"))
    details = [cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var() for image in (plain, noisy)]
    assert details[1] > 1.2 * details[0]
    assert difference(half, halve(plain, rng(), HEIGHT)) < 4


@pytest.mark.parametrize("change", [halve, blur, add_noise])
def test_change_does_not_modify_its_input(change: Any) -> None:
    frame = picture(0, 360, 300)
    changed = change(frame, rng(), 300)
    assert np.array_equal(frame, picture(0, 360, 300))
    assert changed.dtype == np.uint8 and not np.array_equal(changed, frame[: changed.shape[0], : changed.shape[1]])


def test_blur_is_proportional_to_the_frame() -> None:
    widths = []
    for side in (360, 720):
        frame = np.zeros((side, side, 3), np.uint8)
        frame[:, side // 2 :] = 200
        row = blur(frame, rng(), side)[side // 2, :, 0]
        widths.append(np.count_nonzero((row > 20) & (row < 180)) / side)
    assert widths[0] == pytest.approx(widths[1], rel=0.2) and widths[0] > 0
    assert set(blur(np.full((90, 60, 3), 7, np.uint8), rng(), 60).ravel()) == {7}


def test_noise() -> None:
    noise = add_noise(np.full((200, 200, 3), 128, np.uint8), rng(), 200).astype(int) - 128
    assert noise.std() == pytest.approx(NOISE_SIGMA, rel=0.03) and noise.mean() == pytest.approx(0, abs=0.1)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03  # channels are independent
    assert add_noise(np.full((50, 50, 3), 252, np.uint8), rng(), 50).min() > 200  # saturates
    assert add_noise(np.full((50, 50, 3), 3, np.uint8), rng(), 50).max() < 60
    frame, generator = picture(0), rng()
    first, second = add_noise(frame, generator, HEIGHT), add_noise(frame, generator, HEIGHT)
    assert np.array_equal(first, add_noise(frame, rng(), HEIGHT)) and not np.array_equal(
        first, add_noise(frame, rng(1), HEIGHT)
    )
    assert not np.array_equal(first, second)  # every frame has noise of its own
