"""Content of a report from run folders: summaries of their files, and images examined with their models."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import NamedTuple

from iaat import __version__
from iaat.config.load_recipe import CODE_OF_IMAGES
from iaat.config.recipe import Recipe
from iaat.config.same_place import same_place
from iaat.evaluate.findings import VALIDATION_SAMPLES
from iaat.evaluate.results import EvaluationResult
from iaat.evaluate.sample_records import RECORDS_FILE, SampleRecords, read_records
from iaat.evaluate.stored_results import evaluations_of
from iaat.report import run_summary
from iaat.report.distinct_suites import samples_of, with_distinct_suites
from iaat.report.examined_images import ExaminedRuns, read_data, state_of, with_images
from iaat.report.opening import focus_row, opening_of, report_title
from iaat.report.pooled_results import with_pooled_results
from iaat.report.recipe_parts import dataset_title
from iaat.report.report_content import Radii, ReportContent, RunPart
from iaat.report.scope import Scope
from iaat.report.under_attack import attacked_images, under_attack
from iaat.runs.run_folder import RunFolder
from iaat.runtime.json_files import DamagedFileError
from iaat.runtime.progress import Reporter


def collect_content(
    runs: Sequence[RunFolder],
    overrides: Sequence[str],
    reporter: Reporter,
    scope: Scope | None = None,
    *,
    recipes: Sequence[Recipe] | None = None,
) -> ReportContent:
    """Collect the content of the report of some runs.

    Gallery, details and suspects are those of the first run with radii, by its last model, to which the radii
    belong.

    Args:
        runs: At least one run with a finished epoch.
        overrides: Where the data lies now, as recipe keys.
        reporter: Shows progress.
        scope: How much; the defaults of `Scope` if None.
        recipes: The recipes of the runs, with models and data that were passed as objects; by default those in the
            folders.

    Raises:
        UserError: a folder without a run, or a damaged file; data that cannot be read or is not what was trained on.
    """
    scope = scope or Scope()
    run_summary.check_runs(runs)
    recipes = recipes or [run.recipe(overrides, code=CODE_OF_IMAGES if scope.pictures else ()) for run in runs]
    parts = run_summary.run_parts(runs, recipes)
    facts = [state_of(run)["data"] for run in runs]
    prints = [fact["train_fingerprint"] for fact in facts]
    classes = [str(name) for name in facts[0]["classes"]]
    evaluations = _evaluations(runs, [fact.get("test_fingerprint") or "" for fact in facts], parts)
    results = [(each.run, each.results) for each in evaluations]
    models = read_data(runs, recipes, facts[0], reporter) if scope.pictures else None

    content = ReportContent(
        title="",
        made=f"{date.today().isoformat()}, iaat {__version__}",
        classes=classes,
        runs=parts,
        evaluations=[run_summary.evaluation_row(*each) for each in results],
        differences=run_summary.recipe_comparison(recipes),
        curves=run_summary.accuracies(results),
        corruptions=run_summary.corruptions(results),
        radii=_radii(runs, parts, prints, classes, models),
        stability=run_summary.stabilities(runs, prints),
        notes=_notes(parts, prints),
        dataset=dataset_title(recipes[0].data.name),
        overrides=same_place(overrides, ()),
    )
    records = _records(evaluations, classes)
    content = _with_classes(with_pooled_results(content, records), records, [row for _, row in results], models)
    if models is None:
        content.notes.append("no images, suspects and loss surfaces: --no-images leaves them out")
    else:
        content = with_images(content, models, prints, scope)
    return replace(content, title=report_title(content), opening=opening_of(content))


def _notes(parts: Sequence[RunPart], prints: Sequence[str]) -> list[str]:
    """Say which runs were trained on other data than the first, by the fingerprints of their data."""
    others = [part.name for part, own in zip(parts, prints, strict=True) if own != prints[0]]
    return [f"the images are those of {parts[0].name}; trained on other data: {', '.join(others)}"] if others else []


class _Evaluation(NamedTuple):
    """One evaluation: place of its run, folder, results with a suite of its own, and which samples it is of."""

    run: int
    folder: Path
    results: EvaluationResult
    samples: str


def _evaluations(runs: Sequence[RunFolder], test_prints: Sequence[str], parts: Sequence[RunPart]) -> list[_Evaluation]:
    """Read the evaluations of the checkpoints that are there; `test_prints` are of the test data of each run."""
    found = [(number, *each) for number, run in enumerate(runs) for each in evaluations_of(run, current=True)]
    samples = [samples_of(row, test_prints[number]) for number, _, row in found]
    named = with_distinct_suites([(number, row) for number, _, row in found], samples, [part.name for part in parts])
    return [
        _Evaluation(number, folder, row, own)
        for (_, folder, _), (number, row), own in zip(found, named, samples, strict=True)
    ]


def _radii(
    runs: Sequence[RunFolder],
    parts: Sequence[RunPart],
    prints: Sequence[str],
    classes: Sequence[str],
    models: ExaminedRuns | None,
) -> list[Radii]:
    """Return the radii of the runs that have them; by class of those on the data of the first, if that was read."""
    labels = None if models is None else models.data.train.labels.numpy()
    known = [labels if own == prints[0] else None for own in prints]
    found = (
        run_summary.radii_part(number, run, own, classes, part.norm)
        for number, (run, part, own) in enumerate(zip(runs, parts, known, strict=True))
    )
    return [radii for radii in found if radii is not None]


def _records(evaluations: Sequence[_Evaluation], classes: Sequence[str]) -> dict[int, SampleRecords]:
    """Read the records of evaluations on the test data of the first, by place; damaged ones are left out."""
    found = {}
    for place, each in enumerate(evaluations):
        if each.samples != evaluations[0].samples:
            continue
        try:
            records = read_records(each.folder / RECORDS_FILE, classes)
        except DamagedFileError as error:
            warnings.warn(f"{error}; its test samples are left out", stacklevel=3)
            continue
        if len(records.index) == each.results.n:
            found[place] = records
    return found


def _with_classes(
    content: ReportContent,
    records: dict[int, SampleRecords],
    results: Sequence[EvaluationResult],
    models: ExaminedRuns | None,
) -> ReportContent:
    """Add what attacks do to classes and test images, by the evaluations in focus."""
    row = focus_row(content)
    found = None if row is None else under_attack(content, row, records)
    if row is None or found is None or models is None:
        return replace(content, under_attack=found)
    place = row.evaluations[0]
    evaluation, test = content.evaluations[place], models.data.test
    if test.fingerprint != samples_of(results[place], test.fingerprint):
        ours = any(finding.name == VALIDATION_SAMPLES for finding in results[place].findings)
        which = "validation samples were attacked" if ours else "they were passed to `run.evaluate` and are in no file"
        content.notes.append(f"no attacked test images: {which}")
        return replace(content, under_attack=found)
    images = attacked_images(evaluation.run, evaluation.checkpoint, records[place], test, results[place].evaluate.norm)
    return replace(content, under_attack=replace(found, images=images))
