"""Adversarial training on cross-entropy: the base of methods that differ in the radius of each sample."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iaat.attacks import full_precision, kl_divergence
from iaat.errors import UserError
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
        """Attack the batch at its radii; the loss is the cross-entropy of the adversarial inputs."""
        radius = self.radii_of(model, batch, context) * self.config.ramp_factor(context.epoch)
        x_adv = self.attacker.attack(model, batch, radius, context.generator, steps=self.steps_of(radius))
        y = soft_labels(self.config, batch, radius, context.teacher)
        if self.config.kl:
            return trades_at(batch, x_adv, y, radius, self.config)
        return cross_entropy_at(x_adv, batch.y, radius, self.config, y)

    def cost(self, epoch: int) -> Passes:
        """K + 1 forwards and backwards; K is 1 with inner nfgsm."""
        return Passes(self.config.gradients + 1, self.config.gradients + 1)


def uniform_radii(batch: Batch, radius: float) -> Tensor:
    """The same radius for each sample of a batch, `[B]` float32."""
    return torch.full_like(batch.y, radius, dtype=torch.float32)


@torch.no_grad()
def soft_labels(config: InnerConfig, batch: Batch, radius: Tensor, teacher: nn.Module | None) -> Tensor:
    """Labels `[B]`, or probabilities `[B, classes]` softened by the teacher's prediction on the clean inputs.

    Source: Wu et al. 2024, annealing self-distillation rectification (arXiv 2305.12118, section 4).
    """
    if not config.soft_labels:
        return batch.y
    if teacher is None:
        raise UserError("method.soft_labels needs the EMA of the model: set train.ema, too")
    predicted = (full_precision(teacher(batch.x)) / config.soft_temperature).softmax(dim=1)
    own = predicted.gather(1, batch.y[:, None])
    share = config.soft_labels - (predicted.amax(dim=1, keepdim=True) - own)
    if config.soft_by_radius:
        share = share * (1 - radius[:, None] / config.radius)
    share = share.clamp(0, 1)
    return share * predicted + (1 - share) * nn.functional.one_hot(batch.y, predicted.shape[1])


def trades_at(batch: Batch, x_adv: Tensor, y: Tensor, radius: Tensor, config: InnerConfig) -> Objective:
    """Clean cross-entropy plus the KL divergence to the adversarial prediction, weighted by the radius."""

    def objective(model: nn.Module) -> StepOutput:
        clean, adversarial = full_precision(model(batch.x)), full_precision(model(x_adv))
        weight = config.kl / config.radius * radius
        losses = config.cross_entropy(clean, y) + weight * kl_divergence(clean, adversarial)
        return StepOutput(config.mean(losses, batch.y), adversarial.detach(), radius)

    return objective


def cross_entropy_at(
    x: Tensor, y: Tensor, radius: Tensor | None, config: MethodConfig, target: Tensor | None = None
) -> Objective:
    """The mean cross-entropy, with label smoothing of the settings, of inputs `x` `[B, ...]` at `radius` `[B]`."""

    def objective(model: nn.Module) -> StepOutput:
        logits = full_precision(model(x))
        return StepOutput(
            config.mean(config.cross_entropy(logits, y if target is None else target), y), logits.detach(), radius
        )

    return objective
