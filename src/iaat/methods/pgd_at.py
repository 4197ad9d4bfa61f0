"""PGD adversarial training, or single-step training: one radius for every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from iaat.attacks import full_precision
from iaat.errors import UserError
from iaat.methods.base import AttackConfig, StepContext
from iaat.methods.guard import Guarded
from iaat.passes import Passes
from iaat.radius import RadiusMemory
from iaat.types import Batch, StepOutput


@dataclass(frozen=True, kw_only=True)
class PGDATConfig(AttackConfig):
    """Settings of PGD adversarial training."""

    ramp: int = 0
    """Epochs over which the radius grows from 0 to its value, by equal steps; 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ramp < 0:
            raise UserError(f"method.ramp = {self.ramp}: a number of epochs, 0 or more")

    def radius_in(self, epoch: int) -> float:
        """The radius of an epoch, counted from 0."""
        return self.radius if epoch >= self.ramp else self.radius * epoch / self.ramp


class PGDAT(Guarded):
    """Minimise the cross-entropy of adversarial examples of one radius, made by PGD or, with inner nfgsm, in one step.

    Source: Madry et al. 2018 (arXiv 1706.06083), eq. 2.1; de Jorge et al. 2022 (arXiv 2202.01181) in one step.
    """

    Config: ClassVar[type[Any]] = PGDATConfig
    config: PGDATConfig
    radii: RadiusMemory | None = None

    def __init__(self, config: PGDATConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config)

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepOutput:
        """Cross-entropy of the attacked batch."""
        size = self.config.radius_in(context.epoch)
        x_adv = self.attacks.attack(model, batch, size, context)
        logits = full_precision(model(x_adv))
        radius = torch.full_like(batch.y, size, dtype=torch.float32)
        return StepOutput(F.cross_entropy(logits, batch.y), logits.detach(), radius)

    def cost(self, epoch: int) -> Passes:
        """K + 1 forwards and backwards; K is 1 with inner nfgsm."""
        return Passes(self.config.gradients + 1, self.config.gradients + 1)
