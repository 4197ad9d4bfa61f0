"""DeepFool, MI-FGSM and C&W beside the implementations of other libraries; skipped where those are not installed.

Inside the bounds all agree; on saturated inputs they differ, since only ours makes up for the numbers on a bound, so
the networks here are attacked at interior points. The peers add 1e-4 to every length of DeepFool.
"""

import pytest
import torch
from torch import nn

from iaat.attacks.carlini_wagner import cw_l2
from iaat.attacks.deepfool import deepfool
from iaat.attacks.mi_fgsm import mi_fgsm

SIZE = 24


@pytest.fixture
def problem():
    """A small curved network, images well inside [0, 1], and the classes it gives them."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(64 * 4, 10)).double().eval()
    x = 0.35 + 0.3 * torch.rand(SIZE, 1, 8, 8, dtype=torch.float64)
    return model, x, model(x).argmax(1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_deepfool_agrees_with_adversarial_library(problem, norm):
    peer = pytest.importorskip("adv_lib.attacks.deepfool")
    model, x, y = problem
    ours = deepfool(model, x, y, norm=norm)
    theirs = peer.df(model, x, y, steps=50, norm=float("inf") if norm == "linf" else 2)
    assert bool((model(ours).argmax(1) != y).all())
    order = float("inf") if norm == "linf" else 2
    sizes = [(x_adv - x).flatten(1).norm(dim=1, p=order) for x_adv in (ours, theirs)]
    assert bool((sizes[0] <= sizes[1] + 1e-9).double().mean() > 0.9)
    torch.testing.assert_close(*sizes, rtol=0, atol=3e-4)


def test_mi_fgsm_agrees_with_torchattacks(problem):
    peer = pytest.importorskip("torchattacks")
    model, x, y = problem
    model, x = model.float(), x.float()
    theirs = peer.MIFGSM(model, eps=8 / 255, alpha=1 / 255, steps=10, decay=1.0)(x, y)
    ours = mi_fgsm(model, x, y, radius=8 / 255, step_size=1 / 255, steps=10)
    same = ((ours - theirs).abs() < 1e-6).double().mean()
    assert same > 0.999  # the rest: sums near 0, the sign of which is a matter of rounding


@pytest.mark.parametrize("confidence", [0.0, 0.2])
def test_cw_l2_agrees_with_adversarial_library(problem, confidence):
    peer = pytest.importorskip("adv_lib.attacks.carlini_wagner.l2")
    model, x, y = problem
    settings = {"confidence": confidence, "learning_rate": 0.01}
    ours = cw_l2(model, x, y, steps=60, searches=4, initial=0.1, **settings)
    theirs = peer.carlini_wagner_l2(
        model, x, y, max_iterations=60, binary_search_steps=4, initial_const=0.1, abort_early=False, **settings
    )
    assert (ours != x).flatten(1).any(1).sum() > SIZE / 2
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
