"""One line of a comparison."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from iaat.config.recipe import Recipe


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
