"""TRADES: its loss and its attack against a slow loop over samples, and slips of public code."""

import math
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.pairs import loss_of, pairs, slopes, smooth_network, tensors, trained_on, watched
from iaat.errors import UserError
from iaat.methods import TRADES, TRADESConfig
from iaat.methods.kl_regularized import NOISE
from iaat.runtime.passes import count_passes
from iaat.units import Radius
from methods.settings import SIZE, context, digits, half_learned, network
from reference import trades_slow

RADIUS, STEPS = Radius("16px"), 3


def build(**options):
    return TRADES(TRADESConfig(**{"radius": RADIUS, "steps": STEPS, **options}), size=SIZE, device="cpu")


# Its loss


@settings(max_examples=50)
@given(pairs(), st.floats(0, 20), st.sampled_from([0.0, 0.1]))
def test_the_loss_is_that_of_a_slow_loop(pair, beta, smoothing):
    clean, adversarial, labels = pair
    method = build(beta=beta, label_smoothing=smoothing, steps=1)
    output = loss_of(method, *tensors(*pair))
    betas = [beta] * len(labels)
    expected = trades_slow.loss(clean, adversarial, labels, betas, smoothing)
    assert output.loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    ces = [trades_slow.cross_entropy(z, y, smoothing) for z, y in zip(clean, labels, strict=True)]
    kls = [trades_slow.kl(*each) for each in zip(clean, adversarial, strict=True)]
    assert output.metrics["clean_loss"].tolist() == pytest.approx(ces, rel=1e-9, abs=1e-9)
    assert output.metrics["kl"].tolist() == pytest.approx(kls, rel=1e-9, abs=1e-9)


