"""Video → frame scores: 32 frames, their faces, and what each model makes of every face.

A video is decoded and searched once, however many models look at it; batches are filled across videos. Workers find the faces, this process
runs the models, and every video's scores are written as soon as they are complete, so that a killed run goes on where it stopped.
Source: the slides (32 evenly spaced frames), the winner's inference (0.5 where there is no face, models averaged).
Departs from the winner's code: one face in a video is a face; an unreadable video is listed with its reason and not only scored 0.5;
detector, margin and size are those the model was trained with, by its recipe; faces are linked to people.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError
from scipy.special import expit
from tqdm.std import tqdm

import dfdc_lib
from dfdc_lib.classifier.checkpoints import load_any
from dfdc_lib.classifier.inference import autocast_dtype, choose_device, logits_of, weights_fingerprint
from dfdc_lib.classifier.model import Classifier
from dfdc_lib.evaluation.strategies import STRATEGIES, video_scores
from dfdc_lib.faces.extract import FoundFace, find_faces, view_of
from dfdc_lib.faces.feed import fit_to_square
from dfdc_lib.records import BOX_COLUMNS, FaceScore, ModelCard, Outcome, Video, VideoScores
from dfdc_lib.run_folder import Run, project_path
from dfdc_lib.staleness import file_fingerprint, fingerprint
from dfdc_lib.workers import Failure, each_result, results_here, write_status

CROPS_PER_BATCH = {"cpu": 8, "cuda": 64}
NO_FACE_SCORE = 0.5  # winner
SCORE_COLUMNS = [
    *("video_id", "frame_index", "time_seconds", "face_index", "track"),
    *(*BOX_COLUMNS, "confidence", "sharpness", "turn", "logit", "score"),
]


class _Queue:
    """The crops that wait for one model, of several videos; they leave in full batches."""

    def __init__(self, model: Classifier, card: ModelCard, device: torch.device) -> None:
        self.model = model.to(device).eval()
        self.card, self.batch = card, CROPS_PER_BATCH[device.type]
        self.dtype = autocast_dtype("auto", device)
        self.images: list[np.ndarray] = []
        self.keys: list[tuple[str, int]] = []  # video_id and place among its faces
        self.logits: dict[str, dict[int, float]] = {}

    def put(self, video_id: str, faces: Sequence[FoundFace]) -> None:
        self.logits[video_id] = {}
        for place, face in enumerate(faces):
            self.images.append(fit_to_square(face.crop, self.card.recipe))
            self.keys.append((video_id, place))

    def work(self, *, all_of_it: bool) -> None:
        while len(self.images) >= (1 if all_of_it else self.batch):
            images = torch.from_numpy(np.stack(self.images[: self.batch])).permute(0, 3, 1, 2)
            for (video_id, place), logit in zip(
                self.keys, logits_of(self.model, images, self.card.recipe, self.dtype), strict=False
            ):
                self.logits[video_id][place] = float(logit)
            del self.images[: self.batch], self.keys[: self.batch]


def score_videos(
    run: Run,
    videos: Sequence[Video],
    models: Mapping[str, tuple[Classifier, ModelCard]],
    fingerprints: Mapping[tuple[str, str], str],
    most_frames: int,
    device: torch.device,
    workers: int,
) -> Iterator[Outcome]:
    """Score every face of every video with every model, and write scores/<model>/<video_id>.json.

    Args:
        run: the run folder.
        videos: to score.
        models: name → model and card.
        fingerprints: (model, video_id) → of all that its scores depend on.
        most_frames: per video, evenly spaced.
        device: of the models.
        workers: processes that find faces.
    Yields:
        One outcome per video, when its scores are written.
    """
    views = list(dict.fromkeys(view_of(card.recipe) for _, card in models.values()))
    queues = {name: _Queue(model, card, device) for name, (model, card) in models.items()}
    waiting: dict[str, list[list[FoundFace]]] = {}
    tasks = {item.video_id: partial(find_faces, item.path, views, most_frames, device.type) for item in videos}

    def finished(*, all_of_it: bool) -> Iterator[Outcome]:
        for queue in queues.values():
            queue.work(all_of_it=all_of_it)
        for video_id in list(waiting):
            found = {name: waiting[video_id][views.index(view_of(queue.card.recipe))] for name, queue in queues.items()}
            if all(len(queue.logits[video_id]) == len(found[name]) for name, queue in queues.items()):
                del waiting[video_id]
                records = []
                for name, queue in queues.items():
                    records.append(
                        _record(video_id, found[name], queue.logits.pop(video_id), fingerprints[name, video_id])
                    )
                    run.write_record(run.scores_record_path(name, video_id), records[-1])
                yield scores_outcome(max(records, key=lambda record: len(record.faces)))

    with tqdm(total=len(tasks), desc="07_predict", unit="video", mininterval=0.5, disable=not tasks) as progress:
        for video_id, result in each_result(tasks, workers) if len(tasks) > 1 else results_here(tasks):
            progress.update()
            if isinstance(result, Failure):
                yield Outcome(video_id=video_id, status="failed", note=result.reason)
                continue
            waiting[video_id] = result
            for queue in queues.values():
                queue.put(video_id, result[views.index(view_of(queue.card.recipe))])
            yield from finished(all_of_it=False)
        yield from finished(all_of_it=True)


def scores_outcome(record: VideoScores) -> Outcome:
    """Count the scored faces."""
    count = len(record.faces)
    note = "" if count else "no face found: 0.5 in the submission"
    return Outcome(
        video_id=record.video_id,
        status="done" if count else "nothing",
        count=count,
        note=note,
        fingerprint=record.fingerprint,
    )


def _record(video_id: str, found: Sequence[FoundFace], logits: Mapping[int, float], mark: str) -> VideoScores:
    faces = []
    for place, face in enumerate(found):
        known = {name: value for name, value in face._asdict().items() if name != "crop"}
        faces.append(FaceScore(**known, logit=round(logits[place], 5), score=round(float(expit(logits[place])), 6)))
    return VideoScores(video_id=video_id, faces=tuple(faces), fingerprint=mark)


def predict(
    run: Run, names: Sequence[str], which: str, most_frames: int, strategy: str, device: str = "auto", workers: int = 0
) -> list[Outcome]:
    """Score a run's videos with one or several models: writes scores/<model>.parquet and submission.csv.

    Args:
        run: the run folder, with videos.csv.
        names: of models, as `load_any` takes them.
        which: "held-out" (videos of folds that no model of this run was trained on) or "all".
        most_frames: of each video, evenly spaced.
        strategy: name in `STRATEGIES`; turns a video's frame scores into its score. Models are averaged.
        device: "auto", "cpu" or "cuda".
        workers: processes that find faces; 0 = one per core.
    Returns:
        One outcome per video of the run; "not needed" = not held out.
    Raises:
        ValueError: for an unknown strategy or choice of videos, no model, two of one name, or a namesake of a model of this run.
        FileNotFoundError: for a model that is not there.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"there is no strategy {strategy!r}: choose one of {', '.join(STRATEGIES)}")
    if not names:
        raise ValueError("MODELS is empty: name at least one model")
    if len({model_name(name) for name in names}) < len(names):
        raise ValueError(
            f"MODELS must differ in the last part of their names, under which scores are kept, got {', '.join(names)}"
        )
    _refuse_namesakes(run, names)
    models = {model_name(name): load_any(name, run) for name in names}
    videos, decided = _chosen(run, which, [card for _, card in models.values()])
    same = {
        name: fingerprint(dfdc_lib.__version__, _as_made(card), weights_fingerprint(model), most_frames)
        for name, (model, card) in models.items()
    }
    # A file that has gone is found out when it is to be read.
    contents = {item.video_id: file_fingerprint(item.path) if item.path.is_file() else "" for item in videos}
    marks = {
        (name, video_id): fingerprint(same[name], content) for name in models for video_id, content in contents.items()
    }
    with run.lock("stage", "notebook 07_predict"):
        made = {
            item.video_id: scores_outcome(record)
            for item in videos
            for record in _finished(run, item.video_id, marks, list(models))
        }
        waiting = [item for item in videos if item.video_id not in made]
        for outcome in score_videos(run, waiting, models, marks, most_frames, choose_device(device), workers):
            made[outcome.video_id] = outcome
        outcomes = sorted([*decided, *made.values()], key=lambda outcome: outcome.video_id)
        write_status(run, "07_predict", outcomes)
        scored = [outcome.video_id for outcome in outcomes if outcome.status == "done"]
        tables = {name: _score_table(run, name, scored) for name in models}
        for name, table in tables.items():
            run.write_table(f"scores/{name}.parquet", table)
        run.write_table("submission.csv", _submission(videos, tables, strategy))
    return outcomes


