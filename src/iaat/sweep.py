"""Sweeps: recipes, and files of cells that vary them, become the runs of a comparison."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from iaat.config import Recipe, find_recipe, load_recipe, read_recipe
from iaat.costs import total_passes
from iaat.data import data_facts
from iaat.errors import UserError, did_you_mean
from iaat.evaluate import plain_table
from iaat.run import PLACE_KEYS

KEYS = ("about", "seeds", "set", "curve", "cells")
"""Keys of a sweep."""

CELL_KEYS = ("recipe", "set", "grid")
"""Keys of one of its cells."""

UNIFORM = "pgd_at"
"""The method of one radius for all samples, whose recipes make the curve to beat."""

_NAME = re.compile(r"\w[\w.+-]*")
# They change what a run leaves on disk, or where it is done, and nothing it learns.
_SAME_SCHEDULE = (PLACE_KEYS - {"data.root"}) | {"train.snapshot_every"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of a comparison: a recipe that is trained with several seeds.

    Attributes:
        recipe: What is trained, under the cell's name.
        seeds: With which seeds.
        family: Name it shares with the cells of the same grid.
        on_curve: Whether it is a point of the curve that the others are held against.
    """

    recipe: Recipe
    seeds: tuple[int, ...]
    family: str
    on_curve: bool = False

    @property
    def name(self) -> str:
        """What tables and run folders call it."""
        return self.recipe.name

    def seeded(self, seed: int) -> Recipe:
        """The recipe of one of its runs."""
        return dataclasses.replace(self.recipe, seed=seed)


def read_cells(sources: Sequence[str], overrides: Sequence[str] = (), seeds: Sequence[int] | None = None) -> list[Cell]:
    """Read recipes and sweeps, and check all of them.

    Args:
        sources: Names of shipped recipes, files of recipes, files of sweeps.
        overrides: `--section.key=value` words, on top of every cell; `--seed=7` trains that one seed.
        seeds: As `--seeds` has them: their number, or several by name; by default those of the sweep, or the recipe's.

    Raises:
        UserError: naming the file, the cell and the fix.
    """
    one = _option_value(overrides, "--seed")
    if seeds is not None and one is not None:
        raise UserError(
            f"--seeds and --seed exclude each other: --seed {one} trains that one seed, --seeds 3 trains 0, 1 and 2"
        )
    wanted = None if seeds is None else seeds_of_option(seeds)
    cells = [cell for source in sources for cell in _read_source(source, overrides, wanted, one is not None)]
    if twice := _first_repeated([cell.name.casefold() for cell in cells]):
        raise UserError(f"two cells would share the run folders {twice}-seedN: rename one of the recipes or cells")
    return _with_curve(cells)


def seeds_of_option(values: Sequence[int]) -> tuple[int, ...]:
    """The seeds that `--seeds` means: one number is how many, counted from 0; several are the seeds themselves.

    Raises:
        UserError: none, a negative one, or one that is named twice.
    """
    return _count_seeds(values[0], "--seeds") if len(values) == 1 else _check_seeds(values, "--seeds")


def _count_seeds(number: int, place: str) -> tuple[int, ...]:
    if number < 1:
        raise UserError(
            f"{place} {number}: a single number says how many seeds, at least 1; for one seed by its number write "
            "--seed, such as --seed 0"
        )
    return tuple(range(number))


def _check_seeds(values: Sequence[int], place: str) -> tuple[int, ...]:
    if not values or any(seed < 0 for seed in values):
        raise UserError(f"{place} {' '.join(map(str, values)) or '[]'}: give seeds of 0 and above, such as 0, 1 and 2")
    if (twice := _first_repeated(values)) is not None:
        raise UserError(f"{place}: seed {twice} is named twice")
    return tuple(values)


def only(cells: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
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
    return "cells" in read_recipe(find_recipe(source))


def _read_source(source: str, overrides: Sequence[str], seeds: tuple[int, ...] | None, own_seed: bool) -> list[Cell]:
    if is_sweep(source):
        return _read_sweep(find_recipe(source), overrides, seeds, own_seed)
    recipe = load_recipe(source, overrides)
    return [Cell(recipe, seeds or (recipe.seed,), recipe.name)]


def _read_sweep(path: Path, overrides: Sequence[str], seeds: tuple[int, ...] | None, own_seed: bool) -> list[Cell]:
    place, raw = f"sweep {path}", read_recipe(path)
    _check_written_once(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), place)
    _check_keys(raw, KEYS, place)
    common, own = _settings(raw, place), _seeds_of_file(raw, place)
    curve = None if raw.get("curve") is None else str(raw["curve"])
    cells = []
    for name, body in _mapping(raw["cells"], f"{place}: cells").items():
        for recipe in _recipes_of_cell(path, str(name), body, common, overrides):
            used = (recipe.seed,) if own_seed else seeds or own or (recipe.seed,)
            cells.append(Cell(recipe, used, str(name), on_curve=str(name) == curve))
    if curve is not None and sum(cell.on_curve for cell in cells) < 2:
        hint = did_you_mean(curve, map(str, raw["cells"]))
        raise UserError(f"{place}: curve {curve!r}: name a cell with a grid of at least 2 values{hint}")
    return cells


