"""Which samples of a shrinking batch stay in it."""

from __future__ import annotations

import torch
from torch import Tensor

BUCKET = 32
"""Batches that shrink keep to multiples of so many samples."""


STEP_BUCKET = 8
"""The same for a training batch whose samples take steps of their own: it has few sizes anyway."""


def rounded_up(count: int, limit: int, bucket: int) -> int:
    """Size of a batch that needs `count` of its `limit` samples, in multiples of `bucket`."""
    return min(-(-count // bucket) * bucket, limit)


def filled_up(mask: Tensor) -> Tensor:
    """Positions of all True entries of `mask` `[B]`, and of as many others as make a multiple of `BUCKET`.

    A batch that takes every size in turn makes the CPU allocator hold on to memory for each (gigabytes over a training
    run), and a compiled model compile for each; this leaves it a few sizes to take. Waits for the device.
    None where no entry is True.
    """
    size = rounded_up(int(mask.sum()), len(mask), BUCKET)
    return mask.to(torch.uint8).argsort(descending=True, stable=True)[:size].sort().values
