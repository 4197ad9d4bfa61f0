"""A model to evaluate with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from iaat.evaluate.findings import Finding
from iaat.evaluate.masking import Fresh
from iaat.evaluate.results import ModelFacts


@dataclass(frozen=True, eq=False)
class EvaluatedModel:
    """One model to evaluate.

    Attributes:
        name: Its name in tables and in names of files.
        model: In eval mode; maps inputs in [0, 1] to logits.
        digest: Identifies its weights.
        folder: Folder of its evaluations.
        facts: What results say of it.
        was_training: Whether it was handed over in train mode.
        findings: Findings of the checks when it was loaded.
        radii: Indices `[n]` of the samples it was trained on and their radii `[n]`, if it has any.
        fresh: A copy made before its first forward, for the masking checks; None: made when they begin.
    """

    name: str
    model: nn.Module
    digest: str
    folder: Path
    facts: ModelFacts
    was_training: bool = False
    findings: tuple[Finding, ...] = ()
    radii: tuple[Tensor, Tensor] | None = None
    fresh: Fresh | None = None
