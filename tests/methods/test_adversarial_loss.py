"""Soft labels and the divergence as choices of the loss on adversarial examples, against slow references."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.pairs import loss_of, pairs, smooth_network, tensors, trained_on
from helpers.training import QUIET, assert_resumes_bitwise, tiny
from iaat.errors import UserError
from iaat.methods import IAAT, NFGSM, PGDAT, TRADES, IAATConfig, NFGSMConfig, PGDATConfig, StepContext, TRADESConfig
from iaat.methods.soft_labels import SoftLabelsConfig, softened_labels
from iaat.runs.run_folder import RunFolder
from iaat.train import train
from iaat.types import Batch
from iaat.units import PIXEL, Radius
from methods.settings import SIZE, TEACHER, context, digits, half_learned
from reference import soft_labels_slow, trades_slow

RADIUS, STEPS, EPOCHS = Radius("16px"), 3, 8
SOFT = {"soft_labels": 0.7, "soft_temperature": 1.5}
EMA = ("--train.ema", "0.9")


def iaat(size=SIZE, **options):
    config = IAATConfig(**{"radius": RADIUS, "steps": STEPS, **options})
    method = IAAT(config.over(EPOCHS), size=size, device="cpu")
    method.radii[:] = torch.arange(size).float() * PIXEL
    return method


class Given(nn.Module):
    """A teacher with one answer."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.dropout = logits, nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(self.logits)


# Labels


@settings(max_examples=60)
@given(pairs(), st.floats(0.01, 0.99), st.floats(0.2, 5), st.booleans(), st.data())
def test_labels_are_those_of_a_slow_loop(pair, most, temperature, scaled, data):
    logits, _, labels = pair
    px = data.draw(st.lists(st.integers(0, 40), min_size=len(labels), max_size=len(labels)))
    config = SoftLabelsConfig(radius=RADIUS, soft_labels=most, soft_temperature=temperature, soft_by_radius=scaled)
    teacher = Given(torch.tensor(logits, dtype=torch.float64)).train()  # is asked in mode eval all the same
    batch = Batch(torch.zeros(len(labels), 4), torch.tensor(labels), torch.arange(len(labels)))
    found = softened_labels(batch, torch.tensor(px, dtype=torch.float64) * PIXEL, teacher, config)
    for row, (answer, label, each) in enumerate(zip(logits, labels, px, strict=True)):
        p = soft_labels_slow.softmax(answer, temperature)
        given_part = soft_labels_slow.fraction(p, label, most)
        given_part *= soft_labels_slow.by_radius(each / 255, 16 / 255) if scaled else 1
        assert found[row].tolist() == pytest.approx(soft_labels_slow.target(p, label, given_part), abs=1e-12)
    assert teacher.training


def test_an_uncertain_teacher_gives_the_whole_fraction_and_a_wrong_one_nothing():
    logits = torch.tensor([[1.0, 1.0, 1.0], [0.0, 20.0, 0.0], [20.0, 0.0, 0.0]], dtype=torch.float64)
    batch = Batch(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), torch.arange(3))
    found = softened_labels(batch, torch.zeros(3), Given(logits).eval(), SoftLabelsConfig(soft_labels=0.6))
    expected = [[0.6, 0.2, 0.2], [1, 0, 0], [1, 0, 0]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)


def test_beyond_the_radius_no_label_is_softened_by_radius():
    """Nor where the teacher is wrong: two negative factors are no positive one."""
    logits = torch.tensor([[0.0, 0.1], [0.0, 9.0]], dtype=torch.float64)
    batch = Batch(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), torch.arange(2))
    config = SoftLabelsConfig(radius=RADIUS, soft_labels=0.5, soft_by_radius=True)
    found = softened_labels(batch, torch.full((2,), 40 * PIXEL), Given(logits).eval(), config)
    assert found.tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_the_mean_cross_entropy_of_these_labels(smoothing, weighted):
    """Beside label smoothing, and classes weighed by the true label."""
    batch, model = digits(dtype=torch.float64), smooth_network()
    weights = [1.0 + k % 3 for k in range(10)] if weighted else "none"
    config = IAATConfig(radius=RADIUS, **SOFT, soft_by_radius=True, label_smoothing=smoothing, class_weights=weights)
    method = IAAT(config.over(EPOCHS).for_classes(torch.ones(10)), size=SIZE, device="cpu")
    method.radii[:] = torch.arange(SIZE).float() * PIXEL
    output = method.step(model, batch, context())
    scale = 10 / sum(weights) if weighted else 1
    total = 0.0
    for row, label in enumerate(batch.y.tolist()):
        p = soft_labels_slow.softmax(TEACHER(batch.x[row : row + 1])[0].tolist(), 1.5)
        part = soft_labels_slow.fraction(p, label, 0.7) * soft_labels_slow.by_radius(row, 16)
        target = soft_labels_slow.target(p, label, part)
        weight = scale * weights[label] if weighted else 1
        total += weight * soft_labels_slow.cross_entropy(output.logits[row].tolist(), target, smoothing)
    assert output.loss.item() == pytest.approx(total / SIZE, rel=1e-6)  # radii are float32


def test_the_attack_knows_nothing_of_soft_labels():
    batch, model = digits(), half_learned(digits())
    soft, hard = (iaat(**each).step(deepcopy(model), batch, context()) for each in (SOFT, {}))
    assert torch.equal(soft.logits, hard.logits)
    assert soft.loss != hard.loss


