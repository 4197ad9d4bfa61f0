"""Instance-adaptive adversarial training: every sample has a radius of its own, learned online."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iaat.attacks import attack_mode, full_precision
from iaat.errors import UserError, check_choice
from iaat.methods.base import AttackConfig, StepContext
from iaat.passes import Passes
from iaat.radius import RadiusMemory, paper, staircase, warm_up
from iaat.types import Batch, StepOutput
from iaat.units import Radius, check_radius


@dataclass(frozen=True, kw_only=True)
class IAATConfig(AttackConfig):
    """Settings of instance-adaptive adversarial training; the defaults are the authors' for CIFAR-10.

    `radius` is the radius of the warm-up.
    """

    rule: Literal["paper", "staircase"] = "paper"
    """How radii move: paper probes with two more attacks; staircase follows the training attack's own outcome."""
    gamma: Radius = Radius("1.9px")
    """How far above its present radius a sample is probed."""
    beta: float = 0.1
    """Share of the way to its target a radius moves in one visit; a visit moves it by at most beta * gamma."""
    warmup: int = 10
    """Epochs at the uniform radius before radii move."""
    floor: Radius = Radius(0)
    """Smallest radius a sample ever has."""
    cap: Radius | None = None
    """Largest radius; none by default, as the authors have it."""
    clean_wrong: Literal["decay", "clean"] = "decay"
    """Clean-wrong samples under the paper rule: their radius decays by beta a visit, and they are attacked at what is
    left (decay, the authors' code) or trained on the clean image (clean, the authors' text)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.rule, ("paper", "staircase"), "method.rule")
        check_choice(self.clean_wrong, ("decay", "clean"), "method.clean_wrong")
        for key in ("gamma", "floor", "cap"):
            if (value := getattr(self, key)) is not None:
                check_radius(value, self.norm, name=f"method.{key}")
        if not 0 < self.beta <= 1:
            raise UserError(f"method.beta = {self.beta}: a share in (0, 1]")
        if self.warmup < 0:
            raise UserError(f"method.warmup = {self.warmup}: a number of epochs, 0 or more")
        cap = math.inf if self.cap is None else self.cap
        if not self.floor <= self.radius <= cap:
            raise UserError(f"method: needs floor <= radius <= cap, not {self.floor}, {self.radius}, {self.cap}")
        if self.rule == "staircase" and self.clean_wrong != "decay":
            raise UserError("method.clean_wrong belongs to rule paper: the staircase makes no clean forward")


class IAAT:
    """Minimise the cross-entropy of PGD adversarial examples, each at the radius its sample has been found to bear.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), algorithms 1 and 2.
    """

    Config: ClassVar[type[Any]] = IAATConfig

    def __init__(self, config: IAATConfig, *, size: int, device: torch.device | str) -> None:
        self.config = config
        self.radii: RadiusMemory | None = RadiusMemory(
            size, initial=config.radius, floor=config.floor, cap=config.cap, norm=config.norm, device=device
        )
        self._memory = self.radii

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepOutput:
        """Cross-entropy of the batch attacked at its radii; the radii are updated on the way."""
        radius = self._radius(model, batch, context)
        x_adv = self.config.attack(model, batch, radius, context)
        logits = full_precision(model(x_adv))
        right = logits.detach().argmax(dim=1) == batch.y
        if self.config.rule == "staircase" and context.epoch >= self.config.warmup:
            self._memory[batch.index] = staircase(radius, right, up=self.config.beta * self.config.gamma)
        return StepOutput(F.cross_entropy(logits, batch.y), logits.detach(), radius)

    def _radius(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` to train at; the paper rule renews them first."""
        if self.config.rule == "staircase":
            return self._memory[batch.index]
        clean_right = self._right(model, batch.x, batch.y)
        if context.epoch < self.config.warmup:
            new = warm_up(clean_right, self.config.radius)
        else:
            new = self._probe(model, batch, clean_right, context)
        self._memory[batch.index] = new
        radius = self._memory[batch.index]
        return radius * clean_right if self.config.clean_wrong == "clean" else radius

    def _probe(self, model: nn.Module, batch: Batch, clean_right: Tensor, context: StepContext) -> Tensor:
        radius = self._memory[batch.index]
        above = radius + self.config.gamma
        right_at, right_above = (
            self._right(model, self.config.attack(model, batch, r, context), batch.y) for r in (radius, above)
        )
        return paper(radius, clean_right, right_at, right_above, gamma=self.config.gamma, beta=self.config.beta)

    def _right(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with attack_mode(model, self.config.mode), torch.no_grad():
            right: Tensor = model(x).argmax(dim=1) == y
        return right

    def cost(self, epoch: int) -> Passes:
        """K + 1 of each for the training attack; the paper rule adds a clean forward and two probing attacks."""
        steps = self.config.steps
        if self.config.rule == "staircase":
            return Passes(steps + 1, steps + 1)
        if epoch < self.config.warmup:
            return Passes(steps + 2, steps + 1)
        return Passes(3 * steps + 4, 3 * steps + 1)

    def state_dict(self) -> dict[str, Any]:
        """The radii."""
        return {"radii": self._memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the radii of `state_dict`."""
        self._memory.load_state_dict(state["radii"])
