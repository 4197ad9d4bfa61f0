"""A radius of its own for every sample, moved by the outcome of the training attack: what such methods share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from iaat.attacks import proportional_steps
from iaat.errors import UserError
from iaat.methods.attack import AttackConfig
from iaat.methods.base import BaseMethod, StepContext
from iaat.methods.pace import REACH, check_moves, check_reach, derived
from iaat.radius import RadiusMemory, staircase
from iaat.types import Batch, StepOutput
from iaat.units import Radius


@dataclass(frozen=True, kw_only=True)
class StaircaseConfig(AttackConfig):
    """Settings of radii that a staircase moves."""

    learns_radii: ClassVar[bool] = True
    how_to_reach: ClassVar[str] = "raise method.start or method.reach"

    reach: float = REACH
    """How far a radius can move over the whole run, in multiples of `radius`. The epochs share it out in equal steps:
    up where the network is correct under attack, down where it is not."""
    start: Radius | None = None
    """Staircase: the radius every sample begins with; null: `radius`. 0 costs less, but a short run stays at small
    radii."""
    floor: Radius = Radius(0)
    """Smallest radius a sample ever has."""
    cap: Radius | None = None
    """Largest radius; none by default, as the authors have it."""
    full_steps_at: Radius | None = None
    """Radius from which on an attack takes all its steps; below it takes ceil(steps * radius / full_steps_at), at 0
    none. 0: every sample takes all steps. By default `radius` where a staircase moves the radii and the attack is PGD
    in mode eval, and 0 elsewhere. Needs mode eval."""
    per_visit: Radius | None = derived()
    """How far a visit moves a radius, once `over` has shared out the reach."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_lengths("start", "floor", "cap", "full_steps_at", "per_visit")
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

    @property
    def initial_key(self) -> str:
        """Which setting is the radius of every sample before its first visit."""
        return "start"

    @property
    def initial(self) -> Radius:
        """Radius of every sample before its first visit."""
        length: Radius | None = getattr(self, self.initial_key)
        return self._bounded(self.radius) if length is None else length

    def _bounded(self, radius: float) -> Radius:
        """Within floor and cap."""
        return Radius(max(self.floor, min(radius, math.inf if self.cap is None else self.cap)))

    def over(self, epochs: int) -> Self:
        """These settings with the reach shared out over the epochs.

        Raises:
            UserError: a radius of 0, of which every multiple is 0.
        """
        check_moves(self.radius)
        return replace(self, per_visit=Radius(self.reach * self.radius / epochs))

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale."""
        largest = self._bounded(self.initial + self.gain(epochs))
        return self._within_range(largest) * self.share_in(epochs - 1)

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        shared_out = {} if self.per_visit is None else {"reach": "settings before `over`"}
        return super().without_effect() | shared_out

    def check_complete(self) -> None:
        """Refuse to build a method from settings that do not know the number of epochs.

        Raises:
            UserError: they do not; it names the call that is missing.
        """
        if self.per_visit is None:
            raise UserError(
                f"{type(self).__name__}: radii move by the epochs of the run; build from config.over(epochs)"
            )

    def gain(self, epochs: int) -> float:
        """How far a radius can grow in a run of so many epochs."""
        return self.reach * self.radius

    @property
    def all_steps_from(self) -> float:
        """Radius from which on an attack takes all its steps; 0 where all take all."""
        if self.full_steps_at is not None:
            return self.full_steps_at
        return self.radius if self.mode == "eval" else 0.0


class StaircaseRadii(BaseMethod):
    """A radius in memory for each sample, by which its attack takes its steps and which its attack's outcome moves.

    A mixin: the method it is mixed into decides what is attacked at these radii and what loss is made of it.
    """

    config: StaircaseConfig

    def __init__(self, config: StaircaseConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        config.check_complete()
        self.radii: RadiusMemory | None = RadiusMemory(
            size, initial=config.initial, floor=config.floor, cap=config.cap, norm=config.norm, device=device
        )
        self._memory = self.radii

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` in memory."""
        return self._memory[batch.index]

    def steps_of(self, radius: Tensor) -> Tensor | None:
        """Steps `[B]` of the training attack in proportion to the radius; None where all take all."""
        full = self.config.all_steps_from
        return proportional_steps(radius, self.config.steps, full_at=full) if full else None

    def learn(self, batch: Batch, output: StepOutput) -> None:
        """Move the radii by the outcome of the training attack."""
        assert self.config.per_visit is not None
        right = output.logits.argmax(dim=1) == batch.y
        moved = staircase(self._memory[batch.index], right, up=self.config.per_visit)
        self._memory[batch.index] = moved.clamp_max(self._memory.largest)
