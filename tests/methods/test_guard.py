"""The guard against planted models: one on which PGD always succeeds and a single step never, and honest ones."""

import io

import pytest
import torch
from torch import nn

from iaat.methods import METHODS, InnerConfig, StepContext
from iaat.methods.guard import Guard, GuardCheck, _compare
from iaat.runtime.passes import count_passes
from iaat.types import Batch
from iaat.units import Radius

RADIUS, STEPS = 0.1, 3
SINGLE = {"inner": "nfgsm", "radius": Radius(RADIUS), "steps": STEPS}
METHODS_UNDER_GUARD = [name for name, method in METHODS.items() if issubclass(method.Config, InnerConfig)]

every_method = pytest.mark.parametrize("name", METHODS_UNDER_GUARD)


class Crooked(nn.Module):
    """Correct everywhere but in a band that a step of the radius leaps over and smaller ones fall into.

    Of the first number its samples have 0.4. They are misclassified from 0.2 to 0.8 radii above
    that, where their loss peaks. With the switch off, only beyond 3 radii. The weight keeps it
    trainable, the norm shows whether anything moved.
    """

    def __init__(self, overfitted=True):
        super().__init__()
        self.norm = nn.BatchNorm1d(2, affine=False)
        self.weight = nn.Parameter(torch.tensor(10.0))
        self.overfitted = overfitted

    def forward(self, x):
        self.norm(x)
        away = (x[:, 0] - 0.4) / RADIUS
        score = (away - 0.5).abs() - 0.3 if self.overfitted else 3 - away
        return torch.stack([self.weight * score, -self.weight * score], dim=1)


def batch(n=128):
    return Batch(torch.tensor([[0.4, 0.5]]).repeat(n, 1), torch.zeros(n, dtype=torch.int64), torch.arange(n))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def build(name="pgd_at", size=128, **options):
    cls = METHODS[name]
    return cls(cls.Config(**{**SINGLE, **options}).over(10), size=size, device="cpu")


def step(method, model, data):
    with count_passes(model) as passes:
        method.step(model, data, StepContext(epoch=0, generator=generator())).loss.backward()
    return passes.forward / len(data.y), passes.backward / len(data.y)


@every_method
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_overfitting_is_noticed_mended_by_pgd_and_forgotten_when_it_has_gone(name, noise):
    method, model, data = build(name, noise=noise), Crooked().train(), batch()
    guard, cost = method.guard, method.cost(0)
    mending = (cost.forward + STEPS - 1, cost.backward + STEPS - 1)
    assert step(method, model, data) == (cost.forward, cost.backward)

    check = guard.check(model, data, generator())
    assert check.single > 0.6
    assert check.strong == 0
    assert guard.backed_off
    assert f"single-step {check.single:.1%}, PGD-10 0.0% on validation samples" in check.news
    assert step(method, model, data) == mending

    assert guard.check(model, data, generator()).news is None  # said once
    assert guard.backed_off

    model.overfitted = False
    assert "has gone" in guard.check(model, data, generator()).news
    assert not guard.backed_off
    assert step(method, model, data) == (cost.forward, cost.backward)
    assert guard.check(model, data, generator()).news is None


def test_an_honest_network_is_left_alone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.rand(128, 20, generator=generator())
    data = Batch(x, model(x).argmax(1), torch.arange(128))
    guard = build(radius=Radius(0.1)).guard
    check = guard.check(model, data, generator())
    assert 0.1 < check.strong < 0.9
    assert check.gap < 0.5
    assert check.news is None
    assert not guard.backed_off


