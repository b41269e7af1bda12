"""The run folder: whole files or none, everything reads back as it was written, one process at a time, errors that name the notebook."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.records import Crop, FaceKey, Outcome, Video, VideoCrops, VideoHashes, VideoInfo
from dfdc_lib.run_folder import FINGERPRINT_BYTES, PROJECT, Run, open_run, project_path
from dfdc_lib.staleness import file_fingerprint, fingerprint

INFO = VideoInfo(height=480, width=640, fps=29.97, frame_count=300, duration_seconds=10.01, rotation_degrees=90)
FULL_VIDEO = Video(
    video_id="a,b",
    path=Path("/videos/a,b.mp4"),
    label=1,
    original_id="007",
    identities=("007", 'quo"te', ""),
    method="Deepfakes",
    compression="c23",
    part=12,
    split="test",
)
HOLD_LOCK = """
import sys, time
from dfdc_lib.run_folder import open_run
with open_run(sys.argv[1]).lock("stage", "the other"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(tmp_path / "run")


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Paths and fingerprints --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", PROJECT),
        ("outputs/x", PROJECT / "outputs" / "x"),
        (Path("outputs") / ".." / "y", PROJECT / "y"),
        ("/somewhere/else", Path("/somewhere/else")),
        ("~/mine", Path.home().resolve() / "mine"),
    ],
)
def test_a_relative_path_starts_at_the_project(
    given: str | Path, expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a notebook's working directory is its own folder
    assert project_path(given) == expected


def test_the_project_folder_is_the_checkout() -> None:
    assert (PROJECT / "pyproject.toml").is_file()


def test_the_run_folder_has_the_layout_of_the_design() -> None:
    run = Run(Path("/r"))
    paths = [
        run.info_path("v"),
        run.boxes_path("v"),
        run.crop_path(FaceKey("v", 30, 1)),
        run.crops_record_path("v"),
        run.mask_path(FaceKey("v", 30, 1)),
        run.masks_record_path("v"),
        run.hash_path("v"),
        run.status_path("00_videos"),
        run.metrics_path("00_videos"),
        run.notebook_path("00_videos"),
    ]
    assert [str(path) for path in paths] == [
        "/r/info/v.json",
        "/r/boxes/v.json",
        "/r/crops/v/00030_1.png",
        "/r/crops/v/crops.json",
        "/r/masks/v/00030_1.png",
        "/r/masks/v/masks.json",
        "/r/hashes/v.json",
        "/r/status/00_videos.csv",
        "/r/metrics/00_videos.json",
        "/r/notebooks/00_videos.ipynb",
    ]


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ((), (), True),
        (("a", 1, 0.2), ("a", 1, 0.2), True),
        ((INFO,), (INFO.model_copy(),), True),
        ((), ("",), True),  # nothing and an empty text read alike
        (("ab", "c"), ("a", "bc"), False),
        (("a", "b"), ("b", "a"), False),
        ((0.2,), (0.3,), False),
        ((INFO,), (INFO.model_copy(update={"fps": 30.0}),), False),
    ],
)
def test_equal_parts_give_equal_fingerprints(first: tuple, second: tuple, equal: bool) -> None:
    assert (fingerprint(*first) == fingerprint(*second)) is equal


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    assert fingerprint("0.1.0", 7) == "382e72bec9aadf3d"


