"""A sweep file: cells with settings and grids become recipes under names of their own."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from iaat.config.deprecated import with_new_keys
from iaat.config.load_recipe import load_recipe
from iaat.config.recipe import Recipe
from iaat.config.recipe_files import check_is_recipe, check_keys, find_recipe, is_sweep_file, read_chain, recipe_name
from iaat.config.short_options import BOTH
from iaat.config.typed_arguments import read_settings
from iaat.errors import UserError, did_you_mean, shown
from iaat.experiments.sweep.cell import Cell
from iaat.experiments.sweep.seeds_and_names import check_seeds, count_seeds
from iaat.runtime.text import cut

KEYS = ("about", "extends", "seeds", "set", "curve", "cells")
"""Keys of a sweep."""
CELL_KEYS = ("recipe", "set", "grid")
"""Keys of one of its cells."""
_NAME = re.compile(r"\w[\w.+-]{0,149}")
_MOST_CELLS = 1000


def read_sweep(path: Path, overrides: Sequence[str], seeds: tuple[int, ...] | None, own_seed: bool) -> list[Cell]:
    """The cells of a sweep file, with overrides on top of every cell.

    Seeds are `seeds`, else those of the file, else that of the recipe; `own_seed`: the one that the overrides name.

    Raises:
        UserError: naming the file, the cell and the fix.
    """
    # Values name run folders as they are written: wd-1e-6, not wd-1e-06.
    place, files = f"sweep {path}", read_chain(path, _check_sweep, exponents=False)
    common = {key: value for file, raw in files for key, value in _settings(raw, f"sweep {file}").items()}
    bodies: dict[str, tuple[Path, object]] = {}
    for file, raw in files:
        if "cells" in raw:
            own_cells = _mapping(raw["cells"], f"sweep {file}: cells")
            bodies |= {str(name): (file, body) for name, body in own_cells.items()}
    if not bodies:
        raise UserError(f"{place}: has no cells: write such as cells: {{iaat: {{recipe: cifar10-small-iaat}}}}")
    top = {key: value for _, raw in files for key, value in raw.items()}
    own, curve = _seeds_of_file(top, place), None if top.get("curve") is None else str(top["curve"])
    cells = []
    for name, (file, body) in bodies.items():
        for recipe in _recipes_of_cell(file, name, body, common, overrides):
            used = (recipe.seed,) if own_seed else seeds or own or (recipe.seed,)
            cells.append(Cell(recipe, used, name, on_curve=name == curve))
    if curve is not None and sum(cell.on_curve for cell in cells) < 2:
        hint = "" if curve in bodies else did_you_mean(curve, bodies)
        raise UserError(f"{place}: curve {shown(curve)}: name a cell with a grid of at least 2 values{hint}")
    return cells


def _check_sweep(path: Path, raw: dict[str, Any]) -> str:
    if not is_sweep_file(raw):
        raise UserError(f"{path} is no sweep: recipes are named in cells")
    check_keys(raw, KEYS, f"sweep {path}")
    return f"sweep {path}"


def _recipes_of_cell(
    path: Path, name: str, body: object, common: Mapping[str, str], overrides: Sequence[str]
) -> Iterator[Recipe]:
    """The recipes of a cell, one for each point of its grid, under their names."""
    place = f"sweep {path}: cell {cut(name, 100)}"
    body = _mapping(body, place)
    check_keys(body, CELL_KEYS, place)
    if not isinstance(body.get("recipe"), str):
        raise UserError(f"{place}: has no recipe: name one that ships or a file, such as recipe: cifar10-small-iaat")
    own, grid = _settings(body, place), _grid(body, place)
    for key in grid:
        if key in own:
            raise UserError(f"{place}: {key} is both in set and in grid: keep one")
        if (option := _option_for(key, overrides)) is not None:
            raise UserError(
                f"--{option} cannot be set here: it is what the grid of cell {cut(name, 100)} varies, {key}; see {path}"
            )
    points = math.prod(map(len, grid.values()))
    if points > _MOST_CELLS:
        raise UserError(f"{place}: its grid has {points:,} points, more than {_MOST_CELLS:,}: give fewer values")
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        settings = [f"--{key}={value}" for key, value in {**common, **own, **point}.items()]
        full = _checked_name("-".join([name, *values]), place)
        try:
            found = find_recipe(body["recipe"], path.parent)
            check_is_recipe(found, f"recipe {cut(body['recipe'], 100)}")
            recipe = load_recipe(found, overrides, settings=settings)
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        method = recipe.name.removeprefix(recipe_name(found))  # where another was typed
        yield dataclasses.replace(recipe, name=full + method)


def _option_for(key: str, overrides: Sequence[str]) -> str | None:
    """The option among the overrides that sets a key, also by an older name, or with others as `--eps` does."""
    section, _, last = key.partition(".")
    of_both = last if section in ("method", "evaluate") and last in BOTH else None
    return next(
        (option for option in read_settings(overrides) if option == of_both or key in with_new_keys({option: ""})), None
    )


def _checked_name(name: str, place: str) -> str:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{place}: {shown(name)} is no name for a folder: use up to 150 letters, digits, . _ + - and begin with a "
            "letter or digit; write values such as 8px instead of 8/255"
        )
    return name


def _mapping(value: object, place: str) -> dict[Any, Any]:
    if not isinstance(value, dict) or not value:
        raise UserError(f"{place}: must be a mapping with at least one key, not {shown(value)}")
    return value


def _settings(body: Mapping[str, Any], place: str) -> dict[str, str]:
    """Section `set` as texts of the command line."""
    if body.get("set") is None:
        return {}
    return {
        _setting_key(key, f"{place}: set"): _text(value, f"{place}: set {key}")
        for key, value in _mapping(body["set"], f"{place}: set").items()
    }


def _grid(body: Mapping[str, Any], place: str) -> dict[str, list[str]]:
    """Section `grid` as texts of the command line."""
    if body.get("grid") is None:
        return {}
    grid = {}
    for key, values in _mapping(body["grid"], f"{place}: grid").items():
        key = _setting_key(key, f"{place}: grid")
        if not isinstance(values, list) or not values:
            raise UserError(f"{place}: grid {key}: give a list of values such as [2px, 4px], not {shown(values)}")
        grid[key] = [_text(value, f"{place}: grid {key}") for value in values]
    return grid


_LONGEST_KEY = 200


def _setting_key(key: object, place: str) -> str:
    if key == "seed":
        raise UserError(f"{place} seed: seeds are of the whole sweep; write seeds: 3, or seeds: [0, 1, 2], at the top")
    if len(str(key)) > _LONGEST_KEY:
        raise UserError(f"{place}: unknown key {shown(key)}")
    return str(key)


def _text(value: object, place: str) -> str:
    """A plain value as the command line has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float | str):
        return str(value)
    raise UserError(f"{place}: {shown(value)} is not a single value; write lists and mappings into a recipe")


def _seeds_of_file(raw: Mapping[str, Any], place: str) -> tuple[int, ...] | None:
    seeds, place = raw.get("seeds"), f"{place}: seeds"
    if seeds is None:
        return None
    if any(type(seed) is not int for seed in (seeds if isinstance(seeds, list) else [seeds])):
        raise UserError(f"{place} {shown(seeds)}: give their number, such as 3, or a list such as [0, 1, 2]")
    return check_seeds(seeds, place) if isinstance(seeds, list) else count_seeds(seeds, place)
