"""Every training method with small settings, what the common tests may expect of it, and what they run it on."""

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import nn

from iaat.methods import METHODS, StepContext
from iaat.runtime.passes import count_passes
from iaat.types import Batch
from iaat.units import Radius

SIZE, STEPS, WARMUP = 40, 3, 1
EPOCHS = 10
"""Epochs of the runs that methods are built for."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A method, small settings of it, and which promises it makes; those of adversarial training by default."""

    method: str
    options: Mapping[str, object] = field(default_factory=dict)
    attacks: bool = True
    """It has an attack, and so a norm, a mode, radii and random starts."""
    cross_entropy: bool = True
    """Its loss is the mean cross-entropy of its logits, those of one training forward of one input a sample."""
    full_radius: bool = True
    """Some training input of every sample lies about as far away as its radius says."""
    exact_cost: bool = True
    """Every step takes the passes it states; elsewhere they are the most."""
    learns_radii: bool = False
    """It keeps a radius of every sample in memory, and attacks move it."""
    finds_radii: bool = False
    """A radius is the distance an attack has found, not the one it was given; the settings only bound it."""
    smooths: bool = True
    """It takes label smoothing."""
    modes: tuple[str, ...] = ("eval", "batch", "train")
    """Modes its attack can run in."""
    epochs: tuple[int, ...] = (WARMUP,)
    """Epochs in which it does different things."""
    needs_ema: bool = False
    """Runs of it need `train.ema`: the average is a teacher."""
    any_radius: Mapping[str, object] = field(default_factory=dict)
    """Settings under which the norm alone bounds the radius."""


ATTACK = {"radius": Radius("16px"), "steps": STEPS}
STAIRCASE = {**ATTACK, "reach": EPOCHS / 16}
# Where BatchNorm sees the batch, all of it is attacked at both radii.
PAPER = {**ATTACK, "gamma": Radius("1.9px"), "beta": 0.1, "warmup": WARMUP, "mode": "batch"}
STAGES = (0, WARMUP)

SETTINGS: dict[str, Case] = {
    "natural": Case(method="natural", attacks=False),
    "pgd_at": Case(method="pgd_at", options=ATTACK),
    "pgd_at, random targets": Case(method="pgd_at", options={**ATTACK, "target": "random"}),
    "pgd_at nfgsm": Case(method="pgd_at", options={**ATTACK, "inner": "nfgsm"}),
    "pgd_at, kl": Case(method="pgd_at", options={**ATTACK, "kl": 2.0}, cross_entropy=False),
    "nfgsm": Case(method="nfgsm", options=ATTACK),
    "nfgsm, soft labels": Case(
        method="nfgsm",
        options={**ATTACK, "soft_labels": 0.7, "soft_temperature": 2.0},
        cross_entropy=False,
        needs_ema=True,
    ),
    "iaat": Case(method="iaat", options=STAIRCASE, learns_radii=True),
    "iaat, all steps for all": Case(
        method="iaat", options={**STAIRCASE, "full_steps_at": Radius(0)}, learns_radii=True
    ),
    "iaat nfgsm": Case(method="iaat", options={**STAIRCASE, "inner": "nfgsm"}, learns_radii=True),
    "iaat, soft labels by radius and kl": Case(
        method="iaat",
        options={**STAIRCASE, "soft_labels": 0.9, "soft_by_radius": True, "kl": 1.0},
        cross_entropy=False,
        learns_radii=True,
        needs_ema=True,
    ),
    "iaat, spread": Case(method="iaat", options={**STAIRCASE, "spread": 0.5, "success": 0.3}, learns_radii=True),
    "iaat_paper": Case(method="iaat_paper", options=PAPER, learns_radii=True, epochs=STAGES),
    "iaat_paper, misclassified on clean": Case(
        method="iaat_paper", options={**PAPER, "clean_wrong": "clean"}, learns_radii=True, epochs=STAGES
    ),
    "iaat_paper, random targets": Case(
        method="iaat_paper", options={**PAPER, "target": "random"}, learns_radii=True, epochs=STAGES
    ),
    "iaat_paper nfgsm": Case(
        method="iaat_paper", options={**PAPER, "inner": "nfgsm"}, learns_radii=True, epochs=STAGES
    ),
    "vpb": Case(method="vpb", options=ATTACK),
    "vpb nfgsm": Case(method="vpb", options={**ATTACK, "inner": "nfgsm"}),
    "gradnorm": Case(method="gradnorm", options=ATTACK),
    "gradnorm nfgsm": Case(method="gradnorm", options={**ATTACK, "inner": "nfgsm"}),
    "trades": Case(method="trades", options=ATTACK, cross_entropy=False),
    "mart": Case(method="mart", options=ATTACK, cross_entropy=False),
    "iaat_trades": Case(
        method="iaat_trades",
        options={**ATTACK, "reach": EPOCHS / 16},
        cross_entropy=False,
        learns_radii=True,
    ),
    "fat": Case(
        method="fat",
        options={**ATTACK, "taus": [0, 1], "tau_from": [0, WARMUP]},
        full_radius=False,
        exact_cost=False,
        modes=("eval",),
        epochs=STAGES,
    ),
    "mma": Case(
        method="mma",
        options={**ATTACK, "searches": 4},
        cross_entropy=False,
        learns_radii=True,
        finds_radii=True,
    ),
    "cat": Case(
        method="cat",
        options=ATTACK,
        cross_entropy=False,
        learns_radii=True,
        smooths=False,
        any_radius={"c": 0.0},
    ),
}
"""A method that is missing here fails `test_the_table_covers_every_method`."""


