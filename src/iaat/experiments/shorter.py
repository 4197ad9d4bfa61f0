"""Settings by which a training that takes long would take less."""

from __future__ import annotations

from dataclasses import replace

from iaat.config.recipe import Recipe
from iaat.data import DatasetInfo
from iaat.errors import UserError
from iaat.experiments.cost import total_passes

LONG = 3 * 3600.0
"""Seconds of training from which advice is given."""

_SMALL = 64
"""Images of at most so many pixels a side are for networks of small images."""


def shorter_by(recipe: Recipe, facts: DatasetInfo, seconds: float, *, on_cpu: bool) -> str | None:
    """Return advice on a training of so many seconds; None where it is not long.

    Args:
        recipe: What would be trained.
        facts: Shape of its data.
        seconds: How long it takes.
        on_cpu: Whether it is on a CPU.
    """
    if seconds < LONG:
        return None
    ways = []
    if (single := _with_single_steps(recipe)) is not None:
        passes = f"{total_passes(single)} in place of {total_passes(recipe)} at most"
        ways.append(f"--method.inner nfgsm (attacks of one step: {passes})")
    if on_cpu and len(facts.shape) > 1 and max(facts.shape[1:]) <= _SMALL and recipe.model.name != "small-cnn":
        ways.append("--model.name small-cnn (a network for CPUs)")
    ways.append(f"fewer --train.epochs than {recipe.train.epochs}")
    return f"shorter, with another result: {'; '.join(ways)}{'; a GPU' if on_cpu else ''}"


def _with_single_steps(recipe: Recipe) -> Recipe | None:
    """The recipe with attacks of one step; None where it has them, or settings that attacks of one step lack."""
    if getattr(recipe.method, "inner", None) != "pgd":
        return None
    try:
        return replace(recipe, method=replace(recipe.method, inner="nfgsm"))
    except UserError:
        return None
