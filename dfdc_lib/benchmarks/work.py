"""The works that are measured, each in a fresh process: `python -m` this module and a `Work` as JSON.

A work first imports what it needs, then writes `start.json` with the seconds since its process started, then works;
networks are loaded in the second part. So both ways pay for their imports, and the table can also tell them apart.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dfdc_lib.benchmarks.meter import Usage, measure, process_age
from dfdc_lib.records import DetectorSettings, Recipe, Record
from dfdc_lib.run_folder import Run

if TYPE_CHECKING:
    import numpy as np

START_FILE, SQUARES_FILE = "start.json", "squares.npy"
CROP_EVERY = 10  # frames


class Work(Record):
    """One measured work: its task (see `TASKS`), the run folder with its videos, and its settings.

    `model`: folder of a model; `frames`: of a video to score; `workers`: processes, 0 = one per core.
    """

    task: str
    folder: Path
    model: str
    frames: int
    workers: int = 0


def run_work(work: Work) -> tuple[Usage, float]:
    """Do a work in a fresh process; return what it took, and the seconds of that until its imports were done."""
    usage = measure([sys.executable, "-m", "dfdc_lib.benchmarks.work", work.model_dump_json()])
    return usage, json.loads((work.folder / START_FILE).read_bytes())


def settings() -> DetectorSettings:
    """Return the detector's settings of both ways: the winner's halved frames, so that both search the same pixels."""
    return DetectorSettings(resize="winner", frame_stride=CROP_EVERY)


def _usual_preparation(work: Work) -> Callable[[], object]:
    from dfdc_lib.benchmarks import usual

    return lambda: usual.prepare(Run(work.folder), settings(), work.workers)


def _usual_prediction(work: Work) -> Callable[[], object]:
    from dfdc_lib.benchmarks import usual

    return lambda: usual.predict(Run(work.folder), work.model, work.frames)


def _kit_preparation(work: Work) -> Callable[[], object]:
    from dfdc_lib.faces import crop_stage, detect_stage, mask_stage

    run, workers = Run(work.folder), work.workers

    def prepare() -> None:
        detect_stage.detect_faces(run, settings(), workers=workers)
        crop_stage.crop_faces(run, workers=workers)
        mask_stage.make_masks(run, workers)

    return prepare


def _kit_prediction(work: Work) -> Callable[[], object]:
    from dfdc_lib.classifier import predict
    from dfdc_lib.classifier.computation import Computation

    computation = Computation(workers=work.workers)
    return lambda: predict.predict(Run(work.folder), [work.model], "all", work.frames, "confident", computation)


def _decoding(work: Work) -> Callable[[], object]:
    """Decode every frame of every video; no frame becomes an RGB array."""
    from dfdc_lib.data.video import VideoReader

    def decode() -> None:
        for video in Run(work.folder).read_videos():
            with VideoReader(video.path) as reader:
                list(reader.frames(lambda frame_index: False))

    return decode


def _classifying(work: Work) -> Callable[[], object]:
    """Score the squares in `SQUARES_FILE`."""
    import numpy as np

    from dfdc_lib.backends.choice import ON_CPU
    from dfdc_lib.classifier.model_files import find_model
    from dfdc_lib.classifier.networks import load_network

    files = find_model(work.model, Run(work.folder))
    squares = np.load(work.folder.parent / SQUARES_FILE)
    return lambda: load_network(files, files.card.recipe, ON_CPU).logits(squares)


def _faces(work: Work) -> Callable[[], object]:
    """Write the squares of all faces of the videos, for `_classifying`; not measured."""
    import numpy as np

    from dfdc_lib.classifier.model_files import find_model

    recipe = find_model(work.model, Run(work.folder)).card.recipe
    return lambda: np.save(work.folder.parent / SQUARES_FILE, _squares(work, recipe))


def _untrained_model(work: Work) -> Callable[[], object]:
    """Write a model with random weights into the folder `model`, whose name is that of its encoder; not measured.

    Its recipe is the winner's. Its normalisation layers and its last layer are fitted to the faces of the videos, so
    that the scores differ from face to face; without that, all would be 0 or 1.
    """
    import torch

    from dfdc_lib.classifier.checkpoints import save_model
    from dfdc_lib.classifier.inference import normalize
    from dfdc_lib.classifier.model import create_model
    from dfdc_lib.classifier.model_files import WINNER_RECIPE
    from dfdc_lib.records import ModelCard

    def write() -> None:
        folder = Path(work.model)
        squares = torch.from_numpy(_squares(work, WINNER_RECIPE)).permute(0, 3, 1, 2)
        images = normalize(squares, WINNER_RECIPE, torch.device("cpu"))
        torch.manual_seed(0)
        model = create_model(folder.name, pretrained=False, drop_path=0)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the statistics of the faces replace the initial ones
        with torch.no_grad():
            model(images)
            logits = model.eval()(images)
            model.fc.weight /= float(logits.std(unbiased=False)) or 1.0
            model.fc.bias.sub_(model(images).mean())
        save_model(folder, model, ModelCard(name=folder.name, encoder=folder.name, recipe=WINNER_RECIPE))

    return write


def _squares(work: Work, recipe: Recipe) -> "np.ndarray":
    """Return the squares of all faces of the videos, (n, size, size, 3) uint8."""
    import numpy as np

    from dfdc_lib.backends.choice import ON_CPU
    from dfdc_lib.classifier.preprocess import fit_to_square
    from dfdc_lib.faces.extract import find_faces, view_of

    videos = Run(work.folder).read_videos()
    found = [find_faces(video.path, [view_of(recipe)], work.frames, ON_CPU)[0] for video in videos]
    squares = [fit_to_square(face.crop, recipe) for faces in found for face in faces]
    if not squares:
        names = ", ".join(video.video_id for video in videos)
        raise ValueError(f"no face in {work.frames} frames of {names}: choose other videos, or more frames")
    return np.stack(squares)


TASKS: dict[str, Callable[[Work], Callable[[], object]]] = {
    "usual preparation": _usual_preparation,
    "kit preparation": _kit_preparation,
    "usual prediction": _usual_prediction,
    "kit prediction": _kit_prediction,
    "decoding": _decoding,
    "classifying": _classifying,
    "faces": _faces,
    "untrained model": _untrained_model,
}


def _main(text: str) -> None:
    work = Work.model_validate_json(text)
    action = TASKS[work.task](work)
    work.folder.mkdir(parents=True, exist_ok=True)
    (work.folder / START_FILE).write_text(json.dumps(process_age()))
    action()


if __name__ == "__main__":
    _main(sys.argv[1])
