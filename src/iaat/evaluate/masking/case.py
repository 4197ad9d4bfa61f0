"""Model and samples of the masking checks, results of a check, and when a difference is relevant."""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from dataclasses import dataclass, field

import scipy
import torch
from torch import Tensor, nn

from iaat.attacks import full_precision, geometry
from iaat.evaluate.findings import Finding
from iaat.evaluate.robust_accuracy import is_inside
from iaat.runtime import rng
from iaat.statistics import mcnemar_p_value
from iaat.units import Norm

POINTS = 0.05
"""Fraction of all samples from which a difference is relevant. Trained honest networks on digits and CIFAR-10 lost at
most 4 points from restarted PGD to everything a report runs."""

SAMPLES = 5
"""Samples from which a difference is relevant: below 100 samples, 5 points are no more than chance. If honest models
lose 1 % to luck, 5 of 100 happen once in 300 reports."""

LEVEL = 0.01
"""Largest probability that chance alone explains a difference; some ten comparisons are made in one report."""


HIDDEN = 0.25
"""Fraction of the attacked samples that masking hides from PGD and that a report must be able to detect."""

POWER = 0.95
"""Probability with which it must detect it."""

LARGE = 1e6
"""What is infinite or larger is reported as this: a report is a JSON file, which knows no infinity."""


@dataclass(frozen=True, slots=True)
class Result:
    """Figures and findings of one check."""

    measures: dict[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model in eval mode and the samples `[B, ...]` on which it is checked.

    Attributes:
        model: Maps inputs in [0, 1] to logits.
        x: Inputs `[B, ...]`, all of them classified correctly.
        y: Labels `[B]`.
        n: Number of samples handed over, the misclassified ones included: fractions are of these, so that a point
            here is a point of accuracy.
        radius: On the [0, 1] scale.
        norm: `linf` or `l2`.
        classes: Number of classes.
        seed: Seed of the attacks.
        adversarial: Norm of the smallest adversarial perturbation found within the radius, by the row of its sample in
            `x`, and the class predicted there; filled by the attacks.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    n: int
    radius: float
    norm: Norm
    classes: int
    seed: int
    adversarial: dict[int, tuple[float, int]] = field(default_factory=dict)

    def logits(self, x: Tensor) -> Tensor:
        """Logits `[B, classes]` in at least float32, without a graph."""
        with torch.no_grad():
            return full_precision(self.model(x))

    def is_correct(self, x: Tensor, rows: Tensor | None = None) -> Tensor:
        """Mask of the inputs that are classified correctly; they belong to the samples `rows`, all by default."""
        y = self.y if rows is None else self.y[rows]
        return self.logits(x).argmax(dim=1) == y if len(x) else torch.zeros_like(y, dtype=torch.bool)

    def is_robust(self, x_adv: Tensor, rows: Tensor | None = None, logits: Tensor | None = None) -> Tensor:
        """As `is_correct` for what an attack returned; adversarial examples within the radius are kept.

        Args:
            x_adv: Inputs `[R, ...]` that an attack returned.
            rows: Their samples `[R]`; all by default.
            logits: Their logits, where they are known.
        """
        rows = torch.arange(len(self.y), device=self.y.device) if rows is None else rows
        if not len(x_adv):
            return torch.zeros_like(rows, dtype=torch.bool)
        prediction = (self.logits(x_adv) if logits is None else logits).argmax(dim=1)
        correct = prediction == self.y[rows]
        norms = geometry(self.norm).norm(x_adv - self.x[rows])
        found = ~correct & is_inside(x_adv, norms, self.radius)
        for row, norm, label in zip(*(each[found].tolist() for each in (rows, norms, prediction)), strict=True):
            self.adversarial[row] = min(self.adversarial.get(row, (norm, label)), (norm, label))
        return correct

    def generator(self, purpose: str) -> torch.Generator:
        """Random generator of one attack."""
        return rng.generator(self.seed, "masking", purpose, device=self.x.device)

    def fraction(self, mask: Tensor) -> float:
        """Samples that are True in a mask, as a fraction of all samples handed over."""
        return int(mask.sum()) / self.n


def is_relevant(number: int, n: int) -> bool:
    """Whether `number` of `n` samples are too many for an honest model."""
    return number >= _least(n)


def _least(n: int) -> int:
    """Smallest number of samples that is relevant."""
    return max(SAMPLES, math.floor(POINTS * n) + 1)


def samples_needed(n: int) -> int:
    """Correctly classified samples, of `n` in all, from which no finding means something.

    Masking that hides `HIDDEN` of the samples from an attack shows on a binomial number of them. Needed are so many
    that this number is relevant with probability `POWER`: 34 of up to 99, 65 of 200, 247 of 1,000 samples.
    """
    return _needed(_least(n))


@functools.cache
def _needed(least: int) -> int:
    """Samples of which `least` are hidden with probability `POWER`, where `HIDDEN` of all are."""

    def is_enough(samples: int) -> bool:
        return bool(scipy.stats.binom.sf(least - 1, samples, HIDDEN) >= POWER)

    most = next(size for size in (least << k for k in itertools.count()) if is_enough(size))
    return bisect.bisect_left(range(most), True, lo=least, key=is_enough)


def is_stronger(gained: int, lost: int, n: int) -> bool:
    """Whether one attack is stronger than another on the same `n` samples.

    Args:
        gained: Samples on which only the first succeeds.
        lost: Samples on which only the second succeeds.
        n: All samples.

    Source: the exact one-sided test of McNemar 1947.
    """
    if not is_relevant(gained - lost, n):
        return False
    return mcnemar_p_value(gained, lost) < LEVEL


def percent(fraction: float) -> str:
    """`0.123` -> `"12.3 %"`."""
    return f"{100 * fraction:.1f} %"
