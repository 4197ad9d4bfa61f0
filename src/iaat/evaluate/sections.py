"""Sections of an evaluation, measured beside its attacks: masking, curve, corruptions, transfer, radii."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from iaat.config.evaluate_config import EvaluateConfig
from iaat.data import DataSplits, Source
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.findings import Finding
from iaat.evaluate.journal import Journal
from iaat.evaluate.outcome import Outcome
from iaat.evaluate.results import EvaluationResult, SectionResults
from iaat.evaluate.robust_accuracy import attack_samples
from iaat.evaluate.stages import Stage
from iaat.runtime.passes import Passes
from iaat.runtime.progress import Reporter


@dataclass(frozen=True, slots=True)
class Extras:
    """What some sections need from elsewhere.

    Attributes:
        others: Models to make adversarial examples on, for transfer.
        corrupted: Folder of published corrupted images; None: they are made of the test images.
        baseline: Results of an evaluation with corruptions, which mCE is relative to.
        is_baseline: Whether the mCE of others is to be relative to this evaluation.
    """

    others: tuple[EvaluatedModel, ...] = ()
    corrupted: Path | None = None
    baseline: EvaluationResult | None = None
    is_baseline: bool = False


@dataclass(frozen=True)
class Task:
    """An evaluation to be run: the model, the samples `index` `[n]` of the test set, their digest, and all settings."""

    evaluated: EvaluatedModel
    data: DataSplits
    index: Tensor
    inputs: str
    config: EvaluateConfig
    reporter: Reporter
    extras: Extras

    def attack(self, source: Source, index: Tensor, stages: Sequence[Stage], journal: Journal) -> Outcome:
        """Attack the samples `index` `[n]` of a source, by the settings of the evaluation."""
        config = self.config
        return attack_samples(
            self.evaluated.model,
            source,
            index,
            stages,
            radius=config.radius,
            norm=config.norm,
            batch_size=config.batch_size,
            seed=config.seed,
            journal=journal,
            reporter=self.reporter,
        )


@dataclass(frozen=True)
class Context(Task):
    """Everything that a section may use: an evaluation after its attacks."""

    journal: Journal
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Section(SectionResults):
    """Results of one section.

    Attributes:
        findings: What bears on trust.
        perturbation_norm: `[n]` norm of the smallest adversarial perturbation it found of each test sample; NaN where
            none.
        prediction: `[n]` class predicted there, -1 where none or not known.
        passes: Passes it took, where they were counted.
        seconds: Wall time it took.
    """

    findings: Sequence[Finding] = ()
    perturbation_norm: Tensor | None = None
    prediction: Tensor | None = None
    passes: Passes = field(default_factory=Passes)
    seconds: float = 0.0
