"""`iaat train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from iaat.cli.next_command import as_before
from iaat.config.load_recipe import load_recipe
from iaat.errors import UserError
from iaat.evaluate import results_table
from iaat.evaluate.table_rows import table_rows
from iaat.experiments.place_of_run import place_of_run
from iaat.experiments.run_recipe import run_recipe
from iaat.runs.run_folder import RunFolder
from iaat.runtime.progress import Reporter
from iaat.train.tensorboard_tracker import TensorBoard


def train_command(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    """Train a recipe and print its results."""
    if options.resume and options.overwrite:
        raise UserError("--resume and --overwrite exclude each other")
    trackers = [TensorBoard()] if options.tensorboard else []
    recipe = load_recipe(options.recipe, overrides)
    run = RunFolder(options.out) if options.out else place_of_run(recipe, Path("runs"))
    options.runs.append(run)
    rows = run_recipe(
        *(recipe, run, reporter),
        resume=options.resume,
        overwrite=options.overwrite,
        stop=options.stop,
        trackers=trackers,
    )
    if rows:
        reporter.result(results_table(table_rows(rows)))
        reporter.say(f"run folder: {run.path}    pictures: {run.pictures}")
        reporter.next_step("iaat", "evaluate", str(run.path), "--suite", "standard", *as_before(options, overrides))
