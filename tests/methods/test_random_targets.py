"""Training on random targets: the class that an attack leads to, and the path to it by a plain loop."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from iaat.attacks import pgd
from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.methods import IAATConfig, NFGSMConfig, PGDATConfig, robust_at
from iaat.methods.random_targets import draw_targets, target_classes
from iaat.methods.training_attacks import attacker_of
from iaat.runtime.rng import batch_generator
from iaat.units import Radius
from methods.settings import SIZE, STEPS, build, context, digits, half_learned, network, visited

CLASSES = 10


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_every_other_class_is_as_likely_and_the_label_never_is(classes):
    y = torch.arange(classes).repeat_interleave(4 * (classes - 1))
    draws = ((torch.arange(4 * (classes - 1)) + 0.5) / (4 * (classes - 1))).repeat(classes)
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    counts.index_put_((y, target_classes(y, draws, classes)), torch.tensor(1), accumulate=True)
    assert torch.equal(counts, 4 * (1 - torch.eye(classes, dtype=torch.int64)))


def test_the_largest_draw_does_not_lead_back_to_the_label():
    for classes in range(2, 3000):
        y = torch.tensor([0, classes - 1])
        found = target_classes(y, torch.full((2,), 1 - 2.0**-24), classes)
        assert found.tolist() == [classes - 1, classes - 2]


def test_draws_are_uniform_over_the_other_classes():
    y = torch.full((9000,), 3)
    draws = attacker_of(PGDATConfig(target="random")).random_targets(y, context().generator)
    found = target_classes(y, draws, CLASSES)
    counts = torch.bincount(found, minlength=CLASSES)
    assert counts[3] == 0
    expected = 1000
    chi2 = ((counts[counts > 0] - expected).double() ** 2 / expected).sum()
    assert chi2 < 26.1  # 99.9 % of chi-squared with 8 degrees of freedom


def test_processes_that_share_a_batch_draw_its_targets():
    y, rows = torch.arange(9), torch.tensor([2, 3, 4])
    whole = draw_targets(y, batch_generator(0))
    generator = batch_generator(0)
    with generator.drawing_rows(rows, 9):
        assert torch.equal(draw_targets(y[rows], generator), whole[rows])


def led(model, x, y, u, start, radius, steps):
    """One input led to the class that `u` draws, by plain steps down the cross-entropy to it."""
    others = [*range(y + 1, CLASSES), *range(y)]
    target, step = torch.tensor([others[int(u * len(others))]]), max(2 * radius / max(steps, 1), 2 / 255)
    x_adv = (x + (2 * start - 1) * radius).clamp(0, 1)
    for _ in range(steps):
        leaf = x_adv[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), target), leaf)
        x_adv = torch.minimum(torch.maximum(x_adv - step * gradient[0].sign(), x - radius), x + radius).clamp(0, 1)
    return x_adv


@pytest.mark.parametrize("name", ["pgd_at, random targets", "iaat"])
def test_the_attack_is_the_plain_loop(name):
    batch = digits(dtype=torch.float64)
    model = half_learned(batch, torch.float64)
    before = deepcopy(model).eval()
    method = visited(name, target="random", radius=Radius("9px"))
    inputs = []
    handle = model.register_forward_pre_hook(lambda _module, given: inputs.append(given[0].detach().clone()))
    method.prepare(model, batch, context())(model)
    handle.remove()  # the training forward has moved the statistics

    generator = context().generator
    draws = torch.rand(SIZE, generator=generator)
    starts = torch.rand(batch.x.shape, generator=generator, dtype=torch.float64)
    radii = torch.full((SIZE,), 9 / 255) if method.radii is None else method.radii.values
    steps = [STEPS if method.radii is None else min(STEPS, -(-STEPS * n // 27)) for n in range(SIZE)]  # radius n/3 px
    rows = zip(batch.x, batch.y.tolist(), draws.tolist(), starts, radii.double(), steps, strict=True)
    expected = torch.stack([led(before, *row) for row in rows])
    torch.testing.assert_close(inputs[-1], expected, rtol=0, atol=1e-6)
    assert len(set(steps)) == (1 if method.radii is None else STEPS + 1)


def test_targets_are_drawn_anew_at_each_attack_and_nothing_is_drawn_without():
    y, ours, other = digits().y, context().generator, context().generator
    attacker = attacker_of(PGDATConfig(target="random"))
    assert not torch.equal(attacker.random_targets(y, ours), attacker.random_targets(y, ours))
    assert attacker_of(PGDATConfig()).random_targets(y, other) is None
    assert torch.equal(other.get_state(), context().generator.get_state())


def test_it_is_the_weaker_attack_and_raises_the_probability_of_the_target():
    batch = digits()
    model = half_learned(batch)
    radius, options = Radius("40px"), {"radius": Radius("40px"), "steps": 10}
    random, anywhere = (
        build("pgd_at", **options, target=target).attacker.attack(model, batch, radius, context().generator)
        for target in ("random", "none")
    )
    model.eval()
    correct = [(model(x).argmax(1) == batch.y).sum() for x in (batch.x, random, anywhere)]
    assert correct[0] > correct[1] > correct[2]
    goal = target_classes(batch.y, torch.rand(SIZE, generator=context().generator), CLASSES)
    before, after = (model(x).softmax(1)[torch.arange(SIZE), goal] for x in (batch.x, random))
    assert (after > before).float().mean() > 0.9
    assert ((random - batch.x).abs() <= float(radius) + 1e-6).all()


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_attacks_that_decide_nothing_are_left_out_and_change_nothing(monkeypatch, mode):
    batch = digits()
    model = half_learned(batch)
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    outcomes = []
    for mixes in (robust_at.mixes_samples, lambda *_: True):
        monkeypatch.setattr(robust_at, "mixes_samples", mixes)
        method = visited("iaat_paper, random targets", mode=mode, gamma=Radius("12px"), beta=1.0)
        outcomes.append((method.step(deepcopy(model), batch, context()).loss, method.radii.values))
    assert torch.equal(outcomes[0][1], outcomes[1][1])
    assert torch.equal(outcomes[0][0], outcomes[1][0])
    before = visited("iaat_paper, random targets").radii.values
    assert min((outcomes[0][1] > before).sum(), (outcomes[0][1] < before).sum()) >= 3


@pytest.mark.parametrize("config", [PGDATConfig, IAATConfig])
def test_a_single_step_has_no_target(config):
    with pytest.raises(UserError, match=r"method\.target = random.*inner nfgsm has no target"):
        config(target="random", inner="nfgsm")
    with pytest.raises(UserError, match=r"method\.target = random"):
        NFGSMConfig(target="random")
    with pytest.raises(UserError, match=r"method\.target 'randm'.*'random'"):
        config(target="randm")


@pytest.mark.parametrize("method", ["trades", "mart", "iaat_trades", "mma", "fat", "cat", "natural"])
def test_methods_with_a_goal_of_their_own_have_no_target(method):
    with pytest.raises(UserError, match=r"--method\.target"):
        load_recipe("quickstart", ["--method", method, "--method.target", "random"])


def test_the_number_of_classes_costs_no_forward():
    model = network().eval()
    calls = []
    model.register_forward_hook(lambda _module, _inputs, output: calls.append(len(output)))
    batch = digits()
    build("pgd_at, random targets").attacker.attack(model, batch, 0.1, context().generator)
    random, calls[:] = [*calls], []
    pgd(model, batch.x, batch.y, radius=0.1, steps=STEPS)
    assert random == calls
