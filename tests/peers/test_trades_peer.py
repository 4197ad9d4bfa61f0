"""TRADES beside other libraries: its attack beside torchattacks, its loss beside ART; skipped without them."""

import pytest
import torch
from torch import nn

from helpers.pairs import smooth_network, trained_on
from iaat.methods import TRADES, TRADESConfig
from iaat.units import Radius
from methods.settings import digits

RADIUS, SIZE, SEED = Radius("8px"), 24, 5


def build(**options):
    return TRADES(TRADESConfig(**{"radius": RADIUS, **options}), size=SIZE, device="cpu")


def test_the_attack_agrees_with_torchattacks(monkeypatch):
    peer = pytest.importorskip("torchattacks")
    model, batch = smooth_network().float(), digits(SIZE)
    _, _, ours = trained_on(build(), model, batch, seed=SEED)
    noise = torch.randn(batch.x.shape, generator=torch.Generator().manual_seed(SEED))
    monkeypatch.setattr(torch, "randn_like", lambda _x: noise)
    theirs = peer.TPGD(model, eps=float(RADIUS), alpha=0.007, steps=10)(batch.x)
    same = ((ours - theirs).abs() < 1e-6).double().mean()
    assert same > 0.999  # the rest: gradients near 0, the sign of which is a matter of rounding
    assert ((ours - batch.x).abs() > 0.9 * RADIUS).double().mean() > 0.3


class Given:
    """An attack that has been made."""

    def __init__(self, x_adv):
        self.x_adv = x_adv.numpy()

    def generate(self, _x, y):
        return self.x_adv


@pytest.mark.parametrize("beta", [1.0, 6.0])
def test_loss_and_gradient_agree_with_art(beta):
    trainers = pytest.importorskip("art.defences.trainer", exc_type=ImportError)
    evasion = pytest.importorskip("art.attacks.evasion")
    estimators = pytest.importorskip("art.estimators.classification")
    model, batch = smooth_network().float(), digits(SIZE)
    output, _, x_adv = trained_on(build(beta=beta, radius=Radius("64px")), model, batch)
    output.loss.backward()
    gradients = [w.grad.clone() for w in model.parameters()]

    standing = torch.optim.SGD(model.parameters(), lr=0.0)
    options = {"input_shape": (1, 8, 8), "nb_classes": 10, "clip_values": (0, 1), "device_type": "cpu"}
    classifier = estimators.PyTorchClassifier(model, nn.CrossEntropyLoss(), optimizer=standing, **options)
    trainer = trainers.AdversarialTrainerTRADESPyTorch(classifier, evasion.ProjectedGradientDescent(classifier), beta)
    trainer._attack = Given(x_adv)
    total, _, count = trainer._batch_process(batch.x.numpy(), nn.functional.one_hot(batch.y, 10).float().numpy())
    assert output.metrics["kl"].mean() > 0.01
    assert output.loss.item() == pytest.approx(total / count, rel=1e-5)
    for mine, theirs in zip(gradients, model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.grad, rtol=1e-4, atol=1e-6)
