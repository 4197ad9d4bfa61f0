"""Adversarial training on cross-entropy: the base of methods that differ in the radius of each sample."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iaat.attacks import full_precision
from iaat.methods.base import BaseMethod, Objective, StepContext
from iaat.methods.guard import Guard
from iaat.methods.inner_config import InnerConfig
from iaat.methods.method_config import MethodConfig
from iaat.methods.training_attacks import Attacker, attacker_of
from iaat.runtime.passes import Passes
from iaat.types import Batch, StepOutput


class AdversarialTraining(BaseMethod):
    """Minimise the cross-entropy of adversarial examples, made by PGD or, with inner nfgsm, in one guarded step.

    A method of this kind gives the radii of a batch, `radii_of`, and, if they are learned, `update`.

    Source: Madry et al. 2018 (arXiv 1706.06083), eq. 2.1; de Jorge et al. 2022 (arXiv 2202.01181) in one step.
    """

    Config: ClassVar[type[Any]] = InnerConfig
    config: InnerConfig

    def __init__(self, config: InnerConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        self._attacker = attacker_of(config)
        self.guard = Guard(config) if config.single_step and config.guard_every else None

    @property
    def attacker(self) -> Attacker:
        """The attacker to train with at present."""
        return self._attacker if self.guard is None else self.guard.attacker

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` of a batch, before the ramp of the settings."""
        raise NotImplementedError

    def steps_of(self, radius: Tensor) -> Tensor | None:
        """Steps `[B]` of an attack at `radius` `[B]`; None where all samples take all."""
        return None

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch at its radii, and return the loss."""
        radius = self.radii_of(model, batch, context) * self.config.ramp_factor(context.epoch)
        x_adv = self.attacker.attack(model, batch, radius, context.generator, steps=self.steps_of(radius))
        return self.objective_at(batch, x_adv, radius, context)

    def objective_at(self, batch: Batch, x_adv: Tensor, radius: Tensor, context: StepContext) -> Objective:
        """The loss of adversarial inputs `[B, ...]` at `radius` `[B]`: their cross-entropy."""
        return cross_entropy_at(x_adv, batch.y, radius, self.config)

    def cost(self, epoch: int) -> Passes:
        """K + 1 forwards and backwards; K is 1 with inner nfgsm."""
        return Passes(self.config.gradients + 1, self.config.gradients + 1)


def uniform_radii(batch: Batch, radius: float) -> Tensor:
    """The same radius for each sample of a batch, `[B]` float32."""
    return torch.full_like(batch.y, radius, dtype=torch.float32)


def cross_entropy_at(
    x: Tensor, y: Tensor, radius: Tensor | None, config: MethodConfig, target: Tensor | None = None
) -> Objective:
    """The mean cross-entropy, with label smoothing of the settings, of inputs `x` `[B, ...]` at `radius` `[B]`.

    It is that of the labels `y` `[B]`, or of `target`, distributions `[B, classes]`; classes are weighed by `y`.
    """
    target = y if target is None else target

    def objective(model: nn.Module) -> StepOutput:
        logits = full_precision(model(x))
        return StepOutput(config.mean(config.cross_entropy(logits, target), y), logits.detach(), radius)

    return objective
