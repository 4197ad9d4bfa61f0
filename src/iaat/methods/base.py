"""What a training method is: the protocol the loop knows, and the attack settings methods share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from iaat.attacks import GEOMETRIES, MODES, Mode, geometry, pgd
from iaat.errors import UserError, check_choice
from iaat.passes import Passes
from iaat.radius import RadiusMemory
from iaat.types import Batch, StepOutput
from iaat.units import Norm, Radius, check_radius


@dataclass(frozen=True, slots=True)
class StepContext:
    """Where training stands, and the random stream attacks draw from (part of the training state).

    Attributes:
        epoch: Epochs finished before this one, from 0.
        generator: Source of every random start.
    """

    epoch: int
    generator: torch.Generator


class Method(Protocol):
    """A way of forming the loss of one batch.

    A class with a `Config` (a keyword-only dataclass, the recipe's `method` section) and a constructor
    `(config, *, size, device)`, where `size` is the number of samples that indices run over. The loop zeroes
    gradients, calls `step`, and does backward and the optimiser's step; it calls nothing else while training.
    """

    Config: ClassVar[type[Any]]
    radii: RadiusMemory | None

    def __init__(self, config: Any, *, size: int, device: torch.device | str) -> None:  # noqa: ANN401
        ...

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepOutput:
        """The loss of one batch, the model being in its training mode."""
        ...

    def cost(self, epoch: int) -> Passes:
        """Passes per sample that `step` and its backward take in this epoch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All state beyond the weights, of tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of `state_dict`."""
        ...


class StatelessMethod:
    """The part of the protocol that a method without memory leaves empty."""

    radii: RadiusMemory | None = None

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """Settings of the PGD attack inside adversarial training."""

    radius: Radius = Radius("8px")
    """Radius of the attack: 8px, 8/255 or a number on the [0, 1] scale."""
    steps: int = 10
    """Gradient steps K of each attack."""
    min_step: Radius = Radius("2px")
    """Least step size; an attack steps by max(2 * radius / steps, min_step), per sample."""
    norm: Norm = "linf"
    """Norm the radius is measured in."""
    mode: Mode = "batch"
    """Layers during the attack: eval, train (moves running statistics) or batch (batch statistics, nothing moves)."""

    def __post_init__(self) -> None:
        check_choice(self.norm, GEOMETRIES, "method.norm")
        check_choice(self.mode, MODES, "method.mode")
        for key in ("radius", "min_step"):
            check_radius(getattr(self, key), self.norm, name=f"method.{key}")
        if self.steps < 1:
            raise UserError(f"method.steps = {self.steps}: an attack needs at least 1")

    def attack(self, model: nn.Module, batch: Batch, radius: Tensor | float, context: StepContext) -> Tensor:
        """Adversarial inputs `[B, ...]` of the batch at `radius`, a number or `[B]`.

        Raises:
            UserError: a radius as a number, here or in the settings, beyond every distance between two inputs.
        """
        self._check_reach(self.radius if isinstance(radius, Tensor) else radius, batch.x.shape[1:].numel())
        radius = torch.as_tensor(radius, dtype=batch.x.dtype, device=batch.x.device).expand(len(batch.x))
        return pgd(
            model,
            batch.x,
            batch.y,
            radius=radius,
            steps=self.steps,
            step_size=(2 * radius / self.steps).clamp_min(self.min_step),
            norm=self.norm,
            mode=self.mode,
            generator=context.generator,
        )

    def _check_reach(self, radius: float, numbers: int) -> None:
        """Refuse a radius that bounds nothing: in L2 that depends on the size of the inputs, known only here."""
        reach = geometry(self.norm).diameter(numbers, 1.0)
        if radius > reach:
            raise UserError(
                f"method.radius = {float(radius):g} exceeds every {self.norm} distance between two inputs of {numbers}"
                f" numbers ({reach:g}); for pixel levels write {float(radius):g}px"
            )
