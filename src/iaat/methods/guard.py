"""The guard of single-step training: notices catastrophic overfitting on held-out samples and has PGD mend it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from iaat.attacks import is_correct, nfgsm, pgd
from iaat.methods.inner_attack import InnerConfig
from iaat.types import Batch

SAMPLES = 128
"""Held-out samples of a check."""

STEPS = 10
"""Steps of the PGD that a check trusts."""

SURE = 3.0
"""Standard errors by which a gap must exceed its limit."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw.

    Attributes:
        single: Accuracy under the attack of the training, one step.
        strong: Accuracy under PGD.
        both: Share of samples right under either.
        samples: Number of samples.
        news: What to tell people; None unless this check made training change its attack.
    """

    single: float
    strong: float
    both: float
    samples: int
    news: str | None = None

    @property
    def gap(self) -> float:
        """Share of the single-step accuracy that PGD takes away; negative where PGD is the weaker attack."""
        return 1 - self.strong / self.single if self.single else 0.0

    def surely_above(self, limit: float) -> bool:
        """Whether the gap is above `limit` by more than chance, the samples of both attacks being the same ones."""
        share = 1 - limit
        excess = share * self.single - self.strong  # the mean of share * single - strong over samples, which are 0 or 1
        variance = share**2 * self.single - 2 * share * self.both + self.strong - excess**2
        return excess > SURE * math.sqrt(max(variance, 0) / self.samples)


class Guard:
    """Compares accuracy under the training's single step and under PGD, and picks the attack to train with.

    A network that overfits catastrophically bends its loss surface so that one step no longer finds what fools it:
    accuracy under the single step rises while accuracy under PGD falls to nothing. Once PGD surely takes away more than
    `guard_gap` of the single-step accuracy, training takes PGD steps, which mend the network within a few; a later
    check that finds the gap below three quarters of that gives the single step back.

    The gap is a share because a difference does not tell: on digits at 96px accuracy under FGSM was 15 points above
    that under PGD-10 for a network trained with PGD, and 11 for one that overfitted and had nothing left under PGD.

    Both attacks have the radius of the settings and the network in eval mode. The single step is the one trained
    with: its noise takes it out of the ball, which can only lower its accuracy and hide a gap, while one projected back
    would be half as strong and show a gap of every network.

    Source: the remedy is that of Li, Wang, Jana, Carin 2020 (arXiv 2006.03089); the sign to look for is in Wong, Rice,
    Kolter 2020 (arXiv 2001.03994).
    """

    samples = SAMPLES

    def __init__(self, config: InnerConfig) -> None:
        self._config = config
        self._mending = config.with_pgd()
        self.backed_off = False

    @property
    def attacks(self) -> InnerConfig:
        """The settings to train with at present."""
        return self._mending if self.backed_off else self._config

    def due(self, step: int) -> bool:
        """Whether to check after training step number `step`, counted from 1 over all epochs."""
        return step % self._config.guard_every == 0

    def check(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Finding:
        """Judge `model` on held-out samples and decide the attack of the next steps; the model is left as it was.

        Costs 13 forwards and 11 backwards a sample.
        """
        radius, norm = self._config.radius, self._config.norm
        noise = self._config.noise
        single = nfgsm(model, batch.x, batch.y, radius=radius, noise=noise, norm=norm, generator=generator)
        strong = pgd(model, batch.x, batch.y, radius=radius, steps=STEPS, norm=norm, generator=generator)
        finding = _compare(*(is_correct(model, x_adv, batch.y) for x_adv in (single, strong)))
        return replace(finding, news=self._decide(finding))

    def _decide(self, finding: Finding) -> str | None:
        limit = self._config.guard_gap
        seen = f"single-step {finding.single:.1%}, PGD-{STEPS} {finding.strong:.1%} on held-out samples"
        if not self.backed_off and finding.surely_above(limit):
            self.backed_off = True
            return f"catastrophic overfitting noticed: {seen}; training with PGD until it has gone"
        if self.backed_off and finding.gap < 0.75 * limit:
            self.backed_off = False
            return f"catastrophic overfitting has gone: {seen}; training with single steps again"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Whether it has backed off."""
        return {"backed_off": self.backed_off}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of `state_dict`."""
        self.backed_off = bool(state["backed_off"])


def _compare(single: Tensor, strong: Tensor) -> Finding:
    """What the outcomes `[n]` bool under the two attacks come to."""
    single_right, strong_right, both = (float(right.double().mean()) for right in (single, strong, single & strong))
    return Finding(single_right, strong_right, both, samples=len(single))