def with_byte_changed(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


LONG = bytes(range(256)) * (3 * FINGERPRINT_BYTES // 256)


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        (b"", b"", False),
        (b"", b"\0", True),
        (LONG, LONG, False),
        (LONG, with_byte_changed(LONG, 0), True),
        (LONG, with_byte_changed(LONG, FINGERPRINT_BYTES - 1), True),
        (LONG, with_byte_changed(LONG, -FINGERPRINT_BYTES), True),
        (LONG, with_byte_changed(LONG, -1), True),
        (LONG, LONG + LONG[-FINGERPRINT_BYTES:], True),  # same head and tail, another size
        (
            LONG,
            with_byte_changed(LONG, len(LONG) // 2),
            False,
        ),  # the price of reading 128 KiB of a video instead of all
    ],
)
def test_a_file_fingerprint_sees_head_tail_and_size(before: bytes, after: bytes, differs: bool, tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(before)
    (tmp_path / "after").write_bytes(after)
    assert (file_fingerprint(tmp_path / "before") != file_fingerprint(tmp_path / "after")) is differs


def test_a_run_folder_is_made_and_a_file_refused(tmp_path: Path) -> None:
    assert open_run(tmp_path / "a" / "b").root == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"the run folder .*file is a file: choose a folder"):
        open_run(tmp_path / "file")


# Atomic writes -----------------------------------------------------------------------------------------------------------------------
def fail_while_writing(path: Path, content: bytes) -> int:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    raise OSError("No space left on device")


def fail_at_once(path: Path, target: Path) -> Path:
    raise OSError("No space left on device")


@pytest.mark.parametrize(("method", "broken"), [("write_bytes", fail_while_writing), ("replace", fail_at_once)])
@pytest.mark.parametrize("earlier", [None, b"whole and old"])
def test_a_write_that_fails_leaves_what_was_there(
    method: str, broken: Callable, earlier: bytes | None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = run.root / "boxes" / "v.json"
    if earlier is not None:
        run.write_bytes(target, earlier)
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, broken)
        with pytest.raises(OSError, match="No space left"):
            run.write_bytes(target, b"new and never whole")
    assert (target.read_bytes() if target.exists() else None) == earlier
    run.remove_partial()
    assert files_below(run.root) == (["boxes/v.json"] if earlier else [])


def test_a_write_replaces_the_file_and_leaves_nothing_else(run: Run) -> None:
    for content in (b"first", b"", b"last"):
        run.write_bytes(run.root / "new" / "folder" / "file", content)
        assert (run.root / "new" / "folder" / "file").read_bytes() == content
    assert files_below(run.root) == ["new/folder/file"]


def test_partial_files_can_be_removed_where_there_are_none(run: Run) -> None:
    run.remove_partial()
    assert files_below(run.root) == []


# Round trips -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("videos", "infos"),
    [
        ([], {}),
        ([Video(video_id="unreadable", path=Path("/v/unreadable.mp4"))], {}),
        ([Video(video_id="007", path=Path("/v/007.mp4"), label=0, identities=("007",))], {"007": INFO}),
        ([Video(video_id="NA", path=Path("/v/NA.mp4"), label=0, part=0)], {"NA": INFO}),
        ([FULL_VIDEO], {"a,b": INFO}),
        ([Video(video_id="ü", path=Path("/v/größer.mp4"), identities=("ü", "日本"))], {"ü": INFO}),
        (
            [Video(video_id="1e5", path=Path("/v/1e5.mp4")), FULL_VIDEO, Video(video_id="True", path=Path("/v/True"))],
            {"True": INFO},
        ),
        (
            [Video(video_id="v", path=Path("/v.mp4"))],
            {"v": INFO.model_copy(update={"frame_count": 0, "duration_seconds": 0.0})},
        ),
    ],
)
def test_videos_and_infos_read_back_as_written(videos: list[Video], infos: dict[str, VideoInfo], run: Run) -> None:
    run.write_videos(videos, infos)
    assert run.read_videos() == videos
    assert run.read_infos() == infos


def test_the_fingerprint_of_a_header_stays_out_of_videos_csv(run: Run) -> None:
    run.write_videos([Video(video_id="v", path=Path("/v.mp4"))], {"v": INFO.model_copy(update={"fingerprint": "abc"})})
    assert run.read_infos() == {"v": INFO}
    assert "fingerprint" not in run.read_table("videos.csv").columns


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (1, 1, 3), (7, 5, 3)])
def test_images_read_back_exactly(shape: tuple[int, ...], run: Run) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    run.write_image(run.root / "image.png", image)
    stored = run.read_image(run.root / "image.png")
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, image)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_red_is_red_for_every_other_reader_too(ending: str, run: Run) -> None:
    import PIL.Image

    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 255
    path = run.root / f"red.{ending}"
    run.write_image(path, image)
    with PIL.Image.open(path) as stored:
        assert stored.format == {"png": "PNG", "jpg": "JPEG"}[ending]
        assert np.abs(np.array(stored).astype(int) - image).max() <= 1
    assert np.abs(run.read_image(path).astype(int) - image).max() <= 1


