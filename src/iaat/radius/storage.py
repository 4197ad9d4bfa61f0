"""Storage of radii: a tensor on the device, or a file mapped into memory."""

from __future__ import annotations

import io
import mmap
import os
import shutil
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from iaat.errors import UserError, UserIndexError
from iaat.runtime.async_checks import check_async

PAGE = mmap.PAGESIZE
"""Bytes that the system loads into memory, and allocates on the disk, at once."""
ENTRIES = PAGE // 4
"""Radii in a page."""


def check_positions(where: Tensor, size: int) -> None:
    """Refuse indices beyond `size` radii, without waiting for the device.

    Raises:
        UserIndexError: naming the index.
    """

    def complaint(extremes: list[float]) -> str | None:
        low, high = extremes
        if low >= -size and high < size:
            return None
        return (
            f"index {low if low < -size else high} is beyond the {size} radii: give RadiusMemory the size of the data "
            "set that the indices come from"
        )

    if where.numel():
        check_async(torch.stack(where.aminmax()), complaint, UserIndexError)


class Storage(Protocol):
    """Float32 radii under the indices 0 to size - 1.

    Indices are a slice of non-negative bounds or an int tensor of any shape, negative ones counting from the end.
    """

    size: int
    device: torch.device

    def read(self, where: slice | Tensor) -> Tensor:
        """Radii at these indices: a copy, of their shape.

        Raises:
            UserIndexError: an index is beyond the size; on a GPU it comes with a later call.
        """
        ...

    def write(self, where: slice | Tensor, new: Tensor) -> None:
        """Store radii at indices in the forms of `read`."""
        ...

    def to(self, device: torch.device) -> None:
        """Move the radii to a device, if they are in its memory."""
        ...


class TensorStorage:
    """Radii in a tensor; never waits for its device.

    Args:
        size: Number of radii.
        start: First value of all of them.
        device: Device of the tensor.
    """

    def __init__(self, size: int, start: float, device: torch.device) -> None:
        self.size, self.device = size, device
        self._values = torch.full((size,), start, dtype=torch.float32, device=device)

    def read(self, where: slice | Tensor) -> Tensor:
        """Radii at these indices, a copy."""
        found = self._values[self._within(where)]
        return found if isinstance(where, Tensor) and where.dim() else found.clone()  # the rest are views

    def write(self, where: slice | Tensor, new: Tensor) -> None:
        """Store radii."""
        self._values[self._within(where)] = new

    def to(self, device: torch.device) -> None:
        """Move the radii to a device."""
        self._values = self._values.to(device)
        self.device = device

    def _within(self, where: slice | Tensor) -> slice | Tensor:
        """Indices clamped to the size: on a GPU one beyond it would end the process before its error is raised."""
        if isinstance(where, slice):
            return where
        check_positions(where, self.size)
        return where if where.device.type == "cpu" else where.clamp(-self.size, self.size - 1)


