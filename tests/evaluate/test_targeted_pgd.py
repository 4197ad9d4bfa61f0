"""The evaluation's PGD on random targets: what it is called, what it does, and that nothing else changes."""

import pytest
import torch
from torch import nn

from helpers.planted import cnn, digits, trained
from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import InMemorySource
from iaat.errors import UserError
from iaat.evaluate import attack_samples
from iaat.evaluate.evaluation_findings import gap
from iaat.evaluate.naming import evaluation_name, pgd_name
from iaat.evaluate.stages import pgd_stage, stages_of
from iaat.runtime import rng
from iaat.types import Batch
from iaat.units import Radius

CLASSES, STEPS = 10, 7


def config(**settings):
    return EvaluateConfig(**{"steps": STEPS, "radius": Radius("30px"), "target": "random", **settings})


@pytest.fixture(scope="module")
def evaluated():
    (x, y), (x_test, y_test) = digits()
    torch.manual_seed(0)
    return trained(cnn(), x, y, radius=0.0, epochs=3, seed=0).eval(), x_test[:60], y_test[:60]


def found(network, x, y, words=("pgd",), classes=CLASSES, **settings):
    chosen = config(**settings)
    source = InMemorySource(x, y, tuple(map(str, range(classes))), complete=False)
    place = {"radius": chosen.radius, "norm": chosen.norm, "batch_size": 16, "seed": 0}
    return attack_samples(network, source, torch.arange(len(y)), stages_of(words, chosen, classes), **place)


def test_it_has_a_name_of_its_own_and_the_others_keep_theirs():
    assert pgd_name(config()) == "targeted-pgd-7"
    assert evaluation_name(config()) == "quick targeted-PGD-7 30px linf"
    names = [stage.name for stage in stages_of(("pgd", "pgd-7", "deepfool"), config(), CLASSES)]
    assert names == ["targeted-pgd-7", "pgd-7", "deepfool"]


def test_restarts_and_unknown_targets_are_refused():
    with pytest.raises(UserError, match=r"evaluate\.restarts = 3.*add pgd-7x3 to evaluate\.suite"):
        config(restarts=3)
    with pytest.raises(UserError, match=r"evaluate\.target is .rand., which should be 'none' or 'random'"):
        config(target="rand")


def led(network, x, target, start, radius, steps):
    """One input led to its target by plain steps; once there it stays."""
    x_adv = (x + (2 * start - 1) * radius).clamp(0, 1)
    for _ in range(steps):
        leaf = x_adv[None].clone().requires_grad_()
        logits = network(leaf)
        if logits.argmax() == target:
            break
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, target[None]), leaf)
        step = 2.5 * radius / steps
        x_adv = torch.minimum(torch.maximum(x_adv - step * gradient[0].sign(), x - radius), x + radius).clamp(0, 1)
    return x_adv


def test_it_is_the_plain_loop():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.Tanh(), nn.Linear(20, CLASSES)).double().eval()
    x, y = torch.rand(40, 1, 8, 8, dtype=torch.float64), torch.arange(40) % CLASSES
    found = pgd_stage(config()).run(network, Batch(x, y, torch.arange(40)), rng.generator(3))

    generator = rng.generator(3)
    ahead = torch.randint(1, CLASSES, (40,), generator=generator)
    start = torch.rand(x.shape, generator=generator, dtype=torch.float64)
    radius = float(Radius("30px"))
    expected = [
        led(network, *row, radius, STEPS)
        for row in zip(x, torch.tensor([(c + a) % CLASSES for c, a in zip(y, ahead, strict=True)]), start, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-9)
    assert 5 < (network(found).argmax(1) == (y + ahead) % CLASSES).sum() < 40


class Line(nn.Module):
    """Two classes that part at the middle of the mean pixel."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(10.0))

    def forward(self, x):
        score = self.slope * (x.flatten(1).mean(dim=1) - 0.5)
        return torch.stack([torch.zeros_like(score), score], dim=1)


@pytest.mark.parametrize("px", [5, 15, 30])
def test_of_two_classes_the_target_is_the_other_one(px):
    distance = torch.tensor([-40, -20, -10, -2, 2, 10, 20, 40]) / 255
    x = (0.5 + distance)[:, None, None, None].expand(8, 1, 2, 2).clone()
    outcome = found(Line(), x, (distance > 0).long(), classes=2, radius=Radius(f"{px}px"), steps=20)
    assert outcome.accuracy("clean") == 1
    assert outcome.accuracy("targeted-pgd-20") == (distance.abs() > px / 255).float().mean()


def test_it_is_weaker_than_pgd_and_no_finding_is_made_of_that(evaluated):
    targeted = found(*evaluated, ("pgd", "pgd-7"))
    clean, random, both = (targeted.accuracy(name) for name in ("clean", "targeted-pgd-7", "pgd-7"))
    assert clean > random > both
    assert gap(targeted) is None
    assert gap(found(*evaluated, ("pgd", "deepfool"), target="none")) is not None
    assert sum(record.outside for record in targeted.stages) == 0
