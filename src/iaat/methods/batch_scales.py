"""Multiples of mean 1 for the samples of a batch, in proportion to a power of a quantity that each has."""

from __future__ import annotations

from torch import Tensor, stack

from iaat.runtime.distributed import current


def batch_scales(values: Tensor, *, power: float, low: float, high: float, own: int | None = None) -> Tensor:
    """`clip((mean v / v_i) ** power, low, high)` `[B]`, divided by its mean.

    Args:
        values: Quantities v `[B]`, such as gradient norms, at least 0. A NaN is left out of the mean and counts as the
            mean itself; at a `power` above 0 a 0 gets `high`, at one below 0 it gets `low`.
        power: Exponent; below 0 the larger a value, the larger its multiple.
        low: Smallest ratio.
        high: Largest ratio.
        own: Number of samples, the first ones, that the means are over; None: all. Means are over all processes.

    Returns:
        Finite multiples `[B]` between `low / high` and `high / low`, of mean 1.
    """
    ratio = (_mean(values, own) / values) ** power
    # 0 / 0 and inf / inf are NaN, too: where nothing can be compared, all ratios are 1.
    bounded = ratio.nan_to_num(nan=1.0).clamp(low, high)
    return bounded / _mean(bounded, own)


def _mean(values: Tensor, own: int | None) -> Tensor:
    """Mean of the values `[B]` of the samples that count, in all processes, NaN left out."""
    ranks, values = current(), values[:own]
    if not ranks.several:
        return values.nanmean()
    sums = ranks.sum_(stack((values.nansum(), (~values.isnan()).sum().to(values))))
    return sums[0] / sums[1]
