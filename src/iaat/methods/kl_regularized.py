"""Losses with a KL divergence between clean and adversarial predictions: the base of TRADES and MART."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iaat.attacks import full_precision
from iaat.errors import UserError
from iaat.methods.adversarial_training import uniform_radii
from iaat.methods.attack_config import AttackConfig
from iaat.methods.base import BaseMethod, Objective, StepContext
from iaat.methods.method_config import MethodConfig
from iaat.methods.training_attacks import PGDAttacker
from iaat.runtime.passes import Passes
from iaat.runtime.rng import draw
from iaat.types import Batch, StepOutput
from iaat.units import Radius

NOISE = 1e-3
"""Standard deviation of the Gaussian noise attacks start with: at the clean input the KL divergence has gradient 0."""


@dataclass(frozen=True, kw_only=True)
class KLRegularizedConfig(AttackConfig):
    """Settings of a loss with a divergence between the clean and the adversarial prediction."""

    beta: float = 1.0
    """Weight of the divergence between the predictions on the clean and on the adversarial input."""

    min_step: Radius = Radius(0.007)
    """Smallest step size; an attack steps by max(2 * radius / steps, min_step), per sample: by 0.007 at 8px in 10
    steps, as in the code of the authors of TRADES and of MART."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta < math.inf:
            raise UserError(f"method.beta = {self.beta:g}: a weight, finite and not negative")


class KLRegularizedTraining(BaseMethod):
    """Minimise the mean over samples of a first term plus `beta` times a divergence of two predictions.

    A method of this kind gives both `terms` and its `attack_loss`; those with radii of their own also `radii_of`,
    `steps_of` and `weight_of`. The clean and the adversarial inputs go through the model in a forward each, so that
    BatchNorm normalises each kind by its own statistics, and the running ones move twice a step.
    """

    Config: ClassVar[type[Any]] = KLRegularizedConfig
    config: KLRegularizedConfig
    objective_cost = Passes(2, 2)
    attack_loss: ClassVar[str]
    """The loss that the attack maximises, as in `pgd`."""
    metric_names: ClassVar[tuple[str, str]]
    """Names of the two terms among the metrics."""

    def terms(self, clean: Tensor, adversarial: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The first term and the unweighted divergence, `[B]` each, of logits `[B, classes]` in at least float32."""
        raise NotImplementedError

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` of a batch, before the ramp of the settings."""
        return uniform_radii(batch, self.config.radius)

    def steps_of(self, radius: Tensor) -> Tensor | None:
        """Steps `[B]` of an attack at `radius` `[B]`; None where all samples take all."""
        return None

    def weight_of(self, radius: Tensor) -> Tensor | float:
        """Weight, also `[B]`, of the divergence of samples with `radius` `[B]` before the ramp."""
        return self.config.beta

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch from noise; the loss is the mean of the first term and the weighted divergence."""
        full = self.radii_of(model, batch, context)
        radius, weight = full * self.config.ramp_factor(context.epoch), self.weight_of(full)
        x_adv = PGDAttacker(self.config, loss=self.attack_loss).attack(
            model,
            batch,
            radius,
            context.generator,
            steps=self.steps_of(radius),
            x_init=with_noise(batch.x, NOISE, context.generator),
        )
        return divergence_at(batch, x_adv, radius, weight, self.config, terms=self.terms, names=self.metric_names)


def divergence_at(
    batch: Batch,
    x_adv: Tensor,
    radius: Tensor,
    weight: Tensor | float,
    config: MethodConfig,
    *,
    terms: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
    names: tuple[str, str],
) -> Objective:
    """The mean of a first term plus `weight` times a divergence of the clean and the adversarial prediction.

    Args:
        batch: Clean inputs and labels.
        x_adv: Adversarial inputs `[B, ...]` at `radius` `[B]`.
        radius: What the step reports as its radii.
        weight: Weight of the divergence, one for all or `[B]`.
        config: Weights of the classes.
        terms: The two terms `[B]` of clean and adversarial logits, in at least float32, and labels.
        names: Names of the terms among the metrics.
    """

    def objective(model: nn.Module) -> StepOutput:
        clean, adversarial = full_precision(model(batch.x)), full_precision(model(x_adv))
        first, divergence = terms(clean, adversarial, batch.y)
        metrics = dict(zip(names, (first.detach(), divergence.detach()), strict=True))
        loss = config.mean(first + weight * divergence, batch.y)
        return StepOutput(loss, adversarial.detach(), radius, metrics)

    return objective


def with_noise(x: Tensor, scale: float, generator: torch.Generator | None) -> Tensor:
    """Inputs `x` `[B, ...]` plus Gaussian noise of standard deviation `scale`: the start of TRADES' and MART's attacks.

    An attack clamps it to [0, 1] before its first gradient; the authors' code clamps after the first step.
    """
    return x + scale * draw(torch.randn, x.shape, generator=generator, device=x.device, dtype=x.dtype)
