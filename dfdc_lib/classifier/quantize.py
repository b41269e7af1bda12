"""Quantise a model to int8 for OpenVINO, and compare it with float32 on other crops.

Input: a model, and a run folder with labelled crops. Output: the int8 network and its `Quantization` record, beside the
converted float32 network (`networks.quantized_path`). They are written only if int8 loses at most 0.005 AUC.
Source: post-training quantisation with NNCF. A published self-blended B5 detector fell from an AUC of .955 to .759 by
int8 that nobody had measured; hence the comparison.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy.special import expit

from dfdc_lib.backends.openvino_models import CompiledNetwork, save
from dfdc_lib.classifier.crop_dataset import read_index
from dfdc_lib.classifier.model_files import ModelFiles
from dfdc_lib.classifier.networks import CROPS_PER_BATCH, converted_path, quantized_path
from dfdc_lib.classifier.preprocess import fit_to_square
from dfdc_lib.data.spacing import evenly_spaced
from dfdc_lib.evaluation.metrics import measure
from dfdc_lib.records import FAKE, KEY_COLUMNS, REAL, FaceKey, Precision, Quantization, Recipe
from dfdc_lib.run_folder import Run
from dfdc_lib.staleness import content_fingerprint

MAX_AUC_LOSS = 0.005
MIN_AUC = 0.6  # of single crops in float32
CALIBRATION_CROPS, COMPARED_CROPS = 300, 1000  # at most
MIN_CROPS = 30  # of each class, compared
MIN_VIDEO_PAIRS = round(1 / MAX_AUC_LOSS)  # of a real and a fake video: the order of one pair is 0.005 AUC at most


def quantize(files: ModelFiles, run: Run) -> Quantization:
    """Quantise a model and compare int8 with float32; write the int8 network and its record unless `refusal` objects.

    If it objects, the record of an earlier int8 network is deleted.
    `run`: its labelled crops are used, see `choose_crops`. Raises FileNotFoundError if it lacks a table of stages 02 to
    04, ValueError if it has too few crops.
    """
    recipe = files.card.recipe
    calibration, compared = choose_crops(read_index(run), files.card.train_folds)
    exact, target = converted_path(files, recipe), quantized_path(files, recipe)
    with TemporaryDirectory(dir=target.parent) as folder:
        path = Path(folder) / target.name
        write_int8(exact, _squares(run, calibration, recipe), path)
        squares = _squares(run, compared, recipe)
        scores = {"float32": _scores(exact, "float32", squares), "int8": _scores(path, "int8", squares)}
        frames = compared[["video_id", "label"]].assign(**scores)
        record = _record(frames, run, len(calibration), content_fingerprint(path.with_suffix(".bin")))
        target.with_suffix(".json").unlink(missing_ok=True)
        if not refusal(record):
            path.with_suffix(".json").write_text(record.model_dump_json(indent=1), encoding="utf-8")
            for suffix in (".bin", ".xml", ".json"):  # the record last
                path.with_suffix(suffix).replace(target.with_suffix(suffix))
    return record


def refusal(record: Quantization) -> str:
    """Return why an int8 network must not be used; "" if no AUC is more than 0.005 below that of float32.

    A model that ranks these crops by chance has nothing to lose on them, so its int8 network is refused, too.
    """
    if record.float32_auc["frame AUC"] < MIN_AUC:
        return f"the model's float32 frame AUC on these crops is below {MIN_AUC}: compare on a run that it suits"
    for name, exact in record.float32_auc.items():
        loss = exact - record.int8_auc[name]
        if round(loss, 6) > MAX_AUC_LOSS:  # 0.95 - 0.945 is above 0.005 by a rounding error
            return f"int8 loses {loss:.4f} {name}, more than {MAX_AUC_LOSS}: use float32 or bfloat16"
    return ""


def report(record: Quantization) -> str:
    """Return the comparison as lines of text."""
    crops = f"{record.crops} crops of {record.videos} videos of {record.run}"
    lines = [f"calibrated on {record.calibration_crops} crops; compared on {crops}"]
    for name, exact in record.float32_auc.items():
        rough = record.int8_auc[name]
        lines.append(f"{name}: float32 {exact:.4f}, int8 {rough:.4f}, loss {exact - rough:+.4f}")
    lines.append(f"scores differ by {record.largest_difference:.3f} at most, {record.mean_difference:.3f} on average")
    return "\n".join(lines)


def choose_crops(index: pd.DataFrame, train_folds: Sequence[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the crops to calibrate on and, from other folds, those to compare scores on.

    Args:
        index: labelled crops, the table from `crop_dataset.read_index`.
        train_folds: folds to calibrate on; if the table has none of them or no other fold, the first half of its folds.
    Raises:
        ValueError: if the others have fewer than 30 real or 30 fake crops.
    """
    folds = sorted(index["fold"].unique())
    chosen = set(folds) & set(train_folds)
    if not chosen or len(chosen) == len(folds):
        chosen = set(folds[: len(folds) // 2])
    is_chosen = index["fold"].isin(chosen).to_numpy()
    compared = _evenly(index[~is_chosen], COMPARED_CROPS)
    counts = {name: int((compared["label"] == label).sum()) for name, label in (("real", REAL), ("fake", FAKE))}
    if not is_chosen.any() or min(counts.values()) < MIN_CROPS:
        got = ", ".join(f"{count} {name}" for name, count in counts.items())
        remedy = "use a run with more videos, more folds in 04_folds, or a smaller FRAME_STRIDE in 01_detect_faces"
        raise ValueError(f"int8 must be compared on at least {MIN_CROPS} real and fake crops each, got {got}: {remedy}")
    return _evenly(index[is_chosen], CALIBRATION_CROPS), compared


def write_int8(network: Path, squares: np.ndarray, path: Path) -> None:
    """Quantise a converted network, an .xml file, and write it as `path`.

    `squares`: crops to calibrate on, (n, size, size, 3) uint8 RGB.
    """
    import nncf  # here: it takes seconds
    import openvino

    nncf.set_log_level(logging.ERROR)
    dataset = nncf.Dataset([square[None] for square in squares])
    preset = nncf.QuantizationPreset.MIXED  # activations of EfficientNet (SiLU) are not symmetric
    model = openvino.Core().read_model(str(network))
    save(nncf.quantize(model, dataset, preset=preset, subset_size=len(squares)), path)


def aucs(frames: pd.DataFrame, column: str) -> dict[str, float]:
    """Return the AUC of single crops and, if there are enough videos, of the mean scores of videos.

    `frames`: columns video_id, label, and `column` with the scores.
    """
    videos = frames.groupby("video_id", observed=True)[["label", column]].mean()
    tables = {"frame AUC": frames}
    if (videos["label"] == REAL).sum() * (videos["label"] == FAKE).sum() >= MIN_VIDEO_PAIRS:
        tables["video AUC"] = videos
    return {
        name: measure(table["label"].to_numpy(), table[column].to_numpy(), clip=1e-7)["AUC"]
        for name, table in tables.items()
    }


def _record(frames: pd.DataFrame, run: Run, calibration_crops: int, network: str) -> Quantization:
    difference = (frames["float32"] - frames["int8"]).abs()
    return Quantization(
        network=network,
        run=str(run.root),
        calibration_crops=calibration_crops,
        crops=len(frames),
        videos=frames["video_id"].nunique(),
        float32_auc=aucs(frames, "float32"),
        int8_auc=aucs(frames, "int8"),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
    )


def _evenly(table: pd.DataFrame, count: int) -> pd.DataFrame:
    return table.iloc[evenly_spaced(len(table), count)]


def _squares(run: Run, crops: pd.DataFrame, recipe: Recipe) -> np.ndarray:
    keys = [FaceKey(*row) for row in crops[KEY_COLUMNS].itertuples(index=False, name=None)]
    return np.stack([fit_to_square(run.read_image(run.crop_path(key)), recipe) for key in keys])


def _scores(network: Path, precision: Precision, squares: np.ndarray) -> np.ndarray:
    return expit(CompiledNetwork(network, precision).in_batches(squares, CROPS_PER_BATCH)[0].astype(np.float64))
