"""Random draws by sample, independent of the place in a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from iaat.runtime.rng import derive_seed

Pixels = NDArray[np.floating]
"""Values in [0, 1], float32."""


class Draws:
    """Random generator of each sample; every draw has a leading axis of samples.

    Args:
        seed: Of the corrupted set.
        name: Of the corruption.
        severity: 1 to 5.
        index: The stable index of each sample.
    """

    def __init__(self, seed: int, name: str, severity: int, index: Sequence[int]) -> None:
        self._generators = [
            np.random.Generator(np.random.PCG64(derive_seed(seed, "corruption", name, severity, each)))
            for each in index
        ]

    def normal(self, *shape: int) -> Pixels:
        """`[B, *shape]` standard normal."""
        return np.stack([each.standard_normal(shape, dtype=np.float32) for each in self._generators])

    def uniform(self, *shape: int) -> Pixels:
        """`[B, *shape]` uniform in [0, 1)."""
        return np.stack([each.random(shape, dtype=np.float32) for each in self._generators])

    def integers(self, low: int, high: int, *shape: int) -> NDArray[np.int64]:
        """`[B, *shape]` integers in [low, high)."""
        return np.stack([each.integers(low, high, shape) for each in self._generators])

    def poisson(self, mean: Pixels) -> Pixels:
        """Counts of the given means `[B, ...]`."""
        counts = [each.poisson(row) for each, row in zip(self._generators, mean, strict=True)]
        return np.stack(counts).astype(np.float32)


Corruption = Callable[[Pixels, tuple[float, ...], Draws], Pixels]
"""`(images [B, C, H, W] in [0, 1], constants, draws) -> [B, C, H, W]`, not yet clipped or rounded; C is 1 or 3."""
