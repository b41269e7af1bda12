"""One suspicious video, examined: who is in it, what the models say of them, whether that holds, and the pictures that show why.

In: a file, models, perhaps the original it may have been made of. Out, in a run folder of its own: `scores/`, `inspection.json`,
`faces.csv` (one row a face), `crops/` and `frames/` (what was looked at), `heat/` (which pixels made the score), `masks.csv`, `masks/`
and `originals/` (against the original), `variants/` and `stability/` (the changed versions and their scores). Everything comes from the
modules that score data sets: the changed versions are videos like any other.
"""

import shutil
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.std import tqdm

from dfdc_lib.classifier import gradcam, predict
from dfdc_lib.classifier.checkpoints import load_any
from dfdc_lib.classifier.inference import choose_device
from dfdc_lib.classifier.model import Classifier
from dfdc_lib.data import video
from dfdc_lib.evaluation import calibration
from dfdc_lib.faces import crops, masks
from dfdc_lib.faces.extract import FRAMES_PER_VIDEO, frame_indices
from dfdc_lib.faces.feed import fit_to_square, from_square
from dfdc_lib.inspection import perturbations, verdict
from dfdc_lib.inspection.pictures import VIDEO_ID, frame_path, heat_path, original_path
from dfdc_lib.records import BOX_COLUMNS, Answer, FaceKey, Inspection, ModelCard, Person, Trial, Video, box_of
from dfdc_lib.run_folder import Run, open_run
from dfdc_lib.staleness import file_fingerprint, fingerprint

EXAMINED_FRAMES = 2 * FRAMES_PER_VIDEO  # so that a half and a quarter of them can be tried
FEWER_FRAMES = (16, 32)
EVIDENCE_FRAMES = 4  # shown in full size
PICTURE_FOLDERS = ("crops", "frames", "heat", "masks", "originals")  # made anew by every examination
FOLDERS = (*PICTURE_FOLDERS, "variants", "stability")


def inspect_video(
    run: Run, path: Path, names: Sequence[str], original: Path | None = None, device: str = "auto", workers: int = 0
) -> Inspection:
    """Examine one video.

    Args:
        run: a run folder for this examination; what is up to date in it is not done again.
        path: the video.
        names: of models, as `load_any` takes them; several are averaged face by face.
        original: the video it may have been made of, frame for frame; None where it is not at hand.
        device: "auto", "cpu" or "cuda".
        workers: processes that find faces; 0 = one per core.
    Returns:
        What was found.
    Raises:
        FileNotFoundError: if a file or a model is not there.
        ValueError: if a file is no readable video, shows no face, or the original has none of the examined frames.
    """
    for file in filter(None, (path, original)):
        if not file.is_file():
            raise FileNotFoundError(f"there is no video {file}")
        video.read_info(file)  # says what is wrong with it
    _make_room(run)
    names = [
        str(own) if (own := run.root / "models" / name).is_dir() else name for name in names
    ]  # `stability/` has no models of its own
    faces = _scored(run, {VIDEO_ID: path}, names, EXAMINED_FRAMES, device, workers)
    if faces.empty:
        examined = len(frame_indices(video.count_frames(path), EXAMINED_FRAMES))
        raise ValueError(
            f"no face was found in the {examined} examined frames of {path.name}: there is nothing to judge"
        )
    models = [load_any(name, run) for name in names]
    model, card = models[0]
    write_crops(run, path, faces, card.recipe.margin)
    if original:
        run.write_table("masks.csv", write_masks(run, path, original, faces, card.recipe.margin))
    people = verdict.describe_people(faces)
    excerpt, changes = _changed_versions(run, path, faces, names, people[0], device, workers)
    trials = (*_fewer_frames(faces, people[0]), *changes)
    answer, doubts = verdict.decide(people, trials)
    found = Inspection(
        video=path.name,
        models=tuple(predict.model_name(name) for name in names),
        people=people,
        excerpt_seconds=excerpt,
        trials=trials,
        answer=answer,
        doubts=doubts,
        score=people[0].mean,
        judged_track=people[0].track,
        probability=_probability([card for _, card in models], people, answer),
        fingerprint=file_fingerprint(path),
    )
    run.write_table("faces.csv", faces)
    write_heat_maps(run, evidence_rows(faces, people[0]), model.to(choose_device(device)), card)
    run.write_record(run.root / "inspection.json", found)
    return found


def _make_room(run: Run) -> None:
    """Take away the pictures and the answer of an earlier examination; raises ValueError where the folder holds something else."""
    examined = (run.root / "videos.csv").exists()
    known = {item.video_id for item in run.read_videos()} if examined else {VIDEO_ID}
    if known != {VIDEO_ID}:
        raise ValueError(
            f"{run.root} is the run folder of {len(known)} videos: an examination needs one of its own, name another RUN"
        )
    foreign = [] if examined else [name for name in FOLDERS if (run.root / name).exists()]
    if foreign:
        raise ValueError(
            f"{run.root} holds {', '.join(foreign)} that no examination made: name another RUN, they would be overwritten"
        )
    for name in ("inspection.json", "faces.csv", "masks.csv"):
        (run.root / name).unlink(missing_ok=True)
    for name in PICTURE_FOLDERS:
        shutil.rmtree(run.root / name, ignore_errors=True)