def _as_made(card: ModelCard) -> ModelCard:
    """Leave out what came after the scores and changes none."""
    return card.model_copy(update={"calibration": None})


def model_name(name: str) -> str:
    """Give the short name under which a model's scores are kept: the last part of its path."""
    return Path(name).name


def _refuse_namesakes(run: Run, names: Sequence[str]) -> None:
    """Let no other model's scores be taken for those of a model of this run: notebook 08 would calibrate the wrong one."""
    for name in names:
        own, given = run.root / "models" / model_name(name), project_path(name).resolve()
        if name != own.name and own.is_dir() and given != own.resolve():
            raise ValueError(
                f"{run.root} has a model {own.name} of its own: rename the folder of the other one, {name}"
            )


def _chosen(run: Run, which: str, cards: Sequence[ModelCard]) -> tuple[list[Video], list[Outcome]]:
    """Choose the videos to score, and say which are left out."""
    if which not in ("held-out", "all"):
        raise ValueError(f'VIDEOS must be "held-out" or "all", got {which!r}')
    trained_on: set[str] = set()
    if which == "held-out" and (run.root / "folds.csv").exists():
        own = {fold for card in cards if card.run == run.root.name for fold in card.train_folds}
        folds = run.read_table("folds.csv")
        trained_on = set(folds.loc[folds["fold"].isin(own), "video_id"])
    videos = run.read_videos()
    left_out = [
        Outcome(video_id=v.video_id, status="not needed", note="a model was trained on it")
        for v in videos
        if v.video_id in trained_on
    ]
    return [item for item in videos if item.video_id not in trained_on], left_out


