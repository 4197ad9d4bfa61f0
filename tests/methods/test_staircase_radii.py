"""Where a staircase brings radii to rest, and radii of constant mean that follow the learned ones."""

import math

import pytest
import torch
from torch import nn

from iaat.errors import UserError
from iaat.methods import IAAT, IAATTRADES, CATConfig, IAATConfig, IAATPaperConfig, StepContext
from iaat.types import Batch, StepOutput
from iaat.units import PIXEL, Radius
from methods.settings import EPOCHS, SIZE, context, digits, half_learned

RADIUS = Radius("16px")
both = pytest.mark.parametrize("cls", [IAAT, IAATTRADES])


def build(cls=IAAT, size=SIZE, epochs=EPOCHS, **options):
    config = cls.Config(**{"radius": RADIUS, "steps": 2, **options})
    return cls(config.over(epochs), size=size, device="cpu")


# Success


@pytest.mark.parametrize("success", [0.2, 0.35, 0.5, 0.8])
def test_radii_rest_where_that_fraction_of_attacks_succeeds(success):
    """Of samples with attacks that succeed with the probability 1 - exp(-r / 8px): at r = -8px log(1 - success)."""
    method = build(size=400, epochs=4000, success=success, reach=30.0, start=Radius("8px"))
    generator = torch.Generator().manual_seed(0)
    batch = Batch(torch.zeros(400, 1), torch.zeros(400, dtype=torch.int64), torch.arange(400))
    late, succeeded = [], []
    for visit in range(2500):
        chance = 1 - torch.exp(-method.radii.values / (8 * PIXEL))
        attack_succeeds = torch.rand(400, generator=generator) < chance
        logits = nn.functional.one_hot(attack_succeeds.long(), 2).float()
        method.update(batch, StepOutput(torch.zeros(()), logits, method.radii.values))
        if visit >= 2000:
            late.append(method.radii.values.double().mean().item())
            succeeded.append(attack_succeeds.double().mean().item())
    assert sum(succeeded) / 500 == pytest.approx(success, abs=0.01)
    assert sum(late) / 500 / PIXEL == pytest.approx(-8 * math.log(1 - success), rel=0.03)


def test_a_half_moves_by_equal_steps_and_less_by_longer_ones_down():
    batch = Batch(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), torch.arange(2))
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # one attack fails, one succeeds
    for success, px in ((0.5, [10, 6]), (0.25, [10, 2]), (0.8, [10, 7.5])):
        method = build(size=2, epochs=8, reach=1.0, start=Radius("8px"), success=success)  # 2px a visit
        method.update(batch, StepOutput(torch.zeros(()), logits, method.radii.values))
        torch.testing.assert_close(method.radii.values / PIXEL, torch.tensor(px, dtype=torch.float32))


@pytest.mark.parametrize("success", [0.1, 0.5, 0.9])
def test_the_largest_radius_has_nothing_to_do_with_it(success):
    assert IAATConfig(success=success).largest_radius(10) == IAATConfig().largest_radius(10)


# Ramp


@both
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_while_a_ramp_lasts_radii_grow_only_where_the_attack_reached_them(cls, spread):
    batch = digits()
    model = half_learned(batch)
    for epoch in range(6):
        method = build(cls, ramp=4, spread=spread)
        method.radii[:] = learned = torch.arange(SIZE).float() * PIXEL
        output = method.step(model, batch, context(epoch))
        correct = output.logits.argmax(dim=1) == batch.y
        up, down = (method.radii.values > learned), (method.radii.values < learned)
        assert torch.equal(down, ~correct & (learned > 0))
        assert torch.equal(up, correct & ((output.radius >= learned) | (epoch >= 4)))


# Spread


def slow_radii(learned, spread, radius):
    mean = math.fsum(learned) / len(learned)
    ratios = [min(max(each / mean if mean else 1.0, 1 - spread), 1 + spread) for each in learned]
    return [radius * ratio * len(ratios) / math.fsum(ratios) for ratio in ratios]


