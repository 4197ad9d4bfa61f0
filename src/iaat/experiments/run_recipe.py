"""From a recipe to its results: train, evaluate, write radii and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from iaat.config.radius_range import radius_span, warn_of_radii
from iaat.config.recipe import Recipe
from iaat.data import DataSplits
from iaat.data.notices import Notices
from iaat.evaluate.evaluate_run import evaluate_checkpoints
from iaat.evaluate.results import EvaluationResult
from iaat.evaluate.training_predictions import training_predictions
from iaat.experiments.resolved_recipe import check_one_norm, resolved
from iaat.report.run_figures import draw_run, write_radii
from iaat.runs.run_folder import RunFolder
from iaat.runtime.distributed import ALONE, Ranks
from iaat.runtime.launch import processes
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import Stop
from iaat.train import train
from iaat.train.skipped_samples import save_skipped
from iaat.train.trackers import Tracker, Trackers
from iaat.units import unit_of


def run_recipe(
    recipe: Recipe,
    run: RunFolder,
    reporter: Reporter,
    *,
    resume: bool = False,
    overwrite: bool = False,
    stop: Stop | None = None,
    trackers: Sequence[Tracker] = (),
) -> list[EvaluationResult]:
    """Train a recipe to the end, evaluate its best and last checkpoint on the test set, write radii and pictures.

    Where a launcher has started several processes, they train and evaluate together. The main one writes the pictures
    and informs trackers.

    Returns:
        The results of the two evaluations; nothing in other processes than the main one.

    Raises:
        UserError: the folder holds another run, or anything is wrong with recipe or data.
        Stopped: a stop was asked for; everything done is kept.
    """
    check_one_norm(recipe)
    with Trackers(trackers) as tracker, processes() as ranks:
        if resume and ranks.main and not run.has_results():
            reporter.say(f"new run in {run.path}")
        recipe = resolved(recipe, run if resume else None, longer=True)
        if ranks.main:
            report_radii(recipe, reporter)
        data = train(recipe, run, reporter, resume=resume, overwrite=overwrite, stop=stop, trackers=[tracker])
        evaluators = _evaluators(run, ranks, reporter)
        results = []
        if ranks.main or evaluators.several:
            shown = reporter if ranks.main else Reporter(quiet=True)
            results = _evaluate(run, recipe, data, shown, tracker, evaluators)
        # A launcher may take processes that end before the main one for a failure.
        ranks.wait_for_all()
    return results if ranks.main else []


def _evaluators(run: RunFolder, ranks: Ranks, reporter: Reporter) -> Ranks:
    """The processes that evaluate a run together: all, or the main one where not all see the run folder."""
    blind = not run.checkpoint("last").exists()
    if not ranks.any(blind)[0]:
        return ranks
    if ranks.main:
        reporter.say(f"some processes do not see {run.path}: the main one evaluates alone")
    return ALONE


def report_radii(recipe: Recipe, reporter: Reporter) -> None:
    """Print the radii that a recipe trains and evaluates at, and warn of unlikely ones."""
    if span := radius_span(recipe):
        reporter.say(f"attack radii: {span}")
    warn_of_radii(recipe)


def _evaluate(
    run: RunFolder, recipe: Recipe, data: DataSplits, reporter: Reporter, tracker: Tracker, ranks: Ranks
) -> list[EvaluationResult]:
    results, known = [], data.notices()
    for result in evaluate_checkpoints(run, recipe, data, reporter, ranks=ranks):
        tracker.evaluated(result)
        results.append(result)
    if not ranks.main:
        return results
    _report_test_set(run, data, known, reporter)
    write_pictures(run, recipe, data, reporter)
    return results


def _report_test_set(run: RunFolder, data: DataSplits, known: Notices, reporter: Reporter) -> None:
    """Report and keep the notices of reading a streamed test set."""
    notices = data.notices()
    notices.log(reporter.say, known=known, logged=reporter.shown_notices)
    run.save_notices(notices.to_records())
    save_skipped(run, data)


def write_pictures(run: RunFolder, recipe: Recipe, data: DataSplits, reporter: Reporter) -> list[Path]:
    """Write the table of radii (where the method has any) and all pictures; returns the pictures' files."""
    table = None
    if run.radii_epochs():
        table, _ = write_radii(run, data.train, training_predictions(run, recipe, data, reporter))
    uniform = getattr(recipe.method, "radius", None)
    norm = recipe.radius_norm
    return draw_run(run, data.train, table, None if uniform is None else unit_of(norm).scale * uniform, norm)
