"""What an examination says in words, as HTML: the answer, its doubts, the people, the models and their limits.

Pure: records in, HTML out; whatever comes from a file is escaped.
"""

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

from dfdc_lib.inspection.verdict import ANSWERS, MIN_FRAMES, seen_often, stability_sentence
from dfdc_lib.records import BUILT_IN_SAMPLE, Inspection, ModelCard, Person

WARNING_STYLE = "color:#b00020;font-weight:600"  # where the report's style sheet is not at hand
OF_INTERVAL = "The interval tells how far the frames of this video agree, not how often the model is right."
# Of crops with their margin: 0.83–0.91 for fakes of FaceForensics++ (c40) and their originals, 0.30–0.40 for other originals.
MIN_SSIM = 0.6
SHOWN_METRICS = ("AUC", "log loss", "videos")


def short_answer(found: Inspection, cards: Sequence[ModelCard]) -> str:
    """State the answer in a few words, which are plain text."""
    return f"{ANSWERS[found.answer]}{', to a model that knows one face' if _narrow(cards) else ''}"


def answer(found: Inspection, cards: Sequence[ModelCard]) -> str:
    """State the answer and what it rests on, or why there is none; before it, what a reader must know of the models."""
    judged = next(person for person in found.people if person.track == found.judged_track)
    score = f"score {judged.mean:.2f} by the mean of {judged.frames} frames, 95 % interval {judged.low:.2f} to {judged.high:.2f}; "
    score += f"{judged.confident:.2f} by the confident strategy; {judged.models} model{'s' * (judged.models > 1)}"
    parts = [
        *map(_warning, _narrow(cards)),
        f"<h2>{escape(found.video)}: {short_answer(found, cards)}</h2>",
        f"<p>Person {judged.track}: {score}. {OF_INTERVAL}</p>",
        f"<p>{_of_probability(found, cards)}</p>",
        f"<p>{escape(stability_sentence(found.trials))}{_of_versions(found)}</p>",
    ]
    if found.doubts:
        parts.append(f"<p><b>No answer, because</b></p>{_items(found.doubts)}")
    return "\n".join(parts)


def _of_probability(found: Inspection, cards: Sequence[ModelCard]) -> str:
    calibrations = [card.calibration for card in cards if card.calibration]
    if not calibrations:
        return "The score is not a probability: no calibration on held-out videos comes with the model."
    if found.probability is None:
        return "The score is not a probability here: a calibration holds for one model, one person in the video, and where there is an answer."
    fitted = f"a curve fitted on {calibrations[0].videos} held-out videos"
    return f"By {fitted}, about {found.probability:.0%} of videos with such a score are fakes, where as many are fakes as there."


def _of_versions(found: Inspection) -> str:
    start, end = found.excerpt_seconds
    if not any(trial.changed for trial in found.trials):
        return ""
    return f" Tried were fewer frames, and the part from {start:.1f} to {end:.1f} s re-encoded, shrunk, blurred and with noise."


def people(found: Inspection) -> str:
    """Tell everyone apart: a table with one column a person, the judged one first, why others are not judged, and folded the passers-by."""
    often = seen_often(found.people)
    passers_by = [person for person in found.people if person not in often]
    doubts = [f"person {person.track}: {'; '.join(person.doubts)}" for person in often if person.doubts]
    parts = [_people_table(often)]
    if doubts:
        parts.append(f"<p><b>Not judged</b></p>\n{_items(doubts)}")
    if passers_by:
        heading = (
            f"{len(passers_by)} more, seen in fewer than {MIN_FRAMES} of the examined frames: too seldom to be judged"
        )
        parts.append(f"<details><summary>{heading}</summary>{_people_table(passers_by)}</details>")
    return "\n".join(parts)


def _people_table(shown: Sequence[Person]) -> str:
    rows = [
        {
            "person": person.track,
            "frames": person.frames,
            "models": person.models,
            "from … to (s)": f"{person.first_seconds:.2f} … {person.last_seconds:.2f}",
            "mean": f"{person.mean:.2f} [{person.low:.2f}, {person.high:.2f}]",
            "confident": f"{person.confident:.2f}",
            "looks forged (s)": ", ".join(f"{start:.2f}–{end:.2f}" for start, end in person.forged_spans) or "nowhere",
            "face (pixels)": round(person.side_pixels),
            "sharpness": round(person.sharpness),
            "turned": f"{person.turn:.2f}",
        }
        for person in shown
    ]
    return str(pd.DataFrame(rows).set_index("person").T.rename_axis(columns="person").to_html(classes="people"))


def against_original(masks: pd.DataFrame) -> str:
    """Say how alike the faces are to the original's, and warn where the original looks like another video.

    Args:
        masks: of `masks.csv`: ssim, changed_share.
    """
    ssim, changed = masks["ssim"].median(), masks["changed_share"].median()
    said = f"<p>{len(masks)} faces compared: median SSIM {ssim:.2f}, {changed:.0%} of their pixels changed.</p>"
    if ssim >= MIN_SSIM:
        return said
    return f"{said}\n" + _red(
        f"Below {MIN_SSIM} hardly a background is the same: this original is another video, or not in step with this one frame for frame."
    )


def models(cards: Sequence[ModelCard]) -> str:
    """Say of every model what it is, how good it was on what it had not seen, and what it cannot know."""
    return "\n".join(_model(card) for card in cards)


def _model(card: ModelCard) -> str:
    noise = " on the noise residual" if card.noise else ""
    facts: Mapping[str, str] = {
        "network": f"{card.encoder}{noise}, crops of {card.recipe.size} pixels with a margin of {card.recipe.margin:.2f}",
        "trained on": card.data or "unknown data",
        "on test videos": _metrics(card, "test"),
        "on validation videos, which chose it": _metrics(card, "validation"),
        "calibration": _calibration(card),
    }
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts.items())
    limits = (
        "It has learned the forgeries of its training videos; a forgery made in another way may pass unseen.",
        "Strong compression, small or covered faces hide what it looks for; sound and lip movement are not looked at.",
        "A low score is not a proof that a video is genuine, and a high one not that it is forged: look at the frames.",
    )
    return f"<h3>{escape(card.name)}</h3>\n<table>{rows}</table>\n{_items(limits)}"


def _metrics(card: ModelCard, fold: str) -> str:
    known = [
        f"{name} {card.metrics[f'{fold} {name}']:.3g}" for name in SHOWN_METRICS if f"{fold} {name}" in card.metrics
    ]
    return ", ".join(known) or "nothing is known"


def _narrow(cards: Sequence[ModelCard]) -> list[ModelCard]:
    return [card for card in cards if card.data == BUILT_IN_SAMPLE]


def _warning(card: ModelCard) -> str:
    return _red(
        f"The model {escape(card.name)} knows one face only: the portrait of the built-in sample, forged in one way. It shows how an "
        "examination works. What it says of any other video is worth nothing."
    )


def _red(text: str) -> str:
    return f'<p class="warning" style="{WARNING_STYLE}">{text}</p>'


def _calibration(card: ModelCard) -> str:
    known = card.calibration
    if known is None:
        return "none: its scores are not probabilities"
    change = f"log loss {known.log_loss_before:.3f} → {known.log_loss_after:.3f}"
    return f"temperature {known.temperature:.2f}, from {known.videos} held-out videos ({known.fakes} fakes), {change}"


def _items(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"
