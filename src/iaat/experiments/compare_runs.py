"""Train, evaluate and compare the runs of several recipes."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path

from iaat.config.recipe import Recipe
from iaat.data import DataSplits, build_data
from iaat.errors import UserError
from iaat.evaluate.evaluate_run import evaluate_checkpoint, weights_to_evaluate
from iaat.evaluate.results import EvaluationResult, Weights
from iaat.evaluate.stored_results import stored_results
from iaat.experiments.check_recipe import check_recipes
from iaat.experiments.comparison import Comparison
from iaat.experiments.cost import total_passes
from iaat.experiments.parallel_runs import Job, Jobs, run_jobs
from iaat.experiments.place_of_run import place_of_run
from iaat.experiments.resolved_recipe import check_one_norm, data_key, resolved
from iaat.experiments.run_recipe import report_radii, write_pictures
from iaat.experiments.sweep import Cell, schedule_differences
from iaat.runs.checkpoint import DamagedCheckpoint, load_checkpoint
from iaat.runs.data_record import check_same_data
from iaat.runs.run_folder import RunFolder
from iaat.runtime.device import pick_device
from iaat.runtime.progress import Reporter
from iaat.runtime.signals import Stop
from iaat.train import train
from iaat.train.trackers import Tracker, Trackers


def compare(
    cells: Sequence[Cell],
    out: Path,
    reporter: Reporter,
    *,
    checkpoint: str = "best",
    weights: str = "ema",
    training: bool = True,
    stop: Stop | None = None,
    trackers: Sequence[Tracker] = (),
    jobs: Jobs | None = None,
) -> Comparison:
    """Train and evaluate every run that is not finished, and write the comparison.

    Finished runs are read, or evaluated where their evaluation is missing; interrupted ones are resumed.

    Args:
        cells: The recipes to compare, one row each.
        out: Folder of the run folders, of `comparison.json`, `comparison.md` and `frontier.png`.
        reporter: Shows progress.
        checkpoint: Which of a run's checkpoints to compare, `best` or `last`.
        weights: Which of a run's weights to compare, one of `iaat.config.choices.WEIGHTS`.
        training: Train runs that are not finished; else leave them out, and name them in `missing`.
        stop: Asked after every training step whether to save and stop.
        trackers: Trackers of every run that is trained and evaluated, one after another.
        jobs: Several runs at once, each trained and evaluated by a process of its own; None: one after another, in
            this process.

    Raises:
        UserError: anything that would stop one of the runs, found before the first is trained; or nothing to show.
    """
    _check_comparable(cells)
    if jobs is not None:
        _check_devices(cells, jobs)
    runs = [_checked(recipe, place_of_run(recipe, out), training) for recipe in _all(cells)]
    if training:
        check_recipes([recipe for recipe, run in runs if not run.has_results()])
    if differing := schedule_differences(cells):
        warnings.warn(f"not on the same schedule: recipes differ in {'; '.join(differing)}", stacklevel=2)
    evaluator = _RunEvaluator(checkpoint, weights, reporter, stop, trackers)
    failed = _run_jobs(runs, evaluator, jobs, reporter) if training and jobs is not None else {}
    rows, missing = _rows(runs, evaluator, failed, reporter, training)
    if not rows:
        fix = "" if training else ". Leave out --no-train to train"
        raise UserError(f"none of these runs is finished in {out}: {'; '.join(missing)}{fix}")
    comparison = Comparison(cells, rows, missing, failed)
    comparison.write(out)
    return comparison


def _run_jobs(
    runs: Sequence[tuple[Recipe, RunFolder]], evaluator: _RunEvaluator, jobs: Jobs, reporter: Reporter
) -> dict[str, str]:
    """Run those without results in processes of their own; returns why runs failed, by their names."""
    todo = [(recipe, run) for recipe, run in runs if not evaluator.has_results(recipe, run)]
    commands = [Job(run.path.name, jobs.command(recipe.name, recipe.seed)) for recipe, run in todo]
    return run_jobs(commands, jobs.at_once, reporter)


def _rows(
    runs: Sequence[tuple[Recipe, RunFolder]],
    evaluator: _RunEvaluator,
    failed: Mapping[str, str],
    reporter: Reporter,
    training: bool,
) -> tuple[list[EvaluationResult], list[str]]:
    """The results of runs, which are trained and evaluated if `training`, and lines on those that have none."""
    rows: list[EvaluationResult] = []
    missing: list[str] = []
    with reporter.notices_once():
        for number, ((recipe, run), span) in enumerate(zip(runs, _spans(runs), strict=True), start=1):
            if run.path.name in failed:
                missing.append(f"{run.path.name} (failed: {failed[run.path.name]})")
            elif training or is_finished(recipe, run):
                reporter.say(f"run {number}/{len(runs)}: {run.path}")
                with reporter.part("run", number, len(runs), span), _named(run):
                    rows += evaluator.results(recipe, run)
            else:
                missing.append(_progress(recipe, run))
    return rows, missing


def run_cell(
    recipe: Recipe,
    out: Path,
    reporter: Reporter,
    *,
    checkpoint: str,
    weights: str,
    stop: Stop | None = None,
    trackers: Sequence[Tracker] = (),
) -> None:
    """Train and evaluate one run of a comparison, as far as that is not done; the arguments are those of `compare`.

    Raises:
        UserError: anything that stops the run.
        Stopped: a stop was asked for.
    """
    run = place_of_run(recipe, out)
    _RunEvaluator(checkpoint, weights, reporter, stop, trackers).results(*_checked(recipe, run, training=True))


@contextmanager
def _named(run: RunFolder) -> Iterator[None]:
    """Errors name the run: another of the comparison may have another recipe and other data."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{run.path.name}: {error}") from error


