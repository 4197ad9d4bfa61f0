"""Radii in several processes: replicated or sharded."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from iaat.radius.storage import Storage, check_positions
from iaat.runtime.distributed import Ranks, current

PIECE = 2**24
"""Largest number of radii moved at once."""


class SharedRadii(Protocol):
    """All radii of a data set, seen from one process; indices are int tensors on `device`."""

    device: torch.device

    def read(self, index: Tensor) -> Tensor:
        """Radii at these indices, a copy of their shape."""
        ...

    def write(self, index: Tensor, new: Tensor, valid: Tensor) -> None:
        """Store radii, which broadcast to the indices, where `valid`; elsewhere the old ones stay."""
        ...

    def values(self) -> Tensor:
        """All radii `[N]`, a copy."""
        ...

    def load(self, start: int, values: Tensor) -> None:
        """Load radii from index `start` on, the same in every process."""
        ...

    def synchronize(self) -> None:
        """Exchange the radii written since the last time."""
        ...

    def to(self, device: torch.device) -> None:
        """Move those in memory to a device."""
        ...


class Replicated:
    """All radii in every process; each keeps which of them it has written, a byte a sample, if there are others.

    Args:
        storage: Storage of all radii.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.device = storage.device
        self._written: Tensor | None = None

    def read(self, index: Tensor) -> Tensor:
        """Radii of this process at these indices."""
        return self._storage.read(index)

    def write(self, index: Tensor, new: Tensor, valid: Tensor) -> None:
        """Store radii in this process; the others get them by `synchronize`."""
        self._storage.write(index, torch.where(valid, new, self._storage.read(index)))
        if current().several:
            if self._written is None:
                with torch.inference_mode(False):
                    self._written = torch.zeros(self._storage.size, dtype=torch.bool, device=self.device)
            self._written[index] = True

    def values(self) -> Tensor:
        """All radii of this process."""
        return self._storage.read(slice(0, self._storage.size))

    def load(self, start: int, values: Tensor) -> None:
        """Load radii; they need no exchange."""
        self._storage.write(slice(start, start + len(values)), values)
        if self._written is not None:
            self._written[start : start + len(values)] = False

    def synchronize(self) -> None:
        """Exchange written radii, range by range of the indices, so that all processes take part in the same ones."""
        ranks = current()
        if not ranks.several:
            return
        for start in range(0, self._storage.size, PIECE):
            offsets = self._written_from(start)
            indices = ranks.all_gather(offsets)
            values = ranks.all_gather(self._storage.read(start + offsets.long()))
            # The lowest rank is written last, and so wins.
            for theirs, radius in reversed(list(zip(indices, values, strict=True))):
                self._storage.write(start + theirs.long(), radius)
        self._written = None

    def to(self, device: torch.device) -> None:
        """Move the radii, and what is known of them."""
        self._storage.to(device)
        self.device = self._storage.device
        if self._written is not None:
            self._written = self._written.to(self.device)

    def _written_from(self, start: int) -> Tensor:
        """Offsets of the radii written in the range from `start` on; int32 halves the bytes to send."""
        if self._written is None:
            return torch.empty(0, dtype=torch.int32, device=self.device)
        return self._written[start : start + PIECE].nonzero()[:, 0].int()


class Sharded:
    """Radii of every `world`-th sample in each process; reading and writing exchange them.

    All calls but `synchronize` and `load` are collectives. No process waits for the device to find out which indices it
    owns: the others are read and written at an extra place, the last of its shard.

    Args:
        size: Number of samples N of the data set.
        storage: Storage of the radii of this process: `shard_size(N, ranks)`.
        ranks: The processes; index i belongs to process i % world.
    """

    def __init__(self, size: int, storage: Storage, ranks: Ranks) -> None:
        assert storage.size == shard_size(size, ranks)
        self._size, self._storage, self._ranks = size, storage, ranks
        self.device = storage.device

    def read(self, index: Tensor) -> Tensor:
        """Radii at these indices, from the processes that own them."""
        indices = self._ranks.all_gather(index.reshape(-1).long())
        places, own = self._places(torch.cat(indices))
        if not len(places):
            return torch.empty(index.shape, device=self.device)
        # The sum of bits, to which all processes but one add zeros, is exact.
        bits = self._ranks.sum_(self._storage.read(places).view(torch.int32) * own)
        mine = torch.split(bits, [len(each) for each in indices])[self._ranks.rank]
        return mine.view(torch.float32).reshape(index.shape)

    def write(self, index: Tensor, new: Tensor, valid: Tensor) -> None:
        """Store radii in the processes that own them; if two write the same one, the lowest rank wins."""
        radius = torch.where(valid, new, math.nan).broadcast_to(index.shape).reshape(-1)
        entries = torch.stack((index.reshape(-1).long(), radius.view(torch.int32).long()), dim=1)
        gathered = self._ranks.all_gather(entries)
        counts = [len(each) for each in gathered]
        whole = torch.cat(gathered)
        places, _ = self._places(whole[:, 0])
        radius = whole[:, 1].int().view(torch.float32)
        radius = torch.where(radius.isnan(), self._storage.read(places), radius)
        by_rank = zip(torch.split(places, counts), torch.split(radius, counts), strict=True)
        for theirs, values in reversed(list(by_rank)):
            self._storage.write(theirs, values)

    def values(self) -> Tensor:
        """All radii, on the CPU, in every process."""
        world = self._ranks.world
        whole = torch.empty(self._size)
        for start in range(0, -(-self._size // world), PIECE):
            stop = min(start + PIECE, self._storage.size - 1)
            for rank, values in enumerate(self._ranks.all_gather(self._storage.read(slice(start, stop)))):
                whole[rank + world * start :: world][: len(values)] = values
        return whole

    def load(self, start: int, values: Tensor) -> None:
        """Load those that this process owns."""
        world = self._ranks.world
        skipped = (self._ranks.rank - start) % world
        own = values[skipped::world]
        first = (start + skipped) // world
        self._storage.write(slice(first, first + len(own)), own)

    def synchronize(self) -> None:
        """Do nothing: no radius is in two processes."""

    def to(self, device: torch.device) -> None:
        """Move the radii of this process."""
        self._storage.to(device)
        self.device = self._storage.device

    def _places(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Positions in this shard of the radii at indices, and whether it owns them.

        All processes get all indices, and so refuse one beyond the data set together.
        """
        check_positions(index, self._size)
        index = index % self._size
        own = index % self._ranks.world == self._ranks.rank
        places = torch.where(own, index // self._ranks.world, self._storage.size - 1)
        return places, own


def shard_size(size: int, ranks: Ranks) -> int:
    """Number of radii in the shard of a process: its own of `size`, and one place for all others."""
    return len(range(ranks.rank, size, ranks.world)) + 1
