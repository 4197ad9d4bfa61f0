"""One row of a comparison."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from iaat.config.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of a comparison: a recipe that is trained with several seeds.

    Attributes:
        recipe: The recipe, under the cell's name.
        seeds: Seeds of its runs.
        family: Common name of the cells of a grid.
        on_curve: Whether it is a point of the curve that the others are compared with.
    """

    recipe: Recipe
    seeds: tuple[int, ...]
    family: str
    on_curve: bool = False

    @property
    def name(self) -> str:
        """Its name in tables and of its run folders."""
        return self.recipe.name

    def seeded(self, seed: int) -> Recipe:
        """The recipe of one of its runs."""
        return dataclasses.replace(self.recipe, seed=seed)
