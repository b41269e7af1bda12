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

from dfdc_lib import calibrate, crops, explain, predict, ssim, variants, verdict, video
from dfdc_lib.checkpoints import load_any
from dfdc_lib.feed import fit_to_square, from_square
from dfdc_lib.found_faces import FRAMES_PER_VIDEO, frame_indices
from dfdc_lib.inspection_pictures import VIDEO_ID, frame_path, heat_path, original_path
from dfdc_lib.model import Classifier
from dfdc_lib.records import Inspection, ModelCard, Person, Trial, Video, box_of
from dfdc_lib.scoring import choose_device
from dfdc_lib.store import Run, file_fingerprint, fingerprint, open_run

EXAMINED_FRAMES = 2 * FRAMES_PER_VIDEO  # so that a half and a quarter of them can be tried
FEWER_FRAMES = (16, 32)
EVIDENCE_FRAMES = 4  # shown in full size


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
    names = [str(own) if (own := run.root / "models" / name).is_dir() else name for name in names]  # `stability/` has no models of its own
    (run.root / "inspection.json").unlink(missing_ok=True)  # an earlier one says nothing of what comes now
    faces = _scored(run, {VIDEO_ID: path}, names, EXAMINED_FRAMES, device, workers)
    if faces.empty:
        examined = len(frame_indices(video.count_frames(path), EXAMINED_FRAMES))
        raise ValueError(f"no face was found in the {examined} examined frames of {path.name}: there is nothing to judge")
    people = verdict.describe_people(faces)
    trials = [*_fewer_frames(path, faces, people[0]), *_changed_versions(run, path, faces, names, people[0], device, workers)]
    answer, doubts = verdict.decide(people, trials)
    models = [load_any(name, run) for name in names]
    found = Inspection(
        video=path.name,
        models=tuple(predict.model_name(name) for name in names),
        people=people,
        trials=tuple(trials),
        answer=answer,
        doubts=doubts,
        score=people[0].mean,
        judged_track=people[0].track,
        probability=_probability([card for _, card in models], people[0]),
        fingerprint=file_fingerprint(path),
    )
    run.write_table("faces.csv", faces)
    model, card = models[0]
    write_crops(run, path, faces, card.recipe.margin)
    write_heat_maps(run, evidence_rows(faces, people[0]), model.to(choose_device(device)), card)
    if original:
        run.write_table("masks.csv", write_masks(run, path, original, faces, card.recipe.margin))
    run.write_record(run.root / "inspection.json", found)
    return found


def evidence_rows(faces: pd.DataFrame, person: Person) -> pd.DataFrame:
    """Choose the frames that carry the answer: the strongest of each quarter of the frames that show a person, in order of time.

    Args:
        faces: of `faces.csv`.
        person: who was judged; the strongest scores are the highest where they count as fake, else the lowest.
    Returns:
        At most `EVIDENCE_FRAMES` rows.
    """
    own = faces[faces["track"] == person.track].sort_values("frame_index")
    part = np.arange(len(own)) * EVIDENCE_FRAMES // len(own)
    scores = own["score"].groupby(part)
    return own.loc[scores.idxmax() if person.mean >= verdict.EVEN else scores.idxmin()]


# Scores ------------------------------------------------------------------------------------------------------------------------------
def _scored(run: Run, files: Mapping[str, Path], names: Sequence[str], frames: int, device: str, workers: int) -> pd.DataFrame:
    """Score videos with every model: one row a face, averaged over models."""
    videos = [Video(video_id=name, path=path) for name, path in files.items()]
    run.write_videos(videos, {name: video.read_info(path) for name, path in files.items()})
    for outcome in predict.predict(run, names, "all", frames, "mean", device, workers):
        if outcome.status == "failed":
            raise ValueError(f"{files[outcome.video_id].name} could not be examined: {outcome.note}")
    tables = [run.read_table(f"scores/{predict.model_name(name)}.parquet") for name in names]
    joined = [verdict.join_models([table[table["video_id"] == name] for table in tables]) for name in files]
    return pd.concat(joined, ignore_index=True)


def _fewer_frames(path: Path, faces: pd.DataFrame, judged: Person) -> list[Trial]:
    """Judge by fewer of the examined frames, evenly chosen."""
    examined = frame_indices(video.count_frames(path), EXAMINED_FRAMES)
    trials = []
    for count in [fewer for fewer in FEWER_FRAMES if fewer < len(examined)] + [len(examined)]:
        chosen = {examined[place] for place in frame_indices(len(examined), count)}
        rows = faces[faces["frame_index"].isin(chosen)]
        trials.append(verdict.try_version(f"{count} frames", rows, judged.mean >= verdict.EVEN))
    return trials


