"""What is judged: a model, where it comes from, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from iaat.data import DataSplits
from iaat.evaluate.findings import Finding
from iaat.evaluate.masking import Fresh


@dataclass(frozen=True, eq=False)
class Subject:
    """One model to be judged.

    Attributes:
        name: What tables call it.
        model: In eval mode; maps inputs in [0, 1] to logits.
        digest: Identifies its weights.
        folder: Where its evaluations are kept.
        facts: What results say of it, plain values: run, seed, checkpoint, epoch, cost of training.
        was_training: Whether it was handed over in train mode.
        findings: What was noticed when it was loaded.
        radii: Indices `[n]` of the samples it was trained on and their radii `[n]`, if it has any.
        fresh: A copy from before it was asked anything, for the checks for masking; None: made when they begin.
    """

    name: str
    model: nn.Module
    digest: str
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    was_training: bool = False
    findings: tuple[Finding, ...] = ()
    radii: tuple[Tensor, Tensor] | None = None
    fresh: Fresh | None = None


@dataclass(frozen=True, eq=False)
class TestSet:
    """The samples of a data set that a subject is judged on.

    Attributes:
        data: The data set.
        index: `[n]`, which test samples.
    """

    data: DataSplits
    index: Tensor

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.data.classes
