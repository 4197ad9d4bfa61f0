"""Figures over seeds: mean, spread, and what the mean is known to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import t as student

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the runs of a recipe that differ in the seed only.

    Attributes:
        mean: Over the seeds.
        sd: Sample standard deviation over the seeds; None for one seed.
        interval: 95 % t-interval of the mean; None for one seed. With two seeds it reaches 9 standard deviations to
            each side, with three 2.5.
        n: Number of seeds.
    """

    mean: float
    sd: float | None
    interval: tuple[float, float] | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation and 95 % t-interval of the mean (Student 1908) of at least one value."""
    n, centre = len(values), mean(values)
    if n == 1:
        return Spread(centre, None, None, 1)
    sd = stdev(values)
    half = float(student.ppf((1 + LEVEL) / 2, n - 1)) * sd / math.sqrt(n)
    return Spread(centre, sd, (centre - half, centre + half), n)
