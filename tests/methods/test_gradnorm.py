"""Gradient-norm radii: against a slow loop with finite differences, on a linear model, and over drawn gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from iaat.errors import UserError
from iaat.methods import GradNorm, GradNormConfig, StepContext
from iaat.methods.batch_scales import batch_scales
from iaat.runtime.passes import count_passes
from iaat.types import Batch
from iaat.units import Radius

RADIUS = Radius("16px")


def context(epoch=0):
    return StepContext(epoch=epoch, generator=torch.Generator().manual_seed(0))


def build(**options):
    return GradNorm(GradNormConfig(**{"radius": RADIUS, "steps": 2, **options}), size=16, device="cpu")


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4)
        model = nn.Sequential(*layers).double()
        layers[3].weight.data *= 5
        model(torch.rand(32, 6, dtype=torch.float64))  # running statistics unlike those of the batch
        return model


def batch(n=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 6, dtype=torch.float64, generator=generator)
    return Batch(x, torch.randint(4, (n,), generator=generator), torch.arange(n))


def slow_steepness(model, x, label, order):
    """Norm of one sample's input gradient by central differences."""

    def loss(values):
        logits = model(torch.tensor([values], dtype=torch.float64))[0].tolist()
        return math.log(sum(math.exp(logit) for logit in logits)) - logits[label]

    step, slopes = 1e-5, []
    for k in range(len(x)):
        up, down = list(x), list(x)
        up[k] += step
        down[k] -= step
        slopes.append((loss(up) - loss(down)) / (2 * step))
    return sum(abs(slope) ** order for slope in slopes) ** (1 / order)


def slow_scales(norms, power, low, high):
    mean = sum(norms) / len(norms)
    bounded = [min(max((mean / norm) ** power, low), high) for norm in norms]
    return [each * len(norms) / sum(bounded) for each in bounded]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("power", "low", "high"), [(1.0, 0.5, 1.5), (1.0, 0.01, 90.0), (0.5, 0.8, 3.0), (0.0, 0.5, 1.5)]
)
def test_radii_are_those_of_a_slow_loop(norm, power, low, high):
    model, data = network().train(), batch()
    config = {"norm": norm, "power": power, "low": low, "high": high, "radius": Radius("0.01px")}
    radius = build(**config).radii_of(model, data, context())
    twin = network().eval()
    norms = [
        slow_steepness(twin, x, label, {"linf": 1, "l2": 2}[norm])
        for x, label in zip(data.x.tolist(), data.y.tolist(), strict=True)
    ]
    expected = [0.01 / 255 * scale for scale in slow_scales(norms, power, low, high)]
    assert radius.tolist() == pytest.approx(expected, rel=1e-5)
    assert radius.double().mean().item() == pytest.approx(0.01 / 255, rel=1e-6)
    assert (radius.max() > 1.2 * radius.min()) == (power > 0)


@pytest.mark.parametrize(("norm", "order"), [("linf", 1), ("l2", 2)])
def test_a_linear_model_has_the_closed_form(norm, order):
    """With logits (s, -s), s = w x, the gradient of the loss of class 0 is -(1 - tanh s) w, so w cancels."""
    w = torch.tensor([3.0, -4.0])
    x = torch.tensor([[0.2, 0.3], [0.5, 0.4], [0.6, 0.4], [0.4, 0.5]])

    class Opposed(nn.Module):
        def forward(self, x):
            return torch.stack([x @ w, -(x @ w)], dim=1)

    data = Batch(x, torch.zeros(4, dtype=torch.int64), torch.arange(4))
    radius = build(norm=norm).radii_of(Opposed(), data, context())
    steepness = (1 - torch.tanh(x @ w)) * w.norm(p=order)
    bounded = (steepness.mean() / steepness).clamp(0.5, 1.5)
    torch.testing.assert_close(radius, float(RADIUS) * bounded / bounded.mean())
    assert len(radius.unique()) == 4


def test_the_two_norms_rank_samples_by_their_own_dual():
    """The gradient of one sample has a long single entry, that of the other many short ones."""
    gradients = torch.tensor([[2.0, 0, 0, 0, 0, 0, 0, 0, 0], [1.0] * 9])

    class Given(nn.Module):
        def forward(self, x):
            score = (x * gradients.to(x)).flatten(1).sum(1)
            return torch.stack([score - score.detach(), torch.zeros_like(score)], dim=1)

    data = Batch(torch.full((2, 9), 0.5), torch.ones(2, dtype=torch.int64), torch.arange(2))
    linf, l2 = (build(norm=norm).radii_of(Given(), data, context()) for norm in ("linf", "l2"))
    ratio = {"linf": min(5.5 / 2, 1.5) / (5.5 / 9), "l2": (2.5 / 2) / (2.5 / 3)}
    assert (linf[0] / linf[1]).item() == pytest.approx(ratio["linf"], rel=1e-5)
    assert (l2[0] / l2[1]).item() == pytest.approx(ratio["l2"], rel=1e-5)