def evidence_rows(faces: pd.DataFrame, person: Person) -> pd.DataFrame:
    """Choose the frames that carry the answer: the strongest of each quarter of the frames that show a person, in order of time.

    Args:
        faces: of `faces.csv`.
        person: who was judged; the strongest scores are the highest where the person looks forged, else the lowest.
    Returns:
        At most `EVIDENCE_FRAMES` rows.
    """
    own = faces[faces["track"] == person.track].sort_values("frame_index")
    part = np.arange(len(own)) * EVIDENCE_FRAMES // len(own)
    scores = own["score"].groupby(part)
    return own.loc[scores.idxmax() if verdict.looks_forged(person) else scores.idxmin()]


# Scores ------------------------------------------------------------------------------------------------------------------------------
def _scored(
    run: Run, files: Mapping[str, Path], names: Sequence[str], frames: int, device: str, workers: int
) -> pd.DataFrame:
    """Score videos with every model: one row a face, averaged over models."""
    videos = [Video(video_id=name, path=path) for name, path in files.items()]
    run.write_videos(videos, {name: video.read_info(path) for name, path in files.items()})
    for outcome in predict.predict(run, names, "all", frames, "mean", device, workers):
        if outcome.status == "failed":
            raise ValueError(f"{files[outcome.video_id].name} could not be examined: {outcome.note}")
    tables = [run.read_table(f"scores/{predict.model_name(name)}.parquet") for name in names]
    joined = [verdict.join_models([table[table["video_id"] == name] for table in tables]) for name in files]
    return pd.concat(joined, ignore_index=True)


def _fewer_frames(faces: pd.DataFrame, judged: Person) -> list[Trial]:
    """Judge a person by fewer of the frames that show the person, evenly chosen; last by all of them."""
    own = faces[faces["track"] == judged.track].sort_values("frame_index")
    as_fake = judged.mean >= verdict.EVEN
    trials = [
        verdict.try_version(f"{count} frames", own.iloc[frame_indices(len(own), count)], as_fake)
        for count in FEWER_FRAMES
        if count < len(own)
    ]
    return [*trials, verdict.try_version(f"all {len(own)} frames", own, as_fake, changed=False)]


def _changed_versions(
    run: Run, path: Path, faces: pd.DataFrame, names: Sequence[str], judged: Person, device: str, workers: int
) -> tuple[tuple[float, float], list[Trial]]:
    """Make the changed versions of the excerpt that shows most of the judged person, and judge that person by each.

    Returns:
        From and to which second the excerpt goes, and the trials, first that of the excerpt as it is.
    """
    start = excerpt_start(faces.loc[faces["track"] == judged.track, "frame_index"].tolist())
    files = _variant_files(run, path, start)
    scored = _scored(open_run(run.root / "stability"), files, names, FRAMES_PER_VIDEO, device, workers)
    seen = faces[faces["frame_index"].between(start, start + perturbations.EXCERPT_FRAMES - 1)]
    width, trials = video.read_info(path).width, list[Trial]()
    for variant in perturbations.VARIANTS:
        rows = scored[scored["video_id"] == variant.name]
        rows = rows.assign(frame_index=rows["frame_index"] + start)
        rows[BOX_COLUMNS] *= width / video.read_info(files[variant.name]).width
        own = verdict.find_again(rows, seen, judged.track)
        as_it_is = trials[0].score if trials and trials[0].score is not None else judged.mean
        trials.append(verdict.try_version(variant.title, own, as_it_is >= verdict.EVEN, changed=bool(trials)))
    return _excerpt_seconds(faces, start, files), trials


def _variant_files(run: Run, path: Path, start: int) -> dict[str, Path]:
    """Make the changed versions of an excerpt where they are not there, in place of those of another one."""
    treatment = file_fingerprint(Path(perturbations.__file__))
    folder = run.root / "variants" / fingerprint(file_fingerprint(path), start, perturbations.EXCERPT_FRAMES, treatment)
    if not folder.is_dir():  # it is there when it is whole
        partial = run.root / ".partial" / folder.name
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)
        perturbations.write_variants(path, partial, start)
        folder.parent.mkdir(parents=True)
        partial.rename(folder)
    return {variant.name: folder / f"{variant.name}.mkv" for variant in perturbations.VARIANTS}


def _excerpt_seconds(faces: pd.DataFrame, start: int, files: Mapping[str, Path]) -> tuple[float, float]:
    begin = float(faces.loc[faces["frame_index"] == start, "time_seconds"].iloc[0])
    as_it_is = files[perturbations.VARIANTS[0].name]
    return begin, round(begin + video.count_frames(as_it_is) / video.read_info(as_it_is).fps, 2)


