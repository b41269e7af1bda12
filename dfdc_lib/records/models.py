"""Records of models: how a model is fed, how it was trained, and how good its int8 network is."""

from typing import Annotated, Literal

from pydantic import Field

from dfdc_lib.records.base import Record
from dfdc_lib.records.faces import DetectorSettings

FloatPrecision = Literal["float32", "bfloat16", "float16"]  # number format of a network's activations
Precision = Literal[FloatPrecision, "int8"]  # int8: a quantised network, see `classifier/quantize.py`


class Recipe(Record):
    """How crops are made and fed to a model. It is stored with the weights; a model never sees other crops."""

    detector: DetectorSettings = DetectorSettings()
    margin: float = 0.2
    edges: Literal["nearest", "winner"] = "nearest"  # of crops, in whole pixels; see crops.crop_area
    frames: Literal["shown", "opencv"] = "shown"  # as a player shows them, or as OpenCV reads them (winner)
    size: int  # pixels: the longer side is resized to it, then padded with black to a square
    interpolation_down: Literal["area", "linear"] = "area"
    interpolation_up: Literal["cubic", "linear"] = "cubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # ImageNet, RGB, of pixels in 0-1
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    precision: Precision = "float32"  # of scores: in validation, test and prediction, on every device


class Seen(Record):
    """The videos used to train a model, or those used to choose its checkpoint; stored in the model's `seen.csv`."""

    names: tuple[str, ...] = ()  # of identities, with their data set: "ffpp/youtube/183"; or of parts: "dfdc/part 12"
    contents: tuple[str, ...] = ()  # `VideoInfo.content` of every video
    shared: tuple[str, ...] = ()  # names that the folds did not keep out of the test videos; not in `names`
    tested: tuple[str, ...] = ()  # `VideoInfo.content` of the test videos, if there are shared names


class Calibration(Record):
    """How a model's video scores become probabilities: `calibrations/<model>.json`, written by notebook 08.

    The video score (mean of the frame scores) is limited to the range from `clip` to `1 - clip`, then its logit is
    divided by `temperature`. `videos`: number of labelled videos in the fit; `fakes`: number of fakes
    among them; `log_loss_after` is cross-validated over two halves of the originals.
    """

    temperature: Annotated[float, Field(gt=0)]
    clip: float
    videos: int
    role: str = "unknown"  # of the videos in the training of the model: "unseen"; "unknown" in files of kit 0.1
    fakes: int
    log_loss_before: float
    log_loss_after: float


class ModelCard(Record):
    """The description of a checkpoint: `models/<name>/model.json`, beside its weights."""

    name: str
    encoder: str  # timm name
    noise: bool = False  # SRM noise filters come first
    recipe: Recipe
    training: dict[str, int | float | str | bool] = {}
    metrics: dict[str, float] = {}  # validation, and test if measured
    data: str = ""  # the data set it was trained on
    run: str = ""  # name of the run folder it was trained in
    train_folds: tuple[int, ...] = ()
    validation_fold: int | None = None  # used to choose the checkpoint
    test_fold: int | None = None  # not used
    trained_on: Seen | None = None  # in a file of its own; None = unknown
    chosen_by: Seen | None = None  # videos that chose the checkpoint; likewise
    data_fingerprint: str = ""
    code_fingerprint: str = ""  # of the code that trained it
    commit: str = ""
    kit_version: str = ""
    calibration: Calibration | None = None  # stored in a file of its own


class Quantization(Record):
    """A model's int8 network, compared with its float32 network: `int8.json` beside the converted networks.

    Written by `dfdc quantize`. `largest_difference` and `mean_difference` are those of the scores of single crops.
    """

    network: str  # fingerprint of the int8 network
    run: str  # path of the run folder whose crops were used
    calibration_crops: int
    crops: int  # compared; not used in the calibration
    videos: int  # that these crops show
    float32_auc: dict[str, float]  # "frame AUC", and "video AUC" if there are enough videos
    int8_auc: dict[str, float]  # likewise
    largest_difference: float
    mean_difference: float
