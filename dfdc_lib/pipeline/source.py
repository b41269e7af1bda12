"""Whose videos `dfdc predict` scores. In: a folder, a list or a run folder. Out: run folder and stages."""

import json
from dataclasses import dataclass
from pathlib import Path

from dfdc_lib.data.datasets.video_list import is_video_list, read_video_list
from dfdc_lib.pipeline.stage_table import STAGES, Stage
from dfdc_lib.records import BUILT_IN_SAMPLE
from dfdc_lib.run_folder import PROJECT

PREDICT = next(stage for stage in STAGES if stage.name == "07_predict")


@dataclass(frozen=True)
class Source:
    """The videos to score."""

    run_folder: Path
    data: Path | None  # None = the built-in sample
    kind: str
    stages: tuple[Stage, ...]


def choose_source(videos: Path, run_folder: Path | None) -> Source:
    """Return where and with which stages videos are scored.

    Args:
        videos: folder of videos, list of videos (see `video_list`), or run folder (it has a run.json).
        run_folder: None = `outputs/predict_<name>`, or `videos` if that is a run folder.
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
