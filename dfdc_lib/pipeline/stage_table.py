"""The stages: one declaration per notebook.

To add a stage, add its notebook and one row here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfdc_lib.pipeline.parameters import Parameter, read_parameters
from dfdc_lib.run_folder import PROJECT

NOTEBOOKS = PROJECT / "notebooks"
# Parameters that have options of their own on the command line.
OPTIONS = {"RUN", "DATA", "KIND", "WORKERS", "EXECUTOR", "BACKEND"}


@dataclass(frozen=True)
class Stage:
    """One notebook, what it depends on and what it makes.

    `makes`: files of the run folder; `code`: modules; `needs`: numbers of the stages whose files it requires; `uses`:
    numbers of the stages whose files it reads if they exist.
    """

    name: str
    makes: tuple[str, ...]  # files of the run folder
    code: tuple[str, ...]  # modules that compute its result, with what they import (see `staleness.code_of`)
    may_make: tuple[str, ...] = ()  # patterns of files that it makes if its data allow it
    job: tuple[str, ...] = ()  # those that compute the result of one video, if not all do
    needs: tuple[str, ...] = ()  # numbers of the stages whose files it reads
    uses: tuple[str, ...] = ()  # numbers of the stages whose files it reads if they exist
    state: tuple[str, ...] = ()  # files from which it continues; --force deletes them; {model} = name of the model
    model_files: tuple[str, ...] = ()  # files it reads of every model in MODELS, relative to the model's folder
    instead: str = ""  # the parameter that, if it names a file, replaces the files of `needs`
    keeps: str = ""  # what a change in the code alone does not repeat

    def needs_with(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the numbers of the stages whose files this stage requires, given its notebook's parameters.

        The result is () if the parameter named by `instead` is set, else `needs`. `parameters`: name -> value.
        """
        return () if parameters.get(self.instead) else self.needs

    @property
    def number(self) -> str:
        """The first two digits of the name: "03" for "03_ssim_masks"."""
        return self.name[:2]

    @property
    def notebook(self) -> Path:
        """Path of the notebook."""
        return NOTEBOOKS / f"{self.name}.ipynb"

    @property
    def title(self) -> str:
        """The notebook's heading without its number: "SSIM masks" for `# 03 - SSIM masks`."""
        heading = json.loads(self.notebook.read_bytes())["cells"][0]["source"][0]
        return heading.partition(" - ")[2].strip()


MODEL_FILES = "model.json weights.safetensors seen.csv"


def _stage(name: str, makes: str, code: str, needs: str = "", state: str = "", **others: str) -> Stage:
    """Return a stage from lists that are written as words; the modules of `code` and `job` are relative to dfdc_lib."""
    keeps, instead = others.pop("keeps", ""), others.pop("instead", "")
    words = {"makes": makes, "code": code, "needs": needs, "state": state} | others
    lists = {field: tuple(text.split()) for field, text in words.items()}
    modules = {field: tuple(f"dfdc_lib.{module}" for module in lists.get(field, ())) for field in ("code", "job")}
    return Stage(name, **lists | modules, keeps=keeps, instead=instead)


TRAINING_STATE = "models/{model}/state.pt models/{model}/history.csv models/{model}/model.json"
KEEPS_MODEL = "the trained model is kept: --force retrains it"
HASHING = "data.look_alikes"
STUDY = "evaluation.strategy_study evaluation.load_scores"
EXAMINATION = "inspection.inspect inspection.text"

# The columns: name, files it makes, code, stages it needs, state.
STAGES = (
    _stage("00_videos", "videos.csv status/00_videos.csv", "data.video_stage", "", "info/*.json", job="data.video"),
    _stage(
        "01_detect_faces",
        "status/01_align_fakes.csv status/01_detect_faces.csv",
        "faces.detect_stage",
        "00",
        "alignments/*.json boxes/*.json",
        job="faces.detect faces.alignment",
    ),
    _stage(
        "02_crop_faces", "crops.parquet status/02_crop_faces.csv", "faces.crop_stage", "00 01", "crops/*/crops.json"
    ),
    _stage("03_ssim_masks", "masks.csv status/03_ssim_masks.csv", "faces.mask_stage", "00 02", "masks/*/masks.json"),
    _stage(
        "04_folds", "folds.csv leaks.csv status/04_folds.csv", "data.fold_stage", "00", "hashes/*.json", job=HASHING
    ),
    _stage("05_augmentation_preview", "metrics/05_augmentation_preview.json", "augmentation.preview", "02 03"),
    _stage("06_train", "metrics/06_train.json", "classifier.train", "02 03 04", TRAINING_STATE, keeps=KEEPS_MODEL),
    _stage(
        "07_predict",
        "submission.csv submission_details.csv status/07_predict.csv scores/scoring.json scores/roles.csv",
        "classifier.predict",
        "00",
        "scores/*/*.json",
        uses="04",
        job="faces.extract classifier.networks",
        model_files=MODEL_FILES,
    ),
    _stage(
        "08_averaging_strategies",
        "metrics/08_averaging_strategies.json",
        STUDY,
        "07",
        uses="00 04",
        instead="SCORES",
        may_make="calibrations/*.json",
    ),
)

# Not a stage of a run: it examines one video, in a run folder of its own.
MODEL_RECORDS = f"{MODEL_FILES} test_metrics.json ../../calibrations/{{model}}.json"
INSPECT = _stage("11_inspect_video", "inspection.json", EXAMINATION, model_files=MODEL_RECORDS)
# Nor this one: it measures how fast the others are, in a run folder of its own.
BENCHMARK = _stage("12_benchmarks", "benchmarks.csv speed.csv", "benchmarks.study benchmarks.work")


def files_of(numbers: Iterable[str]) -> list[str]:
    """Return the files that stages make, relative to the run folder; `numbers` are those of the stages, e.g. "03"."""
    return [name for stage in STAGES if stage.number in numbers for name in stage.makes]


def choose_stages(first: str = "", last: str = "") -> list[Stage]:
    """Return the stages from number `first` to number `last`; "" means from the start, or to the end.

    Raises:
        ValueError: if no stage has that number, or the range is empty.
    """
    numbers = [stage.number for stage in STAGES]
    for number in (first, last):
        if number and number not in numbers:
            raise ValueError(
                f"there is no stage {number!r}; the stages are {', '.join(stage.name for stage in STAGES)}"
            )
    chosen = [stage for stage in STAGES if (first or "00") <= stage.number <= (last or "99")]
    if not chosen:
        raise ValueError(f"no stage lies between {first} and {last}: --from must not be after --to")
    return chosen


def all_parameters() -> dict[str, Parameter]:
    """Return the notebook parameters that `-p` can set, by name: those of all stages except `OPTIONS`."""
    parameters = {name: value for stage in STAGES for name, value in read_parameters(stage.notebook).items()}
    return {name: value for name, value in parameters.items() if name not in OPTIONS}
