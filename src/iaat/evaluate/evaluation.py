"""One evaluation from plan to files: attacks, sections, findings, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from iaat import rng
from iaat.attacks import cross_entropy
from iaat.data import DataBundle, sequential_order
from iaat.errors import UserError
from iaat.evaluate.attackers import stages_of
from iaat.evaluate.by_radius import radii_section
from iaat.evaluate.config import EvaluateConfig
from iaat.evaluate.corruption import corruption_section
from iaat.evaluate.curve import curve_section
from iaat.evaluate.findings import Finding, verdict
from iaat.evaluate.journal import Journal
from iaat.evaluate.masking import finding_of_gap, finding_of_transfer, masking_report
from iaat.evaluate.masking.gradients import blocked as blocked_gradients
from iaat.evaluate.masking.gradients import input_gradient
from iaat.evaluate.reference import STANDARD_CLASSES, ensemble
from iaat.evaluate.report import evaluation_name, plain_config, summary, write_evaluation
from iaat.evaluate.robust import Outcome, Stage, attack_samples
from iaat.evaluate.sections import Context, Extras, Measure, Section
from iaat.evaluate.subject import Subject, TestSet
from iaat.evaluate.suites import Plan, plan_of
from iaat.evaluate.transfer import transfer_section, transfer_stages
from iaat.progress import Reporter

MASKING_N = 200
"""Samples the masking checks look at: fewer leave chance too much room, more cost time and change no verdict."""


def evaluate_subject(
    subject: Subject, data: DataBundle, config: EvaluateConfig, reporter: Reporter, extras: Extras | None = None
) -> dict[str, Any]:
    """Judge a model on the test set by the suite of `config`, and write `results.json` and `records.parquet`.

    Finished batches and sections are kept in a journal beside them: an interrupted evaluation goes on where it
    stopped and ends with the same numbers, and a finished one is read.

    Args:
        subject: The model.
        data: The data set it is judged on.
        config: Suite, radius, norm, samples.
        reporter: Shows progress.
        extras: Other models for transfer, published corrupted images, a baseline.

    Returns:
        The results, as in `results.json`.

    Raises:
        UserError: the test set has no samples, or a section lacks what it needs.
    """
    extras = extras or Extras()
    test = TestSet(data, test_sample(data, config))
    plan = plan_of(config.suite)
    folder = subject.folder / folder_name(config, subject.facts.get("checkpoint"))
    journal = Journal(folder / "journal.jsonl", identity(subject, test, config, extras))
    stages = stages_of(plan.attacks, config, len(test.classes))
    if plan.transfer_steps is not None:
        stages += transfer_stages(extras.others, test, config, plan.transfer_steps, reporter)
    if not _has_gradient(subject, test):
        plan, stages = _without_gradient(plan, stages)
        subject = replace(subject, findings=(*subject.findings, blocked_gradients()))
    outcome = _attack(subject, test, config, stages, journal, reporter)
    context = Context(subject, test, config, outcome, journal, reporter, extras)
    sections = [measure(context) for measure in _measures(plan, extras)]
    findings = _findings(context, plan, sections)
    facts = {"verdict": verdict(findings), **subject.facts, "suite": config.suite}
    results = summary(outcome, config, test.classes, facts)
    results["findings"] = [finding.to_dict() for finding in findings]
    for section in sections:
        results |= section.results
    write_evaluation(folder, _with_smaller_breaks(outcome, sections), results, test.classes)
    return results


def test_sample(data: DataBundle, config: EvaluateConfig) -> Tensor:
    """Indices of the test samples an evaluation uses: the same ones for every model and method.

    Raises:
        UserError: there are none.
    """
    if not len(data.test_index):
        raise UserError("the test set has no samples: there is nothing to evaluate; give other data")
    order = rng.permutation(len(data.test_index), seed=0, epoch=0)
    return data.test_index[order[: config.samples]].sort().values


def folder_name(config: EvaluateConfig, checkpoint: str | None) -> str:
    """Name of the folder an evaluation is kept in."""
    words = [*([checkpoint] if checkpoint else []), *evaluation_name(config).lower().split()]
    return "-".join([*words, *([f"n{config.samples}"] if config.samples else [])])


def identity(subject: Subject, test: TestSet, config: EvaluateConfig, extras: Extras) -> dict[str, Any]:
    """What decides every number of an evaluation."""
    return {
        "format": 1,
        "model": subject.digest,
        "data": test.data.test.fingerprint,
        "samples": sha256(test.index.numpy().tobytes()).hexdigest(),
        "evaluate": plain_config(config),
        "others": {other.name: other.digest for other in extras.others},
        "corrupted": None if extras.corrupted is None else str(extras.corrupted.resolve()),
        "torch": torch.__version__,
    }


def _attack(
    subject: Subject,
    test: TestSet,
    config: EvaluateConfig,
    stages: Sequence[Stage],
    journal: Journal,
    reporter: Reporter,
) -> Outcome:
    return attack_samples(
        subject.model,
        test.data.test,
        test.index,
        stages,
        radius=config.radius,
        norm=config.norm,
        batch_size=config.batch_size,
        seed=config.seed,
        journal=journal,
        reporter=reporter,
    )


def _has_gradient(subject: Subject, test: TestSet) -> bool:
    """Whether anything leads from the logits back to the inputs: without it no gradient attack can run at all."""
    (batch,) = test.data.test.batches([test.index[:2]])
    return input_gradient(subject.model, batch.x, batch.y, cross_entropy) is not None


def _without_gradient(plan: Plan, stages: Sequence[Stage]) -> tuple[Plan, list[Stage]]:
    """What of a plan can be done without gradients."""
    sections = tuple(word for word in plan.sections if word not in ("curve", "radii"))
    kept = [stage for stage in stages if stage.name.endswith("/square") or stage.group == "transfer"]
    return replace(plan, sections=sections), kept


_MEASURES: dict[str, Measure] = {
    "curve": curve_section,
    "corruptions": corruption_section,
    "radii": radii_section,
}


def _measures(plan: Plan, extras: Extras) -> list[Measure]:
    """The sections of a plan; masking last, which looks at what the others found."""
    measures = [_MEASURES[word] for word in plan.sections if word in _MEASURES]
    if plan.transfer_steps is not None and extras.others:
        measures.append(partial(transfer_section, steps=plan.transfer_steps))
    return [*measures, *([masking_section] if "masking" in plan.sections else [])]


def masking_section(context: Context) -> Section:
    """The checks for gradient masking, on the first of the samples in a fixed random order."""
    value = context.journal.unit("masking", partial(_masking, context))
    findings = [Finding(**finding) for finding in value["findings"]]
    return Section({"masking": value["measures"]}, findings)


def _masking(context: Context) -> dict[str, Any]:
    index = context.test.index
    chosen = index[rng.permutation(len(index), seed=0, epoch=1)[:MASKING_N]].sort().values
    (batch,) = context.test.data.test.batches(sequential_order(chosen, len(chosen)))
    report = masking_report(
        context.subject.model,
        batch.x,
        batch.y,
        radius=float(context.config.radius),
        norm=context.config.norm,
        classes=len(context.test.classes),
        seed=context.config.seed,
        gap=_gap(context.outcome),
        was_training=context.subject.was_training,
        reporter=context.reporter,
    )
    return report.to_dict()


def _gap(outcome: Outcome) -> tuple[float, float, int] | None:
    """Accuracy after the first PGD, in the worst case, and number of samples; None where no PGD came first."""
    if not outcome.groups or not outcome.groups[0].startswith("pgd"):
        return None
    return outcome.accuracy(outcome.groups[0]), outcome.accuracy(outcome.stages[-1].name), len(outcome.broken_by)


def _findings(context: Context, plan: Plan, sections: Sequence[Section]) -> list[Finding]:
    """Everything noticed, each name once."""
    found = [*context.subject.findings, *(finding for section in sections for finding in section.findings)]
    found += [*_of_accuracies(context.outcome, sections), *_of_attacks(context.outcome), *_of_plan(plan, context)]
    return list({finding.name: finding for finding in found}.values())


def _of_accuracies(outcome: Outcome, sections: Sequence[Section]) -> list[Finding]:
    gap = _gap(outcome)
    if gap is None:
        return []
    pgd, _, n = gap
    transferred = [row["accuracy"] for section in sections for row in section.results.get("transfer", ())]
    findings = [finding_of_gap(*gap), *(finding_of_transfer(accuracy, pgd, n) for accuracy in transferred)]
    return [finding for finding in findings if finding is not None]


def _of_attacks(outcome: Outcome) -> list[Finding]:
    """Warnings of the reference implementation, and attacks that left their ball."""
    texts = dict.fromkeys(text for record in outcome.stages for text in record.warnings)
    findings = [
        Finding(
            name="autoattack-warning" + (f"-{number}" if number > 1 else ""),
            evidence=f"AutoAttack's own checks say: {text}",
            advice="Read the masking checks (--suspicious) beside it.",
            serious=False,
        )
        for number, text in enumerate(texts, start=1)
    ]
    outside = [f"{record.name} {record.outside} of {record.met}" for record in outcome.stages if record.outside]
    if outside:
        findings.append(
            Finding(
                name="outside-ball",
                evidence=f"attacks returned points outside the radius or the image range: {', '.join(outside)}",
                advice="They count as not broken; check whether the model changes its inputs in place.",
                serious=False,
            )
        )
    return findings


def _of_plan(plan: Plan, context: Context) -> list[Finding]:
    """What the plan asked for and did not get, or not in its standard form."""
    findings = []
    classes = len(context.test.classes)
    if "autoattack" in plan.attacks and classes < STANDARD_CLASSES:
        findings.append(
            Finding(
                name="autoattack-classes",
                evidence=f"with {classes} classes the targeted DLR loss of AutoAttack is not defined: "
                f"{', '.join(ensemble(classes))} were run instead",
                advice="Say so beside the number; it is not the standard ensemble.",
                serious=False,
            )
        )
    if plan.transfer_steps is not None and not context.extras.others:
        findings.append(
            Finding(
                name="no-transfer",
                evidence="no other model was given to make adversarial examples on",
                advice="Give an independently trained copy: --transfer RUN.",
                serious=False,
            )
        )
    return findings


def _with_smaller_breaks(outcome: Outcome, sections: Sequence[Section]) -> Outcome:
    """The outcome with the norms of smaller breaks that a section found."""
    size = outcome.size
    for section in sections:
        if section.size is not None:
            size = torch.fmin(size, section.size)
    return replace(outcome, size=size)
