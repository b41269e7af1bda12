"""Describe an examination as HTML: the answer, its doubts, the people, and the limits of the models.

Input: records. Output: HTML, in which text from files is escaped. Its readers may know nothing about this kit.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np
import pandas as pd

from dfdc_lib.evaluation.scoring import sample_warnings
from dfdc_lib.evaluation.unseen import CHOSEN_BY, TRAINED_ON, UNKNOWN, UNSEEN
from dfdc_lib.inspection.verdict import ANSWERS, MIN_FRAMES, seen_often, stability
from dfdc_lib.records import Inspection, ModelCard, Person

# Crops with margin of FaceForensics++ (c40): a fake and its original 0.83-0.91, a fake and another original 0.30-0.40.
MIN_SSIM = 0.6
SHOWN_METRICS = ("AUC", "log loss", "videos")
THUMBNAIL_SIDE = 128  # pixels
Thumbnails = Mapping[int, Sequence[np.ndarray]]  # track -> crops, (H, W, 3) uint8 RGB
INTERVAL = (
    "This range shows how much the frames agree, not how often the model is right. The frames of one video are alike, "
    "so the range is too narrow if there are few frames."
)
ROLES = {  # of the video in the training of the models
    UNSEEN: "The models have not seen this file in training.",
    UNKNOWN: "It is not known whether the models have seen this video in training.",
    CHOSEN_BY: "A model was selected by its results on this video or its people, so this score may be too certain.",
    TRAINED_ON: "A model was trained on this video or its people, so this score may be too certain.",
}
NOT_CALIBRATED = "The score is not a probability: the model has not been calibrated with labelled, unseen videos."
NOT_APPLICABLE = "The score is not a probability: this needs a single model, a single person and a clear answer."
OTHER_VIDEO = "The faces match too poorly. This original is probably a different video."
LIMITS = (
    "The model detects the kinds of forgery that it was trained on. It can miss other kinds.",
    "Strong compression and small or covered faces hide the traces that it looks for.",
    "It does not check sound or lip movement, and it was not made for faces that are generated as a whole.",
    "A low score does not prove that a video is genuine. A high score does not prove that it is forged.",
)


def short_answer(inspection: Inspection, cards: Sequence[ModelCard]) -> str:
    """Return the answer as plain text, e.g. "looks forged"; a model of the built-in sample is marked."""
    return ANSWERS[inspection.answer] + (" (demonstration model)" if sample_warnings(cards) else "")


def answer(inspection: Inspection, cards: Sequence[ModelCard], thumbnails: Thumbnails) -> str:
    """Return the opening of the page as HTML: warnings, the answer with the judged person, its basis and its limits.

    `cards` describe the models; `thumbnails` maps every track to its crops, (H, W, 3) uint8 RGB.
    """
    judged = inspection.people[0]
    heading = f"<h2>{escape(inspection.video)}: {short_answer(inspection, cards)}</h2>"
    picture = _picture(thumbnails[judged.track][0], "the judged person")
    parts = [
        *(_red(escape(warning)) for warning in sample_warnings(cards)),
        f'<div class="answer">{picture}<div>{heading}<p>{escape(_who(inspection))}</p></div></div>',
    ]
    if inspection.doubts:
        parts.append(f"<p><b>There is no clear answer, because:</b></p>{_list(inspection.doubts)}")
    basis = [*_score(judged, cards), ROLES[inspection.role], _probability(inspection, cards), _stability(inspection)]
    parts += [f"<h3>What the answer rests on</h3>{_list(basis)}", f"<h3>What the model cannot know</h3>{_list(LIMITS)}"]
    return "\n".join(parts)


def _who(inspection: Inspection) -> str:
    """Return a sentence that says whom the answer is about."""
    count = len(seen_often(inspection.people))
    if count == 1:
        return "The answer is about the person in the picture."
    if inspection.people[0].doubts:
        return f"None of the {count} people in the video can be judged. The picture shows the most suspicious one."
    most = f"of the {count} people in the video, the most suspicious one who can be judged"
    return f"The answer is about the person in the picture: {most}."


def _score(person: Person, cards: Sequence[ModelCard]) -> list[str]:
    """Return sentences about a person's score and its interval."""
    models = " and ".join(f'"{card.name}"' for card in cards)
    seen = f"from {person.first_seconds:.1f} s to {person.last_seconds:.1f} s"
    frames = f"{person.frames} frames {seen}" if person.frames > 1 else f"one frame at {person.first_seconds:.1f} s"
    mean = f"The mean score is {person.mean:.2f} (0 = real, 1 = fake) over {frames}, scored by {models}."
    if person.low is None or person.high is None:
        return [mean, "A single frame does not show how much the score varies."]
    return [
        mean,
        f"Other frames of this video would give a mean of about {person.low:.2f} to {person.high:.2f}. {INTERVAL}",
    ]


def _probability(inspection: Inspection, cards: Sequence[ModelCard]) -> str:
    calibrations = [card.calibration for card in cards if card.calibration and card.calibration.role == UNSEEN]
    calibration = next(iter(calibrations), None)
    if calibration is None or inspection.probability is None:
        return NOT_APPLICABLE if calibration else NOT_CALIBRATED
    basis = f"It is based on {calibration.videos} other videos, {calibration.fakes} of them fake"
    estimate = f"The estimated probability that the video is fake is {inspection.probability:.0%}."
    condition = "It is valid only if fakes are as common among the videos that you examine as among those other videos."
    return f"{estimate} {basis}. {condition}"


