"""How scores are computed: the engine, where faces are found, and the precision, which is part of a model's recipe."""

from typing import Literal, NamedTuple, get_args

from dfdc_lib.backends.choice import Engine
from dfdc_lib.records import Precision, Recipe


class Computation(NamedTuple):
    """The engine, the processes and the precision with which faces are found and scored.

    float32 is the default because it alone keeps every score within 0.01: OpenVINO's float32 scores differ from
    PyTorch's by less than 1e-4, those of bfloat16 by up to 0.17 (EfficientNet-Lite0, 200 crops of FaceForensics++).
    `engine`: runs the networks; `workers`: processes that find faces, 0 = one per core; `precision`: "" = the recipe's;
    `executor`: where faces are found, see `executors.choose_task_runner`.
    """

    engine: Engine = Engine()
    workers: int = 0  # processes that find faces; 0 = one per core
    precision: Precision | Literal[""] = ""  # of the scores; "" = that of each model's recipe
    executor: str = "processes"  # inline, processes, or tcp://<scheduler>:<port>


def scoring_recipe(recipe: Recipe, computation: Computation) -> Recipe:
    """Return a copy of a recipe with `computation.precision`; "" keeps the recipe's, an unknown one is a ValueError."""
    if computation.precision not in ("", *get_args(Precision)):
        known = ", ".join(get_args(Precision))
        raise ValueError(f"PRECISION must be one of {known}, or empty, got {computation.precision!r}")
    return recipe.model_copy(update={"precision": computation.precision or recipe.precision})
