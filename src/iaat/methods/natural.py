"""Natural training: cross-entropy on the clean inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from iaat.attacks import full_precision
from iaat.methods.base import StatelessMethod, StepContext
from iaat.passes import Passes
from iaat.types import Batch, StepOutput


@dataclass(frozen=True, kw_only=True)
class NaturalConfig:
    """Natural training has no settings of its own."""


class Natural(StatelessMethod):
    """Minimise the cross-entropy of the clean inputs."""

    Config: ClassVar[type[Any]] = NaturalConfig

    def __init__(self, config: NaturalConfig, *, size: int, device: torch.device | str) -> None:
        pass

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepOutput:
        """Cross-entropy of the clean batch."""
        logits = full_precision(model(batch.x))
        return StepOutput(F.cross_entropy(logits, batch.y), logits.detach())

    def cost(self, epoch: int) -> Passes:
        """One forward, one backward."""
        return Passes(1, 1)
