import warnings
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import skimage.data
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from dfdc_lib.inspection.inspect import verdict
from dfdc_lib.records import Inspection, Trial
from dfdc_lib.viz import plot_inspection, style
from dfdc_lib.viz.plot_inspection import MOST_PEOPLE, THUMBNAILS

BLUE, VERMILLION = "#0072b2", "#d55e00"
PORTRAIT = skimage.data.astronaut()
CROP = np.ascontiguousarray(PORTRAIT[50:190, 170:285])


def faces(people: int, frames: int = 20, **facts: Any) -> pd.DataFrame:
    """People 0, 1, 2 …, each a little more suspicious; every third frame of each looks forged, and the last two."""
    index = np.arange(frames)
    parts = []
    for track in range(people):
        scores = np.clip(np.where((index % 3 == 0) | (index >= frames - 2), 0.62, 0.3) + 0.05 * track, 0, 1)
        parts.append(
            pd.DataFrame(
                {
                    "frame_index": 10 * index,
                    "time_seconds": 0.4 * index,
                    "face_index": track,
                    "track": track,
                    "score": scores,
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    box = {"box_x0": 190.0, "box_y0": 70.0, "box_x1": 262.0, "box_y1": 165.0}
    return table.assign(**box, sharpness=200.0, turn=0.1, models=1).assign(**facts)


def trial(title: str, score: float | None, flips: bool = False) -> Trial:
    if score is None:
        return Trial(title=title, changed=True, frames=0, score=None, low=None, high=None, flips=True)
    return Trial(
        title=title,
        changed=True,
        frames=32,
        score=score,
        low=max(0, score - 0.07),
        high=min(1, score + 0.05),
        flips=flips,
    )


def found(table: pd.DataFrame, trials: tuple[Trial, ...] = ()) -> Inspection:
    people = verdict.describe_people(table)
    answer, doubts = verdict.decide(people, trials)
    told = {
        "video": "a.mp4",
        "models": ("m",),
        "answer": answer,
        "doubts": doubts,
        "probability": None,
        "fingerprint": "f",
        "excerpt_seconds": (0, 5),
    }
    return Inspection(people=people, trials=trials, score=people[0].mean, judged_track=people[0].track, **told)


def thumbnails(people: int, count: int = THUMBNAILS) -> dict[int, list[np.ndarray]]:
    return {track: [CROP] * count for track in range(people)}


def heat() -> np.ndarray:
    rows, columns = np.indices(CROP.shape[:2])
    return np.exp(-((rows - 90) ** 2 + (columns - 50) ** 2) / 800)


def panels(figure: Figure) -> list[Axes]:
    """The axes that show scores, and not pictures."""
    return [axis for axis in figure.axes if not axis.images]


def title(figure: Figure) -> str:
    return figure.get_suptitle()


def labels(axis: Axes) -> list[str]:
    return [label.get_text() for label in axis.get_yticklabels()]


# People over time ----------------------------------------------------------------------------------------------------------------------
def test_one_person_over_time() -> None:
    table = faces(1)
    figure = plot_inspection.people_over_time(found(table), table, thumbnails(1))
    assert title(figure) == "score of each person over time (n = 1 person)"
    [panel] = panels(figure)
    assert panel.get_title(loc="left").startswith("person 0: mean 0.43 [0.")
    assert panel.get_title(loc="left").endswith("], 20 frames")
    assert (panel.get_xlabel(), panel.get_ylabel(), panel.get_ylim()) == (
        "time (seconds)",
        "score: P(fake)",
        (-0.04, 1.04),
    )
    [dots] = panel.collections
    assert dots.get_offsets().tolist() == table[["time_seconds", "score"]].to_numpy().tolist()
    assert [to_hex(colour) for colour in dots.get_facecolor()[:4]] == [VERMILLION, BLUE, BLUE, VERMILLION]
    [span] = panel.patches  # the last two frames in a row
    assert (span.get_x(), span.get_width()) == pytest.approx((7.2, 0.4))
    assert to_hex(span.get_facecolor()) == VERMILLION
    heights = [line.get_ydata()[0] for line in panel.lines if len(line.get_ydata()) == 2]
    assert heights == pytest.approx([0.5, table["score"].mean()])
    assert sum(bool(axis.images) for axis in figure.axes) == THUMBNAILS


def test_of_seven_people_the_most_suspicious_six_are_shown() -> None:
    table = faces(7)
    figure = plot_inspection.people_over_time(found(table), table, thumbnails(7, 3))
    assert title(figure) == "score of each person over time (first 6 of 7 people)"
    shown = [panel.get_title(loc="left").split(":")[0] for panel in panels(figure)]
    assert shown == [f"person {track}" for track in range(6, 0, -1)] and len(shown) == MOST_PEOPLE
    assert [panel.get_xlabel() for panel in panels(figure)] == [""] * 5 + ["time (seconds)"]
    assert sum(bool(axis.images) for axis in figure.axes) == 3 * MOST_PEOPLE


@pytest.mark.parametrize(
    ("facts", "end"),
    [({"turn": 0.9}, "; not judged: 1 reason below"), ({"turn": 0.9, "sharpness": 3}, "; not judged: 2 reasons below")],
)
def test_who_is_not_judged_is_said(facts: dict, end: str) -> None:
    table = faces(1, **facts)
    [panel] = panels(plot_inspection.people_over_time(found(table), table, thumbnails(1)))
    assert panel.get_title(loc="left").endswith(f", 20 frames{end}")


def test_people_seen_at_other_times_share_one_time_axis() -> None:
    late = faces(2, frames=8).query("track == 1")
    table = pd.concat([faces(1), late.assign(time_seconds=30 + late["time_seconds"])])
    first, second = panels(plot_inspection.people_over_time(found(table), table, thumbnails(2, 1)))
    assert first.get_xlim() == second.get_xlim()
    assert first.get_xlim()[0] < 0 and first.get_xlim()[1] > 30


def test_passers_by_have_no_panel() -> None:
    table = pd.concat([faces(1), faces(3, frames=7).query("track > 0")])
    figure = plot_inspection.people_over_time(found(table), table, thumbnails(3, 1))
    assert title(figure) == "score of each person over time (first 1 of 3 people)"
    assert [panel.get_title(loc="left").split(":")[0] for panel in panels(figure)] == ["person 0"]


def test_one_face_alone() -> None:
    table = faces(1, frames=1)
    figure = plot_inspection.people_over_time(found(table), table, thumbnails(1, 1))
    [panel] = panels(figure)
    assert panel.collections[0].get_offsets().tolist() == [[0, 0.62]] and not panel.patches
    assert panel.get_title(loc="left").endswith("], 1 frame; not judged: 1 reason below")
    assert style.jpeg(figure)


# Evidence ------------------------------------------------------------------------------------------------------------------------------
def test_no_evidence_is_said_in_words() -> None:
    figure = plot_inspection.evidence(faces(1)[:0], [])
    assert figure.axes[0].texts[0].get_text() == "nothing to show: no frames"


def test_evidence_is_frame_face_and_map() -> None:
    rows = faces(1).iloc[[0, 4]]
    figure = plot_inspection.evidence(rows, [(PORTRAIT, CROP, heat()), (PORTRAIT, CROP, np.zeros(CROP.shape[:2]))])
    assert title(figure) == "frames that carry the answer (n = 2)"
    assert [axis.get_title() for axis in figure.axes] == [
        "frame 0, 0.00 s, score 0.62", "face with margin", "where “fake” comes from",
        "frame 40, 1.60 s, score 0.30", "face with margin", "nothing speaks for “fake”",
    ]  # fmt: skip
    frame, face, warm, _, _, cold = (axis.images[0].get_array() for axis in figure.axes)
    assert frame.shape == PORTRAIT.shape and tuple(frame[70, 220]) == (213, 94, 0)  # the box, in the colour of fakes
    assert np.array_equal(face, CROP) and np.array_equal(cold, CROP)
    assert not np.array_equal(warm, CROP)


def test_a_large_frame_is_shrunk_to_what_the_page_holds() -> None:
    figure = plot_inspection.evidence(faces(1).iloc[:1], [(np.zeros((1080, 1920, 3), np.uint8), CROP, heat())])
    assert figure.axes[0].images[0].get_array().shape == (619, 1100, 3)


# Versions ------------------------------------------------------------------------------------------------------------------------------
def test_no_versions_are_said_in_words() -> None:
    assert (
        plot_inspection.trials(found(faces(1))).axes[0].texts[0].get_text() == "nothing to show: no versions were tried"
    )


def test_versions_and_those_that_flip() -> None:
    versions = (trial("64 frames", 0.7), trial("H.264, CRF 40", 0.3, flips=True), trial("blurred", None))
    table = faces(1).assign(score=0.7)
    figure = plot_inspection.trials(found(table, versions))
    [panel] = figure.axes
    assert title(figure) == "does the answer hold? (n = 3 versions)"
    assert labels(panel) == ["64 frames (n = 32)", "H.264, CRF 40 (n = 32)  flips", "blurred (n = 0)  flips"]
    marks = {
        line.get_marker(): (float(line.get_xdata()[0]), line.get_ydata()[0], to_hex(line.get_color()))
        for line in panel.lines
    }
    assert marks["o"] == (0.7, 0, VERMILLION) and marks["X"] == (0.3, 1, BLUE)
    bars = [line.get_xdata() for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 2]
    assert [list(bar) for bar in bars] == [pytest.approx([0.63, 0.75]), pytest.approx([0.23, 0.35])]
    assert [(text.get_text(), text.get_position()) for text in panel.texts] == [("no face found any more", (0.5, 2))]
    dashed = [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([0.7])  # the whole video
    assert panel.get_ylim()[0] > panel.get_ylim()[1]  # the first on top


def test_versions_without_any_face() -> None:
    figure = plot_inspection.trials(found(faces(1), (trial("blurred", None), trial("noisy", None))))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no face found any more"] * 2
    assert style.png(figure)


# Masks over time -----------------------------------------------------------------------------------------------------------------------
def test_no_masks_are_said_in_words() -> None:
    figure = plot_inspection.masks_over_time(faces(1)[:0].assign(changed_share=[]))
    assert figure.axes[0].texts[0].get_text() == "nothing to show: no frame in common"


@pytest.mark.parametrize(("people", "heading"), [(1, "n = 1 person"), (2, "n = 2 people"), (7, "first 6 of 7 people")])
def test_masks_over_time(people: int, heading: str) -> None:
    table = faces(people).assign(changed_share=0.25)
    figure = plot_inspection.masks_over_time(table.sample(frac=1, random_state=0))
    assert title(figure) == f"changes against the original ({heading})"
    assert len(figure.axes) == min(people, MOST_PEOPLE)
    changed, scores = figure.axes[0].lines
    own = table[table["track"] == int(figure.axes[0].get_ylabel().removeprefix("person "))]
    assert set(changed.get_ydata()) == {0.25}
    assert scores.get_xydata().tolist() == own[["time_seconds", "score"]].to_numpy().tolist()
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "share of changed pixels",
        "score: P(fake)",
    ]
    assert figure.axes[-1].get_xlabel() == "time (seconds)"
    assert {axis.get_ylim() for axis in figure.axes} == {(-0.04, 1.04)}


def test_whoever_is_seen_most_often_stands_first() -> None:
    table = pd.concat([faces(1, frames=4), faces(2)[20:]]).assign(changed_share=0.0)
    assert [axis.get_ylabel() for axis in plot_inspection.masks_over_time(table).axes] == ["person 1", "person 0"]


# All of them ---------------------------------------------------------------------------------------------------------------------------
def test_text_is_large_enough_and_nothing_warns() -> None:
    table, tall = faces(2), np.zeros((960, 540, 3), np.uint8)
    record = found(table, (trial("H.264, CRF 23", 0.4), trial("blurred", None)))
    drawn = [
        plot_inspection.people_over_time(record, table, thumbnails(2)),
        plot_inspection.evidence(table.iloc[:2], [(tall, CROP, heat())] * 2),
        plot_inspection.trials(record),
        plot_inspection.masks_over_time(table.assign(changed_share=0.1)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in drawn:
            image = cv2.imdecode(np.frombuffer(style.png(figure), np.uint8), cv2.IMREAD_COLOR)
            assert image.shape[1] == 1080
            texts = [
                text
                for axis in figure.axes
                for text in [axis.title, *axis.texts, *axis.get_xticklabels(), *axis.get_yticklabels()]
            ]
            assert min(text.get_fontsize() for text in texts) >= 9
