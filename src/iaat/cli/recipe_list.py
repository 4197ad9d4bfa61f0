"""Tables of the shipped recipes, by data set, with one to start with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from iaat.config.recipe_files import merged, read_chain, read_recipe, shipped_recipes, shipped_sweeps
from iaat.runtime.console_table import PlainTable

START = "quickstart"
"""The recipe to start with: it needs no data and no GPU."""

GROUPS = {
    "quickstart": "handwritten digits of scikit-learn: seconds on a CPU, nothing to download",
    "folder": "your own images, in DIR/train/CLASS and DIR/test/CLASS: --data.root DIR",
    "cifar10-small": "CIFAR-10, small CNN on 10,000 images: minutes on a CPU",
    "cifar10": "CIFAR-10, ResNet-18 and WRN-32-10: for a GPU",
    "cifar100": "CIFAR-100, ResNet-18 and WRN-32-10: for a GPU",
    "imagenet": "ImageNet, ResNet-50, 101 and 152: for several GPUs",
}
"""Data sets by how the names of their recipes begin."""

SWEEPS = "sweeps, one for each table of the paper: iaat check SWEEP, iaat compare SWEEP"


def recipe_tables() -> Iterator[PlainTable | str]:
    """Where to start, then a table of each data set: its recipes and what they are."""
    yield f"start here: iaat train {START}"
    for group, about in GROUPS.items():
        recipes = {name: path for name, path in shipped_recipes().items() if group_of(name) == group}
        yield _table(about, recipes, first=(group, f"{group}-iaat"))
    yield _table(SWEEPS, shipped_sweeps())
    yield "`iaat check RECIPE` prints a recipe with its costs; copy that to make your own."


def _table(title: str, files: Mapping[str, Path], first: Sequence[str] = ()) -> PlainTable:
    """Names and descriptions, sorted with numbers as such: resnet50 before resnet101."""
    table = PlainTable(f"\n{title}", header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name in sorted(files, key=lambda name: (name not in first, re.sub(r"\d+", lambda m: m[0].zfill(9), name))):
        table.add_row(name, _about(files[name]))
    return table


def group_of(name: str) -> str:
    """Key of `GROUPS` of a recipe that ships; of several the longest."""
    return max((group for group in GROUPS if name.startswith(group)), key=len)


def _about(path: Path) -> str:
    """Description of a recipe, or else of the one it extends."""
    return str(read_recipe(path).get("about") or merged(read_chain(path)).get("about", ""))
