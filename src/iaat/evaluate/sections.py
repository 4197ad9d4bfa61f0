"""What an evaluation measures beside its attacks: masking, curve, corruptions, transfer, radii."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from iaat.config.evaluate_config import EvaluateConfig
from iaat.evaluate.findings import Finding
from iaat.evaluate.resume import Journal
from iaat.evaluate.robust import Outcome
from iaat.evaluate.subject import Subject, TestSet
from iaat.runtime.passes import Passes
from iaat.runtime.progress import Reporter


@dataclass(frozen=True, slots=True)
class Extras:
    """What some sections need from elsewhere.

    Attributes:
        others: Models whose adversarial examples the subject is judged on.
        corrupted: Folder of published corrupted images; None: they are made of the test images.
        baseline: Results of an evaluation with corruptions, which mCE is relative to.
    """

    others: tuple[Subject, ...] = ()
    corrupted: Path | None = None
    baseline: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """All that a section may look at."""

    subject: Subject
    test: TestSet
    config: EvaluateConfig
    outcome: Outcome
    journal: Journal
    reporter: Reporter
    extras: Extras


@dataclass(frozen=True, slots=True)
class Section:
    """What a section found.

    Attributes:
        results: Plain values for `results.json`.
        findings: What bears on trust.
        size: `[n]` norm of the smallest break it found of each sample of the test set; NaN where none.
        passes: What it took, where it was counted.
        seconds: Likewise.
    """

    results: dict[str, Any] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    size: Tensor | None = None
    passes: Passes = field(default_factory=Passes)
    seconds: float = 0.0


Measure = Callable[[Context], Section]