def _recipes_of_cell(
    path: Path, name: str, body: object, common: Mapping[str, str], overrides: Sequence[str]
) -> Iterator[Recipe]:
    """The recipes of a cell, one for each point of its grid, under their names."""
    place = f"sweep {path}: cell {name}"
    body = _mapping(body, place)
    _check_keys(body, CELL_KEYS, place)
    if not isinstance(body.get("recipe"), str):
        raise UserError(f"{place}: has no recipe: name one that ships or a file, such as recipe: cifar10-small-iaat")
    own, grid = _settings(body, place), _grid(body, place)
    for key in grid:
        if key in own:
            raise UserError(f"{place}: {key} is both in set and in grid: keep one")
        if _option_value(overrides, f"--{key}") is not None:
            raise UserError(f"--{key} cannot be set here: it is what the grid of cell {name} varies; see {path}")
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        words = [f"--{key}={value}" for key, value in {**common, **own, **point}.items()]
        full = _checked_name("-".join([name, *values]), place)
        try:
            recipe = load_recipe(find_recipe(body["recipe"], path.parent), [*words, *overrides])
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
        yield dataclasses.replace(recipe, name=full)


def _checked_name(name: str, place: str) -> str:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{place}: {name!r} is no name for a folder: use letters, digits, . _ + - and begin with a letter or "
            "digit; write values such as 8px instead of 8/255"
        )
    return name


def _mapping(value: object, place: str) -> dict[Any, Any]:
    if not isinstance(value, dict) or not value:
        raise UserError(f"{place}: must be a mapping with at least one key, not {value!r}")
    return value


def _check_keys(given: Mapping[Any, object], known: Sequence[str], place: str) -> None:
    for key in given:
        if key not in known:
            raise UserError(f"{place}: unknown key {key!r}{did_you_mean(str(key), known)}; known: {', '.join(known)}")


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
            raise UserError(f"{place}: grid {key}: give a list of values such as [2px, 4px], not {values!r}")
        grid[key] = [_text(value, f"{place}: grid {key}") for value in values]
    return grid


def _setting_key(key: object, place: str) -> str:
    if key == "seed":
        raise UserError(f"{place} seed: seeds are of the whole sweep; write seeds: 3, or seeds: [0, 1, 2], at the top")
    return str(key)


def _text(value: object, place: str) -> str:
    """A plain value as the command line has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float | str):
        return str(value)
    raise UserError(f"{place}: {value!r} is not a single value; write lists and mappings into a recipe of your own")


def _seeds_of_file(raw: Mapping[str, Any], place: str) -> tuple[int, ...] | None:
    seeds, place = raw.get("seeds"), f"{place}: seeds"
    if seeds is None:
        return None
    if any(type(seed) is not int for seed in (seeds if isinstance(seeds, list) else [seeds])):
        raise UserError(f"{place} {seeds!r}: give their number, such as 3, or a list such as [0, 1, 2]")
    return _check_seeds(seeds, place) if isinstance(seeds, list) else _count_seeds(seeds, place)


def _check_written_once(node: yaml.Node | None, place: str, seen: frozenset[int] = frozenset()) -> None:
    """Refuse a key that a mapping has twice: YAML keeps the last one, and a cell would go missing in silence."""
    if id(node) in seen or not isinstance(node, yaml.MappingNode):
        return
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if twice := _first_repeated([key for key in keys if key != "<<"]):
        raise UserError(f"{place}: {twice!r} is written twice: rename or remove one")
    for _, value in node.value:
        _check_written_once(value, place, seen | {id(node)})


def _first_repeated(values: Sequence[Any]) -> Any:  # noqa: ANN401
    return next((value for number, value in enumerate(values) if value in values[:number]), None)


def _option_value(words: Sequence[str], option: str) -> str | None:
    """Value of the last of the words that sets an option, or None."""
    found = None
    for number, word in enumerate(words):
        key, equals, value = word.partition("=")
        if key == option:
            found = value if equals else " ".join(words[number + 1 : number + 2])
    return found


def _with_curve(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, with the curve that no sweep has named: recipes of one radius that differ in nothing else."""
    named = {cell.family for cell in cells if cell.on_curve}
    if len(named) > 1:
        raise UserError(f"two sweeps name a curve ({', '.join(sorted(named))}): keep the key curve in one of them")
    if named:
        return list(cells)
    twins: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.recipe.method_name == UNIFORM:
            twins.setdefault(_without_radius(cell.recipe), []).append(cell)
    groups = [group for group in twins.values() if len({cell.recipe.method.radius for cell in group}) > 1]
    if len(groups) != 1:
        return list(cells)
    return [dataclasses.replace(cell, on_curve=cell in groups[0]) for cell in cells]


def _without_radius(recipe: Recipe) -> str:
    sections = recipe.sections()
    del sections["method"]["radius"]
    return json.dumps(sections)


def schedule_differences(cells: Sequence[Cell]) -> list[str]:
    """Keys of data, model and train in which cells differ, each with the values and a cell that has it.

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


def cost_of_cells(cells: Sequence[Cell]) -> Table:
    """One line a cell: its seeds and what they will cost, for people.

    Raises:
        UserError: the data cannot be found.
    """
    table = plain_table("costs, at most; forwards and backwards of all seeds")
    for name in ("cell", "method", "seeds", "epochs", "passes/step", "forwards", "backwards"):
        table.add_column(name, justify="left" if name in ("cell", "method") else "right")
    for cell, used in zip(cells, _trained_samples(cells), strict=True):
        recipe, passes = cell.recipe, total_passes(cell.recipe)
        visits = used * recipe.train.epochs * len(cell.seeds)
        table.add_row(
            *(cell.name, recipe.method_name, " ".join(map(str, cell.seeds)), str(recipe.train.epochs), str(passes)),
            *(f"{visits * passes.forward:.3g}", f"{visits * passes.backward:.3g}"),
        )
    return table


def _trained_samples(cells: Sequence[Cell]) -> list[int]:
    """How many samples each cell trains on; every data set is looked at once."""
    configs = [cell.recipe.data for cell in cells]
    facts = {repr(config): config for config in configs}
    sizes = {key: data_facts(config).trained(config) for key, config in facts.items()}
    return [sizes[repr(config)] for config in configs]
