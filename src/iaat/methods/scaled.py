"""Adversarial training at multiples of one radius: what methods of this kind differ in is the multiple of a sample."""

from __future__ import annotations

from torch import Tensor, nn

from iaat.methods.adversarial import AdversarialTraining
from iaat.methods.base import StepContext
from iaat.types import Batch


class ScaledRadii(AdversarialTraining):
    """Adversarial training at multiples of the radius of the settings, worked out anew for every batch."""

    def scales_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Multiples `[B]` of the radius of the settings."""
        raise NotImplementedError

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """The radius of the settings times the multiple of each sample, `[B]`."""
        self.config.check_reach(self.config.radius, batch.x)
        return self.scales_of(model, batch, context).float() * self.config.radius
