"""An accuracy over seeds with its interval, as `comparison.json` and pages of results have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iaat.evaluate.results import Interval
from iaat.runtime.json_files import Fraction, NonNegative
from iaat.statistics import accuracy_spread


@dataclass(frozen=True, slots=True)
class MeanAccuracy:
    """An accuracy over seeds with the t-interval of its mean; of one seed Wilson's interval and no deviation."""

    mean: Fraction
    interval95: Interval
    sd: NonNegative | None = None


def mean_accuracy(values: Sequence[float], n: int) -> MeanAccuracy:
    """Mean of accuracies as fractions, one a seed, each on `n` samples."""
    over = accuracy_spread(values, n)
    assert over.interval is not None
    return MeanAccuracy(over.mean, over.interval, over.sd)
