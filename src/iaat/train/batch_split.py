"""How a batch is split into micro-batches, and each of these among processes."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iaat.runtime.distributed import Ranks
from iaat.types import Batch

AT_LEAST = 2
"""Rows that every process has in every micro-batch: BatchNorm has no variance of one row, and DDP waits for all."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The samples that one process trains on at once.

    Attributes:
        index: Stable indices `[b]` of the samples.
        rows: Their positions `[b]` in the micro-batch of all processes.
        total: Number of samples in the micro-batch of all processes.
        own: Number of samples that count; the rest are copies that fill up.
        weight: Factor on the mean loss of the samples. With it the mean over processes of the sum over micro-batches
            is the mean over the batch.
    """

    index: Tensor
    rows: Tensor
    total: int
    own: int
    weight: float


Parts = list[tuple[MicroBatch, Batch]]
"""The micro-batches of one step of one process, with their samples."""


def split_batch(index: Tensor, ranks: Ranks, parts: int = 1) -> list[MicroBatch]:
    """Split a batch into micro-batches, and give each process consecutive samples of each.

    The split depends on the batch, the number of processes and of parts alone, so every process knows those of all. No
    sampler pads: numbers of samples differ by one at most, and the loss is weighted by them. A process that would have
    fewer than two rows is given copies: of its one sample, which still counts once, or, where it has none, of the first
    of the micro-batch, which then count for nothing. A copy comes out like its original, which decides.

    Args:
        index: Stable indices `[B]` of the whole batch.
        ranks: This process among all.
        parts: Most micro-batches to split a batch into; a small batch is split into fewer.
    """
    parts = min(parts, max(1, len(index) // (AT_LEAST * ranks.world)))
    return [_micro_batch(part, ranks, len(index)) for part in torch.tensor_split(index, parts)]


def _micro_batch(part: Tensor, ranks: Ranks, batch: int) -> MicroBatch:
    rows = torch.tensor_split(torch.arange(len(part)), ranks.world)[ranks.rank]
    own = len(rows)
    if ranks.several and own < AT_LEAST:
        rows = (rows if own else torch.zeros(1, dtype=torch.int64)).repeat(AT_LEAST)[:AT_LEAST]
    return MicroBatch(part[rows], rows, len(part), own, ranks.world * own / batch)


def drop_unreadable(parts: Parts, unreadable: Container[int], ranks: Ranks) -> Parts:
    """The micro-batches without the samples that cannot be read; the other samples take their weight.

    The samples that are left keep their positions in the batch, and so their random starts. A process with a single
    sample left in a micro-batch is given a copy, as by `split_batch`; where none is left, some stay and count for
    nothing.

    Args:
        parts: The micro-batches of this process, unreadable samples being blank.
        unreadable: Indices of the unreadable samples.
        ranks: The processes, all of which ask for the same batch together.

    Returns:
        The micro-batches; none where no process has a readable sample.
    """
    kept = [
        [row for row, index in enumerate(micro.index[: micro.own].tolist()) if index not in unreadable]
        for micro, _ in parts
    ]
    counts = torch.tensor([[sum(map(len, kept)), sum(micro.own for micro, _ in parts)]])
    left, batch_size = (int(total) for total in torch.cat(ranks.all_gather(counts)).sum(0))
    if left == batch_size:
        return parts
    if not left:
        return []
    return [
        _with_rows(micro, batch, rows, ranks.world * len(rows) / left)
        for (micro, batch), rows in zip(parts, kept, strict=True)
    ]


def _with_rows(micro: MicroBatch, batch: Batch, rows: list[int], weight: float) -> tuple[MicroBatch, Batch]:
    """These rows of a micro-batch; a single one twice."""
    if rows:
        chosen = torch.tensor(rows).repeat(AT_LEAST if len(rows) == 1 else 1)
    else:
        chosen = torch.arange(len(micro.index))[:AT_LEAST]
    part = batch.rows(chosen.to(batch.x.device))
    return replace(micro, index=micro.index[chosen], rows=micro.rows[chosen], own=len(rows), weight=weight), part
