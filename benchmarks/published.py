"""The authors' IAAT procedure executed as published: what `iaat` is measured against.

Written from the published rules alone: three attacks a step, the model in training mode in all of them, gradients
by `backward` with the weights' own among them, float32, PyTorch's default memory format. It keeps the cost of that
procedure, so nothing here is to be made faster.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

PIXEL = 1 / 255


@dataclass
class PublishedIAAT:
    """State and constants of the procedure on CIFAR-10.

    Attributes:
        model: Network in training mode, inputs in [0, 1].
        optimizer: Of its weights.
        radii: Memory `[N]`, changed in place.
        generator: Source of the random starts; the global one if None.
    """

    model: nn.Module
    optimizer: Optimizer
    radii: Tensor
    steps: int = 10
    gamma: float = 1.9 * PIXEL
    beta: float = 0.1
    least_step: float = 2 * PIXEL
    generator: torch.Generator | None = None

    def step(self, x: Tensor, y: Tensor, index: Tensor) -> None:
        """One training step after the warm-up: the radii of the batch are renewed, then the weights."""
        radius = self.radii[index]
        clean_correct = self._correct(x, y)
        correct_at = self._correct(self._attack(x, y, radius), y)
        correct_above = self._correct(self._attack(x, y, radius + self.gamma), y)
        new = moved(radius, clean_correct, correct_at, correct_above, gamma=self.gamma, beta=self.beta)
        self.radii[index] = new
        x_adv = self._attack(x, y, new)
        self.optimizer.zero_grad()  # the attacks have left gradients behind
        F.cross_entropy(self.model(x_adv), y).backward()
        self.optimizer.step()

    def _correct(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            return self.model(x).argmax(dim=1) == y

    def _attack(self, x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
        size = radius.view(-1, *[1] * (x.ndim - 1))
        stride = (size / (0.5 * self.steps)).clamp(min=self.least_step)
        uniform = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=self.generator)
        x_adv = (x + (2 * uniform - 1) * size).clamp(0, 1)
        for _ in range(self.steps):
            x_adv = x_adv.detach().requires_grad_()
            F.cross_entropy(self.model(x_adv), y).backward()
            moved = x_adv.detach() + stride * x_adv.grad.sign()
            x_adv = torch.max(torch.min(moved, x + size), x - size).clamp(0, 1)
        return x_adv.detach()


def moved(
    radius: Tensor, clean_correct: Tensor, correct_at: Tensor, correct_above: Tensor, *, gamma: float, beta: float
) -> Tensor:
    """The published update of radii `[B]` from the outcomes of the clean forward and of both probes."""
    target = torch.where(correct_at, radius, radius - gamma)
    target = torch.where(correct_above, radius + gamma, target)
    target = (target * clean_correct).clamp(min=0)
    return (1 - beta) * radius + beta * target
