"""Recipes and sweep files become the cells of a comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from iaat.config.load_recipe import load_recipe
from iaat.config.recipe import Recipe
from iaat.config.recipe_files import find_recipe, is_sweep_file, read_recipe
from iaat.config.typed_arguments import read_settings
from iaat.errors import UserError, did_you_mean
from iaat.experiments.sweep.cell import Cell
from iaat.experiments.sweep.seeds_and_names import check_seeds, count_seeds, first_repeated
from iaat.experiments.sweep.sweep_file import read_sweep

UNIFORM = "pgd_at"
"""The method of one radius for all samples: its recipes make the curve to beat."""


def read_cells(sources: Sequence[str], overrides: Sequence[str] = (), seeds: Sequence[int] | None = None) -> list[Cell]:
    """Read recipes and sweeps, and check all of them.

    Args:
        sources: Names of shipped recipes, files of recipes, files of sweeps.
        overrides: `--section.key=value` arguments, on top of every cell; `--seed=7` trains that one seed.
        seeds: Values of `--seeds`: a number of seeds, or the seeds themselves; by default those of the sweep or recipe.

    Raises:
        UserError: naming the file, the cell and the fix.
    """
    one = read_settings(overrides).get("seed")
    if seeds is not None and one is not None:
        raise UserError(
            f"--seeds and --seed exclude each other: --seed {one} trains that one seed, --seeds 3 trains 0, 1 and 2"
        )
    wanted = None
    if seeds is not None:  # one number is how many
        wanted = count_seeds(seeds[0], "--seeds") if len(seeds) == 1 else check_seeds(seeds, "--seeds")
    cells = [cell for source in sources for cell in _read_source(source, overrides, wanted, one is not None)]
    if twice := first_repeated([cell.name.casefold() for cell in cells]):
        raise UserError(f"two cells would share the run folders {twice}-seedN: rename one of the recipes or cells")
    return _with_curve(cells)


def select_cells(cells: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
    """The cells of these names, or of these grids.

    Raises:
        UserError: a name that none has.
    """
    known = list(dict.fromkeys(name for cell in cells for name in (cell.family, cell.name)))
    for name in names:
        if name not in known:
            raise UserError(f"--only {name}: no such cell{did_you_mean(name, known)}; there are {', '.join(known)}")
    return [cell for cell in cells if cell.name in names or cell.family in names]


def is_sweep(source: str) -> bool:
    """Whether a name or file is a sweep and not a recipe.

    Raises:
        UserError: there is no such file, or it is neither.
    """
    return is_sweep_file(read_recipe(find_recipe(source)))


def _read_source(source: str, overrides: Sequence[str], seeds: tuple[int, ...] | None, own_seed: bool) -> list[Cell]:
    if is_sweep(source):
        return read_sweep(find_recipe(source), overrides, seeds, own_seed)
    recipe = load_recipe(source, overrides)
    return [Cell(recipe, seeds or (recipe.seed,), recipe.name)]


def _with_curve(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, with the curve that no sweep has named: recipes of one radius that differ in nothing else."""
    named = {cell.family for cell in cells if cell.on_curve}
    if len(named) > 1:
        raise UserError(f"two sweeps name a curve ({', '.join(sorted(named))}): keep the key curve in one of them")
    if named:
        return list(cells)
    twins: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.recipe.method_name == UNIFORM and cell.recipe.method.radii is None:  # given radii are a control
            twins.setdefault(_without_radius(cell.recipe), []).append(cell)
    groups = [group for group in twins.values() if len({cell.recipe.method.radius for cell in group}) > 1]
    if len(groups) != 1:
        return list(cells)
    return [dataclasses.replace(cell, on_curve=cell in groups[0]) for cell in cells]


def _without_radius(recipe: Recipe) -> str:
    sections = recipe.sections()
    del sections["method"]["radius"]
    return repr(sections)
