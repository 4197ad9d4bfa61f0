"""Order of the samples of an epoch, cut into batches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from iaat.errors import UserError
from iaat.runtime.rng import derive_seed, permutation


def epoch_order(
    index: Tensor, batch_size: int, *, seed: int, epoch: int, extra: Tensor | None = None, ratio: float = 0.0
) -> list[Tensor]:
    """Shuffle the training samples and cut them into batches, filled up with extra samples if there are any.

    A last batch of a single sample joins the one before it (which then has `batch_size + 1`): batch normalisation
    has no variance to take of one sample. This applies neither to `batch_size=1` nor to a data set of one sample.

    An epoch visits each of `index` once and takes the extra samples from where the epoch before has stopped (Carmon et
    al. 2019, arXiv 1905.13736, and the works on generated images mix every batch so): see `extra_stream`.

    Args:
        index: `[N]` int64, the samples to visit.
        batch_size: Samples a batch, at least 1.
        seed: The run's seed.
        epoch: The epoch; the order depends on the arguments only.
        extra: `[M]` int64, the extra samples; None: no extra samples.
        ratio: Their fraction of each batch, in (0, 1); 0 without them.

    Returns:
        One int64 tensor a batch, the extra samples last. Together they hold each of `index` exactly once; no batch
        holds a sample twice.

    Raises:
        UserError: `batch_size` is below 1, or too small for the ratio; or there are too few extra samples.
    """
    sizes = batch_sizes(len(index), batch_size, ratio)
    own = torch.split(index[permutation(len(index), seed, epoch)], [count for count, _ in sizes])
    if extra is None:
        return list(own)
    counts = [count for _, count in sizes]
    taken = extra_stream(extra, sum(counts), epoch * sum(counts), apart=max(counts, default=0), seed=seed)
    return [torch.cat(parts) for parts in zip(own, torch.split(taken, counts), strict=True)]


def batch_sizes(originals: int, batch_size: int, ratio: float = 0.0) -> list[tuple[int, int]]:
    """Number of original and of extra samples in each batch of an epoch.

    Args:
        originals: Samples that the epoch visits once.
        batch_size: Samples a batch.
        ratio: Fraction of the extra ones; 0 without them.

    Returns:
        A pair a batch. The last holds what is left of the originals, and extra samples in proportion.

    Raises:
        UserError: `batch_size` is below 1, or too small to hold samples of both kinds.
    """
    _check_batch_size(batch_size)
    own = round(batch_size * (1 - ratio))
    added = batch_size - own
    if ratio and not (own and added):
        raise UserError(
            f"data.extra_ratio is {ratio:g}: a batch of {batch_size} (train.batch_size) would hold {own} original and"
            f" {added} extra samples: raise train.batch_size, or bring the ratio nearer to 0.5"
        )
    whole, left = divmod(originals, own)
    sizes = [(own, added)] * whole + ([(left, round(left * added / own))] if left else [])
    if batch_size > 1 and len(sizes) > 1 and sum(sizes[-1]) == 1:
        sizes[-2:] = [(own + 1, added)]
    return sizes


def extra_stream(extra: Tensor, count: int, start: int, *, apart: int, seed: int) -> Tensor:
    """Part of the endless stream of extra samples: all of them in random order, round after round.

    It is a function of the arguments alone, so a resumed run needs no memory of where it was.

    Args:
        extra: `[M]` int64, the extra samples.
        count: Length of the part.
        start: Samples of the stream before it.
        apart: No `apart` samples in a row hold one twice.
        seed: The run's seed.

    Returns:
        `[count]` int64.

    Raises:
        UserError: There are too few samples: see `check_enough`.
    """
    if not count:
        return extra[:0]
    check_enough(len(extra), apart)
    first, last = start // len(extra), (start + count - 1) // len(extra)
    rounds = torch.cat([_round(len(extra), number, apart, seed) for number in range(first, last + 1)])
    return extra[rounds[start - first * len(extra) :][:count]]


def check_enough(count: int, apart: int) -> None:
    """Check that `count` extra samples suffice for `apart` of them in a batch.

    Raises:
        UserError: They are fewer than three times as many.
    """
    if count < 3 * apart:
        raise UserError(
            f"data.extra gives {count} images, too few for {apart} of them in a batch: lower data.extra_ratio or"
            f" train.batch_size, or give at least {3 * apart}"
        )


def extra_visited(extra: Tensor, count: int, *, apart: int, seed: int) -> Tensor:
    """Extra samples among the first `count` of the stream, in the order of `extra`."""
    if count >= len(extra):
        return extra
    return extra[_round(len(extra), 0, apart, seed)[:count].sort().values]


def _round(n: int, number: int, apart: int, seed: int) -> Tensor:
    """Order `[n]` of one round: none of its first `apart` is among the last `apart` of the round before.

    Only the first `2 * apart` places are rearranged and only the last `apart` looked at: with `3 * apart` places one
    round does not depend on how the one before was rearranged.
    """
    seed = derive_seed(seed, "extra")
    order = permutation(n, seed, number)
    if number == 0:
        return order
    head = order[: 2 * apart]
    recent = torch.isin(head, permutation(n, seed, number - 1)[n - apart :])
    return torch.cat([head[~recent], head[recent], order[2 * apart :]])


def earlier_visits(order: Sequence[Tensor]) -> list[Tensor] | None:
    """How often each sample of an epoch's batches was in a batch of it before: 0, 1, ...; None where none recurs."""
    index = torch.cat(list(order)) if order else torch.empty(0, dtype=torch.int64)
    values, place = index.sort(stable=True)
    visits = torch.empty_like(place)
    visits[place] = torch.arange(len(values)) - torch.searchsorted(values, values)
    return list(torch.split(visits, [len(part) for part in order])) if bool(visits.any()) else None


def sequential_order(index: Tensor, batch_size: int) -> list[Tensor]:
    """Cut samples into batches in the order given; the last batch may be smaller.

    Args:
        index: `[N]` int64.
        batch_size: Samples a batch, at least 1.

    Raises:
        UserError: `batch_size` is below 1.
    """
    _check_batch_size(batch_size)
    return list(torch.split(index, batch_size)) if len(index) else []


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}: give a whole number of at least 1")
