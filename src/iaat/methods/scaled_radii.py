"""Adversarial training at multiples of one radius: the base of methods that differ in the multiple of a sample."""

from __future__ import annotations

from torch import Tensor, nn

from iaat.methods.adversarial_training import AdversarialTraining
from iaat.methods.base import StepContext
from iaat.types import Batch


class ScaledRadii(AdversarialTraining):
    """Adversarial training at multiples of the radius of the settings, computed anew for every batch."""

    def scales_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Multiples `[B]` of the radius of the settings."""
        raise NotImplementedError

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """The radius of the settings times the multiple of each sample, `[B]`."""
        return self.scales_of(model, batch, context).float() * self.config.radius