def _stability(inspection: Inspection) -> str:
    if not any(trial.changed for trial in inspection.trials):
        return stability(inspection.trials)
    start, end = inspection.excerpt_seconds
    excerpt = f"the part around the face in an excerpt ({start:.1f} s to {end:.1f} s)"
    change = "that was re-encoded, shrunk, blurred, or made noisy"
    return f"{stability(inspection.trials)} A changed version has fewer frames, or is {excerpt} {change}."


def people(inspection: Inspection, thumbnails: Thumbnails) -> str:
    """Return HTML: a table with a column per person, then the reasons why some cannot be judged reliably.

    `thumbnails`: track -> its crops, (H, W, 3) uint8 RGB. People seen in fewer than `MIN_FRAMES` examined frames are in
    a second table, which is folded.
    """
    often = seen_often(inspection.people)
    others = [person for person in inspection.people if person not in often]
    parts = [_people_table(often, thumbnails)]
    doubts = [f"person {person.number}: {'; '.join(person.doubts)}" for person in often if person.doubts]
    if doubts:
        parts.append(f"<p><b>Cannot be judged reliably:</b></p>\n{_list(doubts)}")
    if others:
        summary = f"Other people, seen in fewer than {MIN_FRAMES} examined frames: {len(others)}"
        parts.append(f"<details><summary>{summary}</summary>{_people_table(others, thumbnails)}</details>")
    return "\n".join(parts)


def _people_table(shown: Sequence[Person], thumbnails: Thumbnails) -> str:
    columns = {
        person.number: {
            "": _picture(thumbnails[person.track][0], f"person {person.number}"),
            "frames": person.frames,
            "models that found the face": person.models,
            "seen (seconds)": f"{person.first_seconds:.1f} to {person.last_seconds:.1f}",
            "mean score [range]": _with_range(person),
            "score by another averaging rule (not used)": f"{person.confident:.2f}",
            "looks forged (seconds)": ", ".join(f"{start:.1f} to {end:.1f}" for start, end in person.forged_spans)
            or "never",
            "face size (pixels)": round(person.side_pixels),
            "sharpness (0 = blurred)": round(person.sharpness),
            "turned to the side (0 = not at all)": f"{person.turn:.2f}",
        }
        for person in shown
    }
    table = pd.DataFrame(columns, dtype=object).rename_axis(columns="person")
    return str(table.to_html(classes="people", escape=False))  # all cells are made here, none comes from a file


def _with_range(person: Person) -> str:
    if person.low is None or person.high is None:
        return f"{person.mean:.2f} [one frame]"
    return f"{person.mean:.2f} [{person.low:.2f}, {person.high:.2f}]"


def _picture(image: np.ndarray, alt: str) -> str:
    """Return an image as an HTML element that carries its own pixels."""
    scale = THUMBNAIL_SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return f'<img class="face" src="data:image/jpeg;base64,{b64encode(encoded.tobytes()).decode()}" alt="{alt}">'


def against_original(masks: pd.DataFrame) -> str:
    """Return HTML that says how similar the compared faces in `masks` (masks.csv) are to those of the original.

    It warns if they are so different that the original is probably another video.
    """
    ssim, changed = masks["ssim"].median(), masks["changed_share"].median()
    medians = f"Median similarity (SSIM, 1 = identical): {ssim:.2f}. Median share of changed pixels: {changed:.0%}."
    text = f"<p>{len(masks)} faces were compared with the original. {medians}</p>"
    return text if ssim >= MIN_SSIM else f"{text}\n{_red(OTHER_VIDEO)}"


def models(cards: Sequence[ModelCard]) -> str:
    """Return HTML that describes each model: its network, training data, test results and calibration."""
    return "\n".join(map(_model, cards))


def _model(card: ModelCard) -> str:
    noise = " on the noise residual (the picture after high-pass filters)" if card.noise else ""
    facts = {
        "network": f"{card.encoder}{noise}, crops of {card.recipe.size} pixels with margin {card.recipe.margin:.2f}",
        "training data": card.data or "unknown",
        "test videos": _metrics(card, "test"),
        "validation videos (used to select the model)": _metrics(card, "validation"),
        "calibration": _calibration(card),
    }
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts.items())
    return f"<h3>{escape(card.name)}</h3>\n<table>{rows}</table>"


def _metrics(card: ModelCard, fold: str) -> str:
    names = [name for name in SHOWN_METRICS if f"{fold} {name}" in card.metrics]
    return ", ".join(f"{name} {card.metrics[f'{fold} {name}']:.3g}" for name in names) or "not measured"


def _calibration(card: ModelCard) -> str:
    if card.calibration is None:
        return "none: the scores are not probabilities"
    fit = card.calibration
    losses = f"log loss {fit.log_loss_before:.3f} before and {fit.log_loss_after:.3f} after"
    videos = f"{fit.videos} videos ({fit.role} in training; {fit.fakes} fakes)"
    return f"temperature {fit.temperature:.2f}, fitted on {videos}; {losses}"


def _red(text: str) -> str:
    # The style is for notebooks, which lack the report's style sheet.
    return f'<p class="warning" style="color:#b00020;font-weight:600">{text}</p>'


def _list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
