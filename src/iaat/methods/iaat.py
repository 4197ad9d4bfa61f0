"""Instance-adaptive adversarial training: every sample has a radius of its own, learned online."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iaat.attacks import full_precision, proportional_steps
from iaat.errors import UserError, check_choice
from iaat.methods.base import AttackConfig, StepContext
from iaat.methods.guard import Guarded
from iaat.methods.probing import is_right, probe
from iaat.passes import Passes
from iaat.radius import RadiusMemory, paper, staircase, warm_up
from iaat.types import Batch, StepOutput
from iaat.units import Radius, check_radius


@dataclass(frozen=True, kw_only=True)
class IAATConfig(AttackConfig):
    """Settings of instance-adaptive adversarial training.

    `radius` is where attacks take all their steps; under rule paper it is the radius of the warm-up, too.
    """

    rule: Literal["staircase", "paper"] = "staircase"
    """How radii move: staircase follows the outcome of the training attack, at no cost; paper is the authors' rule,
    which asks two more attacks."""
    rate: Radius = Radius("0.2px")
    """Rule staircase: how far a visit moves a radius, up where the network is right and down where it is fooled. What
    counts is its product with the number of epochs; 19px did well."""
    start: Radius = Radius(0)
    """Rule staircase: the radius every sample begins with."""
    gamma: Radius = Radius("1.9px")
    """Rule paper: how far above its present radius a sample is probed."""
    beta: float = 0.1
    """Rule paper: share of the way to its target a radius moves in one visit; so at most by beta * gamma."""
    warmup: int = 10
    """Rule paper: epochs at the uniform radius before radii move."""
    clean_wrong: Literal["decay", "clean"] = "decay"
    """Rule paper: clean-wrong samples have their radius decay by beta a visit, and are attacked at what is left (decay,
    the authors' code) or trained on the clean image (clean, the authors' text)."""
    floor: Radius = Radius(0)
    """Smallest radius a sample ever has."""
    cap: Radius | None = None
    """Largest radius; none by default, as the authors have it."""
    full_steps_at: Radius | None = None
    """Radius from which on an attack takes all its steps; below it takes ceil(steps * radius / full_steps_at), at 0
    none. 0: every sample takes all steps. By default `radius` under rule staircase with inner pgd, and 0 elsewhere.
    Needs mode eval."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.rule, ("staircase", "paper"), "method.rule")
        check_choice(self.clean_wrong, ("decay", "clean"), "method.clean_wrong")
        for key in ("rate", "start", "gamma", "floor", "cap", "full_steps_at"):
            if (value := getattr(self, key)) is not None:
                check_radius(value, self.norm, name=f"method.{key}")
        if not 0 < self.beta <= 1:
            raise UserError(f"method.beta = {self.beta}: a share in (0, 1]")
        if self.warmup < 0:
            raise UserError(f"method.warmup = {self.warmup}: a number of epochs, 0 or more")
        if not self.rate > 0:
            raise UserError(f"method.rate = {self.rate}: radii would never move")
        first = "radius" if self.rule == "paper" else "start"
        if not self.floor <= self.initial <= (math.inf if self.cap is None else self.cap):
            raise UserError(f"method: needs floor <= {first} <= cap, not {self.floor}, {self.initial}, {self.cap}")
        if self.rule != "paper" and self.clean_wrong != "decay":
            raise UserError("method.clean_wrong belongs to rule paper: the staircase makes no clean forward")
        self._check_shares()

    def _check_shares(self) -> None:
        if self.full_steps_at is None or not self.full_steps_at > 0:
            return
        if self.inner != "pgd":
            raise UserError(f"method.full_steps_at shares out the steps of inner pgd: inner {self.inner} has only one")
        if self.mode != "eval":
            raise UserError(
                "method.full_steps_at takes samples out of the batch, which its statistics would show: it needs "
                "method.mode eval"
            )

    @property
    def initial(self) -> Radius:
        """Radius of every sample before its first visit."""
        return self.start if self.rule == "staircase" else self.radius

    @property
    def all_steps_from(self) -> float:
        """Radius from which on an attack takes all its steps; 0 where all take all."""
        if self.full_steps_at is not None:
            return self.full_steps_at
        return self.radius if (self.rule, self.inner, self.mode) == ("staircase", "pgd", "eval") else 0.0


class IAAT(Guarded):
    """Minimise the cross-entropy of adversarial examples, each at the radius its sample has been found to bear.

    Under rule staircase every radius starts small and grows as long as the network resists the attack it is trained
    with; under rule paper it is probed by two more attacks.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), algorithms 1 and 2 (rule paper); this project
    (rule staircase, see docs/experiments.md).
    """

    Config: ClassVar[type[Any]] = IAATConfig
    config: IAATConfig

    def __init__(self, config: IAATConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config)
        self.radii: RadiusMemory | None = RadiusMemory(
            size, initial=config.initial, floor=config.floor, cap=config.cap, norm=config.norm, device=device
        )
        self._memory = self.radii

    def step(self, model: nn.Module, batch: Batch, context: StepContext) -> StepOutput:
        """Cross-entropy of the batch attacked at its radii; the radii are updated on the way."""
        probing = self.config.rule == "paper"
        radius = self._probed(model, batch, context) if probing else self._memory[batch.index]
        x_adv = self.attacks.attack(model, batch, radius, context, steps=self._steps(radius))
        logits = full_precision(model(x_adv))
        if self.config.rule == "staircase":
            right = logits.detach().argmax(dim=1) == batch.y
            self._memory[batch.index] = staircase(radius, right, up=self.config.rate)
        return StepOutput(F.cross_entropy(logits, batch.y), logits.detach(), radius)

    def _steps(self, radius: Tensor) -> Tensor | None:
        """Steps `[B]` of the training attack; None where all take all."""
        full = self.config.all_steps_from
        return proportional_steps(radius, self.config.steps, full_at=full) if full else None

    def _probed(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` to train at under the authors' rule, which moves them first."""
        clean_right = is_right(model, batch.x, batch.y, self.config.mode)
        if context.epoch < self.config.warmup:
            new = warm_up(clean_right, self.config.radius)
        else:
            radius, gamma = self._memory[batch.index], self.config.gamma
            outcomes = probe(self.attacks, model, batch, (radius, radius + gamma), clean_right, context)
            new = paper(radius, clean_right, *outcomes, gamma=gamma, beta=self.config.beta)
        self._memory[batch.index] = new
        radius = self._memory[batch.index]
        return radius * clean_right if self.config.clean_wrong == "clean" else radius

    def cost(self, epoch: int) -> Passes:
        """At most K + 1 of each for the training attack; the paper rule adds a clean forward and two probing attacks.

        Less where steps follow the radius, and where the network lets probes that decide nothing be left out.
        """
        steps = self.config.gradients
        if self.config.rule != "paper":
            return Passes(steps + 1, steps + 1)
        if epoch < self.config.warmup:
            return Passes(steps + 2, steps + 1)
        return Passes(3 * steps + 4, 3 * steps + 1)

    def state_dict(self) -> dict[str, Any]:
        """The radii, and the state of the guard if there is one."""
        return {**super().state_dict(), "radii": self._memory.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of `state_dict`."""
        super().load_state_dict(state)
        self._memory.load_state_dict(state["radii"])