class MappedStorage:
    """Radii in a file of their own, mapped into memory on the CPU; the system keeps in memory what it has space for.

    The file is sparse. A radius is stored as its bits XOR those of `start`, so that a hole, which reads as zeros, holds
    the first value. The file is removed with this object, at the latest when the process ends; if that is killed the
    file stays and is of no use.

    A write through the map for which the disk has no space would end the process without a message (SIGBUS). So each
    page is first written by a system call, which fails with an error, and the free space is checked when the file is
    created. The remaining cases are a file truncated by others, a broken disk, and file systems that need new space to
    overwrite (btrfs, ZFS) when there is none.

    Args:
        size: Number of radii.
        start: First value of all of them.
        file: Path; an existing file is replaced.

    Raises:
        UserError: the file cannot be created, or the disk has too little space for all radii.
    """

    device = torch.device("cpu")

    def __init__(self, size: int, start: float, file: Path) -> None:
        pages = -(-size // ENTRIES)
        self.size, self.file = size, file
        self._start = torch.tensor(start, dtype=torch.float32).view(torch.int32)
        self._fresh = torch.ones(pages, dtype=torch.bool)  # for each page whether it is still a hole
        self._holes = pages
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Not truncated: a process that has the old file mapped would be killed.
            file.unlink(missing_ok=True)
            _check_room(file, pages * PAGE)
            self._handle = file.open("xb+", buffering=0)
            weakref.finalize(self, _discard, self._handle, file, os.getpid())
            self._handle.truncate(pages * PAGE)
            self._map = mmap.mmap(self._handle.fileno(), pages * PAGE)
        except OSError as error:
            raise UserError(
                f"cannot map radii to {file}: {error.strerror or error}; choose a file on another disk"
            ) from error
        self._read_ahead(False)
        self._bits = torch.frombuffer(self._map, dtype=torch.int32)[:size]

    def read(self, where: slice | Tensor) -> Tensor:
        """Radii at these indices, a copy on the CPU."""
        if isinstance(where, slice):
            self._read_ahead(True)
            bits = self._bits[where] ^ self._start
            self._read_ahead(False)
            return bits.view(torch.float32)
        check_positions(where, self.size)
        if not self._holes:
            return (self._bits[where] ^ self._start).view(torch.float32)
        written = ~self._fresh[self._pages(where)]  # reading a hole would take a page of memory
        bits = torch.zeros(where.shape, dtype=torch.int32)
        bits[written] = self._bits[where[written]]
        return (bits ^ self._start).view(torch.float32)

    def write(self, where: slice | Tensor, new: Tensor) -> None:
        """Store radii, from any device.

        Raises:
            UserError: the disk is full.
        """
        if not isinstance(where, slice):
            check_positions(where, self.size)
        if self._holes:
            self._claim(self._pages(where))
        self._bits[where] = new.to(self.device, torch.float32).view(torch.int32) ^ self._start

    def to(self, device: torch.device) -> None:
        """Do nothing: the radii are in a file."""

    def _read_ahead(self, wanted: bool) -> None:
        """Set whether the system reads ahead: for the scattered entries of a batch that would only fill the memory."""
        if hasattr(self._map, "madvise"):  # elsewhere than on Windows
            self._map.madvise(mmap.MADV_NORMAL if wanted else mmap.MADV_RANDOM)

    def _pages(self, where: slice | Tensor) -> Tensor:
        if isinstance(where, slice):
            start, stop, _ = where.indices(self.size)
            return torch.arange(start // ENTRIES, -(-stop // ENTRIES))
        return where % self.size // ENTRIES

    def _claim(self, pages: Tensor) -> None:
        """Allocate disk space for those pages that are holes."""
        holes = torch.unique(pages[self._fresh[pages]])
        for page in holes.tolist():
            try:
                self._handle.seek(page * PAGE)
                if self._handle.write(bytes(PAGE)) < PAGE:
                    raise OSError("No space left on device")
            except OSError as error:
                raise UserError(
                    f"cannot write radii to {self.file}: {error.strerror or error}; free space or choose another disk"
                ) from error
        self._fresh[holes] = False
        self._holes -= len(holes)


def _discard(handle: io.FileIO, file: Path, owner: int) -> None:
    """Remove the file, unless another one has replaced it, or this is a forked child of the process `owner`."""
    with suppress(OSError):
        if os.getpid() == owner and os.path.samestat(os.fstat(handle.fileno()), file.stat()):
            file.unlink()
    handle.close()


def _check_room(file: Path, size: int) -> None:
    """Refuse a file that the disk could not hold once every radius has been written, as an epoch does."""
    if size > (free := shutil.disk_usage(file.parent).free):
        raise UserError(
            f"the radii take {size / 1e9:.3g} GB in {file}, where {free / 1e9:.3g} GB are free: free space or choose a "
            "file on another disk"
        )
