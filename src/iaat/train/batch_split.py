"""Which samples of a batch each process trains on, part by part."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iaat.runtime.distributed import Ranks
from iaat.types import Batch

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


def readable(parts: list[tuple[Share, Batch]], unreadable: Container[int], ranks: Ranks) -> list[tuple[Share, Batch]]:
    """The parts of a batch without the samples that cannot be read, whose weight goes to the others.

    The samples that are left keep their places in the batch, and so their random starts. A process whose part has a
    single one left is given a copy, as by `shares`; where none is left it keeps some that count for nothing.

    Args:
        parts: What this process trains on, unreadable samples being blank.
        unreadable: Their indices.
        ranks: The processes, all of which ask for the same batch together.

    Returns:
        The parts, none where no process has a readable sample.
    """
    kept = [
        [row for row, index in enumerate(share.index[: share.own].tolist()) if index not in unreadable]
        for share, _ in parts
    ]
    counts = torch.tensor([[sum(map(len, kept)), sum(share.own for share, _ in parts)]])
    left, batch_size = (int(total) for total in torch.cat(ranks.gather(counts)).sum(0))
    if left == batch_size:
        return parts
    if not left:
        return []
    return [
        _with_rows(share, batch, rows, ranks.world * len(rows) / left)
        for (share, batch), rows in zip(parts, kept, strict=True)
    ]


def _with_rows(share: Share, batch: Batch, rows: list[int], weight: float) -> tuple[Share, Batch]:
    """These rows of a part, the first of them twice where there is but one."""
    if rows:
        place = torch.tensor(rows).repeat(AT_LEAST if len(rows) == 1 else 1)
    else:
        place = torch.arange(len(share.index))[:AT_LEAST]
    there = place.to(batch.x.device)
    part = Batch(batch.x[there], batch.y[there], batch.index[there])
    return replace(share, index=share.index[place], rows=share.rows[place], own=len(rows), weight=weight), part
