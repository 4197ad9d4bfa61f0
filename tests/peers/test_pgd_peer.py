"""PGD beside the implementation of torchattacks, both from the clean input; skipped where it is not installed."""

import pytest
import torch

from helpers.pairs import smooth_network
from iaat.attacks import pgd
from methods.settings import digits

SIZE, STEPS = 24, 10


def test_pgd_agrees_with_torchattacks():
    peer = pytest.importorskip("torchattacks")
    model, batch = smooth_network().float(), digits(SIZE)
    radius, step_size = 16 / 255, 4 / 255
    theirs = peer.PGD(model, eps=radius, alpha=step_size, steps=STEPS, random_start=False)(batch.x, batch.y)
    way = {"radius": radius, "step_size": step_size, "steps": STEPS, "x_init": batch.x}
    ours = pgd(model, batch.x, batch.y, **way)
    same = ((ours - theirs).abs() < 1e-6).double().mean()
    assert same > 0.999  # the rest: gradients near 0, the sign of which is a matter of rounding
    assert (ours - batch.x).abs().max() == pytest.approx(radius)


def test_pgd_in_l2_agrees_with_torchattacks():
    peer = pytest.importorskip("torchattacks")
    model, batch = smooth_network().float(), digits(SIZE)
    radius, step_size = 0.5, 0.1
    theirs = peer.PGDL2(model, eps=radius, alpha=step_size, steps=STEPS, random_start=False)(batch.x, batch.y)
    way = {"radius": radius, "step_size": step_size, "steps": STEPS, "x_init": batch.x, "norm": "l2"}
    ours = pgd(model, batch.x, batch.y, **way)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert (ours - batch.x).flatten(1).norm(dim=1).min() > 0.5 * radius
