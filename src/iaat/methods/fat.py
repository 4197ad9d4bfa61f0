"""Friendly adversarial training: attacks that stop soon after a sample is misclassified."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from torch import nn

from iaat.errors import UserError
from iaat.methods.adversarial_training import cross_entropy_at, uniform_radii
from iaat.methods.attack_config import AttackConfig
from iaat.methods.base import BaseMethod, Objective, StepContext
from iaat.methods.radius_schedule import scaled_epoch
from iaat.methods.training_attacks import PGDAttacker
from iaat.runtime.passes import Passes
from iaat.types import Batch

_AUTHORS_FROM, _AUTHORS_EPOCHS = (0, 50, 90), 120


@dataclass(frozen=True, kw_only=True)
class FATConfig(AttackConfig):
    """Settings of friendly adversarial training; `mode` has to be eval."""

    from_epochs: ClassVar[tuple[str, ...]] = ("tau_from",)

    taus: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Steps that an attack still takes from adversarial points, one number for each stage of training."""
    tau_from: list[int] | None = None
    """Epochs, counted from 0, at which these stages begin; null: the authors' 0, 50 and 90 of 120, in proportion."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode != "eval":
            raise UserError(
                f"method.mode = {self.mode}: FAT takes adversarial samples out of the batch, which its statistics "
                "would show: it needs method.mode eval"
            )
        if not self.taus or min(self.taus) < 0:
            raise UserError(f"method.taus = {self.taus}: numbers of steps, at least one, each 0 or more")
        if len(self.taus if self.tau_from is None else self.tau_from) != len(self.taus):
            raise UserError(f"method.tau_from = {self.tau_from}: give an epoch for each of method.taus = {self.taus}")
        if self.tau_from is None and len(self.taus) != len(_AUTHORS_FROM):
            raise UserError(f"method.taus = {self.taus}: give method.tau_from, too, the epoch from which each holds")
        if self.tau_from is not None and (self.tau_from[0] != 0 or self.tau_from != sorted(set(self.tau_from))):
            raise UserError(f"method.tau_from = {self.tau_from}: epochs from 0 on, each after the one before it")

    def over(self, epochs: int) -> Self:
        """These settings with the epochs of the stages filled in."""
        if self.tau_from is not None:
            return self
        starts = [scaled_epoch(epoch, _AUTHORS_EPOCHS, epochs) for epoch in _AUTHORS_FROM]
        # Of stages that a short run begins together the last counts.
        taus = dict(zip(starts, self.taus, strict=True))
        return replace(self, taus=list(taus.values()), tau_from=list(taus))

    def tau_in(self, epoch: int) -> int:
        """Steps an attack still takes from adversarial points in an epoch, counted from 0."""
        assert self.tau_from is not None
        return self.taus[sum(start <= epoch for start in self.tau_from) - 1]


class FAT(BaseMethod):
    """Minimise the cross-entropy of friendly adversarial examples: misclassified, but not of the largest loss.

    PGD on the cross-entropy, but a sample stays where it is adversarial after tau steps from such points, and leaves
    the batch; it comes back in its place. Tau grows in the course of training. The random start is uniform in the ball.

    Source: Zhang et al. 2020 (arXiv 2002.11242), algorithms 1 and 2.

    Example:
        >>> from iaat.methods import FAT, FATConfig
        >>> method = FAT(FATConfig().over(epochs=120), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=11, backward=11)
    """

    Config: ClassVar[type[Any]] = FATConfig
    config: FATConfig

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Attack the batch with the patience of the epoch; the loss is the cross-entropy of the adversarial inputs."""
        radius = uniform_radii(batch, self.config.radius) * self.config.ramp_factor(context.epoch)
        attacker = PGDAttacker(self.config, patience=self.config.tau_in(context.epoch))
        x_adv = attacker.attack(model, batch, radius, context.generator)
        return cross_entropy_at(x_adv, batch.y, radius, self.config)

    def cost(self, epoch: int) -> Passes:
        """At most K + 1 forwards and backwards; less as samples leave the batch."""
        return Passes(self.config.gradients + 1, self.config.gradients + 1)
