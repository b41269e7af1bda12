"""From scored faces to an answer: values computed by hand, and every reason for an inconclusive answer."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.inspection import verdict
from dfdc_lib.inspection.verdict import MAX_TURN, MIN_FRAMES, MIN_SHARPNESS, MIN_SIDE
from dfdc_lib.records import Answer, Person, Trial

BOX = (100, 100, 200, 240)


def shifted(by: float) -> tuple[float, ...]:
    """The same face moved to the right; moved by half of the box, the IoU is 1/3."""
    return BOX[0] + by, BOX[1], BOX[2] + by, BOX[3]


def scored(*rows: tuple[int, tuple, float]) -> pd.DataFrame:
    """One model's table: frame_index, box, score."""
    columns = ["frame_index", "box_x0", "box_y0", "box_x1", "box_y1", "score"]
    return pd.DataFrame([(frame_index, *box, score) for frame_index, box, score in rows], columns=columns)


def faces(scores: list[float] | np.ndarray, side: float = 100.0, **facts: Any) -> pd.DataFrame:
    """One person every third frame, a tenth of a second apart, who can be judged unless the facts say otherwise."""
    index = np.arange(len(scores))
    table = pd.DataFrame({"frame_index": 3 * index, "time_seconds": index / 10, "score": scores})
    box = {"box_x0": 10.0, "box_y0": 20.0, "box_x1": 10 + side, "box_y1": 30 + side}
    return table.assign(**box, **({"track": 0, "sharpness": 200.0, "turn": 0.1, "models": 1} | facts))


def person(**facts: Any) -> Person:
    longest = 20 if facts.get("mean", 0.9) >= 0.5 else 0
    return verdict.describe_people(faces([0.9] * 20))[0].model_copy(update={"longest_forged": longest} | facts)


def trial(title: str, answer: Answer | None = "fake", **facts: Any) -> Trial:
    default = {"changed": True, "frames": 9, "score": 0.9, "low": 0.8, "high": 0.95}
    return Trial(title=title, answer=answer, **(default | facts))


@pytest.mark.parametrize(
    ("others", "score", "models"),
    [
        ([], 0.2, 1),
        ([scored((0, BOX, 0.6))], 0.4, 2),
        ([scored((0, shifted(20), 0.6))], 0.4, 2),  # IoU 2/3
        ([scored((0, shifted(50), 0.6))], 0.2, 1),  # IoU 1/3: another person
        ([scored((3, BOX, 0.6))], 0.2, 1),  # another frame
        ([scored((0, shifted(30), 0.9), (0, shifted(5), 0.4))], 0.3, 2),  # the nearer one of two
        ([scored((0, BOX, 0.6)), scored((0, shifted(10), 1.0))], 0.6, 3),
    ],
)
def test_models_are_averaged_face_by_face(others: list[pd.DataFrame], score: float, models: int) -> None:
    joined = verdict.join_models([scored((0, BOX, 0.2), (7, BOX, 0.5)), *others])
    assert joined[["frame_index", "box_x0", "models"]].values.tolist() == [[0, 100, models], [7, 100, 1]]
    assert joined["score"].tolist() == pytest.approx([score, 0.5])


def test_people_in_a_frame_are_averaged_separately() -> None:
    first = scored((0, BOX, 0.2), (0, shifted(300), 0.8), (5, BOX, 0.3)).set_index(pd.Index([7, 7, 9]))
    other = scored((5, BOX, 0.5), (0, shifted(310), 1.0), (0, shifted(-10), 0.0))
    joined = verdict.join_models([first, other])
    assert joined["score"].tolist() == pytest.approx([0.1, 0.9, 0.4])
    assert joined["models"].tolist() == [2, 2, 2] and joined.index.tolist() == [0, 1, 2]


def test_faces_come_from_the_model_that_found_most() -> None:
    assert len(verdict.join_models([scored(), scored()])) == 0
    few, many = scored((0, BOX, 0.2)), scored((0, BOX, 0.6), (3, BOX, 0.8))
    for tables in ([few, many], [many, few], [scored(), few, many]):
        joined = verdict.join_models([table.assign(logit=0.0, turn=0.1) for table in tables])
        assert joined["score"].tolist() == pytest.approx([0.4, 0.8]) and joined["models"].tolist() == [2, 1]
        assert list(joined.columns) == [*scored().columns, "turn", "models"]  # the logit of one model is dropped


