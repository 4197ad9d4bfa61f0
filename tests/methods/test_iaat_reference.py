"""IAAT with the paper rule is the authors' procedure: compared with a scalar-by-scalar oracle of it."""

from copy import deepcopy

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from iaat.methods import IAAT, IAATConfig, StepContext
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
    method = IAAT(config, size=len(x), device="cpu")
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
    config = IAATConfig(
        rule="paper", radius=Radius(start), gamma=Radius(gamma), beta=beta, warmup=warmup, steps=steps, mode="eval"
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
