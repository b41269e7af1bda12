"""What an examination says: the numbers of the record, the warnings that a reader needs, and nothing unescaped."""

import re
from typing import Any

import pandas as pd
import pytest

from dfdc_lib.inspection import text as words
from dfdc_lib.records import BUILT_IN_SAMPLE, Calibration, Inspection, ModelCard, Person, Recipe, Trial

HOSTILE = '<script>alert("x")</script>'
ESCAPED = "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"
NO_CALIBRATION = "The score is not a probability: no calibration on held-out videos comes with the model."
CALIBRATION = Calibration(
    temperature=1.75, clip=1e-6, videos=40, fakes=22, log_loss_before=0.5124, log_loss_after=0.4311
)


def person(track: int = 3, **facts: Any) -> Person:
    known = {
        **{
            "frames": 60,
            "models": 1,
            "first_seconds": 0.0,
            "last_seconds": 9.56,
            "mean": 0.834,
            "confident": 0.871,
            "low": 0.7951,
        },
        **{
            "high": 0.8649,
            "side_pixels": 101.6,
            "sharpness": 210.4,
            "turn": 0.123,
            "forged_spans": (),
            "longest_forged": 0,
            "doubts": (),
        },
    }
    return Person(track=track, **(known | facts))


def found(*people: Person, **facts: Any) -> Inspection:
    shown = people or (person(),)
    known = {
        "video": "a.mp4",
        "models": ("m",),
        "trials": (),
        "answer": "fake",
        "doubts": (),
        "probability": None,
        "fingerprint": "f",
    }
    known |= {"excerpt_seconds": (1.0, 6.04)}
    known |= {"people": shown, "score": shown[0].mean, "judged_track": shown[0].track}
    return Inspection(**(known | facts))


def card(**facts: Any) -> ModelCard:
    return ModelCard(
        **({"name": "m", "encoder": "resnet18", "recipe": Recipe(size=160, margin=0.3), "data": "/videos/dfdc"} | facts)
    )


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


# The answer ----------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "said"),
    [("fake", "a.mp4: looks forged"), ("real", "a.mp4: no sign of forgery"), ("inconclusive", "a.mp4: inconclusive")],
)
def test_answer_and_what_it_rests_on(answer: str, said: str) -> None:
    text = plain(words.answer(found(answer=answer), [card()]))
    assert text == (
        f"{said} Person 3: score 0.83 by the mean of 60 frames, 95 % interval 0.80 to 0.86; 0.87 by the confident strategy; 1 model. "
        f"{words.OF_INTERVAL} {NO_CALIBRATION} Stability was not tried."
    )


def test_several_models_and_versions() -> None:
    trials = tuple(
        Trial(title=title, changed=True, frames=9, score=0.4, low=0.3, high=0.5, flips=flips)
        for title, flips in (("a & b", True), ("c", False))
    )
    html = words.answer(found(person(models=2), trials=trials), [card(), card(name="n")])
    assert "; 2 models. " in html
    tried = "Tried were fewer frames, and the part from 1.0 to 6.0 s re-encoded, shrunk, blurred and with noise."
    assert f"The answer would flip in 1 of 2 changed versions: a &amp; b. {tried}</p>" in html


def test_the_judged_person_is_the_one_told_of() -> None:
    html = words.answer(found(person(1, mean=0.2), person(5, mean=0.91), judged_track=5), [card()])
    assert "<p>Person 5: score 0.91" in html and "Person 1" not in html


def test_doubts_are_listed_only_where_there_are_some() -> None:
    html = words.answer(found(answer="inconclusive", doubts=("too <small>", "too blurred")), [card()])
    assert html.endswith("<p><b>No answer, because</b></p><ul><li>too &lt;small&gt;</li><li>too blurred</li></ul>")
    assert "No answer" not in words.answer(found(), [card()])


NOT_HERE = "The score is not a probability here: a calibration holds for one model, one person in the video, and where there is an answer."


@pytest.mark.parametrize(
    ("probability", "calibration", "said"),
    [
        (None, None, NO_CALIBRATION),
        (None, CALIBRATION, NOT_HERE),
        (
            0.874,
            CALIBRATION,
            "By a curve fitted on 40 held-out videos, about 87% of videos with such a score are fakes, ",
        ),
    ],
)
def test_a_score_is_called_a_probability_only_where_it_is_calibrated(
    probability: float | None, calibration: Calibration | None, said: str
) -> None:
    html = words.answer(found(probability=probability), [card(calibration=calibration)])
    assert said in html
    assert ("not a probability" in html) is (probability is None)


@pytest.mark.parametrize(
    ("cards", "named"),
    [
        ([card()], []),
        ([card(data="")], []),
        ([card(data=f"/data/{BUILT_IN_SAMPLE}")], []),
        ([card(data=BUILT_IN_SAMPLE)], ["m"]),
        ([card(), card(name="small", data=BUILT_IN_SAMPLE)], ["small"]),
        ([card(name="a", data=BUILT_IN_SAMPLE), card(name="b", data=BUILT_IN_SAMPLE)], ["a", "b"]),
    ],
)
def test_a_model_of_the_sample_is_warned_of_in_red_and_first(cards: list[ModelCard], named: list[str]) -> None:
    html = words.answer(found(), cards)
    warnings = re.findall(
        r'<p class="warning" style="color:#b00020[^"]*">The model (\S+) knows one face only: .*?</p>', html
    )
    assert warnings == named
    assert html.startswith('<p class="warning"' if named else "<h2>a.mp4: ")
    assert (", to a model that knows one face</h2>" in html) == bool(named)