@pytest.mark.parametrize(
    ("frames", "score", "interval", "answer"),
    [
        (1, 0.98, (None, None), "inconclusive"),
        (MIN_FRAMES - 1, 0.98, (0.97, 0.99), "inconclusive"),
        (MIN_FRAMES, 0.98, (0.97, 0.99), "fake"),
        (32, 0.503, (0.431, 0.568), "inconclusive"),
        (32, 0.5, (0.5, 0.5), "fake"),
        (32, 0.6, (0.5, 0.7), "fake"),
        (32, 0.4, (0.3, 0.5), "inconclusive"),
        (32, 0.2, (0.1, 0.499), "real"),
    ],
)
def test_one_rule_judges_the_video_and_its_versions(frames: int, score: float, interval: tuple, answer: Answer) -> None:
    assert verdict.answer_of(frames, score, interval) == answer


def test_a_single_frame_has_no_interval() -> None:
    assert verdict.mean_interval(np.array([0.98])) == (None, None)
    [person] = verdict.describe_people(faces([0.98]))
    assert (person.low, person.high) == (None, None)
    assert verdict.decide([person], []) == ("inconclusive", person.doubts)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 8, 9, 64])
def test_interval_contains_the_mean(count: int) -> None:
    for score in (0.0, 0.3, 1.0):
        assert verdict.mean_interval(np.full(count, score)) == pytest.approx((score, score))
    scores = np.linspace(0.1, 0.9, count)
    low, high = verdict.mean_interval(scores)
    assert 0 <= low < scores.mean() < high <= 1
    assert verdict.mean_interval(scores) == (low, high)  # the seed is fixed


@pytest.mark.parametrize("count", [8, 64])
def test_interval_has_its_nominal_coverage(count: int) -> None:
    """Independent frames; plain percentiles of blocks of four cover the true mean in 71 % of series of eight."""
    series = np.random.default_rng(1).normal(0.5, 0.1, (300, count))
    covered = [low <= 0.5 <= high for low, high in map(verdict.mean_interval, series)]
    assert 0.91 <= np.mean(covered) <= 0.98


def test_neighbours_are_drawn_together() -> None:
    """Alternating scores have equal block means; correlated neighbours give a wider interval than shuffled ones."""
    assert verdict.mean_interval(np.tile([0.2, 0.4], 16)) == pytest.approx((0.3, 0.3))
    correlated = np.repeat([0.2, 0.4], 16)
    shuffled = np.random.default_rng(0).permutation(correlated)
    widths = [high - low for low, high in map(verdict.mean_interval, (correlated, shuffled))]
    assert widths[0] > 1.3 * widths[1] > 0


@pytest.mark.parametrize(
    ("scores", "spans"),
    [
        ([], ()),
        ([0.5, 0.5, 0.49], ((0, 0.5),)),
        ([0.9, 0.1, 0.9, 0.1, 0.9], ()),  # a single frame may be chance
        ([0.9, 0.9, 0.1, 0.9, 0.9, 0.9], ((0, 0.5), (1.5, 2.5))),
    ],
)
def test_forged_spans(scores: list[float], spans: tuple) -> None:
    assert verdict.forged_spans([place / 2 for place in range(len(scores))], scores) == spans


def test_one_person() -> None:
    assert verdict.describe_people(faces([])) == ()
    late = faces([0.8] * 6, models=3).assign(frame_index=range(100, 106), time_seconds=2 + np.arange(6) / 10)
    table = pd.concat([faces([0.2] * 6, models=2), late]).sample(frac=1)
    [person] = verdict.describe_people(table.assign(sharpness=np.arange(12) + 100, turn=0.2))
    assert (person.track, person.frames, person.models, person.doubts, person.longest_forged) == (0, 12, 2, (), 6)
    assert (person.mean, person.confident, person.turn) == pytest.approx((0.5, 0.5, 0.2))
    assert person.low < 0.5 < person.high
    assert (person.first_seconds, person.last_seconds, person.forged_spans) == (0, 2.5, ((2.0, 2.5),))
    assert (person.side_pixels, person.sharpness) == (100, 105.5)  # the shorter side; medians
    [person] = verdict.describe_people(faces([0.9] * 18 + [0.1] * 2))  # the confident strategy drops the real frames
    assert (person.mean, person.confident) == pytest.approx((0.82, 0.9))


