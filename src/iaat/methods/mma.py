"""Max-margin adversarial training: every sample is trained at its own point of the decision boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from iaat.attacks import Boundary, find_boundary, full_precision, geometry, per_sample, predict_classes, soft_margin
from iaat.errors import UserError
from iaat.methods.attack_config import AttackConfig
from iaat.methods.base import BaseMethod, Objective, StepContext
from iaat.methods.training_attacks import PGDAttacker
from iaat.radius import RadiusMemory
from iaat.runtime.passes import Passes
from iaat.types import Batch, StepOutput
from iaat.units import Radius

BEYOND = 1.05
"""Largest distance of the boundary search, in largest margins."""


@dataclass(frozen=True, kw_only=True)
class MMAConfig(AttackConfig):
    """Settings of max-margin adversarial training."""

    radius_is_attack: ClassVar[bool] = False

    radius: Radius = Radius("12px")
    """Largest margin, d_max: samples with a boundary farther away have no loss of their own."""
    floor: Radius = Radius(0.005)
    """Smallest radius of an attack, which is made at the margin in memory; and the margin before the first visit."""
    min_step: Radius = Radius(0)
    """Smallest step size; an attack steps by max(2 * margin / steps, min_step), per sample."""
    searches: int = 10
    """Bisections for the boundary along the direction the attack found, a forward each."""
    clean_share: float = 1 / 3
    """Weight of the clean loss in the loss, in [0, 1); the rest is that of the boundary points."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_radii("floor")
        if not 0 < self.floor <= self.radius:
            raise UserError(f"method: needs 0 < floor <= radius, not {self.floor}, {self.radius}")
        if self.searches < 1:
            raise UserError(f"method.searches = {self.searches}: finding the boundary needs at least 1")
        if not 0 <= self.clean_share < 1:
            raise UserError(f"method.clean_share = {self.clean_share:g}: a fraction in [0, 1)")

    def largest_radius(self, epochs: int) -> float:
        """Largest distance of a boundary point in a run of so many epochs, on the [0, 1] scale."""
        return self._within_range(BEYOND * super().largest_radius(epochs))


class MMA(BaseMethod):
    """Minimise the cross-entropy of boundary points and, by a third, that of the clean samples.

    A correct sample has its point where the prediction flips: PGD at its last known margin gives a direction, and
    bisection the distance, up to 1.05 d_max. If the point lies beyond d_max, the sample has no such loss. A
    misclassified sample is its own point. Margins are kept in memory, 0 for misclassified samples.
    `StepOutput.logits` are those of the clean samples, because boundary points are misclassified by construction.

    Source: Ding et al. 2020 (arXiv 1812.02637), algorithms 1 and 2. There a sample is correct where its label has
    half of the probability; here, as in every evaluation, where it has the most.

    Example:
        >>> from iaat.methods import MMA, MMAConfig
        >>> method = MMA(MMAConfig(searches=10), size=1000, device="cpu")
        >>> method.cost(epoch=0)
        Passes(forward=24, backward=12)
    """

    Config: ClassVar[type[Any]] = MMAConfig
    objective_cost: ClassVar[Passes] = Passes(2, 2)
    config: MMAConfig

    def __init__(self, config: MMAConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        reach = BEYOND * config.radius
        cap = min(reach, 1.0) if config.norm == "linf" else reach
        self.radii: RadiusMemory | None = RadiusMemory(
            size, initial=config.floor, cap=cap, norm=config.norm, device=device
        )
        self._memory = self.radii

    def prepare(self, model: nn.Module, batch: Batch, context: StepContext) -> Objective:
        """Find the boundary points of the batch and store their distances; the loss is that of these points."""
        config, ramp = self.config, self.config.ramp_factor(context.epoch)
        correct = predict_classes(model, batch.x, config.mode) == batch.y
        boundary = self._boundary(model, batch, context)
        distance = geometry(config.norm).norm(boundary.x - batch.x)
        margin = torch.where(boundary.found, distance, BEYOND * config.radius * ramp) * correct
        self._memory[batch.index] = margin.clamp_max(self._memory.largest)
        trained = ~correct | (boundary.found & (distance < config.radius * ramp))
        points = torch.where(per_sample(correct, batch.x) > 0, boundary.x, batch.x)
        radius = distance.float() * correct

        def objective(model: nn.Module) -> StepOutput:
            clean = full_precision(model(batch.x))
            clean_loss = config.mean(config.cross_entropy(clean, batch.y), batch.y)
            losses = config.cross_entropy(full_precision(model(points)), batch.y)
            loss = (1 - config.clean_share) * config.mean(losses * trained, batch.y) + config.clean_share * clean_loss
            return StepOutput(loss, clean.detach(), radius)

        return objective

    def _boundary(self, model: nn.Module, batch: Batch, context: StepContext) -> Boundary:
        config, ramp = self.config, self.config.ramp_factor(context.epoch)
        radius = self._memory[batch.index].clamp_min(config.floor) * ramp
        return find_boundary(
            model,
            batch.x,
            batch.y,
            PGDAttacker(config, loss=soft_margin).attack(model, batch, radius, context.generator),
            limit=Radius(BEYOND * config.radius * ramp),
            norm=config.norm,
            searches=config.searches,
            mode=config.mode,
        )

    def cost(self, epoch: int) -> Passes:
        """Forwards: one for the prediction, K of the attack, searches + 1 for the boundary, 2 of the loss.

        Backwards: K and 2.
        """
        steps = self.config.gradients
        return Passes(steps + self.config.searches + 4, steps + 2)