@pytest.mark.parametrize(
    ("single_only", "both", "strong_only", "n", "fires"),
    [
        pytest.param(0, 40, 0, 128, False, id="PGD takes nothing"),
        pytest.param(0, 40, 40, 128, False, id="PGD is the weaker attack"),
        pytest.param(20, 30, 0, 128, False, id="PGD takes two fifths, as of honest networks at large radii"),
        pytest.param(72, 28, 0, 128, False, id="a fraction just above the limit may be chance"),
        pytest.param(95, 15, 0, 128, True, id="surely above"),
        pytest.param(14, 0, 0, 128, True, id="what little there is goes to nothing"),
        pytest.param(5, 0, 0, 128, False, id="too few to decide"),
        pytest.param(13, 0, 13, 128, False, id="chance under both"),
        pytest.param(4, 0, 0, 20, False, id="few samples prove little"),
        pytest.param(12, 0, 0, 20, True, id="few samples, but most of them"),
        pytest.param(0, 0, 0, 20, False, id="nothing correct under either"),
    ],
)
def test_it_fires_where_pgd_surely_takes_more_than_the_limit(single_only, both, strong_only, n, fires):
    single, strong = torch.zeros(n, dtype=torch.bool), torch.zeros(n, dtype=torch.bool)
    single[: single_only + both] = True
    strong[single_only : single_only + both + strong_only] = True
    check = _compare(single, strong)
    excess = 0.3 * single.double() - strong.double()
    assert check.surely_above(0.7) == bool(excess.mean() > 3 * excess.std(correction=0) / n**0.5)
    guard = build().guard
    guard._decide(check)
    assert guard.backed_off == fires


def test_the_gap_is_the_fraction_that_pgd_takes_away():
    assert GuardCheck(0.5, 0.1, 0.1, 128).gap == pytest.approx(0.8)
    assert GuardCheck(0.2, 0.3, 0.2, 128).gap == pytest.approx(-0.5)
    assert GuardCheck(0.0, 0.0, 0.0, 128).gap == 0


def test_it_returns_only_below_three_quarters_of_the_limit():
    guard = build(guard_gap=0.8).guard
    for gap, backed_off in ((0.79, False), (0.9, True), (0.75, True), (0.61, True), (0.59, False), (0.75, False)):
        guard._decide(GuardCheck(single=0.5, strong=0.5 * (1 - gap), both=0.5 * (1 - gap), samples=10_000))
        assert guard.backed_off == backed_off, gap


@pytest.mark.parametrize("accuracy", [0.1, 0.3, 0.9])
@pytest.mark.parametrize("taken", [0.0, 0.3, 0.45])
def test_an_honest_gap_does_not_fire_by_chance(accuracy, taken):
    """Of many checks of 128 samples, of which PGD takes up to what it takes of honest networks, hardly one."""
    draws = torch.rand(20_000, 128, generator=generator())
    single, strong = draws < accuracy, draws < accuracy * (1 - taken)
    excess = 0.3 * single.float() - strong.float()
    fired = excess.mean(1) > 3 * excess.std(1, correction=0) / 128**0.5
    assert fired.float().mean() < 1e-3


def test_a_check_leaves_the_network_as_it_was_and_costs_what_it_says():
    model, data = Crooked().train(), batch(64)
    model.norm.eval()  # frozen by its owner
    model.weight.grad = torch.tensor(3.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    global_state = torch.get_rng_state()
    with count_passes(model) as passes:
        build().guard.check(model, data, generator())
    assert (passes.forward / 64, passes.backward / 64) == (13, 11)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.weight.grad == 3
    assert model.weight.requires_grad
    assert (model.training, model.norm.training) == (True, False)
    assert torch.equal(torch.get_rng_state(), global_state)


def test_checks_with_one_seed_agree():
    model, data = Crooked(), batch()
    assert len({build().guard.check(model, data, generator(seed)).single for seed in (0, 0, 1)}) == 2


@every_method
def test_what_the_guard_has_noticed_is_saved(name):
    method = build(name)
    method.guard.check(Crooked(), batch(), generator())
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    resumed = build(name)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.guard.backed_off


@every_method
@pytest.mark.parametrize(
    ("options", "guarded"), [({}, True), ({"inner": "pgd"}, False), ({"guard_every": 0}, False)], ids=str
)
def test_only_single_step_training_has_a_guard_and_can_do_without(name, options, guarded):
    method = build(name, **options)
    assert isinstance(method.guard, Guard) == guarded
    assert ("guard" in method.state_dict()) == guarded


def test_the_methods_of_one_step_are_under_guard():
    assert {"pgd_at", "nfgsm", "iaat", "iaat_paper", "vpb", "gradnorm"} <= set(METHODS_UNDER_GUARD)
    assert METHODS["nfgsm"](METHODS["nfgsm"].Config(), size=1, device="cpu").guard is not None


def test_checks_are_due_every_so_many_steps():
    guard = build(guard_every=3).guard
    assert [step for step in range(1, 10) if guard.due(step)] == [3, 6, 9]
