import json
from pathlib import Path

import pandas as pd
import pytest

from dfdc_lib.evaluation.bootstrap import bootstrap, intervals
from dfdc_lib.evaluation.calibration import halves
from dfdc_lib.evaluation.load_scores import read_scores
from dfdc_lib.evaluation.score_groups import groups_of_file, groups_of_run
from dfdc_lib.evaluation.strategies import model_scores
from dfdc_lib.records import Resampling, Video
from dfdc_lib.run_folder import open_run

FFPP = "youtube-c23-183 youtube-c40-183 youtube-c23-253 Deepfakes-c40-183_253 Deepfakes-c23-253_183 youtube-c23-469"
DFD = "01__exit_phone_room 02__walk 01_02__exit_phone_room__YVGY8LOK.mp4 03__walk dfd/05_03__walk__AB12"
CELEB = "Celeb-real/id0_0000.mp4 Celeb-real/id1_0004.mp4 Celeb-synthesis-id0_id1_0002 Celeb-real-id2_0000 00001"


@pytest.mark.parametrize(
    ("videos", "groups"),
    [
        ([], []),
        (["a", "b"], [0, 1]),
        (FFPP.split(), [0, 0, 0, 0, 0, 1]),  # one group: both swaps, both compressions, the donor's original
        (DFD.split(), [0, 0, 0, 1, 1]),
        (CELEB.split(), [0, 0, 0, 1, 2]),
        (["x/001.mp4", "y/001.mp4", "x/002.mp4"], [0, 1, 2]),  # numbers that no fake connects name nobody
    ],
)
def test_groups_by_the_names_of_known_data_sets(videos: list[str], groups: list[int]) -> None:
    table = pd.DataFrame(index=pd.Index(videos, name="video_id"))
    assert groups_of_file(table).tolist() == groups


@pytest.mark.parametrize(
    ("columns", "groups"),
    [
        ({"original_id": [None, "a", "absent", "absent"]}, [0, 0, 1, 1]),  # fakes of one absent original
        ({"identities": [None, '["p"]', '["q", "p"]', '["q"]']}, [0, 1, 1, 1]),
        ({"original_id": [None, "a", None, None], "identities": [None, '["p"]', '["p"]', None]}, [0, 0, 0, 1]),
        ({"group": list("xyxz"), "original_id": ["d"] * 4}, list("xyxz")),  # decides alone
    ],
)
def test_groups_by_columns(columns: dict[str, list], groups: list) -> None:
    table = pd.DataFrame(columns, index=pd.Index(list("abcd"), name="video_id"))
    assert groups_of_file(table).tolist() == groups


@pytest.mark.parametrize(
    ("columns", "keyword"),
    [({"identities": ["p", None]}, "JSON"), ({"identities": ["[1]", None]}, "JSON"), ({"group": ["x", None]}, "b")],
)
def test_a_column_of_another_form_is_an_error(columns: dict[str, list], keyword: str) -> None:
    with pytest.raises(ValueError, match=keyword):
        groups_of_file(pd.DataFrame(columns, index=["a", "b"]))


def test_groups_of_a_run_are_those_of_its_folds(tmp_path: Path) -> None:
    run = open_run(tmp_path)
    names = {"183_253": ("183", "253"), "253_183": ("253", "183"), "183": ("183",), "007": ("007",)}
    run.write_videos([Video(video_id=name, path=Path(name), identities=ids) for name, ids in names.items()], {})
    judged = pd.Index(["183_253", "253_183", "007"])
    assert groups_of_run(run, judged).tolist() == [0, 0, 1]
    alike, apart = [5, 5, 5, 5], [1, 2, 1, 3]  # 007 looks like them; donors do not count (scheme "target")
    for groups, expected in ((alike, [0, 0, 0]), (apart, [0, 1, 2])):
        run.write_table("folds.csv", pd.DataFrame({"video_id": list(names), "fold": 0, "group": groups}))
        assert groups_of_run(run, judged).tolist() == expected
    # Two videos without a fold: one joins the group of the person it shows, the other shows nobody known.
    folds = pd.DataFrame({"video_id": ["183_253", "183", "gone"], "fold": 0, "group": [7, 8, 8]})
    run.write_table("folds.csv", folds)
    assert groups_of_run(run, judged).tolist() == [0, 0, 1]


def test_a_second_compression_does_not_narrow_the_interval(test_videos: Path, tmp_path: Path) -> None:
    source = test_videos / "scores" / "ffpp_frame_scores.csv.gz"
    frames = pd.read_csv(source, dtype={"video_id": str}).query("method == 'faceswap' or method == 'original'")
    names = frames["video_id"].str.split("/").str[-1]
    copies = [frames.assign(video_id=f"any-{level}-" + names) for level in ("c23", "c40")]
    widths = []
    for count in (1, 2):
        pd.concat(copies[:count]).drop(columns="original_id").to_csv(tmp_path / "scores.csv", index=False)
        table = read_scores(tmp_path / "scores.csv")
        result = bootstrap(table.videos, model_scores(table), Resampling(draws=300), ["log loss"])
        widths.append((intervals(result)["high"] - intervals(result)["low"]).item())
        first = halves(table.videos["group"], 0)
        pairs = table.videos.groupby(names_of(table.videos.index))
        assert pairs.ngroups < len(table.videos) and first.groupby(names_of(first.index)).nunique().max() == 1
    assert widths[1] == pytest.approx(widths[0])


def names_of(index: pd.Index) -> pd.Index:
    """Return a name that the two swaps of a pair of people and all their copies share."""
    people = index.str.split("-").str[-1].str.split("_")
    return pd.Index([json.dumps(sorted(pair)) for pair in people])
