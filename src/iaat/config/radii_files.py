"""Checks of files of radii that a run begins from, as soon as something is known of its data."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.config.recipe_files import RECIPE_FILE, RUN_FILE, read_recipe
from iaat.data import DatasetInfo
from iaat.errors import UserError
from iaat.methods import MethodConfig
from iaat.radius import RadiiTable
from iaat.radius.snapshots import RADII_FOLDER
from iaat.runtime.user_code import GIVEN


def begins_from_radii(recipe: Recipe) -> bool:
    """Whether the method of a recipe reads a file of radii."""
    return isinstance(recipe.method, MethodConfig) and bool(recipe.method.radii_files())


def check_radii_files(recipe: Recipe, facts: DatasetInfo) -> None:
    """Refuse radii of other data, by what is known of the data before its samples are read.

    Raises:
        UserError: no such file, it is no table of radii, or one of other data, naming the file, both sets and the fix.
    """
    check_radii_for(recipe, facts.train_size + facts.extra_size, facts.labels)


def check_radii_for(recipe: Recipe, size: int, labels: Tensor | None, *, without: int = 0) -> None:
    """Refuse radii of other data, or of another norm.

    Args:
        recipe: What would be trained.
        size: Training samples, with those for validation and extra ones.
        labels: Labels of the first of them, `[n]`; None where they are not known.
        without: How many of them were given for validation alone: radii that are an object may leave them out.

    Raises:
        UserError: as `check_radii_files`.
    """
    if not isinstance(recipe.method, MethodConfig):
        return
    data = "this data" if recipe.data.name == GIVEN else recipe.data.name
    for key, file in recipe.method.radii_files().items():
        table = RadiiTable.read(file)
        if table.norm is None:
            table = replace(table, norm=_norm_beside(Path(file)))
        table.check_norm(key, getattr(recipe.method, "norm", None))
        table.check_data(key, data, size, labels)
    first = getattr(recipe.method, "first_radii", None)
    if first is not None:
        first.check_norm("start_from", getattr(recipe.method, "norm", None))
        first.check_data("start_from", data, size, labels)
        if len(first.index) not in (size, size - without):
            raise UserError(
                f"start_from {first.name}: these are {len(first.index):,} radii for the {size - without:,} training "
                f"samples of {data}: give one a sample, those of a run on this data"
            )


def _norm_beside(file: Path) -> str | None:
    """The norm of the run that a table of radii lies in; None where it lies in none, or that does not say."""
    folder = file if file.is_dir() else file.parent
    if folder.name == RADII_FOLDER:  # of RUN/radii/0003.parquet
        folder = folder.parent
    return norm_of_run(folder) if (folder / RUN_FILE).is_file() else None


def norm_of_run(folder: Path) -> str | None:
    """The norm that a run was trained in, by the recipe in its folder; None where that does not say."""
    with suppress(UserError):
        method = read_recipe(folder / RECIPE_FILE).get("method")
        norm = method.get("norm") if isinstance(method, dict) else None
        return norm if isinstance(norm, str) else None
    return None
