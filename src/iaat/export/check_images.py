"""Images on which an exported file is compared with its model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from iaat.config.recipe import Recipe
from iaat.data import Augmentation
from iaat.data.read_splits import read_splits
from iaat.data.source import finish_batch
from iaat.errors import UserError
from iaat.runtime.rng import generator

_COUNT = 32
"""Enough for logits that differ by rounding alone to show by how much, and a moment of computing."""


@dataclass(frozen=True, eq=False)
class ComparisonImages:
    """Inputs `x` `[N, ...]` in [0, 1], and what they are: `32 test images`."""

    x: Tensor
    what: str


def check_images(recipe: Recipe, shape: tuple[int, ...], root: str | None) -> ComparisonImages:
    """Test images of a run, evenly over the test set; random ones where its data is not at hand. Nothing is downloaded.

    Args:
        recipe: The run's.
        shape: Shape of one input.
        root: Folder of the data; None: the recipe's.

    Raises:
        UserError: the data in `root` cannot be read, or is of another shape.
    """
    if root is not None and not Path(root).is_dir():
        raise UserError(f"data {root} is no folder: name the one that holds the run's data")
    try:
        return _test_images(recipe, shape, root)
    except (UserError, OSError) as error:
        if root is not None:
            raise
        x = torch.rand(_COUNT, *shape, generator=generator(0))
        return ComparisonImages(x, f"{_COUNT} random images, because the run's data is not at hand ({error})")


def _test_images(recipe: Recipe, shape: tuple[int, ...], root: str | None) -> ComparisonImages:
    _, test = read_splits(replace(recipe.data, download=False, root=recipe.data.root if root is None else root))
    if test.shape != shape:
        raise UserError(f"{test.where}: inputs have shape {list(test.shape)}, the model takes {list(shape)}")
    # Image folders are listed by class, so that equal steps reach all classes.
    index = torch.linspace(0, len(test) - 1, min(_COUNT, len(test))).long()
    x = finish_batch(test.load(index), test.labels[index], index, Augmentation(), None).x
    return ComparisonImages(x, f"{len(x)} test images")
