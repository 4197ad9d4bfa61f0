"""Learned radii that a staircase moves by the outcome of the training attack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from iaat.methods.learned_radii import LearnedRadii, LearnedRadiiConfig
from iaat.methods.radius_schedule import check_moves
from iaat.methods.setting_fields import derived
from iaat.radius import staircase
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
    per_visit: Radius | None = derived()
    """How far a visit moves a radius, once `over` has divided the reach by the epochs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_radii("start", "per_visit")

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

    def update(self, batch: Batch, output: StepOutput) -> None:
        """Move the radii by the outcome of the training attack."""
        assert self.config.per_visit is not None
        correct = output.logits.argmax(dim=1) == batch.y
        moved = staircase(self._memory[batch.index], correct, up=self.config.per_visit)
        self._memory[batch.index] = moved.clamp_max(self._memory.largest)
