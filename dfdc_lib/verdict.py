"""From the scored faces of one video to an answer, or to the reasons for giving none.

In: one row a face (track, time, score, size, sharpness, turn) and what changed versions of the video score; out: a `Person` for everyone in
the video, an answer with its doubts, and its sentence. The limits are the kit's own judgement: they say when a person looking at the frames
would also refuse.
Source: block bootstrap: Künsch 1989, doi:10.1214/aos/1176347265 (neighbouring frames are alike).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dfdc_lib.records import BOX_COLUMNS, Answer, Person, Trial
from dfdc_lib.strategies import confident_strategy
from dfdc_lib.tracks import iou

EVEN = 0.5  # from it on a score counts as fake
MIN_FRAMES = 8  # of one person
MIN_SIDE = 40.0  # pixels of the face's shorter side
MIN_SHARPNESS = 20.0  # see quality.sharpness
MAX_TURN = 0.5  # see quality.turn: about 40 degrees
BLOCK_FRAMES, DRAWS = 4, 2000  # of the bootstrap
INTERVAL_PERCENT = (2.5, 97.5)
MIN_SPAN_FRAMES = 2  # in a row that look forged; one alone may be chance
SAME_FACE_IOU = 0.5  # two models' boxes of one face overlap by at least this
ANSWERS: dict[Answer, str] = {"fake": "looks forged", "real": "no sign of forgery", "inconclusive": "inconclusive"}


def join_models(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average several models' scores of the same faces.

    Args:
        tables: one a model, one row a face: frame_index, box_x0 … box_y1, score; at least one table. The first says which faces there are.
    Returns:
        The first table with `score` averaged over the models that saw the face, and `models`, how many did; without its `logit`, which
        is one model's alone.
    """
    first = tables[0].drop(columns="logit", errors="ignore").reset_index(drop=True)
    scores = [[score] for score in first["score"]]
    for other in tables[1:]:
        by_frame = dict(list(other.groupby("frame_index")))
        for place, (frame_index, box) in enumerate(zip(first["frame_index"], _boxes(first), strict=True)):
            known = by_frame.get(frame_index, other[:0])
            overlaps = [iou(box, candidate) for candidate in _boxes(known)]
            if overlaps and max(overlaps) >= SAME_FACE_IOU:
                scores[place].append(float(known["score"].iloc[int(np.argmax(overlaps))]))
    return first.assign(score=[float(np.mean(each)) for each in scores], models=[len(each) for each in scores])


