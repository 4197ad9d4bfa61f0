"""Learned radii that a staircase moves by the outcome of the training attack."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from iaat.errors import UserError
from iaat.methods.base import StepContext
from iaat.methods.batch_scales import batch_scales
from iaat.methods.learned_radii import LearnedRadii, LearnedRadiiConfig
from iaat.methods.radius_schedule import check_moves
from iaat.methods.setting_fields import derived
from iaat.radius import RadiiTable, staircase
from iaat.runtime.json_files import UserPath
from iaat.types import Batch, StepOutput
from iaat.units import Radius


@dataclass(frozen=True, kw_only=True)
class StaircaseConfig(LearnedRadiiConfig):
    """Settings of radii that a staircase moves: up where a sample is correct under attack, down where it is not."""

    how_to_reach: ClassVar[str] = "raise method.start or method.reach"
    initial_key: ClassVar[str] = "start"
    from_epochs: ClassVar[tuple[str, ...]] = ("per_visit",)

    start: Radius | None = None
    """The radius every sample begins with; null: `radius`. 0 costs less, but a short run stays at small radii."""
    success: float = 0.5
    """Fraction of the attacks that succeed where a radius comes to rest, in (0, 1). A failed attack moves a radius up
    by a visit's step, a successful one down by (1 - success) / success of it."""
    spread: float = 0.0
    """Attack every batch at a mean of `radius`: at `radius` times the ratio of each learned radius to their mean, which
    is clipped to 1 - spread .. 1 + spread and brought back to a mean of 1. 0: attack at the learned radii."""
    start_from: UserPath | None = None
    """Run with the radii that samples begin with, its folder or the Parquet file that `iaat radii RUN` writes; samples
    it does not list begin with `start`."""
    first_radii: RadiiTable | None = field(default=None, compare=False, repr=False, metadata={"setting": False})
    """Radii that samples begin with, given as an object."""
    per_visit: Radius | None = derived()
    """How far a visit moves a radius, once `over` has divided the reach by the epochs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_radii("start", "per_visit")
        if not 0 < self.success < 1:
            raise UserError(f"method.success = {self.success:g}: a fraction of attacks between 0 and 1, such as 0.3")
        if not 0 <= self.spread < 1:
            raise UserError(f"method.spread = {self.spread:g}: a fraction in [0, 1), such as 0.5")

    @property
    def initial(self) -> Radius:
        """Radius of every sample before its first visit."""
        return self._bounded(self.radius) if self.start is None else self.start

    def over(self, epochs: int) -> Self:
        """These settings with the reach divided by the epochs.

        Raises:
            UserError: a radius of 0, of which every multiple is 0.
        """
        check_moves(self.radius)
        return replace(self, per_visit=Radius(self.reach * self.radius / epochs))

    def without_start(self) -> Self:
        """These settings without radii to begin from."""
        return replace(self, start_from=None, first_radii=None)

    def radii_files(self) -> dict[str, str]:
        """The file of radii that samples begin with."""
        asked = self.first_radii is None and self.start_from is not None
        return {"method.start_from": str(self.start_from)} if asked else {}

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale: a bound."""
        if self.spread:
            largest = self.radius * (1 + self.spread) / (1 - self.spread)
            return self._within_range(largest) * self.ramp_factor(epochs - 1)
        if self.start_from is None:
            return super().largest_radius(epochs)
        return self._within_range(math.inf if self.cap is None else self.cap)  # whatever the other run has left

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        divided = {} if self.per_visit is None else {"reach": "settings before `over`"}
        return super().without_effect() | divided

    @property
    def all_steps_from(self) -> float:
        """Radius from which on an attack takes all its steps; 0 where all take all."""
        if self.full_steps_at is None and self.mode == "eval" and not self.single_step:
            return self.radius
        return super().all_steps_from


class StaircaseRadii(LearnedRadii):
    """Learned radii that the outcome of the training attack moves, at no cost.

    A mixin: the method it is mixed into defines the loss.
    """

    config: StaircaseConfig

    _table: RadiiTable | None = None
    """Radii that a file gave, until the first batch has come: it may show that they are of other data."""
    _slower: tuple[int, float] | None = None
    """First index of the samples that come more than once an epoch, and how often they do."""
    _in_ramp: bool = False
    """Whether the attacks of this epoch are below their full radii."""

    def slow_down(self, first: int, visits: float) -> None:
        """Divide the reach of the samples from index `first` on by their visits an epoch, too."""
        self._slower = first, visits

    def _first_radii(self, size: int) -> Tensor | None:
        """Radii of a finished run, where `start_from` asks for them."""
        table = self.config.first_radii
        if table is None and self.config.start_from is not None:
            table = self._table = RadiiTable.read(self.config.start_from)
        if table is None:
            return None
        table.check_norm("method.start_from", self.config.norm)
        return table.dense(size, self.config.initial)

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` in memory; with `spread` those of mean `radius` that follow them."""
        self._table, self._in_ramp = None, self.config.ramp_factor(context.epoch) < 1
        learned, spread = super().radii_of(model, batch, context), self.config.spread
        if not spread:
            return learned
        return self.config.radius * batch_scales(learned, power=-1.0, low=1 - spread, high=1 + spread, own=context.own)

    def _check_first(self, batch: Batch) -> None:
        if self._table is not None:
            self._table.check_batch(batch.index, batch.y)

    def update(self, batch: Batch, output: StepOutput) -> None:
        """Move the radii by the outcome of the training attack."""
        assert self.config.per_visit is not None
        correct = output.logits.argmax(dim=1) == batch.y
        up, radius = float(self.config.per_visit), self._memory[batch.index]
        moved = self._moved(radius, correct, up)
        if self._slower is not None:
            first, visits = self._slower
            moved = torch.where(batch.index >= first, self._moved(radius, correct, up / visits), moved)
        if self._in_ramp:
            # An attack that fails below a learned radius says nothing of what lies above it.
            assert output.radius is not None
            moved = torch.where(correct & (output.radius < radius), radius, moved)
        self._memory[batch.index] = moved.clamp_max(self._memory.largest)

    def _moved(self, radius: Tensor, correct: Tensor, up: float) -> Tensor:
        """The radii a visit later, with the ratio of steps by which they come to rest at `success`."""
        return staircase(radius, correct, up=up, down=up * (1 - self.config.success) / self.config.success)