@pytest.mark.parametrize(
    ("count", "facts", "doubts"),
    [
        (MIN_FRAMES, {}, []),
        (MIN_FRAMES - 1, {}, ["frames: 7"]),
        (20, {"side": MIN_SIDE}, []),
        (20, {"side": MIN_SIDE - 1}, ["39.0 pixels"]),
        (20, {"sharpness": MIN_SHARPNESS}, []),
        (20, {"sharpness": MIN_SHARPNESS - 1}, ["19.0"]),
        (20, {"turn": MAX_TURN}, []),
        (20, {"turn": 0.61}, ["0.61"]),
        (1, {"side": 10, "sharpness": 0, "turn": 3}, ["frames: 1", "10.0 pixels", "0.0", "3.00"]),
        (20, {"turn": np.repeat([0.1, 2], [13, 7]), "sharpness": np.repeat([0, 90], [7, 13])}, []),  # a few bad frames
    ],
)
def test_who_cannot_be_judged(count: int, facts: dict, doubts: list[str]) -> None:
    [person] = verdict.describe_people(faces([0.9] * count, **facts))
    assert len(person.doubts) == len(doubts)
    assert all(number in doubt for number, doubt in zip(doubts, person.doubts, strict=True))


CALM, SUSPICIOUS, AWAY = faces([0.1] * 20, track=1), faces([0.7] * 20, track=2), faces([0.9] * 20, track=3, turn=0.9)
SELDOM, BLURRED = faces([0.99] * 2, track=4), faces([0.2] * 20, track=5, sharpness=3)
PART_OF_THE_TIME = faces([0.03] * 20 + [0.98] * 16 + [0.03] * 28)  # forged, but the mean is 0.27


@pytest.mark.parametrize(
    ("tables", "order"),
    [
        ([CALM, SUSPICIOUS], [2, 1]),
        ([faces([0.4] * 20, track=5), PART_OF_THE_TIME], [0, 5]),
        ([CALM, AWAY, SUSPICIOUS], [2, 1, 3]),  # those who can be judged come first
        ([SELDOM, CALM], [1, 4]),
        ([SELDOM, BLURRED, AWAY], [3, 5, 4]),  # two frames mean least
    ],
)
def test_order_of_people(tables: list[pd.DataFrame], order: list[int]) -> None:
    people = verdict.describe_people(pd.concat(tables))
    assert [person.track for person in people] == order
    assert [person.number for person in people] == list(range(1, len(order) + 1))


def test_version_is_judged_by_the_mean_of_its_frames() -> None:
    empty = verdict.try_version("blurred", faces([]))
    assert empty == Trial(title="blurred", changed=True, frames=0, score=None, low=None, high=None, answer=None)
    for score, answer in ((0.2, "real"), (0.5, "fake"), (0.7, "fake")):
        trial = verdict.try_version("half size", faces([score] * 10), changed=False)
        assert (trial.title, trial.changed, trial.frames, trial.answer) == ("half size", False, 10, answer)
        assert (trial.score, trial.low, trial.high) == pytest.approx((score, score, score))
    few = verdict.try_version("noisy", faces([0.9] * 3))
    assert (few.frames, few.answer) == (3, "inconclusive")


def placed(track: int, x: float, frames: range) -> pd.DataFrame:
    """A face that does not move."""
    box = {"box_x0": x, "box_y0": 50.0, "box_x1": x + 80, "box_y1": 150.0}
    return pd.DataFrame({"track": track, "frame_index": list(frames), "score": 0.5}).assign(**box)


def test_person_is_found_again_by_place_whatever_the_tracks_are_called() -> None:
    video = pd.concat([placed(0, 100, range(0, 60, 6)), placed(1, 400, range(0, 60, 6))])
    twice = [placed(1, 104, range(0, 30, 4)), placed(2, 108, range(40, 60, 4))]
    version = pd.concat([placed(0, 395, range(0, 60, 4)), *twice])
    assert sorted(verdict.find_again(version, video, 0)["track"].unique()) == [1, 2]
    assert sorted(verdict.find_again(version, video, 1)["track"].unique()) == [0]
    alone = placed(0, 100, range(0, 60, 4))
    assert verdict.find_again(alone, video, 1).empty  # not mistaken for the missing person
    assert verdict.find_again(placed(5, 800, range(0, 60, 4)), video, 0).empty  # overlaps nobody
    assert verdict.find_again(alone[:0], video, 0).empty