@settings(max_examples=30)
@given(pairs(largest=5.0))
def test_gradients_flow_through_both_predictions(pair):
    """Those of a slow loop by finite differences."""
    clean, adversarial, y = tensors(*pair)
    loss_of(build(beta=3.0, steps=1), clean, adversarial, y).loss.backward()
    for logits, values in ((clean, pair[0]), (adversarial, pair[1])):
        expected = slopes(lambda: trades_slow.loss(*pair, [3.0] * len(y)), values)
        torch.testing.assert_close(logits.grad, torch.tensor(expected, dtype=torch.float64), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_trades_survives_log_0(dtype):
    """Probabilities that underflow to 0 in any format: a softmax, then a logarithm, gives NaN."""
    big = 1e4
    clean = torch.tensor([[big, -big, 0.0], [-big, 0.0, big], [big, big, -big]], dtype=dtype, requires_grad=True)
    adversarial = torch.tensor([[-big, big, 0.0], [-big, 0.0, big], [big, -big, big]], dtype=dtype, requires_grad=True)
    output = loss_of(build(beta=1.0), clean, adversarial, torch.tensor([0, 0, 1]))
    largest = clean.detach().float().max().item()  # bfloat16 has no 10,000
    assert output.metrics["kl"].tolist() == pytest.approx([2 * largest, 0, largest], rel=1e-6)
    assert output.metrics["clean_loss"].tolist() == pytest.approx([0, 2 * largest, math.log(2)], rel=1e-6)
    assert output.loss.dtype == torch.float32
    output.loss.backward()
    for logits in (clean, adversarial):
        assert bool(logits.grad.isfinite().all())
        assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("bf16", [False, True])
def test_a_step_of_a_network_that_is_far_too_sure_is_finite(bf16):
    model, batch = network().train(), digits()
    model[4].weight.data *= 1e5
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        output = build().step(model, batch, context())
    output.loss.backward()
    assert output.logits.abs().max() > 1e4
    assert output.loss.dtype == output.logits.dtype == torch.float32
    assert bool(output.loss.isfinite())
    assert all(bool(w.grad.isfinite().all()) for w in model.parameters())


# Its attack


@pytest.mark.parametrize(
    ("options", "step_size"),
    [
        pytest.param({"radius": Radius("8px"), "steps": 10}, 0.007, id="defaults"),
        pytest.param({"radius": Radius("20px"), "steps": 4}, 10 / 255, id="larger"),
        pytest.param({"radius": Radius(0.5), "steps": 4, "norm": "l2"}, 0.25, id="l2"),
    ],
)
def test_the_attack_is_that_of_a_slow_loop_from_the_same_noise(options, step_size):
    model, batch = smooth_network(), digits(8, dtype=torch.float64)
    _, _, x_adv = trained_on(build(**options), deepcopy(model), batch, seed=5)
    noise = 1e-3 * torch.randn(batch.x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    way = {"norm": options.get("norm", "linf"), "radius": float(options["radius"]), "steps": options["steps"]}
    expected = [
        trades_slow.attack(model, x, eps, step_size=step_size, **way) for x, eps in zip(batch.x, noise, strict=True)
    ]
    torch.testing.assert_close(x_adv.flatten(1), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)


def test_defaults_are_the_authors():
    config = TRADESConfig()
    assert (config.beta, config.steps, config.norm, config.mode, NOISE) == (6, 10, "linf", "eval", 1e-3)
    assert config.radius.px == pytest.approx(8)
    assert max(2 * config.radius / config.steps, config.min_step) == 0.007


def test_the_attack_finds_divergence_and_asks_for_no_label():
    batch = digits()
    model = half_learned(batch)
    output, clean, x_adv = trained_on(build(steps=10), deepcopy(model), batch)
    assert torch.equal(clean, batch.x)
    noise = (batch.x + RADIUS * torch.randn(batch.x.shape).sign()).clamp(0, 1)
    with torch.no_grad():
        p, q = (model.eval()(each).log_softmax(1) for each in (batch.x, noise))
    assert output.metrics["kl"].mean() > 3 * (p.exp() * (p - q)).sum(1).mean()
    other = type(batch)(batch.x, (batch.y + 1) % 10, batch.index)
    assert torch.equal(trained_on(build(steps=10), deepcopy(model), other)[2], x_adv)


def test_trades_reuses_its_clean_logits():
    """They stand still during an attack: one forward of the clean inputs in the attack's mode, one in training."""
    model, batch = network().train(), digits()
    seen = watched(model)
    with count_passes(model) as passes:
        build().step(model, batch, context()).loss.backward()
    assert [training for x, training in seen if torch.equal(x, batch.x)] == [False, True]
    assert (passes.forward / SIZE, passes.backward / SIZE) == (STEPS + 3, STEPS + 2)
    stated = build().cost(0)
    assert (stated.forward, stated.backward) == (STEPS + 3, STEPS + 2)


def test_no_attack_is_stuck_where_bfloat16_cannot_tell_the_noise():
    """The divergence from an equal prediction has gradient 0: the attack would hand back its start."""
    model, batch = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), digits()
    model[1].weight.data *= 0.1
    model[1].bias.data = torch.tensor([1.0, 1.1, 1.2])
    batch = type(batch)(batch.x, batch.y % 3, batch.index)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        start = (batch.x + NOISE * torch.randn(batch.x.shape, generator=generator)).clamp(0, 1)
        assert (model(start) == model(batch.x)).all(1).sum() > SIZE / 4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, _, x_adv = trained_on(build(), model, batch, seed=0)
    assert bool(((x_adv - batch.x).flatten(1).abs().amax(1) > 0.5 * RADIUS).all())


def test_one_evaluation_of_the_objective_takes_two_passes():
    model, batch, method = network().train(), digits(), build()
    objective = method.prepare(model, batch, context())
    with count_passes(model) as passes:
        objective(model).loss.backward()
    assert (passes.forward / SIZE, passes.backward / SIZE) == (2, 2)
    assert method.objective_cost == TRADES.objective_cost == type(passes)(2, 2)


def test_the_attack_leaves_no_gradient():
    """The gradient of the weights is that of the loss at the finished inputs, written out here."""
    model, batch = network().train(), digits()
    twin = deepcopy(model)
    method = build(beta=2.0)
    objective = method.prepare(model, batch, context())
    assert all(w.grad is None and w.requires_grad for w in model.parameters())
    seen = watched(model)
    objective(model).loss.backward()
    p, q = (twin(x).softmax(1) for x, _ in seen)
    kl = (p * (p.log() - q.log())).sum(1)
    (-p[torch.arange(SIZE), batch.y].log() + 2 * kl).mean().backward()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    assert batch.x.grad is None


def test_the_objective_can_be_evaluated_again():
    """At other weights it has the same inputs and another loss; at the same ones the same loss."""
    model, batch, method = half_learned(digits()).eval(), digits(), build()
    stream = context()
    objective = method.prepare(model, batch, stream)
    drawn, worse = stream.generator.get_state(), deepcopy(model)
    with torch.no_grad():
        worse[4].weight.add_(0.1 * torch.randn_like(worse[4].weight))
    seen, seen_there = watched(model), watched(worse)
    first, other, again = objective(model), objective(worse), objective(model)
    assert first.loss.item() == again.loss.item() != other.loss.item()
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(seen[:2], seen_there, strict=True))
    assert torch.equal(stream.generator.get_state(), drawn)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_ramp_scales_the_radius(norm):
    batch, model = digits(), half_learned(digits()).eval()
    order = {"linf": math.inf, "l2": 2}[norm]
    for epoch, factor in ((0, 0.0), (1, 0.25), (3, 0.75), (4, 1.0), (9, 1.0)):
        output, _, x_adv = trained_on(build(ramp=4, norm=norm), deepcopy(model), batch, epoch=epoch)
        torch.testing.assert_close(output.radius, torch.full((SIZE,), factor * RADIUS))
        size = (x_adv - batch.x).flatten(1).norm(p=order, dim=1)
        assert bool((size <= factor * RADIUS + 1e-6).all())
        assert bool((size >= 0.5 * factor * RADIUS).all())
    output, _, x_adv = trained_on(build(ramp=4), deepcopy(model), batch, epoch=0)
    assert torch.equal(x_adv, batch.x)
    assert output.loss.item() == pytest.approx(nn.functional.cross_entropy(model(batch.x), batch.y).item())


def test_the_output_speaks_of_the_adversarial_forward():
    """So that accuracy in training means what it does for other methods."""
    batch, model = digits(), half_learned(digits()).eval()
    output, _, x_adv = trained_on(build(), deepcopy(model), batch)
    torch.testing.assert_close(output.logits, model(x_adv).detach())
    assert not output.logits.requires_grad
    assert not any(values.requires_grad for values in output.metrics.values())
    assert {name: values.shape for name, values in output.metrics.items()} == {"clean_loss": (SIZE,), "kl": (SIZE,)}


@pytest.mark.parametrize("beta", [-1.0, math.nan, math.inf])
def test_a_beta_that_is_no_weight_is_refused(beta):
    with pytest.raises(UserError, match=rf"method\.beta = {beta:g}: a weight"):
        TRADESConfig(beta=beta)
