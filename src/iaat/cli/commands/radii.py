"""`iaat radii`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from iaat.analysis import class_summary
from iaat.analysis.tables import table_suffix
from iaat.cli.next_command import as_before
from iaat.config.differences import LOCATION_KEYS
from iaat.config.load_recipe import CODE_OF_IMAGES
from iaat.config.setting_keys import check_allowed
from iaat.data import build_data
from iaat.evaluate.training_predictions import training_predictions
from iaat.report.run_figures import epoch_with_radii, write_radii
from iaat.runs.run_folder import RunFolder
from iaat.runtime.console_table import PlainTable
from iaat.runtime.device import pick_device
from iaat.runtime.progress import Reporter
from iaat.units import PX_PER_UNIT, Norm, format_radius

_DROPPED = {"p25_px": 1, "p75_px": 1, "p5_px": 2, "p95_px": 2, "fraction_at_zero": 3}
"""Columns of the summary of radii that a narrow terminal goes without, the first first."""


def radii_command(options: argparse.Namespace, overrides: list[str], reporter: Reporter) -> None:
    """Write the table of the radii of a run and print its summary."""
    check_allowed(overrides, LOCATION_KEYS, "a finished run keeps its recipe")
    run = RunFolder(options.folder)
    recipe = run.recipe(overrides, code=CODE_OF_IMAGES)
    epoch_with_radii(run, options.epoch)  # before the training set is read and predicted
    if options.out is not None:
        table_suffix(options.out)
    device = pick_device(recipe.train.device)
    data = build_data(recipe.data, seed=recipe.seed, device=device, reporter=reporter)
    # Only the last epoch's model is kept: the predictions of earlier ones are not known.
    last = options.epoch in (None, *run.radii_epochs()[-1:])
    prediction = training_predictions(run, recipe, data, reporter) if last else None
    table, file = write_radii(run, data.train, prediction, options.epoch, options.out)
    norm = recipe.radius_norm
    reporter.result(summary_table(class_summary(table), table["epoch"][0].as_py(), norm))
    reporter.say(f"{table.num_rows} rows: {file}")
    reporter.next_step("iaat", "report", str(run.path), *as_before(options, overrides))


def summary_table(rows: Sequence[dict[str, object]], epoch: int, norm: Norm = "linf") -> PlainTable:
    """One line a class: figures of its radii after an epoch, and how many of its samples are classified correctly."""
    known = any(row["accuracy"] is not None for row in rows)
    table = PlainTable(
        f"radii after epoch {epoch}, {'in px (1/255)' if norm == 'linf' else 'L2 norm'}",
        "correct: of the training images without attack, by the last model" if known else None,
    )
    columns = {
        "class": "class", "count": "n", "mean_px": "mean", "p5_px": "5 %", "p25_px": "25 %", "p50_px": "median",
        "p75_px": "75 %", "p95_px": "95 %", "fraction_at_zero": "at 0", "accuracy": "correct",
    }  # fmt: skip
    for key, heading in columns.items():
        table.add_column(heading, justify="left" if key == "class" else "right", drop=_DROPPED.get(key, 0))
    for row in rows:
        table.add_row(*(_cell(key, row[key], norm) for key in columns), style="bold" if row["class_id"] is None else "")
    return table


def _cell(key: str, value: object, norm: Norm) -> str:
    if isinstance(value, float):
        if key in ("fraction_at_zero", "accuracy"):
            return f"{value:.1%}"
        return format_radius(value / PX_PER_UNIT, norm).removesuffix("px")
    return "-" if value is None else str(value)