def _changed_versions(
    run: Run, path: Path, faces: pd.DataFrame, names: Sequence[str], judged: Person, device: str, workers: int
) -> list[Trial]:
    """Make the changed versions of the excerpt that shows most of the judged person, and judge each."""
    start = excerpt_start(faces.loc[faces["track"] == judged.track, "frame_index"].tolist())
    folder = (
        run.root
        / "variants"
        / fingerprint(file_fingerprint(path), start, variants.EXCERPT_FRAMES, *(variant[:3] for variant in variants.VARIANTS))
    )
    if not folder.is_dir():  # it is there when it is whole
        partial = run.root / ".partial" / folder.name
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)
        variants.write_variants(path, partial, start)
        folder.parent.mkdir(parents=True)
        partial.rename(folder)
    files = {variant.name: folder / f"{variant.name}.mkv" for variant in variants.VARIANTS}
    scored = _scored(open_run(run.root / "stability"), files, names, FRAMES_PER_VIDEO, device, workers)
    titles = {variant.name: variant.title for variant in variants.VARIANTS}
    return [verdict.try_version(titles[name], scored[scored["video_id"] == name], judged.mean >= verdict.EVEN) for name in files]


def excerpt_start(frame_indices_seen: Sequence[int]) -> int:
    """Choose where an excerpt begins so that it holds most of the frames that show a person; the earliest such frame."""
    seen = np.array(sorted(frame_indices_seen))
    counts = [np.count_nonzero((seen >= start) & (seen < start + variants.EXCERPT_FRAMES)) for start in seen]
    return int(seen[int(np.argmax(counts))])


def _probability(cards: Sequence[ModelCard], judged: Person) -> float | None:
    """Calibrate the score, where one model looked and carries a calibration: it was fitted on the scores of that model alone."""
    if len(cards) != 1 or cards[0].calibration is None:
        return None
    known = cards[0].calibration
    return float(calibrate.temper(np.array([judged.mean]), known.temperature, known.clip)[0])


# Pictures ----------------------------------------------------------------------------------------------------------------------------
def write_crops(run: Run, path: Path, faces: pd.DataFrame, margin: float) -> None:
    """Keep the crop of every scored face, and its whole frame: a viewer that read the video anew would take minutes in a long one."""
    for frame, rows in _frames_with_faces(path, faces, "crops"):
        for row in rows:
            area = crops.crop_area(box_of(row), margin, *frame.image.shape[:2])
            run.write_image(run.crop_path(*_place(row)), crops.cut(frame.image, area))
        run.write_image(frame_path(run, frame.frame_index), frame.image)


def write_heat_maps(run: Run, evidence: pd.DataFrame, model: Classifier, card: ModelCard) -> None:
    """Keep which pixels of the crops that carry the answer made their scores: heat/<frame>_<face>.png, 0–255, of the crop's size."""
    places = list(zip(evidence["frame_index"], evidence["face_index"], strict=True))
    seen = [run.read_image(run.crop_path(VIDEO_ID, *place)) for place in places]
    maps = explain.heat_maps(model, np.stack([fit_to_square(crop, card.recipe) for crop in seen]), card.recipe)
    for place, crop, heat in zip(places, seen, maps, strict=True):
        run.write_image(heat_path(run, *place), np.rint(255 * from_square(heat, *crop.shape[:2])).astype(np.uint8))


def write_masks(run: Run, path: Path, original: Path, faces: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Compare every scored face with the same pixels of the original.

    Returns:
        One row a face whose frame the original has, and that is no smaller than SSIM's window: frame_index, time_seconds, face_index,
        track, score, ssim, changed_share.
    Raises:
        ValueError: if the original has none of the examined frames.
    """
    info = video.read_info(path)
    first, first_of_original = (video.read_frames(file, {0})[:1] for file in (path, original))
    aligned = [crops.align_frames(a.image, b.image) for a, b in zip(first_of_original, first, strict=False)]
    rows = []
    for frame, seen in _frames_with_faces(original, faces, "masks"):
        whole = (0, 0, frame.image.shape[1], frame.image.shape[0])
        for row in seen:
            area = crops.crop_area(box_of(row), margin, info.height, info.width)
            if min(area[2] - area[0], area[3] - area[1]) < ssim.WINDOW:
                continue
            patch = crops.matching_patch(frame.image, whole, area, aligned[0] if aligned else crops.Alignment())
            run.write_image(original_path(run, row["frame_index"], row["face_index"]), patch)
            similarity = ssim.ssim_map(patch, run.read_image(run.crop_path(*_place(row))))
            mask = ssim.mask_of(similarity)
            run.write_image(run.mask_path(*_place(row)), mask)
            known = {name: row[name] for name in ("frame_index", "time_seconds", "face_index", "track", "score")}
            rows.append(known | {"ssim": float(similarity.mean()), "changed_share": ssim.changed_share(mask)})
    if not rows:
        raise ValueError(f"the original {original.name} has none of the frames that were examined in {path.name}: is it the right one?")
    return pd.DataFrame(rows)


def _frames_with_faces(path: Path, faces: pd.DataFrame, title: str) -> Iterator[tuple[video.Frame, list[dict[Hashable, Any]]]]:
    """Read the frames that have a row, each with its rows; the bar moves on when a frame has been used."""
    rows = {int(index): faces[faces["frame_index"] == index].to_dict("records") for index in faces["frame_index"].unique()}
    with video.VideoReader(path) as reader, tqdm(total=len(rows), desc=title, unit="frame", mininterval=0.5) as progress:
        for frame in reader.frames(rows.__contains__):
            yield frame, rows[frame.frame_index]
            progress.update()


def _place(row: Mapping[Hashable, Any]) -> tuple[str, int, int]:
    return VIDEO_ID, row["frame_index"], row["face_index"]
