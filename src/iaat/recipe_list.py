"""The recipes that ship, for people."""

from __future__ import annotations

from pathlib import Path

from iaat.console_table import PlainTable, plain_table
from iaat.recipe_files import merged, read_recipe, shipped_recipes


def recipe_list() -> PlainTable:
    """One line a recipe: its name and what it is."""
    table = plain_table("recipes that ship; copy what `iaat check RECIPE` prints to make your own")
    table.add_column("recipe", no_wrap=True)
    table.add_column("about")
    for name, path in shipped_recipes().items():
        table.add_row(name, _about(path))
    return table


def _about(path: Path) -> str:
    """What a recipe says of itself, or else what it extends."""
    return str(read_recipe(path).get("about") or merged(path).get("about", ""))
