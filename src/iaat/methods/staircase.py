"""A radius of its own for every sample, moved by the outcome of the training attack: what such methods share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from iaat.attacks import proportional_steps
from iaat.errors import UserError
from iaat.methods.attack import AttackConfig
from iaat.methods.base import BaseMethod, StepContext
from iaat.radius import RadiusMemory, staircase
from iaat.types import Batch, StepOutput
from iaat.units import Radius


@dataclass(frozen=True, kw_only=True)
class StaircaseConfig(AttackConfig):
    """Settings of radii that a staircase moves."""

    rate: Radius = Radius("0.2px")
    """Staircase: how far a visit moves a radius, up where the network is right and down where it is fooled. What counts
    is its product with the number of epochs; 19px did well."""
    start: Radius = Radius(0)
    """Staircase: the radius every sample begins with."""
    floor: Radius = Radius(0)
    """Smallest radius a sample ever has."""
    cap: Radius | None = None
    """Largest radius; none by default, as the authors have it."""
    full_steps_at: Radius | None = None
    """Radius from which on an attack takes all its steps; below it takes ceil(steps * radius / full_steps_at), at 0
    none. 0: every sample takes all steps. By default `radius` where a staircase moves the radii and the attack is PGD
    in mode eval, and 0 elsewhere. Needs mode eval."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_lengths("rate", "start", "floor", "cap", "full_steps_at")
        if not self.rate > 0:
            raise UserError(f"method.rate = {self.rate}: radii would never move")
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
        length: Radius = getattr(self, self.initial_key)
        return length

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
        right = output.logits.argmax(dim=1) == batch.y
        moved = staircase(self._memory[batch.index], right, up=self.config.rate)
        self._memory[batch.index] = moved.clamp_max(self._memory.most)
