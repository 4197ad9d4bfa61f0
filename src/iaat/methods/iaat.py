"""Instance-adaptive adversarial training: every sample has a radius of its own, learned online."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from iaat.attacks import is_correct
from iaat.errors import UserError, check_choice
from iaat.methods.adversarial import AdversarialTraining
from iaat.methods.base import StepContext
from iaat.methods.inner_attack import InnerConfig
from iaat.methods.pace import AuthorsRule, authors_rule, check_moves
from iaat.methods.probing import probe
from iaat.methods.staircase import StaircaseConfig, StaircaseRadii
from iaat.radius import paper, warm_up
from iaat.runtime.passes import Passes
from iaat.types import Batch, StepOutput
from iaat.units import Radius


@dataclass(frozen=True, kw_only=True)
class IAATConfig(StaircaseConfig, InnerConfig):
    """Settings of instance-adaptive adversarial training.

    `radius` is where attacks take all their steps, and where radii start; under rule paper also that of the warm-up.
    """

    rule: Literal["staircase", "paper"] = "staircase"
    """How radii move: staircase follows the outcome of the training attack, at no cost; paper is the authors' rule,
    which asks two more attacks."""
    gamma: Radius | None = None
    """Rule paper: how far above its present radius a sample is probed; null: 19/80 of `radius`, the authors' 1.9px at
    8px."""
    beta: float | None = None
    """Rule paper: share of the way to its target a radius moves in one visit, so at most by beta * gamma; null: by
    `reach`, the authors' 0.1 in their 110 epochs."""
    warmup: int | None = None
    """Rule paper: epochs at the uniform radius before radii move; null: 1/11 of all, the authors' 10 of 110."""
    clean_wrong: Literal["decay", "clean"] = "decay"
    """Rule paper: clean-wrong samples have their radius decay by beta a visit, and are attacked at what is left (decay,
    the authors' code) or trained on the clean image (clean, the authors' text)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.rule, ("staircase", "paper"), "method.rule")
        check_choice(self.clean_wrong, ("decay", "clean"), "method.clean_wrong")
        self.check_lengths("gamma")
        if self.gamma is not None and not self.gamma > 0:
            raise UserError("method.gamma = 0: radii would never grow")
        if self.beta is not None and not 0 < self.beta <= 1:
            raise UserError(f"method.beta = {self.beta}: a share in (0, 1]")
        if self.warmup is not None and self.warmup < 0:
            raise UserError(f"method.warmup = {self.warmup}: a number of epochs, 0 or more")
        if self.rule != "paper" and self.clean_wrong != "decay":
            raise UserError("method.clean_wrong belongs to rule paper: the staircase makes no clean forward")
        if self.full_steps_at and self.inner != "pgd":
            raise UserError(f"method.full_steps_at shares out the steps of inner pgd: inner {self.inner} has only one")

    def over(self, epochs: int) -> Self:
        """These settings with the constants of their rule filled in.

        Raises:
            UserError: a radius of 0, or a warm-up as long as the run.
        """
        if self.rule == "staircase":
            return super().over(epochs)
        constants = self._authors_rule(epochs)
        return replace(self, gamma=constants.gamma, beta=constants.beta, warmup=constants.warmup)

    def _authors_rule(self, epochs: int) -> AuthorsRule:
        check_moves(self.radius)
        return authors_rule(self.radius, self.reach, epochs, gamma=self.gamma, beta=self.beta, warmup=self.warmup)

    def authors_constants(self) -> AuthorsRule:
        """The constants of rule paper, as `over` has left them.

        Raises:
            UserError: it has not been called; it names the call.
        """
        if self.gamma is None or self.beta is None or self.warmup is None:
            raise UserError("IAATConfig: gamma, beta and warmup follow from the epochs; build from config.over(epochs)")
        return AuthorsRule(self.gamma, self.beta, self.warmup)

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        if self.rule == "staircase":
            return super().without_effect() | dict.fromkeys(("gamma", "beta", "warmup"), "method.rule paper")
        by_beta = {} if self.beta is None else {"reach": "method.beta null"}
        return super().without_effect() | {"start": "method.rule staircase"} | by_beta

    def check_complete(self) -> None:
        """Refuse to build a method from settings that do not know the number of epochs.

        Raises:
            UserError: they do not; it names the call that is missing.
        """
        if self.rule == "staircase":
            super().check_complete()
        else:
            self.authors_constants()

    def gain(self, epochs: int) -> float:
        """How far a radius can grow in a run of so many epochs."""
        if self.rule == "staircase":
            return super().gain(epochs)
        constants = self._authors_rule(epochs)
        return constants.gamma * constants.beta * (epochs - constants.warmup)

    @property
    def initial_key(self) -> str:
        """Which setting is the radius of every sample before its first visit."""
        return "radius" if self.rule == "paper" else "start"

    @property
    def all_steps_from(self) -> float:
        """Radius from which on an attack takes all its steps; 0 where all take all."""
        if self.full_steps_at is None and (self.rule, self.inner) != ("staircase", "pgd"):
            return 0.0
        return super().all_steps_from


class IAAT(StaircaseRadii, AdversarialTraining):
    """Minimise the cross-entropy of adversarial examples, each at the radius its sample has been found to bear.

    Under rule staircase every radius starts small and grows as long as the network resists the attack it is trained
    with; under rule paper it is probed by two more attacks.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), algorithms 1 and 2 (rule paper); this project
    (rule staircase, see docs/experiments.md).
    """

    Config: ClassVar[type[Any]] = IAATConfig
    config: IAATConfig

    def __init__(self, config: IAATConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        self._authors = config.authors_constants() if config.rule == "paper" else None

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` to train at: those in memory, which the authors' rule moves first."""
        if self._authors is None:
            return super().radii_of(model, batch, context)
        clean_right = is_correct(model, batch.x, batch.y, self.config.mode)
        if context.epoch < self._authors.warmup:
            new = warm_up(clean_right, self.config.radius)
        else:
            radius, gamma = self._memory[batch.index], self._authors.gamma
            outcomes = probe(self.attacks, model, batch, (radius, radius + gamma), clean_right, context)
            new = paper(radius, clean_right, *outcomes, gamma=gamma, beta=self._authors.beta)
        self._memory[batch.index] = new.clamp_max(self._memory.largest)
        radius = self._memory[batch.index]
        return radius * clean_right if self.config.clean_wrong == "clean" else radius

    def learn(self, batch: Batch, output: StepOutput) -> None:
        """Rule staircase: move the radii by the outcome of the training attack."""
        if self._authors is None:
            super().learn(batch, output)

    def cost(self, epoch: int) -> Passes:
        """At most K + 1 of each for the training attack; the paper rule adds a clean forward and two probing attacks.

        Less where steps follow the radius, and where the network lets probes that decide nothing be left out.
        """
        steps = self.config.gradients
        if self._authors is None:
            return super().cost(epoch)
        if epoch < self._authors.warmup:
            return Passes(steps + 2, steps + 1)
        return Passes(3 * steps + 4, 3 * steps + 1)