def mean_interval(scores: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Give the 95 % interval of the mean of frames in order of time.

    Args:
        scores: (n,) n ≥ 1.
        seed: of the draws.
    Returns:
        The percentiles of the means of draws in blocks of `BLOCK_FRAMES` neighbours (the last frame's neighbour is the first); of half as
        many as there are frames where that is less, for one block of all frames would be the same in every draw.
    """
    count = len(scores)
    length = min(BLOCK_FRAMES, max(1, count // 2))
    starts = np.random.default_rng(seed).integers(0, count, (DRAWS, -(-count // length), 1))
    places = ((starts + np.arange(length)) % count).reshape(DRAWS, -1)[:, :count]
    low, high = np.percentile(np.asarray(scores)[places].mean(axis=1), INTERVAL_PERCENT)
    return float(low), float(high)


def forged_spans(times: Sequence[float], scores: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Find where at least `MIN_SPAN_FRAMES` examined frames in a row look forged.

    >>> forged_spans([0, 1, 2, 3, 4], [0.9, 0.1, 0.8, 0.9, 0.2])
    ((2, 3),)
    """
    spans: list[list[float]] = []
    open_span = False
    for time, score in zip(times, scores, strict=True):
        if score >= EVEN and open_span:
            spans[-1].append(time)
        elif score >= EVEN:
            spans.append([time])
        open_span = score >= EVEN
    return tuple((span[0], span[-1]) for span in spans if len(span) >= MIN_SPAN_FRAMES)


def describe_people(faces: pd.DataFrame) -> tuple[Person, ...]:
    """Describe everyone in a video, the most suspicious first.

    Args:
        faces: one row a face of one video, as `join_models` gives it.
    Returns:
        One `Person` a track, those that can be judged before the others, and of the others those seen too seldom last; () where there is
        no face.
    """
    people = [_describe(int(track), faces[faces["track"] == track].sort_values("frame_index")) for track in faces["track"].unique()]
    return tuple(sorted(people, key=lambda person: (bool(person.doubts), person.frames < MIN_FRAMES, -person.mean)))


def seen_often(people: Sequence[Person]) -> tuple[Person, ...]:
    """Leave out passers-by, seen in fewer than `MIN_FRAMES` frames; of nothing but passers-by the first stays."""
    return tuple(person for person in people if person.frames >= MIN_FRAMES) or tuple(people[:1])


def _describe(track: int, rows: pd.DataFrame) -> Person:
    scores, times = rows["score"].to_numpy(float), rows["time_seconds"].to_numpy(float)
    sides = pd.DataFrame({"width": rows["box_x1"] - rows["box_x0"], "height": rows["box_y1"] - rows["box_y0"]}).min(axis=1)
    side, sharpness, turn = (float(each.median()) for each in (sides, rows["sharpness"], rows["turn"]))
    low, high = mean_interval(scores)
    limits = [
        (len(rows) < MIN_FRAMES, f"seen in {len(rows)} of the examined frames, at least {MIN_FRAMES} are needed"),
        (side < MIN_SIDE, f"the face is {side:.1f} pixels across, at least {MIN_SIDE:.0f} are needed"),
        (sharpness < MIN_SHARPNESS, f"the face is too blurred: sharpness {sharpness:.1f}, at least {MIN_SHARPNESS:.0f} is needed"),
        (turn > MAX_TURN, f"the face is turned away: {turn:.2f}, at most {MAX_TURN} is fit to be judged"),
    ]
    return Person(
        track=track,
        frames=len(rows),
        models=int(rows["models"].max()),
        first_seconds=float(times[0]),
        last_seconds=float(times[-1]),
        mean=float(scores.mean()),
        confident=confident_strategy(scores),
        low=low,
        high=high,
        side_pixels=side,
        sharpness=sharpness,
        turn=turn,
        forged_spans=forged_spans(times.tolist(), scores.tolist()),
        doubts=tuple(reason for holds, reason in limits if holds),
    )


def try_version(title: str, faces: pd.DataFrame, answer_is_fake: bool) -> Trial:
    """Judge a changed version of a video as the video itself: by the first of its people.

    Args:
        title: what was changed.
        faces: one row a face of that version, as `join_models` gives it.
        answer_is_fake: whether the whole video counts as fake.
    Returns:
        The trial; without a face it has no score, and counts as an answer that does not hold.
    """
    if faces.empty:
        return Trial(title=title, frames=0, score=None, low=None, high=None, flips=True)
    judged = describe_people(faces)[0]
    flips = (judged.mean >= EVEN) != answer_is_fake
    return Trial(title=title, frames=judged.frames, score=judged.mean, low=judged.low, high=judged.high, flips=flips)


def decide(people: Sequence[Person], trials: Sequence[Trial]) -> tuple[Answer, tuple[str, ...]]:
    """Answer, or say why not.

    Args:
        people: of `describe_people`, at least one.
        trials: the changed versions.
    Returns:
        "fake" where the most suspicious person that can be judged looks forged, else "real"; "inconclusive" with the reasons where nobody
        can be judged, the interval reaches over one half, someone who cannot be judged looks forged, or a trial flips the answer.
    """
    judged = people[0]
    doubts = list(judged.doubts)
    if judged.low < EVEN <= judged.high:
        doubts.append(f"the frames disagree: the interval of the score, {judged.low:.2f} to {judged.high:.2f}, reaches over one half")
    hidden = [person for person in people[1:] if person.doubts and person.frames >= MIN_FRAMES and person.mean >= EVEN]
    if judged.mean < EVEN and hidden:
        doubts.append(f"someone who cannot be judged looks forged: {', '.join(f'person {person.track}' for person in hidden)}")
    flipped = [trial.title for trial in trials if trial.flips]
    if flipped:
        doubts.append(f"the answer does not survive everyday changes ({len(flipped)} of {len(trials)}): {', '.join(flipped)}")
    if doubts:
        return "inconclusive", tuple(doubts)
    return ("fake" if judged.mean >= EVEN else "real"), ()


def stability_sentence(trials: Sequence[Trial]) -> str:
    """Say in words whether the answer would flip."""
    flipped = [trial.title for trial in trials if trial.flips]
    if not trials:
        return "Stability was not tried."
    if not flipped:
        return f"The answer stays the same in all {len(trials)} versions of the video."
    return f"The answer would flip in {len(flipped)} of {len(trials)} versions: {', '.join(flipped)}."


def _boxes(table: pd.DataFrame) -> list[tuple[float, float, float, float]]:
    return list(table[BOX_COLUMNS].itertuples(index=False, name=None))
