import math

import pytest
import torch
from train_work import SETTINGS

from dfdc_lib.classifier import objective
from dfdc_lib.classifier.model import create_model
from dfdc_lib.classifier.presets import TrainSettings

ITERATIONS = SETTINGS.epochs * SETTINGS.iterations
REALS = [2.0, -1.0, 0.5]  # logits


def cross_entropy(logit: float, target: float) -> float:
    score = 1 / (1 + math.exp(-logit))
    return -target * math.log(score) - (1 - target) * math.log(1 - score)


MEAN_OF_REALS = sum(cross_entropy(logit, 0.01) for logit in REALS) / 3


@pytest.mark.parametrize(
    ("logits", "targets", "expected"),
    [
        ([0.0], [1.0], math.log(2)),  # whatever the smoothing
        ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], math.log(2)),
        ([2.0], [1.0], cross_entropy(2, 0.99)),  # a single class
        (REALS, [0.0, 0.0, 0.0], MEAN_OF_REALS),
        ([*REALS, 3.0], [0.0, 0.0, 0.0, 1.0], (cross_entropy(3, 0.99) + MEAN_OF_REALS) / 2),  # 1 fake weighs as 3 reals
    ],
)
def test_balanced_loss(logits: list[float], targets: list[float], expected: float) -> None:
    loss = objective.balanced_loss(torch.tensor(logits), torch.tensor(targets))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_gradients_reach_every_logit_and_pull_back_a_score_beyond_99_percent() -> None:
    for score, sign in ((0.98, -1), (0.995, 1)):
        logit = torch.tensor([math.log(score / (1 - score))], requires_grad=True)
        objective.balanced_loss(logit, torch.ones(1)).backward()
        assert torch.sign(logit.grad).item() == sign
    logits = torch.zeros(4, requires_grad=True)
    objective.balanced_loss(logits, torch.ones(4)).backward()
    assert logits.grad.tolist() == pytest.approx([(0.5 - 0.99) / 4] * 4)


def test_shares_of_two_processes_add_up_to_the_loss_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = torch.tensor([*REALS, 3.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    whole = objective.balanced_loss(logits, targets)
    counts = iter([1, 3] * 2)  # fakes and reals of both shares, as all_reduce returns them
    monkeypatch.setattr(objective, "sum_over_processes", lambda value, processes: next(counts))
    shares = [objective.balanced_loss(logits[start::2], targets[start::2], 2) for start in (0, 1)]
    assert torch.stack(shares).mean().item() == pytest.approx(whole.item(), abs=1e-6)


def learning_rates(settings: TrainSettings) -> list[float]:
    optimizer = objective.create_optimizer(torch.nn.Linear(1, 1), settings)
    scheduler = objective.create_scheduler(optimizer, settings)
    rates = [scheduler.get_last_lr()[0]]
    for _ in range(ITERATIONS):
        optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return rates


def test_the_rate_falls_to_0_by_a_polynomial_after_the_warmup() -> None:
    expected = [0.01 * (1 - step / ITERATIONS) ** 0.9 for step in range(ITERATIONS + 1)]
    assert learning_rates(SETTINGS) == pytest.approx(expected, abs=1e-12)
    rates = learning_rates(SETTINGS.model_copy(update={"warmup_iterations": 4}))
    assert rates[:5] == pytest.approx([0.0025, 0.0043750, 0.00625, 0.008125, 0.01])
    assert rates[4:] == pytest.approx([0.01 * (1 - step / 6) ** 0.9 for step in range(7)], abs=1e-12)
    for warmup in (ITERATIONS, 2 * ITERATIONS):  # a training that is no longer than its warm-up
        rates = learning_rates(SETTINGS.model_copy(update={"warmup_iterations": warmup}))
        expected = [0.01 * (1 + (warmup - 1) * step / warmup) / warmup for step in range(ITERATIONS)]
        assert rates[:ITERATIONS] == pytest.approx(expected)


def test_optimizers_skip_frozen_weights() -> None:
    model = create_model("test_efficientnet", pretrained=False)
    optimizer = objective.create_optimizer(model, SETTINGS)
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.SGD)
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.01, 0.9, 1e-4, True)
    assert len(group["params"]) == len(list(model.parameters())) - 2  # the encoder's classifier
    adamw = objective.create_optimizer(model, SETTINGS.model_copy(update={"optimizer": "adamw"}))
    assert isinstance(adamw, torch.optim.AdamW)
