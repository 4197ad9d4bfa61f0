"""The reference AutoAttack through our stages: the same numbers, and nothing global touched."""

import logging
import random

import numpy as np
import pyautoattack
import pytest
import torch
from torch import nn

from helpers.planted import cnn, digits, trained
from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import InMemorySource
from iaat.evaluate import attack_samples
from iaat.evaluate.autoattack import (
    LOGGER,
    ensemble,
    forwards,
    logged,
    reference_attack,
    reference_warnings,
    why_no_square,
)
from iaat.evaluate.stages import stages_of
from iaat.units import Radius

QUERIES = 100
RADII = {"linf": "40px", "l2": "0.7"}


@pytest.fixture(scope="module")
def model():
    (x, y), _ = digits()
    torch.manual_seed(0)
    return trained(cnn(), x, y, radius=40 / 255, epochs=3)


@pytest.fixture(scope="module")
def samples():
    _, (x, y) = digits()
    return x[:40], y[:40]


@pytest.fixture(autouse=True)
def _few_queries(monkeypatch):
    """Square with few queries on both sides; all else has the constants of the standard version."""
    init = pyautoattack.autoattack.SquareAttack.__init__

    def fewer(self, *args, **settings):
        init(self, *args, **settings)
        self.n_queries = QUERIES

    monkeypatch.setattr(pyautoattack.autoattack.SquareAttack, "__init__", fewer)
    monkeypatch.setattr(
        "iaat.evaluate.stages.reference_attack", lambda *a, **k: reference_attack(*a, **k, queries=QUERIES)
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("batch_size", [pytest.param(40, marks=pytest.mark.slow), 15])
def test_our_stages_break_the_samples_that_the_reference_evaluation_breaks(model, samples, norm, batch_size):
    x, y = samples
    config = EvaluateConfig(radius=Radius(RADII[norm]), norm=norm, seed=3)
    outcome = attack_samples(
        model,
        InMemorySource(x, y, [str(digit) for digit in range(10)]),
        torch.arange(len(x)),
        stages_of(("autoattack",), config, classes=10),
        radius=config.radius,
        norm=norm,
        batch_size=batch_size,
        seed=3,
    )
    with torch.random.fork_rng():
        suite = pyautoattack.AutoAttack(
            model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=float(config.radius), seed=3
        )
        suite.verbose = False
        if batch_size == 40:
            suite.square.n_queries = QUERIES
        else:
            suite.attacks_to_run, suite.square.n_queries = ["apgd-ce", "apgd-t", "fab-t", "square"], QUERIES
        x_adv, _ = suite.run_standard_evaluation(x, y, batch_size=batch_size)
    with torch.no_grad():
        robust = model(x_adv).argmax(1) == y
    assert 0 < int(robust.sum()) < int(outcome.correct_after("clean").sum())
    assert torch.equal(outcome.correct_after("autoattack"), robust)
    broken = outcome.correct_after("clean") & ~robust
    assert sum(record.outside for record in outcome.stages) == 0
    assert bool((outcome.perturbation_norm[broken] > 0).all())
    assert bool((outcome.adversarial[broken] != y[broken]).all())


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_are_attacked_by_the_fallback(classes):
    (x, y), (x_test, y_test) = digits(classes)
    torch.manual_seed(0)
    network = trained(cnn(classes), x, y, epochs=2)
    config = EvaluateConfig(radius=Radius("100px"))
    outcome = attack_samples(
        network,
        InMemorySource(x_test[:30], y_test[:30], [str(digit) for digit in range(classes)]),
        torch.arange(30),
        stages_of(("autoattack",), config, classes),
        radius=config.radius,
        norm="linf",
        batch_size=30,
        seed=0,
    )
    assert outcome.accuracy("autoattack") < outcome.accuracy("clean")
    assert sum(record.outside for record in outcome.stages) == 0


@pytest.mark.parametrize("attack", ["apgd-ce", "apgd-t", "fab-t", "square"])
def test_global_random_state_modes_and_gradients_are_left_alone(model, samples, attack):
    x, y = samples[0][:8], samples[1][:8]
    model.zero_grad(set_to_none=True)  # of its training, and of the reference called directly
    torch.manual_seed(7)
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    model.train()
    try:
        reference_attack(attack, model, x, y, radius=0.1, norm="linf", classes=10, seed=0, queries=20)
        assert all(module.training for module in model.modules())
    finally:
        model.eval()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002
    assert all(parameter.grad is None for parameter in model.parameters())


def test_equal_seeds_give_equal_examples(model, samples):
    x, y = samples[0][:16], samples[1][:16]
    settings = {"radius": 0.1, "norm": "linf", "classes": 10, "queries": 50}
    first, same, other = (reference_attack("square", model, x, y, seed=seed, **settings) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_its_own_warnings_are_collected_and_not_printed(model, samples, capfd):
    softmax = torch.nn.Sequential(model, torch.nn.Softmax(dim=1)).eval()
    assert reference_warnings(model, *samples) == []
    (message,) = reference_warnings(softmax, *samples)
    assert "probability distribution" in message
    with logged() as messages:
        logging.getLogger(LOGGER).warning("once")
        logging.getLogger(LOGGER).warning("once")
        logging.getLogger(LOGGER).info("quiet")
    assert messages == ["once"]
    assert capfd.readouterr() == ("", "")


class Pixel(torch.nn.Module):
    """Two classes by the first pixel."""

    def forward(self, x):
        first = x[:, 0, 0, 0]
        return torch.stack([first, 0.5 - first], dim=1)


def square_starts(shape, norm, shortcuts):
    """Whether the attack gets over its start and some queries on inputs of such a shape."""
    x = torch.full((2, *shape), 0.9)
    settings = {"radius": 0.1, "norm": norm, "classes": 2, "seed": 0, "queries": 3, "shortcuts": shortcuts}
    try:
        reference_attack("square", Pixel(), x, torch.zeros(2, dtype=torch.long), **settings)
    except (RuntimeError, ZeroDivisionError):
        return False
    return True


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_square_is_left_out_exactly_where_the_real_one_cannot_start(norm):
    sides = [*((side, side) for side in range(4, 65)), (22, 24), (24, 22), (32, 9), (9, 32), (33, 40), (3, 3), (1, 7)]
    refused = {side for side in sides if why_no_square((1, *side), norm)}
    for shortcuts in (False, True):
        assert refused == {side for side in sides if not square_starts((1, *side), norm, shortcuts)}
    square = {height for height, width in refused if height == width}
    assert square == (set() if norm == "linf" else {3, 4, 12, 14, 18, 19, 24})
    for side in sides:
        assert ("square" in ensemble(10, (1, *side), norm)) is (side not in refused)


@pytest.mark.parametrize("attack", ensemble(10))
def test_an_attack_takes_about_as_many_forwards_as_stated(attack):
    network, calls = nn.Sequential(nn.Flatten(), nn.Linear(48, 10)), 0
    with torch.no_grad():
        network[1].weight.mul_(0.01)
        network[1].bias[0] = 10  # which nothing within the radius can outdo

    def count(*_):
        nonlocal calls
        calls += 1

    network.register_forward_hook(count)
    x, y = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(2).long()
    reference_attack(attack, network, x, y, radius=8 / 255, norm="linf", classes=10, seed=0)
    assert 0.95 * forwards(attack, 10) <= calls <= forwards(attack, 10)
