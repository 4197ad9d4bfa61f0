"""Choices of the loss on adversarial examples: soft labels, and TRADES' divergence in place of cross-entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from iaat.attacks import kl_divergence
from iaat.errors import UserError
from iaat.methods.adversarial_training import AdversarialTraining, cross_entropy_at
from iaat.methods.base import Objective, StepContext
from iaat.methods.kl_regularized import divergence_at
from iaat.methods.soft_labels import SoftLabelsConfig, softened_labels
from iaat.methods.trades import TRADES
from iaat.runtime.passes import Passes
from iaat.types import Batch


@dataclass(frozen=True, kw_only=True)
class AdversarialLossConfig(SoftLabelsConfig):
    """Settings of the loss on adversarial examples."""

    kl: float = 0.0
    """Train as TRADES does, on examples that raise the cross-entropy: on the clean cross-entropy, and the KL divergence
    from the clean to the adversarial prediction with this weight at `radius`, in proportion to the radius of a sample.
    0: on the adversarial cross-entropy. Costs a forward and a backward."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.kl < math.inf:
            raise UserError(f"method.kl = {self.kl:g}: a weight, finite and not negative")
        if self.kl and not self.radius > 0:
            raise UserError(f"method.radius = {self.radius}: method.kl is the weight at it; write one above 0")


class AdversarialLoss(AdversarialTraining):
    """Adversarial training with a choice of labels and loss; the attack is on the cross-entropy of the true label.

    The weight of the divergence follows the radius that a sample is attacked at, so a ramp scales it, too.

    Source: Wu, Wang, Chen 2024 (arXiv 2305.12118) for soft labels; Zhang et al. 2019 (arXiv 1901.08573), eq. 5, for
    the divergence.
    """

    Config: ClassVar[type[Any]] = AdversarialLossConfig
    config: AdversarialLossConfig

    def __init__(self, config: AdversarialLossConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        if config.kl:
            self.objective_cost = TRADES.objective_cost  # type: ignore[misc]  # of a class elsewhere, here of settings

    def objective_at(self, batch: Batch, x_adv: Tensor, radius: Tensor, context: StepContext) -> Objective:
        """The loss of the settings."""
        config = self.config
        target = softened_labels(batch, radius, context.teacher, config) if config.soft_labels else batch.y
        if not config.kl:
            return cross_entropy_at(x_adv, batch.y, radius, config, target)

        def terms(clean: Tensor, adversarial: Tensor, _y: Tensor) -> tuple[Tensor, Tensor]:
            return config.cross_entropy(clean, target), kl_divergence(clean, adversarial)

        weight = config.kl / config.radius * radius
        return divergence_at(batch, x_adv, radius, weight, config, terms=terms, names=TRADES.metric_names)

    def cost(self, epoch: int) -> Passes:
        """K + 1 forwards and backwards; a forward more of a teacher, and a forward and a backward more with `kl`."""
        attacked, pair, teacher = super().cost(epoch), bool(self.config.kl), bool(self.config.soft_labels)
        return Passes(attacked.forward + pair + teacher, attacked.backward + pair)