def test_without_bounds_every_sample_loses_as_much_to_first_order():
    norms = torch.tensor([0.3, 1.0, 2.0, 7.0], dtype=torch.float64)
    gained = batch_scales(norms, power=1.0, low=1e-6, high=1e6) * norms
    torch.testing.assert_close(gained, gained[:1].expand(4))


def test_the_network_is_asked_in_the_mode_of_the_attack():
    data = batch()
    steps = {mode: build(mode=mode).radii_of(network().train(), data, context()) for mode in ("eval", "batch")}
    assert not torch.allclose(steps["eval"], steps["batch"], rtol=1e-2)
    steps["twin"] = build(mode="eval").radii_of(network().train(), data, context())
    assert torch.equal(steps["eval"], steps["twin"])  # nothing had moved


def test_the_gradient_is_that_of_the_plain_cross_entropy():
    data = batch()
    plain, smoothed = (build(label_smoothing=s).radii_of(network(), data, context()) for s in (0.0, 0.5))
    assert torch.equal(plain, smoothed)


@given(
    norms=st.lists(
        st.floats(0, width=32, allow_infinity=True) | st.just(math.nan) | st.floats(2**-10, 2**10, width=32),
        min_size=1,
        max_size=12,
    ),
    power=st.floats(0, 3),
    low=st.floats(0.1, 1),
    high=st.floats(1, 10),
)
def test_multiples_are_finite_within_bounds_and_of_mean_one_whatever_the_gradients(norms, power, low, high):
    given_norms = torch.tensor(norms, dtype=torch.float32)
    multiples = batch_scales(given_norms, power=power, low=low, high=high)
    assert multiples.shape == given_norms.shape
    assert bool(multiples.isfinite().all())
    assert multiples.double().mean().item() == pytest.approx(1, abs=1e-6)
    assert bool((multiples <= high / low * (1 + 1e-5)).all())
    assert bool((multiples >= low / high * (1 - 1e-5)).all())
    finite = given_norms.isfinite()
    in_order = multiples[finite][given_norms[finite].argsort()]
    assert bool((in_order.diff() <= 1e-5).all())  # the steeper, the smaller


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        pytest.param([0.0, 2.0, 4.0], [1.5, 1.0, 0.5], id="0 gets the most"),
        pytest.param([0.0, 0.0], [1.0, 1.0], id="all 0"),
        pytest.param([math.nan, 1.0, 1.0], [1.0, 1.0, 1.0], id="NaN counts as the mean"),
        pytest.param([math.nan, 1.0, 3.0], [1.0, 1.5, 2 / 3], id="NaN is left out of the mean"),
        pytest.param([math.nan, math.nan], [1.0, 1.0], id="all NaN"),
        pytest.param([5.0], [1.0], id="a batch of one"),
    ],
)
def test_gradients_of_zero_and_nan(norms, expected):
    mean = sum(expected) / len(expected)
    multiples = batch_scales(torch.tensor(norms), power=1.0, low=0.5, high=1.5)
    assert multiples.tolist() == pytest.approx([each / mean for each in expected], rel=1e-6)


def test_a_network_without_slope_or_with_nan_trains_at_finite_radii():
    class Flat(nn.Module):
        def forward(self, x):
            slope = torch.where(
                torch.arange(len(x)) < 2, torch.tensor([0.0, torch.nan])[[0, 1] + [0] * (len(x) - 2)], 1.0
            )
            return x[:, :4] * slope[:, None].to(x)

    data = batch()
    radius = build().radii_of(Flat(), data, context())
    assert bool(radius.isfinite().all())
    assert radius[0] == radius.max()
    assert radius.double().mean().item() == pytest.approx(float(RADIUS), rel=1e-6)


@pytest.mark.parametrize(("inner", "passes"), [("pgd", (4, 4)), ("nfgsm", (3, 3))])
def test_it_costs_one_forward_and_backward_more_than_adversarial_training(inner, passes):
    model, data, method = network().train(), batch(), build(inner=inner)
    with count_passes(model) as counted:
        method.step(model, data, context()).loss.backward()
    assert (counted.forward / 16, counted.backward / 16) == passes
    assert (method.cost(0).forward, method.cost(0).backward) == passes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"power": -1.0}, r"method\.power = -1"),
        ({"power": math.inf}, r"method\.power = inf"),
        ({"low": 0.0}, r"method\.low = 0"),
        ({"low": 1.1}, r"method\.low = 1\.1"),
        ({"low": math.nan}, r"method\.low = nan"),
        ({"high": 0.9}, r"method\.high = 0\.9"),
        ({"high": math.inf}, r"method\.high = inf"),
        ({"radius": Radius(8)}, r"method\.radius"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        GradNormConfig(**settings)


def test_the_l2_radius_is_held_against_the_size_of_the_inputs():
    model, data = network().eval(), batch()  # of 6 numbers, so at most 2.449 apart
    build(norm="l2", radius=Radius(2.4)).step(model, data, context())
    with pytest.raises(UserError, match=r"method\.radius = 2\.5 .*\(2\.449"):
        build(norm="l2", radius=Radius(2.5)).step(model, data, context())
