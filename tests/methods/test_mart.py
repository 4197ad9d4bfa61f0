"""MART: its loss against a slow loop over samples and closed forms, also where its public code is not finite."""

import math
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.pairs import loss_of, pairs, slopes, smooth_network, tensors, trained_on, watched
from iaat.attacks import pgd
from iaat.errors import UserError
from iaat.methods import MART, MARTConfig
from iaat.methods.mart import boost, doubt
from iaat.runtime.passes import count_passes
from iaat.units import Radius
from methods.settings import SIZE, context, digits, half_learned, network
from reference import mart_slow, trades_slow

RADIUS, STEPS = Radius("16px"), 3


def build(**options):
    return MART(MARTConfig(**{"radius": RADIUS, "steps": STEPS, **options}), size=SIZE, device="cpu")


# Its loss


@settings(max_examples=50)
@given(pairs(), st.floats(0, 20), st.sampled_from([0.0, 0.1]))
def test_the_loss_is_that_of_a_slow_loop(pair, beta, smoothing):
    _, adversarial, labels = pair
    output = loss_of(build(beta=beta, label_smoothing=smoothing, steps=1), *tensors(*pair))
    assert output.loss.item() == pytest.approx(mart_slow.loss(*pair, beta, smoothing), rel=1e-9, abs=1e-9)
    boosted = [mart_slow.boosted_cross_entropy(z, y, smoothing) for z, y in zip(adversarial, labels, strict=True)]
    assert output.metrics["boosted_loss"].tolist() == pytest.approx(boosted, rel=1e-9, abs=1e-9)
    weighted = [trades_slow.kl(*z) * mart_slow.doubt(z[0], y) for *z, y in zip(*pair, strict=True)]
    assert output.metrics["weighted_kl"].tolist() == pytest.approx(weighted, rel=1e-9, abs=1e-9)


def apart(rows, gap=1e-3):
    """Whether no two logits of a row are so close that a small step changes which is largest."""
    return all(abs(a - b) > gap for row in rows for k, a in enumerate(row) for b in row[:k])


@settings(max_examples=30)
@given(pairs(largest=5.0).filter(lambda pair: apart(pair[1])))
def test_gradients_flow_through_both_predictions_and_the_doubt(pair):
    """Those of a slow loop by finite differences."""
    clean, adversarial, y = tensors(*pair)
    loss_of(build(beta=3.0, steps=1), clean, adversarial, y).loss.backward()
    for logits, values in ((clean, pair[0]), (adversarial, pair[1])):
        expected = slopes(lambda: mart_slow.loss(*pair, 3.0), values)
        torch.testing.assert_close(logits.grad, torch.tensor(expected, dtype=torch.float64), rtol=1e-4, atol=1e-7)


def test_the_boosted_loss_in_closed_form():
    """p = (0.7, 0.2, 0.1): -log p_y - log(1 - the larger of the two other probabilities)."""
    p = torch.tensor([[0.7, 0.2, 0.1]] * 3, dtype=torch.float64)
    y = torch.tensor([0, 1, 2])
    expected = [-math.log(1 - 0.2), -math.log(1 - 0.7), -math.log(1 - 0.7)]
    assert boost(p.log() + 3, y).tolist() == pytest.approx(expected)
    assert doubt(p.log() - 2, y).tolist() == pytest.approx([0.3, 0.8, 0.9])
    output = loss_of(build(beta=0.0), p.log(), p.log(), y)
    expected = [e - math.log(p_y) for e, p_y in zip(expected, (0.7, 0.2, 0.1), strict=True)]
    assert output.metrics["boosted_loss"].tolist() == pytest.approx(expected)


