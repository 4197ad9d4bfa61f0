"""`iaat check`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from iaat.cli.next_command import as_before
from iaat.config.load_recipe import load_recipe
from iaat.config.radius_range import warn_of_radii
from iaat.data import DataConfig, check_all_samples, read_dataset_info
from iaat.data.check_data import DataCheck
from iaat.data.read_splits import warn_ignored
from iaat.errors import UserError
from iaat.experiments.cost import cost_table
from iaat.experiments.shorter import shorter_by
from iaat.experiments.sweep import cost_of_cells, is_sweep, read_cells, time_of_cells
from iaat.experiments.timing import time_steps
from iaat.experiments.timing_table import timing_table, training_seconds
from iaat.runtime.device import warn_of_missing_device
from iaat.runtime.progress import Reporter
from iaat.types import Batch


def check_command(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    """Print what a recipe or sweep would do and cost; nothing is trained."""
    if options.processes is not None and not options.probe:
        raise UserError(f"--processes {options.processes} is for --probe: add it, or leave this out")
    if is_sweep(options.recipe):
        _check_sweep(options, overrides, reporter)
        return
    recipe = load_recipe(options.recipe, overrides)
    # Before anything that ends at the first sample that cannot be read.
    checked = _check_data(recipe.data, reporter) if options.data else None
    warn_ignored(recipe.data)
    facts = read_dataset_info(recipe.data, seed=recipe.seed)
    costs = cost_table(recipe, facts)  # before the long recipe, so that a mistake stands alone
    reporter.result(recipe.to_yaml())
    if checked is not None:
        _report_data(checked, reporter)
    reporter.result(costs)
    warn_of_radii(recipe)
    warn_of_missing_device(recipe.train.device)
    if not options.data:
        facts.notices.log(reporter.result)
    if options.probe:
        reporter.say(f"timing training steps of at most {recipe.train.batch_size} samples: some 20 seconds")
        found = time_steps(recipe, facts, processes=_processes(options))
        reporter.result(timing_table(recipe, facts, found))
        seconds = training_seconds(recipe, facts, found)
        if advice := shorter_by(recipe, facts, seconds, on_cpu=found.device.type == "cpu"):
            reporter.say(advice)
    reporter.next_step("iaat", "train", options.recipe, *options.typed, *as_before(options, []))


def _check_sweep(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    if options.data:
        raise UserError(
            f"--data reads the data of one recipe, and {options.recipe} is a sweep: name a recipe of its cells"
        )
    cells = read_cells([options.recipe], overrides)
    reporter.result(cost_of_cells(cells))
    for device in {cell.recipe.train.device for cell in cells}:
        warn_of_missing_device(device)
    if options.probe:
        reporter.result(time_of_cells(cells, processes=_processes(options), say=reporter.say))
        reporter.next_step("iaat", "compare", options.recipe, *options.typed, *as_before(options, []))
    else:
        reporter.say("hours on this machine: --probe")
        reporter.next_step("iaat", "check", options.recipe, *options.typed, "--probe", *as_before(options, []))


def _processes(options: argparse.Namespace) -> int:
    return 1 if options.processes is None else int(options.processes)


def _check_data(config: DataConfig, reporter: Reporter) -> DataCheck:
    """Read every sample, and list those that cannot be read.

    Raises:
        UserError: There are such.
    """

    def track(batches: Iterator[Batch], total: int, what: str) -> Iterator[Batch]:
        return reporter.track(batches, total=total, what=what, size=lambda batch: len(batch.y))

    found = check_all_samples(config, track)
    if found.faulty:
        found.notices.log(reporter.result)
        for reason in found.faulty:
            reporter.result(reason)
        raise UserError(
            f"{len(found.faulty):,} of {found.size:,} samples cannot be used: repair or remove them, or let"
            f" data.skip_damaged {len(found.faulty)} go on without those that cannot be read"
        )
    return found


def _report_data(found: DataCheck, reporter: Reporter) -> None:
    found.notices.log(reporter.result)
    reporter.result(f"all {found.size:,} samples can be read")
