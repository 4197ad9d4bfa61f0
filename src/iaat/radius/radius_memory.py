"""One radius per training sample, by its index."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iaat.errors import UserError, UserIndexError, check_choice, shown
from iaat.radius.sharding import PIECE, Replicated, Sharded, SharedRadii, shard_size
from iaat.radius.storage import MappedStorage, TensorStorage
from iaat.runtime.async_checks import check_async
from iaat.runtime.distributed import current
from iaat.units import Norm, Radius, check_radius, format_radius

Index = Tensor | NDArray[Any] | Sequence[int] | Sequence[bool] | int | slice
ManyRadii = Tensor | NDArray[Any] | Sequence[float]
"""One radius for each of several samples."""


class RadiusMemory:
    """One float32 radius for each sample of a data set, by the sample's constant index.

    All augmented views of a sample have the same entry. An update rule computes new radii; `radii[index] = new` stores
    them. Reading and writing never wait for the device.

    By default the radii are a tensor on the device, created at first use. Of several training processes each has all of
    them, and `synchronize` exchanges what they have written. `map_to` keeps the radii in a file instead, for more
    samples than fit in memory; `shard` gives each process a part. Both wait for the device, can be combined, and are
    called before the first use.

    Args:
        size: Number of samples N of the data set; indices run from 0 to N - 1.
        initial: Radius every sample starts with: a number on the [0, 1] scale, or text such as "8px" or "8/255"; or one
            for each sample, `[N]`, such as the memory of a finished run in the same norm, brought within floor and cap.
        floor: Smallest radius ever stored.
        cap: Largest radius ever stored; None for no bound.
        norm: Norm the radii are measured in; in L-inf the bounds may not exceed the pixel range.
        device: Device of the radii; the training device, so that no batch waits for a copy.

    Raises:
        UserError: a size below 1, a bound that is negative or not finite, bounds that are not
            `floor <= initial <= cap`, another number of first radii than N, or a memory in another norm. On access: an
            index beyond the data set, radii of another shape, or in L-inf above the pixel range.

    Source: the memory of Balaji, Goldstein, Hoffman 2019 (arXiv 1910.08051), section 3.

    Example:
        >>> import torch
        >>> from iaat import RadiusMemory
        >>> radii = RadiusMemory(50_000, initial="8px", cap="16px")
        >>> index = torch.tensor([7, 40_000])
        >>> radii[index] = torch.tensor([4.0, 20.0]) / 255
        >>> (radii[index] * 255).round()
        tensor([ 4., 16.])
        >>> radii
        RadiusMemory(50,000 in linf: mean 8.00px, quantiles 5% 8.00px, 50% 8.00px, 95% 8.00px; on cpu)
        >>> longer = RadiusMemory(50_000, initial=radii, cap="32px")  # begins where the other has ended
        >>> float(longer[40_000] * 255)
        16.0
    """

    def __init__(
        self,
        size: int,
        *,
        initial: float | str | ManyRadii | RadiusMemory = 0.0,
        floor: float | str = 0.0,
        cap: float | str | None = None,
        norm: Norm = "linf",
        device: torch.device | str = "cpu",
    ) -> None:
        if not isinstance(size, int | np.integer) or size < 1:
            raise UserError(
                f"RadiusMemory size = {shown(size)}: needs the number of training samples, at least 1, len(dataset)"
            )
        check_choice(norm, get_args(Norm), "RadiusMemory norm")
        self.floor = _bound(floor, norm, "floor")
        self.cap = None if cap is None else _bound(cap, norm, "cap")
        self._norm, self._size, self._device = norm, int(size), torch.device(device)
        self._first: Tensor | None = None
        if not isinstance(initial, float | int | str | np.number):
            self._first, initial = self._first_radii(initial), self.floor
        self._initial = _bound(initial, norm, "initial")
        if not self.floor <= self._initial <= (self._initial if self.cap is None else self.cap):
            raise UserError(f"radii need floor <= initial <= cap, not floor {floor}, initial {initial}, cap {cap}")
        self._sharded = False
        self._mapped: MappedStorage | None = None
        self._used: SharedRadii | None = None

    def _first_radii(self, given: ManyRadii | RadiusMemory) -> Tensor:
        """The radii `[N]` that samples start with, as numbers in memory."""
        if isinstance(given, RadiusMemory):
            self._check_norm(given.norm, "RadiusMemory initial")
            given = given.values
        radii = _numbers(given, "RadiusMemory initial").detach().cpu().float()
        if radii.shape != (self._size,):
            raise UserError(
                f"RadiusMemory initial has shape {list(radii.shape)} for {self._size} samples: give one radius a "
                "sample, those of a run on the same data"
            )
        self._check_radii(radii, "RadiusMemory initial")
        return radii

    def _check_norm(self, norm: object, name: str) -> None:
        """Refuse radii in another norm: an L2 radius of 0.5 would be an L-inf radius of 128px."""
        if norm != self._norm:
            raise UserError(
                f"{name} holds radii in {shown(norm)}, and this memory is one of {self._norm}: use one norm"
            )

    def _check_radii(self, radii: Tensor, name: str) -> None:
        """Refuse radii that are negative or NaN, or in L-inf above the pixel range."""
        if not bool((radii >= 0).all()):  # NaN, too
            raise UserError(f"{name} holds a radius that is negative or NaN")
        check_radius(float(radii.max()), self._norm, name=name)

    def __repr__(self) -> str:
        """Number and norm; mean and quantiles of radii that are in use and in the memory of this process."""
        text = f"all as they begin, {format_radius(self._initial, self._norm)}"
        if self._is_sharded or self._mapped is not None:
            text = "not in memory"
        elif self._used is not None or self._first is not None:
            radii = self._first if self._used is None else self.values
            assert radii is not None
            radii, levels = radii.clamp(self.floor, self.cap).double().cpu(), (0.05, 0.5, 0.95)
            mean, *quantiles = (
                format_radius(float(value), self._norm) for value in (radii.mean(), *np.quantile(radii.numpy(), levels))
            )
            shown = (f"{level:.0%} {value}" for level, value in zip(levels, quantiles, strict=True))
            text = f"mean {mean}, quantiles {', '.join(shown)}"
        return f"RadiusMemory({self._size:,} in {self._norm}: {text}; on {self._device})"

    def to(self, device: torch.device | str) -> Self:
        """Move the radii to a device, in place; returns the memory. Those in a file stay there, and are read to it."""
        self._device = torch.device(device)
        if self._used is not None:
            with torch.inference_mode(False):
                self._used.to(self._device)
        return self

    def numpy(self) -> NDArray[np.float32]:
        """All radii `[N]` as a NumPy array, a copy."""
        array: NDArray[np.float32] = self.values.cpu().numpy()
        return array

    def quantiles(self, levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Tensor:
        """Quantiles of all radii.

        Args:
            levels: Which, in [0, 1].

        Returns:
            `[len(levels)]` float64 on the CPU, on the [0, 1] scale.

        Raises:
            UserError: a level outside of [0, 1].
        """
        if not all(0 <= level <= 1 for level in levels):
            raise UserError(f"quantiles of {shown(list(levels))}: give levels from 0 to 1, such as 0.5 for the median")
        # torch.quantile refuses more than 16 million values.
        return torch.from_numpy(np.quantile(self.numpy().astype(np.float64), np.asarray(levels)))

    def map_to(self, file: Path) -> None:
        """Keep the radii in a file that is mapped into memory, in place of a tensor on the device.

        It is a scratch file, removed with the radii; a checkpoint keeps them. It is sparse, 4 bytes a sample once all
        are written, and uses only memory that the system can spare. Radii are read and written on the CPU, which waits
        for another device, and are returned on the device.

        Args:
            file: Path on a local disk; an existing file is replaced. Several processes must all call this, each with a
                file of its own.

        Raises:
            UserError: in every process: the file cannot be created, the disk has too little space for all radii, or
                radii have been read or written already. Later, when a radius is written: the disk is full.
        """
        self._check_unused()
        self._map(file)

    def shard(self) -> None:
        """Keep only a part of the radii in each of several processes: index i belongs to process i % world.

        From then on reading and writing radii, `values` and `state_dict` are collectives: every process takes part in
        each, with batches of any size, also empty ones. A radius is visible in all processes as soon as it is written;
        if two processes write the same one in one call, the lowest rank wins.

        Raises:
            UserError: radii have been read or written already, or what `map_to` raises if it was called before.
        """
        self._check_unused()
        self._sharded = True
        if self._mapped is not None:
            self._map(self._mapped.file)  # anew, for fewer radii

    def synchronize(self) -> None:
        """Exchange between processes the radii written since the last call, or since radii were loaded.

        A radius comes from the process that wrote it; if two did, the lowest rank wins, whatever was written last.
        Afterwards all processes have bit-identical radii. Every process must take part. With one process, or after
        `shard`, there is nothing to do. Call it before `values` and `state_dict`.
        """
        self._radii.synchronize()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: Index) -> Tensor:
        """Radii `[B]` (a copy) of the samples `index` `[B]`, also a list, a slice or one number.

        Raises:
            UserIndexError: an index that is no whole number, or beyond the data set; on a GPU with a later call.
        """
        return self._radii.read(self._positions(index)).to(self._device)

    def __setitem__(self, index: Index, radius: ManyRadii | float | str) -> None:
        """Store radii `[B]`, or one number or text such as "8px" for all; what is not finite leaves the old in place.

        They are clamped to floor and cap. The index has any form that reading takes; if it holds a sample twice, it is
        not defined which of the two values is kept.

        Raises:
            UserError: radii that are not one for each index, or in L-inf above the pixel range; these leave the old
                ones in place. On a GPU the error about values comes with a later call.
            UserIndexError: as for reading.
        """
        new = (
            _numbers(Radius(radius) if isinstance(radius, str) else radius, "radii")
            .detach()
            .to(self._radii.device, torch.float32)
        )
        positions = self._positions(index)
        if new.ndim and new.shape != positions.shape:
            raise UserError(
                f"radii of shape {list(new.shape)} for an index of shape {list(positions.shape)}: write one radius for "
                "each, [B], or one number"
            )
        possible = new.isfinite() & (new <= self._range)
        self._radii.write(positions, new.clamp(self.floor, self.cap), possible)
        if new.numel() and self._range < math.inf:
            check_async(new.nan_to_num(0.0, 0.0).amax()[None], self._too_large)

    @property
    def norm(self) -> Norm:
        """Norm that the radii are measured in."""
        return self._norm

    @property
    def largest(self) -> float:
        """Largest radius that can be stored: the cap, or in L-inf the pixel range; infinite in L2 without a cap."""
        return self._range if self.cap is None else self.cap

    @property
    def _range(self) -> float:
        return 1.0 if self._norm == "linf" else math.inf

    def _too_large(self, largest: list[float]) -> str | None:
        if largest[0] <= self._range:
            return None
        return (
            f"radius {largest[0]:g} is above the pixel range 1: write radii on the [0, 1] scale, 8 pixel levels as "
            "8 / 255, and clamp the result of a rule with .clamp_max(radii.largest)"
        )

    def _positions(self, index: Index) -> Tensor:
        device = self._radii.device
        if isinstance(index, slice):
            return torch.arange(*index.indices(len(self)), device=device)
        try:
            positions = torch.as_tensor(index, device=device)
        except (TypeError, ValueError, RuntimeError):
            raise UserIndexError(f"index {shown(index)}: pass whole numbers, those of with_index") from None
        if positions.dtype == torch.bool:
            if positions.shape != (self._size,):
                raise UserIndexError(
                    f"a mask of shape {list(positions.shape)} for {self._size} radii: pass [N], or indices"
                )
            return positions.nonzero()[:, 0]
        if positions.numel() and (positions.is_floating_point() or positions.is_complex()):
            raise UserIndexError(f"an index of {positions.dtype}: pass whole numbers, those of with_index")
        return positions.long()  # an empty list would be one of floats, and uint8 a mask

    @property
    def values(self) -> Tensor:
        """All radii `[N]`, a copy: on the device, or on the CPU after `map_to` or `shard`."""
        return self._radii.values()

    def state_dict(self) -> dict[str, Any]:
        """Radii and their norm for a checkpoint, without their bounds, which belong to the configuration.

        Every process gets all of them, so that a run can be resumed with any number of processes.
        """
        return {"values": self.values, "norm": self._norm}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the radii of `state_dict`, clamped to the bounds of this memory; every process loads the same ones.

        Raises:
            UserError: the state is none, belongs to a data set of another size or to another norm, or holds values that
                are not finite, or no radii in this norm.
        """
        values = state.get("values") if isinstance(state, Mapping) else None
        if not isinstance(values, Tensor):
            raise UserError(
                f"{shown(state)} is no state of radii: give what state_dict() has returned, radii under 'values'"
            )
        self._check_norm(state.get("norm", self._norm), "the checkpoint")  # states of older versions do not say
        if values.shape != (self._size,):
            raise UserError(
                f"the checkpoint holds {values.numel()} radii and the data set has {len(self)} samples: "
                "resume with the data the run was started on, or start a new run"
            )
        if not all(bool(piece.isfinite().all()) for piece in torch.split(values, PIECE)):
            raise UserError("the checkpoint holds radii that are not finite; use an earlier checkpoint")
        for piece in torch.split(values, PIECE):
            self._check_radii(piece, "the checkpoint")
        self._first = None
        self._load(values)

    @property
    def _radii(self) -> SharedRadii:
        if self._used is None:
            with torch.inference_mode(False):  # what is made in it can be written in no other mode
                storage = self._mapped or TensorStorage(self._own_size(), self._initial, self._device)
            self._used = Sharded(self._size, storage, current()) if self._is_sharded else Replicated(storage)
            if self._first is not None:
                self._load(self._first)
        return self._used

    def _load(self, values: Tensor) -> None:
        """Load all radii `[N]`, brought within the bounds, piece by piece."""
        for number, piece in enumerate(torch.split(values, PIECE)):
            self._radii.load(number * PIECE, piece.clamp(self.floor, self.cap))

    @property
    def _is_sharded(self) -> bool:
        return self._sharded and current().several

    def _own_size(self) -> int:
        return shard_size(self._size, current()) if self._is_sharded else self._size

    def _map(self, file: Path) -> None:
        made, failed = None, None
        try:
            with torch.inference_mode(False):
                made = MappedStorage(self._own_size(), self._initial, file)
        except UserError as error:
            failed = error
        self._mapped = None
        current().raise_together(failed)
        self._mapped = made

    def _check_unused(self) -> None:
        if self._used is not None:
            raise UserError("radii are in use: call map_to and shard before the first is read or written")


def _numbers(radii: ManyRadii | float, name: str) -> Tensor:
    """Radii, or one, as a tensor of numbers."""
    try:
        return torch.as_tensor(radii)
    except (TypeError, ValueError, RuntimeError):
        raise UserError(
            f'{name} = {shown(radii)}: give a number, a text such as "8px", or numbers for the samples, a tensor'
        ) from None


def _bound(value: float | str, norm: Norm, name: str) -> float:
    if isinstance(value, str):
        number = float(Radius(value))
    elif isinstance(value, Real):
        number = float(value)
    else:
        raise UserError(f'RadiusMemory {name} = {shown(value)}: give a number, or a text such as "8px"')
    check_radius(number, norm, name=f"RadiusMemory {name}")
    return number
