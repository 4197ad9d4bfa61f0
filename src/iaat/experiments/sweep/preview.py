"""Preview of cells before they are trained: differences of their schedules, costs, and time on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iaat.config.differences import PLACE_KEYS
from iaat.config.recipe import Recipe
from iaat.data import DatasetInfo, read_dataset_info
from iaat.errors import UserError
from iaat.experiments.check_recipe import check_recipes
from iaat.experiments.cost import total_passes, visits
from iaat.experiments.sweep.cell import Cell
from iaat.experiments.timing import StepTiming, time_steps
from iaat.experiments.timing_table import SCALED, TIMING_CAPTION, format_total, training_seconds
from iaat.runtime.console_table import PlainTable
from iaat.runtime.passes import Passes
from iaat.runtime.text import format_duration

# They change what a run leaves on disk, or where it is done, and nothing of the training. Runs may change their place
# while they are under way, but two of them are not alike with other images, labels, or parts for BatchNorm.
_SAME_SCHEDULE = PLACE_KEYS - {"data.root", "data.extra", "data.relabel", "train.accumulate"} | {"train.snapshot_every"}


def schedule_differences(cells: Sequence[Cell]) -> list[str]:
    """Settings of data, model and train in which cells differ, each with the values and a cell that has it.

    Methods are compared on the same schedule: what differs beside the method is part of the comparison.
    """
    values: dict[str, dict[str, str]] = {}
    for cell in cells:
        for key, value in cell.recipe.dotted().items():
            if key.startswith(("data.", "model.", "train.")):
                values.setdefault(key, {}).setdefault(str(value), cell.name)
    return [
        f"{key} ({', '.join(f'{value} in {name}' for value, name in found.items())})"
        for key, found in values.items()
        if len(found) > 1 and key not in _SAME_SCHEDULE
    ]


def cost_of_cells(cells: Sequence[Cell]) -> PlainTable:
    """One line a cell: its seeds and what they will cost; below them the sum of all runs, for people.

    Raises:
        UserError: anything in the settings that would stop a run, as far as it can be known before samples are read.
    """
    table = PlainTable("costs, at most; forwards and backwards of all seeds")
    table.add_column("cell", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for name, drop in (("seeds", 0), ("epochs", 2), ("passes/step", 1), ("forwards", 0), ("backwards", 0)):
        table.add_column(name, justify="right", drop=drop)
    sums = Passes(0, 0)
    checked = check_recipes([cell.recipe for cell in cells])
    for cell, facts in zip(cells, checked, strict=True):
        recipe, passes = cell.recipe, total_passes(cell.recipe)
        seen = visits(recipe, facts) * recipe.train.epochs * len(cell.seeds)
        own = Passes(seen * passes.forward, seen * passes.backward)
        sums = Passes(sums.forward + own.forward, sums.backward + own.backward)
        table.add_row(
            *(
                cell.name,
                recipe.method_name,
                tuple(map(str, cell.seeds)),
                str(recipe.train.epochs),
                tuple(str(passes).split()),
            ),
            *_counts(own),
        )
    table.add_row(_all_runs(cells), "", "", "", "", *_counts(sums), style="bold")
    return table


def time_of_cells(cells: Sequence[Cell], *, processes: int, say: Callable[[str], None]) -> PlainTable:
    """One line a cell: seconds of a step on this machine, hours of a run and of all seeds; below them the total.

    Cells that differ in radius, loss weights and seeds alone are timed once, at the largest radius. `say` gets a line
    before each timing, which takes some 20 seconds.

    Raises:
        UserError: as `time_steps`, naming the cell; or the data cannot be found.
    """
    facts = _facts(cells)
    found = _timings(cells, facts, processes, say)
    places = ", ".join(sorted({timing.place for timing in found}))
    caption = f"{TIMING_CAPTION} Cells that differ in radius or loss weights alone were timed once."
    scaled = [cell.name for cell, timing in zip(cells, found, strict=True) if timing.timed < timing.samples]
    caption += f" {SCALED} So it is of {len(scaled)} of {len(cells)} cells." if scaled else ""
    table = PlainTable(f"probe: {processes} process{'es' if processes > 1 else ''} on {places}", caption)
    table.add_column("cell", no_wrap=True)
    for name, drop in (("a step", 1), ("steps", 2), ("a run", 0), ("runs", 0), ("all its runs", 0)):
        table.add_column(name, justify="right", drop=drop)
    total = 0.0
    for cell, info, timing in zip(cells, facts, found, strict=True):
        recipe, runs = cell.recipe, len(cell.seeds)
        seconds = training_seconds(recipe, info, timing)
        total += runs * seconds
        steps = len(info.batch_sizes(recipe.data, recipe.train.batch_size)) * recipe.train.epochs
        table.add_row(
            *(cell.name, format_duration(timing.step_seconds), f"{steps:,}", format_duration(seconds), str(runs)),
            format_duration(runs * seconds),
        )
    table.add_row(_all_runs(cells), "", "", "", "", format_total(total, found[0]), style="bold")
    return table


def _timings(
    cells: Sequence[Cell], facts: Sequence[DatasetInfo], processes: int, say: Callable[[str], None]
) -> list[StepTiming]:
    """The timing of each cell, that of the largest radius for all that are timed alike."""
    found: dict[str, StepTiming] = {}
    keys = [_timed_alike(cell.recipe) for cell in cells]
    largest_first = sorted(zip(keys, cells, facts, strict=True), key=lambda each: -_radius(each[1].recipe))
    for key, cell, info in largest_first:
        if key not in found:
            say(f"timing steps of {cell.name}")
            try:
                found[key] = time_steps(cell.recipe, info, processes=processes)
            except UserError as error:
                raise UserError(f"cell {cell.name}: {error}") from None
    return [found[key] for key in keys]


def _timed_alike(recipe: Recipe) -> str:
    """Key of cells with equal steps: all settings of training but the radius and what weighs losses."""
    sections = recipe.sections()
    weights = {key for key, value in sections["method"].items() if type(value) is float}
    method = {key: value for key, value in sections["method"].items() if key not in {"radius", *weights}}
    # A weight of 0 leaves out what it weighs.
    others = [sections[name] for name in ("data", "model", "train")]
    return repr((recipe.method_name, method, total_passes(recipe), others))


def _radius(recipe: Recipe) -> float:
    return float(getattr(recipe.method, "radius", 0.0))


def _all_runs(cells: Sequence[Cell]) -> str:
    runs = sum(len(cell.seeds) for cell in cells)
    return f"all {runs} runs"


def _counts(passes: Passes) -> tuple[str, str]:
    return f"{passes.forward:.3g}", f"{passes.backward:.3g}"


def _facts(cells: Sequence[Cell]) -> list[DatasetInfo]:
    """What is known of each cell's data; every data set is looked at once."""
    configs = {repr(cell.recipe.data): cell.recipe.data for cell in cells}
    facts = {key: read_dataset_info(config) for key, config in configs.items()}
    return [facts[repr(cell.recipe.data)] for cell in cells]
