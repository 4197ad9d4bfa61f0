"""The sentence of a report on whether its figures may be quoted, and what would make them so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iaat.evaluate.findings import (
    ARITHMETIC,
    ATTACKS_LEFT_OUT,
    AUTOATTACK_CLASSES,
    AUTOATTACK_SHAPE,
    TOO_FEW,
    UNCHECKED,
    VALIDATION_SAMPLES,
    WORST_CASE,
)
from iaat.report.commands import evaluation_command
from iaat.report.pooled_results import has_autoattack, row_of, shared_seeds
from iaat.report.report_content import ReportContent
from iaat.report.result_content import Answer, EvaluationRow, Pooled
from iaat.runtime.text import counted

FEW_SEEDS = 3
"""Seeds from which an interval over them is of use: with two it reaches 9 standard deviations to each side."""

_OTHER_ATTACKS = (AUTOATTACK_CLASSES, AUTOATTACK_SHAPE, ATTACKS_LEFT_OUT)
"""Notes that some of AutoAttack's attacks were replaced or left out, as they cannot run there."""


def quotation(content: ReportContent, row: Pooled) -> Answer:
    """Return whether the figures of a row may be quoted, by the worst verdict of its seeds.

    The first reason against it that holds is said, the gravest first: attacks that do not measure the model, samples
    that have chosen the epoch, attacks that are too weak, and then what the figures are compared with.
    """
    evaluations = [content.evaluations[place] for place in row.evaluations]
    found = (
        _distrusted(content, row, evaluations)
        or _of_validation(row, evaluations)
        or _incomplete(content, row, evaluations)
    )
    return found or _unfit_to_compare(content, row, evaluations) or _quotable(content, row, evaluations)


def _distrusted(content: ReportContent, row: Pooled, evaluations: Sequence[EvaluationRow]) -> Answer | None:
    serious = [evaluation for evaluation in evaluations if evaluation.is_serious]
    if not serious:
        return None
    names = sorted(
        {finding["name"] for evaluation in serious for finding in evaluation.findings if finding.get("serious")}
    )
    detail = f"{', '.join(names)}: {_advice(serious)}" if names else serious[0].verdict
    is_full = "full" in row.suite.split(maxsplit=1)[0]
    full = None if is_full else evaluation_command(content, [row.recipe], "full")
    return Answer("quote", "serious", "Do not quote it: the attacks do not measure this model.", detail, full)


def _of_validation(row: Pooled, evaluations: Sequence[EvaluationRow]) -> Answer | None:
    if not (found := _findings(evaluations, (VALIDATION_SAMPLES,))):
        return None
    detail = f"on {row.n:,} validation images; {found[0]['advice']}"
    command = "run.evaluate(test_data, suite='standard')  # run = iaat.fit(...) as before"
    return Answer("quote", "open", "Not to be quoted: these images have chosen the epoch.", detail, command)


def _incomplete(content: ReportContent, row: Pooled, evaluations: Sequence[EvaluationRow]) -> Answer | None:
    """What AutoAttack with its checks for masking has not said yet."""
    recipes, samples = [row.recipe, *([] if row.against is None else [row.against])], _samples(row)
    command = evaluation_command(content, recipes, "standard")
    if not has_autoattack(row.attacks):
        last = list(row.attacks)[-1] if row.attacks else "no attack"
        return Answer("quote", "open", f"Not to be quoted yet: {last} is not AutoAttack.", f"on {samples}", command)
    if any(UNCHECKED in evaluation.verdict for evaluation in evaluations):
        command = evaluation_command(content, recipes, "standard", suspicious=True)
        text = "Not to be quoted yet: it is not checked for gradient masking."
        return Answer("quote", "open", text, samples, command)
    if few := next((evaluation.verdict for evaluation in evaluations if TOO_FEW in evaluation.verdict), None):
        text = "Not to be quoted yet: too few test images were attacked to look for gradient masking."
        return Answer("quote", "open", text, f"on {samples}; {few}", command)
    return None


def _unfit_to_compare(content: ReportContent, row: Pooled, evaluations: Sequence[EvaluationRow]) -> Answer | None:
    """Why figures with AutoAttack are not to be quoted all the same: the arithmetic, or what they are compared with."""
    if found := _findings(evaluations, (ARITHMETIC,)):
        text = "Not to be quoted as AutoAttack's: it ran with other rounding."
        return Answer("quote", "open", text, f"on {_samples(row)}; {found[0]['evidence']}")
    theirs = [] if row.against is None else row_of(content, row, row.against).evaluations
    distrusted = [content.evaluations[place] for place in theirs if content.evaluations[place].is_serious]
    if not distrusted or row.against is None:
        return None
    text = f"Not to be quoted as a comparison: the attacks do not measure {content.recipes[row.against].title}."
    return Answer("quote", "open", text, f"on {_samples(row)}; {_advice(distrusted) or distrusted[0].verdict}")


def _quotable(content: ReportContent, row: Pooled, evaluations: Sequence[EvaluationRow]) -> Answer:
    weak = any(evaluation.verdict.startswith(WORST_CASE) for evaluation in evaluations)
    which = "quote the worst case, not PGD" if weak else evaluations[0].verdict
    notes = "".join(f"; {finding['evidence']}" for finding in _findings(evaluations[:1], _OTHER_ATTACKS))
    detail = f"AutoAttack on {_samples(row)}, {counted(len(evaluations), 'seed')}; {which}{notes}"
    seeds = _seeds_compared(content, row)
    if seeds < FEW_SEEDS:
        return Answer("quote", "better", f"It may be quoted, as a result of {counted(seeds, 'seed')}.", detail)
    return Answer("quote", "better", "It may be quoted, with its interval.", detail)


def _seeds_compared(content: ReportContent, row: Pooled) -> int:
    """Seeds that a comparison rests on: those of both recipes; where they share none, of that which has fewer."""
    if row.against is None:
        return len(row.evaluations)
    theirs = row_of(content, row, row.against).evaluations
    return len(shared_seeds(content, row)) or min(len(row.evaluations), len(theirs))


def _samples(row: Pooled) -> str:
    return f"{row.n:,} test images"


def _findings(evaluations: Sequence[EvaluationRow], names: Sequence[str]) -> list[dict[str, Any]]:
    return [finding for evaluation in evaluations for finding in evaluation.findings if finding["name"] in names]


def _advice(evaluations: Sequence[EvaluationRow]) -> str:
    return next((finding["advice"] for row in evaluations for finding in row.findings if finding.get("serious")), "")
