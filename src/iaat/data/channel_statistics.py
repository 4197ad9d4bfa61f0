"""Mean and standard deviation of the training inputs, for the model's normalisation layer."""

import torch
from torch import Tensor

from iaat.data.batch_order import sequential_order
from iaat.data.source import Source
from iaat.errors import UserError
from iaat.runtime.rng import derive_seed, permutation

_SAMPLES = 5000
_BATCH = 250
_SMALLEST_STD = 1e-3


def channel_stats(source: Source, index: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Estimate mean and standard deviation per channel.

    Args:
        source: The training set, read without augmentation.
        index: `[M]` int64, the training samples; up to 5,000 of them are drawn.
        seed: Decides which are drawn.

    Returns:
        Mean and standard deviation, each `[C]` float32 on the CPU with C the first dimension of an input, on the
        [0, 1] scale. The deviation is at least 1e-3, so that a constant channel is not blown up.

    Raises:
        UserError: None of the samples can be read.
    """
    drawn = index[permutation(len(index), derive_seed(seed, "channel stats"), 0)[:_SAMPLES]].sort().values
    count = 0
    total = torch.zeros(source.shape[0], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for batch in source.batches(sequential_order(drawn, _BATCH)):
        x = batch.x.cpu()[source.sample_log.readable_rows(batch.index)]
        # float64 on the CPU: not every device has it, and a sum of squares in float32 loses the variance.
        values = x.double().flatten(2) if x.ndim > 2 else x.double()[:, :, None]
        count += values.shape[0] * values.shape[2]
        total += values.sum((0, 2))
        squares += values.square().sum((0, 2))
    if not count:
        raise UserError("none of the training samples can be read: repair them, or give other data")
    mean = total / count
    variance = (squares / count - mean.square()).clamp(min=0)
    return mean.float(), variance.sqrt().clamp(min=_SMALLEST_STD).float()