# People --------------------------------------------------------------------------------------------------------------------------------
def test_people_are_columns_with_the_judged_one_first() -> None:
    judged = person(3, forged_spans=((1.0, 2.5), (4.04, 5.0)))
    other = person(
        0, doubts=("the face is 20.0 pixels across, at least 40 are needed", "the face is turned away"), models=2
    )
    html = words.people(found(judged, other))
    rows = re.findall(r"<th>(.*?)</th>\s*<td>(.*?)</td>\s*<td>(.*?)</td>", html)
    assert re.search(r"<th>person</th>\s*<th>3</th>\s*<th>0</th>", html)
    assert {name: judged_one for name, judged_one, _ in rows} == {
        "frames": "60",
        "models": "1",
        "from … to (s)": "0.00 … 9.56",
        "mean": "0.83 [0.80, 0.86]",
        "confident": "0.87",
        "looks forged (s)": "1.00–2.50, 4.04–5.00",
        "face (pixels)": "102",
        "sharpness": "210",
        "turned": "0.12",
    }
    assert ("models", "1", "2") in rows and ("looks forged (s)", "1.00–2.50, 4.04–5.00", "nowhere") in rows
    assert html.endswith(
        "<ul><li>person 0: the face is 20.0 pixels across, at least 40 are needed; the face is turned away</li></ul>"
    )
    assert "Not judged" not in words.people(found(judged))


def test_passers_by_are_folded_away() -> None:
    few = [person(track, frames=track, doubts=("seen too seldom",)) for track in (7, 1)]
    html = words.people(found(person(9, frames=8), *few))
    table, folded = html.split("<details><summary>")
    assert re.search(r"<th>person</th>\s*<th>9</th>\s*</tr>", table)
    assert folded.startswith("2 more, seen in fewer than 8 of the examined frames: too seldom to be judged</summary>")
    assert re.search(r"<th>person</th>\s*<th>7</th>\s*<th>1</th>", folded)
    assert "seen too seldom" not in html


def test_of_passers_by_alone_the_first_is_told_of() -> None:
    html = words.people(found(*(person(track, frames=2, doubts=("seen too seldom",)) for track in (4, 5))))
    assert "<li>person 4: seen too seldom</li>" in html.split("<details>")[0]
    assert "<summary>1 more, " in html


# The original -------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("ssim", "warned"), [(0.85, False), (0.6, False), (0.35, True)])
def test_an_original_that_looks_like_another_video_is_warned_of(ssim: float, warned: bool) -> None:
    masks = pd.DataFrame({"ssim": [ssim - 0.1, ssim, ssim + 0.02], "changed_share": [0.04, 0.1, 0.1]})
    html = words.against_original(masks)
    assert html.startswith(f"<p>3 faces compared: median SSIM {ssim:.2f}, 10% of their pixels changed.</p>")
    assert ("this original is another video, or not in step" in html) is warned


# Models --------------------------------------------------------------------------------------------------------------------------------
def facts(html: str) -> dict[str, str]:
    return dict(re.findall(r"<tr><th>(.*?)</th><td>(.*?)</td></tr>", html))


def test_a_model_of_which_little_is_known() -> None:
    html = words.models([card(data="")])
    assert html.startswith("<h3>m</h3>")
    assert facts(html) == {
        "network": "resnet18, crops of 160 pixels with a margin of 0.30",
        "trained on": "unknown data",
        "on test videos": "nothing is known",
        "on validation videos, which chose it": "nothing is known",
        "calibration": "none: its scores are not probabilities",
    }


def test_a_model_with_metrics_and_calibration() -> None:
    metrics = {
        "validation AUC": 0.91239,
        "test AUC": 0.9,
        "test log loss": 0.31234,
        "test frame AUC": 0.8,
        "test videos": 12.0,
    }
    told = facts(words.models([card(noise=True, metrics=metrics, calibration=CALIBRATION)]))
    assert told["network"].startswith("resnet18 on the noise residual, ")
    assert told["trained on"] == "/videos/dfdc"
    assert told["on test videos"] == "AUC 0.9, log loss 0.312, videos 12"
    assert told["on validation videos, which chose it"] == "AUC 0.912"
    assert told["calibration"] == "temperature 1.75, from 40 held-out videos (22 fakes), log loss 0.512 → 0.431"


def test_every_model_has_its_limits() -> None:
    html = words.models([card(), card(name="n")])
    assert re.findall("<h3>(.*?)</h3>", html) == ["m", "n"]
    assert html.count("A low score is not a proof that a video is genuine") == 2
    assert html.count("<li>") == 6
    assert words.models([]) == ""


# Hostile names -------------------------------------------------------------------------------------------------------------------------
def test_what_comes_from_a_file_is_escaped() -> None:
    hostile = card(name=HOSTILE, encoder=HOSTILE, data=HOSTILE)
    sample = card(name=HOSTILE, data=BUILT_IN_SAMPLE)
    trials = (Trial(title=HOSTILE, changed=True, frames=0, score=None, low=None, high=None, flips=True),)
    record = found(person(doubts=(HOSTILE,)), video=HOSTILE, doubts=(HOSTILE,), answer="inconclusive", trials=trials)
    said = [words.answer(record, [hostile, sample]), words.models([hostile, sample]), words.people(record)]
    assert [html.count("<script") for html in said] == [0, 0, 0]
    assert [html.count(ESCAPED) for html in said[:2]] == [
        4,
        4,
    ]  # warning, title, version, doubt; name twice, network, data
