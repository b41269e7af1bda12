"""Score the faces of videos with one or several models.

Input: videos.csv and models. Output: scores/<model>.parquet (one row per face), scores/roles.csv (the role of each
video in the training of the models), scores/scoring.json (which models), submission.csv (one row per video) and
submission_details.csv (what each of its scores rests on).
Each video is decoded once, and its faces are detected once for all models with the same detector settings and margin.
Worker processes or a cluster find the faces; this process runs the models, in batches that span videos. On a GPU it
also runs the detector's networks for its worker processes; the workers of a cluster run those networks themselves.
Source: the slides (32 evenly spaced frames); the winner's inference (0.5 if there is no face, models averaged).
Departs from the winner's code: one face in a video is enough; an unreadable video is listed with its reason, not only
scored 0.5; detector, margin and size come from the model's recipe; faces are linked to people.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic_core import from_json

from dfdc_lib.backends.choice import Engine
from dfdc_lib.classifier.computation import Computation, scoring_recipe
from dfdc_lib.classifier.model_files import ModelFiles, find_model
from dfdc_lib.classifier.networks import load_network, network_fingerprint
from dfdc_lib.classifier.preprocess import fit_to_square
from dfdc_lib.evaluation.scoring import write_tables
from dfdc_lib.evaluation.strategies import STRATEGIES, video_scores
from dfdc_lib.evaluation.unseen import CHOSEN_BY, TRAINED_ON, roles
from dfdc_lib.executors import choose_task_runner
from dfdc_lib.faces.extract import FoundFace, View, cut_known_faces, find_faces, view_of
from dfdc_lib.faces.mtcnn_networks import engine_of_workers
from dfdc_lib.records import (
    BOX_COLUMNS,
    FaceScore,
    Outcome,
    ScoredModel,
    Scoring,
    Video,
    VideoScores,
    require_file_name,
)
from dfdc_lib.run_folder import Run, project_path
from dfdc_lib.staleness import code_fingerprint, fingerprint, input_fingerprint
from dfdc_lib.workers import Failure, Job, TaskRunner, done_videos, result_outcome, run_jobs

STAGE = "07_predict"
NO_FACE_SCORE = 0.5  # winner
FEW_FRAMES = 8  # a score that rests on faces in fewer frames is flagged; the minimum of an examination, too
FACE_COLUMNS = ["frame_index", "time_seconds", "face_index", "track"]
RESULT_COLUMNS = ["confidence", "sharpness", "turn", "logit", "score"]
SCORE_COLUMNS = ["video_id", *FACE_COLUMNS, *BOX_COLUMNS, *RESULT_COLUMNS]


def predict(
    run: Run,
    names: Sequence[str],
    which: str,
    most_frames: int,
    strategy: str,
    computation: Computation = Computation(),  # noqa: B008 - a tuple
    known: Mapping[str, Sequence[FoundFace]] | None = None,
) -> list[Outcome]:
    """Score a run's videos with the models in `names` (see `find_model`); write their score tables and the submission.

    `which`: "all", or "held-out" to skip videos that any of the models was trained on or chosen by, and videos of their
    identity groups (see `unseen.roles`); videos of unknown role are scored.
    `most_frames`: number of evenly spaced frames per video. `strategy`: a key of `STRATEGIES`; the video scores of
    several models are averaged. `computation`: the engine, the worker processes, and the precision of the scores.
    `known`: video_id -> faces whose places are known, see `cut_known_faces`; None = faces are searched for.
    Return one outcome per video; skipped videos have the status "not needed". Raise RuntimeError if every video failed.
    """
    _check_arguments(run, names, which, strategy)
    scorers = [_Scorer(model_name(name), find_model(name, run), computation) for name in names]
    role = roles(run, [scorer.card for scorer in scorers])
    videos, left_out = _choose_videos(run, which, role)
    # A single video is processed here: starting a worker takes longer.
    executor = "inline" if computation.executor == "processes" and len(videos) == 1 else computation.executor
    call = choose_task_runner(run, executor, computation.workers, computation.engine.device)
    with engine_of_workers(computation.engine, executor) as engine:
        jobs = _jobs(run, videos, scorers, most_frames, engine, known or {})
        outcomes = run_jobs(run, STAGE, jobs, left_out, partial(_score, run=run, scorers=scorers, call=call))
    tables = {scorer.name: _score_table(run, scorer.name, done_videos(outcomes)) for scorer in scorers}
    submission = _submission(videos, tables, strategy)
    run.write_table("submission.csv", submission)
    run.write_table("submission_details.csv", _details(submission, videos, tables, outcomes))
    written = write_tables(run, tables, role)
    models = {scorer.name: scorer.record(written[scorer.name]) for scorer in scorers}
    about = {"videos": which, "frames": most_frames, "strategy": strategy}
    run.write_record(run.scoring_path, Scoring.model_validate({"models": models} | about))
    return outcomes


def model_name(name: str) -> str:
    """Return the name under which a model's scores are stored: the last part of its path; ValueError for `..`."""
    return require_file_name(Path(name).name)


