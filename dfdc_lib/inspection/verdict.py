"""Turn the scored faces of one video into an answer, or into the reasons why there is none.

Input: one row per face (track, time, score, size, sharpness, turn), and the scores of changed versions of the video.
Output: a `Person` for everyone in the video, an answer, its doubts, and the sentences that explain them. One rule,
`answer_of`, judges the video and its changed versions.
The limits below are the kit's own choice: they exclude faces that a human viewer would also refuse to judge.
Source: block bootstrap: Künsch 1989, doi:10.1214/aos/1176347265 (neighbouring frames resemble each other).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import scipy  # imports scipy.special when it is first used

from dfdc_lib.evaluation.strategies import confident_strategy
from dfdc_lib.faces.tracks import iou
from dfdc_lib.records import BOX_COLUMNS, Answer, Person, Trial

FAKE_SCORE = 0.5  # a score of at least this counts as fake
MIN_FRAMES = 8  # of one person
MIN_SIDE = 40.0  # pixels of the face's shorter side
MIN_SHARPNESS = 20.0  # see quality.sharpness
MAX_TURN = 0.5  # see quality.turn: about 40 degrees
BLOCK_FRAMES, DRAWS, SEED = 4, 2000, 0  # of the bootstrap
MIN_BLOCKS = 8  # blocks are shorter than BLOCK_FRAMES if there would be fewer than this
INTERVAL_PERCENT = (2.5, 97.5)
Interval = tuple[float | None, float | None]  # low, high; both None for a single frame
MIN_SPAN_FRAMES = 2  # consecutive frames of a forged span; a single frame may be chance
MIN_RUN_FRAMES = 4  # this many consecutive frames are unlikely by chance: a part of the video may be forged
SAME_FACE_IOU = 0.5  # two models' boxes of one face overlap at least this much
ANSWERS: dict[Answer, str] = {"fake": "looks forged", "real": "no sign of forgery", "inconclusive": "inconclusive"}
VERSION_ANSWERS: dict[Answer, tuple[str, str]] = {  # of one version, of several
    "fake": ("looks forged", "look forged"),
    "real": ("shows no sign of forgery", "show no sign of forgery"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
}


def join_models(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the scores that several models give to the same faces; one table per model, one row per face.

    `tables` have the columns of `scores/<model>.parquet`, for the faces of one video. Return the table with the most
    faces (see `most_faces`), without `logit`. Its `score` is the mean over the models that found the face; the new
    column `models` is their number.
    """
    base = tables[most_faces(tables)]
    faces = base.drop(columns="logit", errors="ignore").reset_index(drop=True)
    scores = [[score] for score in faces["score"]]
    for table in (table for table in tables if table is not base):
        for row, (frame_index, box) in enumerate(zip(faces["frame_index"], _boxes(faces), strict=True)):
            candidates = table[table["frame_index"] == frame_index]
            overlaps = [iou(box, candidate) for candidate in _boxes(candidates)]
            if max(overlaps, default=0.0) >= SAME_FACE_IOU:
                scores[row].append(float(candidates["score"].iloc[int(np.argmax(overlaps))]))
    return faces.assign(score=[float(np.mean(each)) for each in scores], models=[len(each) for each in scores])


def most_faces(tables: Sequence[pd.DataFrame]) -> int:
    """Return the position of the table with the most rows (one row per face); of equals, of the first."""
    return max(range(len(tables)), key=lambda position: len(tables[position]))


def answer_of(frames: int, score: float, interval: Interval) -> Answer:
    """Return the answer about one person: "fake" if the mean score is at least `FAKE_SCORE` (0.5), else "real".

    It is "inconclusive" with fewer than `MIN_FRAMES` frames, or if the interval includes `FAKE_SCORE`. `frames`: number
    of examined frames with this person; `score`: their mean score; `interval`: its (low, high).
    """
    if frames < MIN_FRAMES or _is_undecided(interval):
        return "inconclusive"
    return "fake" if score >= FAKE_SCORE else "real"


def _is_undecided(interval: Interval) -> bool:
    low, high = interval
    return low is not None and high is not None and low < FAKE_SCORE <= high