def _spans(runs: Sequence[tuple[Recipe, RunFolder]]) -> list[tuple[float, float]]:
    """Begin and end of each run as fractions of the passes that are left to train."""
    passes = [(0.0 if is_finished(recipe, run) else _passes(recipe)) for recipe, run in runs]
    ends = [done / (sum(passes) or 1.0) for done in accumulate(passes, initial=0.0)]
    return list(pairwise(ends))


def _passes(recipe: Recipe) -> float:
    cost = total_passes(recipe)
    return (cost.forward + cost.backward) * recipe.train.epochs


def _all(cells: Sequence[Cell]) -> list[Recipe]:
    """The recipe of every run; one seed of all cells before the next of any, so that finished runs are comparable."""
    seeds = dict.fromkeys(seed for cell in cells for seed in cell.seeds)
    return [cell.seeded(seed) for seed in seeds for cell in cells if seed in cell.seeds]


def _check_comparable(cells: Sequence[Cell]) -> None:
    first = cells[0].recipe
    for cell in cells:
        if cell.recipe.evaluate != first.evaluate:
            raise UserError(
                f"recipes {first.name} and {cell.name} are evaluated by different attacks (section evaluate): give one "
                "for all, such as --evaluate.radius 8px --evaluate.steps 20"
            )


def _check_devices(cells: Sequence[Cell], jobs: Jobs) -> None:
    for cell in cells:
        if (device := cell.recipe.train.device).startswith("cuda:"):
            raise UserError(
                f"--jobs {jobs.at_once}: train.device {device} of {cell.name} is one GPU for all runs, and each run "
                "sees one GPU of its own: give train.device cuda"
            )


def _checked(recipe: Recipe, run: RunFolder, training: bool) -> tuple[Recipe, RunFolder]:
    """Check a run before the first of all is trained; returns its recipe with the number format decided."""
    check_one_norm(recipe)
    if training and not run.has_results():
        run.check_free(overwrite=False)
    return resolved(recipe, run), run


def is_finished(recipe: Recipe, run: RunFolder) -> bool:
    """Whether the last epoch of the recipe was trained and saved in the folder."""
    if not run.checkpoint("last").exists():
        return False
    # The log may be an epoch ahead of the checkpoint, or damaged. A damaged checkpoint is repaired by going on.
    try:
        return bool(load_checkpoint(run.checkpoint("last"))["epoch"] >= recipe.train.epochs)
    except DamagedCheckpoint:
        return False


def _progress(recipe: Recipe, run: RunFolder) -> str:
    done = run.epochs_done(recipe.train.epochs) if run.has_results() else 0
    begun = "no epoch finished" if run.path.exists() else "not begun"
    return f"{run.path.name} ({f'epoch {done} of {recipe.train.epochs}' if done else begun})"


class _RunEvaluator:
    """Trains runs to their end and reads or makes their results; data of several runs is read once."""

    def __init__(
        self, checkpoint: str, weights: str, reporter: Reporter, stop: Stop | None, trackers: Sequence[Tracker]
    ) -> None:
        self._checkpoint, self._weights, self._reporter, self._stop = checkpoint, weights, reporter, stop
        self._trackers = trackers
        self._data: dict[str, DataSplits] = {}

    def has_results(self, recipe: Recipe, run: RunFolder) -> bool:
        """Whether a run is trained to its end and evaluated."""
        stored = (
            stored_results(run, self._checkpoint, recipe.evaluate, weights=each)
            for each in weights_to_evaluate(recipe, self._weights)
        )
        return is_finished(recipe, run) and None not in stored

    def results(self, recipe: Recipe, run: RunFolder) -> list[EvaluationResult]:
        """One row for each kind of weights, under the recipe's name."""
        with Trackers(self._trackers) as tracker:
            if not is_finished(recipe, run):
                resume = run.has_results()
                report_radii(recipe, self._reporter)
                data = train(recipe, run, self._reporter, resume=resume, stop=self._stop, trackers=[tracker])
                write_pictures(run, recipe, data, self._reporter)
                self._data = {data_key(recipe): data}
            else:
                self._check_data(recipe, run)
            rows = [self._row(recipe, run, weights) for weights in weights_to_evaluate(recipe, self._weights)]
            for row in rows:
                tracker.evaluated(row)
        return [dataclasses.replace(row, run=recipe.name, trained_norm=recipe.radius_norm) for row in rows]

    def _check_data(self, recipe: Recipe, run: RunFolder) -> None:
        """Refuse a finished run that was trained on other extra images or labels than the recipe asks for.

        Where the settings are the same, nothing is read: a table can be made without the data.
        """
        mine, theirs = recipe.data, run.recipe(code=()).data
        if (mine.extra, mine.relabel) != (theirs.extra, theirs.relabel):
            check_same_data(load_checkpoint(run.checkpoint("last"))["data"], self._read(recipe))

    def _row(self, recipe: Recipe, run: RunFolder, weights: Weights | None) -> EvaluationResult:
        stored = stored_results(run, self._checkpoint, recipe.evaluate, weights=weights)
        if stored is not None:
            return stored
        data = self._read(recipe)
        return evaluate_checkpoint(run, recipe, self._checkpoint, data, self._reporter, weights=weights)

    def _read(self, recipe: Recipe) -> DataSplits:
        key = data_key(recipe)
        if key not in self._data:
            self._data.clear()  # before the next is read: two would not fit where one is large
            device = pick_device(recipe.train.device)
            self._data[key] = build_data(recipe.data, seed=recipe.seed, device=device, reporter=self._reporter)
        return self._data[key]
