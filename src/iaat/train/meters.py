"""Means over an epoch, summed on the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from iaat.runtime.distributed import Ranks


class MeanMeters:
    """Means of named per-sample values; waits for the device only when asked for them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor | int] = {}

    def add(self, name: str, values: Tensor, counted: Tensor | None = None) -> None:
        """Add the values `[B]` of one batch; they are left out where `counted`, a single bool, is False."""
        total = values.detach().to(torch.float64 if values.device.type != "mps" else torch.float32).sum()
        count: Tensor | int = values.numel()
        if counted is not None:
            total, count = torch.where(counted, total, 0), counted * count
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + count

    def reduced(self, ranks: Ranks) -> MeanMeters:
        """The sums of all processes together, each of which has added its own values under the same names."""
        summed = MeanMeters()
        names = list(self._sums)
        if not names:
            return summed
        counts = [torch.as_tensor(self._counts[name]).to(self._sums[name]) for name in names]
        table = ranks.sum_(torch.stack([*self._sums.values(), *counts]))
        sums, counted = torch.split(table, len(names))
        summed._sums = dict(zip(names, sums.unbind(), strict=True))
        summed._counts = dict(zip(names, counted.unbind(), strict=True))
        return summed

    def means(self) -> dict[str, float]:
        """Mean of each name; NaN where no value was counted."""
        counts = {name: int(count) for name, count in self._counts.items()}
        return {
            name: float(total) / counts[name] if counts[name] else float("nan") for name, total in self._sums.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Sums and numbers of values."""
        return {"sums": dict(self._sums), "counts": {name: int(count) for name, count in self._counts.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of `state_dict`.

        Raises:
            ValueError: it is of another form.
        """
        sums, counts = dict(state["sums"]), dict(state["counts"])
        if sums.keys() != counts.keys() or not all(
            isinstance(value, Tensor) and not value.ndim for value in sums.values()
        ):
            raise ValueError("sums and counts are not of the same names, or sums are no single numbers")
        self._sums, self._counts = sums, {name: int(count) for name, count in counts.items()}

    def clear(self) -> None:
        """Set all sums to 0, and keep the names."""
        self._sums = {name: torch.zeros_like(total) for name, total in self._sums.items()}
        self._counts = dict.fromkeys(self._counts, 0)
