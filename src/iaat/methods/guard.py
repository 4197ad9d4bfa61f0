"""Guard against catastrophic overfitting: compares single-step and PGD accuracy, and falls back to PGD training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from iaat.attacks import nfgsm, pgd, predict_classes
from iaat.methods.inner_config import InnerConfig
from iaat.methods.training_attacks import Attacker, NFGSMAttacker, PGDAttacker
from iaat.types import Batch

GUARD_SAMPLES = 128
"""Validation samples of a check."""

GUARD_STEPS = 10
"""Steps of the PGD that a check compares with."""

SURE = 3.0
"""Standard errors by which a gap must exceed its limit."""


@dataclass(frozen=True, slots=True)
class GuardCheck:
    """Result of a check.

    Attributes:
        single: Accuracy under the single-step attack of the training.
        strong: Accuracy under PGD.
        both: Fraction of samples that are correct under either.
        samples: Number of samples.
        news: Message for people; None unless this check made training change its attack.
    """

    single: float
    strong: float
    both: float
    samples: int
    news: str | None = None

    @property
    def gap(self) -> float:
        """Fraction of the single-step accuracy that PGD takes away; negative where PGD is the weaker attack."""
        return 1 - self.strong / self.single if self.single else 0.0

    def surely_above(self, limit: float) -> bool:
        """Whether the gap exceeds `limit` by more than chance: a test of paired samples."""
        rest = 1 - limit
        excess = rest * self.single - self.strong  # the mean of rest * single - strong over samples, which are 0 or 1
        variance = rest**2 * self.single - 2 * rest * self.both + self.strong - excess**2
        return excess > SURE * math.sqrt(max(variance, 0) / self.samples)


class Guard:
    """Compares accuracy under the training's single step and under PGD, and chooses the attacker to train with.

    A model that overfits catastrophically bends its loss surface so that one step no longer finds adversarial examples:
    accuracy under the single step rises while accuracy under PGD falls to nothing. Once PGD surely takes away more than
    `guard_gap` of the single-step accuracy, training takes PGD steps, from which the model recovers within a few. A
    later check that finds the gap below three quarters of that limit returns to the single step.

    The gap is a fraction because a difference does not separate the two: on digits at 96px accuracy under FGSM was 15
    points above that under PGD-10 for a model trained with PGD, and 11 for one that overfitted and had nothing left
    under PGD.

    Both attacks have the radius of the settings and the model in eval mode. The single step is the one trained
    with: its noise takes it out of the ball, which can only lower its accuracy and hide a gap, while one projected back
    would be half as strong and show a gap of every model.

    Source: the remedy is that of Li, Wang, Jana, Carin 2020 (arXiv 2006.03089); the symptom is described by Wong, Rice,
    Kolter 2020 (arXiv 2001.03994).
    """

    samples = GUARD_SAMPLES

    def __init__(self, config: InnerConfig) -> None:
        self._config = config
        self._single_step, self._pgd = NFGSMAttacker(config), PGDAttacker(config)
        self.backed_off = False

    @property
    def attacker(self) -> Attacker:
        """The attacker to train with at present."""
        return self._pgd if self.backed_off else self._single_step

    def due(self, step: int) -> bool:
        """Whether to check after training step number `step`, counted from 1 over all epochs."""
        return step % self._config.guard_every == 0

    def check(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> GuardCheck:
        """Evaluate `model` on validation samples and choose the attacker of the next steps; the model stays as it is.

        Costs 13 forwards and 11 backwards a sample.
        """
        radius, norm = self._config.radius, self._config.norm
        noise = self._config.noise
        single = nfgsm(model, batch.x, batch.y, radius=radius, noise=noise, norm=norm, generator=generator)
        strong = pgd(model, batch.x, batch.y, radius=radius, steps=GUARD_STEPS, norm=norm, generator=generator)
        check = _compare(*(predict_classes(model, x_adv) == batch.y for x_adv in (single, strong)))
        return replace(check, news=self._decide(check))

    def _decide(self, check: GuardCheck) -> str | None:
        limit = self._config.guard_gap
        seen = f"single-step {check.single:.1%}, PGD-{GUARD_STEPS} {check.strong:.1%} on validation samples"
        if not self.backed_off and check.surely_above(limit):
            self.backed_off = True
            return f"catastrophic overfitting: {seen}; training with PGD until it has gone"
        if self.backed_off and check.gap < 0.75 * limit:
            self.backed_off = False
            return f"catastrophic overfitting has gone: {seen}; training with single steps again"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Whether it has backed off to PGD."""
        return {"backed_off": self.backed_off}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`."""
        self.backed_off = bool(state["backed_off"])


def _compare(single: Tensor, strong: Tensor) -> GuardCheck:
    """Accuracies from the outcomes `[n]` bool under the two attacks."""
    first, second, both = (float(correct.double().mean()) for correct in (single, strong, single & strong))
    return GuardCheck(first, second, both, samples=len(single))
