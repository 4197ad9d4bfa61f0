"""Vulnerability-aware budgets: radii against a slow loop over samples, a closed form, and bounds over drawn margins."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from iaat.errors import UserError
from iaat.methods import VPB, StepContext, VPBConfig
from iaat.runtime.passes import count_passes
from iaat.types import Batch
from iaat.units import Radius

RADIUS = Radius("16px")


def context(epoch=0):
    return StepContext(epoch=epoch, generator=torch.Generator().manual_seed(0))


def build(**options):
    return VPB(VPBConfig(**{"radius": RADIUS, "steps": 2, **options}), size=16, device="cpu")


def network(seed=0, dropout=0.0):
    """Sure of some samples and not of others, with BatchNorm and, if asked for, dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        linear = nn.Linear(6, 4)
        linear.weight.data *= 8
        model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(dropout), linear).double()
        model(torch.rand(32, 6, dtype=torch.float64))  # running statistics unlike those of the batch
        return model


def batch(n=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 6, dtype=torch.float64, generator=generator)
    return Batch(x, torch.randint(4, (n,), generator=generator), torch.arange(n))


def slow_radius(logits, label, alpha):
    """One sample in Python's floats, from the rule alone."""
    top = max(logits)
    odds = [math.exp(logit - top) for logit in logits]
    chances = [each / sum(odds) for each in odds]
    others = [chance for k, chance in enumerate(chances) if k != label]
    return float(RADIUS) * math.exp(alpha * (chances[label] - max(others)))


@pytest.mark.parametrize("alpha", [0.0, 0.52, 2.0])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_radii_are_those_of_a_slow_loop(alpha, norm):
    model, data = network(dropout=0.5).train(), batch()
    radius = build(alpha=alpha, norm=norm).radii_of(model, data, context())
    with torch.no_grad():
        logits = network().eval()(data.x).tolist()
    expected = [slow_radius(row, label, alpha) for row, label in zip(logits, data.y.tolist(), strict=True)]
    assert radius.tolist() == pytest.approx(expected, rel=1e-6)
    if alpha:
        assert radius.min() < RADIUS < radius.max()


def test_the_model_is_evaluated_in_the_mode_of_the_attack():
    data = batch()
    radius = {mode: build(mode=mode).radii_of(network().train(), data, context()) for mode in ("eval", "batch")}
    normalised = (data.x - data.x.mean(0)) / (data.x.var(0, correction=0) + 1e-5).sqrt()
    logits = network()[2](normalised).tolist()
    expected = [slow_radius(row, label, 0.52) for row, label in zip(logits, data.y.tolist(), strict=True)]
    assert radius["batch"].tolist() == pytest.approx(expected, rel=1e-6)
    assert not torch.allclose(radius["eval"], radius["batch"], rtol=1e-2)


def test_two_classes_have_the_closed_form():
    """With logits (s, -s) the margin is tanh(s)."""
    score = torch.tensor([-30.0, -1.0, -0.2, 0.0, 0.5, 3.0, 30.0])
    data = Batch(score[:, None], torch.zeros(7, dtype=torch.int64), torch.arange(7))

    class Opposed(nn.Module):
        def forward(self, x):
            return torch.cat([x, -x], dim=1)

    radius = build(alpha=0.52).radii_of(Opposed(), data, context())
    torch.testing.assert_close(radius, float(RADIUS) * torch.exp(0.52 * torch.tanh(score)))


@given(
    logits=st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=1, max_size=8),
    alpha=st.floats(0, 2),
)
def test_radii_stay_between_exp_of_minus_alpha_and_of_alpha(logits, alpha):
    x = torch.tensor(logits)
    data = Batch(x, torch.zeros(len(x), dtype=torch.int64), torch.arange(len(x)))
    config = VPBConfig(radius=RADIUS, alpha=alpha)
    radius = VPB(config, size=8, device="cpu").radii_of(nn.Identity(), data, context())
    assert bool((radius <= float(RADIUS) * math.exp(alpha) * (1 + 1e-6)).all())
    assert bool((radius >= float(RADIUS) * math.exp(-alpha) * (1 - 1e-6)).all())
    # What is more likely correct has the larger radius.
    lead = x.double().softmax(1)
    lead = lead[:, 0] - lead[:, 1:].amax(1)
    assert bool((radius[lead.argsort()].diff() >= -1e-8).all())


def test_logits_that_are_no_numbers_leave_the_sample_clean():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 4).double()

        def forward(self, x):
            return self.linear(x) * torch.where(torch.arange(len(x)) == 0, torch.nan, 1.0)[:, None]

    data, seen = batch(), []
    model = Broken()
    model.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach().clone()))
    build().step(model, data, context())
    assert torch.equal(seen[-1][0], data.x[0])
    assert not (seen[-1][1:] == data.x[1:]).flatten(1).all(1).any()


@pytest.mark.parametrize(("inner", "passes"), [("pgd", (4, 3)), ("nfgsm", (3, 2))])
def test_it_costs_one_forward_more_than_adversarial_training(inner, passes):
    model, data, method = network().train(), batch(), build(inner=inner)
    with count_passes(model) as counted:
        method.step(model, data, context()).loss.backward()
    assert (counted.forward / 16, counted.backward / 16) == passes
    assert (method.cost(0).forward, method.cost(0).backward) == passes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -0.1}, r"method\.alpha = -0\.1"),
        ({"alpha": float("nan")}, r"method\.alpha = nan"),
        ({"alpha": 52.0}, r"method\.alpha = 52"),
        ({"radius": 8.0}, r"method\.radius = 8.*8px"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        VPBConfig(**settings)


def test_the_l2_radius_is_held_against_the_size_of_the_inputs():
    model, data = network().eval(), batch()  # of 6 numbers, so at most 2.449 apart
    build(norm="l2", radius=Radius(2.4)).step(model, data, context())
    with pytest.raises(UserError, match=r"method\.radius = 128 exceeds.*write 128px"):
        build(norm="l2", radius=Radius(128)).step(model, data, context())
