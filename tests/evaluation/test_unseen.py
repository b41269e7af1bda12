"""What a model card says of the videos of a run."""

from pathlib import Path

import pandas as pd
import pytest

from dfdc_lib.classifier.model_files import WINNER_SEEN
from dfdc_lib.evaluation.unseen import CHOSEN_BY, TRAINED_ON, UNKNOWN, UNSEEN, identity_names, role_notes, roles, seen
from dfdc_lib.records import ModelCard, Recipe, Seen, Video, VideoInfo
from dfdc_lib.run_folder import Run, open_run

INFO = VideoInfo(height=8, width=8, fps=25, frame_count=9, duration_seconds=1, rotation_degrees=0)
NOTHING = Seen(contents=("another video",))


def card(trained_on: Seen | None = NOTHING, chosen_by: Seen | None = NOTHING) -> ModelCard:
    lists = {"trained_on": trained_on, "chosen_by": chosen_by}
    return ModelCard(name="m", encoder="resnet18", recipe=Recipe(size=64), run="run", train_folds=(0, 1), **lists)


def names(*listed: str) -> Seen:
    return Seen(names=listed, contents=("another video",))


def contents(*listed: str) -> Seen:
    return Seen(contents=listed)


def make_run(folder: Path, dataset: str, videos: dict[str, tuple[str, ...]], compression: str = "c23") -> Run:
    """Write a run of videos with these identities; the content of a file is its name and compression."""
    run = open_run(folder)
    records = [
        Video(video_id=f"{compression}-{name}", path=Path(f"/{name}.mp4"), dataset=dataset, identities=identities)
        for name, identities in videos.items()
    ]
    infos = {video.video_id: INFO.model_copy(update={"content": video.video_id}) for video in records}
    run.write_videos(records, infos)
    return run


PEOPLE = {"1": ("youtube/1",), "1_2": ("youtube/1", "youtube/2"), "3": ("youtube/3",), "4": ("youtube/4",)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return make_run(tmp_path / "run", "ffpp", PEOPLE)


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([card()], [UNSEEN] * 4),
        ([card(names("ffpp/youtube/2"), names("ffpp/youtube/3"))], [TRAINED_ON, TRAINED_ON, CHOSEN_BY, UNSEEN]),
        ([card(contents("c23-1_2"), contents("c23-4"))], [TRAINED_ON, TRAINED_ON, UNSEEN, CHOSEN_BY]),
        ([card(names("ffpp/youtube/1"), names("ffpp/youtube/1"))], [TRAINED_ON, TRAINED_ON, UNSEEN, UNSEEN]),
        ([card(names("celebdf/youtube/1"))], [UNSEEN] * 4),  # another data set
        ([card(contents("c23-3")), card(NOTHING, contents("c23-3"))], [UNSEEN, UNSEEN, TRAINED_ON, UNSEEN]),
        ([card(NOTHING, contents("c23-3")), card(contents("c23-3"))], [UNSEEN, UNSEEN, TRAINED_ON, UNSEEN]),
        ([card(None, None)], [UNKNOWN] * 4),  # of an older kit
        ([card(contents("c23-3")), card(None, None)], [UNKNOWN, UNKNOWN, TRAINED_ON, UNKNOWN]),
    ],
)
def test_the_strongest_role_over_the_cards_and_the_identity_group(
    cards: list[ModelCard], expected: list[str], run: Run
) -> None:
    result = roles(run, cards)
    assert result.index.tolist() == ["c23-1", "c23-1_2", "c23-3", "c23-4"] and result.index.name == "video_id"
    assert result.tolist() == expected


def test_groups_of_look_alikes_and_folds_dealt_again(run: Run) -> None:
    trained = card(contents("c23-1"))
    for folds, groups in ([0, 0, 1, 2], [0, 0, 1, 2]), ([2, 2, 1, 0], [0, 0, 1, 2]), ([0, 0, 1, 0], [0, 0, 1, 0]):
        table = pd.DataFrame({"video_id": roles(run, [trained]).index, "fold": folds, "group": groups})
        run.write_table("folds.csv", table)
        together = TRAINED_ON if groups[3] == 0 else UNSEEN
        assert roles(run, [trained]).tolist() == [TRAINED_ON, TRAINED_ON, UNSEEN, together]


