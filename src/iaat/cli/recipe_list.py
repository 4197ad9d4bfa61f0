"""Tables of the shipped recipes, by data set, with one to start with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from iaat.config.recipe_files import merged, read_recipe, shipped_recipes
from iaat.runtime.console_table import PlainTable, plain_table

START = "quickstart"
"""The recipe to start with: it needs no data and no GPU."""

GROUPS = {
    "quickstart": "handwritten digits of scikit-learn: seconds on a CPU, nothing to download",
    "folder": "your own images, in DIR/train/CLASS and DIR/test/CLASS: --data.root DIR",
    "cifar10-small": "CIFAR-10, small CNN on 10,000 images: minutes on a CPU",
    "cifar10": "CIFAR-10, ResNet-18 and WRN-32-10: for a GPU",
    "imagenet": "ImageNet, ResNet-50: for several GPUs",
}
"""Data sets by how the names of their recipes begin."""


def recipe_tables() -> Iterator[PlainTable | str]:
    """Where to start, then a table of each data set: its recipes and what they are."""
    yield f"start here: iaat train {START}"
    for group, about in GROUPS.items():
        table = plain_table(f"\n{about}", header=False)
        table.add_column(no_wrap=True)
        table.add_column()
        recipes = {name: path for name, path in shipped_recipes().items() if group_of(name) == group}
        for name in sorted(recipes, key=lambda name: name not in (group, f"{group}-iaat")):
            table.add_row(name, _about(recipes[name]))
        yield table
    yield "`iaat check RECIPE` prints a recipe with its costs; copy that to make your own."


def group_of(name: str) -> str:
    """Key of `GROUPS` of a recipe that ships; of several the longest."""
    return max((group for group in GROUPS if name.startswith(group)), key=len)


def _about(path: Path) -> str:
    """Description of a recipe, or else of the one it extends."""
    return str(read_recipe(path).get("about") or merged(path).get("about", ""))
