"""One evaluation, from the plan to the files: attacks, sections, findings, verdict."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from iaat.attacks import attack_mode, cross_entropy
from iaat.config.evaluate_config import EvaluateConfig
from iaat.config.suites import Plan, parse_suite
from iaat.data import DataSplits
from iaat.data.sample_log import gather_sample_log
from iaat.errors import UserError
from iaat.evaluate.corruption_accuracy import check_corruptions, corruption_section
from iaat.evaluate.evaluated_model import EvaluatedModel
from iaat.evaluate.evaluation_findings import all_findings, plan_findings
from iaat.evaluate.evaluation_identity import evaluation_folder, identity
from iaat.evaluate.findings import verdict
from iaat.evaluate.journal import Journal, Known
from iaat.evaluate.masking.gradient_checks import input_gradient
from iaat.evaluate.masking.masking_section import MASKING, masking_section
from iaat.evaluate.outcome import Outcome
from iaat.evaluate.provenance import CLEAN_OF_THE_REST, clean_of_all, digest_of_inputs, provenance
from iaat.evaluate.radius_quarters import radii_section
from iaat.evaluate.results import EvaluationResult
from iaat.evaluate.robustness_curve import curve_section, with_curve
from iaat.evaluate.sample_choice import test_sample
from iaat.evaluate.sections import Context, Extras, Task
from iaat.evaluate.shared_stages import JOURNAL, earlier_suites
from iaat.evaluate.stages import Stage, stages_of
from iaat.evaluate.transfer import transfer_section, transfer_stages
from iaat.evaluate.write_results import summary, write_evaluation
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.files import remove_leftovers
from iaat.runtime.lock import folder_lock
from iaat.runtime.progress import Reporter


def run_evaluation(
    evaluated: EvaluatedModel,
    data: DataSplits,
    config: EvaluateConfig,
    reporter: Reporter,
    extras: Extras | None = None,
    *,
    known: Path | None = None,
    inputs: str | None = None,
    ranks: Ranks = ALONE,
) -> EvaluationResult:
    """Evaluate a model on the test set by the suite of `config`; write `results.json` and `records.parquet`.

    The model is in eval mode throughout and gets its own flags back. Finished batches and sections are kept in a
    journal beside the results: an interrupted evaluation goes on where it stopped and ends with the same numbers, and
    a finished one is read.

    Args:
        evaluated: The model.
        data: The data set it is evaluated on.
        config: Suite, radius, norm, samples.
        reporter: Shows progress.
        extras: Other models for transfer, published corrupted images, a baseline.
        known: Folder of an evaluation of the same weights, to take finished batches from.
        inputs: Digest of the samples that are evaluated, as of `digest_of_inputs`; None: it is worked out.
        ranks: The processes that share out the batches; all call this with the same model and data, and get the same
            results. The main one writes.

    Raises:
        UserError: the test set has no samples, or a section lacks what it needs.
    """
    with attack_mode(evaluated.model, "eval"):
        index = test_sample(data, config)
        if inputs is None:
            inputs = _inputs(data, index, config, ranks)
        return _evaluate(Task(evaluated, data, index, inputs, config, reporter, extras or Extras()), known, ranks)


def run_evaluations(
    models: Sequence[EvaluatedModel],
    data: DataSplits,
    config: EvaluateConfig,
    reporter: Reporter,
    extras_of: Callable[[EvaluatedModel], Extras] = lambda _: Extras(),
    *,
    ranks: Ranks = ALONE,
) -> Iterator[EvaluationResult]:
    """Results of each model in turn; one with the same weights as one before it is not attacked again.

    Args:
        models: Models of one run, such as its best and its last checkpoint.
        data: The data set they are evaluated on.
        config: Suite, radius, norm, samples.
        reporter: Shows progress.
        extras_of: What the sections of the evaluation of each need from elsewhere.
        ranks: The processes that share out the batches, as in `run_evaluation`.

    Raises:
        UserError: as `run_evaluation`.
    """
    inputs = _inputs(data, test_sample(data, config), config, ranks)  # once: they may take long to read
    for number, evaluated in enumerate(models):
        extras = extras_of(evaluated)
        same = next((each for each in models[:number] if _same_weights(each, evaluated)), None)
        known = None if same is None else evaluation_folder(same, config, extras_of(same))
        yield run_evaluation(evaluated, data, config, reporter, extras, known=known, inputs=inputs, ranks=ranks)


def _inputs(data: DataSplits, index: Tensor, config: EvaluateConfig, ranks: Ranks) -> str:
    """Digest of the samples `[n]`, which one process reads; all get to know which of them cannot be read."""
    digest = ranks.from_main(lambda: digest_of_inputs(data.test, index, config.batch_size))
    gather_sample_log(data.test.sample_log, ranks)
    return digest


def _same_weights(one: EvaluatedModel, other: EvaluatedModel) -> bool:
    if one.digest != other.digest or (one.radii is None) != (other.radii is None):
        return False
    pairs = () if one.radii is None or other.radii is None else zip(one.radii, other.radii, strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


def _evaluate(task: Task, known: Path | None, ranks: Ranks) -> EvaluationResult:
    plan = parse_suite(task.config.suite)
    _warn_ignored(task.config, plan)
    if "corruptions" in plan.sections:
        check_corruptions(task)
    if MASKING in plan.sections and not task.config.radius:
        raise UserError("evaluate.radius is 0: the checks for masking need attacks; give a radius, or another suite")
    folder = evaluation_folder(task.evaluated, task.config, task.extras)
    with _held(folder, ranks):
        journal = _journal(folder, task, known, ranks)
        return _evaluate_in(folder, journal, task, plan)


def _warn_ignored(config: EvaluateConfig, plan: Plan) -> None:
    """Warn of a setting that has no effect."""
    if config.autoattack_arithmetic != "reference" and "autoattack" not in plan.attacks:
        setting = f"evaluate.autoattack_arithmetic={config.autoattack_arithmetic}"
        warnings.warn(f"{setting} has no effect: suite {config.suite} has no AutoAttack", stacklevel=2)


def _journal(folder: Path, task: Task, known: Path | None, ranks: Ranks) -> Journal:
    """The journal of an evaluation, with what others of the same weights have done."""

    def stage_names(attacks: Sequence[str]) -> list[str]:
        data = task.data
        return [stage.name for stage in stages_of(tuple(attacks), task.config, len(data.classes), data.test.shape)]

    own = identity(task)
    others = earlier_suites(folder, own, stage_names) if ranks.main else []
    others += [] if known is None else [Known(known / JOURNAL, own)]
    journal = Journal(folder / JOURNAL, own, others, ranks)
    for other in journal.taken:
        names = ["all of it"] if other.units is None else sorted(other.units - {CLEAN_OF_THE_REST})
        task.reporter.say(f"taken from {other.path.parent}: {', '.join(names)}")
    return journal


@contextmanager
def _held(folder: Path, ranks: Ranks) -> Iterator[None]:
    """Context in which the main process alone writes the folder of an evaluation."""

    def enter() -> None:
        held.enter_context(folder_lock(folder / "evaluate.lock", "evaluates"))
        remove_leftovers(folder)

    with ExitStack() as held:
        ranks.on_main(enter)
        yield


def _evaluate_in(folder: Path, journal: Journal, task: Task, plan: Plan) -> EvaluationResult:
    for finding in plan_findings(plan, task):
        task.reporter.say_once(finding.text())
    plan, stages, left_out = _possible(task, plan, journal.ranks)
    outcome = task.attack(task.data.test, task.index, stages, journal)
    context = _after_attacks(task, outcome, journal)
    sections = []
    if "curve" in plan.sections:
        sections.append(curve_section(context))
        context = replace(context, outcome=with_curve(outcome, sections[-1]))
    measures = {"corruptions": corruption_section, "radii": radii_section}
    sections += [measures[name](context) for name in plan.sections if name in measures]
    if plan.transfer_steps is not None and task.extras.others:
        sections.append(transfer_section(context, plan.transfer_steps))
    # Last, because it looks at what the others found.
    if MASKING in plan.sections:
        masking, outcome = masking_section(context)
        sections.append(masking)
        context = replace(context, outcome=outcome)
    findings = all_findings(context, plan, sections, left_out)
    results = summary(
        context.outcome,
        task.config,
        task.data.classes,
        task.evaluated.facts,
        verdict=verdict(findings, checked=MASKING in plan.sections),
        findings=tuple(findings),
        clean_all=clean_of_all(context, task.index),
        **provenance(context),
        **{name: value for section in sections for name, value in section.measured().items()},
    )
    journal.ranks.on_main(lambda: write_evaluation(folder, context.outcome, results, task.data.classes))
    journal.finish()
    return results


def _after_attacks(task: Task, outcome: Outcome, journal: Journal) -> Context:
    """What sections may use: the samples that could be read, and what the attacks did to them."""
    inputs = task.inputs
    if len(outcome.index) < len(task.index):
        inputs = _inputs(task.data, outcome.index, task.config, journal.ranks)
    settings = (task.config, task.reporter, task.extras)
    return Context(task.evaluated, task.data, outcome.index, inputs, *settings, journal, outcome)


def _possible(task: Task, plan: Plan, ranks: Ranks) -> tuple[Plan, list[Stage], list[str]]:
    """The plan and its stages; without a gradient path only those that need none, and the names of the rest."""
    data = task.data
    stages = stages_of(plan.attacks, task.config, len(data.classes), data.test.shape)
    if plan.transfer_steps is not None:
        stages += transfer_stages(task, plan.transfer_steps, ranks)
    (batch,) = data.test.batches([task.index[:2]])
    blocked = input_gradient(task.evaluated.model, batch.x, batch.y, cross_entropy) is None
    if not ranks.any(blocked)[0]:
        return plan, stages, []
    kept = [stage for stage in stages if stage.name.endswith("/square") or stage.group == "transfer"]
    without = [name for name in plan.sections if name in ("curve", "radii")]
    left_out = [*(stage.name for stage in stages if stage not in kept), *without]
    return replace(plan, sections=tuple(name for name in plan.sections if name not in without)), kept, left_out
