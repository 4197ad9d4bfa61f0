"""IAAT by its authors' rule, which attacks every sample at two more radii."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from iaat.attacks import predict_classes
from iaat.errors import UserError, check_choice
from iaat.methods.adversarial_training import AdversarialTraining
from iaat.methods.base import StepContext
from iaat.methods.inner_config import InnerConfig
from iaat.methods.learned_radii import LearnedRadii, LearnedRadiiConfig
from iaat.methods.radius_schedule import PaperConstants, check_moves, paper_constants
from iaat.methods.robust_at import robust_at
from iaat.radius import paper, warm_up
from iaat.runtime.passes import Passes
from iaat.types import Batch
from iaat.units import Radius


@dataclass(frozen=True, kw_only=True)
class IAATPaperConfig(InnerConfig, LearnedRadiiConfig):
    """Settings of IAAT by its authors' rule; `radius` is that of the warm-up, and where radii start."""

    from_epochs: ClassVar[tuple[str, ...]] = ("gamma", "beta", "warmup")

    gamma: Radius | None = None
    """How far above its present radius a sample is attacked, too; null: 19/80 of `radius`, the authors' 1.9px at
    8px."""
    beta: float | None = None
    """Fraction of the way to its target a radius moves in one visit, so at most by beta * gamma; null: by `reach`, the
    authors' 0.1 in their 110 epochs."""
    warmup: int | None = None
    """Epochs at the uniform radius before radii move; null: 1/11 of all, the authors' 10 of 110."""
    clean_wrong: Literal["decay", "clean"] = "decay"
    """Samples that are misclassified clean: their radius decays by beta a visit, and they are attacked at the rest
    (decay, the authors' code) or trained on the clean image (clean, the authors' text)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.clean_wrong, ("decay", "clean"), "method.clean_wrong")
        self.check_radii("gamma")
        if self.gamma is not None and not self.gamma > 0:
            raise UserError("method.gamma = 0: radii would never grow")
        if self.beta is not None and not 0 < self.beta <= 1:
            raise UserError(f"method.beta = {self.beta}: a fraction in (0, 1]")
        if self.warmup is not None and self.warmup < 0:
            raise UserError(f"method.warmup = {self.warmup}: a number of epochs, 0 or more")

    def over(self, epochs: int) -> Self:
        """These settings with gamma, beta and the warm-up filled in.

        Raises:
            UserError: a radius of 0, or a warm-up as long as the run.
        """
        constants = self._constants(epochs)
        return replace(self, gamma=constants.gamma, beta=constants.beta, warmup=constants.warmup)

    def after(self, epochs: int) -> Self:
        """These settings with the warm-up that the finished epochs had: another one would begin the radii anew."""
        return self if self.warmup is not None else replace(self, warmup=self._constants(epochs).warmup)

    def _constants(self, epochs: int) -> PaperConstants:
        check_moves(self.radius)
        constants = paper_constants(
            self.radius, self.reach, epochs, gamma=self.gamma, beta=self.beta, warmup=self.warmup
        )
        if self.gamma is None:
            return replace(constants, gamma=Radius(self._within_range(constants.gamma)))
        return constants

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, each with what they belong to."""
        return super().without_effect() | ({} if self.beta is None else {"reach": "method.beta null"})

    def gain(self, epochs: int) -> float:
        """How far a radius can grow in a run of so many epochs."""
        constants = self._constants(epochs)
        return constants.gamma * constants.beta * (epochs - constants.warmup)


class IAATPaper(LearnedRadii, AdversarialTraining):
    """Minimise the cross-entropy of adversarial examples, each at its sample's radius by the authors' rule.

    Before each visit a sample is attacked at its radius and at gamma above it. The radius moves towards the largest of
    three at which the model is correct.

    Source: Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), algorithms 1 and 2.

    Example:
        >>> from iaat.methods import IAATPaper, IAATPaperConfig
        >>> method = IAATPaper(IAATPaperConfig(steps=5).over(epochs=30), size=1000, device="cpu")
        >>> method.cost(epoch=29)
        Passes(forward=19, backward=16)
    """

    Config: ClassVar[type[Any]] = IAATPaperConfig
    config: IAATPaperConfig

    def __init__(self, config: IAATPaperConfig, *, size: int, device: torch.device | str) -> None:
        super().__init__(config, size=size, device=device)
        assert config.gamma is not None
        assert config.beta is not None
        assert config.warmup is not None
        self._constants = PaperConstants(config.gamma, config.beta, config.warmup)

    def radii_of(self, model: nn.Module, batch: Batch, context: StepContext) -> Tensor:
        """Radii `[B]` to train at: those in memory, which the rule moves first."""
        constants = self._constants
        clean_correct = predict_classes(model, batch.x, self.config.mode) == batch.y
        if context.epoch < constants.warmup:
            new = warm_up(clean_correct, self.config.radius)
        else:
            radius = self._memory[batch.index]
            radii = (radius, radius + constants.gamma)
            outcomes = robust_at(self.attacker, model, batch, radii, clean_correct, context)
            new = paper(radius, clean_correct, *outcomes, gamma=Radius(constants.gamma), beta=constants.beta)
        self._memory[batch.index] = new.clamp_max(self._memory.largest)
        radius = self._memory[batch.index]
        return radius * clean_correct if self.config.clean_wrong == "clean" else radius

    def cost(self, epoch: int) -> Passes:
        """At most 3K + 4 forwards and 3K + 1 backwards: a clean forward, and three attacks of which two are evaluated.

        Less where steps follow the radius, and where attacks that decide nothing are left out. In the warm-up, K + 2
        and K + 1.
        """
        steps = self.config.gradients
        if epoch < self._constants.warmup:
            return Passes(steps + 2, steps + 1)
        return Passes(3 * steps + 4, 3 * steps + 1)
