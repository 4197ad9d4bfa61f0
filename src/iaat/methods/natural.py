"""Natural training: cross-entropy on the clean inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from iaat.attacks import full_precision
from iaat.methods.base import BaseMethod, MethodConfig, Objective, StepContext
from iaat.passes import Passes
from iaat.types import Batch, StepOutput


@dataclass(frozen=True, kw_only=True)
class NaturalConfig(MethodConfig):
    """Settings of natural training."""


class Natural(BaseMethod):
    """Minimise the cross-entropy of the clean inputs."""

    Config: ClassVar[type[Any]] = NaturalConfig
    config: NaturalConfig

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """The cross-entropy of the clean batch."""

        def objective(network: nn.Module) -> StepOutput:
            logits = full_precision(network(batch.x))
            return StepOutput(self.config.cross_entropy(logits, batch.y).mean(), logits.detach())

        return objective

    def cost(self, epoch: int) -> Passes:
        """One forward, one backward."""
        return Passes(1, 1)