def excerpt_start(frame_indices_seen: Sequence[int]) -> int:
    """Choose where an excerpt begins so that it holds most of the frames that show a person; the earliest such frame."""
    seen = np.array(sorted(frame_indices_seen))
    counts = [np.count_nonzero((seen >= start) & (seen < start + perturbations.EXCERPT_FRAMES)) for start in seen]
    return int(seen[int(np.argmax(counts))])


def _probability(cards: Sequence[ModelCard], people: Sequence[Person], answer: Answer) -> float | None:
    """Calibrate the score where it is what the calibration was fitted on, one model's of a video of one person, and there is an answer.

    No share that n videos show can be surer than 1 in n + 2 (Laplace's rule of succession).
    """
    if (
        len(cards) != 1
        or cards[0].calibration is None
        or len(verdict.seen_often(people)) > 1
        or answer == "inconclusive"
    ):
        return None
    known = cards[0].calibration
    least = 1 / (known.videos + 2)
    return float(
        np.clip(calibration.temper(np.array([people[0].mean]), known.temperature, known.clip)[0], least, 1 - least)
    )


# Pictures ----------------------------------------------------------------------------------------------------------------------------
def write_crops(run: Run, path: Path, faces: pd.DataFrame, margin: float) -> None:
    """Keep the crop of every scored face, and its whole frame: a viewer that read the video anew would take minutes in a long one."""
    for frame, rows in _frames_with_faces(path, faces, "crops"):
        for row in rows:
            area = crops.crop_area(box_of(row), margin, *frame.image.shape[:2])
            run.write_image(run.crop_path(FaceKey(*_place(row))), crops.cut(frame.image, area))
        run.write_image(frame_path(run, frame.frame_index), frame.image)


def write_heat_maps(run: Run, evidence: pd.DataFrame, model: Classifier, card: ModelCard) -> None:
    """Keep which pixels of the crops that carry the answer made their scores: heat/<frame>_<face>.png, 0–255, of the crop's size."""
    places = list(zip(evidence["frame_index"], evidence["face_index"], strict=True))
    seen = [run.read_image(run.crop_path(FaceKey(VIDEO_ID, *place))) for place in places]
    maps = gradcam.heat_maps(model, np.stack([fit_to_square(crop, card.recipe) for crop in seen]), card.recipe)
    for place, crop, heat in zip(places, seen, maps, strict=True):
        run.write_image(heat_path(run, *place), np.rint(255 * from_square(heat, *crop.shape[:2])).astype(np.uint8))


def write_masks(run: Run, path: Path, original: Path, faces: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Compare every scored face with the same pixels of the original.

    Returns:
        One row a face that the original shows, and that is no smaller than SSIM's window: frame_index, time_seconds, face_index,
        track, score, ssim, changed_share.
    Raises:
        ValueError: if the original shows none of them.
    """
    info = video.read_info(path)
    first, first_of_original = (video.read_frames(file, {0})[:1] for file in (path, original))
    aligned = [crops.align_frames(a.image, b.image) for a, b in zip(first_of_original, first, strict=False)]
    rows = []
    for frame, seen in _frames_with_faces(original, faces, "masks"):
        whole = (0, 0, frame.image.shape[1], frame.image.shape[0])
        for row in seen:
            area = crops.crop_area(box_of(row), margin, info.height, info.width)
            if min(area[2] - area[0], area[3] - area[1]) < masks.WINDOW:
                continue
            patch = crops.matching_patch(frame.image, whole, area, aligned[0] if aligned else crops.Alignment())
            if not patch.size:
                continue
            run.write_image(original_path(run, row["frame_index"], row["face_index"]), patch)
            similarity = masks.ssim_map(patch, run.read_image(run.crop_path(FaceKey(*_place(row)))))
            mask = masks.mask_of(similarity)
            run.write_image(run.mask_path(FaceKey(*_place(row))), mask)
            known = {name: row[name] for name in ("frame_index", "time_seconds", "face_index", "track", "score")}
            rows.append(known | {"ssim": float(similarity.mean()), "changed_share": masks.changed_share(mask)})
    if not rows:
        raise ValueError(
            f"the original {original.name} has none of the frames that were examined in {path.name}: is it the right one?"
        )
    return pd.DataFrame(rows)


def _frames_with_faces(
    path: Path, faces: pd.DataFrame, title: str
) -> Iterator[tuple[video.Frame, list[dict[Hashable, Any]]]]:
    """Read the frames that have a row, each with its rows; the bar moves on when a frame has been used."""
    rows = {
        int(index): faces[faces["frame_index"] == index].to_dict("records") for index in faces["frame_index"].unique()
    }
    with (
        video.VideoReader(path) as reader,
        tqdm(total=len(rows), desc=title, unit="frame", mininterval=0.5) as progress,
    ):
        for frame in reader.frames(rows.__contains__):
            yield frame, rows[frame.frame_index]
            progress.update()


def _place(row: Mapping[Hashable, Any]) -> tuple[str, int, int]:
    return VIDEO_ID, row["frame_index"], row["face_index"]
