"""The page's text: the numbers of the record, the warnings, and no unescaped text from files."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dfdc_lib.inspection import text
from dfdc_lib.records import BUILT_IN_SAMPLE, Answer, Calibration, Inspection, ModelCard, Person, Recipe, Trial

HOSTILE = '<script>alert("x")</script>'
ESCAPED = "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"
LOSSES = {"log_loss_before": 0.5124, "log_loss_after": 0.4311}
CALIBRATION = Calibration(temperature=1.75, clip=1e-6, videos=40, fakes=22, **LOSSES, role="unseen")


PICTURES = {track: [np.full((40, 30, 3), 128, np.uint8)] for track in range(10)}


def person(track: int = 3, **facts: Any) -> Person:
    scores = {"mean": 0.834, "confident": 0.871, "low": 0.7951, "high": 0.8649, "forged_spans": (), "longest_forged": 0}
    seen = {"frames": 60, "models": 1, "first_seconds": 0.0, "last_seconds": 9.56, "doubts": ()}
    quality = {"side_pixels": 101.6, "sharpness": 210.4, "turn": 0.123}
    return Person(**({"number": track, "track": track} | scores | seen | quality | facts))


def inspection(*people: Person, **facts: Any) -> Inspection:
    people = people or (person(),)
    default = {"video": "a.mp4", "models": ("m",), "people": people, "trials": (), "excerpt_seconds": (1.0, 6.04)}
    default |= {"answer": "fake", "doubts": (), "probability": None, "fingerprint": "f"}
    return Inspection(**(default | {"score": people[0].mean, "judged_track": people[0].track} | facts))


def card(**facts: Any) -> ModelCard:
    default = {"name": "m", "encoder": "resnet18", "recipe": Recipe(size=160, margin=0.3), "data": "/videos/dfdc"}
    return ModelCard(**(default | facts))


def trial(title: str, answer: Answer | None) -> Trial:
    return Trial(title=title, changed=True, frames=9, score=0.4, low=0.3, high=0.5, answer=answer)


def answer_of(record: Inspection, cards: list[ModelCard]) -> str:
    return text.answer(record, cards, PICTURES)


@pytest.mark.parametrize(
    ("answer", "words"), [("fake", "looks forged"), ("real", "no sign"), ("inconclusive", "inconclusive")]
)
def test_answer_and_score(answer: str, words: str) -> None:
    html = answer_of(inspection(answer=answer), [card()])
    assert words in text.short_answer(inspection(answer=answer), [card()]) and words in html.split("</h2>")[0]
    assert all(number in html for number in ("0.83", "60 frames", "0.80 to 0.86", "0.0 s to 9.6 s"))
    assert html.count("<img") == 1 and html.index("<img") < html.index("<h2>")


@pytest.mark.parametrize(
    ("role", "words"),
    [("unseen", "not seen"), ("unknown", "not known"), ("chosen by", "selected by"), ("trained on", "trained on")],
)
def test_the_page_says_whether_the_models_have_seen_the_video(role: str, words: str) -> None:
    assert words in answer_of(inspection(role=role), [card()])


def test_a_single_frame_has_no_range() -> None:
    html = answer_of(inspection(person(frames=1, low=None, high=None), answer="inconclusive"), [card()])
    assert "one frame at 0.0 s" in html and "1 frames" not in html and "None" not in html
    assert "[one frame]" in text.people(inspection(person(low=None, high=None)), PICTURES)


def test_changed_versions() -> None:
    html = answer_of(inspection(trials=(trial("noisy", "inconclusive"), trial("blurred", "fake"))), [card()])
    assert "1 of 2 looks forged, 1 is inconclusive (noisy)" in html
    assert "noisy" in html and "1.0 s to 6.0 s" in html
    assert "1.0 s" not in answer_of(inspection(), [card()])  # nothing was changed


def test_judged_person_and_doubts() -> None:
    html = answer_of(inspection(person(5, mean=0.91), person(1, mean=0.2)), [card()])
    assert "0.91" in html and "0.20" not in html and "2 people" in html
    alone = answer_of(inspection(answer="inconclusive", doubts=("too small", "too blurred")), [card()])
    assert re.findall("<li>(.*?)</li>", alone)[:2] == ["too small", "too blurred"] and "people" not in alone


@pytest.mark.parametrize(
    ("probability", "calibration", "words"),
    [
        (None, None, ["not a probability", "calibrated with"]),
        (None, CALIBRATION, ["not a probability", "single model"]),
        (0.874, CALIBRATION, ["probability", "87%", "40 other videos", "22 of them fake"]),
    ],
)
def test_score_is_called_a_probability_only_if_calibrated(
    probability: float | None, calibration: Calibration | None, words: list[str]
) -> None:
    html = answer_of(inspection(probability=probability), [card(calibration=calibration)])
    assert all(word in html for word in words)
    assert ("not a probability" in html) is (probability is None)


@pytest.mark.parametrize(
    ("cards", "warned"),
    [
        ([card(data=""), card(data=f"/data/{BUILT_IN_SAMPLE}")], []),
        ([card(), card(name="small", data=BUILT_IN_SAMPLE)], ["small"]),
        ([card(name="a", data=BUILT_IN_SAMPLE), card(name="b", data=BUILT_IN_SAMPLE)], ["a", "b"]),
    ],
)
def test_warning_about_a_model_of_the_sample_comes_first(cards: list[ModelCard], warned: list[str]) -> None:
    html = answer_of(inspection(), cards)
    assert re.findall(r"model (\S+) was", html.split("<h2>")[0]) == warned
    assert ("demonstration" in html) == ("demonstration" in text.short_answer(inspection(), cards)) == bool(warned)


def test_people_are_columns_with_the_judged_one_first() -> None:
    judged = person(3, forged_spans=((1.0, 2.5), (4.04, 5.0)))
    html = text.people(inspection(judged, person(0, doubts=("too small", "turned away"), models=2)), PICTURES)
    assert re.findall(r"<th>(\d)</th>", html) == ["3", "0"] and html.count("<img") == 2
    columns = list(zip(*re.findall(r"<td>(.*?)</td>\s*<td>(.*?)</td>", html), strict=True))
    seen, forged = ("60", "1", "0.0 to 9.6"), "1.0 to 2.5, 4.0 to 5.0"
    assert columns[0][1:] == (*seen, "0.83 [0.80, 0.86]", "0.87", forged, "102", "210", "0.12")
    assert columns[1][2] == "2" and "never" in columns[1]
    assert re.findall("<li>(.*?)</li>", html) == ["person 0: too small; turned away"]
    assert "<li>" not in text.people(inspection(judged), PICTURES)


@pytest.mark.parametrize(
    ("frames", "shown", "folded"),
    [({9: 8, 7: 7, 1: 1}, ["9"], ["7", "1"]), ({4: 2, 5: 2}, ["4"], ["5"])],  # the first is shown in any case
)
def test_people_in_few_frames_are_folded(frames: dict[int, int], shown: list[str], folded: list[str]) -> None:
    html = text.people(inspection(*(person(track, frames=count) for track, count in frames.items())), PICTURES)
    assert [re.findall(r"<th>(\d)</th>", part) for part in html.split("<details>")] == [shown, folded]


@pytest.mark.parametrize(("ssim", "warned"), [(0.85, False), (0.6, False), (0.35, True)])
def test_original_that_looks_like_another_video(ssim: float, warned: bool) -> None:
    masks = pd.DataFrame({"ssim": [ssim - 0.1, ssim, ssim + 0.02], "changed_share": [0.04, 0.1, 0.1]})
    html = text.against_original(masks)
    assert all(number in html for number in ("3 faces", f"{ssim:.2f}", "10%"))
    assert ("warning" in html) is warned


def test_models() -> None:
    metrics = {"validation AUC": 0.91239, "test AUC": 0.9, "test log loss": 0.31234, "test videos": 12.0}
    measured = card(name="n", noise=True, metrics=metrics | {"test frame AUC": 0.8}, calibration=CALIBRATION)
    html = text.models([card(data=""), measured])
    assert re.findall("<h3>(.*?)</h3>", html) == ["m", "n"] and "<li>" not in html
    facts = re.findall(r"<tr><th>.*?</th><td>(.*?)</td></tr>", html)
    network, data, test, validation, calibration = facts[:5]
    assert "160 pixels" in network and "0.30" in network and "noise" not in network
    assert (data, test, validation) == ("unknown", "not measured", "not measured") and "none" in calibration
    network, data, test, validation, calibration = facts[5:]
    assert "resnet18" in network and "noise" in network and data == "/videos/dfdc"
    assert (test, validation) == ("AUC 0.9, log loss 0.312, videos 12", "AUC 0.912")
    assert all(number in calibration for number in ("1.75", "40", "22 fakes", "0.512", "0.431"))


def test_text_from_files_is_escaped() -> None:
    cards = [card(name=HOSTILE, encoder=HOSTILE, data=HOSTILE), card(name=HOSTILE, data=BUILT_IN_SAMPLE)]
    record = inspection(person(doubts=(HOSTILE,)), video=HOSTILE, doubts=(HOSTILE,), trials=(trial(HOSTILE, "real"),))
    pages = [text.answer(record, cards, PICTURES), text.models(cards), text.people(record, PICTURES)]
    assert [html.count("<script") for html in pages] == [0, 0, 0]
    assert [html.count(ESCAPED) for html in pages] == [5, 4, 1]  # e.g. warning, title, model, version, doubt
