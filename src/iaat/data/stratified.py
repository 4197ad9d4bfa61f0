"""Stratified splits and subsets: each class keeps its fraction."""

from numbers import Integral, Real

import torch
from torch import Tensor

from iaat.errors import UserError, shown
from iaat.runtime.rng import derive_seed, permutation


def stratified_split(
    labels: Tensor,
    fraction: float,
    seed: int,
    among: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Split samples in two with the same fraction of each class.

    Of a class of n samples, `round(fraction * n)` go to the second part, but at least one and at most n - 1: a single
    one stays in the first.

    Args:
        labels: `[N]` int64 class ids.
        fraction: Size of the second part relative to all, in (0, 1).
        seed: Decides which samples.
        among: Indices to split, int64; None: all.

    Returns:
        The two parts, sorted int64 indices into `labels`.

    Raises:
        UserError: A fraction that is not between 0 and 1, or no class has more than one sample.
    """
    if not isinstance(fraction, Real) or not 0 < fraction < 1:
        raise UserError(f"fraction = {shown(fraction)}: give the part of each class, between 0 and 1, such as 0.2")
    among = torch.arange(len(labels)) if among is None else among.sort().values
    kept, held = [], []
    for label, members in _by_class(labels, among):
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        shuffled = members[permutation(len(members), derive_seed(seed, "split"), label)]
        held.append(shuffled[:count])
        kept.append(shuffled[count:])
    if not sum(map(len, held)):
        raise UserError(
            "every class has a single training sample, so none is left for validation: add"
            " samples, raise data.limit, or give images of their own by data.validation"
        )
    return _sorted(kept), _sorted(held)


def stratified_subset(labels: Tensor, n: int, seed: int, *, at_least: int = 1) -> Tensor:
    """Draw samples with the same fraction of each class.

    Args:
        labels: `[N]` int64 class ids.
        n: How many; all if `n >= N`.
        seed: Decides which samples.
        at_least: Samples that each class keeps, as far as it has them.

    Returns:
        `[min(n, N)]` int64, sorted. A larger `n` draws the same samples and more, up to rounding.

    Raises:
        UserError: `n` is no whole number from 0 on, or too small for `at_least` samples of each class.
    """
    if not isinstance(n, Integral) or n < 0:
        raise UserError(f"n = {shown(n)}: give a whole number of samples, 0 or more")
    everything = torch.arange(len(labels))
    if n >= len(labels):
        return everything
    groups = _by_class(labels, everything)
    counts = _allocate(torch.tensor([len(members) for _, members in groups]), n, at_least)
    parts = [
        members[permutation(len(members), derive_seed(seed, "subset"), label)[:count]]
        for (label, members), count in zip(groups, counts.tolist(), strict=True)
    ]
    return _sorted(parts)


def _allocate(sizes: Tensor, n: int, at_least: int) -> Tensor:
    """Distribute `n` among classes in proportion to `sizes` (largest remainder), none below its minimum."""
    minimum = sizes.clamp(max=at_least)
    if int(minimum.sum()) > n:
        raise UserError(
            f"a subset of {n} samples is too small for {at_least} of each of {len(sizes)} classes:"
            f" raise the limit to at least {int(minimum.sum())}"
        )
    quota = sizes.double() * n / sizes.sum()
    counts = torch.maximum(quota.floor().long(), minimum)
    while (missing := n - int(counts.sum())) != 0:
        step = 1 if missing > 0 else -1
        movable = counts < sizes if step > 0 else counts > minimum
        gain = torch.where(movable, step * (quota - counts), -torch.inf)
        counts[gain.argmax()] += step
    return counts


def _by_class(labels: Tensor, among: Tensor) -> list[tuple[int, Tensor]]:
    """Classes present and the indices of their samples, both ascending."""
    present = labels[among]
    groups = torch.split(among[present.argsort(stable=True)], torch.bincount(present).tolist())
    return [(label, members) for label, members in enumerate(groups) if len(members)]


def _sorted(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts).sort().values if parts else torch.empty(0, dtype=torch.int64)