def _check_arguments(run: Run, names: Sequence[str], which: str, strategy: str) -> None:
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown strategy {strategy!r}: choose one of {', '.join(STRATEGIES)}")
    if which not in ("held-out", "all"):
        raise ValueError(f'VIDEOS must be "held-out" or "all", got {which!r}')
    if not names:
        raise ValueError("MODELS is empty: name at least one model")
    if len({model_name(name) for name in names}) < len(names):
        raise ValueError(f"the models must differ in the last part of their paths, got {', '.join(names)}")
    for name in names:  # notebook 08 would take the scores for those of the run's model
        in_run = run.root / "models" / model_name(name)
        if name != in_run.name and in_run.is_dir() and project_path(name) != in_run.resolve():
            raise ValueError(f"{run.root} has another model named {in_run.name}: rename the folder of {name}")


def _choose_videos(run: Run, which: str, role: pd.Series) -> tuple[list[Video], list[Outcome]]:
    """Return the videos to score, and outcomes for the others."""
    videos = run.read_videos()
    if which == "all":
        return videos, []
    seen = {str(name): f"a model was {text} it" for name, text in role.items() if text in (TRAINED_ON, CHOSEN_BY)}
    left_out = [Outcome(video_id=name, status="not needed", note=note) for name, note in seen.items()]
    return [video for video in videos if video.video_id not in seen], left_out


class _Scorer:
    """A model and the crops that wait for it; they are scored in order and in full batches, across videos."""

    def __init__(self, name: str, files: ModelFiles, computation: Computation) -> None:
        recipe = scoring_recipe(files.card.recipe, computation)
        card = files.card.model_copy(update={"recipe": recipe})
        weights = network_fingerprint(files, recipe, computation.engine)
        self.fingerprint = fingerprint(card.encoder, card.noise, recipe, weights)
        self.name, self.card, self.view = name, card, view_of(recipe)
        self._files, self._engine = files, computation.engine
        self.waiting: list[tuple[str, np.ndarray]] = []  # video_id and square
        self.faces: dict[str, list[FoundFace]] = {}
        self.logits: dict[str, list[float]] = {}

    def record(self, table: str) -> ScoredModel:
        """Build this model's entry in the run's `Scoring` record; `table`: fingerprint of its score table."""
        left_out: dict[str, Any] = {"metrics": {}, "calibration": None, "trained_on": None, "chosen_by": None}
        card = self.card.model_copy(update=left_out)
        shared = len(self.card.trained_on.shared) if self.card.trained_on else 0
        return ScoredModel(card=card, fingerprint=self.fingerprint, shared_names=shared, table=table)

    def add(self, video_id: str, faces: list[FoundFace]) -> None:
        self.faces[video_id], self.logits[video_id] = faces, []
        self.waiting += [(video_id, fit_to_square(face.crop, self.card.recipe)) for face in faces]

    def start_loading(self) -> None:
        """Load the model in a thread, while the first faces are found."""
        self._loading = ThreadPoolExecutor(1).submit(load_network, self._files, self.card.recipe, self._engine)

    def score(self, *, partial_batch: bool) -> None:
        network = self._loading.result()
        while len(self.waiting) >= (1 if partial_batch else network.batch_size):
            size = network.batch_size
            batch, self.waiting = self.waiting[:size], self.waiting[size:]
            logits = network.logits(np.stack([square for _, square in batch]))
            for (video_id, _), logit in zip(batch, logits, strict=True):
                self.logits[video_id].append(float(logit))

    def is_complete(self, video_id: str) -> bool:
        return len(self.logits[video_id]) == len(self.faces[video_id])

    def take(self, video_id: str) -> tuple[FaceScore, ...]:
        """Return the scores of a video whose crops are all scored, and forget the video."""
        scores = []
        for face, logit in zip(self.faces[video_id], self.logits[video_id], strict=True):
            fields = face._asdict()
            del fields["crop"]
            scores.append(FaceScore(**fields, logit=round(logit, 5), score=round(_sigmoid(logit), 6)))
        self.forget(video_id)
        return tuple(scores)

    def forget(self, video_id: str) -> None:
        """Discard the faces and logits of a video whose crops are all scored."""
        del self.faces[video_id], self.logits[video_id]


