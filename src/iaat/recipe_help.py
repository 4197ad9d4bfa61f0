"""The help of one recipe: its keys with the recipe's values as defaults."""

from __future__ import annotations

from collections.abc import Sequence

from iaat.config import load_recipe, recipe_parser
from iaat.methods import METHODS


def print_recipe_help(command: str, source: str, overrides: Sequence[str]) -> None:
    """Print all keys of a recipe, with the method's own and the recipe's values as defaults.

    Args:
        command: `train` or `check`, for the usage.
        source: Name or file of the recipe.
        overrides: Recipe keys with their values.

    Raises:
        UserError: a mistake in the recipe or the overrides.
    """
    recipe = load_recipe(source, overrides)
    parser = recipe_parser(recipe.method_name, prog=f"iaat {command} {source}")
    parser.set_defaults({f"{s}.{k}": v for s, part in recipe.sections().items() for k, v in part.items()})
    parser.usage = f"iaat {command} {source} [--section.key value ...]"
    parser.print_help()
    names = f"{', '.join(METHODS)}, or my_file:MyMethod"
    run_options = "--out DIR, --resume, --overwrite, --tensorboard, --quiet, --trust NAME"
    print(f"\nrun options: {run_options}; --method NAME takes one of {names}")
