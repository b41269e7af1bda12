"""Stage 04 on real videos: the published split of FaceForensics++, and fakes that only their pictures connect."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dfdc_lib import workers
from dfdc_lib.data.fold_stage import make_folds
from dfdc_lib.data.video_stage import find_videos
from dfdc_lib.run_folder import Run, open_run


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Use threads instead of processes, which take seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "worker_pool", ThreadPoolExecutor)
        yield


def linked(files: dict[str, Path], root: Path) -> Run:
    """Link files into a data set's folder, by their names in it, and list them in a new run."""
    for name, file in files.items():
        (root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / name).symlink_to(file)
    run = open_run(root / "run")
    find_videos(run, str(root / "data"), workers=2)
    return run


def test_the_official_split_of_faceforensics(test_videos: Path, tmp_path: Path) -> None:
    names = [f"original_sequences/youtube/c40/videos/{number}.mp4" for number in ("183", "469", "585", "672")]
    pairs = ("183_253", "469_481", "585_599", "672_720")
    names += [f"manipulated_sequences/Deepfakes/c40/videos/{pair}.mp4" for pair in pairs]
    splits = dict(zip(("train", "val", "test"), (pair.split("_") for pair in pairs), strict=False))
    (tmp_path / "data" / "splits").mkdir(parents=True)
    for name, pair in splits.items():
        (tmp_path / "data" / "splits" / f"{name}.json").write_text(json.dumps([pair]))
    run = linked({name: test_videos / "ffpp" / name for name in names}, tmp_path)
    leaks, notes = make_folds(run, "official", 5, workers=2)
    table = run.read_table("folds.csv")
    assert list(table.columns) == ["video_id", "fold", "group", "label", "method"]
    folds = dict(zip(table["video_id"], table["fold"], strict=True))
    in_a_split = {"469_481": 0, "585_599": 1, "183_253": 2}  # validation, test, train
    expected = {f"youtube-c40-{pair[:3]}": fold for pair, fold in in_a_split.items()}
    assert folds == expected | {f"Deepfakes-c40-{pair}": fold for pair, fold in in_a_split.items()}
    assert leaks == []
    assert any("2 videos" in note and "Deepfakes-c40-672_720" in note for note in notes)


def test_fakes_without_originals_join_them_by_their_pictures(test_videos: Path, tmp_path: Path) -> None:
    """UADFV as a DFDC folder whose metadata has labels and no `original`."""
    numbers = ("0001", "0006", "0016", "0038")
    files = {f"{n}.mp4": test_videos / "uadfv" / "real" / f"{n}.mp4" for n in numbers}
    files |= {f"{n}_fake.mp4": test_videos / "uadfv" / "fake" / f"{n}_fake.mp4" for n in numbers}
    (tmp_path / "data").mkdir()
    labels = {name: {"label": "FAKE" if "fake" in name else "REAL"} for name in files}
    (tmp_path / "data" / "metadata.json").write_text(json.dumps(labels))
    run = linked(files, tmp_path)
    report = make_folds(run, "leak-free", 4, workers=2)
    table = run.read_table("folds.csv").set_index("video_id")
    assert [table.loc[n, "group"] for n in numbers] == [table.loc[f"{n}_fake", "group"] for n in numbers]
    assert [table.loc[n, "fold"] for n in numbers] == [table.loc[f"{n}_fake", "fold"] for n in numbers]
    assert table["group"].nunique() == 4
    assert any("4 pairs of look-alikes" in note for note in report.notes)
    assert report.leaks == []
