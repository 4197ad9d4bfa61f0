"""Steps per sample: the same result as one sample at a time, at the cost of the steps taken."""

import pytest
import torch
from torch import nn

from iaat.attacks import per_sample, pgd
from iaat.errors import UserError
from iaat.runtime.passes import count_passes

B, SHAPE = 100, (2, 6, 6)
every_norm = pytest.mark.parametrize("norm", ["linf", "l2"])


def network(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 5)
        return nn.Sequential(*layers).to(dtype)


def batch():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(B, *SHAPE, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 5, (B,), generator=generator)
    radius = 0.2 * torch.rand(B, generator=generator, dtype=torch.float64)
    x_init = x + (2 * torch.rand(x.shape, generator=generator, dtype=torch.float64) - 1) * per_sample(radius, x) / 10
    return x, y, radius, x_init


@every_norm
def test_each_sample_takes_its_own_steps(norm):
    model, (x, y, radius, x_init) = network(), batch()
    steps = torch.randint(0, 7, (B,), generator=torch.Generator().manual_seed(2))
    together = pgd(model, x, y, radius=radius, steps=steps, step_size=0.03, norm=norm, x_init=x_init)
    assert set(steps.tolist()) == set(range(7))
    for i in range(B):
        one = slice(i, i + 1)
        if steps[i] == 0:
            alone = x_init[one].clamp(0, 1)
        else:
            alone = pgd(
                model,
                x[one],
                y[one],
                radius=radius[one],
                steps=int(steps[i]),
                step_size=0.03,
                norm=norm,
                x_init=x_init[one],
            )
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-12)


def test_the_price_is_what_each_takes_rounded_up_to_buckets():
    model, (x, y, radius, _) = network(), batch()
    steps = torch.tensor([0] * 30 + [1] * 10 + [3] * 50 + [8] * 10)
    with count_passes(model) as passes:
        pgd(model, x, y, radius=radius, steps=steps)
    # 70 take the first step, 60 the second and third, 10 the others; multiples of 8 stay.
    assert passes.forward == passes.backward == 72 + 2 * 64 + 5 * 16


def test_nobody_steps():
    model, (x, y, radius, x_init) = network(), batch()
    with count_passes(model) as passes:
        x_adv = pgd(model, x, y, radius=radius, steps=torch.zeros(B, dtype=torch.int64), x_init=x_init)
    assert passes.forward == 0
    assert torch.equal(x_adv, x_init.clamp(0, 1))


def test_equal_steps_are_the_plain_attack():
    model, (x, y, radius, _) = network(), batch()
    plain, own = (
        pgd(model, x, y, radius=radius, steps=steps, generator=torch.Generator().manual_seed(3))
        for steps in (4, torch.full((B,), 4))
    )
    torch.testing.assert_close(plain, own, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [10, torch.arange(B) % 7 + 4])
def test_no_input_is_overwritten(steps):
    model, (x, y, radius, x_init) = network(), batch()
    before = x.clone(), x_init.clone()
    for start in (None, x_init):
        x_adv = pgd(model, x, y, radius=radius, steps=steps, x_init=start)
        assert (x_adv - x).abs().max() > 0.1
        assert torch.equal(x, before[0])
        assert torch.equal(x_init, before[1])


@every_norm
def test_a_start_is_put_inside_the_ball_first(norm):
    model, (x, y, radius, _) = network(), batch()
    far = torch.rand(x.shape, generator=torch.Generator().manual_seed(4), dtype=x.dtype)
    x_adv = pgd(model, x, y, radius=radius, steps=1, step_size=0.0, x_init=far, norm=norm)
    size = (x_adv - x).flatten(1)
    size = size.abs().amax(1) if norm == "linf" else size.norm(dim=1)
    torch.testing.assert_close(size, radius)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "batch"}, "use mode 'eval'"),
        ({"steps": torch.ones(B)}, "whole numbers"),
        ({"steps": torch.ones(B - 1, dtype=torch.int64)}, r"\[99\] for a batch of 100"),
    ],
)
def test_what_steps_of_their_own_exclude(changes, words):
    model, (x, y, radius, _) = network(), batch()
    with pytest.raises(UserError, match=words):
        pgd(model, x, y, radius=radius, **{"steps": torch.ones(B, dtype=torch.int64), **changes})
