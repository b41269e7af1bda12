import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skimage.data
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfdc_lib.inspection import verdict
from dfdc_lib.records import Answer, Inspection, Trial
from dfdc_lib.viz import plot_inspection, style
from dfdc_lib.viz.plot_inspection import MOST_PEOPLE, THUMBNAILS

PORTRAIT = skimage.data.astronaut()
CROP = np.ascontiguousarray(PORTRAIT[50:190, 170:285])
HEAT = np.linspace(0, 1, CROP[..., 0].size).reshape(CROP.shape[:2])


def faces(people: int, frames: int = 20, **facts: Any) -> pd.DataFrame:
    """People 0, 1, 2, ..., each a little more suspicious; every third frame looks forged, and the last two."""
    index = np.arange(frames)
    scores = np.where((index % 3 == 0) | (index >= frames - 2), 0.62, 0.3)
    table = pd.DataFrame({"frame_index": 10 * index, "time_seconds": 0.4 * index, "score": scores})
    tables = [table.assign(track=track, face_index=track, score=scores + 0.05 * track) for track in range(people)]
    box = {"box_x0": 190.0, "box_y0": 70.0, "box_x1": 262.0, "box_y1": 165.0}
    merged = pd.concat(tables, ignore_index=True)
    return merged.assign(score=merged["score"].clip(0, 1), **box, sharpness=200.0, turn=0.1, models=1).assign(**facts)


def trial(title: str, score: float | None, answer: Answer = "fake") -> Trial:
    if score is None:
        return Trial(title=title, changed=True, frames=0, score=None, low=None, high=None, answer=None)
    return Trial(title=title, changed=True, frames=32, score=score, low=score - 0.07, high=score + 0.05, answer=answer)


def inspection(table: pd.DataFrame, trials: tuple[Trial, ...] = ()) -> Inspection:
    people = verdict.describe_people(table)
    answer, doubts = verdict.decide(people, trials)
    facts = {"video": "a.mp4", "models": ("m",), "probability": None, "fingerprint": "f", "excerpt_seconds": (0, 5)}
    result = {"answer": answer, "doubts": doubts, "score": people[0].mean, "judged_track": people[0].track}
    return Inspection(people=people, trials=trials, **facts, **result)


def people_figure(table: pd.DataFrame, thumbnails: int = 1) -> Figure:
    crops = {track: [CROP] * thumbnails for track in table["track"].unique()}
    return plot_inspection.people_over_time(inspection(table), table, crops)


def panels(figure: Figure) -> list[Axes]:
    """The axes that show scores, not pictures."""
    return [axis for axis in figure.axes if not axis.images]


def people_shown(figure: Figure) -> list[str]:
    return [panel.get_title(loc="left").split(":")[0] for panel in panels(figure)]


def test_one_person_over_time() -> None:
    table = faces(1)
    figure = people_figure(table, THUMBNAILS)
    [panel] = panels(figure)
    assert "0.43 [0." in panel.get_title(loc="left") and "20" in panel.get_title(loc="left")
    [dots] = panel.collections
    assert dots.get_offsets().tolist() == table[["time_seconds", "score"]].to_numpy().tolist()
    assert len({tuple(colour) for colour in dots.get_facecolor()[:2]}) == 2  # fake, real
    [span] = panel.patches  # the last two frames in a row
    assert (span.get_x(), span.get_width()) == pytest.approx((7.2, 0.4))
    heights = [line.get_ydata()[0] for line in panel.lines if len(line.get_ydata()) == 2]
    assert heights == pytest.approx([0.5, table["score"].mean()])
    assert panel.get_xlabel() and panel.get_ylabel() and panel.get_ylim()[0] < 0 < 1 < panel.get_ylim()[1]
    assert sum(bool(axis.images) for axis in figure.axes) == THUMBNAILS


def test_the_six_most_suspicious_people_who_are_seen_often_are_shown() -> None:
    figure = people_figure(faces(7), 3)
    assert "6 of 7" in figure.get_suptitle()
    assert people_shown(figure) == [f"person {number}" for number in range(1, 7)]
    assert sum(bool(axis.images) for axis in figure.axes) == 3 * MOST_PEOPLE
    rare = pd.concat([faces(1), faces(3, frames=7).query("track > 0")])
    assert people_shown(people_figure(rare)) == ["person 1"]  # the others are in few frames


def test_people_seen_at_other_times_share_one_time_axis() -> None:
    late = faces(2, frames=8).query("track == 1")
    table = pd.concat([faces(1), late.assign(time_seconds=30 + late["time_seconds"])])
    first, second = panels(people_figure(table))
    assert first.get_xlim() == second.get_xlim()
    assert first.get_xlim()[0] < 0 and first.get_xlim()[1] > 30
    [panel] = panels(people_figure(faces(1, frames=1)))  # cannot be judged
    assert panel.collections[0].get_offsets().tolist() == [[0, 0.62]] and not panel.patches
    assert "cannot be judged" in panel.get_title(loc="left")