def _jobs(
    run: Run,
    videos: Sequence[Video],
    scorers: Sequence[_Scorer],
    most_frames: int,
    engine: Engine,
    known: Mapping[str, Sequence[FoundFace]],
) -> list[Job]:
    """Return one job per video; its `make` only finds the faces, see `_score`."""
    code = code_fingerprint("dfdc_lib.faces.extract", "dfdc_lib.classifier.networks")
    jobs = []
    for video in videos:
        places = [face[:-1] for face in known[video.video_id]] if known else []  # all but the crops
        parts = code, most_frames, input_fingerprint(video.path), places
        expected = {scorer.name: fingerprint(*parts, scorer.fingerprint) for scorer in scorers}
        records = {run.scores_record_path(name, video.video_id): value for name, value in expected.items()}
        find = partial(find_faces, video.path, _views(scorers), most_frames, engine)
        if known:
            find = partial(cut_known_faces, video.path, _views(scorers), known[video.video_id])
        outcome = partial(_outcome, min(FEW_FRAMES, most_frames))
        jobs.append(Job(video.video_id, records, VideoScores, find, outcome))
    return jobs


def _score(
    jobs: Sequence[Job], run: Run, scorers: Sequence[_Scorer], call: TaskRunner
) -> Iterator[tuple[str, Outcome | Failure]]:
    """Find the faces of videos with `call`, score them in this process, and write each complete video."""
    views, pending = _views(scorers), {job.video_id: job for job in jobs}
    for scorer in scorers if jobs else ():
        scorer.start_loading()
    tasks = {job.video_id: job.make for job in jobs}
    for video_id, faces in call(tasks):
        if isinstance(faces, Failure):
            del pending[video_id]
            yield video_id, faces
            continue
        for scorer in scorers:
            scorer.add(video_id, faces[views.index(scorer.view)])
        yield from _write_complete(run, pending, scorers, partial_batch=False)
    if jobs:
        yield from _write_complete(run, pending, scorers, partial_batch=True)


def _write_complete(
    run: Run, pending: dict[str, Job], scorers: Sequence[_Scorer], *, partial_batch: bool
) -> Iterator[tuple[str, Outcome | Failure]]:
    """Score the waiting crops; write and yield the pending videos that every model has scored, or fails to score."""
    for scorer in scorers:
        scorer.score(partial_batch=partial_batch)
    for video_id in [name for name in scorers[0].faces if all(scorer.is_complete(name) for scorer in scorers)]:
        job, records = pending.pop(video_id), list[VideoScores]()
        if broken := [scorer.name for scorer in scorers if not np.isfinite(scorer.logits[video_id]).all()]:
            for scorer in scorers:
                scorer.forget(video_id)
            reason = "its weights are damaged, or its number format overflows"
            yield video_id, Failure(f"model {broken[0]} returned a logit that is not a finite number: {reason}")
            continue
        for (path, expected), scorer in zip(job.fingerprints.items(), scorers, strict=True):
            records.append(VideoScores(video_id=video_id, faces=scorer.take(video_id), fingerprint=expected))
            run.write_record(path, records[-1])
        yield video_id, job.outcome(*records)