@both
@pytest.mark.parametrize("spread", [0.1, 0.5, 0.95])
def test_a_batch_is_attacked_at_a_mean_of_the_radius_in_the_order_of_the_learned_ones(cls, spread):
    method, batch = build(cls, spread=spread), digits()
    learned = torch.arange(SIZE).float() * PIXEL
    method.radii[:] = learned
    radius = method.step(half_learned(batch), batch, context()).radius
    expected = slow_radii(learned.tolist(), spread, float(RADIUS))
    assert radius.tolist() == pytest.approx(expected, rel=1e-5)
    assert radius.double().mean().item() == pytest.approx(float(RADIUS), rel=1e-6)
    assert bool((radius.diff() >= -1e-7).all())
    assert radius.max() > radius.min() * (1 + spread)
    assert radius.max() <= method.config.largest_radius(EPOCHS)


@both
def test_radii_of_0_and_equal_ones_are_all_at_the_radius(cls):
    for start in (0.0, 5 * PIXEL):
        method, batch = build(cls, spread=0.5, start=Radius(start)), digits()
        radius = method.step(half_learned(batch), batch, context()).radius
        torch.testing.assert_close(radius, torch.full((SIZE,), float(RADIUS)))
        assert len(method.radii.values.unique()) == 2  # learned all the same, up or down by a step


def test_only_samples_that_count_are_in_the_mean():
    method, batch = build(spread=0.5), digits()
    method.radii[:] = torch.arange(SIZE).float() * PIXEL
    whole = method.radii_of(None, batch, context())
    own = method.radii_of(None, batch, StepContext(0, own=10))
    first = method.radii_of(None, batch.rows(slice(10)), context())
    torch.testing.assert_close(own[:10], first)
    assert not torch.allclose(whole[:10], first)


def test_the_largest_radius_is_a_bound_that_one_large_radius_comes_close_to():
    method, batch = build(spread=0.5, ramp=2), digits()
    method.radii[:] = torch.nn.functional.one_hot(torch.tensor(3), SIZE).float() * 0.1
    radius = method.radii_of(None, batch, context())
    bound = method.config.largest_radius(EPOCHS)
    assert bound == pytest.approx(3 * RADIUS)
    assert 0.95 * bound < radius.max() <= bound
    assert method.config.largest_radius(2) == pytest.approx(bound / 2)  # within the ramp


def test_floor_and_cap_bound_the_learned_radii():
    method, batch = build(spread=0.5, floor=Radius("15px"), cap=Radius("17px")), digits()
    model = half_learned(batch)
    for _ in range(3):
        method.step(model, batch, context())
    assert set((method.radii.values / PIXEL).round(decimals=3).tolist()) <= {15.0, 16.0, 17.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"success": 0.0}, r"method\.success = 0: a fraction"),
        ({"success": 1.0}, r"method\.success = 1: a fraction"),
        ({"success": float("nan")}, r"method\.success = nan"),
        ({"spread": -0.1}, r"method\.spread = -0\.1: a fraction in \[0, 1\)"),
        ({"spread": 1.0}, r"method\.spread = 1: a fraction"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        IAATConfig(**options)


@pytest.mark.parametrize(("norm", "px"), [("linf", 255.0), ("l2", 304.0)])
def test_a_step_that_follows_from_few_epochs_stays_within_the_pixel_range(norm, px):
    config = IAATConfig(radius=Radius("128px"), norm=norm).over(epochs=1)
    assert config.per_visit / PIXEL == pytest.approx(px)
    cat = CATConfig(radius=Radius("128px"), norm=norm, c=0.0)
    assert cat.over(epochs=1).eta / PIXEL == pytest.approx(px)
    assert cat.largest_radius(1) == Radius("128px")
    paper = IAATPaperConfig(radius=Radius("128px"), norm=norm)
    assert paper.over(epochs=1).gamma / PIXEL == pytest.approx(px)
    assert paper.gain(1) / PIXEL == pytest.approx(px)
