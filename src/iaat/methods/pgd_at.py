"""PGD adversarial training: one radius for every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iaat.methods.adversarial import AdversarialTraining
from iaat.methods.base import StepContext
from iaat.methods.single_step import InnerConfig
from iaat.types import Batch


@dataclass(frozen=True, kw_only=True)
class PGDATConfig(InnerConfig):
    """Settings of PGD adversarial training."""


class PGDAT(AdversarialTraining):
    """Minimise the cross-entropy of adversarial examples of one radius.

    Source: Madry et al. 2018 (arXiv 1706.06083), eq. 2.1.
    """

    Config: ClassVar[type[Any]] = PGDATConfig

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """The radius of the settings, `[B]`."""
        return torch.full_like(batch.y, self.config.radius, dtype=torch.float32)
