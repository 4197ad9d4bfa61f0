"""Findings of a whole evaluation: from its accuracies, its attacks and its plan."""

from __future__ import annotations

from collections.abc import Sequence

from iaat.config.suites import Plan
from iaat.evaluate.autoattack import STANDARD_CLASSES, ensemble, why_no_square
from iaat.evaluate.findings import (
    ARITHMETIC,
    ATTACKS_LEFT_OUT,
    AUTOATTACK_CLASSES,
    AUTOATTACK_SHAPE,
    BELOW_CONSTANT,
    FEW_CLASSES,
    VALIDATION_SAMPLES,
    Finding,
    note,
)
from iaat.evaluate.masking import gap_finding, no_black_box, transfer_finding
from iaat.evaluate.masking.case import percent
from iaat.evaluate.masking.gradient_checks import blocked
from iaat.evaluate.outcome import Outcome
from iaat.evaluate.sections import Context, Section, Task


def gap(outcome: Outcome) -> tuple[float, float, int] | None:
    """Accuracy after the first PGD, in the worst case, and number of samples; None where no PGD came first."""
    if not outcome.attacks or not outcome.attacks[0].startswith("pgd"):
        return None
    return outcome.accuracy(outcome.attacks[0]), outcome.worst(), len(outcome.misclassified_by)


def all_findings(context: Context, plan: Plan, sections: Sequence[Section], left_out: Sequence[str]) -> list[Finding]:
    """All findings of an evaluation, each name once.

    Args:
        context: The evaluation, attacks done.
        plan: The plan of the evaluation.
        sections: Sections that were measured.
        left_out: Attacks of the plan that could not be run.
    """
    found = [*context.evaluated.findings, *(finding for section in sections for finding in section.findings)]
    found += [*_of_accuracies(context.outcome, sections), *_of_attacks(context.outcome)]
    found += _below_constant(context.outcome, len(context.data.classes))
    found += [*plan_findings(plan, context), *_of_left_out(left_out)]
    named = {finding.name: finding for finding in found}
    if AUTOATTACK_CLASSES in named:  # which says the same, and what runs instead
        named.pop(FEW_CLASSES, None)
    return list(named.values())


def _of_accuracies(outcome: Outcome, sections: Sequence[Section]) -> list[Finding]:
    measured = gap(outcome)
    if measured is None:
        return []
    pgd, _, n = measured
    transferred = [row.accuracy for section in sections for row in section.transfer or ()]
    findings = [gap_finding(*measured), *(transfer_finding(accuracy, pgd, n) for accuracy in transferred)]
    return [finding for finding in findings if finding is not None]


def _below_constant(outcome: Outcome, classes: int) -> list[Finding]:
    """Whether one class for all inputs, the commonest, would be more robust than the model."""
    worst = outcome.worst()
    constant = int(outcome.label.bincount(minlength=classes).max()) / len(outcome.label)
    if not outcome.attacks or worst >= constant:
        return []
    return [
        note(
            name=BELOW_CONSTANT,
            evidence=f"{percent(worst)} of the samples are robust in the worst case; giving all of them the commonest "
            f"class would be correct, and robust, for {percent(constant)}",
            advice="Expected of natural training; of adversarial training it says that the attacks succeeded.",
        )
    ]


def _of_attacks(outcome: Outcome) -> list[Finding]:
    """Warnings of the reference implementation, and points outside their ball."""
    texts = dict.fromkeys(text for stage in outcome.stages for text in stage.warnings)
    findings = [
        note(
            name="autoattack-warning" + (f"-{number}" if number > 1 else ""),
            evidence=f"warning of AutoAttack's own checks: {text}",
            advice="Read the masking checks beside it (--suspicious, in Python a suite with +masking).",
        )
        for number, text in enumerate(texts, start=1)
    ]
    flips = [f"{stage.name} {stage.flips} of {stage.samples}" for stage in outcome.stages if stage.flips]
    if flips:
        findings.append(
            note(
                name="autoattack-flips",
                evidence=f"of another class in float32 than in the arithmetic of the attack: {', '.join(flips)}",
                advice="The attack may have left these samples too early: leave evaluate.autoattack_arithmetic out.",
            )
        )
    outside = [f"{stage.name} {stage.outside} of {stage.samples}" for stage in outcome.stages if stage.outside]
    if outside:
        findings.append(
            note(
                name="outside-ball",
                evidence=f"points outside the radius or the image range: {', '.join(outside)}",
                advice="They do not count as adversarial; report the attack.",
            )
        )
    return findings


def plan_findings(plan: Plan, task: Task) -> list[Finding]:
    """Parts of a plan that are left out, or not in their standard form: known before anything runs."""
    found = (one(plan, task) for one in _OF_PLANS)
    return [finding for finding in found if finding is not None]


def _validation_samples(_: Plan, task: Task) -> Finding | None:
    if task.data.test is not task.data.train or not len(task.data.validation_index):
        return None
    return note(
        name=VALIDATION_SAMPLES,
        evidence="these are validation samples, which have chosen the epoch: figures are a little too high",
        advice="Quote figures on test data: run.evaluate(test_data).",
    )


def _autoattack_classes(plan: Plan, task: Task) -> Finding | None:
    classes = len(task.data.classes)
    if "autoattack" not in plan.attacks or classes >= STANDARD_CLASSES:
        return None
    attacks = ensemble(classes, task.data.test.shape, task.config.norm)
    return note(
        name=AUTOATTACK_CLASSES,
        evidence=f"with {classes} classes the targeted DLR loss of AutoAttack is not defined: "
        f"{', '.join(attacks)} are run instead",
        advice="Say so beside the number; it is not the standard ensemble.",
    )


def _autoattack_shape(plan: Plan, task: Task) -> Finding | None:
    no_square = why_no_square(task.data.test.shape, task.config.norm)
    if "autoattack" not in plan.attacks or not no_square:
        return None
    return note(
        name=AUTOATTACK_SHAPE,
        evidence=f"{no_square}: it is left out",
        advice="Say so beside the number; no black-box attack is run.",
    )


def _arithmetic(plan: Plan, task: Task) -> Finding | None:
    if "autoattack" not in plan.attacks or task.config.autoattack_arithmetic == "reference":
        return None
    return note(
        name=ARITHMETIC,
        evidence=f"AutoAttack computes in {task.config.autoattack_arithmetic}, not as the reference rounds",
        advice="Quote the number without evaluate.autoattack_arithmetic.",
    )


def _no_black_box(plan: Plan, task: Task) -> Finding | None:
    no_square = why_no_square(task.data.test.shape, task.config.norm)
    return no_black_box(no_square) if "masking" in plan.sections and no_square else None


def _no_transfer(plan: Plan, task: Task) -> Finding | None:
    if plan.transfer_steps is None or task.extras.others:
        return None
    return note(
        name="no-transfer",
        evidence="no other model is given to make adversarial examples on",
        advice="Give an independently trained copy: --transfer RUN.",
    )


_OF_PLANS = (_validation_samples, _autoattack_classes, _autoattack_shape, _arithmetic, _no_black_box, _no_transfer)


def _of_left_out(left_out: Sequence[str]) -> list[Finding]:
    if not left_out:
        return []
    finding = note(
        name=ATTACKS_LEFT_OUT,
        evidence=f"without a gradient these could not be run: {', '.join(left_out)}",
        advice="The accuracies are of the attacks that remain; they say little.",
    )
    return [blocked(), finding]
