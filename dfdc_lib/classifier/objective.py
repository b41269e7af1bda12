"""The training objective: balanced loss, optimizer and learning-rate schedule.

Source: the slides (SGD, weight decay, label smoothing); the winner's code (Nesterov momentum, power of the polynomial
schedule, loss balanced over real and fake).
Departs from the winner's code: the schedule does not advance when a progress bar reads the learning rate.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LinearLR, LRScheduler, PolynomialLR, SequentialLR

from dfdc_lib.classifier.presets import TrainSettings

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4  # slides
POLY_POWER = 0.9  # winner
LABEL_SMOOTHING = 0.01  # slides


def balanced_loss(logits: torch.Tensor, targets: torch.Tensor, processes: int = 1) -> torch.Tensor:
    """Return the balanced cross-entropy of a batch: the mean over fakes plus the mean over reals, divided by 2.

    `logits`, `targets`: (n,) each, targets 1 = fake, 0 = real. If the batch has a single class, the loss is the mean
    over that class. Targets are clipped to 0.01-0.99 (label smoothing), as in the winner's code.
    With several processes, each must call this with its part of the batch. The average of their losses is the loss of
    the whole batch; the same holds for the gradients.
    """
    smoothed = targets.clamp(LABEL_SMOOTHING, 1 - LABEL_SMOOTHING)
    each = F.binary_cross_entropy_with_logits(logits, smoothed, reduction="none")
    total, classes = logits.new_zeros(()), 0
    for of_class in (targets > 0.5, targets <= 0.5):
        count = sum_over_processes(of_class.sum(), processes)
        if count:
            total = total + each[of_class].sum() * processes / count
            classes += 1
    return total / classes


def sum_over_processes(value: torch.Tensor, processes: int) -> float:
    """Return the sum of a scalar tensor over all processes; block until each has called this."""
    if processes > 1:
        value = value.clone().float()
        dist.all_reduce(value)
    return float(value)


def create_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum or AdamW, as the settings say, over all parameters that require gradients."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate = settings.learning_rate
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, rate, weight_decay=WEIGHT_DECAY)
    return torch.optim.SGD(parameters, rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)


def create_scheduler(optimizer: torch.optim.Optimizer, settings: TrainSettings) -> LRScheduler:
    """Return a schedule of the learning rate, to be stepped once per iteration.

    After a linear warm-up of `warmup_iterations`, if any, the rate falls to 0 at the last iteration, by a polynomial of
    power 0.9. If the training is no longer than the warm-up, it ends before the rate falls.
    """
    total, warmup = settings.epochs * settings.iterations, settings.warmup_iterations
    falling = PolynomialLR(optimizer, max(1, total - warmup), power=POLY_POWER)
    if not warmup:
        return falling
    return SequentialLR(optimizer, [LinearLR(optimizer, 1 / warmup, total_iters=warmup), falling], [warmup])
