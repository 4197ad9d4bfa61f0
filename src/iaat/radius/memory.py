"""One radius per training sample: storage without policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from iaat.errors import UserError, check_choice
from iaat.units import Norm, Radius, check_radius

Index = Tensor | Sequence[int] | Sequence[bool] | int | slice


class RadiusMemory:
    """One float32 radius for each sample of a data set, keyed by the sample's stable index.

    All augmented views of a sample share its entry. The memory decides nothing: an update rule computes new radii and
    they are written with `radii[index] = new`. Reading and writing never wait for the device.

    Args:
        size: Number of samples N of the data set; indices run from 0 to N - 1.
        initial: Radius every sample starts with: a number on the [0, 1] scale, or text such as "8px" or "8/255".
        floor: Smallest radius ever stored.
        cap: Largest radius ever stored; None for no bound.
        norm: Norm the radii are measured in; in L-inf the bounds may not exceed the pixel range.
        device: Where the radii live; the training device, so that no batch waits for a copy.

    Raises:
        UserError: a size below 1, a bound that is no length, or bounds that are not `floor <= initial <= cap`.
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
        if size < 1:
            raise UserError(f"RadiusMemory size = {size}: needs the number of training samples, at least 1")
        check_choice(norm, get_args(Norm), "RadiusMemory norm")
        start = _length(initial, norm, "initial")
        self.floor = _length(floor, norm, "floor")
        self.cap = None if cap is None else _length(cap, norm, "cap")
        if not self.floor <= start <= (start if self.cap is None else self.cap):
            raise UserError(f"radii need floor <= initial <= cap, not floor {floor}, initial {initial}, cap {cap}")
        self._values = torch.full((size,), start, dtype=torch.float32, device=device)

    def __len__(self) -> int:
        return self._values.numel()

    def __getitem__(self, index: Index) -> Tensor:
        """Radii `[B]` (a copy) of the samples `index` `[B]`, also a list, a slice or one number."""
        return self._values[self._positions(index)].clone()

    def __setitem__(self, index: Index, radius: Tensor | Sequence[float] | float) -> None:
        """Store radii `[B]`, or one number for all; a value that is not finite leaves the old one in place.

        They are kept within floor and cap, and the index is of any form that reading takes.
        Where an index occurs twice in one call, which of its values is kept is not defined.
        """
        positions = self._positions(index)
        new = torch.as_tensor(radius).detach().to(self._values)
        known = torch.where(new.isfinite(), new, self._values[positions])
        self._values[positions] = known.clamp(self.floor, self.cap)

    def _positions(self, index: Index) -> Tensor:
        device = self._values.device
        if isinstance(index, slice):
            return torch.arange(*index.indices(len(self)), device=device)
        positions = torch.as_tensor(index, device=device)
        return positions if positions.numel() else positions.long()  # an empty list would be one of floats

    @property
    def values(self) -> Tensor:
        """All radii `[N]`, a copy."""
        return self._values.clone()

    def state_dict(self) -> dict[str, Any]:
        """The radii, for a checkpoint; bounds belong to the configuration and are not part of it."""
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the radii of `state_dict`, within this memory's bounds.

        Raises:
            UserError: the state is of a data set of another size, or holds values that are not finite.
        """
        values = state["values"]
        if values.shape != self._values.shape:
            raise UserError(
                f"the checkpoint holds {values.numel()} radii and the data set has {len(self)} samples: "
                "resume with the data the run was started on, or start a new run"
            )
        if not bool(values.isfinite().all()):
            raise UserError("the checkpoint holds radii that are not finite; use an earlier checkpoint")
        self._values.copy_(values.clamp(self.floor, self.cap))


def _length(value: float | str, norm: Norm, name: str) -> float:
    length = float(Radius(value)) if isinstance(value, str) else float(value)
    check_radius(length, norm, name=f"RadiusMemory {name}")
    return length
