"""Examine one video: who is in it, how the models score them, and whether the scores are stable.

Input: a file, models, and the original if it is available. Output, in a run folder for this examination only:
`inspection.json`, `faces.csv` (one row per face), `scores/`, `variants/` (changed versions), `stability/` (their
scores), `crops/`, `frames/`, `heat/` (see `pictures`), and with an original `masks.csv`, `masks/`, `originals/`.
The changed versions are scored at the places where the judged person's face was found in the unchanged frames: they
test the score, not the detector. Departs from kit 0.1, which searched every version for faces again.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dfdc_lib.classifier import predict
from dfdc_lib.classifier.computation import Computation
from dfdc_lib.classifier.model_files import find_model
from dfdc_lib.classifier.networks import load_network
from dfdc_lib.data import video
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.evaluation.calibration import temper
from dfdc_lib.evaluation.scoring import read_run_scores
from dfdc_lib.evaluation.unseen import UNSEEN
from dfdc_lib.faces import extract
from dfdc_lib.faces.crops import crop_area
from dfdc_lib.faces.extract import FRAMES_PER_VIDEO, FoundFace, View, find_faces, view_of
from dfdc_lib.inspection import perturbations, pictures, verdict
from dfdc_lib.inspection.pictures import VIDEO_ID
from dfdc_lib.records import BOX_COLUMNS, Answer, Area, Inspection, ModelCard, Person, Trial, Video
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.staleness import code_fingerprint, file_fingerprint, fingerprint

EXAMINED_FRAMES = 2 * FRAMES_PER_VIDEO  # so that a half and a quarter of them can be tried
FEWER_FRAMES = (16, 32)
PICTURE_FOLDERS = ("crops", "frames", "heat", "masks", "originals")  # rewritten by every examination


class Excerpt(NamedTuple):
    """A part of the examined video: the files of its changed versions, and the judged person's faces in them.

    `seconds`: its start and end in the video. `files`: name of the variant -> file. `faces`: name of the variant ->
    faces, found in the unchanged video.
    """

    seconds: tuple[float, float]  # start and end in the video
    files: Mapping[str, Path]  # name of the variant -> file
    faces: Mapping[str, Sequence[FoundFace]]  # likewise -> those of the judged person


def inspect_video(
    run: Run,
    path: Path,
    names: Sequence[str],
    original: Path | None = None,
    computation: Computation = Computation(),  # noqa: B008 - a tuple
) -> Inspection:
    """Examine one video and store the results in `run`, a run folder without other videos.

    Faces and scores that are up to date are not computed again. `names`: models, see `find_model`; the scores of
    several are averaged for each face. `original`: the video from which `path` may have been forged; if given, the
    faces are compared with it. Raises FileNotFoundError if a file or a model does not exist. Raises ValueError if a
    file is not a readable video, `path` shows no face, `original` does not fit it, or `run` has other videos.
    """
    for file in filter(None, (path, original)):
        if not file.is_file():
            raise FileNotFoundError(f"there is no video {file}")
        video.read_info(file)  # raises ValueError for a file that is not a video
    _clear_run_folder(run)
    # As paths, because the run folder `stability/` has no models of its own.
    models = [str(folder) if (folder := run.root / "models" / name).is_dir() else name for name in names]
    score = partial(_score, models=models, computation=computation)
    faces = score(run, {VIDEO_ID: path}, EXAMINED_FRAMES)
    if faces.empty:
        raise ValueError(f"no face was found in the examined frames of {path.name}")
    people = verdict.describe_people(faces)
    faces["person"] = faces["track"].map({person.track: person.number for person in people})
    found = [find_model(name, run) for name in models]
    tables = [run.read_table(f"scores/{predict.model_name(name)}.parquet") for name in models]
    model = found[verdict.most_faces(tables)]  # its boxes are those in `faces`
    recipe = model.card.recipe
    run.write_table("faces.csv", faces)
    pictures.write_crops(run, path, faces, recipe)
    network = load_network(model, recipe, computation.engine)
    pictures.write_heat_maps(run, pictures.evidence_rows(faces, people[0]), network, recipe)
    if original:
        run.write_table("masks.csv", pictures.write_masks(run, path, original, faces, recipe))
    views = [view_of(files.card.recipe) for files in found]
    find = partial(find_faces, path, [views[verdict.most_faces(tables)]], FRAMES_PER_VIDEO, computation.engine)
    excerpt = _make_excerpt(run, path, faces[faces["track"] == people[0].track], views, lambda span: find(span)[0])
    versions = score(open_run(run.root / "stability"), excerpt.files, FRAMES_PER_VIDEO, known=excerpt.faces)
    trials = (*_try_fewer_frames(faces, people[0]), *_try_variants(versions))
    answer, doubts = verdict.decide(people, trials)
    inspection = Inspection(
        video=path.name,
        models=tuple(predict.model_name(name) for name in names),
        people=people,
        excerpt_seconds=excerpt.seconds,
        trials=trials,
        answer=answer,
        doubts=doubts,
        score=people[0].mean,
        judged_track=people[0].track,
        probability=calibrated_probability([files.card for files in found], people, answer),
        role=read_run_scores(run).role[VIDEO_ID],
        fingerprint=file_fingerprint(path),
    )
    run.write_record(run.root / "inspection.json", inspection)
    return inspection


def _clear_run_folder(run: Run) -> None:
    """Delete the pictures and the answer of an earlier examination; refuse a folder with anything else in it."""
    if (run.root / "videos.csv").exists():
        foreign = {row.video_id for row in run.read_videos()} != {VIDEO_ID}
    else:
        foreign = any((run.root / name).exists() for name in (*PICTURE_FOLDERS, "variants", "stability"))
    if foreign:
        raise ValueError(f"{run.root} contains files that do not belong to an examination: choose another RUN")
    for name in ("inspection.json", "faces.csv", "masks.csv"):
        (run.root / name).unlink(missing_ok=True)
    for name in PICTURE_FOLDERS:
        shutil.rmtree(run.root / name, ignore_errors=True)


def _score(
    run: Run,
    files: Mapping[str, Path],
    frames: int,
    *,
    models: Sequence[str],
    computation: Computation,
    known: Mapping[str, Sequence[FoundFace]] | None = None,
) -> pd.DataFrame:
    """Score videos with every model, at `known` places or where faces are found; return one row per face.

    The scores are averaged over the models.
    """
    videos = [Video(video_id=name, path=path) for name, path in files.items()]
    contents = {name: {"content": file_fingerprint(path)} for name, path in files.items()}
    run.write_videos(videos, {n: video.read_info(path).model_copy(update=contents[n]) for n, path in files.items()})
    for outcome in predict.predict(run, models, "all", frames, "mean", computation, known):
        if outcome.status == "failed":
            raise ValueError(f"{files[outcome.video_id].name} cannot be examined: {outcome.note}")
    tables = [run.read_table(f"scores/{predict.model_name(name)}.parquet") for name in models]
    joined = [verdict.join_models([table[table["video_id"] == name] for table in tables]) for name in files]
    return pd.concat(joined, ignore_index=True)


def _try_fewer_frames(faces: pd.DataFrame, judged: Person) -> list[Trial]:
    """Judge a person by fewer, evenly spaced frames, and last by all of them."""
    rows = faces[faces["track"] == judged.track].sort_values("frame_index")
    samples = {count: rows.iloc[evenly_spaced(len(rows), count)] for count in FEWER_FRAMES if count < len(rows)}
    trials = [verdict.try_version(f"{count} frames", sample) for count, sample in samples.items()]
    return [*trials, verdict.try_version(f"all {len(rows)} frames", rows, changed=False)]


def _make_excerpt(
    run: Run, path: Path, judged: pd.DataFrame, views: Sequence[View], find: Callable[[range], list[FoundFace]]
) -> Excerpt:
    """Write the changed versions of the excerpt that shows the judged person most often, unless they exist already.

    `judged`: this person's rows of faces.csv; `find`: finds all faces in a span of frames.
    """
    start = excerpt_start(judged["frame_index"].tolist())
    code = code_fingerprint(perturbations.__name__, extract.__name__)
    parameters = start, perturbations.EXCERPT_FRAMES, FRAMES_PER_VIDEO, views, judged[BOX_COLUMNS].to_numpy().tolist()
    folder = run.root / "variants" / fingerprint(file_fingerprint(path), *parameters, code)
    if not folder.is_dir():
        shutil.rmtree(folder.parent, ignore_errors=True)  # of another excerpt, or of an interrupted examination
        partial = folder.with_name("partial")
        faces = _find_person(judged, find(range(start, start + perturbations.EXCERPT_FRAMES)))
        part = _part_of_frame(path, faces, max(view.margin for view in views))
        perturbations.write_variants(path, partial, start, part)
        faces["frame_index"] -= start
        faces[BOX_COLUMNS] -= np.array([*part[:2], *part[:2]])
        run.write_table(str((partial / "faces.parquet").relative_to(run.root)), faces)
        partial.rename(folder)
    files = {variant.name: folder / f"{variant.name}.mkv" for variant in perturbations.VARIANTS}
    table = run.read_table(str((folder / "faces.parquet").relative_to(run.root)))
    start_seconds = float(judged.loc[judged["frame_index"] == start, "time_seconds"].iloc[0])
    duration = video.count_frames(files["unchanged"]) / video.read_info(files["unchanged"]).fps
    known = {variant.name: _known_faces(table, variant.scale) for variant in perturbations.VARIANTS}
    return Excerpt((start_seconds, round(start_seconds + duration, 2)), files, known)


def _find_person(judged: pd.DataFrame, found: Sequence[FoundFace]) -> pd.DataFrame:
    """Return the faces of the excerpt that show the judged person, one row each."""
    rows = [face._asdict() | dict(zip(BOX_COLUMNS, face.box, strict=True)) for face in found]
    table = pd.DataFrame(rows).drop(columns=["box", "crop"])
    number = int(judged["track"].iloc[0])
    return verdict.find_again(table, judged, number).reset_index(drop=True)


def _part_of_frame(path: Path, faces: pd.DataFrame, margin: float) -> Area:
    info = video.read_info(path)
    boxes = faces[BOX_COLUMNS].itertuples(index=False, name=None)
    areas = [crop_area(box, margin, info.height, info.width) for box in boxes]
    return perturbations.part_around(areas, info.height, info.width)


def _known_faces(table: pd.DataFrame, scale: float) -> list[FoundFace]:
    """Return the faces of a table that `_make_excerpt` has written, in a version of the excerpt that was scaled."""
    faces = []
    for row in table.to_dict("records"):
        box = tuple(scale * row[name] for name in BOX_COLUMNS)
        others = {name: row[name] for name in table.columns if name not in BOX_COLUMNS}
        faces.append(FoundFace(box=box, crop=np.empty((0, 0, 3), np.uint8), **others))
    return faces


def excerpt_start(frame_indices: Sequence[int]) -> int:
    """Return the index from `frame_indices` at which the excerpt starts.

    The `EXCERPT_FRAMES` frames from there on contain as many of `frame_indices` as possible; the earliest start wins.
    `frame_indices`: the examined frames that show the judged person.
    """
    seen = np.sort(frame_indices)
    counts = np.searchsorted(seen, seen + perturbations.EXCERPT_FRAMES) - np.arange(len(seen))
    return int(seen[counts.argmax()])


def _try_variants(scores: pd.DataFrame) -> list[Trial]:
    """Judge a person by the scores of every version of the excerpt; the first is the unchanged one."""
    trials = list[Trial]()
    for variant in perturbations.VARIANTS:
        rows = scores[scores["video_id"] == variant.name]
        trials.append(verdict.try_version(variant.title, rows, changed=bool(trials)))
    return trials


def calibrated_probability(cards: Sequence[ModelCard], people: Sequence[Person], answer: Answer) -> float | None:
    """Return the first person's mean score as a calibrated probability, 0-1, or None.

    `cards`: one per model; `people`: most suspicious first; `answer`: the answer about the video.

    The result is None in four cases: several models; a model without a calibration on unseen videos; several people who
    appear in `MIN_FRAMES` or more frames; the answer "inconclusive". Otherwise it is clipped to
    1 / (n + 2) .. 1 - 1 / (n + 2), because a calibration from n videos supports no value outside (Laplace's rule of
    succession).
    """
    calibration = cards[0].calibration
    if calibration is None or calibration.role != UNSEEN:
        return None
    if len(cards) != 1 or len(verdict.seen_often(people)) > 1 or answer == "inconclusive":
        return None
    least = 1 / (calibration.videos + 2)
    probability = temper(np.array([people[0].mean]), calibration.temperature, calibration.clip)[0]
    return float(np.clip(probability, least, 1 - least))