def _finished(
    run: Run, video_id: str, marks: Mapping[tuple[str, str], str], models: Sequence[str]
) -> list[VideoScores]:
    """Give a video's record, the one with most faces, where every model has scored it; [] otherwise."""
    paths = [run.scores_record_path(name, video_id) for name in models]
    try:
        records = [run.read_record(path, VideoScores) for path in paths if path.exists()]
    except ValidationError:  # another version of the kit wrote it
        return []
    complete = [record.fingerprint for record in records] == [marks[name, video_id] for name in models]
    return [max(records, key=lambda record: len(record.faces))] if complete else []


def _score_table(run: Run, model: str, video_ids: Sequence[str]) -> pd.DataFrame:
    """Gather a model's scores of all videos, one row a face."""
    rows = [
        (video_id, *(value for name, value in face if name != "box"), *face.box)
        for video_id in video_ids
        for face in run.read_record(run.scores_record_path(model, video_id), VideoScores).faces
    ]
    fields = [name for name in FaceScore.model_fields if name != "box"]
    return pd.DataFrame(rows, columns=["video_id", *fields, *BOX_COLUMNS])[SCORE_COLUMNS]


def _submission(videos: Sequence[Video], tables: Mapping[str, pd.DataFrame], strategy: str) -> pd.DataFrame:
    """Give every video one score: the strategy's, averaged over models; 0.5 where no face was scored (winner)."""
    scores = pd.DataFrame(
        {name: video_scores(table, STRATEGIES[strategy]) for name, table in tables.items() if len(table)}
    ).mean(axis=1)
    names = {item.video_id: item.path.name for item in videos}
    if len(set(names.values())) < len(names):  # the data set uses one name for several files
        names = {item.video_id: item.video_id for item in videos}
    labels = [float(scores.get(video_id, NO_FACE_SCORE)) for video_id in names]
    return pd.DataFrame({"filename": list(names.values()), "label": labels})
