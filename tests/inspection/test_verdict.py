"""From scored faces to an answer: values known by hand, and every reason for not answering."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.inspection.inspect import verdict
from dfdc_lib.inspection.verdict import MAX_TURN, MIN_FRAMES, MIN_SHARPNESS, MIN_SIDE
from dfdc_lib.records import Person, Trial

BOX = (100, 100, 200, 240)


def shifted(by: float) -> tuple[float, ...]:
    """The same face some pixels to the right: half of the box is IoU ⅓."""
    return BOX[0] + by, BOX[1], BOX[2] + by, BOX[3]


def scored(*rows: tuple[int, tuple, float]) -> pd.DataFrame:
    """One model's table: frame_index, box, score."""
    columns = ["frame_index", "box_x0", "box_y0", "box_x1", "box_y1", "score"]
    return pd.DataFrame([(frame_index, *box, score) for frame_index, box, score in rows], columns=columns)


def faces(scores: list[float] | np.ndarray, **facts: Any) -> pd.DataFrame:
    """One person in consecutive frames, a tenth of a second apart, fit to be judged unless the facts say otherwise."""
    known = {"track": 0, "side": 100.0, "sharpness": 200.0, "turn": 0.1, "models": 1} | facts
    index = np.arange(len(scores))
    table = pd.DataFrame({"frame_index": 3 * index, "time_seconds": index / 10, "score": scores})
    box = {"box_x0": 10.0, "box_y0": 20.0, "box_x1": 10 + known["side"], "box_y1": 30 + known["side"]}
    return table.assign(**box, **{name: value for name, value in known.items() if name != "side"})


def person(**facts: Any) -> Person:
    found = verdict.describe_people(faces([0.9] * 20))[0]
    return found.model_copy(update={"longest_forged": 20 if facts.get("mean", 0.9) >= 0.5 else 0} | facts)


def trial(title: str, flips: bool = False, **facts: Any) -> Trial:
    return Trial(
        title=title, flips=flips, **({"changed": True, "frames": 9, "score": 0.9, "low": 0.8, "high": 0.95} | facts)
    )


# Several models ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("others", "score", "models"),
    [
        ([], 0.2, 1),
        ([scored()], 0.2, 1),
        ([scored((0, BOX, 0.6))], 0.4, 2),
        ([scored((0, shifted(20), 0.6))], 0.4, 2),  # moved a little: IoU ⅔
        ([scored((0, shifted(50), 0.6))], 0.2, 1),  # another person: IoU ⅓
        ([scored((3, BOX, 0.6))], 0.2, 1),  # in that frame, one model did not see the face
        ([scored((0, shifted(30), 0.9), (0, shifted(5), 0.4))], 0.3, 2),  # of two, the nearer one
        ([scored((0, BOX, 0.6)), scored((0, shifted(10), 1.0))], 0.6, 3),
        ([scored((0, BOX, 0.6)), scored((0, shifted(500), 1.0))], 0.4, 2),
    ],
)
def test_models_are_averaged_face_by_face(others: list[pd.DataFrame], score: float, models: int) -> None:
    joined = verdict.join_models([scored((0, BOX, 0.2), (7, BOX, 0.5)), *others])
    assert joined[["frame_index", "box_x0", "models"]].values.tolist() == [[0, 100, models], [7, 100, 1]]
    assert joined["score"].tolist() == pytest.approx([score, 0.5])


def test_two_people_of_a_frame_keep_their_own_scores() -> None:
    first = scored((0, BOX, 0.2), (0, shifted(300), 0.8), (5, BOX, 0.3)).set_index(pd.Index([7, 7, 9]))
    other = scored((5, BOX, 0.5), (0, shifted(310), 1.0), (0, shifted(-10), 0.0))
    joined = verdict.join_models([first, other])
    assert joined["score"].tolist() == pytest.approx([0.1, 0.9, 0.4])
    assert joined["models"].tolist() == [2, 2, 2] and joined.index.tolist() == [0, 1, 2]


