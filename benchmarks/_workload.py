"""Workload of the benchmarks of attacks and steps: a model, a batch it has begun to learn, and their memory format.

Some costs depend on the data: a rule that leaves out what is decided already, steps in proportion to a radius. So the
batch can be learned (class patterns of a contrast that differs from image to image, so that margins differ too), and
the model takes a few single-step adversarial training steps on it before anything is measured.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from _measure import parser
from pyarrow.parquet import read_table
from torch import Tensor, nn
from torch.optim import SGD

from iaat import pgd
from iaat.data import DataSplits, Source
from iaat.models import ModelConfig, build_model
from iaat.runtime import rng
from iaat.runtime.device import autocast
from iaat.types import Batch

BATCHES = {"small-cnn": 128, "resnet18": 32}
"""Batch size of each model measured by default."""
PRECISIONS = ("fp32", "bf16")
SHAPE, CLASSES = (3, 32, 32), 10
RADIUS, MIN_STEP = 8 / 255, 2 / 255
SAMPLES = 50_000
"""Size of the memory of radii, CIFAR-10's."""
PREPARING_STEPS = 30


class _Labelled:
    """Training samples of which nothing but labels, classes and shape is asked."""

    labels = torch.arange(SAMPLES) % CLASSES
    classes = tuple(map(str, range(CLASSES)))
    shape = SHAPE

    def __len__(self) -> int:
        return SAMPLES


_NONE = torch.empty(0, dtype=torch.int64)
IMAGES = DataSplits(
    train=cast("Source", _Labelled()),
    test=cast("Source", _Labelled()),
    train_index=torch.arange(SAMPLES),
    validation_index=_NONE,
    test_index=_NONE,
    mean=torch.full((3,), 0.5),
    std=torch.full((3,), 0.25),
)
"""Data of which no sample is read, for a training state (`iaat.train.build_state.build_state`)."""


@dataclass(frozen=True)
class Workload:
    """A model and a batch in one memory format, and the attack all candidates make of them.

    Attributes:
        model: In training mode; all candidates of a format share it.
        batch: Inputs in the memory format of the model, and indices into `SAMPLES`.
        steps: Steps K of each attack.
        channels_last: The memory format.
        radii: Radii `[N]` of a trained memory, for `spread_radii`.
    """

    model: nn.Module
    batch: Batch
    steps: int
    channels_last: bool = False
    radii: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where it lives."""
        return self.batch.x.device

    @property
    def layout(self) -> str:
        """The memory format in a word."""
        return "channels_last" if self.channels_last else "default"

    @property
    def step_size(self) -> float:
        """The step size of the training attack at `RADIUS`."""
        return max(2 * RADIUS / self.steps, MIN_STEP)

    @cached_property
    def optimizer(self) -> SGD:
        """As the recipes have it; the rate is so small that the last round meets the model of the first."""
        return SGD(self.model.parameters(), lr=1e-5, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def laid_out(self) -> Workload:
        """A copy in channels_last."""
        model = copy.deepcopy(self.model).to(memory_format=torch.channels_last)
        x = self.batch.x.contiguous(memory_format=torch.channels_last)
        return replace(self, model=model, batch=replace(self.batch, x=x), channels_last=True)

    def copied(self) -> Workload:
        """A copy with a model of its own, for those who change it."""
        return replace(self, model=copy.deepcopy(self.model))

    def describe(self) -> dict[str, float]:
        """Facts of the state measured in, which data-dependent costs depend on."""
        x, y = self.batch.x, self.batch.y
        x_adv = pgd(self.model, x, y, radius=RADIUS, steps=self.steps, mode="batch", generator=self._generator("facts"))
        self.model.eval()
        with torch.no_grad():
            correct = [float((self.model(inputs).argmax(dim=1) == y).float().mean()) for inputs in (x, x_adv)]
        self.model.train()
        return {"correct_clean": correct[0], "correct_attacked": correct[1]}

    def spread_radii(self) -> Tensor:
        """Radii `[B]` as after some epochs: drawn from the trained ones, or uniform between 0 and twice `RADIUS`."""
        uniform = torch.rand(len(self.batch.y), device=self.device, generator=self._generator("radii"))
        if self.radii is None:
            return 2 * RADIUS * uniform
        return self.radii.to(self.device)[(uniform * len(self.radii)).long()]

    def _generator(self, purpose: str) -> torch.Generator:
        return rng.generator(0, purpose, device=self.device)


def build_workload(name: str, options: argparse.Namespace, device: torch.device) -> Workload:
    """The model `name` in training mode and its batch, in PyTorch's default memory format."""
    batch_size = options.batch_size or BATCHES.get(name, 128)
    x, y = _images(batch_size)
    mean, std = x.mean(dim=(0, 2, 3)), x.std(dim=(0, 2, 3))
    model = build_model(ModelConfig(name=name), shape=SHAPE, classes=CLASSES, mean=mean, std=std, seed=0)
    index = torch.randperm(SAMPLES, generator=rng.generator(0, "index"))[:batch_size]
    batch = Batch(x.to(device), y.to(device), index.to(device))
    radii = torch.tensor(read_table(options.radii)["radius"].to_numpy()) if options.radii else None
    work = Workload(model.to(device), batch, options.steps, radii=radii)
    _prepare(work)
    return work


