"""Settings of the attack inside adversarial training, and the attack they describe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from iaat.attacks import GEOMETRIES, MODES, AttackLoss, Mode, geometry, pgd, pgd_early_stop
from iaat.errors import UserError, check_choice
from iaat.methods.base import MethodConfig, StepContext
from iaat.runtime.rng import draw
from iaat.types import Batch
from iaat.units import Norm, Radius, check_radius


@dataclass(frozen=True, kw_only=True)
class AttackConfig(MethodConfig):
    """Settings of the attack inside adversarial training."""

    radius_is_attack: ClassVar[bool] = True
    """Whether `radius` is that of the attacks, or what they grow from, and not merely a bound."""

    learns_radii: ClassVar[bool] = False
    """Whether radii grow in the course of a run."""
    how_to_reach: ClassVar[str] = "give a shorter method.ramp, or more epochs"
    """What makes the largest radius larger."""

    radius: Radius = Radius("8px")
    """Radius of the attack: 8px, 8/255 or a number on the [0, 1] scale."""
    steps: int = 10
    """Gradient steps K of each attack."""
    min_step: Radius = Radius("2px")
    """Least step size; an attack steps by max(2 * radius / steps, min_step), per sample."""
    norm: Norm = "linf"
    """Norm the radius is measured in."""
    mode: Mode = "eval"
    """Layers during the attack: eval, train (moves running statistics) or batch (batch statistics, nothing moves)."""
    ramp: int = 0
    """Epochs over which all radii grow from 0 to their size, by equal steps; 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.norm, GEOMETRIES, "method.norm")
        check_choice(self.mode, MODES, "method.mode")
        self.check_lengths("radius", "min_step")
        if self.steps < 1:
            raise UserError(f"method.steps = {self.steps}: an attack needs at least 1")
        if self.ramp < 0:
            raise UserError(f"method.ramp = {self.ramp}: a number of epochs, 0 or more")

    def check_lengths(self, *keys: str) -> None:
        """Refuse settings that are no lengths in the norm of the attack; None is passed over.

        Raises:
            UserError: naming the key.
        """
        for key in keys:
            if (value := getattr(self, key)) is not None:
                check_radius(value, self.norm, name=f"method.{key}")

    @property
    def gradients(self) -> int:
        """Gradients that one attack takes, each a forward and a backward."""
        return self.steps

    @property
    def spread(self) -> float:
        """Size of the ball that an attack starts in, in radii."""
        return 1.0

    def largest_radius(self, epochs: int) -> float:
        """Largest radius of a training attack in a run of so many epochs, on the [0, 1] scale."""
        return self._within_range(self.radius) * self.share_in(epochs - 1)

    def _within_range(self, radius: float) -> float:
        """In L-inf at most the pixel range."""
        return min(radius, 1.0) if self.norm == "linf" else radius

    def share_in(self, epoch: int) -> float:
        """Share of their size that radii have in an epoch, counted from 0."""
        return 1.0 if epoch >= self.ramp else epoch / self.ramp

    def attack(
        self,
        model: nn.Module,
        batch: Batch,
        radius: Tensor | float,
        context: StepContext,
        *,
        steps: Tensor | None = None,
        x_init: Tensor | None = None,
        loss: str | AttackLoss = "ce",
        patience: int | None = None,
    ) -> Tensor:
        """Adversarial inputs `[B, ...]` of the batch at `radius`, a number or `[B]`.

        Args:
            model: The network under attack.
            batch: Clean inputs and labels.
            radius: A number or `[B]`.
            context: Gives the source of the random start.
            steps: Steps `[B]` for each sample instead of the configured number for all.
            x_init: Where to start `[B, ...]`, instead of a random draw.
            loss: What is climbed, as in `pgd`.
            patience: Steps a fooled sample still takes before it leaves the batch; None: all take all their steps.

        Raises:
            UserError: a radius as a number, here or in the settings, beyond every distance between two inputs.
        """
        self.check_reach(self.radius if isinstance(radius, Tensor) else radius, batch.x)
        radius = torch.as_tensor(radius, dtype=batch.x.dtype, device=batch.x.device).expand(len(batch.x))
        radius = radius.clamp_max(self.reach_of(batch.x))  # a probe or a multiple may lead beyond, where nothing is
        taken = self.steps if steps is None else steps.clamp_min(1)
        settings: dict[str, Any] = {
            "radius": radius,
            "step_size": (2 * radius / taken).clamp_min(self.min_step),
            "norm": self.norm,
            "x_init": x_init,
            "loss": loss,
            "generator": context.generator,
        }
        if patience is not None:
            return pgd_early_stop(model, batch.x, batch.y, steps=self.steps, patience=patience, **settings)
        counts = self.steps if steps is None else steps
        return pgd(model, batch.x, batch.y, steps=counts, mode=self.mode, **settings)

    def reach_of(self, x: Tensor) -> float:
        """The largest distance between two inputs of the shape of `x` `[B, ...]`, in the norm of the attack."""
        return geometry(self.norm).diameter(x.shape[1:].numel(), 1.0)

    def check_reach(self, radius: float, x: Tensor) -> None:
        """Refuse a radius that bounds nothing: in L2 that depends on the size of the inputs `x` `[B, ...]`.

        Raises:
            UserError: naming the radius and the largest distance.
        """
        reach = self.reach_of(x)
        if radius > reach:
            raise UserError(
                f"method.radius = {float(radius):g} exceeds every {self.norm} distance between two inputs of"
                f" {x.shape[1:].numel()}"
                f" numbers ({reach:g}); for pixel levels write {float(radius):g}px"
            )


def random_start(batch: Batch, scale: float, context: StepContext) -> Tensor:
    """Inputs `[B, ...]` with Gaussian noise of standard deviation `scale`, the start of TRADES' and MART's attacks.

    An attack clamps it to [0, 1] before its first gradient; the authors' code clamps after the first step.
    """
    x = batch.x
    noise = draw(torch.randn, x.shape, generator=context.generator, device=x.device, dtype=x.dtype)
    return x + scale * noise
