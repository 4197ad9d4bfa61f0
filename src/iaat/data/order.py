"""Which samples make up each batch."""

import torch
from torch import Tensor

from iaat.errors import UserError
from iaat.rng import permutation


def epoch_order(index: Tensor, batch_size: int, *, seed: int, epoch: int) -> list[Tensor]:
    """Shuffle the training samples and cut them into batches.

    A last batch of a single sample joins the one before it (which then has `batch_size + 1`): batch normalisation
    has no variance to take of one sample. This applies neither to `batch_size=1` nor to a data set of one sample.

    Args:
        index: `[N]` int64, the samples to visit.
        batch_size: Samples a batch, at least 1.
        seed: The run's seed.
        epoch: The epoch; the order depends on `(index, seed, epoch)` only.

    Returns:
        One int64 tensor a batch; together they hold each sample exactly once.

    Raises:
        UserError: `batch_size` is below 1.
    """
    batches = sequential_order(index[permutation(len(index), seed, epoch)], batch_size)
    if batch_size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def sequential_order(index: Tensor, batch_size: int) -> list[Tensor]:
    """Cut samples into batches in the order given; the last batch may be smaller.

    Args:
        index: `[N]` int64.
        batch_size: Samples a batch, at least 1.

    Raises:
        UserError: `batch_size` is below 1.
    """
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}: give a whole number of at least 1")
    return list(torch.split(index, batch_size)) if len(index) else []
