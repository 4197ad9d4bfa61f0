"""A learned radius for every sample: the settings and the memory that all such methods share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from iaat.attacks import proportional_steps
from iaat.errors import UserError
from iaat.methods.attack_config import AttackConfig
from iaat.methods.base import BaseMethod, StepContext
from iaat.methods.radius_schedule import REACH, check_reach
from iaat.radius import RadiusMemory
from iaat.types import Batch
from iaat.units import Radius


@dataclass(frozen=True, kw_only=True)
class LearnedRadiiConfig(AttackConfig):
    """Settings of radii that a rule moves in the course of a run."""

    learns_radii: ClassVar[bool] = True
    how_to_reach: ClassVar[str] = "raise method.reach"
    initial_key: ClassVar[str] = "radius"
    """The setting that is the radius of every sample before its first visit."""

    reach: float = REACH
    """How far a radius can move over the whole run, in multiples of `radius`, whatever the number of epochs is."""
    floor: Radius = Radius(0)
    """Smallest radius a sample ever has."""
    cap: Radius | None = None
    """Largest radius; none by default, as in the authors' code."""
    full_steps_at: Radius | None = None
    """Radius from which on an attack takes all its steps; below it takes ceil(steps * radius / full_steps_at), at 0
    none. 0: every sample takes all steps. By default `radius` where a staircase moves the radii and the attack is PGD
    in mode eval, and 0 elsewhere. Needs mode eval."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_radii("floor", "cap", "full_steps_at")
        check_reach(self.reach)
        if not self.floor <= self.initial <= (math.inf if self.cap is None else self.cap):
            raise UserError(
                f"method: needs floor <= {self.initial_key} <= cap, not {self.floor}, {self.initial}, {self.cap}"
            )
        if self.full_steps_at and self.mode != "eval":
            raise UserError(
                "method.full_steps_at takes samples out of the batch, which its statistics would show: it needs "
                "method.mode eval"
            )
        if self.full_steps_at and self.single_step:
            raise UserError("method.full_steps_at divides the steps of inner pgd: inner nfgsm has only one")

    @property
    def initial(self) -> Radius:
        """Radius of every sample before its first visit."""
        return self.radius

    def _bounded(self, radius: float) -> Radius:
        """The radius within floor and cap."""
        return Radius(max(self.floor, min(radius, math.inf if self.cap is None else self.cap)))

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale."""
        largest = self._bounded(self.initial + self.gain(epochs))
        return self._within_range(largest) * self.ramp_factor(epochs - 1)

    def gain(self, epochs: int) -> float:
        """How far a radius can grow in a run of so many epochs."""
        return self.reach * self.radius

    @property
    def all_steps_from(self) -> float:
        """Radius from which on an attack takes all its steps; 0 where all take all."""
        return self.full_steps_at or 0.0


class LearnedRadii(BaseMethod):
    """A radius in memory for each sample, which the attack's number of steps follows.

    A mixin: the method it is mixed into defines the loss at these radii, and a rule that moves them.
    """

    config: LearnedRadiiConfig

    def __init__(self, config: LearnedRadiiConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        first = self._first_radii(size)
        self._memory = RadiusMemory(
            size,
            initial=config.initial if first is None else first,
            floor=config.floor,
            cap=config.cap,
            norm=config.norm,
            device=device,
        )
        self.radii: RadiusMemory | None = self._memory

    def _first_radii(self, size: int) -> Tensor | None:
        """Radii `[size]` before the first visit; None: all `initial`."""
        return None

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` in memory."""
        return self._memory[batch.index]

    def steps_of(self, radius: Tensor) -> Tensor | None:
        """Steps `[B]` of the training attack in proportion to the radius; None where all take all."""
        full = self.config.all_steps_from
        return proportional_steps(radius, self.config.steps, full_at=full) if full else None
