"""IAAT by its authors' rule is their procedure with clamped starts: compared with a scalar-by-scalar oracle."""

from copy import deepcopy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from iaat.attacks import pgd
from iaat.methods import IAATPaper, IAATPaperConfig, StepContext
from iaat.types import Batch
from iaat.units import Radius
from reference import iaat_slow

IMAGES, BATCH, LR = 60, 12, 1.0


def digits(seed):
    data = load_digits()
    chosen = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(seed))[:IMAGES]
    x = torch.tensor(data.images)[chosen].unsqueeze(1) / 16
    return x, torch.tensor(data.target)[chosen]


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10)).double()


def permutations(seed, epochs):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randperm(IMAGES, generator=generator).split(BATCH) for _ in range(epochs)]


def train_with_iaat(model, x, y, schedule, generator, config):
    method = IAATPaper(config, size=len(x), device="cpu")
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    history = []
    for epoch, batches in enumerate(schedule):
        for index in batches:
            optimizer.zero_grad()
            batch = Batch(x[index], y[index], index)
            method.step(model, batch, StepContext(epoch=epoch, generator=generator)).loss.backward()
            optimizer.step()
        history.append(method.radii.values.double())
    return history


@pytest.mark.parametrize(
    ("seed", "start", "gamma", "beta"),
    [
        pytest.param(0, 24 / 255, 1.9 / 255, 0.1, id="authors-gamma-and-beta"),
        pytest.param(1, 24 / 255, 12 / 255, 0.5, id="large-moves"),
        pytest.param(2, 24 / 255, 16 / 255, 1.0, id="straight-to-the-target"),
    ],
)
def test_radii_and_weights_follow_the_authors_procedure(seed, start, gamma, beta):
    x, y = digits(seed)
    warmup, epochs, steps = 2, 6, 5
    schedule = permutations(seed, epochs)
    slow_model = network(seed)
    fast_model = deepcopy(slow_model)
    first_weights = [w.detach().clone() for w in slow_model.parameters()]

    expected = iaat_slow.train(
        slow_model,
        x,
        y.tolist(),
        [[index.tolist() for index in batches] for batches in schedule],
        torch.Generator().manual_seed(seed),
        lr=LR,
        warmup_epochs=warmup,
        steps=steps,
        start_radius=start,
        gamma=gamma,
        beta=beta,
    )
    config = IAATPaperConfig(
        radius=Radius(start), gamma=Radius(gamma), beta=beta, warmup=warmup, steps=steps, mode="eval"
    ).over(epochs)
    radii = train_with_iaat(fast_model, x, y, schedule, torch.Generator().manual_seed(seed), config)
    expected = [torch.tensor(values, dtype=torch.float64) for values in expected]

    zero_after_warmup, final = expected[warmup - 1] == 0, expected[-1]
    assert zero_after_warmup.sum() >= 3
    assert (final > start).sum() >= 3
    assert ((final > 0) & (final < start) & ~zero_after_warmup).sum() >= 3
    assert (final == 0).any()
    for epoch, (mine, theirs) in enumerate(zip(radii, expected, strict=True)):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6, msg=lambda m, e=epoch: f"epoch {e}: {m}")
    for mine, theirs, first in zip(fast_model.parameters(), slow_model.parameters(), first_weights, strict=True):
        assert (theirs - first).abs().max() > 0.05
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)


def oracle_run(seed, *, clamped_start):
    """Radii after 4 epochs of the oracle at 40px, of which 2 are the warm-up."""
    x, y = digits(seed)
    schedule = [[index.tolist() for index in batches] for batches in permutations(seed, 4)]
    generator = torch.Generator().manual_seed(seed)
    settings = {"lr": LR, "warmup_epochs": 2, "steps": 5, "start_radius": 40 / 255, "gamma": 12 / 255, "beta": 0.5}
    history = iaat_slow.train(
        network(seed), x, y.tolist(), schedule, generator, clamped_start=clamped_start, **settings
    )
    return torch.tensor(history[-1], dtype=torch.float64)


def test_the_authors_start_is_not_clamped_and_ours_is():
    """With their start radii end elsewhere: the oracle of ours is not theirs, and the difference is the start's."""
    x, y = digits(0)
    schedule, generator = permutations(0, 4), torch.Generator().manual_seed(0)
    config = IAATPaperConfig(radius=Radius("40px"), gamma=Radius("12px"), beta=0.5, warmup=2, steps=5, mode="eval")
    ours = train_with_iaat(network(0), x, y, schedule, generator, config)[-1]
    torch.testing.assert_close(ours, oracle_run(0, clamped_start=True), rtol=0, atol=1e-6)
    theirs = oracle_run(0, clamped_start=False)
    moved = (ours - theirs).abs() > 1 / 255
    assert 0 < moved.sum() < len(moved) / 2


def test_the_authors_attack_is_ours_from_its_first_projected_point_on():
    """Their start lies outside of the image's range; after one step by hand both attacks are the same."""
    x, y = digits(1)
    model, radius, steps = network(1), 40 / 255, 5
    uniform = torch.rand(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    start = x + (2 * uniform - 1) * radius
    step = max(radius / (0.5 * steps), 2 / 255)
    leaf = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), y, reduction="sum"), leaf)
    first = (x + (start + step * gradient.sign() - x).clamp(-radius, radius)).clamp(0, 1)
    theirs = pgd(model, x, y, radius=radius, steps=steps - 1, step_size=step, x_init=first)
    ours = pgd(model, x, y, radius=radius, steps=steps, step_size=step, x_init=start)
    for row in range(20):
        for clamped, expected in ((False, theirs), (True, ours)):
            slow = iaat_slow.attack(model, x[row], int(y[row]), uniform[row], radius, steps, clamped_start=clamped)
            torch.testing.assert_close(expected[row].flatten(), torch.tensor(slow, dtype=x.dtype), rtol=0, atol=1e-12)
    assert ((start < 0) | (start > 1)).any()
    assert not torch.equal(ours, theirs)


def test_without_a_warm_up_every_radius_begins_at_the_radius_and_moves_at_once():
    x, y = digits(3)
    schedule = permutations(3, 2)
    settings = {"gamma": 12 / 255, "beta": 0.5, "steps": 3}
    expected = iaat_slow.train(
        network(3),
        x,
        y.tolist(),
        [[index.tolist() for index in batches] for batches in schedule],
        torch.Generator().manual_seed(3),
        lr=LR,
        warmup_epochs=0,
        start_radius=40 / 255,
        **settings,
    )
    config = IAATPaperConfig(radius=Radius("40px"), warmup=0, mode="eval", **settings).over(2)
    assert IAATPaper(config, size=3, device="cpu").radii.values.tolist() == pytest.approx([40 / 255] * 3)
    radii = train_with_iaat(network(3), x, y, schedule, torch.Generator().manual_seed(3), config)
    for mine, theirs in zip(radii, expected, strict=True):
        torch.testing.assert_close(mine, torch.tensor(theirs, dtype=torch.float64), rtol=0, atol=1e-6)
    assert (radii[0] - 20 / 255).abs().min() < 1e-6  # of a sample that is misclassified when first seen