def _images(count: int) -> tuple[Tensor, Tensor]:
    """Smooth class patterns on noise, their contrast between 2 and 25 levels of 255."""
    source = rng.generator(0, "images")
    coarse = torch.randn(CLASSES, SHAPE[0], 4, 4, generator=source)
    patterns = F.interpolate(coarse, size=SHAPE[1:], mode="bilinear").sign()
    y = torch.randint(CLASSES, (count,), generator=source)
    contrast = torch.empty(count, 1, 1, 1).uniform_(2 / 255, 25 / 255, generator=source)
    noise = torch.randn(count, *SHAPE, generator=source) * 8 / 255
    return (0.5 + contrast * patterns[y] + noise).clamp(0, 1), y


def _prepare(work: Workload) -> None:
    optimizer = SGD(work.model.parameters(), lr=0.05, momentum=0.9)
    source = rng.generator(0, "prepare", device=work.device)
    x, y = work.batch.x, work.batch.y
    for _ in range(PREPARING_STEPS):
        optimizer.zero_grad(set_to_none=True)
        x_adv = pgd(work.model, x, y, radius=RADIUS, steps=1, step_size=1.25 * RADIUS, mode="batch", generator=source)
        F.cross_entropy(work.model(x_adv), y).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def bare_gradients(work: Workload, steps: int) -> None:
    """`steps` forwards and backwards to the inputs alone: the least that an attack can take.

    The caller has frozen the weights.
    """
    for _ in range(steps):
        leaf = work.batch.x.detach().requires_grad_()
        loss = F.cross_entropy(work.model(leaf).float(), work.batch.y, reduction="sum")
        torch.autograd.grad(loss, leaf)


def bare_step(work: Workload) -> None:
    """One forward and the full backward."""
    F.cross_entropy(work.model(work.batch.x).float(), work.batch.y).backward()


def workload_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that attack and step share."""
    made = parser(description, repeats=5)
    made.add_argument("--model", nargs="+", default=list(BATCHES), help="models by name (default: %(default)s)")
    made.add_argument("--batch-size", type=int, help="by default 128, for resnet18 32")
    made.add_argument("--steps", type=int, default=10, help="steps K of each attack (default %(default)s)")
    made.add_argument("--precision", nargs="+", default=PRECISIONS, choices=PRECISIONS, help="of ours (default both)")
    made.add_argument("--radii", type=Path, help="spread radii from a radii.parquet (`iaat radii RUN`), not made up")
    made.add_argument("--only", default="", help="regular expression: the rows to measure besides the references")
    return made


__all__ = [
    "BATCHES",
    "RADIUS",
    "SAMPLES",
    "SHAPE",
    "CLASSES",
    "Workload",
    "autocast",
    "bare_gradients",
    "bare_step",
    "build_workload",
    "workload_parser",
]
