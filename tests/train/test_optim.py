"""Learning rates against their closed forms, and SGD with the recipe's numbers."""

import math

import pytest
import torch
from torch import nn

from iaat.config.train_config import TrainConfig
from iaat.train.optim import build_optimizer, build_schedule

EPOCHS, STEPS = 10, 7
TOTAL = EPOCHS * STEPS


def course(config, steps=STEPS):
    """Learning rate and momentum used in each step of a training."""
    optimizer = build_optimizer(nn.Linear(2, 2), config)
    schedule = build_schedule(optimizer, config, steps)
    used = []
    for _ in range(config.epochs * steps):
        used.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        schedule.step()
    rates, momenta = zip(*used, strict=True)
    assert set(momenta) == {config.momentum}
    return rates


def cosine(start, end, fraction):
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def test_onecycle_peaks_at_30_percent_and_ends_near_0():
    rates = course(TrainConfig(epochs=EPOCHS, lr=0.2, schedule="onecycle", momentum=0.8))
    peak = 0.3 * TOTAL - 1
    expected = [
        cosine(0.2 / 25, 0.2, t / peak) if t <= peak else cosine(0.2, 0.2 / 25e4, (t - peak) / (TOTAL - 1 - peak))
        for t in range(TOTAL)
    ]
    assert rates == pytest.approx(expected)
    assert rates.index(max(rates)) == peak
    assert max(rates) == pytest.approx(0.2)
    assert rates[-1] == pytest.approx(0.2 / 25e4)


def test_cosine_falls_from_the_first_step_to_0():
    rates = course(TrainConfig(epochs=EPOCHS, lr=0.2, schedule="cosine"))
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * t / TOTAL)) for t in range(TOTAL)])


def test_multistep_drops_after_its_epochs_and_not_a_step_earlier():
    rates = course(TrainConfig(epochs=EPOCHS, lr=0.2, schedule="multistep", milestones=[3, 4, 9], lr_drop=0.5))
    by_epoch = [0.2] * 3 + [0.1] + [0.05] * 5 + [0.025]
    assert rates == pytest.approx([rate for rate in by_epoch for _ in range(STEPS)])


def test_constant_stays():
    assert set(course(TrainConfig(epochs=EPOCHS, lr=0.2, schedule="constant"))) == {0.2}


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "constant"])
def test_a_training_of_one_step_has_a_rate(schedule):
    (rate,) = course(TrainConfig(epochs=1, schedule=schedule), steps=1)
    assert 0.05 < rate <= 0.1


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_are_those_of_sgd_with_the_recipes_numbers(nesterov):
    config = TrainConfig(lr=0.1, momentum=0.8, weight_decay=0.01, nesterov=nesterov)
    model = nn.Linear(1, 1, bias=False)
    optimizer = build_optimizer(model, config)
    w, velocity = model.weight.item(), 0.0
    for slope in (3.0, -2.0, 0.5):
        optimizer.zero_grad()
        model.weight.grad = torch.tensor([[slope]])
        optimizer.step()
        gradient = slope + 0.01 * w
        velocity = 0.8 * velocity + gradient
        w -= 0.1 * (gradient + 0.8 * velocity if nesterov else velocity)
        assert model.weight.item() == pytest.approx(w, rel=1e-5)


def test_frozen_weights_are_not_in_the_optimizer():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    optimizer = build_optimizer(model, TrainConfig())
    optimised = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert optimised == {id(parameter) for parameter in model[1].parameters()}
