"""Our faster AutoAttack against the unmodified reference, sample by sample."""

import pytest
import torch
from torch import nn

from helpers.planted import cnn, digits, mlp, trained
from iaat.evaluate.autoattack import ensemble, reference_attack

RADII = {"linf": 40 / 255, "l2": 0.7}
ATTACKS = ensemble(10)


class Residual(nn.Module):
    """A residual network with BatchNorm, the size of a test."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, stride=2)
        self.block = nn.Sequential(
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 1),
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))

    def forward(self, x):
        stem = self.stem(x)
        return self.head(stem + self.block(stem))


class NearlyLinear(nn.Module):
    """A linear map with a small smooth bend."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        logits = self.linear(x.flatten(1))
        return logits + 0.01 * torch.tanh(logits)


NETWORKS = {
    "small CNN": (cnn, True),
    "residual": (Residual, True),
    "no BatchNorm": (mlp, True),
    "nearly linear": (NearlyLinear, True),
    "natural training": (cnn, False),
}


@pytest.fixture(scope="module")
def networks():
    (x, y), _ = digits()
    made = {}

    def get(name, norm):
        if (name, norm) not in made:
            build, robust = NETWORKS[name]
            torch.manual_seed(0)
            radius = RADII[norm] if robust else 0.0
            made[name, norm] = trained(build(), x, y, radius=radius, epochs=3, norm=norm)
        return made[name, norm]

    return get


def correct(network, norm, n):
    """Test samples that the network classifies correctly, at a radius that breaks some and not all of them."""
    _, (x, y) = digits()
    with torch.no_grad():
        rows = (network(x).argmax(1) == y).nonzero()[:n, 0]
    return x[rows], y[rows]


def compare(network, norm, radius, n, **settings):
    """Each attack in turn on the samples that the reference left robust; returns how many each broke."""
    x, y = correct(network, norm, n)
    broken = []
    for attack in ATTACKS:
        both = [
            reference_attack(
                attack, network, x, y, radius=radius, norm=norm, classes=10, seed=3, shortcuts=lean, **settings
            )
            for lean in (False, True)
        ]
        with torch.no_grad():
            robust, ours = (network(x_adv).argmax(1) == y for x_adv in both)
        assert torch.equal(robust, ours), attack
        if attack.startswith("apgd"):  # of a broken sample ours returns the first adversarial iterate, not the last
            assert torch.equal(both[0][robust], both[1][robust])
            delta = (both[1] - x).flatten(1)
            size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
            assert float(size.max()) <= radius * (1 + 1e-5) + 1e-6
        else:
            assert torch.equal(*both), attack
        broken.append(int((~robust).sum()))
        x, y = x[robust], y[robust]
        if not len(x):
            break
    return broken, len(x)


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_samples_are_broken_as_by_the_reference(networks, name, norm, monkeypatch):
    monkeypatch.setattr("iaat.evaluate.autoattack._TARGETS", 2)
    network = networks(name, norm)
    broken, left = compare(network, norm, 0.6 * RADII[norm], 32, queries=120)
    assert sum(broken) > 0
    assert left > 0 or name == "natural training"


@pytest.mark.slow
@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_standard_version_breaks_the_same_samples(networks, name, norm):
    compare(networks(name, norm), norm, RADII[norm], 128)


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_attack_alone_breaks_what_the_reference_breaks(networks, attack, norm, monkeypatch):
    """In the ensemble the later attacks find few samples that they can break; alone they break many."""
    monkeypatch.setattr("iaat.evaluate.autoattack._TARGETS", 3)
    network = networks("small CNN", norm)
    x, y = correct(network, norm, 48)
    settings = {"radius": RADII[norm], "norm": norm, "classes": 10, "seed": 0, "queries": 400}
    first, second = (reference_attack(attack, network, x, y, shortcuts=lean, **settings) for lean in (False, True))
    with torch.no_grad():
        robust, ours = (network(x_adv).argmax(1) == y for x_adv in (first, second))
    assert torch.equal(robust, ours)
    assert 0 < int(robust.sum()) < len(y)
    assert attack.startswith("apgd") or torch.equal(first, second)


@pytest.mark.parametrize("norm", RADII)
def test_a_network_in_channels_last_on_colour_images(norm, monkeypatch):
    """Its gradients are not in the order of memory of the images."""
    monkeypatch.setattr("iaat.evaluate.autoattack._TARGETS", 1)
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2), nn.Flatten()
    network = nn.Sequential(*layers, nn.Linear(392, 10)).to(memory_format=torch.channels_last).eval()
    x = torch.rand(24, 3, 16, 16)
    with torch.no_grad():
        y = network(x).argmax(1)
    radius = {"linf": 0.02, "l2": 0.3}[norm]
    for attack in ATTACKS:
        settings = {"radius": radius, "norm": norm, "classes": 10, "seed": 0, "queries": 30}
        first, second = (reference_attack(attack, network, x, y, shortcuts=lean, **settings) for lean in (False, True))
        with torch.no_grad():
            robust, ours = (network(x_adv).argmax(1) == y for x_adv in (first, second))
        assert torch.equal(robust, ours), attack
        assert torch.equal(first[robust], second[robust])
        for arithmetic in ("channels_last", "bfloat16"):
            x_adv = reference_attack(attack, network, x, y, arithmetic=arithmetic, **settings)
            assert x_adv.shape == x.shape
            assert x_adv.dtype == torch.float32
            assert float((x_adv - x).abs().max()) <= (radius + 1e-6 if norm == "linf" else 1)


class Counted(nn.Module):
    """A network that counts the samples it is given; its logits may depend on how many those are."""

    def __init__(self, network, drift=0.0):
        super().__init__()
        self.network, self.drift, self.samples = network, drift, 0

    def forward(self, x):
        self.samples += len(x)
        return self.network(x) * (1 + self.drift * len(x))


@pytest.mark.parametrize("attack", ["apgd-ce", "apgd-t"])
def test_broken_samples_leave_unless_the_others_are_then_rounded_differently(networks, attack, monkeypatch):
    monkeypatch.setattr("iaat.evaluate.autoattack._TARGETS", 1)
    network = networks("natural training", "linf")
    x, y = correct(network, "linf", 64)
    counts, robust = {}, {}
    for drift in (0.0, 1e-3):
        for lean in (False, True):
            counted = Counted(network, drift).eval()
            x_adv = reference_attack(
                attack, counted, x, y, radius=0.15, norm="linf", classes=10, seed=0, shortcuts=lean
            )
            counts[drift, lean] = counted.samples
            with torch.no_grad():
                robust[drift, lean] = counted(x_adv).argmax(1) == y
        assert torch.equal(robust[drift, False], robust[drift, True])
        assert 0 < int(robust[drift, True].sum()) < len(y) / 2
    assert counts[0.0, True] < 0.8 * counts[0.0, False]
    assert counts[1e-3, False] <= counts[1e-3, True] <= counts[1e-3, False] + len(y)  # one step was taken twice