def test_moving_person_is_found_again_in_the_nearest_frame() -> None:
    """Two people change places; a face of the version belongs to the person who was there at that time."""
    before = [placed(0, 100, range(0, 30, 6)), placed(1, 400, range(0, 30, 6))]
    video = pd.concat([*before, placed(0, 400, range(30, 60, 6)), placed(1, 100, range(30, 60, 6))])
    version = placed(7, 400, range(33, 60, 4))
    assert len(verdict.find_again(version, video, 0)) == len(version)
    assert verdict.find_again(version, video, 1).empty


STEADY = [trial("H.264, CRF 23"), trial("blurred")]
CALM_VERSIONS = [trial("blurred", "real", score=0.2, low=0.1, high=0.3)]
REAL = {"mean": 0.1, "low": 0.1, "high": 0.2}


@pytest.mark.parametrize(
    ("people", "trials", "answer"),
    [
        ([person()], [], "fake"),
        ([person(mean=0.5, low=0.5, high=0.5)], STEADY, "fake"),
        ([person(mean=0.6, low=0.5, high=0.7)], [*STEADY, trial("all 20 frames", changed=False)], "fake"),
        ([person(mean=0.2, low=0.1, high=0.499, longest_forged=3)], CALM_VERSIONS, "real"),
        ([person(**REAL), person(doubts=("too small",), mean=0.4)], CALM_VERSIONS, "real"),
        ([person(**REAL), person(doubts=("seen in 3",), frames=3)], CALM_VERSIONS, "real"),  # seldom seen
        ([person()], [*STEADY, trial("noisy", "inconclusive"), trial("half size", None)], "fake"),
    ],
)
def test_answer(people: list[Person], trials: list[Trial], answer: str) -> None:
    assert verdict.decide(people, trials) == (answer, ())


@pytest.mark.parametrize(
    ("people", "trials", "doubts"),
    [
        ([person(doubts=("too blurred", "too small"))], STEADY, ["too blurred", "too small"]),
        ([person(mean=0.55, low=0.42, high=0.68)], STEADY, ["0.42 to 0.68"]),
        ([person(mean=0.45, low=0.4, high=0.5)], [], ["0.40 to 0.50"]),
        (
            [person()],
            [*STEADY, trial("noisy", "real", score=0.2), trial("16 frames", "real")],
            ["noisy (mean score 0.20), 16"],
        ),
        ([person(doubts=("small",), low=0.1, high=0.9)], [trial("noisy", "real")], ["small", "0.10 to 0.90", "noisy"]),
        ([person()], [*STEADY, trial("excerpt", "real", changed=False, score=0.31)], ["excerpt (mean score 0.31)"]),
        ([person(**REAL), person(doubts=("too small",), number=7)], CALM_VERSIONS, ["person 7"]),
        (verdict.describe_people(PART_OF_THE_TIME), CALM_VERSIONS, ["forged: 16"]),
        ([person(track=1, **REAL), *verdict.describe_people(PART_OF_THE_TIME)], CALM_VERSIONS, ["person 1"]),
    ],
)
def test_inconclusive_answer_and_its_reasons(people: list[Person], trials: list[Trial], doubts: list[str]) -> None:
    answer, reasons = verdict.decide(people, trials)
    assert answer == "inconclusive" and len(reasons) == len(doubts)
    assert all(part in reason for part, reason in zip(doubts, reasons, strict=True))


@pytest.mark.parametrize(
    ("trials", "parts"),
    [
        ([trial("all 20 frames", changed=False)], ["No changed version"]),
        ([*STEADY, trial("excerpt", "real", changed=False)], ["2 of 2 look forged."]),
        ([*STEADY, trial("noisy", "inconclusive")], ["2 of 3 look forged, 1 is inconclusive (noisy)."]),
        ([*STEADY, trial("half size", None)], ["2 of 2 look forged.", "Not tried", "half size"]),
        ([trial("half size", None), trial("noisy", None)], ["not found in any"]),
    ],
)
def test_stability_counts_every_version_once(trials: list[Trial], parts: list[str]) -> None:
    assert all(part in verdict.stability(trials) for part in parts)