def test_records_read_back_as_written(run: Run) -> None:
    crop = Crop(
        video_id="a,b",
        frame_index=30,
        face_index=1,
        time_seconds=1.2,
        confidence=0.99,
        box=(10.5, 20.25, 110, 220),
        area=(0, 0, 130, 260),
        landmarks=((1, 2), (3, 4), (5.5, 6), (7, 8), (9, 10)),
    )
    record = VideoCrops(
        video_id="a,b",
        boxes_from="007",
        margin=0.2,
        crops=(crop,),
        frames_only_here=1,
        frames_only_in_original=2,
        fingerprint="f",
    )
    run.write_record(run.crops_record_path("a,b"), record)
    assert run.read_crops("a,b") == record
    hashes = VideoHashes(video_id="v", hashes=(0, 2**64 - 1), fingerprint="f")
    run.write_record(run.hash_path("v"), hashes)
    assert run.read_record(run.hash_path("v"), VideoHashes) == hashes


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_tables_keep_video_ids_as_text_and_empty_cells_as_missing(name: str, run: Run) -> None:
    table = pd.DataFrame(
        {
            "video_id": ["007", "NA", "a,b", "ü"],
            "label": pd.array([1, 0, None, 1], "Int64"),
            "ssim": [0.5, 1, None, 0.25],
        }
    )
    run.write_table(name, table)
    stored = run.read_table(name)
    assert stored["video_id"].tolist() == ["007", "NA", "a,b", "ü"]
    assert stored["label"].isna().tolist() == stored["ssim"].isna().tolist() == [False, False, True, False]
    assert stored["ssim"].sum() == 1.75
    assert stored["label"].sum() == 2


def test_a_status_reads_back_and_a_stage_that_has_not_run_has_none(run: Run) -> None:
    assert run.read_status("01_detect_faces") == []
    outcomes = [
        Outcome(video_id="007", status="done", count=12, note='a, b; "c"', fingerprint="0123456789012345"),
        Outcome(video_id="NA", status="failed", note="NA"),
    ]
    run.write_table("status/01_detect_faces.csv", pd.DataFrame([outcome.model_dump() for outcome in outcomes]))
    assert run.read_status("01_detect_faces") == outcomes


def test_metrics_are_plain_json(run: Run) -> None:
    run.write_metrics("03_ssim_masks", {"masks": 7, "mean SSIM": 0.9})
    assert run.metrics_path("03_ssim_masks").read_text() == '{\n "masks": 7,\n "mean SSIM": 0.9\n}'


# What is missing ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("read", "file", "notebook"),
    [
        (lambda run: run.read_videos(), "videos.csv", "00"),
        (lambda run: run.read_infos(), "videos.csv", "00"),
        (lambda run: run.read_table("videos.csv"), "videos.csv", "00"),
        (lambda run: run.read_record(run.info_path("v"), VideoInfo), "info/v.json", "00"),
        (lambda run: run.read_faces("v"), "boxes/v.json", "01"),
        (lambda run: run.read_crops("v"), "crops/v/crops.json", "02"),
        (lambda run: run.read_table("crops.parquet"), "crops.parquet", "02"),
        (lambda run: run.read_image(run.crop_path(FaceKey("v", 30, 0))), "crops/v/00030_0.png", "02"),
        (lambda run: run.read_masks("v"), "masks/v/masks.json", "03"),
        (lambda run: run.read_table("masks.csv"), "masks.csv", "03"),
        (lambda run: run.read_table("folds.csv"), "folds.csv", "04"),
        (lambda run: run.read_table("leaks.csv"), "leaks.csv", "04"),
        (lambda run: run.read_record(run.hash_path("v"), VideoHashes), "hashes/v.json", "04"),
    ],
)
def test_a_missing_file_names_the_notebook_that_makes_it(
    read: Callable[[Run], object], file: str, notebook: str, run: Run
) -> None:
    with pytest.raises(
        FileNotFoundError, match=rf"{file} is missing.*run notebook {notebook} first, or `dfdc run --to {notebook}`"
    ):
        read(run)


def test_an_image_that_is_none_is_refused(run: Run) -> None:
    run.write_bytes(run.crop_path(FaceKey("v", 0, 0)), b"no image")
    with pytest.raises(FileNotFoundError, match=r"00000_0\.png is missing or no image: run notebook 02"):
        run.read_image(run.crop_path(FaceKey("v", 0, 0)))


# The lock ----------------------------------------------------------------------------------------------------------------------------
def take(run: Run, name: str = "stage") -> contextlib.AbstractContextManager[None]:
    return run.lock(name, "notebook 01")


def test_the_second_taker_is_refused_until_the_first_lets_go(run: Run) -> None:
    with take(run):
        with (
            pytest.raises(
                RuntimeError, match=rf"notebook 01: another process is at work in {run.root}; wait, or choose another"
            ),
            take(run),
        ):
            pass
        with take(run, "run"):  # another lock of the same folder
            pass
    with take(run):
        pass


def test_a_lock_is_let_go_when_its_owner_fails(run: Run) -> None:
    with pytest.raises(ZeroDivisionError), take(run):
        raise ZeroDivisionError
    with take(run):
        pass


def test_a_lock_dies_with_its_process(run: Run) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(run.root)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RuntimeError, match="another process is at work"), take(run):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        assert holder.wait() == -signal.SIGKILL
        with take(run):
            pass
