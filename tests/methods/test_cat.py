"""Customized adversarial training: radii on a model with known outcomes, and labels recovered from gradients."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from iaat.errors import UserError
from iaat.methods import CAT, CATConfig, StepContext
from iaat.methods.cat import dirichlet_labels
from iaat.runtime.passes import count_passes
from iaat.types import Batch, StepOutput
from iaat.units import Radius

ETA, CAP, C, STEPS, EPOCHS = 0.02, 0.09, 5.0, 10, 200
MARGINS = [0.05, 0.075, 0.3, -0.2, 0.01]
# Trials succeed below the margin: at 0.02 and 0.04; at 0.02, 0.04 and 0.06; at all up to the cap; at none; at none.
ENDS = [0.04, 0.06, CAP, 0.0, 0.0]
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


class Planted(nn.Module):
    """Class 0 or 1 by the sign of the first number, so that the margin of x is |x_0 - 0.5|; `classes` in all."""

    def __init__(self, classes=2):
        super().__init__()
        self.weight, self.classes = nn.Parameter(torch.tensor(10.0)), classes

    def forward(self, x):
        score = self.weight * (x[:, :1] - 0.5)
        return torch.cat([score, -score, (-20 + 0 * score).expand(-1, self.classes - 2)], dim=1)


def batch(margins=MARGINS, index=None):
    x = torch.full((len(margins), 3), 0.5)
    x[:, 0] += torch.tensor(margins)
    index = torch.arange(len(margins)) if index is None else index
    return Batch(x, torch.zeros(len(margins), dtype=torch.int64), index)


def context(epoch=0, seed=0):
    return StepContext(epoch=epoch, generator=torch.Generator().manual_seed(seed))


def build(size=5, **options):
    settings = {"radius": Radius(CAP), "eta": Radius(ETA), "c": C, "steps": STEPS, "min_step": Radius(0)}
    return CAT(CATConfig(**{**settings, **options}).over(EPOCHS), size=size, device="cpu")


def trained_on(method, model, data, epoch=0):
    """The inputs of the training forward, and the outcome."""
    calls = []
    handle = model.register_forward_pre_hook(lambda _module, inputs: calls.append(inputs[0].detach().clone()))
    output = method.step(model, data, context(epoch))
    handle.remove()
    return calls[-1], output


def labels_of(objective, model):
    """The label distributions `[B, classes]` of an objective: the gradient of its loss by logits is (p - label) / B."""
    kept = []

    def keep(_module, _inputs, output):
        output.retain_grad()
        kept.append(output)

    handle = model.register_forward_hook(keep)
    objective(model).loss.backward()
    handle.remove()
    (logits,) = kept
    return logits.detach().softmax(dim=1) - len(logits) * logits.grad


@every_norm
def test_radii_grow_by_trial_to_the_margin_or_the_cap_and_never_fall(norm):
    method, data = build(norm=norm, min_step=Radius(ETA)), batch()
    before = method.radii.values
    for _ in range(7):
        method.step(Planted(), data, context())
        assert bool((method.radii.values >= before).all())
        before = method.radii.values
    torch.testing.assert_close(method.radii.values, torch.tensor(ENDS))


@every_norm
def test_samples_are_trained_at_the_radius_on_trial_at_most_at_the_cap(norm):
    method, data = build(norm=norm), batch()
    method.radii[data.index] = torch.tensor(ENDS)
    x_adv, output = trained_on(method, Planted(), data)
    torch.testing.assert_close(output.radius, (torch.tensor(ENDS) + ETA).clamp_max(CAP))
    delta = x_adv - data.x
    size = delta.abs().amax(dim=1) if norm == "linf" else delta.norm(dim=1)
    assert bool((size <= output.radius + 1e-6).all())
    assert bool((size >= 0.95 * output.radius).all())


def test_the_attack_goes_on_from_where_it_is():
    """Public code starts anew from the clean image at every step, and so never leads farther than one step."""
    method, data = build(20, norm="l2"), batch([0.4] * 20)
    x_adv, output = trained_on(method, Planted(), data)
    step = 2 * ETA / STEPS
    assert step > method.config.min_step
    assert bool(((x_adv - data.x).norm(dim=1) > 3 * step).all())
    assert bool(((data.x - x_adv)[:, 0] > 3 * step).all())
    torch.testing.assert_close(output.radius, torch.full((20,), ETA))


def test_radii_follow_their_own_sample_whatever_the_order():
    order = torch.tensor([3, 0, 4, 2, 1])
    method = build(size=20)
    for _ in range(7):
        method.step(Planted(), batch([MARGINS[i] for i in order], index=order + 10), context())
    torch.testing.assert_close(method.radii.values[10:15], torch.tensor(ENDS))
    assert bool((method.radii.values[:10] == 0).all())


def test_the_outcome_of_the_training_forward_decides_and_the_objective_does_not():
    method, data = build(), batch()
    objective = method.prepare(Planted(), data, context())
    first, second = objective(Planted()), objective(Planted())
    assert torch.equal(first.loss, second.loss)
    assert bool((method.radii.values == 0).all())
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    method.update(data, StepOutput(first.loss, logits, first.radius))
    torch.testing.assert_close(method.radii.values, ETA * torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0]))


@pytest.mark.parametrize("classes", [2, 10])
def test_labels_are_smoothed_by_c_times_the_radius_before_the_trial(classes):
    each, radii = 400, torch.tensor([0.0, 0.04, 0.08])
    method, data, model = build(3 * each), batch([0.4] * 3 * each), Planted(classes)
    method.radii[data.index] = radii.repeat_interleave(each)
    labels = labels_of(method.prepare(model, data, context()), model).reshape(3, each, classes)
    torch.testing.assert_close(labels.sum(dim=2), torch.ones(3, each), rtol=0, atol=1e-4)
    assert bool((labels > -1e-4).all())
    onehot = torch.eye(classes)[0]
    torch.testing.assert_close(labels[0], onehot.expand(each, classes), rtol=0, atol=1e-4)
    for radius, label in zip(radii[1:].tolist(), labels[1:], strict=True):
        smoothing = C * radius
        assert 1 - smoothing - 1e-4 <= label[:, 0].min() <= 1 - 0.95 * smoothing
        spread = (label - (1 - smoothing) * onehot) / smoothing
        # Each component of a flat Dirichlet draw is Beta(1, classes - 1).
        assert stats.kstest(spread[:, 0].numpy(), stats.beta(1, classes - 1).cdf).pvalue > 0.01
        assert stats.kstest(spread[:, -1].numpy(), stats.beta(1, classes - 1).cdf).pvalue > 0.01


def test_a_flat_dirichlet_draw_has_its_means_variances_and_covariances():
    n, classes = 20000, 4
    keys = torch.arange(n) * 977
    spread = dirichlet_labels(
        torch.zeros(n, classes, dtype=torch.float64), torch.zeros(n, dtype=torch.int64), torch.ones(n), keys
    )
    expected = (torch.eye(classes) * classes - 1) / (classes**2 * (classes + 1))
    torch.testing.assert_close(spread.mean(dim=0), torch.full((classes,), 0.25).double(), rtol=0, atol=0.005)
    torch.testing.assert_close(spread.T.cov(), expected.double(), rtol=0, atol=0.002)


def test_one_generator_decides_the_labels_and_every_step_draws_others():
    data, model = batch([0.4] * 8), Planted()

    def labels(generator):
        method = build(8)
        method.radii[data.index] = 0.08
        return labels_of(method.prepare(model, data, StepContext(epoch=0, generator=generator)), model)

    state = torch.get_rng_state()
    first, again, other = (labels(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    generator = torch.Generator().manual_seed(0)
    assert not torch.allclose(labels(generator), labels(generator), atol=1e-3)
    assert len({round(label, 4) for label in first[:, 0].tolist()}) == 8
    assert torch.equal(torch.get_rng_state(), state)


def test_a_second_evaluation_has_the_same_labels():
    method, data, model = build(), batch(), Planted()
    method.radii[data.index] = 0.08
    objective = method.prepare(model, data, context())
    assert torch.equal(labels_of(objective, model), labels_of(objective, model))


def test_in_a_ramp_radii_grow_to_what_was_tried_and_not_beyond():
    """The margin of one sample is 0.1: a radius on trial above it fails, however small the ramp made the attack."""
    method, data, model = build(1, ramp=20, radius=Radius(0.2), c=1.0), batch([0.1]), Planted()
    for epoch in range(EPOCHS):
        _, output = trained_on(method, model, data, epoch)
        assert float(method.radii.values) <= max(0.1, float(output.radius))
    assert float(method.radii.values) <= 0.1


def test_the_ramp_shrinks_radii_and_the_smoothing_that_follows_them():
    each = 200
    method, data, model = build(each, ramp=4), batch([0.4] * each), Planted()
    method.radii[data.index] = 0.06
    objective = method.prepare(model, data, context(epoch=1))
    labels = labels_of(objective, model)
    torch.testing.assert_close(objective(model).radius, torch.full((each,), (0.06 + ETA) / 4))
    assert labels[:, 0].min().item() == pytest.approx(1 - C * 0.06 / 4, abs=0.01)


def test_every_step_takes_the_passes_it_states():
    method, data, model = build(), batch(), Planted()
    with count_passes(model) as passes:
        method.step(model, data, context()).loss.backward()
    stated = method.cost(0)
    assert (stated.forward, stated.backward) == (STEPS + 1, STEPS + 1)
    assert (passes.forward, passes.backward) == ((STEPS + 1) * len(MARGINS), (STEPS + 1) * len(MARGINS))


def test_the_defaults_are_the_authors():
    config = CATConfig().over(200)
    assert (config.radius.px, config.eta, config.c, config.steps) == (pytest.approx(8), 0.005, 10, 10)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"eta": Radius(0)}, r"method\.eta = 0"),
        ({"eta": 2.0}, r"method\.eta = 2.*2px"),
        ({"c": -1.0}, r"method\.c = -1"),
        ({"c": math.nan}, r"method\.c = nan"),
        ({"c": math.inf}, r"method\.c = inf"),
        ({"c": 40.0}, r"method\.c = 40 times method\.radius = 8px.*at most 31\.87"),
        ({"radius": Radius(1), "norm": "l2"}, r"method\.c = 10 times method\.radius = 255px.*at most 1$"),
        ({"label_smoothing": 0.1}, r"method\.label_smoothing = 0\.1.*method\.c"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        CATConfig(**settings)


def test_labels_may_be_smoothed_by_all_of_their_probability():
    assert CATConfig(radius=Radius(0.1), c=10.0).c == 10
