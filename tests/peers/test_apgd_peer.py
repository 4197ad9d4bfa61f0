"""APGD-T beside the implementations of others, on a small network trained adversarially here; skipped without them."""

import sys
import types

import pytest
import torch
from torch import nn

from iaat.attacks import pgd
from iaat.attacks.screening import apgd_t

RADIUS, TARGETS, STEPS = 0.1, 9, 100


@pytest.fixture(scope="module")
def trained():
    """Network with a few seconds of adversarial training on digits, and 200 digits it has not seen."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(x), generator=generator)
    x, y = x[order], y[order]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(12):
        for rows in torch.randperm(1500, generator=generator).split(100):
            x_adv = pgd(model, x[rows], y[rows], radius=RADIUS, steps=5, generator=generator)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x_adv), y[rows]).backward()
            optimizer.step()
    return model.eval().requires_grad_(False), x[1500:1700], y[1500:1700]


def accuracy(model, x, y):
    return 100 * (model(x).argmax(1) == y).float().mean().item()


@pytest.fixture(scope="module")
def ours(trained):
    model, x, y = trained
    generator = torch.Generator().manual_seed(0)
    x_adv = apgd_t(model, x, y, generator, radius=RADIUS, steps=STEPS, targets=TARGETS, precision="fp32")
    result = accuracy(model, x_adv, y)
    assert accuracy(model, x, y) - result > 5
    assert result > 20
    return result


def test_as_strong_as_adv_lib(trained, ours, monkeypatch):
    # Its loggers import packages that its attacks do not use.
    for name in ("visdom", "tqdm"):
        if name not in sys.modules:
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    theirs = pytest.importorskip("adv_lib.attacks.auto_pgd")
    model, x, y = trained
    torch.manual_seed(0)
    correct = model(x).argmax(1) == y
    x_adv = x.clone()
    x_adv[correct] = theirs.apgd_targeted(model, x[correct], y[correct], eps=RADIUS, norm=float("inf"), n_iter=STEPS)
    assert ours == pytest.approx(accuracy(model, x_adv, y), abs=0.5)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_as_strong_as_the_reference(trained, ours, norm):
    theirs = pytest.importorskip("pyautoattack.autopgd_base")
    model, x, y = trained
    radius = RADIUS if norm == "Linf" else 6 * RADIUS
    if norm == "L2":
        options = {"radius": radius, "norm": "l2", "steps": STEPS, "targets": TARGETS, "precision": "fp32"}
        ours = accuracy(model, apgd_t(model, x, y, torch.Generator().manual_seed(0), **options), y)
    with torch.random.fork_rng():
        attack = theirs.APGDAttack_targeted(
            model, n_iter=STEPS, norm=norm, eps=radius, seed=0, n_target_classes=TARGETS, device=torch.device("cpu")
        )
        result = accuracy(model, attack.perturb(x, y), y)
    assert 5 < result < accuracy(model, x, y) - 5
    assert ours == pytest.approx(result, abs=0.5)
