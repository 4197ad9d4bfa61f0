"""IAAT-TRADES: the radius of each sample, its weight and steps, and TRADES as its special case."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.pairs import loss_of, pairs, smooth_network, tensors, trained_on
from iaat.errors import UserError
from iaat.methods import IAATTRADES, TRADES, IAATTRADESConfig, StepContext, TRADESConfig
from iaat.runtime.passes import count_passes
from iaat.types import Batch
from iaat.units import PIXEL, Radius
from methods.settings import SIZE, context, digits, half_learned, network
from reference import trades_slow

RADIUS, STEPS, EPOCHS = Radius("16px"), 4, 8
REACH = 1.0  # so 2px a visit


def build(size=SIZE, **options):
    config = IAATTRADESConfig(**{"radius": RADIUS, "steps": STEPS, "reach": REACH, **options})
    return IAATTRADES(config.over(EPOCHS), size=size, device="cpu")


def spread(method):
    """Give the samples radii of 0, 1, 2, ... px; returns them."""
    method.radii[:] = torch.arange(len(method.radii)).float() * PIXEL
    return method.radii.values


# Weights


@settings(max_examples=50)
@given(pairs(), st.floats(0, 20), st.data())
def test_the_loss_is_that_of_a_slow_loop_with_weights_by_radius(pair, beta, data):
    labels = pair[2]
    px = data.draw(st.lists(st.integers(0, 32), min_size=len(labels), max_size=len(labels)))
    method = build(size=len(labels), beta=beta, steps=1)
    method.radii[:] = [each * PIXEL for each in px]
    output = loss_of(method, *tensors(*pair))
    expected = trades_slow.loss(*pair, [beta * each / 16 for each in px])
    assert output.loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)  # radii are float32


def test_at_the_reference_radius_it_is_trades():
    batch, model = digits(), half_learned(digits())
    trades = TRADES(TRADESConfig(radius=RADIUS, steps=STEPS, ramp=4), size=SIZE, device="cpu")
    for epoch, options in ((0, {}), (1, {"full_steps_at": Radius(0)}), (4, {})):
        method = build(ramp=4, **options)
        gradients = []
        for each in (method, trades):
            twin = deepcopy(model)
            twin.zero_grad()
            output, _, x_adv = trained_on(each, twin, batch, epoch=epoch)
            output.loss.backward()
            gradients.append([x_adv, output.loss, *(w.grad for w in twin.parameters())])
        for mine, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_at_radius_0_a_sample_is_trained_on_clean_cross_entropy_alone():
    batch, model = digits(), half_learned(digits()).eval()
    model.zero_grad()
    method = build(beta=100.0)
    radius = spread(method) * (torch.arange(SIZE) % 2)
    method.radii[:] = radius
    _, _, x_adv = trained_on(method, deepcopy(model), batch)
    assert torch.equal((x_adv == batch.x).flatten(1).all(1), radius == 0)

    method.radii[:] = 0.0
    method.step(model, batch, context()).loss.backward()
    twin = deepcopy(model)
    twin.zero_grad()
    nn.functional.cross_entropy(twin(batch.x), batch.y).backward()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_the_ramp_scales_the_attack_and_not_the_weight():
    batch, model = digits(), half_learned(digits()).eval()
    method = build(ramp=4, beta=3.0)
    radius = spread(method)
    output, _, x_adv = trained_on(method, deepcopy(model), batch, epoch=1)
    torch.testing.assert_close(output.radius, radius / 4)
    size = (x_adv - batch.x).flatten(1).abs().amax(1)
    assert bool((size <= radius / 4 + 1e-6).all())
    assert bool((size >= radius / 8).all())
    weighted = output.metrics["clean_loss"] + 3 * radius / RADIUS * output.metrics["kl"]
    torch.testing.assert_close(output.loss.detach(), weighted.mean())


# Attacks


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_sample_is_attacked_at_its_radius_with_steps_in_proportion(norm):
    """Against a slow loop over samples, from the same noise."""
    batch, model = digits(8, dtype=torch.float64), smooth_network()
    method = build(size=8, norm=norm, radius=RADIUS if norm == "linf" else Radius("64px"))
    scale = 1 if norm == "linf" else 4
    px = [0, 1, 4, 5, 8, 15, 16, 40]
    method.radii[:] = [scale * each * PIXEL for each in px]
    _, _, x_adv = trained_on(method, deepcopy(model), batch, seed=3)
    noise = 1e-3 * torch.randn(batch.x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    steps = [0, 1, 1, 2, 2, 4, 4, 4]
    for row, (own, taken) in enumerate(zip(method_radii(px, scale), steps, strict=True)):
        step_size = max(2 * own / max(taken, 1), 0.007)
        way = {"radius": own, "step_size": step_size, "steps": taken, "norm": norm}
        expected = trades_slow.attack(model, batch.x[row], noise[row], **way)
        torch.testing.assert_close(x_adv[row].flatten(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)


def method_radii(px, scale):
    return [scale * each / 255 for each in px]


def test_passes_follow_the_radii():
    model, batch = network().train(), digits()
    for options, steps in (({}, None), ({"full_steps_at": Radius(0)}, STEPS), ({"mode": "batch"}, STEPS)):
        method = build(**options)
        spread(method)
        with count_passes(model) as passes:
            method.step(model, batch, context()).loss.backward()
        forwards, backwards = passes.forward / SIZE, passes.backward / SIZE
        stated = method.cost(0)
        assert (stated.forward, stated.backward) == (STEPS + 3, STEPS + 2)
        assert forwards == backwards + 1
        if steps:
            assert forwards == stated.forward
        else:
            mean = sum(min(STEPS, -(-STEPS * px // 16)) for px in range(SIZE)) / SIZE
            assert mean <= backwards - 2 < mean + 8 * STEPS / SIZE  # batches shrink by multiples of 8


# Radii


class OnlyFirst(nn.Module):
    """Class 0 or 1 by the sign of the first number, and nothing an attack of 0.1 can do about it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(10.0))

    def forward(self, x):
        score = self.weight * (x.flatten(1)[:, 0] - 0.5)
        return torch.stack([score, -score], dim=1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_radius_follows_its_own_sample_by_its_index(norm):
    """Odd indices have false labels, even ones true ones."""
    method = build(size=16, radius=Radius(0.1), reach=0.1 * EPOCHS, norm=norm)
    visited = [14, 3, 0, 9, 5, 7, 2, 12]
    for index in (visited[:5], visited[5:]):
        x = torch.tensor([[0.9, 0.5]] * len(index))
        method.step(OnlyFirst(), Batch(x, torch.tensor(index) % 2, torch.tensor(index)), context())
    expected = [0.1 if i not in visited else 0.09 if i % 2 else 0.11 for i in range(16)]
    torch.testing.assert_close(method.radii.values, torch.tensor(expected))


def test_radii_move_by_the_adversarial_prediction_of_the_training_forward():
    """Not by the clean one, nor by that of the attack's mode."""
    batch, model = digits(), half_learned(digits())
    method = build()
    twin = deepcopy(model)
    output, clean, x_adv = trained_on(method, model, batch)
    with torch.no_grad():
        clean_correct, correct = (twin(x).argmax(1) == batch.y for x in (clean, x_adv))
    assert (correct != clean_correct).any()
    expected = torch.where(correct, 18 * PIXEL, 14 * PIXEL)
    torch.testing.assert_close(method.radii.values, expected)
    torch.testing.assert_close(output.radius, torch.full((SIZE,), float(RADIUS)))  # trained at the old ones


def test_only_learn_moves_radii():
    batch, model = digits(), half_learned(digits())
    method = build()
    objective = method.prepare(model, batch, context())
    outputs = [objective(model) for _ in range(3)]
    assert torch.equal(method.radii.values, build().radii.values)
    method.update(batch, outputs[0])
    assert not torch.equal(method.radii.values, build().radii.values)


def test_floor_and_cap_bound_the_radii():
    method = build(floor=Radius("15px"), cap=Radius("17px"))
    batch, model = digits(), half_learned(digits())
    stream = torch.Generator().manual_seed(0)
    for _ in range(3):
        method.step(model, batch, StepContext(epoch=0, generator=stream))
    assert method.radii.values.min().item() == pytest.approx(15 * PIXEL)
    assert method.radii.values.max().item() == pytest.approx(17 * PIXEL)


def test_radii_start_at_the_reference_radius_by_default():
    config = IAATTRADESConfig()
    assert config.initial == config.all_steps_from == config.radius
    assert (config.beta, config.min_step, config.steps, config.floor, config.cap) == (6, 0.007, 10, 0, None)
    assert IAATTRADESConfig(mode="train").all_steps_from == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"radius": Radius(0)}, r"method\.radius = 0.*iaat_trades", id="no reference"),
        pytest.param({"reach": 0.0}, r"method\.reach = 0", id="no reach"),
        pytest.param({"start": 8.0}, r"method\.start = 8.*8px", id="start in pixel levels"),
        pytest.param({"cap": Radius("4px"), "start": Radius("5px")}, r"floor <= start <= cap", id="cap below start"),
        pytest.param({"floor": Radius("4px"), "start": Radius(0)}, r"floor <= start <= cap", id="floor above start"),
        pytest.param({"beta": -1.0}, r"method\.beta = -1: a weight", id="beta"),
        pytest.param({"full_steps_at": Radius("8px"), "mode": "batch"}, r"full_steps_at.*mode eval", id="mode"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        IAATTRADESConfig(**options)