def test_no_face_stays_no_face() -> None:
    assert len(verdict.join_models([scored(), scored()])) == 0


def test_the_order_of_the_models_does_not_matter() -> None:
    """The model that sees most faces says which there are: one that sees none does not hide them."""
    few, many = scored((0, BOX, 0.2)), scored((0, BOX, 0.6), (3, BOX, 0.8))
    for tables in ([few, many], [many, few], [scored(), few, many]):
        joined = verdict.join_models(tables)
        assert joined["score"].tolist() == pytest.approx([0.4, 0.8]) and joined["models"].tolist() == [2, 1]


def test_one_models_logit_does_not_stand_beside_the_average() -> None:
    joined = verdict.join_models(
        [scored((0, BOX, 0.5)).assign(logit=0.0, turn=0.1), scored((0, BOX, 0.9)).assign(logit=2.2, turn=0.1)]
    )
    assert list(joined.columns) == [*scored().columns, "turn", "models"]


# The interval --------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 64])
def test_interval_of_constant_scores_is_that_constant(score: float, count: int) -> None:
    assert verdict.mean_interval(np.full(count, score)) == pytest.approx((score, score))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9, 64])
def test_interval_of_scores_that_differ_has_the_mean_inside(count: int) -> None:
    scores = np.linspace(0.1, 0.9, count)
    low, high = verdict.mean_interval(scores)
    assert 0 <= low < scores.mean() < high <= 1


@pytest.mark.parametrize("count", [8, 64])
def test_interval_holds_the_true_mean_as_often_as_it_says(count: int) -> None:
    """Of independent frames; plain percentiles of blocks of four hold it in 71 % of series of eight."""
    series = np.random.default_rng(1).normal(0.5, 0.1, (300, count))
    held = [low <= 0.5 <= high for low, high in map(verdict.mean_interval, series)]
    assert 0.91 <= np.mean(held) <= 0.98


def test_neighbours_are_drawn_together() -> None:
    """Every block of four has the same mean where the scores alternate; where they do not, the interval is wider than of a shuffle."""
    assert verdict.mean_interval(np.tile([0.2, 0.4], 16)) == pytest.approx((0.3, 0.3))
    low, high = verdict.mean_interval(np.repeat([0.2, 0.4], 16))
    spread = np.random.default_rng(0).permutation(np.repeat([0.2, 0.4], 16))
    free_low, free_high = verdict.mean_interval(spread)
    assert high - low > 1.3 * (free_high - free_low) > 0


def test_interval_is_that_of_its_seed() -> None:
    scores = np.random.default_rng(5).random(20)
    assert (
        verdict.mean_interval(scores) == verdict.mean_interval(scores, seed=0) != verdict.mean_interval(scores, seed=1)
    )


# Spans ---------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("scores", "spans"),
    [
        ([], ()),
        ([0.9], ()),  # one alone may be chance
        ([0.1, 0.2], ()),
        ([0.9, 0.9], ((0, 1),)),
        ([0.5, 0.5, 0.49], ((0, 1),)),  # from one half on
        ([0.9, 0.1, 0.8, 0.9, 0.2], ((2, 3),)),
        ([0.9, 0.1, 0.9, 0.1, 0.9], ()),
        ([0.9, 0.9, 0.1, 0.9, 0.9, 0.9], ((0, 1), (3, 5))),
        ([0.1, 0.9, 0.9, 0.9], ((1, 3),)),
    ],
)
def test_forged_spans(scores: list[float], spans: tuple) -> None:
    assert verdict.forged_spans(range(len(scores)), scores) == spans
    halves = verdict.forged_spans([place / 2 for place in range(len(scores))], scores)
    assert halves == tuple((start / 2, end / 2) for start, end in spans)


# People --------------------------------------------------------------------------------------------------------------------------------
def test_nobody() -> None:
    assert verdict.describe_people(faces([])) == ()


