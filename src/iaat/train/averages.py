"""Means over an epoch, added up on the device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Averages:
    """Means of named per-sample values; reads the device only when asked for them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor | int] = {}

    def add(self, name: str, values: Tensor, counted: Tensor | None = None) -> None:
        """Add the values `[B]` of one batch; where `counted`, a single bool, is False they are left out."""
        total = values.detach().to(torch.float64 if values.device.type != "mps" else torch.float32).sum()
        count: Tensor | int = values.numel()
        if counted is not None:
            total, count = torch.where(counted, total, 0), counted * count
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + count

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
        """Take over the state of `state_dict`."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
