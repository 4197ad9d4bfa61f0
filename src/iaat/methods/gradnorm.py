"""Gradient-norm radii: the larger the clean gradient of a sample, the smaller its radius."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iaat.attacks import cross_entropy, full_precision
from iaat.attacks.attack_state import frozen_model, gradient_of
from iaat.errors import UserError
from iaat.methods.base import StepContext
from iaat.methods.batch_scales import batch_scales
from iaat.methods.inner_config import InnerConfig
from iaat.methods.scaled_radii import ScaledRadii
from iaat.runtime.passes import Passes
from iaat.types import Batch
from iaat.units import Norm

DUAL: dict[Norm, float] = {"linf": 1, "l2": 2}
"""Order of the norm dual to that of the attack: radius * dual norm is the largest inner product with a step."""


@dataclass(frozen=True, kw_only=True)
class GradNormConfig(InnerConfig):
    """Settings of gradient-norm radii; `radius` is the mean radius of every batch."""

    power: float = 1.0
    """How strongly radii follow the gradient: by a factor (mean norm / own norm) ** power; 0: one radius for all."""
    low: float = 0.5
    """Smallest value of that ratio, in (0, 1]; smaller ones are clipped before the mean is brought back to `radius`."""
    high: float = 1.5
    """Largest value of that ratio, 1 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.power < math.inf:
            raise UserError(f"method.power = {self.power:g}: an exponent, finite and not negative")
        if not 0 < self.low <= 1:
            raise UserError(f"method.low = {self.low:g}: a fraction of the mean radius in (0, 1]")
        if not 1 <= self.high < math.inf:
            raise UserError(f"method.high = {self.high:g}: a multiple of the mean radius, 1 or more and finite")

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        return super().without_effect() | ({} if self.power else dict.fromkeys(("low", "high"), "method.power above 0"))

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale: a bound."""
        return self._within_range(self.high / self.low * super().largest_radius(epochs))


class GradNorm(ScaledRadii):
    """Minimise the cross-entropy of adversarial examples at radii in inverse proportion to the clean gradient's norm.

    The norm of a sample's input gradient is the dual of the attack's: L1 for L-inf, L2 for L2. To first order, radius
    times that norm is the loss an attack gains, so that with power 1 and no bounds it is the
    same for all samples.

    Source: the first-order view is that of Simon-Gabriel et al. 2019 (arXiv 1802.01421, section 2).

    Example:
        >>> from iaat.methods import GradNorm, GradNormConfig
        >>> method = GradNorm(GradNormConfig(power=0.5), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=12, backward=12)
    """

    Config: ClassVar[type[Any]] = GradNormConfig
    config: GradNormConfig

    def scales_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Multiples `[B]` of mean 1, with the model in the mode of the attack."""
        with frozen_model(model, batch.x, batch.y, self.config.mode) as (x, y):
            leaf = x.requires_grad_()
            gradient = gradient_of(cross_entropy(full_precision(model(leaf)), y), leaf)
        norms = torch.linalg.vector_norm(gradient.flatten(1), ord=DUAL[self.config.norm], dim=1)
        return batch_scales(norms, power=self.config.power, low=self.config.low, high=self.config.high, own=context.own)

    def cost(self, epoch: int) -> Passes:
        """The passes of adversarial training and a clean forward and backward."""
        attacked = super().cost(epoch)
        return Passes(attacked.forward + 1, attacked.backward + 1)
