"""What training minimises and how it steps: the balanced loss, the optimizer, the learning rate over time.

Source: the slides (SGD, weight decay, label smoothing), the winner's code (Nesterov, PolyLR's power, loss balanced over real and fake).
Departs from the winner's code: PolyLR does not move when a progress bar asks for its rate.
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
    """Weigh real and fake alike: the mean of (mean cross-entropy over fakes, mean over reals), of the whole batch.

    Args:
        logits: (n,) of this process's share of the batch.
        targets: (n,) 1 = fake, 0 = real.
        processes: that share the batch.
    Returns:
        A scalar whose gradient, averaged over the processes, is that of the whole batch. A batch of one kind counts that kind alone.
    Source:
        The winner's code; label smoothing from the slides, as the winner did it: targets are clipped to 0.01…0.99.
    """
    each = F.binary_cross_entropy_with_logits(
        logits, targets.clamp(LABEL_SMOOTHING, 1 - LABEL_SMOOTHING), reduction="none"
    )
    total = logits.new_zeros(())
    kinds = 0
    for kind in (targets > 0.5, targets <= 0.5):
        count = sum_over_processes(kind.sum(), processes)
        if count:
            total = total + each[kind].sum() * processes / count
            kinds += 1
    return total / kinds


def sum_over_processes(value: torch.Tensor, processes: int) -> float:
    """Sum a scalar over the processes."""
    if processes > 1:
        value = value.clone().float()
        dist.all_reduce(value)
    return float(value)


def create_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Make the optimizer that the settings name, for all parameters that are trained."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, settings.learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
        )
    return torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=WEIGHT_DECAY)


def create_scheduler(optimizer: torch.optim.Optimizer, settings: TrainSettings) -> LRScheduler:
    """Fall from the learning rate to 0 over all iterations, by a polynomial; where asked, rise to it first."""
    total, warmup = settings.epochs * settings.iterations, settings.warmup_iterations
    falling = PolynomialLR(optimizer, total - warmup, power=POLY_POWER)
    if not warmup:
        return falling
    return SequentialLR(optimizer, [LinearLR(optimizer, 1 / warmup, total_iters=warmup), falling], [warmup])
