"""Export a model for other programs: ONNX or OpenVINO, with its recipe, and compared with PyTorch on real crops.

Input: a model. Output: <name>.onnx, one file, or OpenVINO's pair <name>.xml (the network) and <name>.bin (its weights).
The network takes `squares`, (n, size, size, 3) uint8 RGB, as `preprocess.fit_to_square` makes them, and returns
`logits`, (n,) float32; it normalises the squares itself. Its metadata (`metadata_props` of ONNX, `rt_info` of OpenVINO)
say how the crops of the squares are made.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import nn

import dfdc_lib
from dfdc_lib.backends.choice import ON_CPU
from dfdc_lib.backends.openvino_models import core, save, to_openvino
from dfdc_lib.classifier.convert import FromSquares
from dfdc_lib.classifier.inference import logits_of
from dfdc_lib.classifier.model import Classifier
from dfdc_lib.classifier.preprocess import fit_to_square
from dfdc_lib.data.sample import make_sample
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.faces.extract import find_faces, view_of
from dfdc_lib.records import KEY_COLUMNS, FaceKey, ModelCard, Recipe
from dfdc_lib.run_folder import Run, atomic_path

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
COMPARED_CROPS = 16
SAMPLE_VIDEOS, SAMPLE_FRAMES, SAMPLE_SECONDS = 4, 4, 0.4  # of the built-in sample, where a model has no crops


def suffix_of(format_name: str) -> str:
    """Return the suffix of the files of a format; raise ValueError for an unknown one."""
    if format_name not in SUFFIXES:
        raise ValueError(f"the format must be {' or '.join(SUFFIXES)}, got {format_name!r}")
    return SUFFIXES[format_name]


def export(classifier: Classifier, card: ModelCard, path: Path) -> None:
    """Write a classifier in eval mode as an ONNX (.onnx) or OpenVINO (.xml and .bin) file, with its metadata.

    Raises ValueError for another suffix.
    """
    if path.suffix not in SUFFIXES.values():
        raise ValueError(f"the file must end with {' or '.join(SUFFIXES.values())}, got {path}")
    write = _write_onnx if path.suffix == ".onnx" else _write_openvino
    example = torch.zeros(2, card.recipe.size, card.recipe.size, 3, dtype=torch.uint8)
    write(FromSquares(classifier, card.recipe, with_evidence=False).eval(), example, metadata(card), path)


def metadata(card: ModelCard) -> dict[str, str]:
    """Return what an exported file says of itself: the recipe as JSON, the model, and its input and output."""
    size = card.recipe.size
    return {
        "dfdc_recipe": card.recipe.model_dump_json(),
        "dfdc_model": card.name,
        "dfdc_encoder": card.encoder,
        "dfdc_input": f"squares: (n, {size}, {size}, 3) uint8 RGB, not normalised",
        "dfdc_output": "logits: (n,) float32; sigmoid(logit) = probability that the face is fake",
        "dfdc_kit": dfdc_lib.__version__,
    }


def largest_difference(path: Path, classifier: Classifier, squares: np.ndarray, recipe: Recipe) -> float:
    """Return the largest difference of scores between an exported file and its classifier, both in float32.

    OpenVINO runs the file. `squares`: (n, size, size, 3) uint8 RGB.
    """
    network = core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    exact = recipe.model_copy(update={"precision": "float32"})
    images = torch.from_numpy(squares).permute(0, 3, 1, 2)
    scores = [expit(network(squares)[0]), expit(logits_of(classifier, images, exact))]
    return float(np.abs(scores[0] - scores[1]).max())


def comparison_squares(folder: Path, recipe: Recipe) -> tuple[np.ndarray, str]:
    """Return squares of real crops, (n, size, size, 3) uint8, and the data that they come from.

    They come from the run folder in which the model folder `folder` lies; if it has no crops, from the built-in sample.
    """
    run = Run(folder.absolute().parent.parent)
    if (run.root / "crops.parquet").is_file() and len(table := run.read_table("crops.parquet")[KEY_COLUMNS]):
        rows = table.iloc[evenly_spaced(len(table), COMPARED_CROPS)].itertuples(index=False, name=None)
        crops, source = [run.read_image(run.crop_path(FaceKey(*row))) for row in rows], str(run.root)
    else:
        crops, source = _sample_crops(recipe), "the built-in sample"
    return np.stack([fit_to_square(crop, recipe) for crop in crops]), source


def _sample_crops(recipe: Recipe) -> list[np.ndarray]:
    with TemporaryDirectory() as folder:
        videos = sorted(make_sample(Path(folder) / "sample", seconds=SAMPLE_SECONDS).rglob("*.mp4"))[:SAMPLE_VIDEOS]
        found = [find_faces(path, [view_of(recipe)], SAMPLE_FRAMES, ON_CPU)[0] for path in videos]
    return [face.crop for faces in found for face in faces]


def _write_openvino(network: nn.Module, example: torch.Tensor, about: dict[str, str], path: Path) -> None:
    model = to_openvino(network, example, [-1, *example.shape[1:]])
    model.inputs[0].set_names({"squares"})
    model.outputs[0].set_names({"logits"})
    for name, text in about.items():
        model.set_rt_info(text, name)
    save(model, path)


def _write_onnx(network: nn.Module, example: torch.Tensor, about: dict[str, str], path: Path) -> None:
    batch: Any = torch.export.Dim("batch")
    names: dict[str, Any] = {"input_names": ["squares"], "output_names": ["logits"]}
    program = torch.onnx.export(network, (example,), dynamic_shapes=[{0: batch}], **names, dynamo=True, verbose=False)
    assert program is not None
    program.model.metadata_props.update(about)
    with atomic_path(path) as partial:
        program.save(partial, external_data=False)
