"""Whose videos a command scores or evaluates. In: a folder, a list, a run folder or a file of scores. Out: run folder,
data and stages.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from dfdc_lib.data.datasets.video_list import is_video_list, read_video_list
from dfdc_lib.pipeline.stage_table import STAGES, Stage
from dfdc_lib.records import BUILT_IN_SAMPLE
from dfdc_lib.run_folder import PROJECT, Run, project_path

PREDICT = next(stage for stage in STAGES if stage.name == "07_predict")


@dataclass(frozen=True)
class Source:
    """What a command works on: a run folder, the data it reads, and the notebooks to run.

    `data`: folder or list of videos, or file of scores; None = the built-in sample.
    """

    run_folder: Path
    data: Path | None  # folder or list of videos, or file of scores; None = the built-in sample
    kind: str
    stages: tuple[Stage, ...]


def choose_source(videos: Path, run_folder: Path | None) -> Source:
    """Return the run folder and the notebooks with which videos are scored.

    Args:
        videos: folder of videos, list of videos (.txt or .csv), or run folder (it has a run.json).
        run_folder: for the results; None = `outputs/predict_<name>`, or `videos` if that is a run folder.
    Returns:
        Notebooks 00 and 07 in `run_folder`; if `videos` is itself a run folder, only notebook 07 in `videos`.
    Raises:
        FileNotFoundError: if `videos` does not exist or is another kind of file, or a listed video is missing.
        ValueError: if the list is malformed, or `videos` is a run folder and `run_folder` names another one.
    """
    if (videos / "run.json").exists():
        if run_folder and run_folder.resolve() != videos.resolve():
            raise ValueError(f"{videos} is a run folder and its scores are written into it: omit --run {run_folder}")
        manifest = json.loads((videos / "run.json").read_bytes())
        data = None if manifest["data"] == BUILT_IN_SAMPLE else Path(manifest["data"])
        return Source(videos.resolve(), data, manifest["kind"], (PREDICT,))
    if is_video_list(videos):
        read_video_list(videos)
    elif not videos.is_dir():
        problem = "is a file" if videos.exists() else "does not exist"
        raise FileNotFoundError(
            f"expected a folder of videos, a list of videos (.txt, .csv) or a run folder; {videos} {problem}"
        )
    name = videos.resolve().stem if videos.is_file() else videos.resolve().name
    target = (run_folder or PROJECT / "outputs" / f"predict_{name}").resolve()
    return Source(target, videos.resolve(), "auto", (STAGES[0], PREDICT))


def choose_scores_source(scores: str, asked: Source, *, named: bool) -> Source:
    """Return the run in which the scores in a file are evaluated, never one that belongs to other videos.

    Args:
        scores: path of the file (parameter SCORES of notebook 08).
        asked: the run that the command would use without SCORES.
        named: whether the user named its run folder.
    Returns:
        If the file's videos are videos of that run: `asked`. Otherwise: `asked` with the file as its data, in the run
        folder that the user named, or in `outputs/scores_<name>` if none was named.
    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file's videos are not videos of that run, and either `asked` has stages other than 08 or the
            run folder that the user named belongs to other videos.
    """
    from dfdc_lib.evaluation.load_scores import are_of_run, scores_folder  # here: it imports pandas

    file = project_path(scores)
    if are_of_run(file, Run(asked.run_folder)):
        return asked
    if [stage.number for stage in asked.stages] != ["08"]:
        raise ValueError(f"the videos of SCORES={scores} are not those of {asked.run_folder}: add --from 08")
    if named and (asked.run_folder / "videos.csv").exists():
        raise ValueError(f"{asked.run_folder} has other videos than SCORES={scores}: omit --run, or name a new folder")
    return replace(asked, run_folder=asked.run_folder if named else scores_folder(file), data=file)