def test_one_person() -> None:
    table = pd.concat(
        [faces([0.2] * 6, models=2), faces([0.8] * 6, models=3).assign(frame_index=range(100, 106))]
    ).sample(frac=1)
    table.loc[table["frame_index"] >= 100, "time_seconds"] += 2
    [found] = verdict.describe_people(table.assign(sharpness=np.arange(12) + 100, turn=0.2))
    assert (found.track, found.frames, found.models, found.doubts, found.longest_forged) == (0, 12, 2, (), 6)
    assert (found.mean, found.confident, found.turn) == pytest.approx((0.5, 0.5, 0.2))
    assert found.low < 0.5 < found.high
    assert (found.first_seconds, found.last_seconds, found.forged_spans) == (0, 2.5, ((2.0, 2.5),))
    assert (found.side_pixels, found.sharpness) == (100, 105.5)  # the shorter side; medians


def test_the_confident_strategy_is_told_beside_the_mean() -> None:
    [found] = verdict.describe_people(
        faces([0.9] * 18 + [0.1] * 2)
    )  # 18 of 20 surely fake: more than 8 and more than 11
    assert (found.mean, found.confident) == pytest.approx((0.82, 0.9))


@pytest.mark.parametrize(
    ("count", "facts", "doubt"),
    [
        (MIN_FRAMES, {}, None),
        (MIN_FRAMES - 1, {}, "seen in 7 of the examined frames, at least 8 are needed"),
        (20, {"side": MIN_SIDE}, None),
        (20, {"side": MIN_SIDE - 1}, "the face is 39.0 pixels across, at least 40 are needed"),
        (20, {"sharpness": MIN_SHARPNESS}, None),
        (20, {"sharpness": MIN_SHARPNESS - 1}, "the face is too blurred: sharpness 19.0, at least 20 is needed"),
        (20, {"turn": MAX_TURN}, None),
        (20, {"turn": 0.61}, "the face is turned away: 0.61, at most 0.5 is fit to be judged"),
    ],
)
def test_who_cannot_be_judged(count: int, facts: dict, doubt: str | None) -> None:
    [found] = verdict.describe_people(faces([0.9] * count, **facts))
    assert found.doubts == ((doubt,) if doubt else ())


def test_all_doubts_are_told() -> None:
    [found] = verdict.describe_people(faces([0.9], side=10, sharpness=0, turn=3))
    assert len(found.doubts) == 4


def test_a_few_bad_frames_are_no_doubt() -> None:
    [found] = verdict.describe_people(
        faces([0.9] * 20, turn=np.repeat([0.1, 2.0], [13, 7]), sharpness=np.repeat([0.0, 90.0], [7, 13]))
    )
    assert found.doubts == () and (found.turn, found.sharpness) == (0.1, 90)


CALM, SUSPICIOUS, AWAY = faces([0.1] * 20, track=1), faces([0.7] * 20, track=2), faces([0.9] * 20, track=3, turn=0.9)
SELDOM, BLURRED = faces([0.99] * 2, track=4), faces([0.2] * 20, track=5, sharpness=3)


@pytest.mark.parametrize(
    ("tables", "order"),
    [
        ([CALM, SUSPICIOUS], [2, 1]),
        ([CALM, AWAY, SUSPICIOUS], [2, 1, 3]),  # whoever can be judged, then by suspicion
        ([SELDOM, CALM], [1, 4]),
        ([SELDOM, BLURRED, AWAY], [3, 5, 4]),  # nobody can be judged: two frames say least
        ([SELDOM], [4]),
    ],
)
def test_order_of_people(tables: list[pd.DataFrame], order: list[int]) -> None:
    assert [found.track for found in verdict.describe_people(pd.concat(tables))] == order


# Changed versions ----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("is_fake", [True, False])
def test_a_version_without_a_face_flips(is_fake: bool) -> None:
    assert verdict.try_version("blurred", faces([]), is_fake) == Trial(
        title="blurred", changed=True, frames=0, score=None, low=None, high=None, flips=True
    )


