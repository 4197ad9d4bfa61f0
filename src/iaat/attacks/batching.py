"""Sizes of a batch that shrinks during an attack: multiples of a bucket."""

from __future__ import annotations

import torch
from torch import Tensor

BUCKET = 32
"""Samples in a bucket."""

STEP_BUCKET = 8
"""Samples in a bucket where samples take steps of their own: such a training batch has few sizes anyway."""


def rounded_up(count: int, limit: int, bucket: int) -> int:
    """`count` rounded up to a multiple of `bucket`, at most `limit`."""
    return min(-(-count // bucket) * bucket, limit)


def padded_rows(mask: Tensor) -> Tensor:
    """Positions of all True entries of `mask` `[B]`, padded with others to a multiple of `BUCKET`.

    A batch that takes every size in turn makes the CPU allocator keep memory for each (gigabytes over a training run),
    and a compiled model compile for each. Empty where no entry is True. Waits for the device.
    """
    size = rounded_up(int(mask.sum()), len(mask), BUCKET)
    return mask.to(torch.uint8).argsort(descending=True, stable=True)[:size].sort().values
