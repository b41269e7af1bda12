"""From the scored faces of one video to an answer, or to the reasons for giving none.

In: one row a face (track, time, score, size, sharpness, turn) and what changed versions of the video score; out: a `Person` for everyone in
the video, an answer with its doubts, and its sentence. The limits are the kit's own judgement: they say when a person looking at the frames
would also refuse.
Source: block bootstrap: Künsch 1989, doi:10.1214/aos/1176347265 (neighbouring frames are alike).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from dfdc_lib.evaluation.strategies import confident_strategy
from dfdc_lib.faces.tracks import iou
from dfdc_lib.records import BOX_COLUMNS, Answer, Person, Trial

EVEN = 0.5  # from it on a score counts as fake
MIN_FRAMES = 8  # of one person
MIN_SIDE = 40.0  # pixels of the face's shorter side
MIN_SHARPNESS = 20.0  # see quality.sharpness
MAX_TURN = 0.5  # see quality.turn: about 40 degrees
BLOCK_FRAMES, DRAWS = 4, 2000  # of the bootstrap
MIN_BLOCKS = 8  # of which an interval is made: blocks are shorter where there are few frames
INTERVAL_PERCENT = (2.5, 97.5)
MIN_SPAN_FRAMES = 2  # in a row that look forged; one alone may be chance
MIN_RUN_FRAMES = 4  # so many in a row are no chance: a person may be forged for a part of the time
SAME_FACE_IOU = 0.5  # two models' boxes of one face overlap by at least this
ANSWERS: dict[Answer, str] = {"fake": "looks forged", "real": "no sign of forgery", "inconclusive": "inconclusive"}


def join_models(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average several models' scores of the same faces.

    Args:
        tables: one a model, one row a face: frame_index, box_x0 … box_y1, score; at least one table. The one with most faces, of equals the
            first, says which faces there are.
    Returns:
        That table with `score` averaged over the models that saw the face, and `models`, how many did; without its `logit`, which is one
        model's alone.
    """
    base = max(tables, key=len)
    first = base.drop(columns="logit", errors="ignore").reset_index(drop=True)
    scores = [[score] for score in first["score"]]
    for other in (table for table in tables if table is not base):
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
        scores: (n,) 0–1, n ≥ 1.
        seed: of the draws.
    Returns:
        The percentiles of the means of draws in blocks of `BLOCK_FRAMES` neighbours (the last frame's neighbour is the first), shorter
        where there would be fewer than `MIN_BLOCKS`; widened about the mean as Student's t asks for so few blocks; within 0–1. Of 600
        made series each holds the true mean: 0.94 of independent frames (8, 64 frames), 0.84, 0.94 where neighbours correlate at 0.3,
        0.72, 0.90 at 0.5.
    """
    count, mean = len(scores), float(np.mean(scores))
    length = min(BLOCK_FRAMES, max(1, count // MIN_BLOCKS))
    starts = np.random.default_rng(seed).integers(0, count, (DRAWS, -(-count // length), 1))
    places = ((starts + np.arange(length)) % count).reshape(DRAWS, -1)[:, :count]
    low, high = np.percentile(np.asarray(scores)[places].mean(axis=1), INTERVAL_PERCENT)
    wider = _widening(count / length)
    return max(0.0, mean - wider * (mean - float(low))), min(1.0, mean + wider * (float(high) - mean))


def _widening(blocks: float) -> float:
    """Say how much wider than the bootstrap's the interval of few blocks must be: their spread is itself an estimate, and low."""
    if blocks <= 1:
        return 1.0
    return float(
        t.ppf(INTERVAL_PERCENT[1] / 100, blocks - 1)
        / norm.ppf(INTERVAL_PERCENT[1] / 100)
        * np.sqrt(blocks / (blocks - 1))
    )


def forged_spans(times: Sequence[float], scores: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Find where at least `MIN_SPAN_FRAMES` examined frames in a row look forged.

    >>> forged_spans([0, 1, 2, 3, 4], [0.9, 0.1, 0.8, 0.9, 0.2])
    ((2, 3),)
    """
    return tuple((times[run[0]], times[run[-1]]) for run in _forged_runs(scores) if len(run) >= MIN_SPAN_FRAMES)


def _forged_runs(scores: Sequence[float]) -> list[range]:
    """Give the places of frames in a row that look forged."""
    edges = np.flatnonzero(np.diff([0, *(score >= EVEN for score in scores), 0]))
    return [range(start, stop) for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


def describe_people(faces: pd.DataFrame) -> tuple[Person, ...]:
    """Describe everyone in a video, the most suspicious first.

    Args:
        faces: one row a face of one video, as `join_models` gives it.
    Returns:
        One `Person` a track, those that can be judged before the others, and of the others those seen too seldom last; () where there is
        no face.
    """
    people = [_describe(track, rows.sort_values("frame_index")) for track, rows in _by_track(faces).items()]
    return tuple(sorted(people, key=_last_comes))


def _last_comes(person: Person) -> tuple[bool, bool, bool, float]:
    return bool(person.doubts), person.frames < MIN_FRAMES, not looks_forged(person), -person.mean


def looks_forged(person: Person) -> bool:
    """Tell whether somebody looks forged on average, or for `MIN_RUN_FRAMES` examined frames in a row."""
    return person.mean >= EVEN or person.longest_forged >= MIN_RUN_FRAMES


def seen_often(people: Sequence[Person]) -> tuple[Person, ...]:
    """Leave out passers-by, seen in fewer than `MIN_FRAMES` frames; of nothing but passers-by the first stays."""
    return tuple(person for person in people if person.frames >= MIN_FRAMES) or tuple(people[:1])


def _describe(track: int, rows: pd.DataFrame) -> Person:
    scores, times = rows["score"].to_numpy(float), rows["time_seconds"].to_numpy(float)
    sides = pd.DataFrame({"width": rows["box_x1"] - rows["box_x0"], "height": rows["box_y1"] - rows["box_y0"]}).min(
        axis=1
    )
    side, sharpness, turn = (float(each.median()) for each in (sides, rows["sharpness"], rows["turn"]))
    low, high = mean_interval(scores)
    limits = [
        (len(rows) < MIN_FRAMES, f"seen in {len(rows)} of the examined frames, at least {MIN_FRAMES} are needed"),
        (side < MIN_SIDE, f"the face is {side:.1f} pixels across, at least {MIN_SIDE:.0f} are needed"),
        (
            sharpness < MIN_SHARPNESS,
            f"the face is too blurred: sharpness {sharpness:.1f}, at least {MIN_SHARPNESS:.0f} is needed",
        ),
        (turn > MAX_TURN, f"the face is turned away: {turn:.2f}, at most {MAX_TURN} is fit to be judged"),
    ]
    return Person(
        track=track,
        frames=len(rows),
        models=int(rows["models"].median()),
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
        longest_forged=max(map(len, _forged_runs(scores.tolist())), default=0),
        doubts=tuple(reason for holds, reason in limits if holds),
    )


def find_again(version: pd.DataFrame, faces: pd.DataFrame, track: int) -> pd.DataFrame:
    """Find a person of a video again in a changed version of it.

    Args:
        version: one row a face of the version: track, and frame_index and box_x0 … box_y1 as they would be in the video itself.
        faces: those of the video, in the frames that the version shows.
        track: the person, in `faces`.
    Returns:
        The rows of those tracks of the version that overlap this person more than anyone else.
    """
    people = _by_track(faces)
    own = [number for number, rows in _by_track(version).items() if _most_alike(rows, people) == track]
    return version[version["track"].isin(own)]


def _by_track(faces: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {int(track): faces[faces["track"] == track] for track in faces["track"].unique()}


def _most_alike(rows: pd.DataFrame, people: Mapping[int, pd.DataFrame]) -> int | None:
    """Name the person whose box, in the nearest frame that shows the person, overlaps the rows' boxes most on average."""
    overlaps: dict[int, float] = {}
    for track, known in people.items():
        indices, boxes = known["frame_index"].to_numpy(), _boxes(known)
        nearest = [boxes[int(np.abs(indices - frame_index).argmin())] for frame_index in rows["frame_index"]]
        overlaps[track] = float(np.mean([iou(box, other) for box, other in zip(_boxes(rows), nearest, strict=True)]))
    best = max(overlaps, key=lambda track: overlaps[track], default=None)
    return best if best is not None and overlaps[best] > 0 else None


def try_version(title: str, faces: pd.DataFrame, answer_is_fake: bool, changed: bool = True) -> Trial:
    """Judge one person by a changed version of a video, or by fewer frames.

    Args:
        title: what was changed.
        faces: one row a face of that person in that version.
        answer_is_fake: whether what was changed counts as fake.
        changed: False for what others are compared with.
    Returns:
        The trial; without a face it has no score, and counts as an answer that does not hold.
    """
    if faces.empty:
        return Trial(title=title, changed=changed, frames=0, score=None, low=None, high=None, flips=True)
    scores = faces.sort_values("frame_index")["score"].to_numpy(float)
    score, (low, high) = float(scores.mean()), mean_interval(scores)
    return Trial(
        title=title,
        changed=changed,
        frames=len(scores),
        score=score,
        low=low,
        high=high,
        flips=(score >= EVEN) != answer_is_fake,
    )


def decide(people: Sequence[Person], trials: Sequence[Trial]) -> tuple[Answer, tuple[str, ...]]:
    """Answer, or say why not.

    Args:
        people: of `describe_people`, at least one.
        trials: the changed versions.
    Returns:
        "fake" where the most suspicious person that can be judged looks forged, else "real"; "inconclusive" with the reasons where nobody
        can be judged, the interval reaches over one half, someone looks forged for a part of the time or cannot be judged and looks forged,
        or a trial flips the answer.
    """
    judged = people[0]
    doubts = list(judged.doubts)
    if judged.low < EVEN <= judged.high:
        doubts.append(
            f"the frames disagree: the interval of the score, {judged.low:.2f} to {judged.high:.2f}, reaches over one half"
        )
    if judged.mean < EVEN:
        doubts += [_suspicion(person) for person in seen_often(people) if looks_forged(person)]
    doubts += [_other_excerpt(trial, judged) for trial in trials if trial.flips and not trial.changed]
    changed = [trial for trial in trials if trial.changed]
    flipped = [trial.title for trial in changed if trial.flips]
    if flipped:
        doubts.append(
            f"the answer does not survive everyday changes ({len(flipped)} of {len(changed)}): {', '.join(flipped)}"
        )
    if doubts:
        return "inconclusive", tuple(doubts)
    return ("fake" if judged.mean >= EVEN else "real"), ()


def _suspicion(person: Person) -> str:
    if person.mean >= EVEN:
        return f"someone who cannot be judged looks forged: person {person.track}"
    return f"person {person.track} looks forged for {person.longest_forged} examined frames in a row, though not on average"


def _other_excerpt(trial: Trial, judged: Person) -> str:
    if trial.score is None:
        return f"the changes could not be tried: nobody was found again in the {trial.title}"
    return f"the frames disagree: the {trial.title} scores {trial.score:.2f}, the whole video {judged.mean:.2f}"


def stability_sentence(trials: Sequence[Trial]) -> str:
    """Say in words whether the answer would flip."""
    changed = [trial for trial in trials if trial.changed]
    flipped = [trial.title for trial in changed if trial.flips]
    if not changed:
        return "Stability was not tried."
    if not flipped:
        return f"The answer stays the same in all {len(changed)} changed versions."
    return f"The answer would flip in {len(flipped)} of {len(changed)} changed versions: {', '.join(flipped)}."


def _boxes(table: pd.DataFrame) -> list[tuple[float, float, float, float]]:
    return list(table[BOX_COLUMNS].itertuples(index=False, name=None))
