"""Vulnerability-aware perturbation budgets: the radius of a sample follows its clean margin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iaat.attacks import attack_mode, full_precision, margin
from iaat.errors import UserError
from iaat.methods.base import StepContext
from iaat.methods.inner_config import InnerConfig
from iaat.methods.scaled_radii import ScaledRadii
from iaat.runtime.passes import Passes
from iaat.types import Batch

_MOST = 10.0
"""Largest alpha: its exponential is 22,026, far beyond every use."""


@dataclass(frozen=True, kw_only=True)
class VPBConfig(InnerConfig):
    """Settings of vulnerability-aware perturbation budgets; `radius` is that of a sample on the decision boundary."""

    alpha: float = 0.52
    """How strongly radii follow the margin: from exp(-alpha) * radius for a sample that is surely misclassified to
    exp(alpha) * radius for one that is surely correct; 0: one radius for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= _MOST:
            raise UserError(f"method.alpha = {self.alpha:g}: a number from 0 to {_MOST:g}, such as 0.52")

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale."""
        return self._within_range(math.exp(self.alpha) * super().largest_radius(epochs))


class VPB(ScaledRadii):
    """Minimise the cross-entropy of adversarial examples, each at `radius * exp(alpha * margin)`, without memory.

    The margin, in [-1, 1], is the probability of the label minus the largest other one, on the clean input.

    Source: Fakorede, Atsague, Tian 2024 (arXiv 2403.04070), the margin-weighted perturbation budget.

    Example:
        >>> from iaat.methods import VPB, VPBConfig
        >>> method = VPB(VPBConfig(alpha=0.5), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=12, backward=11)
    """

    Config: ClassVar[type[Any]] = VPBConfig
    config: VPBConfig

    def scales_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """exp(alpha * margin) `[B]`, with the model in the mode of the attack."""
        with attack_mode(model, self.config.mode), torch.no_grad():
            probabilities = full_precision(model(batch.x)).softmax(dim=1)
            return torch.exp(-self.config.alpha * margin(probabilities, batch.y))

    def cost(self, epoch: int) -> Passes:
        """The passes of adversarial training and a clean forward."""
        attacked = super().cost(epoch)
        return Passes(attacked.forward + 1, attacked.backward)
