"""Wilson intervals, t-intervals over seeds and McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import scipy  # its parts are imported when they are first used

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and spread of a figure over runs that differ in the seed only.

    Attributes:
        mean: Over the seeds.
        sd: Sample standard deviation over the seeds; None for one seed.
        interval: 95 % t-interval of the mean; None for one seed. With two seeds it reaches 9 standard deviations to
            each side, with three 2.5.
        n: Number of seeds.
    """

    mean: float
    sd: float | None = None
    interval: tuple[float, float] | None = None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation and 95 % t-interval of the mean (Student 1908) of at least one value."""
    n, centre = len(values), mean(values)
    if n == 1:
        return Spread(mean=centre, n=1)
    sd = stdev(values)
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * sd / math.sqrt(n)
    return Spread(mean=centre, sd=sd, interval=(centre - half, centre + half), n=n)


def wilson_interval(accuracy: float, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of an accuracy in [0, 1] measured on n independent samples (Wilson 1927)."""
    z = 1.959963984540054
    centre = accuracy + z * z / (2 * n)
    half = z * math.sqrt(accuracy * (1 - accuracy) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return (centre - half) / scale, (centre + half) / scale


def mcnemar_p_value(gained: int, lost: int) -> float:
    """One-sided p-value of the exact McNemar test (McNemar 1947), that the first of two outcomes is no better.

    Args:
        gained: Samples where only the first succeeds.
        lost: Samples where only the second succeeds.

    Returns:
        Probability of at least `gained` successes in `gained + lost` fair coin tosses; 1 where there is no toss.
    """
    if gained + lost == 0:
        return 1.0
    return float(scipy.stats.binomtest(gained, gained + lost, 0.5, alternative="greater").pvalue)
