"""Wilson intervals, t-intervals over seeds, McNemar's test, and differences between two accuracies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, stdev

import scipy  # its parts are imported when they are first used

CONFIDENCE = 0.95

QUANTILES = (5, 25, 50, 75, 95)
"""Quantiles of radii and norms that logs, results, tables and charts show, in per cent."""

_Z = 1.959963984540054


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


def known_mean(values: Sequence[float | None]) -> float | None:
    """The mean; None where there is no value or one is not known, as of a run with a damaged log."""
    known = [value for value in values if value is not None]
    return mean(known) if known and len(known) == len(values) else None


def accuracy_spread(values: Sequence[float], n: int) -> Spread:
    """Mean of an accuracy over seeds with its 95 % interval within [0, 1].

    Of several seeds that is the t-interval of the mean; of one seed Wilson's over the test samples.

    Args:
        values: Accuracies as fractions, one a seed, at least one.
        n: Test samples of each.
    """
    over = spread(values)
    low, high = over.interval or wilson_interval(over.mean, n)
    return Spread(mean=over.mean, sd=over.sd, interval=(max(low, 0.0), min(high, 1.0)), n=over.n)


def wilson_interval(accuracy: float, n: int, *, tests: int = 1) -> tuple[float, float]:
    """95 % Wilson score interval of an accuracy in [0, 1] measured on n independent samples (Wilson 1927).

    Args:
        accuracy: The accuracy.
        n: Number of samples.
        tests: Intervals that shall all hold together with 95 % probability at least (Bonferroni): each is wider.
    """
    z = _Z if tests == 1 else NormalDist().inv_cdf(1 - 0.025 / tests)
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


def mcnemar_two_sided(gained: int, lost: int) -> float:
    """Two-sided p-value of the exact McNemar test: that the two outcomes are alike; arguments as `mcnemar_p_value`."""
    return min(1.0, 2 * mcnemar_p_value(max(gained, lost), min(gained, lost)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Difference of two accuracies, as fractions.

    Attributes:
        mean: First minus second.
        interval: 95 % interval of it.
        holds: Whether it is more than chance; otherwise the two are a tie.
        by: What it rests on, for people.
    """

    mean: float
    interval: tuple[float, float]
    holds: bool
    by: str


def paired_difference(gained: int, lost: int, n: int) -> Difference:
    """Difference of two accuracies on the same n samples.

    The interval is that of Agresti and Min (2005), Wald's with half a sample more in each of the four outcomes. The
    difference holds where the interval excludes 0 and the two-sided exact McNemar test has a p-value below 0.05.

    Args:
        gained: Samples where only the first is correct.
        lost: Samples where only the second is correct.
        n: All samples, at least one.

    Example:
        >>> paired_difference(30, 10, 200).holds
        True
    """
    total, net = n + 2, (gained - lost) / (n + 2)
    half = _Z * math.sqrt(max((gained + lost + 1) - total * net * net, 0.0)) / total
    p_value = mcnemar_two_sided(gained, lost)
    interval = (max(net - half, -1.0), min(net + half, 1.0))
    holds = p_value < 1 - CONFIDENCE and _excludes_zero(interval)
    return Difference(mean=(gained - lost) / n, interval=interval, holds=holds, by=f"paired over {n:,} samples")


def unpaired_difference(first: float, second: float, n_first: int, n_second: int) -> Difference:
    """Difference of two accuracies of which only the numbers of samples are known, by Newcombe's score interval (1998).

    Source: Newcombe 1998, Statistics in Medicine 17, method 10, from two Wilson intervals.
    """
    (low, high), (below, above) = wilson_interval(first, n_first), wilson_interval(second, n_second)
    mean = first - second
    interval = (mean - math.hypot(first - low, above - second), mean + math.hypot(high - first, second - below))
    return Difference(
        mean=mean, interval=interval, holds=_excludes_zero(interval), by=f"of {n_first:,} and {n_second:,} samples"
    )


def means_difference(first: Sequence[float], second: Sequence[float], n_first: int, n_second: int) -> Difference:
    """Difference of the mean accuracies of two recipes that have no seed in common.

    Its interval covers both Student's two-sample t-interval (1908, equal variances: one seed has none of its own) and
    Newcombe's of the means over the test samples, which the seeds share. Of one seed each there is the latter alone.

    Args:
        first, second: Accuracies as fractions, one a seed, at least one each.
        n_first, n_second: Test samples of each seed.

    Example:
        >>> found = means_difference([0.40, 0.50, 0.52], [0.45], 1000, 1000)
        >>> round(found.mean, 4), found.holds, found.by
        (0.0233, False, 'of 3 and 1 seeds, none of them shared')
    """
    counts = len(first), len(second)
    samples = unpaired_difference(mean(first), mean(second), n_first, n_second)
    free = sum(counts) - 2
    if free == 0:
        return samples
    squares = sum(sum((value - mean(values)) ** 2 for value in values) for values in (first, second))
    error = math.sqrt(squares / free * (1 / counts[0] + 1 / counts[1]))
    half = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, free)) * error
    low, high = min(samples.mean - half, samples.interval[0]), max(samples.mean + half, samples.interval[1])
    interval = (max(low, -1.0), min(high, 1.0))
    by = f"of {counts[0]} and {counts[1]} seeds, none of them shared"
    return Difference(mean=samples.mean, interval=interval, holds=_excludes_zero(interval), by=by)


def seed_difference(pairs: Sequence[Difference]) -> Difference:
    """Mean difference over two or more pairs of runs that differ in the seed only.

    Its interval covers both the t-interval over the pairs and the mean of their own intervals: seeds tested on the same
    samples share the luck of these, which no number of seeds averages out.

    Raises:
        ValueError: fewer than two pairs have no spread.
    """
    if len(pairs) < 2:
        raise ValueError("a spread over seeds needs at least two pairs of runs")
    over = spread([pair.mean for pair in pairs])
    assert over.interval is not None
    own = [mean(ends) for ends in zip(*(pair.interval for pair in pairs), strict=True)]
    low, high = min(over.interval[0], own[0]), max(over.interval[1], own[1])
    interval = (max(low, -1.0), min(high, 1.0))
    return Difference(mean=over.mean, interval=interval, holds=_excludes_zero(interval), by=f"over {over.n} seeds")


def _excludes_zero(interval: tuple[float, float]) -> bool:
    return interval[0] > 0 or interval[1] < 0
