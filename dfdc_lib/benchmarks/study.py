"""Time the usual way and the kit on the same videos, in turn and repeatedly.

Input: a run folder, videos and a model. Output: benchmarks.csv, one row per run of a work.
Every run is a fresh process, so imports and the loading of networks count, for both ways. A run of the kit and of each
floor comes first and is not counted: it converts networks for OpenVINO, and fills the system's file cache.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from tqdm.std import tqdm

from dfdc_lib.benchmarks import agreement
from dfdc_lib.benchmarks.meter import Usage
from dfdc_lib.benchmarks.work import Work, run_work
from dfdc_lib.classifier.predict import model_name
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.data.video_stage import find_videos
from dfdc_lib.records import FAKE, Video
from dfdc_lib.run_folder import Run, open_run

PREPARATION, PREDICTION = "preparation", "prediction"  # subjects
USUAL, KIT, DECODING, CLASSIFYING = "usual way", "kit", "decoding alone", "classifying alone"  # ways
# The measured works: subject, way, task.
LINES = (
    (PREPARATION, USUAL, "usual preparation"),
    (PREPARATION, KIT, "kit preparation"),
    (PREPARATION, DECODING, "decoding"),
    (PREDICTION, USUAL, "usual prediction"),
    (PREDICTION, KIT, "kit prediction"),
    (PREDICTION, DECODING, "decoding"),
    (PREDICTION, CLASSIFYING, "classifying"),
)
LINE = ["subject", "way"]
QUANTITIES = ["wall_seconds", "start_seconds", "cpu_seconds", "peak_megabytes"]


class Subject(NamedTuple):
    """What is measured: pairs of original and fake to prepare, one video to score, the model, and settings.

    `model`: folder of a model, or a released checkpoint; `frames`: of the video to score; `workers`: processes, 0 = one
    per core.
    """

    pairs: Sequence[Video]
    scored: Video
    model: str
    frames: int
    workers: int


def choose_videos(run: Run, data: str, most_pairs: int, workers: int = 0) -> tuple[list[Video], Video]:
    """List the videos of a data set; return at most `most_pairs` pairs, and the video to score.

    `data`: see `find_videos`. The pairs are evenly spaced over the originals with a fake, each with its first fake: a
    list of both. The video to score is the fake with the most pixels. Raises ValueError if there is no pair.
    """
    find_videos(run, data, workers=workers)
    videos, infos = run.read_videos(), run.read_infos()
    fakes: dict[str, Video] = {}
    for video in videos:
        if video.label == FAKE and video.original_id in infos and video.video_id in infos:
            fakes.setdefault(str(video.original_id), video)
    originals = [video for video in videos if video.video_id in fakes]
    if not originals or most_pairs < 1:
        raise ValueError(f"expected at least one fake with its original, got {len(originals)} of at most {most_pairs}")
    chosen = [originals[place] for place in evenly_spaced(len(originals), most_pairs)]
    pairs = [video for original in chosen for video in (original, fakes[original.video_id])]
    return pairs, max(pairs[1::2], key=lambda fake: infos[fake.video_id].height * infos[fake.video_id].width)


def choose_model(run: Run, model: str, encoder: str, scored: Video, frames: int) -> str:
    """Return `model`, or, if that is "", the folder of an untrained model of a timm encoder, which is made if needed.

    `scored` and `frames`: the video whose faces its layers are fitted to; see `work`.
    """
    folder = run.root / "models" / encoder
    if not model and not (folder / "model.json").exists():
        _run_line(run, Subject((), scored, str(folder), frames, 0), (PREDICTION, "model", "untrained model"))
    return model or str(folder)


def measure_all(run: Run, subject: Subject, repeats: int) -> pd.DataFrame:
    """Run every work `repeats` times; write benchmarks.csv and return it.

    Returns one row per run: subject, way, repeat, wall_seconds, start_seconds (until the imports were done; part of
    wall_seconds), cpu_seconds, peak_megabytes. The two ways take turns in going first, so that a slow minute of the
    machine falls on both.
    """
    if repeats < 1:
        raise ValueError(f"REPEATS must be at least 1, got {repeats}")
    _run_line(run, subject, (PREDICTION, "faces", "faces"))
    rows = []
    turns = [(repeat, line) for repeat in range(repeats + 1) for line in _order(repeat) if repeat or line[1] != USUAL]
    for repeat, line in tqdm(turns, desc="benchmarks", unit="run", mininterval=0.5):
        usage, start = _run_line(run, subject, line)
        rows.append((*line[:2], repeat, usage.wall_seconds, start, *usage[1:]))
    table = pd.DataFrame(rows, columns=[*LINE, "repeat", *QUANTITIES])
    table = table[table["repeat"] > 0].round(3).reset_index(drop=True)
    run.write_table("benchmarks.csv", table)
    return table


def summarize(measured: pd.DataFrame) -> pd.DataFrame:
    """Return one row per subject and way: runs; fastest, median and slowest wall time; medians of the rest.

    `measured`: see `measure_all`, whose start_seconds are "imports" here, cpu_seconds "CPU", peak_megabytes "MB".
    """
    lines = measured.groupby(LINE, sort=False)
    wall = lines["wall_seconds"].agg(["size", "min", "median", "max"])
    wall.columns = pd.Index(["runs", "fastest", "median", "slowest"])
    rest = {"start_seconds": "imports", "cpu_seconds": "CPU", "peak_megabytes": "MB"}
    return wall.join(lines[list(rest)].median().rename(columns=rest)).round({"MB": 0}).round(2)


def ratios(measured: pd.DataFrame) -> pd.DataFrame:
    """Return how many times more the usual way takes than the kit, over the pairs of runs: min, median, max.

    Index: subject, quantity; "wall_without_imports" is the wall time after the imports. `measured`: see `measure_all`.
    """
    quantities = measured.assign(wall_without_imports=measured["wall_seconds"] - measured["start_seconds"])
    columns = ["wall_seconds", "wall_without_imports", "cpu_seconds", "peak_megabytes"]
    by_way = {way: rows.set_index(["subject", "repeat"])[columns] for way, rows in quantities.groupby("way")}
    each = (by_way[USUAL] / by_way[KIT]).stack().rename_axis(["subject", "repeat", "quantity"])
    return each.groupby(level=["subject", "quantity"], sort=False).agg(["min", "median", "max"]).round(2)


def compare_outputs(run: Run, model: str) -> dict[str, float]:
    """Compare the outputs of the last runs of both ways; see `agreement`."""
    usual, kit = (Run(_folder(run, PREPARATION, way)) for way in (USUAL, KIT))
    theirs, ours = (Run(_folder(run, PREDICTION, way)) for way in (USUAL, KIT))
    scores = agreement.compare_scores(theirs, ours, model_name(model))
    return agreement.compare_preparation(usual, kit) | scores


def _order(repeat: int) -> list[tuple[str, str, str]]:
    """Return the lines in the order of a repetition: in every second one, the kit goes before the usual way."""
    places = {USUAL: 0, KIT: 1} if repeat % 2 else {KIT: 0, USUAL: 1}
    return sorted(LINES, key=lambda line: (line[0] != PREPARATION, places.get(line[1], 2)))


def _run_line(run: Run, subject: Subject, line: tuple[str, str, str]) -> tuple[Usage, float]:
    """Run a line's task in an empty run folder that lists its videos."""
    folder = _folder(run, *line[:2])
    shutil.rmtree(folder, ignore_errors=True)
    videos = subject.pairs if line[0] == PREPARATION else [subject.scored]
    open_run(folder).write_videos(videos, run.read_infos())
    settings = {"model": subject.model, "frames": subject.frames, "workers": subject.workers}
    return run_work(Work.model_validate({"task": line[2], "folder": folder} | settings))


def _folder(run: Run, subject: str, way: str) -> Path:
    return run.root / "work" / f"{subject}_{way.replace(' ', '_')}"
