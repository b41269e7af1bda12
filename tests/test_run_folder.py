"""The run folder: atomic writes, round trips, locks, and errors that name the notebook to run."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.records import FaceKey, Outcome, Video, VideoHashes, VideoInfo
from dfdc_lib.run_folder import PROJECT, Run, open_run, project_path

INFO = VideoInfo(height=480, width=640, fps=29.97, frame_count=300, duration_seconds=10.01, rotation_degrees=90)
FULL_VIDEO = Video(
    **{"video_id": "a,b", "path": "/videos/a,b.mp4", "label": 1, "original_id": "007", "method": "Deepfakes"},
    **{"identities": ("007", 'quo"te', ""), "compression": "c23", "part": 12, "split": "test"},
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
    assert (PROJECT / "pyproject.toml").is_file()


def test_the_run_folder_has_the_layout_of_the_design() -> None:
    run = Run(Path("/r"))
    paths = {
        run.info_path("v"): "info/v.json",
        run.boxes_path("v"): "boxes/v.json",
        run.crop_path(FaceKey("v", 30, 1)): "crops/v/00030_1.png",
        run.crops_record_path("v"): "crops/v/crops.json",
        run.mask_path(FaceKey("v", 30, 1)): "masks/v/00030_1.png",
        run.masks_record_path("v"): "masks/v/masks.json",
        run.hash_path("v"): "hashes/v.json",
        run.scores_record_path("m", "v"): "scores/m/v.json",
        run.calibration_path("m"): "calibrations/m.json",
        run.model_folder("m"): "models/m",
        run.status_path("00_videos"): "status/00_videos.csv",
        run.metrics_path("00_videos"): "metrics/00_videos.json",
        run.notebook_path("00_videos"): "notebooks/00_videos.ipynb",
    }
    assert [str(path) for path in paths] == [f"/r/{name}" for name in paths.values()]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "a\0"])
def test_names_that_lead_out_of_their_folder_are_refused(name: str) -> None:
    run = Run(Path("/r"))
    of_a_video = (run.info_path, run.boxes_path, run.crops_record_path, run.masks_record_path, run.hash_path)
    of_a_model = (run.model_folder, run.calibration_path)
    of_both = (lambda name: run.scores_record_path("m", name), lambda name: run.scores_record_path(name, "v"))
    of_a_face = (lambda name: run.crop_path(FaceKey(name, 0, 0)), lambda name: run.mask_path(FaceKey(name, 0, 0)))
    for path in (*of_a_video, *of_a_model, *of_both, *of_a_face):
        with pytest.raises(ValueError, match="name"):
            path(name)


def test_a_run_folder_is_made_and_a_file_refused(tmp_path: Path) -> None:
    assert open_run(tmp_path / "a" / "b").root == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        open_run(tmp_path / "file")


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


def test_videos_csv_has_no_fingerprints(run: Run) -> None:
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
    hashes = VideoHashes(video_id="a,b", hashes=(0, 2**64 - 1), fingerprint="f")
    run.write_record(run.hash_path("a,b"), hashes)
    assert run.read_record(run.hash_path("a,b"), VideoHashes) == hashes


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
    assert run.metrics_path("03_ssim_masks").read_text(encoding="utf-8") == '{\n "masks": 7,\n "mean SSIM": 0.9\n}'


READS: list[tuple[Callable[[Run], object], str]] = [
    (lambda run: run.read_videos(), "00"),
    (lambda run: run.read_infos(), "00"),
    (lambda run: run.read_table("videos.csv"), "00"),
    (lambda run: run.read_record(run.info_path("v"), VideoInfo), "00"),
    (lambda run: run.read_faces("v"), "01"),
    (lambda run: run.read_crops("v"), "02"),
    (lambda run: run.read_table("crops.parquet"), "02"),
    (lambda run: run.read_image(run.crop_path(FaceKey("v", 30, 0))), "02"),
    (lambda run: run.read_masks("v"), "03"),
    (lambda run: run.read_table("masks.csv"), "03"),
    (lambda run: run.read_table("folds.csv"), "04"),
    (lambda run: run.read_table("leaks.csv"), "04"),
    (lambda run: run.read_record(run.hash_path("v"), VideoHashes), "04"),
]


@pytest.mark.parametrize(("read", "number"), READS)
def test_a_missing_file_names_the_notebook_that_makes_it(read: Callable, number: str, run: Run) -> None:
    with pytest.raises(FileNotFoundError, match=f"run notebook {number}"):
        read(run)


def test_a_damaged_image_is_refused(run: Run) -> None:
    run.write_bytes(run.crop_path(FaceKey("v", 0, 0)), b"no image")
    with pytest.raises(ValueError, match="00000_0.png"):
        run.read_image(run.crop_path(FaceKey("v", 0, 0)))


def test_read_outcomes_requires_every_video(run: Run) -> None:
    run.write_videos([Video(video_id=name, path=Path(f"/{name}.mp4")) for name in "ab"], {})
    outcomes = [Outcome(video_id=name, status="done") for name in "ab"]
    for count in (0, 1):
        if count:
            run.write_table("status/02_crop_faces.csv", pd.DataFrame([o.model_dump() for o in outcomes[:count]]))
        with pytest.raises(FileNotFoundError, match="run notebook 02"):
            run.read_outcomes("02_crop_faces")
    run.write_table("status/02_crop_faces.csv", pd.DataFrame([outcome.model_dump() for outcome in outcomes]))
    assert run.read_outcomes("02_crop_faces") == dict(zip("ab", outcomes, strict=True))


def test_a_second_lock_is_refused_until_the_first_is_released(run: Run) -> None:
    with run.lock("stage", "notebook 01"):
        with pytest.raises(RuntimeError, match="notebook 02"), run.lock("stage", "notebook 02"):
            pass
        with run.lock("run", "another lock of the same folder"):
            pass
    with pytest.raises(ZeroDivisionError), run.lock("stage", "notebook 01"):
        raise ZeroDivisionError
    with run.lock("stage", "notebook 01"):
        pass


def test_a_lock_is_released_when_its_process_is_killed(run: Run) -> None:
    command = [sys.executable, "-c", HOLD_LOCK, str(run.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        with pytest.raises(RuntimeError, match="another process"), run.lock("stage", "notebook 01"):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        assert holder.wait() == -signal.SIGKILL
        with run.lock("stage", "notebook 01"):
            pass