def test_people_whom_the_folds_leave_in_training_and_test(run: Run, tmp_path: Path) -> None:
    """Folds by target put the donor of a face into any fold: the fake 1_2 is tested, its donor 2 is trained on."""
    run.write_videos(
        [*run.read_videos(), Video(video_id="c23-2", path=Path("/2"), dataset="ffpp", identities=("youtube/2",))],
        run.read_infos() | {"c23-2": INFO.model_copy(update={"content": "c23-2"})},
    )
    table = {"video_id": ["c23-1", "c23-1_2", "c23-2", "c23-3"], "group": [0, 0, 1, 2]}  # c23-4 is in no fold
    run.write_table("folds.csv", pd.DataFrame(table))
    listed = seen(run, ["c23-2", "c23-3"], ["c23-1", "c23-1_2"])
    lists = {"names": ("ffpp/youtube/3",), "contents": ("c23-2", "c23-3"), "shared": ("ffpp/youtube/2",)}
    assert listed == Seen(**lists, tested=("c23-1", "c23-1_2"))
    expected = {"c23-1": UNSEEN, "c23-1_2": UNSEEN, "c23-2": TRAINED_ON, "c23-3": TRAINED_ON, "c23-4": UNSEEN}
    assert roles(run, [card(listed)]).to_dict() == expected
    copies = make_run(tmp_path / "c40", "ffpp", {"1_2": PEOPLE["1_2"], "2": ("youtube/2",), "4": PEOPLE["4"]}, "c40")
    assert roles(copies, [card(listed)]).tolist() == [TRAINED_ON, TRAINED_ON, UNSEEN]  # only its own tests are exempt


def test_the_card_holds_in_every_run(run: Run, tmp_path: Path) -> None:
    """A renamed copy, another compression, and a plain folder with a copy of one file under another name."""
    trained = card(seen(run, ["c23-1", "c23-1_2"]), seen(run, ["c23-3"]))
    assert trained.trained_on == Seen(names=("ffpp/youtube/1", "ffpp/youtube/2"), contents=("c23-1", "c23-1_2"))
    expected = [TRAINED_ON, TRAINED_ON, CHOSEN_BY, UNSEEN]
    assert roles(Run(run.root.rename(tmp_path / "renamed")), [trained]).tolist() == expected
    assert roles(make_run(tmp_path / "other", "ffpp", PEOPLE, "c40"), [trained]).tolist() == expected
    plain = make_run(tmp_path / "plain", "", {"1": ("youtube/1",), "copy": ("copy",)})
    assert roles(plain, [trained]).tolist() == [TRAINED_ON, UNSEEN]  # "c23-1" by content
    plain.write_videos(plain.read_videos(), {"c23-copy": INFO.model_copy(update={"content": "c23-3"})})
    assert roles(plain, [trained]).tolist() == [UNKNOWN, CHOSEN_BY]  # the first is unreadable and has no name


@pytest.mark.parametrize(
    ("dataset", "part", "expected"),
    [
        ("dfdc", 0, CHOSEN_BY),
        ("dfdc", 2, CHOSEN_BY),
        ("dfdc", 3, TRAINED_ON),
        ("dfdc", 49, TRAINED_ON),
        ("dfdc", None, UNKNOWN),  # DFDC's test set, or one part without its folder's name
        ("", None, UNKNOWN),  # a plain folder may hold videos of DFDC
        ("sample", 3, UNSEEN),  # has parts, but is not DFDC
        ("ffpp", None, UNSEEN),
    ],
)
def test_the_winners_models_saw_parts_of_dfdc(dataset: str, part: int | None, expected: str, tmp_path: Path) -> None:
    run = open_run(tmp_path)
    run.write_videos([Video(video_id="v", path=Path("/v.mp4"), dataset=dataset, part=part)], {"v": INFO})
    assert roles(run, [card(**WINNER_SEEN)]).tolist() == [expected]


def test_a_video_without_content_cannot_be_listed(run: Run) -> None:
    run.write_videos(run.read_videos(), {"c23-1": INFO})  # of an older kit
    with pytest.raises(ValueError, match="00"):
        seen(run, ["c23-1"])


def test_names_and_notes() -> None:
    video = Video(video_id="v", path=Path("v"), identities=("a", "b"))
    assert identity_names(video) == []
    assert identity_names(video.model_copy(update={"dataset": "dfdc"})) == ["dfdc/a", "dfdc/b"]
    assert "2 unseen, 1 trained on" in role_notes(pd.Series([UNSEEN, TRAINED_ON, UNSEEN]))[0]
    assert "06" in role_notes(pd.Series([UNKNOWN]))[1]
