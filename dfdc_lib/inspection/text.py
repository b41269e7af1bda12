"""Describe an examination as HTML: the answer, its doubts, the people, and the limits of the models.

Input: records. Output: HTML, in which text from files is escaped. Its readers may know nothing about this kit.
"""

from collections.abc import Sequence
from html import escape

import pandas as pd

from dfdc_lib.inspection.verdict import ANSWERS, MIN_FRAMES, seen_often, stability
from dfdc_lib.records import BUILT_IN_SAMPLE, Inspection, ModelCard, Person

# Crops with margin of FaceForensics++ (c40): a fake and its original 0.83-0.91, a fake and another original 0.30-0.40.
MIN_SSIM = 0.6
SHOWN_METRICS = ("AUC", "log loss", "videos")
INTERVAL = "The interval shows how much the frames of this video agree, not how often the model is right."
NOT_CALIBRATED = "The score is not a probability: the model has not been calibrated with labelled, unseen videos."
NOT_APPLICABLE = "The score is not a probability: it is one only with one model, one person and a clear answer."
SAMPLE_WARNING = (
    "Demonstration only. The model {} was trained on the built-in sample: one face, forged in one way. "
    "It shows how an examination works. Its score for any other video is meaningless."
)
OTHER_VIDEO = "The crops match too poorly. The original is probably a different video, or not aligned in time."
LIMITS = (
    "The model detects the kinds of forgery that it was trained on. It can miss other kinds.",
    "Strong compression and small or covered faces hide the traces that it looks for.",
    "It does not check sound or lip movement.",
    "A low score does not prove that a video is genuine. A high score does not prove that it is forged.",
)


def short_answer(inspection: Inspection, cards: Sequence[ModelCard]) -> str:
    """Return the answer in a few words of plain text."""
    return ANSWERS[inspection.answer] + (" (demonstration model)" if _sample_models(cards) else "")


def answer(inspection: Inspection, cards: Sequence[ModelCard]) -> str:
    """Return the answer and its basis, or why there is none, after the warnings about the models."""
    person = next(person for person in inspection.people if person.track == inspection.judged_track)
    score = f"Person {person.track} has a mean score of {person.mean:.2f} over {person.frames} frames"
    scale = f"0 = real, 1 = fake; 95 % interval {person.low:.2f} to {person.high:.2f}"
    parts = [
        *(_red(SAMPLE_WARNING.format(escape(card.name))) for card in _sample_models(cards)),
        f"<h2>{escape(inspection.video)}: {short_answer(inspection, cards)}</h2>",
        f"<p>{score} ({scale}). {INTERVAL}</p>",
        f"<p>{_probability(inspection, cards)}</p>",
        f"<p>{escape(_stability(inspection))}</p>",
    ]
    if inspection.doubts:
        parts.append(f"<p><b>There is no clear answer, because:</b></p>{_list(inspection.doubts)}")
    return "\n".join(parts)


def _probability(inspection: Inspection, cards: Sequence[ModelCard]) -> str:
    calibration = next((card.calibration for card in cards if card.calibration), None)
    if calibration is None or inspection.probability is None:
        return NOT_APPLICABLE if calibration else NOT_CALIBRATED
    basis = f"It is based on {calibration.videos} other videos, {calibration.fakes} of them fake"
    estimate = f"The estimated probability that the video is fake is {inspection.probability:.0%}."
    return f"{estimate} {basis}. It holds if fakes are as common among the videos you examine as among those."


def _stability(inspection: Inspection) -> str:
    clause = stability(inspection.trials)
    sentence = f"{clause[0].upper()}{clause[1:]}."
    if not any(trial.changed for trial in inspection.trials):
        return sentence
    start, end = inspection.excerpt_seconds
    excerpt = f"an excerpt ({start:.1f} s to {end:.1f} s) that was re-encoded, shrunk, blurred, or made noisy"
    return f"{sentence} A changed version uses fewer frames, or is {excerpt}."


def people(inspection: Inspection) -> str:
    """Return a table (a column per person), then why people cannot be judged; rarely seen people are folded away."""
    often = seen_often(inspection.people)
    others = [person for person in inspection.people if person not in often]
    parts = [_people_table(often)]
    doubts = [f"person {person.track}: {'; '.join(person.doubts)}" for person in often if person.doubts]
    if doubts:
        parts.append(f"<p><b>Cannot be judged reliably:</b></p>\n{_list(doubts)}")
    if others:
        summary = f"Other people, seen in fewer than {MIN_FRAMES} examined frames: {len(others)}"
        parts.append(f"<details><summary>{summary}</summary>{_people_table(others)}</details>")
    return "\n".join(parts)


def _people_table(shown: Sequence[Person]) -> str:
    columns = {
        person.track: {
            "frames": person.frames,
            "models that found the face": person.models,
            "seen (seconds)": f"{person.first_seconds:.2f} to {person.last_seconds:.2f}",
            "mean score [95 % interval]": f"{person.mean:.3f} [{person.low:.3f}, {person.high:.3f}]",
            "score by the DFDC winner's averaging rule": f"{person.confident:.3f}",
            "looks forged (seconds)": ", ".join(f"{start:.2f} to {end:.2f}" for start, end in person.forged_spans)
            or "never",
            "face size (pixels)": round(person.side_pixels),
            "sharpness (0 = blurred)": round(person.sharpness),
            "turned to the side (0 = not at all)": f"{person.turn:.2f}",
        }
        for person in shown
    }
    return str(pd.DataFrame(columns, dtype=object).rename_axis(columns="person").to_html(classes="people"))


def against_original(masks: pd.DataFrame) -> str:
    """Return how similar the faces in `masks.csv` are to the original's; warn if it looks like a different video."""
    ssim, changed = masks["ssim"].median(), masks["changed_share"].median()
    medians = f"Median similarity (SSIM, 1 = identical): {ssim:.2f}. Median share of changed pixels: {changed:.0%}."
    text = f"<p>{len(masks)} faces were compared with the original. {medians}</p>"
    return text if ssim >= MIN_SSIM else f"{text}\n{_red(OTHER_VIDEO)}"


def models(cards: Sequence[ModelCard]) -> str:
    """Return a description of every model: its network, its results on other videos, and its limits."""
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
    return f"<h3>{escape(card.name)}</h3>\n<table>{rows}</table>\n{_list(LIMITS)}"


def _metrics(card: ModelCard, fold: str) -> str:
    names = [name for name in SHOWN_METRICS if f"{fold} {name}" in card.metrics]
    return ", ".join(f"{name} {card.metrics[f'{fold} {name}']:.3g}" for name in names) or "not measured"


def _calibration(card: ModelCard) -> str:
    if card.calibration is None:
        return "none: the scores are not probabilities"
    fit = card.calibration
    losses = f"log loss {fit.log_loss_before:.3f} before and {fit.log_loss_after:.3f} after"
    return f"temperature {fit.temperature:.2f}, fitted on {fit.videos} unseen videos ({fit.fakes} fakes); {losses}"


def _sample_models(cards: Sequence[ModelCard]) -> list[ModelCard]:
    return [card for card in cards if card.data == BUILT_IN_SAMPLE]


def _red(text: str) -> str:
    # The style is for notebooks, which lack the report's style sheet.
    return f'<p class="warning" style="color:#b00020;font-weight:600">{text}</p>'


def _list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