def test_the_teacher_gets_no_gradient():
    batch, model, teacher = digits(), half_learned(digits()), half_learned(digits())
    teacher.zero_grad()
    iaat(**SOFT).step(model, batch, StepContext(0, teacher=teacher)).loss.backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    assert teacher[1].num_batches_tracked == half_learned(digits())[1].num_batches_tracked


def test_a_step_without_a_teacher_says_what_to_give():
    method = NFGSM(NFGSMConfig(soft_labels=0.5), size=SIZE, device="cpu")
    with pytest.raises(UserError, match=r"method\.soft_labels = 0\.5: this step has no teacher.*teacher=\.\.\."):
        method.step(half_learned(digits()), digits(), StepContext(0))


def test_a_recipe_without_the_average_is_refused_when_it_is_read():
    with pytest.raises(UserError, match=r"method\.soft_labels = 0\.7 needs the moving average .* give train\.ema"):
        tiny("iaat", "--method.soft_labels", "0.7")
    assert tiny("iaat", "--method.soft_labels", "0.7", *EMA).method.soft_labels == 0.7


# Divergence


@settings(max_examples=50)
@given(pairs(), st.floats(0.01, 20), st.data())
def test_the_loss_with_a_divergence_is_that_of_a_slow_loop(pair, weight, data):
    labels = pair[2]
    px = data.draw(st.lists(st.integers(0, 32), min_size=len(labels), max_size=len(labels)))
    method = iaat(len(labels), kl=weight, steps=1)
    method.radii[:] = [each * PIXEL for each in px]
    output = loss_of(method, *tensors(*pair))
    expected = trades_slow.loss(*pair, [weight * each / 16 for each in px])
    assert output.loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)  # radii are float32


def test_on_equal_examples_it_is_trades_at_one_radius():
    batch, model = digits(dtype=torch.float64), smooth_network()
    method = PGDAT(PGDATConfig(radius=RADIUS, steps=STEPS, kl=3.0), size=SIZE, device="cpu")
    trades = TRADES(TRADESConfig(beta=3.0), size=SIZE, device="cpu")
    output, clean, x_adv = trained_on(method, model, batch)
    assert torch.equal(clean, batch.x)
    first, divergence = trades.terms(model(batch.x), model(x_adv), batch.y)
    torch.testing.assert_close(output.loss, (first + 3 * divergence).mean())
    torch.testing.assert_close(output.metrics, {"clean_loss": first.detach(), "kl": divergence.detach()})
    plain = PGDAT(PGDATConfig(radius=RADIUS, steps=STEPS), size=SIZE, device="cpu")
    objective = plain.prepare(model, batch, context())
    assert torch.equal(objective(model).logits, output.logits)  # the same examples as without


def test_at_radius_0_a_sample_is_trained_on_its_clean_cross_entropy_alone():
    batch, model = digits(dtype=torch.float64), smooth_network()
    method = iaat(kl=100.0)
    method.radii[:] = 0.0
    output = method.step(model, batch, context())
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(model(batch.x), batch.y))


def test_the_clean_loss_takes_soft_labels():
    batch, model = digits(dtype=torch.float64), smooth_network()
    method = iaat(kl=1.0, **SOFT)
    radius = torch.arange(SIZE) * PIXEL
    target = softened_labels(batch, radius, TEACHER, method.config)
    output = method.step(model, batch, context())
    clean = nn.functional.cross_entropy(model(batch.x), target, reduction="none")
    torch.testing.assert_close(output.metrics["clean_loss"], clean.detach())


# Settings and whole runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"soft_labels": -0.1}, r"method\.soft_labels = -0\.1: a fraction in \[0, 1\)"),
        ({"soft_labels": 1.0}, r"method\.soft_labels = 1: a fraction"),
        ({"soft_labels": float("nan")}, r"method\.soft_labels = nan"),
        ({"soft_temperature": 0.0}, r"method\.soft_temperature = 0: a number above 0"),
        ({"soft_temperature": float("inf")}, r"method\.soft_temperature = inf"),
        ({"soft_labels": 0.5, "soft_by_radius": True}, r"soft_by_radius = true: all samples .*method\.radii"),
        ({"soft_by_radius": True, "radius": Radius(0), "ramp": 2}, r"method\.radius = 0px?: method\.soft_by_radius"),
        ({"kl": -1.0}, r"method\.kl = -1: a weight"),
        ({"kl": float("inf")}, r"method\.kl = inf"),
        ({"kl": 1.0, "radius": Radius(0)}, r"method\.radius = 0.*: method\.kl is the weight at it"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        PGDATConfig(**options)


def test_a_run_counts_the_passes_of_its_teacher(tmp_path):
    words = ("--method.soft_labels", "0.7", "--method.kl", "1", "--train.natural_epochs", "1", *EMA)
    run = RunFolder(tmp_path / "run")
    train(tiny("nfgsm", *words, "--method.guard_every", "0"), run, QUIET)
    assert [(record.forwards, record.backwards) for record in run.metrics()] == [(1, 1), (4, 3), (4, 3)]
    assert set(run.metrics()[1].metrics) == {"clean_loss", "kl"}


def test_a_run_with_soft_labels_resumes_bit_for_bit(tmp_path):
    words = ("--method.soft_labels", "0.7", "--method.soft_by_radius", "true", "--method.kl", "1")
    assert_resumes_bitwise(tiny("iaat", *words, "--method.start", "8px", "--method.steps", "1", *EMA), tmp_path, 5)
