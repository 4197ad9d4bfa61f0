"""Findings of an evaluation, which bear on whether its numbers can be trusted, and its verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TRUSTED = "no sign of masking"
DISTRUSTED = "do not trust PGD here"
WORST_CASE = "quote the worst case, not PGD"
TOO_FEW = "too few samples to look for masking"
UNCHECKED = "not checked for masking"
HOW_TO_CHECK = 'add --suspicious, in Python suite="quick+masking"'
NOT_ROBUST = "not robust"

FEW_SAMPLES = "few-samples"
"""Finding of too few samples for the checks to say anything."""

FEW_CLASSES = "few-classes"
"""Finding of a model with too few classes for the targeted DLR loss."""

AUTOATTACK_CLASSES = "autoattack-classes"
"""Finding of data with too few classes for the standard AutoAttack; it says what runs instead."""

AUTOATTACK_SHAPE = "autoattack-shape"
"""Finding of inputs on which Square cannot start; it is left out."""

ATTACKS_LEFT_OUT = "attacks-left-out"
"""Finding of a model without gradients: the attacks that need them."""

ARITHMETIC = "autoattack-arithmetic"
"""Finding of an AutoAttack with other rounding, which is not to be quoted as such."""

VALIDATION_SAMPLES = "validation-samples"
"""Finding of an evaluation on validation samples, which have chosen the epoch: its figures are a little too high."""

BELOW_CONSTANT = "not-robust"
"""Finding of a model that is less robust than one that predicts one class for all inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One observation with its evidence and advice.

    Attributes:
        name: Short name of the check in kebab case, such as `random-outputs`.
        evidence: One sentence with the figures measured.
        advice: One sentence that says what to do.
        serious: Whether it forbids trusting gradient attacks; False for what only needs to be known.
        weak_attack: Whether it says only that PGD alone is too weak here: other attacks of the same evaluation
            succeeded where PGD did not, and their worst case is the figure to quote.
    """

    name: str
    evidence: str
    advice: str
    serious: bool = True
    weak_attack: bool = False

    @property
    def kind(self) -> str:
        """`FINDING` where it decides the verdict, else `note`."""
        return "FINDING" if self.serious or self.weak_attack else "note"

    def text(self) -> str:
        """All of it in one line."""
        return f"{self.kind} {self.name}: {self.evidence}. {self.advice}"


def note(name: str, evidence: str, advice: str) -> Finding:
    """Finding of what only needs to be known."""
    return Finding(name=name, evidence=evidence, advice=advice, serious=False)


def verdict(findings: Sequence[Finding], *, checked: bool = True) -> str:
    """Verdict on an evaluation, in one line.

    Args:
        findings: All findings.
        checked: Whether the checks for gradient masking were run.

    Returns:
        Not to trust PGD and for what reasons; or to quote the worst case; or that too few samples could be attacked to
        say anything; or no sign of masking; or that it was not checked. Behind it, that the model is not robust.
    """
    parts = [_headline(findings, checked=checked)]
    if BELOW_CONSTANT in {finding.name for finding in findings}:
        parts.append(NOT_ROBUST)
    return "; ".join(parts)


def _headline(findings: Sequence[Finding], *, checked: bool) -> str:
    if reasons := _names(finding for finding in findings if finding.serious):
        return f"{DISTRUSTED}: {reasons}"
    few = next((finding.evidence for finding in findings if finding.name == FEW_SAMPLES), None)
    looked = TRUSTED if few is None else f"{TOO_FEW}: {few}"
    if not checked:
        looked = f"{UNCHECKED}: {HOW_TO_CHECK}"
    if reasons := _names(finding for finding in findings if finding.weak_attack):
        return f"{WORST_CASE}: {reasons}" + ("" if looked == TRUSTED else f"; {looked}")
    return looked


def _names(findings: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.name for finding in findings))
