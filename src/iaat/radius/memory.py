"""One radius per training sample: storage without policy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from iaat.errors import UserError


class RadiusMemory:
    """One float32 radius for each sample of a data set, keyed by the sample's stable index.

    All augmented views of a sample share its entry. The memory decides nothing: an update rule computes new radii and
    they are written with `radii[index] = new`. Reading and writing never wait for the device.

    Args:
        size: Number of samples N of the data set; indices run from 0 to N - 1.
        initial: Radius every sample starts with, on the [0, 1] scale.
        floor: Smallest radius ever stored.
        cap: Largest radius ever stored; None for no bound.
        device: Where the radii live; the training device, so that no batch waits for a copy.

    Raises:
        UserError: a size below 1, or bounds that are not `0 <= floor <= initial <= cap`.
    """

    def __init__(
        self,
        size: int,
        *,
        initial: float = 0.0,
        floor: float = 0.0,
        cap: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if size < 1:
            raise UserError(f"RadiusMemory size = {size}: needs the number of training samples, at least 1")
        if not 0 <= floor <= initial <= (float("inf") if cap is None else cap):
            raise UserError(f"radii need 0 <= floor <= initial <= cap, not floor {floor}, initial {initial}, cap {cap}")
        self.floor = float(floor)
        self.cap = None if cap is None else float(cap)
        self._values = torch.full((size,), float(initial), dtype=torch.float32, device=device)

    def __len__(self) -> int:
        return self._values.numel()

    def __getitem__(self, index: Tensor) -> Tensor:
        """Radii `[B]` (a copy) of the samples `index` `[B]`."""
        return self._values[index.to(self._values.device)]

    def __setitem__(self, index: Tensor, radius: Tensor) -> None:
        """Store radii `[B]`, kept within floor and cap; a value that is not finite leaves the old one in place.

        Where an index occurs twice in one call, which of its values is kept is not defined.
        """
        index = index.to(self._values.device)
        radius = radius.detach().to(self._values)
        known = torch.where(radius.isfinite(), radius, self._values[index])
        self._values[index] = known.clamp(self.floor, self.cap)

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