def names(**expected):
    """Names of the settings with a case of these values, such as `attacks=True`."""
    return [name for name, case in SETTINGS.items() if all(getattr(case, k) == v for k, v in expected.items())]


def one_each(**expected):
    """Of these names the first of every method, for tests that take long or ask the same of all settings."""
    return list({SETTINGS[name].method: name for name in reversed(names(**expected))}.values())[::-1]


def build(name, size=SIZE, **overrides):
    """The method of a case, with some settings overridden."""
    case = SETTINGS[name]
    cls = METHODS[case.method]
    return cls(cls.Config(**{**case.options, **overrides}).over(EPOCHS), size=size, device="cpu")


def visited(name, **overrides):
    """The same in the course of training: radii in memory, if it has any, differ from sample to sample."""
    method = build(name, **overrides)
    if method.radii is not None:
        method.radii[:] = torch.arange(len(method.radii)) / 3 / 255
    return method


class Teacher(nn.Module):
    """Some linear classifier of digits, in the number format of its inputs."""

    def __init__(self):
        super().__init__()
        self.matrix = torch.randn(64, 10, generator=torch.Generator().manual_seed(7), dtype=torch.float64)

    def forward(self, x):
        return x.flatten(1) @ self.matrix.to(x)


TEACHER = Teacher()


def context(epoch=WARMUP, seed=0):
    return StepContext(epoch=epoch, generator=torch.Generator().manual_seed(seed), teacher=TEACHER)


@contextmanager
def counted(model):
    """Passes of the model and of the teacher."""
    with count_passes(model) as passes, count_passes(TEACHER, passes):
        yield passes


def network(seed=0, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10)
        return nn.Sequential(*layers).to(dtype)


_digits = cache(load_digits)


def digits(size=SIZE, dtype=torch.float32):
    x = torch.tensor(_digits().images[:size], dtype=dtype).unsqueeze(1) / 16
    return Batch(x, torch.tensor(_digits().target[:size]), torch.arange(size))


def half_learned(batch, dtype=torch.float32):
    """A model that classifies some of the digits correctly."""
    model = network(dtype=dtype).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch.x), batch.y).backward()
        optimizer.step()
    return model
