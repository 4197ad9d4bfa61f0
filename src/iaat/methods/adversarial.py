"""Cross-entropy of adversarial examples: what methods of this kind differ in is the radius of each sample."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iaat.attacks import full_precision
from iaat.methods.base import BaseMethod, MethodConfig, Objective, StepContext
from iaat.methods.guard import Guard
from iaat.methods.inner_attack import InnerConfig
from iaat.runtime.passes import Passes
from iaat.types import Batch, StepOutput


class AdversarialTraining(BaseMethod):
    """Minimise the cross-entropy of adversarial examples, made by PGD or, with inner nfgsm, in one guarded step.

    A method of this kind says which radii a batch is attacked at, `radii_of`, and, if they are learned, `learn`.

    Source: Madry et al. 2018 (arXiv 1706.06083), eq. 2.1; de Jorge et al. 2022 (arXiv 2202.01181) in one step.
    """

    Config: ClassVar[type[Any]] = InnerConfig
    config: InnerConfig

    def __init__(self, config: InnerConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        self.guard = Guard(config) if config.inner == "nfgsm" and config.guard_every else None

    @property
    def attacks(self) -> InnerConfig:
        """The settings to attack with at present."""
        return self.config if self.guard is None else self.guard.attacks

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` of a batch, before the ramp of the settings."""
        raise NotImplementedError

    def steps_of(self, radius: Tensor) -> Tensor | None:
        """Steps `[B]` of an attack at `radius` `[B]`; None where all samples take all."""
        return None

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch at its radii; the loss is the cross-entropy of what comes out."""
        radius = self.radii_of(model, batch, context) * self.config.share_in(context.epoch)
        x_adv = self.attacks.attack(model, batch, radius, context, steps=self.steps_of(radius))
        return cross_entropy_at(x_adv, batch.y, radius, self.config)

    def cost(self, epoch: int) -> Passes:
        """K + 1 forwards and backwards; K is 1 with inner nfgsm."""
        return Passes(self.config.gradients + 1, self.config.gradients + 1)


def cross_entropy_at(x: Tensor, y: Tensor, radius: Tensor | None, config: MethodConfig) -> Objective:
    """The mean cross-entropy, as the settings smooth labels, of inputs `x` `[B, ...]` that have `radius` `[B]`."""

    def objective(network: nn.Module) -> StepOutput:
        logits = full_precision(network(x))
        return StepOutput(config.cross_entropy(logits, y).mean(), logits.detach(), radius)

    return objective
