"""The loss, the optimizer and the schedule, by hand."""

import math

import pytest
import torch
from train_work import SETTINGS

from dfdc_lib.classifier import objective
from dfdc_lib.classifier.model import create_model
from dfdc_lib.classifier.presets import TrainSettings

ITERATIONS = SETTINGS.epochs * SETTINGS.iterations


# Loss -------------------------------------------------------------------------------------------------------------------------------
def cross_entropy(logit: float, target: float) -> float:
    score = 1 / (1 + math.exp(-logit))
    return -target * math.log(score) - (1 - target) * math.log(1 - score)


@pytest.mark.parametrize(
    ("logits", "targets", "expected"),
    [
        ([0.0], [1.0], math.log(2)),  # whatever the smoothing
        ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], math.log(2)),
        ([2.0], [1.0], cross_entropy(2, 0.99)),  # one kind alone counts alone
        ([2.0, -1.0], [0.0, 0.0], (cross_entropy(2, 0.01) + cross_entropy(-1, 0.01)) / 2),
        (  # one fake weighs as much as three reals
            [2.0, -1.0, 0.5, 3.0],
            [1.0, 0.0, 0.0, 0.0],
            (cross_entropy(2, 0.99) + (cross_entropy(-1, 0.01) + cross_entropy(0.5, 0.01) + cross_entropy(3, 0.01)) / 3)
            / 2,
        ),
    ],
)
def test_balanced_loss(logits: list[float], targets: list[float], expected: float) -> None:
    assert objective.balanced_loss(torch.tensor(logits), torch.tensor(targets)).item() == pytest.approx(
        expected, abs=1e-6
    )


def test_label_smoothing_pulls_back_a_score_beyond_99_percent() -> None:
    for score, sign in ((0.98, -1), (0.995, 1)):
        logit = torch.tensor([math.log(score / (1 - score))], requires_grad=True)
        objective.balanced_loss(logit, torch.ones(1)).backward()
        assert torch.sign(logit.grad).item() == sign


def test_balanced_loss_of_one_kind_has_a_gradient_for_every_logit() -> None:
    logits = torch.zeros(4, requires_grad=True)
    objective.balanced_loss(logits, torch.ones(4)).backward()
    assert logits.grad.tolist() == pytest.approx([(0.5 - 0.99) / 4] * 4)


def test_shares_of_two_processes_add_up_to_the_loss_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = torch.tensor([2.0, -1.0, 0.5, 3.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    whole = objective.balanced_loss(logits, targets)
    counts = iter([1, 3] * 2)  # fakes and reals of both shares, as all_reduce would say
    monkeypatch.setattr(objective, "sum_over_processes", lambda value, processes: next(counts))
    shares = [
        objective.balanced_loss(logits[part], targets[part], 2) for part in (slice(0, None, 2), slice(1, None, 2))
    ]
    assert torch.stack(shares).mean().item() == pytest.approx(whole.item(), abs=1e-6)


# Schedule ---------------------------------------------------------------------------------------------------------------------------
def rates(settings: TrainSettings) -> list[float]:
    model = torch.nn.Linear(1, 1)
    optimizer = objective.create_optimizer(model, settings)
    scheduler = objective.create_scheduler(optimizer, settings)
    found = [scheduler.get_last_lr()[0]]
    for _ in range(settings.epochs * settings.iterations):
        optimizer.step()
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return found


def test_the_rate_falls_to_0_by_a_polynomial() -> None:
    expected = [0.01 * (1 - step / ITERATIONS) ** 0.9 for step in range(ITERATIONS + 1)]
    assert rates(SETTINGS) == pytest.approx(expected, abs=1e-12)


def test_warmup_rises_first() -> None:
    found = rates(SETTINGS.model_copy(update={"warmup_iterations": 4}))
    assert found[:5] == pytest.approx([0.0025, 0.0043750, 0.00625, 0.008125, 0.01])
    assert found[4:] == pytest.approx([0.01 * (1 - step / 6) ** 0.9 for step in range(7)], abs=1e-12)


def test_sgd_is_that_of_the_slides_and_leaves_frozen_weights_out() -> None:
    model = create_model("test_efficientnet", pretrained=False)
    optimizer = objective.create_optimizer(model, SETTINGS)
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, torch.optim.SGD)
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.01, 0.9, 1e-4, True)
    assert len(group["params"]) == len(list(model.parameters())) - 2  # the encoder's own classifier
    assert isinstance(
        objective.create_optimizer(model, SETTINGS.model_copy(update={"optimizer": "adamw"})), torch.optim.AdamW
    )
