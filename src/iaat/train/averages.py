"""Means over an epoch, added up on the device."""

from __future__ import annotations

import torch
from torch import Tensor


class Averages:
    """Means of named per-sample values; reads the device only when asked for them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Add the values `[B]` of one batch."""
        total = values.detach().to(torch.float64 if values.device.type != "mps" else torch.float32).sum()
        self._sums[name] = self._sums[name] + total if name in self._sums else total
        self._counts[name] = self._counts.get(name, 0) + values.numel()

    def means(self) -> dict[str, float]:
        """Mean of each name."""
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}
