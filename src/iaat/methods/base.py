"""What a training method is: the protocol the loop knows, and the attack settings methods share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from iaat.attacks import GEOMETRIES, MODES, Mode, geometry, nfgsm, pgd
from iaat.errors import UserError, check_choice
from iaat.passes import Passes
from iaat.radius import RadiusMemory
from iaat.types import Batch, StepOutput
from iaat.units import Norm, Radius, check_radius

if TYPE_CHECKING:
    from iaat.methods.guard import Guard


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
    gradients, calls `step`, and does backward and the optimiser's step. Beside that it shows the method's guard, if it
    has one, held-out samples when the guard asks for them; it calls nothing else while training.
    """

    Config: ClassVar[type[Any]]
    radii: RadiusMemory | None
    guard: Guard | None

    def __init__(self, config: Any, *, size: int, device: torch.device | str) -> None:  # noqa: ANN401
        ...

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepOutput:
        """The loss of one batch, the model being in its training mode."""
        ...

    def cost(self, epoch: int) -> Passes:
        """Passes per sample that `step` and its backward take in this epoch; the most, where samples differ in it."""
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
    guard: Guard | None = None

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """Settings of the attack inside adversarial training."""

    inner: Literal["pgd", "nfgsm"] = "pgd"
    """The attack: pgd of `steps` steps, or one step from noise (nfgsm), which leads up to (noise + 1) * radius away."""
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
    noise: float = 2.0
    """Size of the noise nfgsm starts from, in radii; 0 is FGSM, which overfits catastrophically sooner."""
    guard_every: int = 50
    """Steps between two checks of nfgsm for catastrophic overfitting on held-out samples; 0: none."""
    guard_gap: float = 0.7
    """Share of the accuracy under nfgsm that PGD-10 may take away; if it surely takes more, pgd is trained with."""

    def __post_init__(self) -> None:
        check_choice(self.inner, ("pgd", "nfgsm"), "method.inner")
        check_choice(self.norm, GEOMETRIES, "method.norm")
        check_choice(self.mode, MODES, "method.mode")
        for key in ("radius", "min_step"):
            check_radius(getattr(self, key), self.norm, name=f"method.{key}")
        if self.steps < 1:
            raise UserError(f"method.steps = {self.steps}: an attack needs at least 1")
        if not 0 <= self.noise < math.inf:
            raise UserError(f"method.noise = {self.noise:g}: a number of radii, finite and not negative")
        if self.guard_every < 0:
            raise UserError(f"method.guard_every = {self.guard_every}: a number of steps, or 0 for no guard")
        if not 0 < self.guard_gap < 1:
            raise UserError(f"method.guard_gap = {self.guard_gap:g}: a share between 0 and 1")

    @property
    def gradients(self) -> int:
        """Gradients that one attack takes, each a forward and a backward."""
        return self.steps if self.inner == "pgd" else 1

    @property
    def spread(self) -> float:
        """Size of the ball that an attack starts in, in radii."""
        return 1.0 if self.inner == "pgd" else self.noise

    def attack(
        self,
        model: nn.Module,
        batch: Batch,
        radius: Tensor | float,
        context: StepContext,
        *,
        steps: Tensor | None = None,
        x_init: Tensor | None = None,
    ) -> Tensor:
        """Adversarial inputs `[B, ...]` of the batch at `radius`, a number or `[B]`.

        Args:
            model: The network under attack.
            batch: Clean inputs and labels.
            radius: A number or `[B]`.
            context: Gives the source of the random start.
            steps: Steps `[B]` for each sample instead of the configured number for all.
            x_init: Where to start `[B, ...]`, instead of a random draw.

        Raises:
            UserError: a radius as a number, here or in the settings, beyond every distance between two inputs.
        """
        self._check_reach(self.radius if isinstance(radius, Tensor) else radius, batch.x.shape[1:].numel())
        radius = torch.as_tensor(radius, dtype=batch.x.dtype, device=batch.x.device).expand(len(batch.x))
        if self.inner == "nfgsm":
            return nfgsm(
                model,
                batch.x,
                batch.y,
                radius=radius,
                noise=self.noise,
                norm=self.norm,
                mode=self.mode,
                x_init=x_init,
                generator=context.generator,
            )
        taken = self.steps if steps is None else steps.clamp_min(1)
        return pgd(
            model,
            batch.x,
            batch.y,
            radius=radius,
            steps=self.steps if steps is None else steps,
            step_size=(2 * radius / taken).clamp_min(self.min_step),
            norm=self.norm,
            mode=self.mode,
            x_init=x_init,
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