@pytest.mark.parametrize("score", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("is_fake", [True, False])
def test_a_version_is_judged_by_the_mean_of_its_frames(score: float, is_fake: bool) -> None:
    found = verdict.try_version("half the size", faces([score] * 10), is_fake, changed=False)
    assert (found.title, found.changed, found.frames, found.flips) == (
        "half the size",
        False,
        10,
        (score >= 0.5) != is_fake,
    )
    assert (found.score, found.low, found.high) == pytest.approx((score, score, score))


def placed(track: int, x: float, frames: range, width: float = 80.0) -> pd.DataFrame:
    """A face that stays at its place."""
    box = {"box_x0": x, "box_y0": 50.0, "box_x1": x + width, "box_y1": 150.0}
    return pd.DataFrame({"track": track, "frame_index": list(frames), "score": 0.5}).assign(**box)


def test_a_person_is_found_again_by_place_whatever_the_tracks_are_called() -> None:
    video = pd.concat([placed(0, 100, range(0, 60, 6)), placed(1, 400, range(0, 60, 6))])
    version = pd.concat(
        [placed(0, 395, range(0, 60, 4)), placed(1, 104, range(0, 30, 4)), placed(2, 108, range(40, 60, 4))]
    )
    assert sorted(verdict.find_again(version, video, 0)["track"].unique()) == [1, 2]
    assert sorted(verdict.find_again(version, video, 1)["track"].unique()) == [0]


def test_somebody_else_is_not_taken_for_the_person_who_was_not_found_again() -> None:
    video = pd.concat([placed(0, 100, range(0, 60, 6)), placed(1, 400, range(0, 60, 6), width=30)])
    version = placed(0, 100, range(0, 60, 4))
    assert verdict.find_again(version, video, 1).empty
    assert verdict.find_again(placed(5, 800, range(0, 60, 4)), video, 0).empty  # overlaps nobody
    assert verdict.find_again(version[:0], video, 0).empty


def test_who_moves_is_found_again_by_the_nearest_frame() -> None:
    """Two people change places; each version's face belongs to whoever was there at that time."""
    left, right = placed(0, 100, range(0, 30, 6)), placed(1, 400, range(0, 30, 6))
    video = pd.concat([left, right, placed(0, 400, range(30, 60, 6)), placed(1, 100, range(30, 60, 6))])
    version = placed(7, 400, range(33, 60, 4))
    assert len(verdict.find_again(version, video, 0)) == len(version)
    assert verdict.find_again(version, video, 1).empty


# The answer ----------------------------------------------------------------------------------------------------------------------------
STEADY = [trial("H.264, CRF 23"), trial("blurred")]


@pytest.mark.parametrize(
    ("facts", "trials", "answer"),
    [
        ({}, STEADY, "fake"),
        ({}, [], "fake"),
        ({"mean": 0.5, "low": 0.5, "high": 0.5}, STEADY, "fake"),
        ({"mean": 0.6, "low": 0.5, "high": 0.7}, STEADY, "fake"),
        ({"mean": 0.2, "low": 0.1, "high": 0.499, "longest_forged": 3}, STEADY, "real"),
        ({}, [*STEADY, trial("all 20 frames", changed=False)], "fake"),
    ],
)
def test_an_answer(facts: dict, trials: list[Trial], answer: str) -> None:
    assert verdict.decide([person(**facts)], trials) == (answer, ())


@pytest.mark.parametrize(
    ("facts", "trials", "doubts"),
    [
        ({"doubts": ("too blurred", "too small")}, STEADY, ["too blurred", "too small"]),
        (
            {"mean": 0.55, "low": 0.42, "high": 0.68},
            STEADY,
            ["the frames disagree: the interval of the score, 0.42 to 0.68, reaches over one half"],
        ),
        (
            {"mean": 0.45, "low": 0.4, "high": 0.5},
            [],
            ["the frames disagree: the interval of the score, 0.40 to 0.50, reaches over one half"],
        ),
        (
            {},
            [*STEADY, trial("noisy", True), trial("16 frames", True)],
            ["the answer does not survive everyday changes (2 of 4): noisy, 16 frames"],
        ),
        (
            {"doubts": ("too small",), "low": 0.1, "high": 0.9},
            [trial("noisy", True)],
            ["too small", "the frames disagree: the interval of the score, 0.10 to 0.90, reaches over one half"]
            + ["the answer does not survive everyday changes (1 of 1): noisy"],
        ),
    ],
)
def test_no_answer_and_why(facts: dict, trials: list[Trial], doubts: list[str]) -> None:
    assert verdict.decide([person(**facts)], trials) == ("inconclusive", tuple(doubts))


@pytest.mark.parametrize(
    ("other", "doubts"),
    [
        ({"doubts": ("too small",), "mean": 0.4}, ()),
        ({"doubts": ("seen in 3",), "frames": 3}, ()),  # too little to say anything
        ({"doubts": ("too small",), "track": 7}, ("someone who cannot be judged looks forged: person 7",)),
    ],
)
def test_a_clean_answer_is_not_given_over_somebody_who_looks_forged_and_cannot_be_judged(
    other: dict, doubts: tuple
) -> None:
    answer = "inconclusive" if doubts else "real"
    assert verdict.decide([person(mean=0.1, low=0.1, high=0.2), person(**other)], STEADY) == (answer, doubts)


def test_a_forged_part_of_a_video_is_no_clean_video() -> None:
    table = faces([0.03] * 20 + [0.98] * 16 + [0.03] * 28)
    [found] = verdict.describe_people(table)
    assert found.high < 0.5 and found.longest_forged == 16 and verdict.looks_forged(found)
    doubt = "person 0 looks forged for 16 examined frames in a row, though not on average"
    assert verdict.decide([found], STEADY) == ("inconclusive", (doubt,))
    calm = person(track=1, mean=0.1, low=0.1, high=0.2)
    assert verdict.decide([calm, found], STEADY) == ("inconclusive", (doubt,))
    assert [each.track for each in verdict.describe_people(pd.concat([faces([0.4] * 20, track=5), table]))] == [0, 5]


@pytest.mark.parametrize(
    ("facts", "doubt"),
    [
        ({"score": 0.31}, "the frames disagree: the excerpt as it is scores 0.31, the whole video 0.90"),
        ({"score": None}, "the changes could not be tried: nobody was found again in the excerpt as it is"),
    ],
)
def test_an_excerpt_that_says_otherwise_is_a_doubt_of_its_own(facts: dict, doubt: str) -> None:
    assert verdict.decide([person()], [*STEADY, trial("excerpt as it is", True, changed=False, **facts)]) == (
        "inconclusive",
        (doubt,),
    )


@pytest.mark.parametrize(
    ("trials", "sentence"),
    [
        ([], "Stability was not tried."),
        ([trial("all 20 frames", changed=False)], "Stability was not tried."),
        ([*STEADY, trial("excerpt", True, changed=False)], "The answer stays the same in all 2 changed versions."),
        (STEADY, "The answer stays the same in all 2 changed versions."),
        ([*STEADY, trial("noisy", True)], "The answer would flip in 1 of 3 changed versions: noisy."),
        (
            [trial("half the size", True), trial("noisy", True)],
            "The answer would flip in 2 of 2 changed versions: half the size, noisy.",
        ),
    ],
)
def test_stability_sentence(trials: list[Trial], sentence: str) -> None:
    assert verdict.stability_sentence(trials) == sentence


def test_every_answer_has_its_words() -> None:
    assert verdict.ANSWERS == {"fake": "looks forged", "real": "no sign of forgery", "inconclusive": "inconclusive"}
