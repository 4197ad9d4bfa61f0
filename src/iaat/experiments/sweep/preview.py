"""Preview of cells before they are trained: differences of their schedules, and costs."""

from __future__ import annotations

from collections.abc import Sequence

from iaat.config.differences import PLACE_KEYS
from iaat.data import read_dataset_info
from iaat.experiments.cost import total_passes
from iaat.experiments.sweep.cell import Cell
from iaat.runtime.console_table import PlainTable, plain_table
from iaat.runtime.passes import Passes

# They change what a run leaves on disk, or where it is done, and nothing of the training.
_SAME_SCHEDULE = (PLACE_KEYS - {"data.root"}) | {"train.snapshot_every"}


def schedule_differences(cells: Sequence[Cell]) -> list[str]:
    """Settings of data, model and train in which cells differ, each with the values and a cell that has it.

    Methods are compared on the same schedule: what differs beside the method is part of the comparison.
    """
    values: dict[str, dict[str, str]] = {}
    for cell in cells:
        sections = cell.recipe.sections()
        for section in ("data", "model", "train"):
            for key, value in sections[section].items():
                values.setdefault(f"{section}.{key}", {}).setdefault(str(value), cell.name)
    return [
        f"{key} ({', '.join(f'{value} in {name}' for value, name in found.items())})"
        for key, found in values.items()
        if len(found) > 1 and key not in _SAME_SCHEDULE
    ]


def cost_of_cells(cells: Sequence[Cell]) -> PlainTable:
    """One line a cell: its seeds and what they will cost, for people.

    Raises:
        UserError: the data cannot be found.
    """
    table = plain_table("costs, at most; forwards and backwards of all seeds")
    table.add_column("cell", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for name, drop in (("seeds", 0), ("epochs", 2), ("passes/step", 1), ("forwards", 0), ("backwards", 0)):
        table.add_column(name, justify="right", drop=drop)
    for cell, used in zip(cells, _trained_samples(cells), strict=True):
        recipe, passes = cell.recipe, total_passes(cell.recipe)
        visits = used * recipe.train.epochs * len(cell.seeds)
        table.add_row(
            *(cell.name, recipe.method_name, tuple(map(str, cell.seeds)), str(recipe.train.epochs), _parts(passes)),
            *(f"{visits * passes.forward:.3g}", f"{visits * passes.backward:.3g}"),
        )
    return table


def _parts(passes: Passes) -> tuple[str, ...]:
    return tuple(str(passes).split())


def _trained_samples(cells: Sequence[Cell]) -> list[int]:
    """How many samples each cell trains on; every data set is looked at once."""
    configs = [cell.recipe.data for cell in cells]
    facts = {repr(config): config for config in configs}
    sizes = {key: read_dataset_info(config).trained(config) for key, config in facts.items()}
    return [sizes[repr(config)] for config in configs]
