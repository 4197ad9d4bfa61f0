"""Which folder holds the run of a recipe."""

from __future__ import annotations

from pathlib import Path

from iaat.config.method_in_name import without_method
from iaat.config.recipe import Recipe
from iaat.errors import UserError
from iaat.experiments.resolved_recipe import resolved
from iaat.runs.run_folder import RunFolder


def place_of_run(recipe: Recipe, out: Path) -> RunFolder:
    """The run folder of a recipe in the folder `out`: `NAME-seedN`.

    A run of the same settings that lies under the recipe's name without its method, where older versions put it, goes
    on there.
    """
    run = RunFolder(out / f"{recipe.name}-seed{recipe.seed}")
    before = RunFolder(out / f"{without_method(recipe.name, recipe.method_name)}-seed{recipe.seed}")
    return before if before != run and not run.exists() and _is_of(recipe, before) else run


def _is_of(recipe: Recipe, run: RunFolder) -> bool:
    """Whether a folder holds a run that this recipe goes on with."""
    if not run.has_results():
        return False
    try:
        resolved(recipe, run, longer=True)
    except UserError:
        return False
    return True