def test_a_sample_that_is_surely_correct_has_no_divergence_to_pay():
    clean = torch.tensor([[30.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    adversarial = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    weighted = loss_of(build(), clean, adversarial, torch.tensor([0, 0])).metrics["weighted_kl"].tolist()
    assert weighted[0] == pytest.approx(2 * math.exp(-30) * trades_slow.kl(clean[0].tolist(), [0, 1, 0]))
    assert weighted[1] == pytest.approx(2 / 3 * trades_slow.kl([0, 0, 0], [0, 1, 0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mart_is_safe_in_half_precision(dtype):
    """With constants such as 1e-12 beside a probability, which half precision drops, it is not finite."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.1, 1.0, 10.0, 100.0, 1000.0]).repeat_interleave(20)[:, None]
    clean, adversarial = (scale * torch.randn(2, 100, 10, generator=generator)).to(dtype)
    y = torch.randint(10, (100,), generator=generator)
    clean, adversarial = clean.requires_grad_(), adversarial.requires_grad_()
    output = loss_of(build(), clean, adversarial, y)
    expected = mart_slow.loss(clean.double().tolist(), adversarial.double().tolist(), y.tolist(), 5.0)
    assert output.loss.dtype == torch.float32
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)
    output.loss.backward()
    assert bool((clean.grad.isfinite() & adversarial.grad.isfinite()).all())


def test_mart_survives_logits_of_ten_thousand():
    big = 1e4
    clean = torch.tensor([[big, -big, 0.0], [-big, big, 0.0], [-big, big, 0.0]], requires_grad=True)
    adversarial = torch.tensor([[-big, big, 0.0], [-big, big, 0.0], [big, -big, 0.0]], requires_grad=True)
    output = loss_of(build(beta=1.0), clean, adversarial, torch.tensor([0, 0, 1]))
    # Misclassified as class k: the label has probability e^-2big, and all but k together e^-big.
    assert output.metrics["boosted_loss"].tolist() == pytest.approx([3 * big] * 3)
    assert output.metrics["weighted_kl"].tolist() == pytest.approx([0, 0, 0])
    output.loss.backward()
    assert bool((clean.grad.isfinite() & adversarial.grad.isfinite()).all())
    # Misclassified samples are still pulled: the label up, the rival down by two.
    assert adversarial.grad[0].tolist() == pytest.approx([-1 / 3, 2 / 3, -1 / 3])


def test_a_step_of_a_network_that_is_far_too_sure_is_finite_in_bfloat16():
    model, batch = network().train(), digits()
    model[4].weight.data *= 1e5
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = build().step(model, batch, context())
    output.loss.backward()
    assert output.logits.abs().max() > 1e4
    assert output.loss.dtype == output.logits.dtype == torch.float32
    assert bool(output.loss.isfinite())
    assert all(bool(w.grad.isfinite().all()) for w in model.parameters())


# Its attack


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_attack_is_pgd_on_cross_entropy_from_noise(norm):
    model, batch = smooth_network(), digits(8, dtype=torch.float64)
    output, clean, x_adv = trained_on(build(norm=norm), deepcopy(model), batch, seed=5)
    noise = 1e-3 * torch.randn(batch.x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    radius = output.radius.double()
    way = {"radius": radius, "steps": STEPS, "step_size": 2 * radius / STEPS, "norm": norm}
    expected = pgd(model, batch.x, batch.y, x_init=batch.x + noise, **way)
    torch.testing.assert_close(x_adv, expected)
    assert torch.equal(clean, batch.x)
    assert (x_adv - pgd(model, batch.x, batch.y, x_init=batch.x + noise, loss="kl", **way)).abs().max() > 0.01


def test_its_passes():
    model, batch, method = network().train(), digits(), build()
    with count_passes(model) as passes:
        objective = method.prepare(model, batch, context())
        assert (passes.forward / SIZE, passes.backward / SIZE) == (STEPS, STEPS)
        objective(model).loss.backward()
    assert (passes.forward / SIZE, passes.backward / SIZE) == (STEPS + 2, STEPS + 2)
    assert method.cost(0) == type(passes)(STEPS + 2, STEPS + 2)
    assert method.objective_cost == type(passes)(2, 2)


def test_the_attack_leaves_no_gradient():
    """The gradient of the weights is that of the loss at the finished inputs, written out here."""
    model, batch = half_learned(digits()), digits()
    twin, rows = deepcopy(model), torch.arange(SIZE)
    model.zero_grad()
    twin.zero_grad()
    objective = build(beta=2.0).prepare(model, batch, context())
    assert all(w.grad is None and w.requires_grad for w in model.parameters())
    seen = watched(model)
    objective(model).loss.backward()
    p, q = (twin(x).softmax(1) for x, _ in seen)
    rival = q.scatter(1, batch.y[:, None], 0).amax(1)
    kl = (p * (p.log() - q.log())).sum(1)
    loss = -q[rows, batch.y].log() - (1 - rival).log() + 2 * kl * (1 - p[rows, batch.y])
    loss.mean().backward()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_defaults():
    config = MARTConfig()
    assert (config.beta, config.steps, config.norm, config.mode) == (5, 10, "linf", "eval")
    assert config.radius.px == pytest.approx(8)
    assert max(2 * config.radius / config.steps, config.min_step) == 0.007


@pytest.mark.parametrize("beta", [-1.0, math.nan, math.inf])
def test_a_beta_that_is_no_weight_is_refused(beta):
    with pytest.raises(UserError, match=rf"method\.beta = {beta:g}: a weight"):
        MARTConfig(beta=beta)
