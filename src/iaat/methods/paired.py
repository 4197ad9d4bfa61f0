"""Training on pairs: a loss made of the network's predictions on the clean and on the adversarial input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iaat.attacks import full_precision
from iaat.errors import UserError
from iaat.methods.attack import AttackConfig, random_start
from iaat.methods.base import BaseMethod, Objective, StepContext
from iaat.runtime.passes import Passes
from iaat.types import Batch, StepOutput
from iaat.units import Radius

NOISE = 1e-3
"""Standard deviation of the Gaussian noise attacks start with: at the clean input the KL divergence has gradient 0."""


@dataclass(frozen=True, kw_only=True)
class PairedConfig(AttackConfig):
    """Settings of a loss with a term that pulls the clean and the adversarial prediction together."""

    beta: float = 1.0
    """Weight of the divergence between the predictions on the clean and on the adversarial input."""

    min_step: Radius = Radius(0.007)
    """Least step size; an attack steps by max(2 * radius / steps, min_step), per sample: by 0.007 at 8px in 10 steps,
    as the authors of TRADES and of MART have it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta < math.inf:
            raise UserError(f"method.beta = {self.beta:g}: a weight, finite and not negative")


class PairedTraining(BaseMethod):
    """Minimise the mean over samples of a first term plus `beta` times a divergence of two predictions.

    A method of this kind says what both `terms` are and what its attack `climbs`; those with radii of their own also
    `radii_of`, `steps_of` and `weight_of`. The clean and the adversarial inputs go through the network in a forward
    each, so that BatchNorm normalises each kind by its own statistics, and the running ones move twice a step.
    """

    Config: ClassVar[type[Any]] = PairedConfig
    config: PairedConfig
    objective_cost = Passes(2, 2)
    climbs: ClassVar[str]
    """The loss that the attack climbs, as in `pgd`."""
    names: ClassVar[tuple[str, str]]
    """What the two terms are called among the metrics."""

    def terms(self, clean: Tensor, adversarial: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The first term and the unweighted divergence, `[B]` each, of logits `[B, classes]` in at least float32."""
        raise NotImplementedError

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` of a batch, before the ramp of the settings."""
        return torch.full_like(batch.y, self.config.radius, dtype=torch.float32)

    def steps_of(self, radius: Tensor) -> Tensor | None:
        """Steps `[B]` of an attack at `radius` `[B]`; None where all samples take all."""
        return None

    def weight_of(self, radius: Tensor) -> Tensor | float:
        """Weight, also `[B]`, of the divergence of samples with `radius` `[B]` before the ramp."""
        return self.config.beta

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch from noise; the loss is the mean of the first term and the weighted divergence."""
        full = self.radii_of(model, batch, context)
        radius, weight = full * self.config.share_in(context.epoch), self.weight_of(full)
        start = random_start(batch, NOISE, context)
        x_adv = self.config.attack(
            model, batch, radius, context, steps=self.steps_of(radius), x_init=start, loss=self.climbs
        )

        def objective(network: nn.Module) -> StepOutput:
            clean, adversarial = full_precision(network(batch.x)), full_precision(network(x_adv))
            first, divergence = self.terms(clean, adversarial, batch.y)
            metrics = dict(zip(self.names, (first.detach(), divergence.detach()), strict=True))
            return StepOutput((first + weight * divergence).mean(), adversarial.detach(), radius, metrics)

        return objective
