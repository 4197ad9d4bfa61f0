"""One radius per training sample: storage without policy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from iaat.errors import UserError, UserIndexError, check_choice, shown
from iaat.radius.parts import MappedPart, TensorPart
from iaat.radius.stores import PIECE, Replicated, Sharded, Store, part_size
from iaat.runtime.async_checks import check_async
from iaat.runtime.distributed import current
from iaat.units import Norm, Radius, check_radius

Index = Tensor | Sequence[int] | Sequence[bool] | int | slice


class RadiusMemory:
    """One float32 radius for each sample of a data set, keyed by the sample's stable index.

    All augmented views of a sample share its entry. The memory decides nothing: an update rule computes new radii and
    they are written with `radii[index] = new`. Reading and writing never wait for the device.

    By default the radii are a tensor on the device, made at first use, and where several processes train each has all
    of them: `synchronize` brings them together. `map_to` keeps them in a file instead, for more samples than fit in
    memory, and `shard` gives each process a part; both wait for the device, may be combined, and are chosen before the
    first use.

    Args:
        size: Number of samples N of the data set; indices run from 0 to N - 1.
        initial: Radius every sample starts with: a number on the [0, 1] scale, or text such as "8px" or "8/255".
        floor: Smallest radius ever stored.
        cap: Largest radius ever stored; None for no bound.
        norm: Norm the radii are measured in; in L-inf the bounds may not exceed the pixel range.
        device: Where the radii live; the training device, so that no batch waits for a copy.

    Raises:
        UserError: a size below 1, a bound that is no length, or bounds that are not `floor <= initial <= cap`. On
            access: an index beyond the data set, radii of another shape, or in L-inf above the pixel range.

    Source: the memory of Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), section 3.

    Example:
        >>> import torch
        >>> from iaat import RadiusMemory
        >>> radii = RadiusMemory(50_000, initial="8px", cap="16px")
        >>> index = torch.tensor([7, 40_000])
        >>> radii[index] = torch.tensor([4.0, 20.0]) / 255
        >>> (radii[index] * 255).round()
        tensor([ 4., 16.])
    """

    def __init__(
        self,
        size: int,
        *,
        initial: float | str = 0.0,
        floor: float | str = 0.0,
        cap: float | str | None = None,
        norm: Norm = "linf",
        device: torch.device | str = "cpu",
    ) -> None:
        if isinstance(size, float) or size < 1:
            raise UserError(f"RadiusMemory size = {shown(size)}: needs the number of training samples, at least 1")
        check_choice(norm, get_args(Norm), "RadiusMemory norm")
        self._initial = _length(initial, norm, "initial")
        self.floor = _length(floor, norm, "floor")
        self.cap = None if cap is None else _length(cap, norm, "cap")
        if not self.floor <= self._initial <= (self._initial if self.cap is None else self.cap):
            raise UserError(f"radii need floor <= initial <= cap, not floor {floor}, initial {initial}, cap {cap}")
        self._norm, self._size, self._device = norm, int(size), torch.device(device)
        self._sharded = False
        self._mapped: MappedPart | None = None
        self._used: Store | None = None

    def map_to(self, file: Path) -> None:
        """Keep the radii in a file that is mapped into memory, in place of a tensor on the device.

        It is a scratch file, removed when the radii are used no more: what outlasts them is the checkpoint. It is
        sparse, 4 bytes a sample once all are written, and takes no memory but what the system can spare. Radii are read
        and written on the CPU, which waits for the device if that is another, and read ones come back to the device.

        Args:
            file: Where, on a local disk; a file that is there is replaced. Several processes must all call this, each
                with a file of its own.

        Raises:
            UserError: in every process: the file cannot be made, all radii need more room than is free, or radii have
                been read or written already. Later, where a radius is written: the disk is full.
        """
        self._check_unused()
        self._map(file)

    def shard(self) -> None:
        """Have each of several processes keep only its part: index i is that of process i % world.

        From then on reading and writing radii, `values` and `state_dict` are collectives: every process takes part in
        each, with batches of any sizes, empty ones included. Radii are seen by all processes as soon as they are
        written; where two write the same one in one call, the lowest rank wins.

        Raises:
            UserError: radii have been read or written already, or as `map_to` where that came first.
        """
        self._check_unused()
        self._sharded = True
        if self._mapped is not None:
            self._map(self._mapped.file)  # anew, for fewer radii

    def synchronize(self) -> None:
        """Take over from other processes the radii they have written since the last call, or since radii were loaded.

        A radius is that of the process that has written it; of two that have, the lowest rank wins, whatever was
        written last. Afterwards all processes have the same radii bit for bit. Every process must take part; with one
        process, or with parts (`shard`), there is nothing to do. Call it before `values` and `state_dict`.
        """
        self._store.synchronize()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: Index) -> Tensor:
        """Radii `[B]` (a copy) of the samples `index` `[B]`, also a list, a slice or one number.

        Raises:
            UserIndexError: an index that is no whole number, or beyond the data set; on a GPU with a later call.
        """
        return self._store.read(self._positions(index)).to(self._device)

    def __setitem__(self, index: Index, radius: Tensor | Sequence[float] | float) -> None:
        """Store radii `[B]`, or one number for all; a value that is not finite leaves the old one in place.

        They are kept within floor and cap, and the index is of any form that reading takes.
        Where an index occurs twice in one call, which of its values is kept is not defined.

        Raises:
            UserError: radii that are not one for each index, or in L-inf above the pixel range; these leave the old
                ones in place. On a GPU what only values tell comes with a later call.
            UserIndexError: as for reading.
        """
        new = torch.as_tensor(radius).detach().to(self._store.device, torch.float32)
        positions = self._positions(index)
        if new.ndim and new.shape != positions.shape:
            raise UserError(
                f"radii of shape {list(new.shape)} for an index of shape {list(positions.shape)}: write one radius for "
                "each, [B], or one number"
            )
        possible = new.isfinite() & (new <= self._range)
        self._store.write(positions, new.clamp(self.floor, self.cap), possible)
        if new.numel() and self._range < math.inf:
            check_async(new.nan_to_num(0.0, 0.0).amax()[None], self._too_long)

    @property
    def most(self) -> float:
        """The largest radius that can be stored: the cap, or in L-inf the pixel range; infinite in L2 without a cap."""
        return self._range if self.cap is None else self.cap

    @property
    def _range(self) -> float:
        return 1.0 if self._norm == "linf" else math.inf

    def _too_long(self, longest: list[float]) -> str | None:
        if longest[0] <= self._range:
            return None
        return (
            f"radius {longest[0]:g} is above the pixel range 1: write radii on the [0, 1] scale, 8 pixel levels as "
            "8 / 255, and end what a rule adds with .clamp_max(radii.most)"
        )

    def _positions(self, index: Index) -> Tensor:
        device = self._store.device
        if isinstance(index, slice):
            return torch.arange(*index.indices(len(self)), device=device)
        positions = torch.as_tensor(index, device=device)
        if positions.dtype == torch.bool:
            if positions.shape != (self._size,):
                raise UserIndexError(
                    f"a mask of shape {list(positions.shape)} for {self._size} radii: pass [N], or indices"
                )
            return positions.nonzero()[:, 0]
        if positions.numel() and (positions.is_floating_point() or positions.is_complex()):
            raise UserIndexError(f"an index of {positions.dtype}: pass the whole numbers that with_index gives")
        return positions if positions.numel() else positions.long()  # an empty list would be one of floats

    @property
    def values(self) -> Tensor:
        """All radii `[N]`, a copy: on the device, or on the CPU where they are mapped or each process has a part."""
        return self._store.values()

    def state_dict(self) -> dict[str, Any]:
        """The radii, for a checkpoint; bounds belong to the configuration and are not part of it.

        All of them in every process, so that any number of processes can take over what any other number has left.
        """
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the radii of `state_dict`, within this memory's bounds; every process loads the same ones.

        Raises:
            UserError: the state is of a data set of another size, or holds values that are not finite.
        """
        values: Tensor = state["values"]
        if values.shape != (self._size,):
            raise UserError(
                f"the checkpoint holds {values.numel()} radii and the data set has {len(self)} samples: "
                "resume with the data the run was started on, or start a new run"
            )
        pieces = torch.split(values, PIECE)
        if not all(bool(piece.isfinite().all()) for piece in pieces):
            raise UserError("the checkpoint holds radii that are not finite; use an earlier checkpoint")
        for number, piece in enumerate(pieces):
            self._store.load(number * PIECE, piece.clamp(self.floor, self.cap))

    @property
    def _store(self) -> Store:
        if self._used is None:
            part = self._mapped or TensorPart(self._own_size(), self._initial, self._device)
            self._used = Sharded(self._size, part, current()) if self._in_parts else Replicated(part)
        return self._used

    @property
    def _in_parts(self) -> bool:
        return self._sharded and current().several

    def _own_size(self) -> int:
        return part_size(self._size, current()) if self._in_parts else self._size

    def _map(self, file: Path) -> None:
        made, failed = None, None
        try:
            made = MappedPart(self._own_size(), self._initial, file)
        except UserError as error:
            failed = error
        self._mapped = None
        current().raise_together(failed)
        self._mapped = made

    def _check_unused(self) -> None:
        if self._used is not None:
            raise UserError("radii are in use: choose where they are kept before the first is read or written")


def _length(value: float | str, norm: Norm, name: str) -> float:
    length = float(Radius(value)) if isinstance(value, str) else float(value)
    check_radius(length, norm, name=f"RadiusMemory {name}")
    return length