def test_evidence_is_frame_crop_and_heat_map() -> None:
    rows = faces(1).iloc[[0, 4]]
    figure = plot_inspection.evidence(rows, [(PORTRAIT, CROP, HEAT), (PORTRAIT, CROP, np.zeros(CROP.shape[:2]))])
    frame, face, warm, _, _, cold = (axis.images[0].get_array() for axis in figure.axes)
    assert frame.shape == PORTRAIT.shape and not np.array_equal(frame, PORTRAIT)  # the box is drawn
    assert np.array_equal(face, CROP) and np.array_equal(cold, CROP) and not np.array_equal(warm, CROP)
    assert all(part in figure.axes[0].get_title() for part in ("frame 0", "0.00 s", "0.62"))
    assert all(part in figure.axes[3].get_title() for part in ("frame 40", "1.60 s", "0.30"))
    large = plot_inspection.evidence(rows[:1], [(np.zeros((1080, 1920, 3), np.uint8), CROP, HEAT)])
    assert large.axes[0].images[0].get_array().shape == (619, 1100, 3)


def test_changed_versions() -> None:
    versions = (trial("64 frames", 0.7), trial("H.264, CRF 40", 0.3, "real"), trial("blurred", None))
    [panel] = plot_inspection.trials(inspection(faces(1).assign(score=0.7), versions)).axes
    labels = [label.get_text() for label in panel.get_yticklabels()]
    starts = [f"{version.title} (n = {version.frames})" for version in versions]
    assert all(label.startswith(start) for label, start in zip(labels, starts, strict=True))
    fake, real = [line for line in panel.lines if line.get_marker() == "o"]
    assert fake.get_xydata().tolist() == [[0.7, 0]] and real.get_xydata().tolist() == [[0.3, 1]]
    assert fake.get_color() != real.get_color()
    bars = [line.get_xdata() for line in panel.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 2]
    assert [list(bar) for bar in bars] == [pytest.approx([0.63, 0.75]), pytest.approx([0.23, 0.35])]
    assert [text.get_text() for text in panel.texts[:2]] == ["looks forged", "no sign of forgery"]
    assert panel.texts[2].get_position() == (0.5, 2)  # no face in the third version
    dashed = [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"]
    assert dashed == pytest.approx([0.7])  # the whole video
    assert panel.get_ylim()[0] > panel.get_ylim()[1]  # the first on top


def numbered(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(person=table["track"] + 1)


@pytest.mark.parametrize("people", [1, 7])
def test_masks_over_time(people: int) -> None:
    table = numbered(faces(people)).assign(changed_share=0.25)
    figure = plot_inspection.masks_over_time(table.sample(frac=1, random_state=0))
    assert len(figure.axes) == min(people, MOST_PEOPLE)
    changed, scores = figure.axes[0].lines
    rows = table[table["person"] == int(figure.axes[0].get_ylabel().removeprefix("person "))]
    assert set(changed.get_ydata()) == {0.25}
    assert scores.get_xydata().tolist() == rows[["time_seconds", "score"]].to_numpy().tolist()
    assert len(figure.axes[0].get_legend().get_texts()) == 2 and figure.axes[-1].get_xlabel()
    assert [axis.get_ylabel() for axis in figure.axes] == [f"person {number + 1}" for number in range(len(figure.axes))]


def test_figures_of_nothing() -> None:
    table = faces(1)
    figures = [plot_inspection.evidence(table[:0], []), plot_inspection.trials(inspection(table))]
    for figure in [*figures, plot_inspection.masks_over_time(numbered(table)[:0].assign(changed_share=[]))]:
        assert figure.axes[0].texts and not figure.axes[0].lines


def test_text_is_large_enough_and_nothing_warns() -> None:
    table, tall = faces(2), np.zeros((960, 540, 3), np.uint8)
    record = inspection(table, (trial("H.264, CRF 23", 0.4), trial("blurred", None)))
    figures = [
        people_figure(table, THUMBNAILS),
        plot_inspection.evidence(table.iloc[:2], [(tall, CROP, HEAT)] * 2),
        plot_inspection.trials(record),
        plot_inspection.trials(inspection(table, (trial("blurred", None), trial("noisy", None)))),
        plot_inspection.masks_over_time(numbered(table).assign(changed_share=0.1)),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures:
            assert style.png(figure)
            for axis in figure.axes:
                texts = [axis.title, *axis.texts, *axis.get_xticklabels(), *axis.get_yticklabels()]
                assert min(text.get_fontsize() for text in texts) >= 9
