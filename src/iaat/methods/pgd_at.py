"""PGD adversarial training: one radius for every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from iaat.attacks import full_precision
from iaat.methods.base import AttackConfig, StatelessMethod, StepContext
from iaat.passes import Passes
from iaat.types import Batch, StepOutput


@dataclass(frozen=True, kw_only=True)
class PGDATConfig(AttackConfig):
    """Settings of PGD adversarial training."""


class PGDAT(StatelessMethod):
    """Minimise the cross-entropy of PGD adversarial examples of one radius.

    Source: Madry et al. 2018 (arXiv 1706.06083), eq. 2.1.
    """

    Config: ClassVar[type[Any]] = PGDATConfig

    def __init__(self, config: PGDATConfig, *, size: int, device: torch.device | str) -> None:
        self.config = config

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepOutput:
        """Cross-entropy of the attacked batch."""
        x_adv = self.config.attack(model, batch, self.config.radius, context)
        logits = full_precision(model(x_adv))
        radius = torch.full_like(batch.y, self.config.radius, dtype=torch.float32)
        return StepOutput(F.cross_entropy(logits, batch.y), logits.detach(), radius)

    def cost(self, epoch: int) -> Passes:
        """K + 1 forwards and backwards."""
        return Passes(self.config.steps + 1, self.config.steps + 1)
