"""Whose radii they are where several processes train: every process has all, or each has a part."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from iaat.radius.parts import Part, check_positions
from iaat.runtime.distributed import Ranks, current

PIECE = 2**24
"""Radii that go through memory at once where all are moved."""


class Store(Protocol):
    """All radii of a data set, as a process sees them; indices are int tensors on `device`."""

    device: torch.device

    def read(self, index: Tensor) -> Tensor:
        """The radii at these indices, a copy of their shape."""
        ...

    def write(self, index: Tensor, new: Tensor, valid: Tensor) -> None:
        """Store the radii, which broadcast to the indices, where `valid`; elsewhere the old one stays."""
        ...

    def values(self) -> Tensor:
        """All radii `[N]`, a copy."""
        ...

    def load(self, start: int, values: Tensor) -> None:
        """Take over all radii from index `start` on, the same in every process."""
        ...

    def synchronize(self) -> None:
        """Take over what other processes have written since the last time."""
        ...


class Replicated:
    """Every process has all radii, and notes which it has written, a byte a sample, if there are others.

    Args:
        part: Where they lie.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self.device = part.device
        self._written: Tensor | None = None

    def read(self, index: Tensor) -> Tensor:
        """The radii at these indices, those of this process."""
        return self._part.read(index)

    def write(self, index: Tensor, new: Tensor, valid: Tensor) -> None:
        """Store radii for this process, and for the others once they synchronise."""
        self._part.write(index, torch.where(valid, new, self._part.read(index)))
        if current().several:
            if self._written is None:
                self._written = torch.zeros(self._part.size, dtype=torch.bool, device=self.device)
            self._written[index] = True

    def values(self) -> Tensor:
        """All radii of this process."""
        return self._part.read(slice(0, self._part.size))

    def load(self, start: int, values: Tensor) -> None:
        """Take over radii; what was written before them need not be told."""
        self._part.write(slice(start, start + len(values)), values)
        if self._written is not None:
            self._written[start : start + len(values)] = False

    def synchronize(self) -> None:
        """Exchange written radii range by range of the indices, so that all take part in the same exchanges."""
        ranks = current()
        if not ranks.several:
            return
        for start in range(0, self._part.size, PIECE):
            offsets = self._written_from(start)
            indices = ranks.all_gather(offsets)
            values = ranks.all_gather(self._part.read(start + offsets.long()))
            # The lowest rank has the last word.
            for theirs, radius in reversed(list(zip(indices, values, strict=True))):
                self._part.write(start + theirs.long(), radius)
        self._written = None

    def _written_from(self, start: int) -> Tensor:
        """Which radii of a range this process has written, counted from its start; in int32, half the bytes to send."""
        if self._written is None:
            return torch.empty(0, dtype=torch.int32, device=self.device)
        return self._written[start : start + PIECE].nonzero()[:, 0].int()


class Sharded:
    """Each process has the radii of every `world`-th sample, and tells the others those they ask for.

    All calls but `synchronize` and `load` are collectives. No process waits for the device to learn which indices are
    whose: what it does not own it reads and writes at a place beside its own radii, the last of its part.

    Args:
        size: Number of samples N of the data set.
        part: Where those of this process lie: `part_size(N, ranks)` radii.
        ranks: The processes; index i is that of process i % world.
    """

    def __init__(self, size: int, part: Part, ranks: Ranks) -> None:
        assert part.size == part_size(size, ranks)
        self._size, self._part, self._ranks = size, part, ranks
        self.device = part.device

    def read(self, index: Tensor) -> Tensor:
        """The radii at these indices, from the processes that have them."""
        asked = self._ranks.all_gather(index.reshape(-1).long())
        places, own = self._places(torch.cat(asked))
        if not len(places):
            return torch.empty(index.shape, device=self.device)
        # Bits, of which all but one process add zeros, arrive as they are.
        bits = self._ranks.sum_(self._part.read(places).view(torch.int32) * own)
        mine = torch.split(bits, [len(part) for part in asked])[self._ranks.rank]
        return mine.view(torch.float32).reshape(index.shape)

    def write(self, index: Tensor, new: Tensor, valid: Tensor) -> None:
        """Store radii in the processes that have them; of two that write the same one the lowest rank wins."""
        radius = torch.where(valid, new, math.nan).broadcast_to(index.shape).reshape(-1)
        entries = torch.stack((index.reshape(-1).long(), radius.view(torch.int32).long()), dim=1)
        told = self._ranks.all_gather(entries)
        counts = [len(part) for part in told]
        whole = torch.cat(told)
        places, _ = self._places(whole[:, 0])
        radius = whole[:, 1].int().view(torch.float32)
        radius = torch.where(radius.isnan(), self._part.read(places), radius)
        answers = zip(torch.split(places, counts), torch.split(radius, counts), strict=True)
        for theirs, values in reversed(list(answers)):
            self._part.write(theirs, values)

    def values(self) -> Tensor:
        """All radii, on the CPU, in every process."""
        world = self._ranks.world
        whole = torch.empty(self._size)
        for start in range(0, -(-self._size // world), PIECE):
            stop = min(start + PIECE, self._part.size - 1)
            for rank, values in enumerate(self._ranks.all_gather(self._part.read(slice(start, stop)))):
                whole[rank + world * start :: world][: len(values)] = values
        return whole

    def load(self, start: int, values: Tensor) -> None:
        """Take over those that are of this process."""
        world = self._ranks.world
        skipped = (self._ranks.rank - start) % world
        own = values[skipped::world]
        first = (start + skipped) // world
        self._part.write(slice(first, first + len(own)), own)

    def synchronize(self) -> None:
        """Nothing: no radius is anywhere twice."""

    def _places(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Where in this process's part the radii at indices are, and whether they are there.

        All processes are given all indices, and so complain together about one beyond the data set.
        """
        check_positions(index, self._size)
        index = index % self._size
        own = index % self._ranks.world == self._ranks.rank
        places = torch.where(own, index // self._ranks.world, self._part.size - 1)
        return places, own


def part_size(size: int, ranks: Ranks) -> int:
    """Radii in the part of a process of `Sharded`: its own of `size`, and one for all others'."""
    return len(range(ranks.rank, size, ranks.world)) + 1
