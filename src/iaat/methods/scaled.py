"""Adversarial training at multiples of one radius: what methods of this kind differ in is the multiple of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from iaat.attacks import geometry
from iaat.errors import UserError
from iaat.methods.adversarial import AdversarialTraining
from iaat.methods.base import StepContext
from iaat.methods.single_step import InnerConfig
from iaat.types import Batch


@dataclass(frozen=True, kw_only=True)
class ScaledConfig(InnerConfig):
    """Settings of an attack at multiples of `radius`.

    A subclass says what they come to at most and calls `check_largest` once its own settings are known to be good.
    """

    scale_keys: ClassVar[str]
    """The settings that decide the largest multiple, as messages name them."""

    @property
    def largest_scale(self) -> float:
        """The largest multiple of `radius` that the settings allow."""
        raise NotImplementedError

    def check_largest(self, x: Tensor | None = None) -> None:
        """Refuse settings whose largest radius bounds nothing; in L2 that depends on the inputs `x` `[B, ...]`.

        Raises:
            UserError: naming the settings, the largest radius and the largest distance.
        """
        if x is None and self.norm != "linf":
            return
        numbers = 1 if x is None else x.shape[1:].numel()
        largest, reach = self.radius * self.largest_scale, geometry(self.norm).diameter(numbers, 1.0)
        if largest > reach:
            raise UserError(
                f"method.radius = {float(self.radius):g} leads with {self.scale_keys} to radii up to {largest:g}, "
                f"beyond every {self.norm} distance between two inputs ({reach:g}): lower them"
            )


class ScaledRadii(AdversarialTraining):
    """Adversarial training at multiples of the radius of the settings, worked out anew for every batch."""

    Config: ClassVar[type[Any]] = ScaledConfig
    config: ScaledConfig

    def scales_of(self, model: nn.Module, batch: Batch) -> Tensor:
        """Multiples `[B]` of the radius of the settings, at most their `largest_scale`."""
        raise NotImplementedError

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """The radius of the settings times the multiple of each sample, `[B]`."""
        self.config.check_reach(self.config.radius, batch.x)
        self.config.check_largest(batch.x)
        return self.scales_of(model, batch).float() * self.config.radius
