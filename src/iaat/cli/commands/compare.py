"""`iaat compare`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from iaat.cli.next_command import as_before
from iaat.errors import UserError
from iaat.experiments.compare_runs import compare, run_cell
from iaat.experiments.comparison import Comparison
from iaat.experiments.parallel_runs import Jobs
from iaat.experiments.place_of_run import place_of_run
from iaat.experiments.sweep import Cell, read_cells, select_cells
from iaat.runs.run_folder import RunFolder, runs_in
from iaat.runtime.process_end import end_with_parent
from iaat.runtime.progress import Reporter
from iaat.train.tensorboard_tracker import TensorBoard

_THIS_COMMAND = (sys.executable, "-m", "iaat")


def compare_command(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    """Train and evaluate the runs of several recipes and print their table."""
    if options.no_train and options.tensorboard:
        raise UserError("--tensorboard is for what is trained, and --no-train trains nothing: leave one out")
    trackers = [TensorBoard()] if options.tensorboard else []
    cells = read_cells(options.recipes, overrides, options.seeds)
    cells = select_cells(cells, options.only) if options.only else cells
    if options.run:
        _run_of_comparison(options, cells, reporter, trackers)
        return
    if options.seeds and len(options.seeds) == 1 and (count := options.seeds[0]) > 1:
        alone = f"for seed {count} alone say --seed {count}"
        reporter.say(f"--seeds {count} is a number of seeds, 0 to {count - 1}; {alone}")
    options.runs += _runs_of(cells, options.out)
    found = compare(
        cells,
        options.out,
        reporter,
        checkpoint=options.checkpoint,
        weights=options.weights,
        training=not options.no_train,
        stop=options.stop,
        trackers=trackers,
        jobs=_jobs(options),
    )
    _print_comparison(found, options, overrides, reporter)


def _print_comparison(
    found: Comparison, options: argparse.Namespace, overrides: Sequence[str], reporter: Reporter
) -> None:
    reporter.result(found.table())
    if found.missing:
        reporter.result(f"not finished: {', '.join(found.missing)}")
    reporter.say(
        f"all columns: {options.out / 'comparison.md'}, comparison.json    picture: {options.out / 'frontier.png'}"
    )
    if found.failed:
        raise UserError(f"{', '.join(found.failed)} failed; the same command goes on with what is missing")
    if found.missing:
        reporter.next_step("iaat", *(argument for argument in options.arguments if argument != "--no-train"))
    else:
        runs = _runs_of(found.cells, options.out)
        whole = len(runs) > 1 and {run.path for run in runs_in(options.out)} == {run.path for run in runs}
        folders = [str(options.out)] if whole else [str(run.path) for run in runs]
        page = ("-o", str(options.out / "report.html"))
        reporter.next_step("iaat", "report", *folders, *page, *as_before(options, overrides))


def _jobs(options: argparse.Namespace) -> Jobs | None:
    """Several runs at once, by this command for one run each; None where they follow each other."""
    if options.jobs < 1:
        raise UserError(f"--jobs {options.jobs}: a number of runs at once, 1 or more")
    if options.jobs > 1 and options.no_train:
        raise UserError("--jobs is for what is trained and evaluated, and --no-train trains nothing: leave one out")
    if options.jobs == 1:
        return None
    return Jobs(options.jobs, lambda cell, seed: [*_THIS_COMMAND, *options.arguments, "--run", cell, str(seed)])


def _run_of_comparison(
    options: argparse.Namespace, cells: Sequence[Cell], reporter: Reporter, trackers: Sequence[TensorBoard]
) -> None:
    """Train and evaluate one run for the process that compares it."""
    end_with_parent()
    (cell,) = (each for each in cells if each.name == options.run[0])
    recipe = cell.seeded(int(options.run[1]))
    settings = {"checkpoint": options.checkpoint, "weights": options.weights, "stop": options.stop}
    run_cell(recipe, options.out, reporter, trackers=trackers, **settings)


def _runs_of(cells: Sequence[Cell], out: Path) -> list[RunFolder]:
    return [place_of_run(cell.seeded(seed), out) for cell in cells for seed in cell.seeds]
