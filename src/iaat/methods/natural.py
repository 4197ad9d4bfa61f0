"""Natural training: cross-entropy on the clean inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from iaat.methods.adversarial_training import cross_entropy_at
from iaat.methods.base import BaseMethod, Objective, StepContext
from iaat.methods.method_config import MethodConfig
from iaat.runtime.passes import Passes
from iaat.types import Batch


@dataclass(frozen=True, kw_only=True)
class NaturalConfig(MethodConfig):
    """Settings of natural training."""


class Natural(BaseMethod):
    """Minimise the cross-entropy of the clean inputs.

    Example:
        >>> from iaat.methods import Natural, NaturalConfig
        >>> method = Natural(NaturalConfig(), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=1, backward=1)
    """

    Config: ClassVar[type[Any]] = NaturalConfig
    config: NaturalConfig

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """The cross-entropy of the clean batch."""
        return cross_entropy_at(batch.x, batch.y, None, self.config)

    def cost(self, epoch: int) -> Passes:
        """One forward, one backward."""
        return Passes(1, 1)
