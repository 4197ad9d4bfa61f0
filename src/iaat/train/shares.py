"""Which samples of a batch each process trains on, part by part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from iaat.ranks import Ranks

AT_LEAST = 2
"""Rows that every process has in every part: BatchNorm has no variance to take of one, and DDP waits for all."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one process trains on at once.

    Attributes:
        index: Stable indices `[b]` of its samples.
        rows: Their places `[b]` in the part of the batch that all processes train on at once.
        total: Samples of that part.
        own: How many of the samples count; the rest are copies that fill up.
        weight: Factor on the mean loss of the samples, by which the mean over processes and the sum over parts is the
            mean over the batch.
    """

    index: Tensor
    rows: Tensor
    total: int
    own: int
    weight: float


def shares(index: Tensor, ranks: Ranks, parts: int = 1) -> list[Share]:
    """Cut a batch into parts, and give each process consecutive samples of each.

    The cut depends on the batch, the number of processes and of parts alone, so every process knows those of all. No
    sampler pads: numbers of samples differ by one at most, and the loss is weighted by them. Only where a process would
    have fewer than two rows it is given copies: of its one sample, which then still counts once, or, having none, of
    the first of the part, which count for nothing. A copy comes out like its original, which has the say.

    Args:
        index: Stable indices `[B]` of the whole batch.
        ranks: This process among all.
        parts: Into how many parts to cut a batch at most; a small batch is cut into fewer.
    """
    parts = min(parts, max(1, len(index) // (AT_LEAST * ranks.world)))
    return [_share(part, ranks, len(index)) for part in torch.tensor_split(index, parts)]


def _share(part: Tensor, ranks: Ranks, batch: int) -> Share:
    rows = torch.tensor_split(torch.arange(len(part)), ranks.world)[ranks.rank]
    own = len(rows)
    if ranks.several and own < AT_LEAST:
        rows = (rows if own else torch.zeros(1, dtype=torch.int64)).repeat(AT_LEAST)[:AT_LEAST]
    return Share(part[rows], rows, len(part), own, ranks.world * own / batch)