def _views(scorers: Sequence[_Scorer]) -> list[View]:
    return list(dict.fromkeys(scorer.view for scorer in scorers))


def _outcome(few: int, *records: VideoScores) -> Outcome:
    """Return the outcome of a video from its record of every model; models with another recipe may find other faces.

    The note names a score that rests on faces in fewer than `few` frames, for any of the models.
    """
    record = max(records, key=lambda record: len(record.faces))
    if not record.faces:
        return result_outcome(record, 0, ("no face found: 0.5 in the submission",))
    frames = min(len({face.frame_index for face in each.faces}) for each in records)
    note = f"few faces: the score rests on {frames} frame{'s' * (frames != 1)}, fewer than {few}"
    return result_outcome(record, len(record.faces), (note,) if frames < few else ())


def _score_table(run: Run, model: str, video_ids: Sequence[str]) -> pd.DataFrame:
    """Return a model's scores of all videos, one row per face."""
    parts = [np.empty((0, len(SCORE_COLUMNS) - 1))]
    for video_id in video_ids:
        faces = from_json(run.scores_record_path(model, video_id).read_bytes())["faces"]  # `run_jobs` has validated it
        rows = [(*(f[n] for n in FACE_COLUMNS), *f["box"], *(f[n] for n in RESULT_COLUMNS)) for f in faces]
        parts.append(np.array(rows, float).reshape(-1, parts[0].shape[1]))
    table = pd.DataFrame(np.concatenate(parts), columns=SCORE_COLUMNS[1:])
    table = table.astype(dict.fromkeys(("frame_index", "face_index", "track"), int))
    table.insert(0, "video_id", np.repeat(np.array(video_ids, object), [len(part) for part in parts[1:]]))
    return table


def _submission(videos: Sequence[Video], tables: Mapping[str, pd.DataFrame], strategy: str) -> pd.DataFrame:
    """Return one score per video, averaged over the models; 0.5 for a video without scored faces (winner)."""
    by_model = {name: video_scores(table, STRATEGIES[strategy]) for name, table in tables.items() if len(table)}
    scores = pd.DataFrame(by_model).mean(axis=1)
    video_ids, names = [video.video_id for video in videos], [video.path.name for video in videos]
    labels = [float(scores.get(video_id, NO_FACE_SCORE)) for video_id in video_ids]
    are_unique = len(set(names)) == len(names)
    return pd.DataFrame({"filename": names if are_unique else video_ids, "label": labels})


def _details(
    submission: pd.DataFrame, videos: Sequence[Video], tables: Mapping[str, pd.DataFrame], outcomes: Sequence[Outcome]
) -> pd.DataFrame:
    """Return the submission with the faces and frames of the model that found the fewest, and the status note."""
    frames = pd.DataFrame({name: table.groupby("video_id")["frame_index"].nunique() for name, table in tables.items()})
    faces = pd.DataFrame({name: table.groupby("video_id").size() for name, table in tables.items()})
    video_ids, notes = [video.video_id for video in videos], {outcome.video_id: outcome.note for outcome in outcomes}
    counts = {"faces": faces, "frames with a face": frames}
    fewest = {name: table.reindex(video_ids).fillna(0).min(axis=1).astype(int) for name, table in counts.items()}
    columns = {name: column.to_numpy() for name, column in fewest.items()}
    return submission.assign(video_id=video_ids, **columns, note=[notes[video_id] for video_id in video_ids])


def _sigmoid(logit: float) -> float:
    """Return `scipy.special.expit` of a number; importing that takes half a second."""
    return (1 + math.tanh(logit / 2)) / 2