def mean_interval(scores: np.ndarray) -> Interval:
    """Return the 95 % interval of the mean of one person's scores: (n,) for n >= 1 frames, 0-1, in order of time.

    A single frame has no interval: (None, None). The frames are resampled in circular blocks of at most `BLOCK_FRAMES`
    neighbours. The interval is then widened as Student's t distribution requires for few blocks, and clipped to 0-1.

    The interval is too narrow for few correlated frames. Measured coverage in 600 simulated series, for correlations
    of neighbours of 0, 0.3 and 0.5: with 8 frames 0.94, 0.84 and 0.72; with 64 frames 0.94, 0.94 and 0.90.
    """
    count, mean = len(scores), float(np.mean(scores))
    if count < 2:
        return None, None
    length = min(BLOCK_FRAMES, max(1, count // MIN_BLOCKS))
    starts = np.random.default_rng(SEED).integers(0, count, (DRAWS, -(-count // length), 1))
    drawn = ((starts + np.arange(length)) % count).reshape(DRAWS, -1)[:, :count]
    low, high = np.percentile(np.asarray(scores)[drawn].mean(axis=1), INTERVAL_PERCENT)
    blocks, level = count / length, INTERVAL_PERCENT[1] / 100
    factor = scipy.special.stdtrit(blocks - 1, level) / scipy.special.ndtri(level) * np.sqrt(blocks / (blocks - 1))
    return max(0.0, mean - factor * (mean - float(low))), min(1.0, mean + factor * (float(high) - mean))


def forged_spans(times: Sequence[float], scores: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return the first and last time, in seconds, of every run of consecutive examined frames that look forged.

    `times` (seconds) and `scores` (0-1) are those of one person, in order of time. Runs of fewer than `MIN_SPAN_FRAMES`
    are left out.
    """
    return tuple((times[run[0]], times[run[-1]]) for run in _forged_runs(scores) if len(run) >= MIN_SPAN_FRAMES)


def _forged_runs(scores: Sequence[float]) -> list[range]:
    """Return the index ranges of consecutive scores that count as fake."""
    edges = np.flatnonzero(np.diff([0, *(score >= FAKE_SCORE for score in scores), 0]))
    return [range(start, stop) for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


def describe_people(faces: pd.DataFrame) -> tuple[Person, ...]:
    """Return one `Person` per track of a table from `join_models`, the most suspicious first.

    People who can be judged come before those who cannot; people who appear in too few frames come last.
    """
    people = [_describe(track, rows.sort_values("frame_index")) for track, rows in _by_track(faces).items()]
    people.sort(key=lambda each: (bool(each.doubts), each.frames < MIN_FRAMES, not looks_forged(each), -each.mean))
    return tuple(person.model_copy(update={"number": number}) for number, person in enumerate(people, start=1))


def looks_forged(person: Person) -> bool:
    """Return whether a person looks forged on average, or in `MIN_RUN_FRAMES` consecutive examined frames."""
    return person.mean >= FAKE_SCORE or person.longest_forged >= MIN_RUN_FRAMES


def seen_often(people: Sequence[Person]) -> tuple[Person, ...]:
    """Return the people who appear in at least `MIN_FRAMES` frames; if there are none, the first person."""
    return tuple(person for person in people if person.frames >= MIN_FRAMES) or tuple(people[:1])


def _describe(track: int, rows: pd.DataFrame) -> Person:
    scores, times = rows["score"].to_numpy(float), rows["time_seconds"].to_numpy(float)
    sides = np.minimum(rows["box_x1"] - rows["box_x0"], rows["box_y1"] - rows["box_y0"])
    side, sharpness, turn = (float(np.median(values)) for values in (sides, rows["sharpness"], rows["turn"]))
    low, high = mean_interval(scores)
    limits = [
        (len(rows) < MIN_FRAMES, f"seen in too few examined frames: {len(rows)}, minimum {MIN_FRAMES}"),
        (side < MIN_SIDE, f"the face is too small: {side:.1f} pixels, minimum {MIN_SIDE:.0f}"),
        (sharpness < MIN_SHARPNESS, f"the face is too blurred: sharpness {sharpness:.1f}, minimum {MIN_SHARPNESS:.0f}"),
        (turn > MAX_TURN, f"the face is turned too far to the side: {turn:.2f}, maximum {MAX_TURN}"),
    ]
    return Person(
        number=0,  # not known yet
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
        doubts=tuple(reason for exceeded, reason in limits if exceeded),
    )


def find_again(version: pd.DataFrame, faces: pd.DataFrame, track: int) -> pd.DataFrame:
    """Return the rows of `version` that show one person of the video: the one whose track in `faces` is `track`.

    `version`: all faces in a changed version of the video; `faces`: all faces in the video itself. Both are tables from
    `join_models`; frame indices and box pixels must refer to the video. The result has the tracks of `version` whose
    boxes overlap this person's boxes more than any other person's.
    """
    matching = [number for number, rows in _by_track(version).items() if _closest_person(rows, faces) == track]
    return version[version["track"].isin(matching)]


def _by_track(faces: pd.DataFrame) -> dict[int, pd.DataFrame]:
    return {int(track): faces[faces["track"] == track] for track in faces["track"].unique()}


def _closest_person(rows: pd.DataFrame, people: pd.DataFrame) -> int | None:
    """Return the person whose boxes overlap the rows' boxes most on average, each compared in the nearest frame."""
    overlaps: dict[int, float] = {}
    for track, faces in _by_track(people).items():
        distances = np.abs(np.subtract.outer(rows["frame_index"].to_numpy(), faces["frame_index"].to_numpy()))
        nearest = _boxes(faces.iloc[distances.argmin(axis=1)])
        overlaps[track] = float(np.mean([iou(box, other) for box, other in zip(_boxes(rows), nearest, strict=True)]))
    best = max(overlaps, key=lambda track: overlaps[track])
    return best if overlaps[best] > 0 else None


def try_version(title: str, faces: pd.DataFrame, changed: bool = True) -> Trial:
    """Judge one person in one version of the video and return the trial.

    `title`: name of the version. `faces`: this person's rows in it, with the columns of the table from `join_models`.
    If there are no rows, score and answer are None: the version counts as not tried. `changed`: False if the version
    shows the video unchanged.
    """
    if faces.empty:
        return Trial(title=title, changed=changed, frames=0, score=None, low=None, high=None, answer=None)
    scores = faces.sort_values("frame_index")["score"].to_numpy(float)
    score, interval = float(scores.mean()), mean_interval(scores)
    answer = answer_of(len(scores), score, interval)
    measured = {"frames": len(scores), "score": score, "low": interval[0], "high": interval[1]}
    return Trial(title=title, changed=changed, answer=answer, **measured)


def decide(people: Sequence[Person], trials: Sequence[Trial]) -> tuple[Answer, tuple[str, ...]]:
    """Return the answer about the video and the reasons for doubt; `people`, at least one, is from `describe_people`.

    The answer is "inconclusive" in any of four cases:
    - the first person cannot be judged reliably;
    - the interval of the first person's mean score includes `FAKE_SCORE` (0.5);
    - a trial has the opposite answer;
    - the first person's mean is below `FAKE_SCORE`, but that person or another one seen often looks forged.
    Otherwise it is "fake" or "real", the answer about the first person, and there are no doubts.
    """
    judged = people[0]
    doubts = list(judged.doubts)
    if _is_undecided((judged.low, judged.high)):
        doubts.append(
            f"the range of the mean score includes the limit of {FAKE_SCORE}: {judged.low:.2f} to {judged.high:.2f}"
        )
    for person in seen_often(people) if judged.mean < FAKE_SCORE else ():
        if looks_forged(person):
            frames = f"consecutive frames that look forged: {person.longest_forged}"
            doubts.append(f"person {person.number} may be forged: mean score {person.mean:.2f}, {frames}")
    opposite: Answer = "real" if judged.mean >= FAKE_SCORE else "fake"
    versions = [f"{trial.title} (mean score {trial.score:.2f})" for trial in trials if trial.answer == opposite]
    if versions:
        doubts.append(f"some of the tried versions {VERSION_ANSWERS[opposite][1]}: {', '.join(versions)}")
    if doubts:
        return "inconclusive", tuple(doubts)
    return answer_of(judged.frames, judged.mean, (judged.low, judged.high)), ()


def stability(trials: Sequence[Trial]) -> str:
    """Return sentences that state the answers of the changed versions of a video, and which were not tried.

    Of `trials`, those that are not of a changed version are ignored.
    """
    changed = [trial for trial in trials if trial.changed]
    tried = [trial for trial in changed if trial.answer]
    if not tried:
        return "No changed version was tried." if not changed else "The face was not found in any changed version."
    titles = {answer: [trial.title for trial in tried if trial.answer == answer] for answer in ANSWERS}
    counts = {answer: len(names) for answer, names in titles.items() if names}
    most = max(counts, key=lambda answer: counts[answer])
    phrases = [f"{counts[most]} of {len(tried)} {VERSION_ANSWERS[most][counts[most] > 1]}"]
    phrases += [
        f"{count} {VERSION_ANSWERS[answer][count > 1]} ({', '.join(titles[answer])})"
        for answer, count in counts.items()
        if answer != most
    ]
    not_tried = [trial.title for trial in changed if not trial.answer]
    missing = f" Not tried, because the face was not found: {', '.join(not_tried)}." if not_tried else ""
    return f"Changed versions of the video: {', '.join(phrases)}.{missing}"


def _boxes(table: pd.DataFrame) -> list[tuple[float, float, float, float]]:
    return list(table[BOX_COLUMNS].itertuples(index=False, name=None))
