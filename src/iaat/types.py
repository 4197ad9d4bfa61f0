"""Batch and StepOutput: what data, methods and the training loop exchange."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """One mini-batch.

    Attributes:
        x: Inputs `[B, ...]`, float32 in [0, 1].
        y: Class labels `[B]`, int64 in `[0, classes)`.
        index: Stable position `[B]`, int64, of each sample in its data set: the key of its radius.
    """

    x: Tensor
    y: Tensor
    index: Tensor

    def rows(self, rows: Tensor | slice) -> Batch:
        """These samples: a slice, or positions in the batch or a bool `[B]` on the device of `x`."""
        return Batch(self.x[rows], self.y[rows], self.index[rows])


@dataclass(frozen=True, slots=True)
class StepOutput:
    """Result of a training method for one batch.

    Attributes:
        loss: Scalar to minimise; the loop calls `backward` on it.
        logits: `[B, classes]` of the forward that the loss comes from, detached.
        radius: `[B]` radius each sample was trained at, on the [0, 1] scale; None where a method has none.
        metrics: Named per-sample values `[B]`, detached; the loop averages them over the epoch.
    """

    loss: Tensor
    logits: Tensor
    radius: Tensor | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)
